//! A Ledger in memory: the same `step`, and rows and messages as bytes. What the object on the platform
//! does around them is done here too: find, decide, write, wake.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use oncegate::lifecycle::ended_leases::{DELIVERY_MAX, Released};
use oncegate::lifecycle::record::{Lease, Record, State, SweepAction};
use oncegate::lifecycle::step::{Change, Claim, Event, OtherCredential, Step, Verdict, step};
use oncegate::protocol::{Ask, CredentialChange, How, Told};
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;
use oncegate::wire::{Addressed, Prefix, VERSION, read_record, write_record};

use super::Call;
use super::messages::{answer, read, replay};
use super::mutants::Mutant;

#[derive(Clone)]
pub(crate) struct Ledger {
    rows: BTreeMap<KeyId, Rc<Row>>,
    /// Calls that wait, by key.
    parked: Vec<(KeyId, Call, Rc<Claim>)>,
    /// What `Released` remembers; from this it is made anew where it is asked.
    released: Vec<(Lease, Timestamp)>,
    /// A mistake that it makes.
    pub(super) mutant: Option<Mutant>,
    /// What was read and is still to be written, by a Ledger that does not do both at once.
    pub(super) to_write: Vec<(Call, Change)>,
    /// So many may wait.
    pub(crate) places: usize,
    /// The version of the protocol that it speaks.
    pub(crate) version: u8,
    /// The number of shards that its data was first used with.
    pub(crate) shards: u16,
    /// Why it can do nothing, if so.
    pub(crate) broken: Option<String>,
}

#[derive(Hash)]
struct Row {
    record: Vec<u8>,
    body: Vec<u8>,
}

impl Row {
    fn read(&self) -> Record {
        read_record(&self.record).unwrap()
    }
}

/// What comes of a question.
pub(super) enum Hearing {
    Answered(Told<Vec<u8>>),
    Waiters(Timestamp),
    /// It is to arrive once more.
    Again,
}

/// Those who are woken, and what they are told.
type Woken = Vec<(Call, Told<Vec<u8>>)>;

impl Default for Ledger {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            parked: Vec::new(),
            released: Vec::new(),
            mutant: None,
            to_write: Vec::new(),
            places: 1000,
            version: VERSION,
            shards: 16,
            broken: None,
        }
    }
}

impl Ledger {
    /// What is stored under a key id, as it reads now.
    pub(crate) fn record(&self, key: KeyId, now: Timestamp) -> Option<Record> {
        self.rows.get(&key).and_then(|row| row.read().at(now))
    }

