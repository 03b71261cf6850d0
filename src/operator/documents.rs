//! Findings as members of JSON documents.

use crate::lifecycle::record::Record;
use crate::lifecycle::reply::Kept;
use crate::operator::decide::lease_of;
use crate::operator::search::{AuditEntry, FoundRecord, StateKind};
use crate::operator::statistics::{Counter, Counts, Statistics, hour_start, of};
use crate::request::digest::hex;
use crate::request::json::Writer;
use crate::time::rfc3339;

/// A stored reply with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body: a text, or the base64 of what is none.
    pub body: String,
    /// Whether it is base64.
    pub is_base64: bool,
}

/// A record, without its body.
pub fn record(to: &mut Writer, found: &FoundRecord) {
    to.text("key_id", &hex(&found.key.0));
    summary(to, &found.record);
    to.number("replays", found.replays.into());
}

/// What a record says of itself. Instants are RFC 3339, sizes bytes; what does not apply is null.
pub fn summary(to: &mut Writer, Record { metadata, state }: &Record) {
    let (completed, doubt) = (state.completed(), state.doubt());
    let (attempts, lease_until) = (state.attempts(), state.lease_until());
    to.text("state", StateKind::of(state).as_str());
    to.text("route", &metadata.route);
    to.text("method", &metadata.method);
    to.text("path", &metadata.path);
    to.text("correlation_id", &metadata.correlation_id);
    to.number("attempts", attempts.into());
    to.text("lease", &hex(&lease_of(state).0));
    for (name, at) in [
        ("lease_until", lease_until),
        ("created", Some(metadata.created)),
        ("settled", completed.map(|completed| completed.settled)),
        ("expires", completed.map(|completed| completed.expires)),
        ("closes", doubt.map(|doubt| doubt.closes)),
    ] {
        to.maybe_text(name, at.map(rfc3339).as_deref());
    }
    to.maybe_number("status", completed.map(|completed| completed.reply.status.into()));
    let bytes = completed.and_then(|completed| match completed.reply.body {
        Kept::Whole { bytes } => Some(bytes),
        Kept::StatusOnly => None,
    });
    to.maybe_number("bytes", bytes);
}

/// The stored reply of a record; null where it has none.
pub fn reply(to: &mut Writer, stored: Option<&StoredReply>) {
    let Some(stored) = stored else { return to.null("reply") };
    to.object("reply", |to| {
        to.number("status", stored.status.into());
        to.list("headers", |to| {
            for (name, value) in &stored.headers {
                to.item_list(|pair| {
                    pair.item_text(name);
                    pair.item_text(value);
                });
            }
        });
        to.text(if stored.is_base64 { "body_base64" } else { "body" }, &stored.body);
    });
}

/// Decisions.
pub fn decisions(to: &mut Writer, decisions: &[AuditEntry]) {
    to.list("decisions", |list| {
        for audited in decisions {
            list.item(|to| {
                to.text("at", &rfc3339(audited.at));
                to.text("key_id", &hex(&audited.key.0));
                to.text("action", &audited.action);
                to.text("by", &hex(&audited.by));
                to.object("before", |to| summary(to, &audited.before));
                match &audited.after {
                    Some(after) => to.object("after", |to| summary(to, after)),
                    None => to.null("after"),
                }
            });
        }
    });
}

/// The numbers by route, and by hour: the oldest first.
pub fn stats(to: &mut Writer, hours: &[(u64, Statistics)]) {
    let mut all = Statistics::default();
    for (_, tally) in hours {
        all.merge(tally);
    }
    to.maybe_text("since", hours.first().map(|(hour, _)| rfc3339(hour_start(*hour))).as_deref());
    routes(to, &all);
    to.list("hours", |list| {
        for (hour, tally) in hours {
            list.item(|to| {
                to.text("from", &rfc3339(hour_start(*hour)));
                routes(to, tally);
            });
        }
    });
}

fn routes(to: &mut Writer, tally: &Statistics) {
    to.object("routes", |to| {
        for (route, numbers) in &tally.routes {
            to.object(route, |to| {
                counts(to, numbers, false);
                to.object("conflicts", |to| counts(to, numbers, true));
            });
        }
    });
}

fn counts(to: &mut Writer, numbers: &Counts, conflicts: bool) {
    for count in Counter::ALL {
        if count.code().is_some() == conflicts {
            to.number(count.name(), of(numbers, count));
        }
    }
}
