//! A Ledger in memory: the same `step`, and rows and messages as bytes. What the object on the platform
//! does around them is done here too: find, decide, write, wake.

use std::collections::BTreeMap;

use oncegate::ask::{Ask, CredentialChange, How, Replay, Told};
use oncegate::key::KeyId;
use oncegate::record::{
    Change, Completed, Due, Event, Kindred, Millis, Record, State, Step, Verdict, step,
};
use oncegate::released::Released;
use oncegate::wire::{
    Addressed, PREFIX, Prefix, VERSION, read_ask, read_record, write_record, write_told,
};

pub(crate) struct Ledger {
    rows: BTreeMap<KeyId, Row>,
    /// Calls that wait, by key.
    parked: Vec<(KeyId, usize)>,
    released: Released,
    /// So many may wait.
    pub(crate) places: usize,
    /// The version of the protocol that it speaks.
    pub(crate) version: u8,
    /// The number of shards that its data was first used with.
    pub(crate) shards: u16,
    /// Why it can do nothing, if so.
    pub(crate) broken: Option<String>,
}

#[derive(Clone)]
struct Row {
    record: Vec<u8>,
    body: Vec<u8>,
}

/// What comes of a question.
pub(super) enum Hearing {
    Answered(Vec<u8>),
    Parked(Millis),
}

/// Those who are woken, and what they are told.
type Woken = Vec<(usize, Vec<u8>)>;

impl Default for Ledger {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            parked: Vec::new(),
            released: Released::default(),
            places: 1000,
            version: VERSION,
            shards: 16,
            broken: None,
        }
    }
}

