//! Instants and spans as text: RFC 3339 in UTC, and `7d`, `1h 30m`, `1.5 hours`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since the Unix epoch. Every deadline is on the Ledger's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This instant moved on by a span; saturates.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// This instant moved back by a span; not before the epoch.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// The span since an earlier instant; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A span in whole milliseconds; saturates.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// An instant in RFC 3339, to the millisecond. What lies beyond the year 9999 is written as its end.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let ms = at.0.min(YEAR_9999);
    let (days, ms) = (ms / DAY, ms % DAY);
    // Howard Hinnant, "chrono-compatible low-level date algorithms": eras of 400 years that begin in March.
    let shifted = days + DAYS_TO_1970;
    let (era, day) = (shifted / DAYS_OF_ERA, shifted % DAYS_OF_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, wraps) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + wraps;
    let (hours, minutes, seconds) = (ms / HOUR, ms / MINUTE % 60, ms / SECOND % 60);
    let ms = ms % SECOND;
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

/// Reads an instant as [`rfc3339`] writes it; also with a space for the T, without the Z, with `+00:00`, and
/// with any fraction of a second. None before 1970.
#[must_use]
pub fn read_rfc3339(text: &str) -> Option<Timestamp> {
    let (exact, rest) = text.split_at_checked(19)?;
    let mut parts = [0; 6];
    for (part, (from, to)) in
        parts.iter_mut().zip([(0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19)])
    {
        *part = digits(exact.get(from..to)?)?;
    }
    let mut marks = String::new();
    for at in [4, 7, 10, 13, 16] {
        marks.push_str(exact.get(at..=at)?);
    }
    let [year, month, day, hour, minute, second] = parts;
    let rest = rest.strip_suffix("+00:00").or(rest.strip_suffix('Z')).unwrap_or(rest);
    let ms = match rest.strip_prefix('.') {
        None => rest.is_empty().then_some(0)?,
        Some(fraction) => {
            let _ = digits(fraction)?;
            format!("{fraction}000").get(..3)?.parse().ok()?
        }
    };
    let sound = matches!(&*marks, "--T::" | "-- ::") && year >= 1970 && hour < 24 && minute < 60;
    if !sound || second > 60 {
        return None;
    }
    let (shifted, march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * march + 2) / 5 + day.checked_sub(1)?;
    let days = era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = days.checked_sub(DAYS_TO_1970)?;
    // A leap second is told as the one before it.
    let second = second.min(59);
    let at = Timestamp(days * DAY + hour * HOUR + minute * MINUTE + second * SECOND);
    // There is no 31st of February, and no thirteenth month.
    let read = rfc3339(at);
    (read.get(..10) == exact.get(..10)).then(|| at.plus(Duration::from_millis(ms)))
}

fn digits(text: &str) -> Option<u64> {
    let are = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // A long fraction is none that is counted.
    are.then(|| text.parse().unwrap_or_default())
}

/// Reads a span, rounded down: numbers with their units, in any order, or `0`. Ends at 584 years.
#[must_use]
pub fn read_span(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::from_millis(0));
    }
    let mut ns: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ' ')?;
        let (number, after) = rest.split_at_checked(number)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let (_, unit) =
            UNITS.iter().find(|(names, _)| names.split(' ').any(|name| name == unit))?;
        let number = number.replace(' ', "");
        let (whole, fraction) = number.split_once('.').unwrap_or((&number, "0"));
        digits(fraction)?;
        ns = ns.saturating_add(whole.parse::<u64>().ok()?.saturating_mul(*unit));
        let mut place = *unit;
        for digit in fraction.bytes() {
            place /= 10;
            ns = ns.saturating_add(place * u64::from(digit - b'0'));
        }
        rest = after.trim_start();
    }
    Some(Duration::from_millis(ns / MS_NS))
}

/// A span in as few units as tell it: `1h 30m`.
#[must_use]
pub fn span(span: Duration) -> String {
    let ms = millis(span);
    let mut parts = Vec::new();
    let mut left = ms;
    for (unit, name) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1, "ms")] {
        if left >= unit {
            parts.push(format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Names of a unit, and its nanoseconds; years of 365.25 days, months of a twelfth of that.
const UNITS: [(&str, u64); 10] = [
    ("nanos nsec ns", 1),
    ("usec us µs", 1_000),
    ("millis msec ms", MS_NS),
    ("seconds second secs sec s", 1_000 * MS_NS),
    ("minutes minute mins min m", 60_000 * MS_NS),
    ("hours hour hrs hr h", 3_600_000 * MS_NS),
    ("days day d", DAY * MS_NS),
    ("weeks week wks wk w", 7 * DAY * MS_NS),
    ("months month M", 2_630_016_000 * MS_NS),
    ("years year yrs yr y", 31_557_600_000 * MS_NS),
];
const MS_NS: u64 = 1_000_000;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// 400 years.
const DAYS_OF_ERA: u64 = 146_097;
/// From the first of March of the year 0.
const DAYS_TO_1970: u64 = 719_468;
/// 9999-12-31T23:59:59.999Z; RFC 3339 has no later year.
const YEAR_9999: u64 = 253_402_300_799_999;
