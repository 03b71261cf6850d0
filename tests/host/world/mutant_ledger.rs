//! The Ledger's decision with a mutant's mistake: the product decides over rows that are taken for others and
//! written otherwise.

use oncegate::encoding::Unreadable;
use oncegate::lifecycle::ended_leases::EndedLeases;
use oncegate::lifecycle::event::Event;
use oncegate::lifecycle::ledger::{self, Decision, Found, Rows};
use oncegate::lifecycle::record::{Execution, Record, State};
use oncegate::lifecycle::step::Change;
use oncegate::request::fingerprint::OperationId;
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;

use super::Call;
use super::ledger::Ledger;
use super::mutants::Mutant;
use super::rows::{MemoryRows, Row};

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
            decision.step.verdict = verdict;
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
        let others = others.into_iter().map(|other| other.map(|it| self.mutant.other(it)));
        Ok(Found { own: self.taken_for(own), others: others.collect() })
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