    /// Every record as it is stored.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.rows.values().map(|row| row.read())
    }

    /// The keys that have a row.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.rows.keys()
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many wait.
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Whether starting it anew would change anything.
    pub(crate) fn remembers(&self) -> bool {
        !self.parked.is_empty() || !self.released.is_empty()
    }

    /// All that what happens next depends on. Who waits is told by the calls.
    pub(super) fn digest(&self, now: Timestamp, hasher: &mut impl Hasher) {
        self.rows.hash(hasher);
        let released = self.released.iter().filter(|(_, at)| now.since(*at) <= DELIVERY_MAX);
        released.for_each(|(lease, at)| (lease.0, at.0).hash(hasher));
        if self.mutant.is_some() {
            let parked = self.parked.iter();
            parked.for_each(|(key, call, _)| (key, call.story, call.number).hash(hasher));
            let read = self.to_write.iter();
            read.for_each(|(call, _)| (call.story, call.number).hash(hasher));
        }
    }

    pub(super) fn hear(&mut self, call: Call, question: &[u8], now: Timestamp) -> (Hearing, Woken) {
        let answered = |told| (Hearing::Answered(told), Vec::new());
        if Prefix::read(question).unwrap().version != self.version {
            return answered(Told::UnknownVersion(self.version));
        }
        let (Addressed { key, shards, ask }, body) = read(question);
        let key = self.meant(key);
        if let Some(why) = &self.broken {
            return answered(Told::Failed(why.clone()));
        }
        if shards != self.shards && matches!(ask, Ask::Claim(..) | Ask::Shards) {
            return answered(Told::OtherShards(self.shards));
        }
        match &ask {
            Ask::Claim(claim, _) if self.was_released(claim.lease, now) => {
                return answered(Told::Stale);
            }
            Ask::Release(lease) | Ask::Settle(lease, _) => self.remember(*lease, now),
            _ => {}
        }
        let event = match ask {
            Ask::Claim(claim, change) => {
                let other_credential =
                    self.other_credential(key, claim.metadata.operation, change, now);
                Event::Claim(claim, other_credential)
            }
            Ask::Settle(lease, reply) => Event::Settle(lease, reply),
            Ask::Release(lease) => Event::Release(lease),
            Ask::Doubt(lease) => Event::Doubt(lease),
            Ask::Look(fingerprint) => Event::Look(fingerprint),
            Ask::Shards | Ask::Operator(_) => return answered(Told::Kept(None)),
        };
        let claim = match &event {
            Event::Claim(claim, _) => Some(Rc::new(claim.clone())),
            _ => None,
        };
        let found = self.rows.get(&key).cloned();
        let Step { change, verdict } =
            self.decide(found.as_ref().map(|row| row.read()), event, now);
        if self.mutant == Some(Mutant::CheckThenLock)
            && claim.is_some()
            && let Some(hearing) = self.check_then_lock(call, key, &change)
        {
            return (hearing, Vec::new());
        }
        self.write(key, &change, &body);
        let woken = self.wake(key, &change, &body, now);
        if let (Verdict::Join(until), Some(claim)) = (&verdict, claim) {
            if self.parked.len() >= self.places {
                return (Hearing::Answered(Told::Crowded), woken);
            }
            self.parked.push((key, call, claim));
            return (Hearing::Waiters(*until), woken);
        }
        let body = found.map(|row| row.body.clone());
        (Hearing::Answered(answer(verdict, body)), woken)
    }

    fn decide(&self, stored: Option<Record>, event: Event, now: Timestamp) -> Step {
        let Some(mutant) = self.mutant else { return step(stored, event, now) };
        let (stored, event) = mutant.previous(stored, event, now);
        mutant.after(step(stored.clone(), event.clone(), now), stored.as_ref(), now, &event)
    }

    /// The key id under which a request is kept.
    fn meant(&self, key: KeyId) -> KeyId {
        let same_key = |id: &&KeyId| id.key_half() == key.key_half();
        match self.mutant {
            Some(Mutant::ScopeLeftOut) => self.rows.keys().find(same_key).copied().unwrap_or(key),
            _ => key,
        }
    }

    fn was_released(&self, lease: Lease, now: Timestamp) -> bool {
        let mut released = Released::default();
        for (known, at) in &self.released {
            released.remember(*known, *at);
        }
        self.mutant != Some(Mutant::GivenBackForgotten) && released.has(lease, now)
    }

    fn remember(&mut self, lease: Lease, now: Timestamp) {
        self.released.retain(|(_, at)| now.since(*at) <= DELIVERY_MAX);
        self.released.push((lease, now));
    }

    /// The memory is lost: what was released, and those who waited, whose calls fail.
    pub(super) fn reset(&mut self) -> Vec<Call> {
        self.released.clear();
        self.parked.drain(..).map(|(_, call, _)| call).collect()
    }

    pub(super) fn forget(&mut self, call: Call) {
        self.parked.retain(|(_, parked, _)| *parked != call);
    }

    /// One who waits has no patience left.
    pub(super) fn rouse(&mut self, call: Call) -> Told<Vec<u8>> {
        if self.mutant == Some(Mutant::WaiterDeletesLock)
            && let Some((key, ..)) = self.parked.iter().find(|(_, parked, _)| *parked == call)
        {
            self.rows.remove(key);
        }
        self.forget(call);
        Told::Again
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
            let record = row.read();
            let is_over = mutant.and_then(|mutant| mutant.sweeps(&record, now));
            !is_over.unwrap_or(record.gone() <= now)
        });
        for row in self.rows.values_mut() {
            let record = row.read();
            if let SweepAction::Tombstone(at) = record.due()
                && at <= now
            {
                let tombstone = record.into_tombstone(now).unwrap();
                *row = Rc::new(Row { record: write_record(&tombstone), body: Vec::new() });
            }
        }
    }

    fn other_credential(
        &self,
        key: KeyId,
        operation: oncegate::request::fingerprint::OperationId,
        change: CredentialChange,
        now: Timestamp,
    ) -> OtherCredential {
        let [mut first, mut last] = [key; 2];
        first.0[16..].fill(0);
        last.0[16..].fill(0xff);
        let live = |(id, row): (&KeyId, &Rc<Row>)| {
            let record = row.read().at(now);
            *id != key && record.is_some_and(|record| record.metadata.operation == operation)
        };
        match change {
            CredentialChange::Refuse if self.rows.range(first..=last).any(live) => {
                OtherCredential::Live
            }
            CredentialChange::Refuse | CredentialChange::Forward => OtherCredential::None,
        }
    }

    pub(super) fn write(&mut self, key: KeyId, change: &Change, new_body: &[u8]) {
        let (record, body) = match change {
            Change::Keep => return,
            Change::Delete => {
                self.rows.remove(&key);
                return;
            }
            Change::Insert(record) => (record, Vec::new()),
            Change::Update(record) => {
                (record, self.rows.get(&key).map_or(Vec::new(), |row| row.body.clone()))
            }
            Change::Complete(record) => (record, new_body.to_owned()),
        };
        self.rows.insert(key, Rc::new(Row { record: write_record(record), body }));
    }

    /// Whatever ends a claim wakes those who wait for it. A wake grants nothing.
    fn wake(&mut self, key: KeyId, change: &Change, body: &[u8], now: Timestamp) -> Woken {
        let told = match change {
            Change::Keep | Change::Insert(_) => return Vec::new(),
            Change::Update(_) | Change::Delete => Told::Again,
            Change::Complete(record) => {
                let State::Completed(completed) = &record.state else {
                    panic!("a settle leaves a reply")
                };
                match self.mutant {
                    Some(Mutant::NobodyWoken) => return Vec::new(),
                    Some(Mutant::JoinedToAnother) => replay(completed, How::Joined, b"another's"),
                    _ => replay(completed, How::Joined, body),
                }
            }
        };
        let woken: Vec<_> =
            self.parked.extract_if(.., |(waits_for, ..)| *waits_for == key).collect();
        let mut told: Woken = woken.iter().map(|(_, call, _)| (*call, told.clone())).collect();
        if *change == Change::Delete
            && let (Some(mutant), Some((_, _, claim))) = (self.mutant, woken.first())
            && let Some((record, run)) = mutant.grants(claim, now)
        {
            self.write(key, &Change::Insert(record), &[]);
            told[0].1 = Told::Granted(run);
        }
        told
    }
}
