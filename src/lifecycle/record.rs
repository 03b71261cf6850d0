//! The record of a key, and how time alone changes it. Every other change is in [`crate::lifecycle::step`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::lifecycle::lease::{Execution, KeySpelling, Lease, StatusKey, StatusSecret};
use crate::lifecycle::reply::{Kept, Reply};
use crate::request::fingerprint::{Fingerprint, OperationId};
use crate::time::Timestamp;

/// What stays the same over a record's life, and what operators search by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// What a retry has to match.
    pub fingerprint: Fingerprint,
    /// The operation, whoever asks for it.
    pub operation: OperationId,
    /// Name of the route that guarded the first request.
    pub route: String,
    /// Method of the first request.
    pub method: String,
    /// Normalised path of the first request, cut to a bounded length.
    pub path: String,
    /// Correlation id of the first request.
    pub correlation_id: String,
    /// When the first claim was granted.
    pub created: Timestamp,
    /// What opens the key's status address; none where no claim's route has answered asynchronously.
    pub status: Option<StatusKey>,
}

/// How long things last by the rules of the claim's route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// How long a grant lasts: the route's `timeout`, and 15 s more to settle.
    pub lease: Duration,
    /// How long a stored reply is kept.
    pub ttl: Duration,
    /// How long key id and fingerprint outlive the reply.
    pub tombstone: Duration,
    /// How long a record stays in doubt at least.
    pub doubt_ttl: Duration,
}

/// The state of one key id, as stored. Nothing here has a default: unreadable is never "absent".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Identity.
    pub metadata: Metadata,
    /// Its state.
    pub state: State,
}

/// The state of a record. `Expired` and `Closed` are read, by the clock, and not written to the record's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// A Worker holds the lease and may be talking to the origin.
    Running(Running),
    /// The reply is stored.
    Completed(Completed),
    /// Whether the origin executed the operation is not known.
    InDoubt(Doubt),
    /// The reply's `ttl` has passed; its tombstone has not.
    Expired(Completed),
    /// In doubt for longer than `doubt_ttl`: no longer answered as a doubt, never executed again.
    Closed(Doubt),
    /// The operation was released. A claim treats it as no record; whoever has the status address learns from it what
    /// became of the call.
    Released(Released),
}

/// A granted claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The token of whoever may settle or release.
    pub lease: Lease,
    /// Run and attempt.
    pub run: Execution,
    /// When it was granted.
    pub since: Timestamp,
    /// When the lease is over.
    pub until: Timestamp,
    /// The durations for what follows.
    pub durations: Durations,
    /// What the claim found, and what a release puts back.
    pub previous: Previous,
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Previous {
    /// No record.
    Nothing,
    /// A stored reply (strategy `fail_on_running`). Its body is still stored beside the record.
    Replied(Completed),
    /// A doubt (policy `retry`).
    Doubted(Doubt),
}

/// A settled claim. The body is stored beside the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The lease that settled it: a settle whose answer was lost comes twice.
    pub lease: Lease,
    /// Run and attempt that gave the reply.
    pub run: Execution,
    /// The stored reply.
    pub reply: Reply,
    /// When it was settled.
    pub settled: Timestamp,
    /// When the reply is no longer replayed.
    pub expires: Timestamp,
    /// When its tombstone ends and the row may go.
    pub gone: Timestamp,
}

/// A released claim of a key that has a status address. The body of the reply is stored beside the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The lease that released it: a release whose answer was lost comes twice.
    pub lease: Lease,
    /// Run and attempt.
    pub run: Execution,
    /// The origin's answer; none where the request was never handed over to the origin.
    pub reply: Option<Reply>,
    /// When it was released.
    pub since: Timestamp,
    /// When it is forgotten.
    pub until: Timestamp,
}

/// Why the outcome of a claim is not known. Operators see it, and so does whoever reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// No whole answer came within the route's `timeout`. The call is read on until its lease ends.
    Timeout,
    /// The call failed before the head of an answer had come.
    ConnectionLost,
    /// The origin broke its answer off.
    Truncated,
    /// The origin answered with this status, which the route takes for a doubt.
    Status(u16),
    /// The Worker that held the lease never said what became of the call.
    LeaseOver,
    /// The origin's status is outside 200 to 599.
    NotHttp,
}

impl fmt::Display for Reason {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => to.write_str("timeout"),
            Self::ConnectionLost => to.write_str("connection-lost"),
            Self::Truncated => to.write_str("truncated"),
            Self::Status(status) => write!(to, "status {status}"),
            Self::LeaseOver => to.write_str("lease-over"),
            Self::NotHttp => to.write_str("not-http"),
        }
    }
}

