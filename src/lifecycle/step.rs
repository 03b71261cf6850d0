//! The life of one key: every transition that a request causes is in [`step`]; these are the main ones. (Those that
//! an operator causes are in [`crate::operator::decide`].)
//!
//! ```text
//!            claim                    settle(lease)
//!   absent ─────────▶ running(lease) ───────────────▶ completed ──ttl──▶ expired ──tombstone──▶ absent
//!     ▲                 │       │ doubt, or lease over     ▲ │
//!     └──release────────┘       ▼                          │ │ the streamed body broke off
//!       (back to what       in doubt(lease) ──late settle──┘ │
//!        the claim found)       │     ▲──────────────────────┘
//!                               └──doubt_ttl──▶ closed (answers 410)
//! ```
//!
//! Where the key has a status address, a release that would leave nothing leaves a released record for ten minutes. A
//! claim treats it as no record.
//!
//! A claim also makes a running record of a completed or an expired one, under `fail_on_running`, and of one in
//! doubt whose lease is over, under `retry`; a release then puts back what the claim found.
//!
//! `step` is pure and total: it takes the record as stored, one event and the Ledger's clock, and says
//! what to write and what to answer. Time passing needs no write: a lapsed lease and a passed `ttl` are
//! *read* ([`Record::at`]), so a crashed Worker costs nothing and a late alarm does no harm.
//!
//! Invariants: a lease is granted only where none is live; a settle, release or doubt changes a record
//! only under the record's own lease; a record in doubt is never granted again unless the new claim's route says
//! `retry`, and then only once the doubtful lease is over; the lease of a doubt is live for no reason but
//! `timeout`, and until it is over duplicates wait for it as for a running claim.

use std::time::Duration;

use crate::lifecycle::event::{
    Claim, CredentialChange, Event, How, OnInDoubt, Replay, Strategy, Verdict, Window,
};
use crate::lifecycle::record::{
    Completed, Doubt, Durations, Execution, Lease, Metadata, Previous, RELEASED_KEPT, Reason,
    Record, Released, Running, State, StatusKey,
};
use crate::lifecycle::reply::{Kept, Reply};
use crate::request::fingerprint::Fingerprint;
use crate::request::repeatability::CLOCKS_APART;
use crate::time::{Timestamp, millis};

/// Whether the shard holds a record of the same operation under another credential (a tombstone counts): running
/// the operation for this credential could be the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherCredential {
    /// No, or nobody has looked.
    None,
    /// Yes.
    Live,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// This record in place of any other, without a body.
    Insert(Record),
    /// This record; a stored body stays as it is.
    Update(Record),
    /// This record with the body that came with the event, in place of any other body.
    Complete(Record),
    /// No record and no body any more.
    Delete,
}

/// What an event leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to write.
    pub change: Change,
    /// What to answer.
    pub verdict: Verdict,
}

/// Decides. Total: every record, every event, every time.
#[must_use]
pub fn step(
    stored: Option<Record>,
    other_credential: OtherCredential,
    event: Event,
    now: Timestamp,
) -> Step {
    let found = stored.and_then(|record| record.at(now));
    match event {
        Event::Claim(claim) => on_claim(found, other_credential, &claim, now),
        Event::Settle(lease, reply) => on_settle(found, lease, reply, now),
        Event::Release(lease, reply) => on_release(found, lease, reply, now),
        Event::Doubt(lease, reason) => on_doubt(found, lease, reason, now),
        Event::BreakOff(lease, durations) => on_break_off(found, lease, durations, now),
        Event::Look(fingerprint, wait) => keep(look(found, fingerprint, wait, now)),
    }
}

