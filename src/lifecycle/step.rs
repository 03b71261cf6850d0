//! The life of one key: every transition of every record lives here, in [`step`].
//!
//! ```text
//!            claim                    settle(lease)
//!   absent ─────────▶ running(lease) ───────────────▶ completed ──ttl──▶ expired ──tombstone──▶ absent
//!     ▲                 │       │ doubt, or lease over     ▲
//!     └──release────────┘       ▼                          │
//!       (back to what       in doubt(lease) ──late settle──┘
//!        the claim found)       └──doubt_ttl──▶ closed (answers 410)
//! ```
//!
//! `step` is pure and total: it takes the record as stored, one event and the Ledger's clock, and says
//! what to write and what to answer. Time passing needs no write: a lapsed lease, a passed `ttl` are
//! *read* ([`Record::at`]), so a crashed Worker costs nothing and a late alarm harms nothing.
//!
//! Invariants: a lease is granted only where none is live; a settle, release or doubt changes a record
//! only under the record's own lease; a record in doubt is never granted again unless its policy says
//! `retry`, and then only once the doubtful lease is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::record::{
    Completed, Doubt, Durations, Execution, KeySpelling, Lease, Metadata, Previous, Record,
    Running, State,
};
use crate::lifecycle::reply::Reply;
use crate::request::fingerprint::{Fingerprint, Mismatch};
use crate::time::{Timestamp, millis};

/// What a duplicate wants (Conductor's three strategies).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Wait for the running one, replay the stored reply.
    ReturnExisting,
    /// Refuse every duplicate.
    Fail,
    /// Refuse a duplicate only while one is running; run again once it has completed.
    FailOnRunning,
}

/// What happens to a record in doubt when a duplicate comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInDoubt {
    /// Nothing: the duplicate hears that the outcome is unknown.
    Hold,
    /// The duplicate is forwarded once the doubtful lease is over (idempotent origins only).
    Retry,
}

/// Whether the shard still holds a record of the same operation under another credential, be it only a
/// tombstone: running the operation for this one could be the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherCredential {
    /// No, or the route does not care.
    None,
    /// Yes.
    Live,
}

/// A request to be the one that forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Random token; repeated with every repetition of the same claim.
    pub lease: Lease,
    /// Identity, if the claim makes a new record (`created` is set here).
    pub metadata: Metadata,
    /// What the duplicate wants.
    pub strategy: Strategy,
    /// What the route says of doubts.
    pub on_in_doubt: OnInDoubt,
    /// Spans of the route.
    pub durations: Durations,
    /// How long the caller is willing to wait for a running claim.
    pub wait: Duration,
    /// The spelling in which the caller brought the key.
    pub spelling: KeySpelling,
}

/// What can happen to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Take the right to forward.
    Claim(Claim, OtherCredential),
    /// End a claim with the reply to keep.
    Settle(Lease, Reply),
    /// End a claim knowing, or told by policy, that running again is right.
    Release(Lease),
    /// Say that a claim's outcome cannot be known.
    Doubt(Lease),
    /// Read without claiming: what would a duplicate with this fingerprint hear?
    Look(Fingerprint),
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward: the lease is yours.
    Granted(Execution),
    /// Wait until then for the running claim, then claim again.
    Join(Timestamp),
    /// A claim is running; come again after so many seconds.
    InFlight {
        /// The claim's age so far, at least 1 s, never past the lease's end.
        retry_after_s: u64,
    },
    /// Send the stored reply (its body is stored beside the record).
    Replay(Completed),
    /// The operation has been executed.
    AlreadyExecuted,
    /// The outcome is not known.
    InDoubt {
        /// The doubtful lease, for whoever resolves it.
        lease: Option<Lease>,
        /// For how long that lease has been over; none while it is not.
        over_for: Option<Duration>,
    },
    /// The reply is gone; the operation is not run again.
    Expired,
    /// The key was used for another request, which differs in this.
    KeyReused(Mismatch),
    /// The operation is recorded under another credential.
    CredentialChanged,
    /// The settle, release or doubt counts. After a settle: when the reply expires.
    Kept(Option<Timestamp>),
    /// The lease is not, or no longer, this record's: nothing was changed.
    Stale,
    /// There is no record (only to a look).
    Absent,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// This record in place of whatever is there, without a body.
    Insert(Record),
    /// This record; a stored body stays as it is.
    Update(Record),
    /// This record with the body that came with the event, in place of any other.
    Complete(Record),
    /// No record and no body any more.
    Delete,
}

