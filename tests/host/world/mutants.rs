//! Mutants: the product with one mistake, to see that the judge notices. Each is a mistake that somebody has
//! made in such a filter before. None of this is in the product.

use oncegate::filter::Unreachable;
use oncegate::lifecycle::event::{Claim, Event, How, Replay, Verdict};
use oncegate::lifecycle::ledger::Decision;
use oncegate::lifecycle::record::{
    Completed, Doubt, Execution, Lease, Metadata, Reason, Record, Released, State,
};
use oncegate::lifecycle::step::{Change, OtherCredential, Step, step};
use oncegate::protocol::LedgerAnswer;
use oncegate::time::{Timestamp, millis};

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
    /// A wake hands the lease to one of the waiters, whether or not that caller is still there.
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
    /// A request whose key cannot be claimed is forwarded all the same.
    ForwardUnguarded,
    /// The client is answered that its reply is stored before it is.
    AnsweredBeforeStored,
    /// The fingerprint is not compared.
    FingerprintIgnored,
    /// The key id is the key alone.
    ScopeLeftOut,
    /// The waiters are sent another reply than the settled one.
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
    /// A released lease is granted to a copy of the same claim.
    GivenBackForgotten,
    /// A settle wakes nobody.
    NobodyWoken,
    /// The lease's end is stored as the reply's: the row goes while it is in doubt.
    DoubtClosedEarly,
    /// A doubt whose lease is over is joined as if its call were still read.
    DoubtJoinedForEver,
    /// A caller that would wait for a call that is still read is granted it.
    JoinedDoubtGranted,
    /// Whatever the reason of a doubt is, its lease lives on.
    DoubtKeepsLease,
    /// A stream that the origin breaks off stays settled.
    BreakOffForgotten,
    /// Why a record is in doubt is not kept.
    ReasonForgotten,
    /// A lease is handed over once more where the answer to that was lost.
    HandOverRepeated,
    /// A lease whose hand-over was lost is released, though a Runner may have it.
    LostHandOverReleased,
    /// A Runner gets the lease of its request's first claim, whichever was granted.
    FirstLeaseHandedOver,
    /// A Runner that is reached late begins all the same.
    LateHandOverTaken,
    /// What was released is replayed to a duplicate, which is never forwarded.
    ReleasedReplayed,
    /// What was released stands in the way of another credential.
    ReleasedIsLive,
    /// The status address tells a released answer as the reply of the operation.
    ReleasedToldAsReply,
    /// Each claim of a key has a status address of its own.
    AddressOfEachClaim,
}

/// What a Worker is answered, with the body beside it.
type Answer = Result<(LedgerAnswer, Option<Vec<u8>>), Unreachable>;

/// Mistakes of a Worker.
impl Mutant {
    /// The event that is sent.
    pub(super) fn sends(mutant: Option<Self>, event: &Event) -> Event {
        match (mutant, event.clone()) {
            (Some(Self::LeaseTooShort), Event::Claim(mut claim)) => {
                claim.durations.lease = s(20);
                Event::Claim(claim)
            }
            (_, event) => event,
        }
    }

    /// What is sent next where the first event failed.
    pub(super) fn sends_next(
        mutant: Option<Self>,
        event: &Event,
        answer: &Answer,
    ) -> Option<Event> {
        match (mutant, event, answer) {
            (Some(Self::FailedSettleReleases), Event::Settle(lease, _), Err(_)) => {
                Some(Event::Release(*lease, None))
            }
            _ => None,
        }
    }

    /// What the answer is taken for.
    pub(super) fn hears(mutant: Option<Self>, event: &Event, answer: Answer) -> Answer {
        let verdict = match (mutant, event, &answer) {
            (Some(Self::ForwardUnguarded), Event::Claim(claim), Err(_)) => {
                Verdict::Granted(make::run(claim.lease, 1), None)
            }
            (Some(Self::AnsweredBeforeStored), Event::Settle(..), Err(_)) => {
                Verdict::Kept(Some(Timestamp(0)))
            }
            _ => return answer,
        };
        Ok((LedgerAnswer::Verdict(verdict), None))
    }
}

/// Mistakes of a Ledger.
impl Mutant {
    /// What the event is taken for.
    pub(super) fn event(self, mut event: Event, stored: Option<&Record>, now: Timestamp) -> Event {
        let Some(record) = stored else { return event };
        let is_running =
            record.clone().at(now).is_some_and(|record| matches!(record.state, State::Running(_)));
        match (self, &mut event) {
            (Self::SettleByAnyLease, Event::Settle(lease, _))
            | (Self::ReleaseByAnyLease, Event::Release(lease, _)) => {
                *lease = lease_of(&record.state).unwrap_or(*lease);
            }
            (Self::FingerprintIgnored, Event::Claim(claim)) => {
                claim.metadata.fingerprint = record.metadata.fingerprint;
            }
            (Self::DoubtKeepsLease, Event::Doubt(_, reason)) => *reason = Reason::Timeout,
            (Self::LateSettleRefused, Event::Settle(lease, _)) if !is_running => {
                *lease = make::lease(0);
            }
            _ => {}
        }
        event
    }