impl Ledger {
    /// What is stored under a key id, as it reads now.
    pub(crate) fn record(&self, key: KeyId, now: Millis) -> Option<Record> {
        self.rows.get(&key).and_then(|row| read_record(&row.record).unwrap().at(now))
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many wait.
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn hear(&mut self, call: usize, question: &[u8], now: Millis) -> (Hearing, Woken) {
        let answered = |told| (Hearing::Answered(self::told(&told)), Vec::new());
        if Prefix::read(question).unwrap().version != self.version {
            return answered(Told::UnknownVersion(self.version));
        }
        let (Addressed { key, shards, ask }, body) = read(question);
        if let Some(why) = &self.broken {
            return answered(Told::Failed(why.clone()));
        }
        if shards != self.shards && matches!(ask, Ask::Claim(..) | Ask::Shards) {
            return answered(Told::OtherShards(self.shards));
        }
        match &ask {
            Ask::Claim(claim, _) if self.released.has(claim.lease, now) => {
                return answered(Told::Stale);
            }
            Ask::Release(lease) => self.released.remember(*lease, now),
            _ => {}
        }
        let event = match ask {
            Ask::Claim(claim, change) => {
                let kindred = self.kindred(key, claim.about.kin, change, now);
                Event::Claim(claim, kindred)
            }
            Ask::Settle(lease, reply) => Event::Settle(lease, reply),
            Ask::Release(lease) => Event::Release(lease),
            Ask::Doubt(lease) => Event::Doubt(lease),
            Ask::Look(fingerprint) => Event::Look(fingerprint),
            Ask::Shards | Ask::Operator(_) => return answered(Told::Kept(None)),
        };
        let found = self.rows.get(&key).cloned();
        let stored = found.as_ref().map(|row| read_record(&row.record).unwrap());
        let Step { change, verdict } = step(stored, event, now);
        self.write(key, &change, &body);
        let woken = self.wake(key, &change, &body);
        if let Verdict::Join(until) = verdict {
            if self.parked.len() >= self.places {
                return (Hearing::Answered(told(&Told::Crowded)), woken);
            }
            self.parked.push((key, call));
            return (Hearing::Parked(until), woken);
        }
        (Hearing::Answered(answer(verdict, found.map(|row| row.body))), woken)
    }

    /// The memory is lost: what was released, and those who waited, whose calls fail.
    pub(super) fn reset(&mut self) -> Vec<usize> {
        self.released = Released::default();
        self.parked.drain(..).map(|(_, call)| call).collect()
    }

    pub(super) fn forget(&mut self, call: usize) {
        self.parked.retain(|(_, parked)| *parked != call);
    }

    pub(super) fn sweep(&mut self, now: Millis) {
        self.rows.retain(|_, row| read_record(&row.record).unwrap().gone() > now);
        for row in self.rows.values_mut() {
            let record = read_record(&row.record).unwrap();
            if let Due::Tombstone(at) = record.due()
                && at <= now
            {
                let tombstone = record.into_tombstone(now).unwrap();
                *row = Row { record: write_record(&tombstone), body: Vec::new() };
            }
        }
    }

    fn kindred(
        &self,
        key: KeyId,
        kin: oncegate::fingerprint::Kin,
        change: CredentialChange,
        now: Millis,
    ) -> Kindred {
        let live = |(id, _): (&KeyId, &Row)| {
            let record = self.record(*id, now);
            *id != key
                && id.key_half() == key.key_half()
                && record.is_some_and(|record| record.about.kin == kin)
        };
        match change {
            CredentialChange::Refuse if self.rows.iter().any(live) => Kindred::Live,
            CredentialChange::Refuse | CredentialChange::Forward => Kindred::None,
        }
    }

    fn write(&mut self, key: KeyId, change: &Change, new_body: &[u8]) {
        let (record, body) = match change {
            Change::Keep => return,
            Change::Delete => {
                self.rows.remove(&key);
                return;
            }
            Change::Insert(record) => (record, Vec::new()),
            Change::Update(record) => (record, self.rows[&key].body.clone()),
            Change::Complete(record) => (record, new_body.to_owned()),
        };
        self.rows.insert(key, Row { record: write_record(record), body });
    }

    /// Whatever ends a claim wakes those who wait for it. A wake grants nothing.
    fn wake(&mut self, key: KeyId, change: &Change, body: &[u8]) -> Woken {
        let told = match change {
            Change::Keep | Change::Insert(_) => return Vec::new(),
            Change::Update(_) | Change::Delete => told(&Told::Again),
            Change::Complete(record) => {
                let State::Completed(completed) = &record.state else {
                    panic!("a settle leaves a reply")
                };
                with_body(&replay(completed, How::Joined), body)
            }
        };
        let (woken, parked) = self.parked.drain(..).partition(|(waits_for, _)| *waits_for == key);
        self.parked = parked;
        let woken: Vec<(KeyId, usize)> = woken;
        woken.into_iter().map(|(_, call)| (call, told.clone())).collect()
    }
}

fn answer(verdict: Verdict, body: Option<Vec<u8>>) -> Vec<u8> {
    let said = match verdict {
        Verdict::Join(_) => panic!("a join is no answer"),
        Verdict::Replay(completed) => {
            return with_body(&replay(&completed, How::Replayed), &body.unwrap_or_default());
        }
        Verdict::Granted(run) => Told::Granted(run),
        Verdict::InFlight { retry_after_s } => Told::InFlight { retry_after_s },
        Verdict::AlreadyExecuted => Told::AlreadyExecuted,
        Verdict::InDoubt { lease, over_for } => Told::InDoubt { lease, over_for },
        Verdict::Expired => Told::Expired,
        Verdict::KeyReused(differs) => Told::KeyReused(differs),
        Verdict::CredentialChanged => Told::CredentialChanged,
        Verdict::Kept(expires) => Told::Kept(expires),
        Verdict::Stale => Told::Stale,
        Verdict::Absent => Told::Absent,
    };
    told(&said)
}

fn replay(completed: &Completed, how: How) -> Told<()> {
    let (reply, expires) = (completed.reply.clone(), completed.expires);
    Told::Replay(Replay { reply, expires, how, ..crate::make::replay(()) })
}

fn with_body(said: &Told<()>, body: &[u8]) -> Vec<u8> {
    [told(said).as_slice(), body].concat()
}

/// An answer on its way, without a body.
pub(super) fn told(told: &Told<()>) -> Vec<u8> {
    write_told(told, VERSION)
}

/// A question and the body beside it.
pub(super) fn read(question: &[u8]) -> (Addressed, Vec<u8>) {
    let (head, body) = split(question);
    (read_ask(&head).unwrap(), body)
}

/// Head and body of a message.
pub(super) fn split(message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let head = usize::try_from(Prefix::read(message).unwrap().head_bytes).unwrap();
    let (head, body) = message[PREFIX..].split_at(head);
    (head.to_owned(), body.to_owned())
}