/// The whole outcome of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to write.
    pub change: Change,
    /// What to answer.
    pub verdict: Verdict,
}

/// The one function that decides. Total: every record, every event, every time.
#[must_use]
pub fn step(stored: Option<Record>, event: Event, now: Timestamp) -> Step {
    let found = stored.and_then(|record| record.at(now));
    match event {
        Event::Claim(claim, other_credential) => on_claim(found, &claim, other_credential, now),
        Event::Settle(lease, reply) => on_settle(found, lease, reply, now),
        Event::Release(lease) => on_release(found, lease, now),
        Event::Doubt(lease) => on_doubt(found, lease),
        Event::Look(fingerprint) => keep(look(found, fingerprint, now)),
    }
}

fn on_claim(
    found: Option<Record>,
    claim: &Claim,
    other_credential: OtherCredential,
    now: Timestamp,
) -> Step {
    let Some(record) = found else {
        return grant_anew(claim, other_credential, now, Previous::Nothing);
    };
    let same = record.metadata.fingerprint == claim.metadata.fingerprint;
    match record.state {
        // The same claim again: its first answer was lost.
        State::Running(running) if running.lease == claim.lease => {
            keep(Verdict::Granted(running.run))
        }
        _ if !same => {
            let differs = record.metadata.fingerprint.differs(&claim.metadata.fingerprint);
            keep(Verdict::KeyReused(differs))
        }
        // As none; a release puts the tombstone back.
        State::Expired(completed) if claim.strategy == Strategy::FailOnRunning => {
            grant_anew(claim, other_credential, now, Previous::Replied(completed))
        }
        // A late copy of a claim that has ended: its caller is served, or gone. Granting it again would
        // put a lease that nobody holds over a settled reply.
        State::Completed(completed) if completed.lease == claim.lease => {
            keep(Verdict::Replay(completed))
        }
        State::InDoubt(doubt) if doubt.lease == Some(claim.lease) => keep(in_doubt(&doubt, now)),
        State::Running(running) => keep(wait_or_refuse(&running, claim, now)),
        State::Completed(completed) => match claim.strategy {
            Strategy::ReturnExisting => keep(Verdict::Replay(completed)),
            Strategy::Fail => keep(Verdict::AlreadyExecuted),
            Strategy::FailOnRunning => {
                let run = Execution { id: claim.lease, attempt: 1, spelling: claim.spelling };
                grant(record.metadata, claim, run, Previous::Replied(completed), now)
            }
        },
        State::InDoubt(doubt) => match claim.on_in_doubt {
            // Two leases are never live at once: the doubtful Worker may still be reading.
            OnInDoubt::Retry if now >= doubt.until => {
                let run = Execution { attempt: doubt.run.attempt.saturating_add(1), ..doubt.run };
                grant(record.metadata, claim, run, Previous::Doubted(doubt), now)
            }
            OnInDoubt::Retry | OnInDoubt::Hold => keep(in_doubt(&doubt, now)),
        },
        State::Expired(_) | State::Closed(_) => keep(Verdict::Expired),
    }
}

fn wait_or_refuse(running: &Running, claim: &Claim, now: Timestamp) -> Verdict {
    match claim.strategy {
        Strategy::ReturnExisting if claim.wait > Duration::from_millis(0) => {
            Verdict::Join(now.plus(claim.wait).min(running.until))
        }
        Strategy::ReturnExisting | Strategy::Fail | Strategy::FailOnRunning => {
            in_flight(running, now)
        }
    }
}

/// Coming again when the claim is twice as old halves the error each time (an exponential back-off
/// that needs no state); never past the lease's end, when the answer changes anyway.
fn in_flight(running: &Running, now: Timestamp) -> Verdict {
    let age_s = millis(now.since(running.since)).div_ceil(1000);
    let left_s = running.until.since(now).as_secs();
    Verdict::InFlight { retry_after_s: age_s.min(left_s).max(1) }
}

fn in_doubt(doubt: &Doubt, now: Timestamp) -> Verdict {
    let over_for = (now >= doubt.until).then(|| now.since(doubt.until));
    Verdict::InDoubt { lease: doubt.lease, over_for }
}

/// A first run: refused where the same operation is live under another credential.
fn grant_anew(
    claim: &Claim,
    other_credential: OtherCredential,
    now: Timestamp,
    previous: Previous,
) -> Step {
    if other_credential == OtherCredential::Live {
        return keep(Verdict::CredentialChanged);
    }
    let metadata = Metadata { created: now, ..claim.metadata.clone() };
    let run = Execution { id: claim.lease, attempt: 1, spelling: claim.spelling };
    grant(metadata, claim, run, previous, now)
}