    /// What the stored record is taken for.
    pub(super) fn record(
        self,
        mut record: Record,
        event: &Event,
        now: Timestamp,
    ) -> Option<Record> {
        match (self, event, &mut record.state) {
            (Self::LapseRunsAgain, Event::Claim(_), State::Running(running))
                if running.until <= now =>
            {
                return None;
            }
            (Self::TombstoneIgnored, Event::Claim(_), State::Completed(completed))
                if completed.expires <= now =>
            {
                return None;
            }
            (Self::ReplayPastExpiry, Event::Claim(_), State::Completed(completed)) => {
                completed.expires = completed.expires.max(Timestamp(now.0 + 1));
            }
            (Self::RetryWhileLive, Event::Claim(_), State::InDoubt(doubt)) => {
                doubt.until = doubt.until.min(now);
            }
            (Self::JoinedDoubtGranted, Event::Claim(claim), State::InDoubt(doubt))
                if now < doubt.until && claim.wait > s(0) =>
            {
                return None;
            }
            (Self::ReleasedReplayed, Event::Claim(_), State::Released(released)) => {
                if let Some(record) = as_reply(&record.metadata, released) {
                    return Some(record);
                }
            }
            (Self::AddressOfEachClaim, Event::Claim(claim), state)
                if lease_of(state) != Some(claim.lease) =>
            {
                record.metadata.status = None;
            }
            (Self::ReasonForgotten, _, State::InDoubt(doubt)) => doubt.reason = Reason::LeaseOver,
            (Self::DoubtClosedEarly, _, State::InDoubt(doubt)) => {
                doubt.closes = doubt.until.plus(doubt.durations.ttl);
                doubt.gone = doubt.closes;
            }
            _ => {}
        }
        Some(record)
    }

    /// What a record of the same operation under another credential is taken for.
    pub(super) fn other(self, record: Record) -> Record {
        match &record.state {
            State::Released(released) if self == Self::ReleasedIsLive => {
                as_reply(&record.metadata, released).unwrap_or(record)
            }
            _ => record,
        }
    }

    /// What a status address tells.
    pub(super) fn tells(self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Replay(replay) if self == Self::ReleasedToldAsReply => {
                Verdict::Replay(Replay { how: How::Replayed, ..replay })
            }
            verdict => verdict,
        }
    }

    /// What is written; `was_there` tells whether there was a row, be it one that is over.
    pub(super) fn change(self, mut change: Change, event: &Event, was_there: bool) -> Change {
        let is_release = matches!(event, Event::Release(..));
        match (self, &mut change) {
            (
                Self::ReleaseForgetsReply,
                Change::Update(Record { state: State::Completed(_), .. }),
            )
            | (
                Self::ReleaseForgetsDoubt,
                Change::Update(Record { state: State::InDoubt(_), .. }),
            ) if is_release => Change::Delete,
            (
                Self::AttemptForgotten,
                Change::Update(Record { state: State::Running(running), .. }),
            ) => {
                running.run.attempt = 1;
                change
            }
            (Self::ExpiredRowBlocks, Change::Insert(_)) if was_there => Change::Keep,
            (Self::BreakOffForgotten, _) if matches!(event, Event::BreakOff(..)) => Change::Keep,
            _ => change,
        }
    }

    /// What is answered.
    pub(super) fn verdict(self, decision: &Decision<Vec<u8>>, now: Timestamp) -> Option<Verdict> {
        let stored = decision.found.as_ref().map(|row| &row.record.state);
        match (self, &decision.step.change, &decision.step.verdict) {
            (Self::AttemptForgotten, Change::Update(_), Verdict::Granted(run, status)) => {
                Some(Verdict::Granted(Execution { attempt: 1, ..*run }, *status))
            }
            (Self::DoubtJoinedForEver, _, Verdict::InDoubt { .. }) => {
                Some(Verdict::Join(now.plus(s(10))))
            }
            (Self::RetryAfterPastLease, _, Verdict::InFlight { status, .. }) => {
                let Some(State::Running(running)) = stored else { panic!("a claim is running") };
                let age_s = millis(now.since(running.since)).div_ceil(1000);
                Some(Verdict::InFlight { retry_after_s: age_s.max(1), status: *status })
            }
            (Self::ExpiredRowBlocks, Change::Insert(_), Verdict::Granted(..))
                if stored.is_some() =>
            {
                Some(Verdict::Expired)
            }
            _ => None,
        }
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

    /// The record that a wake makes, if it grants: the first of the waiters has the lease.
    pub(super) fn grants(self, claim: &Claim, now: Timestamp) -> Option<(Record, Execution)> {
        (self == Self::WakeGrants).then(|| {
            match step(None, OtherCredential::None, Event::Claim(claim.clone()), now) {
                Step { change: Change::Insert(record), verdict: Verdict::Granted(run, _) } => {
                    (record, run)
                }
                _ => panic!("nothing is in the way"),
            }
        })
    }
}

/// What was released, as if it had been settled.
fn as_reply(metadata: &Metadata, released: &Released) -> Option<Record> {
    let Released { lease, run, reply, since, until } = released.clone();
    let completed =
        Completed { lease, run, reply: reply?, settled: since, expires: until, gone: until };
    Some(Record { metadata: metadata.clone(), state: State::Completed(completed) })
}

fn lease_of(state: &State) -> Option<Lease> {
    match state {
        State::Running(running) => Some(running.lease),
        State::InDoubt(Doubt { lease, .. }) | State::Closed(Doubt { lease, .. }) => *lease,
        State::Completed(Completed { lease, .. }) | State::Expired(Completed { lease, .. }) => {
            Some(*lease)
        }
        State::Released(Released { lease, .. }) => Some(*lease),
    }
}
