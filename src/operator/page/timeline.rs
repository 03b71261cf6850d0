//! A record's life as a picture: its events in a row, equally far apart, since a claim takes a second and
//! a doubt lasts for months. The list under it says the same in words.

use maud::{Markup, html};

use crate::lifecycle::record::{Completed, Doubt, Released, Running, State};
use crate::operator::page::time::{ago, at, span, times};
use crate::operator::search::FoundRecord;
use crate::time::Timestamp;

/// An event in the life of a record.
struct Event {
    /// One or two words; they stand under the event's mark.
    name: &'static str,
    /// When, if the record says it. An event without an instant has happened.
    at: Option<Timestamp>,
    /// A sentence; [`Self::value`] replaces its `@`.
    note: &'static str,
    /// A number or a count; it stands under the name of an event without an instant.
    value: String,
}

impl Event {
    fn new(name: &'static str, at: Option<Timestamp>, note: &'static str) -> Self {
        Self { name, at, note, value: String::new() }
    }

    fn is_ahead(&self, now: Timestamp) -> bool {
        self.at.is_some_and(|at| now < at)
    }
}

/// The events of a record's life in their order, including those that are still ahead.
fn events(found: &FoundRecord, now: Timestamp) -> Vec<Event> {
    let record = &found.record;
    let created = record.metadata.created;
    let mut events = vec![Event::new("claimed", Some(created), "the first request with the key")];
    match &record.state {
        State::Running(Running { run, since, until, .. }) => {
            events.push(forwarded(run.attempt, Some(*since).filter(|at| *at != created)));
            let note = "in doubt, if there is no outcome by then";
            events.push(Event::new("lease over", Some(*until), note));
        }
        State::Completed(completed) | State::Expired(completed) => {
            let Completed { run, reply, settled, expires, gone, .. } = completed;
            events.push(forwarded(run.attempt, None));
            events.push(Event {
                value: reply.status.to_string(),
                ..Event::new("settled", Some(*settled), "the answer @ is stored")
            });
            events.push(Event {
                value: times(found.replays),
                ..Event::new("replayed", None, "@, as far as counted")
            });
            let then = if gone > expires { "the answer goes; retries get 410" } else { KEY_FREE };
            events.push(Event::new("expires", Some(*expires), then));
            if gone > expires {
                events.push(Event::new("forgotten", Some(*gone), KEY_FREE));
            }
        }
        State::InDoubt(doubt) | State::Closed(doubt) => {
            let Doubt { run, until, closes, gone, .. } = doubt;
            let since = doubt.lease.map(|_| doubt.since);
            events.push(forwarded(run.attempt, since.filter(|at| *at > created)));
            let (in_doubt, note) = if now < *until {
                (None, "the outcome is not known")
            } else {
                (Some(*until), "the lease was over; from then on it can be resolved")
            };
            events.push(Event::new("in doubt", in_doubt, note));
            if now < *until {
                let note = "from then on it can be resolved";
                events.push(Event::new("lease over", Some(*until), note));
            }
            events.push(Event::new("closes", Some(*closes), "retries get 410 instead of 409"));
            events.push(Event::new("forgotten", Some(*gone), KEY_FREE));
        }
        State::Released(Released { run, since, until, .. }) => {
            events.push(forwarded(run.attempt, None));
            events.push(Event::new("released", Some(*since), KEY_FREE));
            events.push(Event::new(
                "forgotten",
                Some(*until),
                "the status address knows it no more",
            ));
        }
    }
    events
}

fn forwarded(attempt: u32, at: Option<Timestamp>) -> Event {
    Event { value: format!("attempt {attempt}"), ..Event::new("forwarded", at, "@, to the origin") }
}

/// The picture and the list.
pub(super) fn timeline(found: &FoundRecord, now: Timestamp) -> Markup {
    let events = events(found, now);
    html! {
        (picture(&events, now, found.record.state.doubt().is_some()))
        (list(&events, now))
    }
}

fn picture(events: &[Event], now: Timestamp, in_doubt: bool) -> Markup {
    let steps = events.len().saturating_sub(1).max(1);
    let x = |index: usize| MARGIN + index * (WIDTH - 2 * MARGIN) / steps;
    let past = events.iter().take_while(|event| !event.is_ahead(now)).count();
    let latest = past.saturating_sub(1);
    // "Now" stands between the latest event and the next one; at the end, where no event is ahead.
    let now_x =
        if past < events.len() { x(latest).midpoint(x(past)) } else { x(latest) + MARGIN / 2 };
    let end_x = x(events.len().saturating_sub(1)).max(now_x);
    let names: Vec<_> = events.iter().map(|event| event.name).collect();
    let label = format!(
        "Its life: {}. Now is after \"{}\".",
        names.join(", "),
        names.get(latest).copied().unwrap_or_default()
    );
    html! {
        svg.life.unsure[in_doubt] viewBox={ "0 0 " (WIDTH) " 56" } role="img" aria-label=(label) {
            line x1=(x(0)) x2=(now_x) y1="20" y2="20" {}
            line.ahead x1=(now_x) x2=(end_x) y1="20" y2="20" {}
            @for (index, event) in events.iter().enumerate() {
                circle class=[event.is_ahead(now).then_some("ahead")] cx=(x(index)) cy="20" r="5" {}
                text x=(x(index)) y="40" { (event.name) }
                text.quiet x=(x(index)) y="52" {
                    @if let Some(at) = event.at { (ago(at, now)) } @else { (event.value) }
                }
            }
            path.now d={ "M" (now_x) " 12v16" } {}
            text.now x=(now_x) y="9" { "now" }
        }
    }
}

fn list(events: &[Event], now: Timestamp) -> Markup {
    let mut previous: Option<Timestamp> = None;
    html! {
        ol.life {
            @for event in events {
                li class=[event.is_ahead(now).then_some("ahead")] {
                    b { (event.name) } ": " (event.note.replacen('@', &event.value, 1)) " "
                    @if let Some(then) = event.at {
                        span.quiet {
                            (at(then)) ", " (ago(then, now))
                            @if let Some(previous) = previous.replace(then) {
                                " (+" (span(then.since(previous))) ")"
                            }
                        }
                    }
                }
            }
        }
    }
}

const KEY_FREE: &str = "the key is free: a request with it is new";
const WIDTH: usize = 360;
const MARGIN: usize = 30;