fn grant(
    metadata: Metadata,
    claim: &Claim,
    run: Execution,
    previous: Previous,
    now: Timestamp,
) -> Step {
    let fresh = previous == Previous::Nothing;
    let state = State::Running(Running {
        lease: claim.lease,
        run,
        since: now,
        until: now.plus(claim.durations.lease),
        durations: claim.durations,
        previous,
    });
    let record = Record { metadata, state };
    let change = if fresh { Change::Insert(record) } else { Change::Update(record) };
    Step { change, verdict: Verdict::Granted(run) }
}

fn on_settle(found: Option<Record>, lease: Lease, reply: Reply, now: Timestamp) -> Step {
    let Some(Record { metadata, state }) = found else {
        return keep(Verdict::Stale);
    };
    let (run, ttl, tombstone) = match state {
        State::Running(running) if running.lease == lease => {
            (running.run, running.durations.ttl, running.durations.tombstone)
        }
        State::InDoubt(doubt) if doubt.lease == Some(lease) => {
            (doubt.run, doubt.durations.ttl, doubt.durations.tombstone)
        }
        // The same settle again: its first answer was lost.
        State::Completed(completed) if completed.lease == lease => {
            return keep(Verdict::Kept(Some(completed.expires)));
        }
        State::Running(_)
        | State::Completed(_)
        | State::InDoubt(_)
        | State::Expired(_)
        | State::Closed(_) => {
            return keep(Verdict::Stale);
        }
    };
    let expires = now.plus(ttl);
    let gone = expires.plus(tombstone);
    let completed = Completed { lease, run, reply, settled: now, expires, gone };
    let change = Change::Complete(Record { metadata, state: State::Completed(completed) });
    Step { change, verdict: Verdict::Kept(Some(expires)) }
}

fn on_release(found: Option<Record>, lease: Lease, now: Timestamp) -> Step {
    let Some(Record { metadata, state }) = found else {
        return keep(Verdict::Stale);
    };
    let previous = match state {
        State::Running(running) if running.lease == lease => running.previous,
        State::InDoubt(doubt) if doubt.lease == Some(lease) => doubt.released(now),
        State::Running(_)
        | State::Completed(_)
        | State::InDoubt(_)
        | State::Expired(_)
        | State::Closed(_) => {
            return keep(Verdict::Stale);
        }
    };
    let change = match previous {
        Previous::Nothing => Change::Delete,
        Previous::Replied(completed) => {
            Change::Update(Record { metadata, state: State::Completed(completed) })
        }
        Previous::Doubted(doubt) => {
            Change::Update(Record { metadata, state: State::InDoubt(doubt) })
        }
    };
    Step { change, verdict: Verdict::Kept(None) }
}

impl Doubt {
    /// What is left when its latest attempt turns out not to have happened.
    fn released(self, now: Timestamp) -> Previous {
        if self.earlier {
            // Nobody is at it any more: the leases of earlier attempts were over when this one began.
            return Previous::Doubted(Self { lease: None, until: self.until.min(now), ..self });
        }
        self.base.map_or(Previous::Nothing, Previous::Replied)
    }
}

fn on_doubt(found: Option<Record>, lease: Lease) -> Step {
    match found {
        Some(Record { metadata, state: State::Running(running) }) if running.lease == lease => {
            let state = State::InDoubt(running.into_doubt());
            Step {
                change: Change::Update(Record { metadata, state }),
                verdict: Verdict::Kept(None),
            }
        }
        Some(Record { state: State::InDoubt(doubt), .. }) if doubt.lease == Some(lease) => {
            keep(Verdict::Kept(None))
        }
        Some(_) | None => keep(Verdict::Stale),
    }
}

fn look(found: Option<Record>, fingerprint: Fingerprint, now: Timestamp) -> Verdict {
    match found {
        None => Verdict::Absent,
        Some(record) if record.metadata.fingerprint != fingerprint => {
            Verdict::KeyReused(record.metadata.fingerprint.differs(&fingerprint))
        }
        Some(record) => match record.state {
            State::Running(running) => in_flight(&running, now),
            State::Completed(completed) => Verdict::Replay(completed),
            State::InDoubt(doubt) => in_doubt(&doubt, now),
            State::Expired(_) | State::Closed(_) => Verdict::Expired,
        },
    }
}

fn keep(verdict: Verdict) -> Step {
    Step { change: Change::Keep, verdict }
}