fn on_claim(
    found: Option<Record>,
    other_credential: OtherCredential,
    claim: &Claim,
    now: Timestamp,
) -> Step {
    let Some(record) = found else {
        return grant_anew(claim, None, other_credential, now, Previous::Nothing);
    };
    let same = record.metadata.fingerprint == claim.metadata.fingerprint;
    match record.state {
        // The same claim again: the answer to the first one was lost.
        State::Running(running) if running.lease == claim.lease => {
            keep(Verdict::Granted(running.run, record.metadata.status.map(|status| status.secret)))
        }
        // A late copy of a claim that was released: no Worker would act on the grant.
        State::Released(released) if released.lease == claim.lease => keep(Verdict::Stale),
        State::Released(_) => {
            let status = record.metadata.status.filter(|_| same);
            grant_anew(claim, status, other_credential, now, Previous::Nothing)
        }
        _ if !same => {
            let mismatch = record.metadata.fingerprint.differs(&claim.metadata.fingerprint);
            keep(Verdict::KeyReused(mismatch))
        }
        // As if there were no record; a release writes back what was found, which reads as expired.
        State::Expired(completed) if claim.strategy == Strategy::FailOnRunning => {
            let status = record.metadata.status;
            grant_anew(claim, status, other_credential, now, Previous::Replied(completed))
        }
        // A late copy of a claim that has ended: its caller has been answered, or is gone. Granting it
        // again would put a lease that nobody holds over a settled reply.
        State::Completed(completed) if completed.lease == claim.lease => keep(replay(&completed)),
        State::InDoubt(doubt) if doubt.lease == Some(claim.lease) => keep(in_doubt(&doubt, now)),
        State::Running(running) => {
            let refused = in_flight(&record.metadata, &running, now);
            keep(wait_as(claim, running.until, now).unwrap_or(refused))
        }
        State::Completed(completed) => match claim.strategy {
            Strategy::ReturnExisting => keep(replay(&completed)),
            Strategy::Fail => keep(Verdict::AlreadyExecuted),
            Strategy::FailOnRunning => {
                let run = first_attempt(claim);
                grant(record.metadata, claim, run, Previous::Replied(completed), now)
            }
        },
        // Two leases are never live at once: the doubtful Worker is still reading, and its answer may come.
        State::InDoubt(doubt) if now < doubt.until => {
            keep(wait_as(claim, doubt.until, now).unwrap_or(in_doubt(&doubt, now)))
        }
        State::InDoubt(doubt) => match claim.on_in_doubt {
            OnInDoubt::Retry => {
                let run = Execution { attempt: doubt.run.attempt.saturating_add(1), ..doubt.run };
                grant(record.metadata, claim, run, Previous::Doubted(doubt), now)
            }
            OnInDoubt::Hold => keep(in_doubt(&doubt, now)),
        },
        State::Expired(_) | State::Closed(_) => keep(Verdict::Expired),
    }
}

/// Whether an unknown operation may be one that was forgotten. The Ledger's clock decides: it is the one by which records
/// are kept.
///
/// An operation may be granted 5 minutes before it was first sent by its client's clock, and is known for the window from
/// then on. So one that is unknown and younger than the window without these 5 minutes was never granted, or was released.
fn outside_window(window: Option<Window>, now: Timestamp) -> Option<Verdict> {
    let Window { first_sent, span } = window?;
    if first_sent > now.plus(CLOCKS_APART) {
        return Some(Verdict::AheadOfTime);
    }
    let is_old = now.since(first_sent) >= span.saturating_sub(CLOCKS_APART);
    is_old.then_some(Verdict::OutsideWindow)
}

/// A caller waits for a lease that is live, as long as it likes, if it came for the reply and not to be refused.
fn wait_as(claim: &Claim, until: Timestamp, now: Timestamp) -> Option<Verdict> {
    match claim.strategy {
        Strategy::ReturnExisting => join(claim.wait, until, now),
        Strategy::Fail | Strategy::FailOnRunning => None,
    }
}

fn join(wait: Duration, until: Timestamp, now: Timestamp) -> Option<Verdict> {
    (wait > Duration::ZERO).then(|| Verdict::Join(now.plus(wait).min(until)))
}

/// Retry-After is the claim's age: whoever comes again when the claim is twice as old waits twice as long each
/// time (an exponential back-off that needs no state). It never goes past the lease's end, when the answer
/// changes anyway.
fn in_flight(metadata: &Metadata, running: &Running, now: Timestamp) -> Verdict {
    let age_s = millis(now.since(running.since)).div_ceil(1000);
    let left_s = running.until.since(now).as_secs();
    let status = metadata.status.map(|status| status.secret);
    Verdict::InFlight { retry_after_s: age_s.min(left_s).max(1), status }
}