/// A claim whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The lease whose late settle or release still counts; none once that attempt was released.
    pub lease: Option<Lease>,
    /// Run and the latest attempt.
    pub run: Execution,
    /// Why nobody knows.
    pub reason: Reason,
    /// When the latest attempt was granted.
    pub since: Timestamp,
    /// When the doubtful lease is over. Until then its Worker reads the call on (reason `timeout`); a Worker that
    /// ends a call in doubt for any other reason ends its lease with it.
    pub until: Timestamp,
    /// The durations for what follows.
    pub durations: Durations,
    /// When the doubt is closed.
    pub closes: Timestamp,
    /// When the closed record may go.
    pub gone: Timestamp,
    /// Why an earlier attempt of this run is in doubt too, if one is: releasing the latest leaves that doubt.
    pub earlier: Option<Reason>,
    /// The old reply that the run found, if any. Its body is still stored beside the record.
    pub base: Option<Completed>,
}

impl Record {
    /// The record as it is at an instant, time having passed since it was written; `None` once it is
    /// gone. A lapsed lease reads as a doubt, a passed `ttl` as expired.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Option<Self> {
        let state = match self.state {
            State::Running(running) if now < running.until => State::Running(running),
            State::Running(running) => doubt_at(running.lapsed(), now)?,
            State::Completed(completed) | State::Expired(completed) => {
                completed_at(completed, now)?
            }
            State::InDoubt(doubt) | State::Closed(doubt) => doubt_at(doubt, now)?,
            State::Released(released) if now < released.until => State::Released(released),
            State::Released(_) => return None,
        };
        Some(Self { state, ..self })
    }

    /// When the row may be deleted if nothing else happens to it: what the sweep compares.
    #[must_use]
    pub fn gone(&self) -> Timestamp {
        match &self.state {
            State::Running(running) => running.gone(),
            State::Completed(completed) | State::Expired(completed) => completed.gone,
            State::InDoubt(doubt) | State::Closed(doubt) => doubt.gone,
            State::Released(released) => released.until,
        }
    }

    /// Whether the operation has been executed, may have been, or may be under way: a released one has not.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.state, State::Released(_))
    }

    /// The reply whose body is stored beside the record, if there is one.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        let completed = match &self.state {
            State::Completed(completed) | State::Expired(completed) => Some(completed),
            State::Running(Running { previous: Previous::Replied(completed), .. }) => {
                Some(completed)
            }
            State::Running(Running { previous: Previous::Doubted(doubt), .. })
            | State::InDoubt(doubt)
            | State::Closed(doubt) => doubt.base.as_ref(),
            State::Released(released) => return released.reply.as_ref(),
            State::Running(Running { previous: Previous::Nothing, .. }) => None,
        };
        completed.map(|completed| &completed.reply)
    }

    /// Drops the headers of its reply, for a reader who does not need them.
    pub fn without_headers(&mut self) {
        if let State::Completed(completed) | State::Expired(completed) = &mut self.state {
            completed.reply.headers = Vec::new();
        }
    }

    /// What the sweep will do with the row, and when, if nothing else happens to it.
    #[must_use]
    pub fn due(&self) -> SweepAction {
        match &self.state {
            State::Completed(completed) if completed.leaves_tombstone() => {
                SweepAction::Tombstone(completed.expires)
            }
            _ => SweepAction::Delete(self.gone()),
        }
    }

    /// What the sweep writes when a tombstone is due: key id and fingerprint stay, the reply goes.
    #[must_use]
    pub fn into_tombstone(self, now: Timestamp) -> Option<Self> {
        let Self { metadata, state } = self.at(now)?;
        let State::Expired(completed) = state else { return None };
        let reply = Reply { headers: Vec::new(), body: Kept::StatusOnly, ..completed.reply };
        Some(Self { metadata, state: State::Completed(Completed { reply, ..completed }) })
    }
}

/// What the sweep will do with a row, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepAction {
    /// Delete the row.
    Delete(Timestamp),
    /// Remove the reply from it and leave the tombstone.
    Tombstone(Timestamp),
}

impl State {
    /// The settled claim, if the record has one.
    #[must_use]
    pub fn completed(&self) -> Option<&Completed> {
        match self {
            Self::Completed(completed) | Self::Expired(completed) => Some(completed),
            Self::Running(_) | Self::InDoubt(_) | Self::Closed(_) | Self::Released(_) => None,
        }
    }

