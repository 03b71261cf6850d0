//! Findings as JSON.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::digest::hex;
use crate::operator::decide::lease_of;
use crate::operator::inquiry::{Audited, Found, Stage};
use crate::operator::tally::{Count, Tally, began, of};
use crate::record::{Completed, Doubt, Millis, Record, State};
use crate::reply::Kept;

/// A record, without its body.
#[must_use]
pub fn record(found: &Found) -> Value {
    let mut view = summary(&found.record);
    if let Some(members) = view.as_object_mut() {
        members.insert("key_id".to_owned(), hex(&found.key.0).into());
        members.insert("replays".to_owned(), found.replays.into());
    }
    view
}

/// What a record says of itself. Instants are RFC 3339, sizes bytes; what does not apply is null.
#[must_use]
pub fn summary(Record { about, state }: &Record) -> Value {
    let stage = Stage::of(state);
    let completed = completed(state);
    let doubt = doubt(state);
    let attempts = match state {
        State::Running(running) => running.run.attempt,
        State::Completed(completed) | State::Expired(completed) => completed.run.attempt,
        State::InDoubt(doubt) | State::Closed(doubt) => doubt.run.attempt,
    };
    let lease_until = match state {
        State::Running(running) => Some(running.until),
        _ => doubt.map(|doubt| doubt.until),
    };
    json!({
        "state": stage.as_str(),
        "route": about.route,
        "method": about.method,
        "path": about.path,
        "correlation_id": about.correlation_id,
        "attempts": attempts,
        "lease": hex(&lease_of(state).0),
        "lease_until": lease_until.map(instant),
        "created": instant(about.created),
        "settled": completed.map(|completed| instant(completed.settled)),
        "expires": completed.map(|completed| instant(completed.expires)),
        "closes": doubt.map(|doubt| instant(doubt.closes)),
        "status": completed.map(|completed| completed.reply.status),
        "bytes": completed.and_then(|completed| match completed.reply.body {
            Kept::Whole { bytes } => Some(bytes),
            Kept::StatusOnly => None,
        }),
    })
}

/// The stored reply of a state, if it has one.
#[must_use]
pub fn completed(state: &State) -> Option<&Completed> {
    match state {
        State::Completed(completed) | State::Expired(completed) => Some(completed),
        State::Running(_) | State::InDoubt(_) | State::Closed(_) => None,
    }
}

/// The doubt of a state, if it is one.
#[must_use]
pub fn doubt(state: &State) -> Option<&Doubt> {
    match state {
        State::InDoubt(doubt) | State::Closed(doubt) => Some(doubt),
        State::Running(_) | State::Completed(_) | State::Expired(_) => None,
    }
}

/// A decision.
#[must_use]
pub fn audited(audited: &Audited) -> Value {
    json!({
        "at": instant(audited.at),
        "key_id": hex(&audited.key.0),
        "action": audited.action,
        "by": hex(&audited.by),
        "before": summary(&audited.before),
        "after": audited.after.as_ref().map(summary),
    })
}

/// The numbers by route, and by hour: the oldest first.
#[must_use]
pub fn stats(hours: &[(u64, Tally)]) -> Value {
    let mut all = Tally::default();
    for (_, tally) in hours {
        all.merge(tally);
    }
    let by_hour: Vec<Value> = hours
        .iter()
        .map(|(hour, tally)| json!({ "from": instant(began(*hour)), "routes": routes(tally) }))
        .collect();
    json!({
        "since": hours.first().map(|(hour, _)| instant(began(*hour))),
        "routes": routes(&all),
        "hours": by_hour,
    })
}

fn routes(tally: &Tally) -> Value {
    let by_route = tally.routes.iter().map(|(route, numbers)| {
        let (mut counts, mut conflicts) = (serde_json::Map::new(), serde_json::Map::new());
        for count in Count::ALL {
            let to = if count.code().is_some() { &mut conflicts } else { &mut counts };
            to.insert(count.name().to_owned(), of(numbers, count).into());
        }
        counts.insert("conflicts".to_owned(), Value::Object(conflicts));
        (route.clone(), Value::Object(counts))
    });
    Value::Object(by_route.collect())
}

/// An instant in RFC 3339, to the millisecond. What lies beyond the year 9999 is written as its end.
#[must_use]
pub fn instant(at: Millis) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at.0.min(YEAR_9999));
    humantime::format_rfc3339_millis(at).to_string()
}

/// 9999-12-31T23:59:59.999Z; RFC 3339 has no later year.
const YEAR_9999: u64 = 253_402_300_799_999;