fn in_doubt(doubt: &Doubt, now: Timestamp) -> Verdict {
    if now < doubt.until {
        let retry_after_s = millis(doubt.until.since(now)).div_ceil(1000);
        return Verdict::StillRead { retry_after_s };
    }
    let over_for = now.since(doubt.until);
    Verdict::InDoubt { lease: doubt.lease, over_for, reason: doubt.reason }
}

fn replay(completed: &Completed) -> Verdict {
    Verdict::Replay(Replay::of(completed, How::Replayed))
}

/// Grants a first run, or refuses it where the same operation is live under another credential, or was first sent so long
/// ago that it may have been forgotten. `status` opens the key's status address, if the key has one.
fn grant_anew(
    claim: &Claim,
    status: Option<StatusKey>,
    other_credential: OtherCredential,
    now: Timestamp,
    previous: Previous,
) -> Step {
    match (claim.credential_change, other_credential) {
        (CredentialChange::Refuse, OtherCredential::Live) => keep(Verdict::CredentialChanged),
        (CredentialChange::Refuse, OtherCredential::None) | (CredentialChange::Forward, _) => {
            // What has left a tombstone is not unknown.
            let is_unknown = previous == Previous::Nothing;
            if let Some(refused) = outside_window(claim.window, now).filter(|_| is_unknown) {
                return keep(refused);
            }
            let metadata = Metadata { created: now, status, ..claim.metadata.clone() };
            grant(metadata, claim, first_attempt(claim), previous, now)
        }
    }
}

fn first_attempt(claim: &Claim) -> Execution {
    Execution { id: claim.lease, attempt: 1, spelling: claim.spelling }
}

fn grant(
    mut metadata: Metadata,
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
    // A new record has none yet, and neither has one that was made before its route answered asynchronously.
    metadata.status = metadata.status.or(claim.metadata.status);
    let verdict = Verdict::Granted(run, metadata.status.map(|status| status.secret));
    let record = Record { metadata, state };
    let change = if fresh { Change::Insert(record) } else { Change::Update(record) };
    Step { change, verdict }
}

fn on_settle(found: Option<Record>, lease: Lease, reply: Reply, now: Timestamp) -> Step {
    let Some(Record { metadata, state }) = found else {
        return keep(Verdict::Stale);
    };
    let (run, durations) = match state {
        State::Running(running) if running.lease == lease => (running.run, running.durations),
        State::InDoubt(doubt) if doubt.lease == Some(lease) => (doubt.run, doubt.durations),
        // The same settle again: the answer to the first one was lost.
        State::Completed(completed) if completed.lease == lease => {
            return keep(Verdict::Kept(Some(completed.expires)));
        }
        State::Running(_)
        | State::Completed(_)
        | State::InDoubt(_)
        | State::Expired(_)
        | State::Closed(_)
        | State::Released(_) => {
            return keep(Verdict::Stale);
        }
    };
    let expires = now.plus(durations.ttl);
    let gone = expires.plus(durations.tombstone);
    let completed = Completed { lease, run, reply, settled: now, expires, gone };
    let change = Change::Complete(Record { metadata, state: State::Completed(completed) });
    Step { change, verdict: Verdict::Kept(Some(expires)) }
}

