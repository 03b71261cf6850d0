//! Instants and spans as a person reads them: UTC, and how long ago.

use std::time::Duration;

use maud::{Markup, html};

use crate::time::{Timestamp, millis, rfc3339};

/// An instant in UTC, to the second.
pub(super) fn at(at: Timestamp) -> Markup {
    let exact = rfc3339(at);
    let to_the_second = exact.get(..19).unwrap_or_default().replace('T', " ");
    html! { time datetime=(exact) { (to_the_second) " UTC" } }
}

/// An instant in UTC, and how far it is from now.
pub(super) fn at_and_ago(then: Timestamp, now: Timestamp) -> Markup {
    html! { (at(then)) ", " (ago(then, now)) }
}

/// How far an instant is from now: "3 min ago", "in 24 h".
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    match (millis(now.since(then)), millis(then.since(now))) {
        (0..2000, 0) => "just now".to_owned(),
        (past, 0) => format!("{} ago", span(Duration::from_millis(past))),
        (_, ahead) => format!("in {}", span(Duration::from_millis(ahead))),
    }
}

/// How often: "once", "3 times".
pub(super) fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

/// A span in the largest unit of which it has at least two, rounded down: "90 s", "2 min".
pub(super) fn span(span: Duration) -> String {
    let ms = millis(span);
    let (s, min, h) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match (s, min, h) {
        (0..2, ..) => format!("{ms} ms"),
        (_, 0..2, _) => format!("{s} s"),
        (_, _, 0..2) => format!("{min} min"),
        (_, _, 0..48) => format!("{h} h"),
        _ => format!("{} d", h / 24),
    }
}
