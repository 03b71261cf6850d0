//! Instants, and the text of instants and spans. `humantime` reads and writes RFC 3339 and reads spans.

use std::time::{Duration, SystemTime};

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

    /// The span since an earlier instant; zero if that one is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the epoch, with a fraction.
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        Duration::from_millis(self.0).as_secs_f64()
    }
}

/// A span in whole milliseconds; saturates.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// An instant in RFC 3339, to the millisecond. An instant after the year 9999 is written as the end of that
/// year: RFC 3339 has no later one.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let at = Duration::from_millis(at.0.min(YEAR_9999));
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + at).to_string()
}

/// Reads an instant as [`rfc3339`] writes it; also with a space for the T, without the Z, and with any fraction
/// of a second. `None` before 1970.
#[must_use]
pub fn read_rfc3339(text: &str) -> Option<Timestamp> {
    let at = humantime::parse_rfc3339_weak(text).ok()?;
    at.duration_since(SystemTime::UNIX_EPOCH).ok().map(|at| Timestamp(millis(at)))
}

/// Reads a span such as `10s`, `24h` or `1h 30m`, rounded down to milliseconds.
#[must_use]
pub fn read_span(text: &str) -> Option<Duration> {
    let span = humantime::parse_duration(text.trim()).ok()?;
    Some(Duration::from_millis(millis(span)))
}

/// 9999-12-31T23:59:59.999Z.
const YEAR_9999: u64 = 253_402_300_799_999;
