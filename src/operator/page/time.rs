//! Instants and spans as a person reads them: UTC, and how long ago.

use std::time::Duration;

use crate::operator::page::html::html;
use crate::time::{Timestamp, millis, rfc3339};

/// An instant in UTC, to the second.
pub(super) fn at(to: &mut String, at: Timestamp) {
    let exact = rfc3339(at);
    let read = exact.get(..19).unwrap_or_default().replace('T', " ");
    html! { to; time datetime=(exact) { (read) " UTC" } }
}

/// An instant in UTC, and how far it is from now.
pub(super) fn at_and_ago(to: &mut String, then: Timestamp, now: Timestamp) {
    html! { to; (at(to, then)) ", " (ago(to, then, now)) }
}

/// How far an instant is from now: "3 min ago", "in 24 h".
pub(super) fn ago(to: &mut String, then: Timestamp, now: Timestamp) {
    match (millis(now.since(then)), millis(then.since(now))) {
        (0..2000, 0) => to.push_str("just now"),
        (past, 0) => html! { to; (span(to, Duration::from_millis(past))) " ago" },
        (_, ahead) => html! { to; "in " (span(to, Duration::from_millis(ahead))) },
    }
}

/// How often: "once", "3 times".
pub(super) fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

/// A span in its most telling unit, rounded down; what is shorter than two of a unit is told in the
/// next smaller one.
pub(super) fn span(to: &mut String, span: Duration) {
    let ms = millis(span);
    let (s, min, h) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    let (number, unit) = match (s, min, h) {
        (0..2, ..) => (ms, " ms"),
        (_, 0..2, _) => (s, " s"),
        (_, _, 0..2) => (min, " min"),
        (_, _, 0..48) => (h, " h"),
        _ => (h / 24, " d"),
    };
    html! { to; (number) (unit) }
}
