//! The JSON documents of the operators' API. Instants are in RFC 3339, sizes in bytes; what does not apply
//! is null.

use std::borrow::Cow;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::lifecycle::record::Record;
use crate::lifecycle::reply::Kept;
use crate::operator::api::{DecisionRequest, ROOT};
use crate::operator::decide::lease_of;
use crate::operator::search::{AuditEntry, Audited, FoundRecord, RERUN, StateKind};
use crate::operator::statistics::{Counter, Counts, Statistics, count_of, hour_start};
use crate::operator::stored_reply::{StoredBody, StoredReply};
use crate::request::digest::hex;
use crate::request::key::KeyId;
use crate::time::rfc3339;

/// A shard that did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnavailableShard {
    /// Its number.
    pub shard: u16,
    /// Why it did not answer.
    pub why: String,
}

/// The first page.
#[derive(Serialize)]
pub(super) struct OverviewDocument<'a> {
    pub(super) in_doubt: Vec<RecordDocument<'a>>,
    pub(super) latest: Vec<RecordDocument<'a>>,
    pub(super) stats: StatsDocument<'a>,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) unavailable_shards: &'a [UnavailableShard],
}

/// The records of a key.
#[derive(Serialize)]
pub(super) struct KeyDocument<'a> {
    pub(super) records: Vec<RecordDocument<'a>>,
}

/// A page of records.
#[derive(Serialize)]
pub(super) struct RecordsDocument<'a> {
    pub(super) records: Vec<RecordDocument<'a>>,
    pub(super) cursor: Option<String>,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) unavailable_shards: &'a [UnavailableShard],
}

/// A record and the decisions about it.
#[derive(Serialize)]
pub(super) struct RecordWithDecisions<'a> {
    #[serde(flatten)]
    pub(super) record: RecordDocument<'a>,
    pub(super) decisions: Vec<AuditDocument<'a>>,
}

/// What a decision did.
#[derive(Serialize)]
pub(super) struct DecidedDocument<'a> {
    pub(super) key_id: String,
    pub(super) action: &'a str,
    pub(super) record: Option<RecordDocument<'a>>,
}

/// A page of decisions.
#[derive(Serialize)]
pub(super) struct DecisionsDocument<'a> {
    pub(super) decisions: Vec<AuditDocument<'a>>,
    pub(super) cursor: Option<String>,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) unavailable_shards: &'a [UnavailableShard],
}

/// A record.
#[derive(Serialize)]
pub(super) struct RecordDocument<'a> {
    key_id: String,
    #[serde(flatten)]
    summary: Summary<'a>,
    replays: u32,
    /// Absent where the body was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<ReplyMember<'a>>,
}

/// What a record says, without its key id.
#[derive(Serialize)]
struct Summary<'a> {
    state: &'static str,
    route: &'a str,
    method: &'a str,
    path: &'a str,
    correlation_id: &'a str,
    attempts: u32,
    lease: String,
    lease_until: Option<String>,
    created: String,
    settled: Option<String>,
    expires: Option<String>,
    closes: Option<String>,
    /// Why it is in doubt.
    reason: Option<String>,
    status: Option<u16>,
    bytes: Option<u64>,
}

/// The stored reply of a record, where it was asked for.
#[derive(Serialize)]
#[serde(untagged)]
enum ReplyMember<'a> {
    Stored(ReplyDocument<'a>),
    /// Null.
    NotStored,
}

#[derive(Serialize)]
struct ReplyDocument<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a [(String, String)]>,
    #[serde(flatten)]
    body: BodyMember<'a>,
}

#[derive(Serialize)]
enum BodyMember<'a> {
    #[serde(rename = "body")]
    Text(&'a str),
    #[serde(rename = "body_base64")]
    Base64(&'a str),
    #[serde(rename = "body_address")]
    Address(String),
}

/// A decision that was made.
#[derive(Serialize)]
pub(super) struct AuditDocument<'a> {
    at: String,
    key_id: String,
    action: &'a str,
    by: String,
    /// Null for a slot that was run again: nothing was there.
    before: Option<Summary<'a>>,
    after: Option<Summary<'a>>,
    /// Of a slot that was run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_time: Option<String>,
}

/// The numbers, and the shards whose numbers are missing.
#[derive(Serialize)]
pub(super) struct StatsAnswer<'a> {
    #[serde(flatten)]
    pub(super) stats: StatsDocument<'a>,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) unavailable_shards: &'a [UnavailableShard],
}

/// The numbers by route, in all and by hour, the oldest hour first.
#[derive(Serialize)]
pub(super) struct StatsDocument<'a> {
    since: Option<String>,
    routes: Routes<'a>,
    hours: Vec<HourDocument<'a>>,
}

#[derive(Serialize)]
struct HourDocument<'a> {
    from: String,
    routes: Routes<'a>,
}

/// Each route's numbers under its name, in the order in which the routes were first counted.
struct Routes<'a>(Cow<'a, Statistics>);

/// A route's numbers under their names; the refusals apart, under their codes.
struct RouteDocument<'a>(&'a Counts);

struct Conflicts<'a>(&'a Counts);

/// The log line of a decision that was carried out. The record is in the audit: its id would show the scope, which
/// leaves the Worker only for operators.
#[derive(Serialize)]
pub struct DecisionLogLine<'a> {
    /// Names the operator's token.
    operator: String,
    action: &'a str,
}

