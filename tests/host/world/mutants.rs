//! Mutants: the product with one mistake, to see that the judge notices. Each is a mistake that somebody has
//! made in such a filter before. None of this is in the product.

use oncegate::encoding::Unreadable;
use oncegate::filter::Unreachable;
use oncegate::lifecycle::ended_leases::EndedLeases;
use oncegate::lifecycle::event::{Claim, Event, Verdict};
use oncegate::lifecycle::ledger::{self, Decision, Found, Rows};
use oncegate::lifecycle::record::{Completed, Doubt, Execution, Lease, Record, State};
use oncegate::lifecycle::step::{Change, OtherCredential, Step, step};
use oncegate::protocol::LedgerAnswer;
use oncegate::request::fingerprint::OperationId;
use oncegate::request::key::KeyId;
use oncegate::time::{Timestamp, millis};

use super::Call;
use super::ledger::{Ledger, MemoryRows};
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
                Some(Event::Release(*lease))
            }
            _ => None,
        }
    }

    /// What the answer is taken for.
    pub(super) fn hears(mutant: Option<Self>, event: &Event, answer: Answer) -> Answer {
        let verdict = match (mutant, event, &answer) {
            (Some(Self::ForwardUnguarded), Event::Claim(claim), Err(_)) => {
                Verdict::Granted(make::run(claim.lease, 1))
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
    fn event(self, mut event: Event, stored: Option<&Record>, now: Timestamp) -> Event {
        let Some(record) = stored else { return event };
        let is_running =
            record.clone().at(now).is_some_and(|record| matches!(record.state, State::Running(_)));
        match (self, &mut event) {
            (Self::SettleByAnyLease, Event::Settle(lease, _))
            | (Self::ReleaseByAnyLease, Event::Release(lease)) => {
                *lease = lease_of(&record.state).unwrap_or(*lease);
            }
            (Self::FingerprintIgnored, Event::Claim(claim)) => {
                claim.metadata.fingerprint = record.metadata.fingerprint;
            }
            (Self::LateSettleRefused, Event::Settle(lease, _)) if !is_running => {
                *lease = make::lease(0);
            }
            _ => {}
        }
        event
    }

    /// What the stored record is taken for.
    fn record(self, mut record: Record, event: &Event, now: Timestamp) -> Option<Record> {
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
            (Self::DoubtClosedEarly, _, State::InDoubt(doubt)) => {
                doubt.closes = doubt.until.plus(doubt.durations.ttl);
                doubt.gone = doubt.closes;
            }
            _ => {}
        }
        Some(record)
    }

    /// What is written; `was_there` tells whether there was a row, be it one that is over.
    fn change(self, mut change: Change, event: &Event, was_there: bool) -> Change {
        let is_release = matches!(event, Event::Release(_));
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
            _ => change,
        }
    }

    /// What is answered.
    fn verdict(self, decision: &Decision<Vec<u8>>, now: Timestamp) -> Option<Verdict> {
        let stored = decision.found.as_ref().map(|row| &row.record.state);
        match (self, &decision.change, &decision.verdict) {
            (Self::AttemptForgotten, Change::Update(_), Verdict::Granted(run)) => {
                Some(Verdict::Granted(Execution { attempt: 1, ..*run }))
            }
            (Self::RetryAfterPastLease, _, Verdict::InFlight { .. }) => {
                let Some(State::Running(running)) = stored else { panic!("a claim is running") };
                let age_s = millis(now.since(running.since)).div_ceil(1000);
                Some(Verdict::InFlight { retry_after_s: age_s.max(1) })
            }
            (Self::ExpiredRowBlocks, Change::Insert(_), Verdict::Granted(_))
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

/// The rows as a mutant takes them and writes them.
pub(super) struct MutantRows<'a> {
    rows: MemoryRows<'a>,
    mutant: Mutant,
    key_id: KeyId,
    event: Event,
    now: Timestamp,
    /// A change that is not written yet.
    pub(super) left: Option<Change>,
}

type Row = ledger::Row<Vec<u8>>;

impl<'a> MutantRows<'a> {
    pub(super) fn new(
        rows: MemoryRows<'a>,
        mutant: Mutant,
        key_id: KeyId,
        event: Event,
        now: Timestamp,
    ) -> Self {
        let stored = rows.rows.get(&key_id).map(|row| row.record());
        let event = mutant.event(event, stored.as_ref(), now);
        Self { rows, mutant, key_id, event, now, left: None }
    }

    pub(super) fn decide(&mut self, ended: &mut EndedLeases) -> Decision<Vec<u8>> {
        let mut none = EndedLeases::default();
        let ended = if self.mutant == Mutant::GivenBackForgotten { &mut none } else { ended };
        let (key_id, event, now) = (self.key_id, self.event.clone(), self.now);
        let mut decision = ledger::decide(self, ended, key_id, event, now).unwrap();
        if let Some(verdict) = self.mutant.verdict(&decision, now) {
            decision.verdict = verdict;
        }
        decision
    }

    fn taken_for(&self, row: Option<Row>) -> Option<Row> {
        let Row { record, body } = row?;
        self.mutant.record(record, &self.event, self.now).map(|record| Row { record, body })
    }
}

impl Rows for MutantRows<'_> {
    type Error = Unreadable;
    type Body = Vec<u8>;

    fn find(&self, key_id: KeyId) -> Result<Option<Row>, Unreadable> {
        self.rows.find(key_id).map(|row| self.taken_for(row))
    }

    fn find_with_body(&self, key_id: KeyId) -> Result<Option<Row>, Unreadable> {
        self.rows.find_with_body(key_id).map(|row| self.taken_for(row))
    }

    fn find_for_claim(
        &self,
        key_id: KeyId,
        operation: Option<OperationId>,
        now: Timestamp,
    ) -> Result<Found<Self>, Unreadable> {
        let Found { own, others } = self.rows.find_for_claim(key_id, operation, now)?;
        Ok(Found { own: self.taken_for(own), others })
    }

    fn apply(
        &mut self,
        key_id: KeyId,
        found: Option<&Row>,
        change: &Change,
    ) -> Result<(), Unreadable> {
        let was_there = self.rows.rows.contains_key(&key_id);
        let change = self.mutant.change(change.clone(), &self.event, was_there);
        if self.mutant == Mutant::CheckThenLock && granted(&change).is_some() {
            self.left = Some(change);
            return Ok(());
        }
        self.rows.apply(key_id, found, &change)
    }
}

fn granted(change: &Change) -> Option<Execution> {
    match change {
        Change::Insert(Record { state: State::Running(running), .. })
        | Change::Update(Record { state: State::Running(running), .. }) => Some(running.run),
        _ => None,
    }
}

impl Ledger {
    /// Writes a grant that was decided when its claim arrived first, whatever is there by now.
    pub(super) fn written_late(&mut self, call: Call, key_id: KeyId) -> Option<Execution> {
        let decided = self.to_write.iter().position(|(by, _)| *by == call)?;
        let (_, change) = self.to_write.remove(decided);
        self.write(key_id, &change, &[]);
        granted(&change)
    }

    /// The key id under which a request is kept.
    pub(super) fn meant(&self, key_id: KeyId) -> KeyId {
        let same_key = |other: &&KeyId| other.key_half() == key_id.key_half();
        match self.mutant {
            Some(Mutant::ScopeLeftOut) => {
                self.rows.keys().find(same_key).copied().unwrap_or(key_id)
            }
            _ => key_id,
        }
    }
}