    /// The doubt, if the outcome is unknown.
    #[must_use]
    pub fn doubt(&self) -> Option<&Doubt> {
        match self {
            Self::InDoubt(doubt) | Self::Closed(doubt) => Some(doubt),
            Self::Running(_) | Self::Completed(_) | Self::Expired(_) | Self::Released(_) => None,
        }
    }

    /// How many attempts this run of the operation has taken.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Running(running) => running.run.attempt,
            Self::Completed(completed) | Self::Expired(completed) => completed.run.attempt,
            Self::InDoubt(doubt) | Self::Closed(doubt) => doubt.run.attempt,
            Self::Released(released) => released.run.attempt,
        }
    }

    /// When the latest lease ends or ended; `None` once the claim is settled.
    #[must_use]
    pub fn lease_until(&self) -> Option<Timestamp> {
        match self {
            Self::Running(running) => Some(running.until),
            Self::InDoubt(doubt) | Self::Closed(doubt) => Some(doubt.until),
            Self::Completed(_) | Self::Expired(_) | Self::Released(_) => None,
        }
    }
}

impl Completed {
    fn leaves_tombstone(&self) -> bool {
        let is_one = self.reply.headers.is_empty() && self.reply.body == Kept::StatusOnly;
        self.gone > self.expires && !is_one
    }
}

impl Running {
    /// The doubt that this claim becomes when its lease lapses.
    pub(crate) fn lapsed(self) -> Doubt {
        let until = self.until;
        self.into_doubt(Reason::LeaseOver, until)
    }

    /// The doubt that this claim becomes when its Worker says that it does not know the outcome.
    pub(crate) fn doubted(self, reason: Reason, now: Timestamp) -> Doubt {
        let until = reason.ends_lease(self.until, now);
        self.into_doubt(reason, until)
    }

    fn into_doubt(self, reason: Reason, until: Timestamp) -> Doubt {
        let (earlier, base, at_least) = match self.previous {
            Previous::Nothing => (None, None, Timestamp(0)),
            Previous::Replied(completed) => (None, Some(completed), Timestamp(0)),
            Previous::Doubted(doubt) => (Some(doubt.reason), doubt.base, doubt.closes),
        };
        // Not shortened by a retry: an earlier doubt lasts at least its own `doubt_ttl`.
        let closes = until.plus(self.durations.doubt_ttl).max(at_least);
        Doubt {
            lease: Some(self.lease),
            run: self.run,
            reason,
            since: self.since,
            until,
            durations: self.durations,
            closes,
            gone: closes.plus(self.durations.tombstone.max(CLOSED_KEPT)),
            earlier,
            base,
        }
    }

    fn gone(&self) -> Timestamp {
        self.clone().lapsed().gone
    }
}

impl Reason {
    /// When the lease of a call is over that is in doubt since now, for this reason.
    pub(crate) fn ends_lease(self, until: Timestamp, now: Timestamp) -> Timestamp {
        match self {
            // Its answer may come yet.
            Self::Timeout => until,
            Self::ConnectionLost
            | Self::Truncated
            | Self::Status(_)
            | Self::LeaseOver
            | Self::NotHttp => until.min(now),
        }
    }
}

impl Completed {
    /// The doubt that a reply becomes which was settled at its head and whose body the origin broke off. Nothing is
    /// left of what the run found: the settle has replaced it.
    pub(crate) fn broken_off(self, durations: Durations, now: Timestamp) -> Doubt {
        let closes = now.plus(durations.doubt_ttl);
        Doubt {
            lease: Some(self.lease),
            run: self.run,
            reason: Reason::Truncated,
            since: self.settled,
            until: now,
            durations,
            closes,
            gone: closes.plus(durations.tombstone.max(CLOSED_KEPT)),
            earlier: (self.run.attempt > 1).then_some(Reason::Truncated),
            base: None,
        }
    }
}

fn completed_at(completed: Completed, now: Timestamp) -> Option<State> {
    if now < completed.expires {
        return Some(State::Completed(completed));
    }
    (now < completed.gone).then_some(State::Expired(completed))
}

fn doubt_at(doubt: Doubt, now: Timestamp) -> Option<State> {
    if now < doubt.closes {
        return Some(State::InDoubt(doubt));
    }
    (now < doubt.gone).then_some(State::Closed(doubt))
}

/// How long a closed doubt goes on to answer 410 at least: 90 days. Nobody ever learnt whether the origin executed
/// it, so forgetting it early would be the one way in which a doubt is run again.
pub const CLOSED_KEPT: Duration = Duration::from_hours(2160);
/// How long a released answer is kept for whoever has the status address.
pub const RELEASED_KEPT: Duration = Duration::from_mins(10);
