//! Faults of the product that a test plants, to see that the judge notices: each is a mistake that
//! somebody has made in such a filter before. None of this is in the product.

use oncegate::filter::Unreachable;
use oncegate::lifecycle::record::{Completed, Doubt, Execution, Lease, Record, State};
use oncegate::lifecycle::step::{Change, Claim, Event, OtherCredential, Step, Verdict};
use oncegate::protocol::{Ask, Told};
use oncegate::request::key::KeyId;
use oncegate::time::{Timestamp, millis};

use super::Call;
use super::ledger::{Hearing, Ledger};
use crate::make::{self, s};

/// A known mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A waiter that loses its patience deletes the owner's lock.
    WaiterDeletesLock,
    /// A claim reads first and writes later, without looking again.
    CheckThenLock,
    /// A lease that is over counts as no record at all.
    LapseRunsAgain,
    /// Any lease settles.
    SettleByAnyLease,
    /// Any lease releases: of two probes that both hear 404 the second frees what the first has taken.
    ReleaseByAnyLease,
    /// A row that has expired, but is not swept yet, blocks a new claim.
    ExpiredRowBlocks,
    /// A settle that cannot be stored is taken for an operation that failed: the key is released.
    FailedSettleReleases,
    /// A wake hands the lease to one of those who waited, whether or not it is still there.
    WakeGrants,
    /// A release under `fail_on_running` forgets the reply that the claim found.
    ReleaseForgetsReply,
    /// A release under `retry` forgets the doubt that the claim found.
    ReleaseForgetsDoubt,
    /// A row in doubt is swept as if it were a reply.
    DoubtSweptAtTtl,
    /// A closed doubt is never swept.
    DoubtNeverSwept,
    /// The reply is replayed for as long as its row is there.
    ReplayPastExpiry,
    /// A tombstone is taken for nothing.
    TombstoneIgnored,
    /// A failed forward is sent once more.
    ForwardRepeated,
    /// What cannot be claimed is forwarded all the same.
    ForwardUnguarded,
    /// The client is told that its reply is stored before it is.
    AnsweredBeforeStored,
    /// The fingerprint is not compared.
    FingerprintIgnored,
    /// The key id is the key alone.
    ScopeLeftOut,
    /// Those who waited are told what the last claim but this one left.
    JoinedToAnother,
    /// `retry` forwards while the doubtful lease still lasts.
    RetryWhileLive,
    /// A retried doubt counts its attempts from 1.
    AttemptForgotten,
    /// The lease ends before the origin's time is over.
    LeaseTooShort,
    /// A settle that comes after its lease is refused.
    LateSettleRefused,
    /// Retry-After goes on growing past the lease's end.
    RetryAfterPastLease,
    /// What was given back is granted to a copy of the same claim.
    GivenBackForgotten,
    /// A settle wakes nobody.
    NobodyWoken,
    /// The lease's end is stored as the reply's: the row goes while it is in doubt.
    DoubtClosedEarly,
}

impl Mutant {
    pub(super) fn asks(mutant: Option<Self>, ask: Ask) -> Ask {
        match (mutant, ask) {
            (Some(Self::LeaseTooShort), Ask::Claim(mut claim, change)) => {
                claim.durations.lease = s(20);
                Ask::Claim(claim, change)
            }
            (_, ask) => ask,
        }
    }

    /// What is asked since the first question failed.
    pub(super) fn instead(
        mutant: Option<Self>,
        ask: &Ask,
        told: &Result<Told<Vec<u8>>, Unreachable>,
    ) -> Option<Ask> {
        match (mutant, ask, told) {
            (Some(Self::FailedSettleReleases), Ask::Settle(lease, _), Err(_)) => {
                Some(Ask::Release(*lease))
            }
            _ => None,
        }
    }

    pub(super) fn hears(
        mutant: Option<Self>,
        ask: &Ask,
        told: Result<Told<Vec<u8>>, Unreachable>,
    ) -> Result<Told<Vec<u8>>, Unreachable> {
        match (mutant, ask, told) {
            (Some(Self::ForwardUnguarded), Ask::Claim(claim, _), Err(_)) => {
                Ok(Told::Granted(make::run(claim.lease, 1)))
            }
            (Some(Self::AnsweredBeforeStored), Ask::Settle(..), Err(_)) => {
                Ok(Told::Kept(Some(Timestamp(0))))
            }
            (_, _, told) => told,
        }
    }

