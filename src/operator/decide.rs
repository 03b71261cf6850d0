//! What an operator may do to a record: the only transitions that no request causes.
//!
//! A decision names the lease of the record as the operator saw it. Where the record has changed since, or
//! a Worker may still hold a lease, nothing is changed and the operator is told so: of two people who decide
//! at once only one succeeds. (A hold leaves the record open: another decision still counts after it.)

use serde::{Deserialize, Serialize};

use crate::lifecycle::record::{CLOSED_KEPT, Completed, Doubt, Lease, Record, Running, State};
use crate::lifecycle::reply::Reply;
use crate::lifecycle::step::Change;
use crate::problem::{Code, Problem};
use crate::request::key::KeyId;
use crate::time::{Timestamp, rfc3339};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// The operation was executed, and this is what retries get from now on. The body travels beside it.
    Complete(Reply),
    /// The operation was not executed: the next retry is forwarded.
    Release,
    /// It is not known yet: the record stays in doubt for another `doubt_ttl`.
    Hold,
    /// Delete the record, whatever its state: the next request with its key is forwarded.
    Purge,
}

/// The result of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecisionResult {
    /// It was carried out.
    Done,
    /// There is no such record.
    Absent,
    /// A Worker may hold a lease until then.
    LeaseLive(Timestamp),
    /// The record is not, or no longer, in doubt under that lease.
    MovedOn,
}

impl Decision {
    /// Its name in a request and in the audit.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Complete(_) => "complete",
            Self::Release => "release",
            Self::Hold => "hold",
            Self::Purge => "purge",
        }
    }
}

impl DecisionResult {
    /// Why the decision about this record was not carried out; `None` if it was.
    #[must_use]
    pub fn problem(self, key: KeyId) -> Option<Problem> {
        let problem = match self {
            Self::Done => return None,
            Self::Absent => no_record(),
            Self::LeaseLive(until) => Problem::new(
                Code::LeaseLive,
                format!(
                    "A request may still be under way until {}. Nothing was changed; decide again after that.",
                    rfc3339(until)
                ),
            ),
            Self::MovedOn => Problem::new(
                Code::MovedOn,
                "The record is not, or no longer, as you saw it: it was resolved, settled or claimed again. Nothing was changed; look at it again.",
            ),
        };
        Some(problem.about(key))
    }
}

/// There is no record of that key id.
#[must_use]
pub fn no_record() -> Problem {
    let detail = "There is no such record. It may have been purged or have expired.";
    Problem::new(Code::NotFound, detail)
}

/// A decision's change and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What to write.
    pub change: Change,
    /// What the operator is told.
    pub result: DecisionResult,
}

/// What a decision does to a record. Total, like [`crate::lifecycle::step::step`].
///
/// `lease` is the one that the operator saw. A purge may leave it out: then it deletes the record whatever
/// has changed since, unless a lease is live.
#[must_use]
pub fn decide(
    stored: Option<Record>,
    lease: Option<Lease>,
    decision: Decision,
    now: Timestamp,
) -> Decided {
    let Some(Record { metadata, state }) = stored.and_then(|record| record.at(now)) else {
        return refused(DecisionResult::Absent);
    };
    if let Some(until) = live_until(&state, now) {
        return refused(DecisionResult::LeaseLive(until));
    }
    let named = lease_of(&state);
    if lease.is_some_and(|lease| lease != named) {
        return refused(DecisionResult::MovedOn);
    }
    let change = match (decision, state) {
        (Decision::Purge, _) => Change::Delete,
        // Only a record in doubt is resolved, and only under the lease that the operator saw.
        (Decision::Complete(reply), State::InDoubt(doubt) | State::Closed(doubt))
            if lease.is_some() =>
        {
            let state = State::Completed(completed(&doubt, named, reply, now));
            Change::Complete(Record { metadata, state })
        }
        (Decision::Release, State::InDoubt(doubt) | State::Closed(doubt)) if lease.is_some() => {
            match doubt.base {
                Some(old) => Change::Update(Record { metadata, state: State::Completed(old) }),
                None => Change::Delete,
            }
        }
        (Decision::Hold, State::InDoubt(doubt) | State::Closed(doubt)) if lease.is_some() => {
            Change::Update(Record { metadata, state: State::InDoubt(held(doubt, now)) })
        }
        _ => return refused(DecisionResult::MovedOn),
    };
    Decided { change, result: DecisionResult::Done }
}

/// The lease that a decision about this record names.
#[must_use]
pub fn lease_of(state: &State) -> Lease {
    match state {
        State::Running(Running { lease, .. })
        | State::Completed(Completed { lease, .. })
        | State::Expired(Completed { lease, .. }) => *lease,
        // The latest attempt was released. The run still names the doubt.
        State::InDoubt(doubt) | State::Closed(doubt) => doubt.lease.unwrap_or(doubt.run.id),
        State::Released(released) => released.lease,
    }
}

/// When the live lease ends, if there is one: until then a request may be under way, and nothing can be
/// decided.
#[must_use]
pub fn live_until(state: &State, now: Timestamp) -> Option<Timestamp> {
    state.lease_until().filter(|until| now < *until)
}

/// The record gets a new lease, so that a late settle of the Worker is refused and does not replace the
/// operator's answer.
fn completed(doubt: &Doubt, named: Lease, reply: Reply, now: Timestamp) -> Completed {
    let expires = now.plus(doubt.durations.ttl);
    let gone = expires.plus(doubt.durations.tombstone);
    Completed { lease: named.next(), run: doubt.run, reply, settled: now, expires, gone }
}

fn held(doubt: Doubt, now: Timestamp) -> Doubt {
    let closes = now.plus(doubt.durations.doubt_ttl).max(doubt.closes);
    let gone = closes.plus(doubt.durations.tombstone.max(CLOSED_KEPT)).max(doubt.gone);
    Doubt { closes, gone, ..doubt }
}

fn refused(result: DecisionResult) -> Decided {
    Decided { change: Change::Keep, result }
}