impl<'a> DecisionLogLine<'a> {
    /// The line.
    #[must_use]
    pub fn new(token_id: [u8; 4], request: &'a DecisionRequest) -> Self {
        Self { operator: hex(&token_id), action: request.decision.as_str() }
    }
}

impl<'a> RecordDocument<'a> {
    /// A record. `reply` is absent where the body was not asked for, and holds nothing where no reply is
    /// stored.
    pub(super) fn new(found: &'a FoundRecord, reply: Option<&'a Option<StoredReply>>) -> Self {
        Self {
            key_id: hex(&found.key.0),
            summary: Summary::new(&found.record),
            replays: found.replays,
            reply: reply.map(|reply| match reply {
                Some(stored) => ReplyMember::Stored(ReplyDocument::new(found.key, stored)),
                None => ReplyMember::NotStored,
            }),
        }
    }

    /// Records without their replies.
    pub(super) fn list(found: &'a [FoundRecord]) -> Vec<Self> {
        found.iter().map(|found| Self::new(found, None)).collect()
    }
}

impl<'a> Summary<'a> {
    fn new(Record { metadata, state }: &'a Record) -> Self {
        let completed = state.completed();
        Self {
            state: StateKind::of(state).as_str(),
            route: &metadata.route,
            method: &metadata.method,
            path: &metadata.path,
            correlation_id: &metadata.correlation_id,
            attempts: state.attempts(),
            lease: hex(&lease_of(state).0),
            lease_until: state.lease_until().map(rfc3339),
            created: rfc3339(metadata.created),
            settled: completed.map(|completed| rfc3339(completed.settled)),
            expires: completed.map(|completed| rfc3339(completed.expires)),
            closes: state.doubt().map(|doubt| rfc3339(doubt.closes)),
            reason: state.doubt().map(|doubt| doubt.reason.to_string()),
            status: completed.map(|completed| completed.reply.status),
            bytes: completed.and_then(|completed| match completed.reply.body {
                Kept::Whole { bytes } => Some(bytes),
                Kept::StatusOnly => None,
            }),
        }
    }
}

impl<'a> ReplyDocument<'a> {
    fn new(key: KeyId, stored: &'a StoredReply) -> Self {
        let body = match &stored.body {
            StoredBody::Text(body) => BodyMember::Text(body),
            StoredBody::Base64(body) => BodyMember::Base64(body),
            StoredBody::LeftOut => BodyMember::Address(body_path(key)),
        };
        Self { status: stored.status, headers: stored.headers.as_deref(), body }
    }
}

impl<'a> AuditDocument<'a> {
    /// Decisions.
    pub(super) fn list(decisions: &'a [AuditEntry]) -> Vec<Self> {
        decisions.iter().map(Self::new).collect()
    }

    fn new(decision: &'a AuditEntry) -> Self {
        Self {
            at: rfc3339(decision.at),
            key_id: hex(&decision.key.0),
            action: &decision.action,
            by: hex(&decision.by),
            before: Some(Summary::new(&decision.before)),
            after: decision.after.as_ref().map(Summary::new),
            schedule: None,
            scheduled_time: None,
        }
    }

    /// Decisions, and slots that were run again.
    pub(super) fn list_all(audited: &'a [Audited]) -> Vec<Self> {
        let document = |audited: &'a Audited| match audited {
            Audited::Decision(decision) => Self::new(decision),
            Audited::Rerun(rerun) => Self {
                at: rfc3339(rerun.at),
                key_id: hex(&rerun.key.0),
                action: RERUN,
                by: hex(&rerun.by),
                before: None,
                after: None,
                schedule: Some(&rerun.schedule),
                scheduled_time: Some(rfc3339(rerun.scheduled_time)),
            },
        };
        audited.iter().map(document).collect()
    }
}

impl<'a> StatsDocument<'a> {
    /// The numbers of these hours.
    pub(super) fn new(hours: &'a [(u64, Statistics)]) -> Self {
        let mut total = Statistics::default();
        for (_, statistics) in hours {
            total.merge(statistics);
        }
        let hour = |(hour, statistics): &'a (u64, Statistics)| HourDocument {
            from: rfc3339(hour_start(*hour)),
            routes: Routes(Cow::Borrowed(statistics)),
        };
        Self {
            since: hours.first().map(|(hour, _)| rfc3339(hour_start(*hour))),
            routes: Routes(Cow::Owned(total)),
            hours: hours.iter().map(hour).collect(),
        }
    }
}

impl Serialize for Routes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let routes = self.0.routes.iter();
        serializer.collect_map(routes.map(|(route, counts)| (route, RouteDocument(counts))))
    }
}

impl Serialize for RouteDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        for counter in Counter::ALL.into_iter().filter(|counter| counter.code().is_none()) {
            members.serialize_entry(counter.name(), &count_of(self.0, counter))?;
        }
        members.serialize_entry("conflicts", &Conflicts(self.0))?;
        members.end()
    }
}

impl Serialize for Conflicts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let refusals = Counter::ALL.into_iter().filter(|counter| counter.code().is_some());
        serializer.collect_map(refusals.map(|counter| (counter.name(), count_of(self.0, counter))))
    }
}

/// The address of a record's stored body.
pub(super) fn body_path(key: KeyId) -> String {
    format!("{ROOT}records/{}/body", hex(&key.0))
}

fn is_empty(shards: &[UnavailableShard]) -> bool {
    shards.is_empty()
}