    /// What the Ledger takes for the stored record and the event.
    pub(super) fn previous(
        self,
        stored: Option<Record>,
        mut event: Event,
        now: Timestamp,
    ) -> (Option<Record>, Event) {
        let Some(mut record) = stored else { return (None, event) };
        let read = record.clone().at(now).map(|record| record.state);
        match (self, &mut event, &mut record.state) {
            (Self::LapseRunsAgain, Event::Claim(..), State::Running(running))
                if running.until <= now =>
            {
                return (None, event);
            }
            (Self::SettleByAnyLease, Event::Settle(lease, _), state)
            | (Self::ReleaseByAnyLease, Event::Release(lease), state) => {
                *lease = lease_of(state).unwrap_or(*lease);
            }
            (Self::ReplayPastExpiry, Event::Claim(..), State::Completed(completed)) => {
                completed.expires = completed.expires.max(Timestamp(now.0 + 1));
            }
            (Self::TombstoneIgnored, Event::Claim(..), State::Completed(completed))
                if completed.expires <= now =>
            {
                return (None, event);
            }
            (Self::FingerprintIgnored, Event::Claim(claim, _), _) => {
                claim.metadata.fingerprint = record.metadata.fingerprint;
            }
            (Self::RetryWhileLive, Event::Claim(..), State::InDoubt(doubt)) => {
                doubt.until = doubt.until.min(now);
            }
            (Self::LateSettleRefused, Event::Settle(lease, _), _)
                if !matches!(read, Some(State::Running(_))) =>
            {
                *lease = make::lease(0);
            }
            (Self::DoubtClosedEarly, _, State::InDoubt(doubt)) => {
                doubt.closes = doubt.until.plus(doubt.durations.ttl);
                doubt.gone = doubt.closes;
            }
            _ => {}
        }
        (Some(record), event)
    }

    /// What the Ledger makes of the step.
    pub(super) fn after(
        self,
        mut step: Step,
        stored: Option<&Record>,
        now: Timestamp,
        event: &Event,
    ) -> Step {
        match (self, &mut step.change, &mut step.verdict) {
            (Self::ReleaseForgetsReply, change @ Change::Update(_), Verdict::Kept(None)) => {
                if matches!(change, Change::Update(Record { state: State::Completed(_), .. })) {
                    *change = Change::Delete;
                }
            }
            (Self::ReleaseForgetsDoubt, change @ Change::Update(_), Verdict::Kept(None)) => {
                let released = matches!(event, Event::Release(_));
                if released
                    && matches!(change, Change::Update(Record { state: State::InDoubt(_), .. }))
                {
                    *change = Change::Delete;
                }
            }
            (
                Self::AttemptForgotten,
                Change::Update(Record { state: State::Running(running), .. }),
                Verdict::Granted(run),
            ) => {
                running.run.attempt = 1;
                run.attempt = 1;
            }
            (Self::RetryAfterPastLease, _, Verdict::InFlight { retry_after_s }) => {
                let since = stored.and_then(|record| match &record.state {
                    State::Running(running) => Some(running.since),
                    _ => None,
                });
                *retry_after_s = millis(now.since(since.unwrap_or(now))).div_ceil(1000).max(1);
            }
            (Self::ExpiredRowBlocks, change @ Change::Insert(_), verdict @ Verdict::Granted(_))
                if stored.is_some() =>
            {
                *change = Change::Keep;
                *verdict = Verdict::Expired;
            }
            _ => {}
        }
        step
    }

    /// Whether the sweep deletes a row, where that is wrong.
    pub(super) fn sweeps(self, record: &Record, now: Timestamp) -> Option<bool> {
        let sweeps = match (self, &record.state) {
            (Self::DoubtSweptAtTtl, State::Running(running)) => {
                running.since.plus(running.durations.ttl) <= now
            }
            (Self::DoubtSweptAtTtl, State::InDoubt(doubt)) => {
                doubt.until.plus(doubt.durations.ttl) <= now
            }
            (Self::DoubtNeverSwept, State::InDoubt(_)) => false,
            _ => return None,
        };
        Some(sweeps)
    }

    /// The record that a wake makes, if it grants: the first of those who waited has the lease.
    pub(super) fn grants(self, claim: &Claim, now: Timestamp) -> Option<(Record, Execution)> {
        (self == Self::WakeGrants).then(|| {
            let event = Event::Claim(claim.clone(), OtherCredential::None);
            match oncegate::lifecycle::step::step(None, event, now) {
                Step { change: Change::Insert(record), verdict: Verdict::Granted(run) } => {
                    (record, run)
                }
                _ => panic!("nothing is in the way"),
            }
        })
    }
}

fn lease_of(state: &State) -> Option<Lease> {
    match state {
        State::Running(running) => Some(running.lease),
        State::InDoubt(Doubt { lease, .. }) | State::Closed(Doubt { lease, .. }) => *lease,
        State::Completed(Completed { lease, .. }) | State::Expired(Completed { lease, .. }) => {
            Some(*lease)
        }
    }
}

impl Ledger {
    /// A grant is decided when its claim arrives, and written when it arrives again, whatever is there by
    /// then.
    pub(super) fn check_then_lock(
        &mut self,
        call: Call,
        key: KeyId,
        change: &Change,
    ) -> Option<Hearing> {
        let granted = |change: &Change| match change {
            Change::Insert(Record { state: State::Running(running), .. })
            | Change::Update(Record { state: State::Running(running), .. }) => Some(running.run),
            _ => None,
        };
        if let Some(read) = self.to_write.iter().position(|(by, _)| *by == call) {
            let (_, change) = self.to_write.remove(read);
            self.write(key, &change, &[]);
            return granted(&change).map(|run| Hearing::Answered(Told::Granted(run)));
        }
        granted(change).map(|_| {
            self.to_write.push((call, change.clone()));
            Hearing::Again
        })
    }
}
