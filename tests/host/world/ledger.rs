//! A Ledger in memory. It decides as the product does ([`oncegate::lifecycle::ledger::decide`]), over rows
//! and messages that are bytes; who waits is kept here.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use oncegate::lifecycle::ended_leases::EndedLeases;
use oncegate::lifecycle::event::{Claim, Event, How, Replay, Verdict};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::ledger::{self, Decision, Rows as _, Wake};
use oncegate::lifecycle::record::{Record, SweepAction};
use oncegate::lifecycle::step::{Change, status};
use oncegate::protocol::{LedgerAnswer, LedgerRequest, Question, VERSION, agreed};
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;

use super::mutant_ledger::MutantRows;
use super::mutants::Mutant;
use super::rows::{MemoryRows, StoredRow};
use super::{Call, messages};

#[derive(Clone)]
pub(crate) struct Ledger {
    pub(super) rows: BTreeMap<KeyId, Rc<StoredRow>>,
    /// The calls that wait for a key's running claim, each with its own claim if it has one.
    waiters: Vec<(KeyId, Call, Option<Rc<Claim>>)>,
    ended: Rc<EndedLeases>,
    /// The mistake that it makes.
    pub(super) mutant: Option<Mutant>,
    /// Changes that were decided and are still to be written, by a Ledger that does not do both at once.
    pub(super) to_write: Vec<(Call, Change)>,
    /// How many calls may wait.
    pub(crate) waiters_max: usize,
    /// The version of the protocol that it speaks.
    pub(crate) version: u8,
    /// The number of shards that its data was first used with.
    pub(crate) shards: u16,
    /// Why every event fails, if so.
    pub(crate) broken: Option<String>,
}

/// What comes of a request to the Ledger.
pub(super) enum Hearing {
    /// An answer, with the body beside it.
    Answered(Answered),
    /// The caller waits until then.
    Waits(Timestamp),
    /// The request is to arrive once more (a mutant).
    Again,
}

pub(super) type Answered = (LedgerAnswer, Vec<u8>);

/// The calls that are woken, and what each is answered.
type Woken = Vec<(Call, Answered)>;

impl Default for Ledger {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            waiters: Vec::new(),
            ended: Rc::default(),
            mutant: None,
            to_write: Vec::new(),
            waiters_max: 1000,
            version: VERSION,
            shards: 16,
            broken: None,
        }
    }
}

impl Ledger {
    pub(crate) fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// The record of a key as it reads now.
    pub(crate) fn record(&self, key_id: KeyId, now: Timestamp) -> Option<Record> {
        self.rows.get(&key_id).and_then(|row| row.record().at(now))
    }

    pub(crate) fn key_ids(&self) -> impl Iterator<Item = &KeyId> {
        self.rows.keys()
    }

    /// What is told at the status address with this secret, of the key with this half in whichever scope.
    pub(super) fn status(
        &self,
        key: KeyId,
        secret: &StatusSecret,
        now: Timestamp,
    ) -> Option<(KeyId, Verdict, Vec<u8>)> {
        let of_key = self.rows.iter().filter(|(id, _)| id.key_half() == key.key_half());
        let mut records = of_key.map(|(id, row)| (*id, row.record(), row));
        let (id, record, row) = records
            .find(|(_, record, _)| record.metadata.status.is_some_and(|it| it.secret.is(secret)))?;
        let verdict = status(record.at(now)?, now);
        let body = match &verdict {
            Verdict::Replay(_) => row.body().to_owned(),
            _ => Vec::new(),
        };
        Some((id, self.mutant.map_or(verdict.clone(), |mutant| mutant.tells(verdict)), body))
    }