fn on_release(found: Option<Record>, lease: Lease, reply: Option<Reply>, now: Timestamp) -> Step {
    let Some(Record { metadata, state }) = found else {
        return keep(Verdict::Stale);
    };
    let (run, previous) = match state {
        State::Running(running) if running.lease == lease => (running.run, running.previous),
        State::InDoubt(doubt) if doubt.lease == Some(lease) => (doubt.run, doubt.released(now)),
        // The same release again: the answer to the first one was lost.
        State::Released(released) if released.lease == lease => return keep(Verdict::Kept(None)),
        State::Running(_)
        | State::Completed(_)
        | State::InDoubt(_)
        | State::Expired(_)
        | State::Closed(_)
        | State::Released(_) => {
            return keep(Verdict::Stale);
        }
    };
    let nothing_is_left = match &previous {
        Previous::Nothing => true,
        // It has expired while the claim ran.
        Previous::Replied(completed) => completed.gone <= now,
        Previous::Doubted(_) => false,
    };
    let change = match previous {
        _ if nothing_is_left && metadata.status.is_some() => {
            let until = now.plus(RELEASED_KEPT);
            let state = State::Released(Released { lease, run, reply, since: now, until });
            Change::Complete(Record { metadata, state })
        }
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
        if let Some(reason) = self.earlier {
            // No Worker is still working on it: the leases of earlier attempts were over when this one began.
            let until = self.until.min(now);
            return Previous::Doubted(Self { lease: None, reason, until, ..self });
        }
        self.base.map_or(Previous::Nothing, Previous::Replied)
    }
}

fn on_doubt(found: Option<Record>, lease: Lease, reason: Reason, now: Timestamp) -> Step {
    let Some(Record { metadata, state }) = found else {
        return keep(Verdict::Stale);
    };
    let doubt = match state {
        State::Running(running) if running.lease == lease => running.doubted(reason, now),
        // What was read on until now has ended, and left the doubt.
        State::InDoubt(doubt)
            if doubt.lease == Some(lease) && now < doubt.until && reason != Reason::Timeout =>
        {
            let until = reason.ends_lease(doubt.until, now);
            Doubt { reason, until, ..doubt }
        }
        // The same doubt again: the answer to the first one was lost.
        State::InDoubt(doubt) if doubt.lease == Some(lease) => return keep(Verdict::Kept(None)),
        State::Running(_)
        | State::Completed(_)
        | State::InDoubt(_)
        | State::Expired(_)
        | State::Closed(_)
        | State::Released(_) => {
            return keep(Verdict::Stale);
        }
    };
    let change = Change::Update(Record { metadata, state: State::InDoubt(doubt) });
    Step { change, verdict: Verdict::Kept(None) }
}

/// Only a reply of which nothing but the head was stored can break off after it was settled.
fn on_break_off(found: Option<Record>, lease: Lease, durations: Durations, now: Timestamp) -> Step {
    match found {
        Some(Record { metadata, state: State::Completed(completed) })
            if completed.lease == lease && completed.reply.body == Kept::StatusOnly =>
        {
            let state = State::InDoubt(completed.broken_off(durations, now));
            let change = Change::Update(Record { metadata, state });
            Step { change, verdict: Verdict::Kept(None) }
        }
        found => on_doubt(found, lease, Reason::Truncated, now),
    }
}

fn look(
    found: Option<Record>,
    fingerprint: Fingerprint,
    wait: Duration,
    now: Timestamp,
) -> Verdict {
    let Some(record) = found else { return Verdict::Absent };
    if record.metadata.fingerprint != fingerprint {
        if !record.is_live() {
            return Verdict::Absent;
        }
        return Verdict::KeyReused(record.metadata.fingerprint.differs(&fingerprint));
    }
    let live = record.state.lease_until().filter(|until| now < *until);
    live.and_then(|until| join(wait, until, now)).unwrap_or_else(|| status(record, now))
}

/// What is known of a key: the answer at its status address. `record` is as it is now ([`Record::at`]).
#[must_use]
pub fn status(record: Record, now: Timestamp) -> Verdict {
    match record.state {
        State::Running(running) => in_flight(&record.metadata, &running, now),
        State::Completed(completed) => replay(&completed),
        State::InDoubt(doubt) => in_doubt(&doubt, now),
        State::Expired(_) | State::Closed(_) => Verdict::Expired,
        State::Released(Released { reply: Some(reply), until, .. }) => {
            Verdict::Replay(Replay { reply, expires: until, how: How::Released })
        }
        State::Released(Released { reply: None, .. }) => Verdict::Released,
    }
}

fn keep(verdict: Verdict) -> Step {
    Step { change: Change::Keep, verdict }
}
