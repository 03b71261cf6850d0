//! A record's life as a picture: its events in a row, equally far apart, since a claim takes a second
//! and a doubt lasts months. The list beside it says the same in words.

use crate::lifecycle::record::{Completed, Doubt, Running, State};
use crate::operator::documents::doubt;
use crate::operator::page::html::html;
use crate::operator::page::time::{ago, at, span, times};
use crate::operator::search::FoundRecord;
use crate::time::Timestamp;

/// Something in the life of a record.
struct Event {
    /// In a word or two; under its mark.
    name: &'static str,
    /// When, if the record says it. What has no instant has happened.
    at: Option<Timestamp>,
    /// In a sentence; what is [said](Self::said) stands in place of `@`.
    note: &'static str,
    /// Under the name where there is no instant.
    said: String,
}

impl Event {
    fn new(name: &'static str, at: Option<Timestamp>, note: &'static str) -> Self {
        Self { name, at, note, said: String::new() }
    }

    fn lies_ahead(&self, now: Timestamp) -> bool {
        self.at.is_some_and(|at| now < at)
    }
}

/// The events of a record's life in their order, what lies ahead of it included.
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
                said: reply.status.to_string(),
                ..Event::new("settled", Some(*settled), "the answer @ is stored")
            });
            events.push(Event {
                said: times(found.replays),
                ..Event::new("replayed", None, "@, as far as counted")
            });
            let then = if gone > expires { "the answer goes; retries get 410" } else { FREE };
            events.push(Event::new("expires", Some(*expires), then));
            if gone > expires {
                events.push(Event::new("forgotten", Some(*gone), FREE));
            }
        }
        State::InDoubt(doubt) | State::Closed(doubt) => {
            let Doubt { run, until, closes, gone, .. } = doubt;
            let since = doubt.lease.map(|_| until.minus(doubt.durations.lease));
            events.push(forwarded(run.attempt, since.filter(|at| *at > created)));
            let (in_doubt, over) = if now < *until {
                (None, "the outcome is not known")
            } else {
                (Some(*until), "the lease was over; from then on it can be resolved")
            };
            events.push(Event::new("in doubt", in_doubt, over));
            if now < *until {
                let note = "from then on it can be resolved";
                events.push(Event::new("lease over", Some(*until), note));
            }
            events.push(Event::new("closes", Some(*closes), "retries get 410 instead of 409"));
            events.push(Event::new("forgotten", Some(*gone), FREE));
        }
    }
    events
}

fn forwarded(attempt: u32, at: Option<Timestamp>) -> Event {
    Event { said: format!("attempt {attempt}"), ..Event::new("forwarded", at, "@, to the origin") }
}

/// The picture and the list.
pub(super) fn timeline(to: &mut String, found: &FoundRecord, now: Timestamp) {
    let events = events(found, now);
    html! { to;
        (picture(to, &events, now, doubt(&found.record.state).is_some()))
        (words(to, &events, now))
    }
}

fn picture(to: &mut String, events: &[Event], now: Timestamp, in_doubt: bool) {
    let steps = events.len().saturating_sub(1).max(1);
    let x = |place: usize| MARGIN + place * (WIDTH - 2 * MARGIN) / steps;
    let past = events.iter().take_while(|event| !event.lies_ahead(now)).count();
    let last = past.saturating_sub(1);
    // Between what has happened and what has not; at the end, where all has.
    let here = if past < events.len() { x(last).midpoint(x(past)) } else { x(last) + MARGIN / 2 };
    html! { to;
        svg class={ "life" @if in_doubt { " unsure" } } viewBox={ "0 0 " (WIDTH) " 56" } role="img" aria-label={
            "Its life: "
            @for (place, event) in events.iter().enumerate() { @if place > 0 { ", " } (event.name) }
            ". Now is after &quot;" (events.get(last).map_or("", |event| event.name)) "&quot;."
        } {
            line x1=(x(0)) x2=(here) y1="20" y2="20" {}
            line class="ahead" x1=(here) x2=(x(events.len().saturating_sub(1)).max(here)) y1="20" y2="20" {}
            @for (place, event) in events.iter().enumerate() {
                circle class=[event.lies_ahead(now).then_some("ahead")] cx=(x(place)) cy="20" r="5" {}
                text x=(x(place)) y="40" { (event.name) }
                text class="quiet" x=(x(place)) y="52" {
                    @match event.at {
                        Some(at) => (ago(to, at, now)),
                        None => (event.said),
                    }
                }
            }
            path class="now" d={ "M" (here) " 12v16" } {}
            text class="now" x=(here) y="9" { "now" }
        }
    }
}

fn words(to: &mut String, events: &[Event], now: Timestamp) {
    let mut before: Option<Timestamp> = None;
    html! { to;
        ol class="life" {
            @for event in events {
                li class=[event.lies_ahead(now).then_some("ahead")] {
                    b { (event.name) } ": "
                    @let note = event.note.split_once('@').unwrap_or((event.note, ""));
                    (note.0) (event.said) (note.1) " "
                    @if let Some(then) = event.at {
                        span class="quiet" {
                            (at(to, then)) ", " (ago(to, then, now))
                            @if let Some(before) = before.replace(then) { " (+" (span(to, then.since(before))) ")" }
                        }
                    }
                }
            }
        }
    }
}

const FREE: &str = "the key is free: a request with it is new";
const WIDTH: usize = 360;
const MARGIN: usize = 30;