    /// Every record as it is stored.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.rows.values().map(|row| row.record())
    }

    /// Whether a new start would make it forget anything.
    pub(crate) fn remembers(&self, now: Timestamp) -> bool {
        !self.waiters.is_empty() || self.ended.iter(now).next().is_some()
    }

    /// Hashes everything that the next events depend on. The waiters are told by the calls.
    pub(super) fn digest(&self, now: Timestamp, hasher: &mut impl Hasher) {
        self.rows.hash(hasher);
        self.ended.iter(now).for_each(|(lease, at)| (lease.0, at.0).hash(hasher));
        if self.mutant.is_some() {
            for (key_id, call, _) in &self.waiters {
                (key_id, call.story, call.number).hash(hasher);
            }
            for (call, _) in &self.to_write {
                (call.story, call.number).hash(hasher);
            }
        }
    }

    pub(super) fn hear(&mut self, call: Call, message: &[u8], now: Timestamp) -> (Hearing, Woken) {
        let answered = |answer| (Hearing::Answered((answer, Vec::new())), Vec::new());
        if self.version != VERSION || agreed(message[0]).is_none() {
            return answered(LedgerAnswer::UnknownVersion(self.version));
        }
        let (LedgerRequest { key_id, shards, question }, body) = messages::request(message);
        if let Some(why) = &self.broken {
            return answered(LedgerAnswer::Failed(why.clone()));
        }
        let Question::Event(event) = question else { panic!("a request asks for events only") };
        if shards != self.shards && matches!(event, Event::Claim(_)) {
            return answered(LedgerAnswer::OtherShards(self.shards));
        }
        self.happen(call, key_id, event, &body, now)
    }

    fn happen(
        &mut self,
        call: Call,
        key_id: KeyId,
        mut event: Event,
        body: &[u8],
        now: Timestamp,
    ) -> (Hearing, Woken) {
        let key_id = self.meant(key_id);
        if let Some(run) = self.written_late(call, key_id) {
            let granted = LedgerAnswer::Verdict(Verdict::Granted(run, None));
            return (Hearing::Answered((granted, Vec::new())), Vec::new());
        }
        if let Event::Claim(Claim { wait, .. }) | Event::Look(_, wait) = &mut event
            && self.waiters.len() >= self.waiters_max
        {
            *wait = Duration::ZERO;
        }
        let waiting = match &event {
            Event::Claim(claim) => Some(Rc::new(claim.clone())),
            _ => None,
        };
        let Some(decision) = self.decide(call, key_id, event, body, now) else {
            return (Hearing::Again, Vec::new());
        };
        let woken = self.wake(key_id, &decision.step.change, body, now);
        let hearing = match (decision.step.verdict, waiting) {
            (Verdict::Join(until), claim) => {
                self.waiters.push((key_id, call, claim));
                Hearing::Waits(until)
            }
            (verdict @ Verdict::Replay(_), _) => {
                let body = decision.found.map(|row| row.body).unwrap_or_default();
                Hearing::Answered((LedgerAnswer::Verdict(verdict), body))
            }
            (verdict, _) => Hearing::Answered((LedgerAnswer::Verdict(verdict), Vec::new())),
        };
        (hearing, woken)
    }

    /// What the product decides; nothing where a mutant writes it later.
    fn decide(
        &mut self,
        call: Call,
        key_id: KeyId,
        event: Event,
        body: &[u8],
        now: Timestamp,
    ) -> Option<Decision<Vec<u8>>> {
        let mut ended = std::mem::take(&mut self.ended);
        let remembered = Rc::make_mut(&mut ended);
        let mut rows = MemoryRows { rows: &mut self.rows, body };
        let decision = match self.mutant {
            None => Some(ledger::decide(&mut rows, remembered, key_id, event, now).unwrap()),
            Some(mutant) => {
                let mut rows = MutantRows::new(rows, mutant, key_id, event, now);
                let decision = rows.decide(remembered);
                match rows.left {
                    Some(change) => {
                        self.to_write.push((call, change));
                        None
                    }
                    None => Some(decision),
                }
            }
        };
        self.ended = ended;
        decision
    }

    /// The memory is lost: the ended leases, and the waiters, whose calls fail.
    pub(super) fn reset(&mut self) -> Vec<Call> {
        self.ended = Rc::default();
        self.waiters.drain(..).map(|(_, call, _)| call).collect()
    }

    pub(super) fn forget(&mut self, call: Call) {
        self.waiters.retain(|(_, waiting, _)| *waiting != call);
    }

    /// The wait of a call is over.
    pub(super) fn end_wait(&mut self, call: Call) -> Answered {
        if self.mutant == Some(Mutant::WaiterDeletesLock)
            && let Some((key_id, ..)) = self.waiters.iter().find(|(_, waiting, _)| *waiting == call)
        {
            self.rows.remove(key_id);
        }
        self.forget(call);
        (LedgerAnswer::ClaimAgain, Vec::new())
    }

    /// Whether the alarm has something to do.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.records().any(|record| {
            let (SweepAction::Delete(at) | SweepAction::Tombstone(at)) = record.due();
            self.mutant.and_then(|mutant| mutant.sweeps(&record, now)).unwrap_or(at <= now)
        })
    }

    pub(super) fn sweep(&mut self, now: Timestamp) {
        let mutant = self.mutant;
        self.rows.retain(|_, row| {
            let record = row.record();
            let is_over = mutant.and_then(|mutant| mutant.sweeps(&record, now));
            !is_over.unwrap_or(record.gone() <= now)
        });
        for row in self.rows.values_mut() {
            let record = row.record();
            if let SweepAction::Tombstone(at) = record.due()
                && at <= now
            {
                let tombstone = record.into_tombstone(now).unwrap();
                *row = Rc::new(StoredRow::new(&tombstone, Vec::new()));
            }
        }
    }

    pub(super) fn write(&mut self, key_id: KeyId, change: &Change, body: &[u8]) {
        MemoryRows { rows: &mut self.rows, body }.apply(key_id, None, change).unwrap();
    }

    fn wake(&mut self, key_id: KeyId, change: &Change, body: &[u8], now: Timestamp) -> Woken {
        let answer = match (change.wake(), self.mutant) {
            (Wake::Nobody, _) | (Wake::Reply(_), Some(Mutant::NobodyWoken)) => return Vec::new(),
            (Wake::ClaimAgain, _) => (LedgerAnswer::ClaimAgain, Vec::new()),
            (Wake::Reply(completed), mutant) => {
                let body = match mutant {
                    Some(Mutant::JoinedToAnother) => b"another's",
                    _ => body,
                };
                let replay = Replay::of(completed, How::Joined);
                (LedgerAnswer::Verdict(Verdict::Replay(replay)), body.to_owned())
            }
        };
        let is_woken = |(waits_for, ..): &mut (KeyId, Call, _)| *waits_for == key_id;
        let woken: Vec<_> = self.waiters.extract_if(.., is_woken).collect();
        let mut answers: Woken = woken.iter().map(|(_, call, _)| (*call, answer.clone())).collect();
        if *change == Change::Delete
            && let (Some(mutant), Some((_, _, Some(claim)))) = (self.mutant, woken.first())
            && let Some((record, run)) = mutant.grants(claim, now)
        {
            self.write(key_id, &Change::Insert(record), &[]);
            answers[0].1.0 = LedgerAnswer::Verdict(Verdict::Granted(run, None));
        }
        answers
    }
}
