//! Bytes between Worker and Ledger, and bytes on disk: the only codec.
//!
//! A message is a frame: `[version u8][head length u32 LE][head][body]`. The body of a reply is never
//! decoded, re-encoded or copied into this codec: whoever holds the frame slices it off. A stored row
//! is `[version u8][record]`. Integers are little-endian, strings and lists are preceded by their
//! length (u32), options and variants by a byte.
//!
//! Worker and Ledger differ in version for minutes after every deploy (a busy object keeps the old
//! code), so both sides read every version from [`OLDEST`] to [`VERSION`], and a Ledger asked in
//! another says which it offers. Bytes that do not follow the grammar are [`Unreadable`], which is an
//! error for that key and never "absent".

mod operator;

pub use self::operator::{read_decision, read_tally, write_decision, write_tally};
use crate::ask::{Ask, CredentialChange, How, Replay, Told};
use crate::fingerprint::{Differs, Fingerprint, Kin};
use crate::key::KeyId;
use crate::record::{
    About, Before, Claim, Completed, Doubt, Form, Lease, Millis, OnInDoubt, Record, Run, Running,
    State, Strategy, Terms,
};
use crate::reply::{Kept, Reply};

/// The version that is written.
pub const VERSION: u8 = 1;
/// The oldest version that is read. The first release knows no version before its own.
pub const OLDEST: u8 = 1;
/// Bytes before the head: version and head length.
pub const PREFIX: usize = 5;

/// Bytes that do not follow the grammar: where it was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

/// A question with its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// The record it is about.
    pub key: KeyId,
    /// How many shards the asking Worker believes in.
    pub shards: u16,
    /// The question.
    pub ask: Ask,
}

/// The first bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Version of the head.
    pub version: u8,
    /// Length of the head in bytes; the body follows it.
    pub head_bytes: u32,
}

impl Prefix {
    /// Reads the first [`PREFIX`] bytes of a frame.
    ///
    /// # Errors
    /// Fewer bytes than that.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader { rest: bytes };
        Ok(Self { version: reader.u8()?, head_bytes: reader.u32()? })
    }

    /// Whether this code reads that version.
    #[must_use]
    pub fn is_known(self) -> bool {
        (OLDEST..=VERSION).contains(&self.version)
    }
}

/// Takes prefix and head apart, which must be all there is.
///
/// # Errors
/// It is shorter or longer than its prefix says.
pub fn open(frame: &[u8]) -> Result<(Prefix, &[u8]), Unreadable> {
    let prefix = Prefix::read(frame)?;
    let head = frame.get(PREFIX..).filter(|head| head.len() == prefix.head_bytes as usize);
    head.map(|head| (prefix, head)).ok_or(Unreadable("cut short"))
}

/// The version to ask again in, after a Ledger offered one; `None` if this side does not speak it.
#[must_use]
pub fn agreed(offered: u8) -> Option<u8> {
    (OLDEST..=VERSION).contains(&offered).then_some(offered)
}

/// Prefix and head of a question, in a version from [`OLDEST`] to [`VERSION`].
#[must_use]
pub fn write_ask(addressed: &Addressed, version: u8) -> Vec<u8> {
    write_question(&addressed.key, addressed.shards, &addressed.ask, version)
}

/// The same of its parts.
#[must_use]
pub fn write_question(key: &KeyId, shards: u16, ask: &Ask, version: u8) -> Vec<u8> {
    let mut head = Writer::default();
    head.bytes(&key.0);
    head.u16(shards);
    match ask {
        Ask::Claim(claim, change) => {
            head.u8(1);
            write_claim(&mut head, claim, *change);
        }
        Ask::Settle(lease, reply) => {
            head.u8(2);
            head.bytes(&lease.0);
            write_reply(&mut head, reply);
        }
        Ask::Release(lease) => {
            head.u8(3);
            head.bytes(&lease.0);
        }
        Ask::Doubt(lease) => {
            head.u8(4);
            head.bytes(&lease.0);
        }
        Ask::Look(fingerprint) => {
            head.u8(5);
            head.bytes(&fingerprint.0);
        }
        Ask::Shards => head.u8(6),
        Ask::Operator(inquiry) => {
            head.u8(7);
            operator::write_inquiry(&mut head, inquiry);
        }
    }
    frame(version, &head.0)
}

/// Reads the head of a question (the bytes after the prefix, without the body).
///
/// # Errors
/// The head does not follow the grammar.
pub fn read_ask(head: &[u8]) -> Result<Addressed, Unreadable> {
    let mut reader = Reader { rest: head };
    let key = KeyId(reader.array()?);
    let shards = reader.u16()?;
    let ask = match reader.u8()? {
        1 => read_claim(&mut reader)?,
        2 => Ask::Settle(Lease(reader.array()?), read_reply(&mut reader)?),
        3 => Ask::Release(Lease(reader.array()?)),
        4 => Ask::Doubt(Lease(reader.array()?)),
        5 => Ask::Look(Fingerprint(reader.array()?)),
        6 => Ask::Shards,
        7 => Ask::Operator(operator::read_inquiry(&mut reader)?),
        _ => return Err(Unreadable("question")),
    };
    reader.end()?;
    Ok(Addressed { key, shards, ask })
}

/// Prefix and head of an answer, in the version of the question. An [`Told::UnknownVersion`] reads the
/// same in every version, for ever.
#[must_use]
pub fn write_told<B>(told: &Told<B>, version: u8) -> Vec<u8> {
    let mut head = Writer::default();
    match told {
        Told::Granted(run) => {
            head.u8(1);
            write_run(&mut head, *run);
        }
        Told::Again => head.u8(2),
        Told::InFlight { retry_after_s } => {
            head.u8(3);
            head.u64(*retry_after_s);
        }
        Told::Replay(replay) => {
            head.u8(4);
            write_reply(&mut head, &replay.reply);
            head.u64(replay.expires.0);
            head.u8(match replay.how {
                How::Replayed => 1,
                How::Joined => 2,
            });
        }
        Told::AlreadyExecuted => head.u8(5),
        Told::InDoubt { lease, over_for } => {
            head.u8(6);
            head.option(lease.as_ref(), |head, lease| head.bytes(&lease.0));
            head.option(over_for.as_ref(), |head, over_for| head.u64(over_for.0));
        }
        Told::Expired => head.u8(7),
        // As before the difference was told.
        Told::KeyReused(Differs(0)) => head.u8(8),
        Told::KeyReused(Differs(bits)) => {
            head.u8(18);
            head.u8(*bits);
        }
        Told::CredentialChanged => head.u8(9),
        Told::Kept(expires) => {
            head.u8(10);
            head.option(expires.as_ref(), |head, expires| head.u64(expires.0));
        }
        Told::Stale => head.u8(11),
        Told::Absent => head.u8(12),
        Told::Crowded => head.u8(13),
        Told::Failed(why) => {
            head.u8(14);
            head.text(why);
        }
        Told::UnknownVersion(offered) => {
            head.u8(15);
            head.u8(*offered);
        }
        Told::OtherShards(shards) => {
            head.u8(16);
            head.u16(*shards);
        }
        Told::Operator(finding) => {
            head.u8(17);
            operator::write_finding(&mut head, finding);
        }
    }
    frame(version, &head.0)
}

/// Reads the head of an answer; a body, where there is one, is the rest of the frame.
///
/// # Errors
/// The head does not follow the grammar.
pub fn read_told(head: &[u8]) -> Result<Told<()>, Unreadable> {
    let mut reader = Reader { rest: head };
    let told = match reader.u8()? {
        1 => Told::Granted(read_run(&mut reader)?),
        2 => Told::Again,
        3 => Told::InFlight { retry_after_s: reader.u64()? },
        4 => Told::Replay(Replay {
            reply: read_reply(&mut reader)?,
            expires: Millis(reader.u64()?),
            how: match reader.u8()? {
                1 => How::Replayed,
                2 => How::Joined,
                _ => return Err(Unreadable("how")),
            },
            body: (),
        }),
        5 => Told::AlreadyExecuted,
        6 => Told::InDoubt {
            lease: reader.option(|reader| Ok(Lease(reader.array()?)))?,
            over_for: reader.option(|reader| Ok(Millis(reader.u64()?)))?,
        },
        7 => Told::Expired,
        8 => Told::KeyReused(Differs(0)),
        9 => Told::CredentialChanged,
        10 => Told::Kept(reader.option(|reader| Ok(Millis(reader.u64()?)))?),
        11 => Told::Stale,
        12 => Told::Absent,
        13 => Told::Crowded,
        14 => Told::Failed(reader.text()?),
        15 => Told::UnknownVersion(reader.u8()?),
        16 => Told::OtherShards(reader.u16()?),
        17 => Told::Operator(operator::read_finding(&mut reader)?),
        18 => match reader.u8()? {
            0 => return Err(Unreadable("differs")),
            bits => Told::KeyReused(Differs(bits)),
        },
        _ => return Err(Unreadable("answer")),
    };
    reader.end()?;
    Ok(told)
}

/// A record as it is stored.
#[must_use]
pub fn write_record(record: &Record) -> Vec<u8> {
    let mut row = Writer::default();
    row.u8(VERSION);
    write_about(&mut row, &record.about);
    row.u64(record.about.created.0);
    match &record.state {
        State::Running(running) => {
            row.u8(1);
            row.bytes(&running.lease.0);
            write_run(&mut row, running.run);
            row.u64(running.since.0);
            row.u64(running.until.0);
            write_terms(&mut row, &running.terms);
            match &running.before {
                Before::Nothing => row.u8(1),
                Before::Replied(completed) => {
                    row.u8(2);
                    write_completed(&mut row, completed);
                }
                Before::Doubted(doubt) => {
                    row.u8(3);
                    write_doubt(&mut row, doubt);
                }
            }
        }
        State::Completed(completed) | State::Expired(completed) => {
            row.u8(2);
            write_completed(&mut row, completed);
        }
        State::InDoubt(doubt) | State::Closed(doubt) => {
            row.u8(3);
            write_doubt(&mut row, doubt);
        }
    }
    row.0
}

/// Reads a stored record.
///
/// # Errors
/// The row does not follow the grammar, or is of a version that this code does not know.
pub fn read_record(row: &[u8]) -> Result<Record, Unreadable> {
    let mut reader = Reader::versioned(row)?;
    let about = read_about(&mut reader)?;
    let about = About { created: Millis(reader.u64()?), ..about };
    let state = match reader.u8()? {
        1 => State::Running(Running {
            lease: Lease(reader.array()?),
            run: read_run(&mut reader)?,
            since: Millis(reader.u64()?),
            until: Millis(reader.u64()?),
            terms: read_terms(&mut reader)?,
            before: match reader.u8()? {
                1 => Before::Nothing,
                2 => Before::Replied(read_completed(&mut reader)?),
                3 => Before::Doubted(read_doubt(&mut reader)?),
                _ => return Err(Unreadable("before")),
            },
        }),
        2 => State::Completed(read_completed(&mut reader)?),
        3 => State::InDoubt(read_doubt(&mut reader)?),
        _ => return Err(Unreadable("state")),
    };
    reader.end()?;
    Ok(Record { about, state })
}

fn write_claim(head: &mut Writer, claim: &Claim, change: CredentialChange) {
    head.bytes(&claim.lease.0);
    write_about(head, &claim.about);
    head.u8(match claim.strategy {
        Strategy::ReturnExisting => 1,
        Strategy::Fail => 2,
        Strategy::FailOnRunning => 3,
    });
    head.u8(match claim.on_in_doubt {
        OnInDoubt::Hold => 1,
        OnInDoubt::Retry => 2,
    });
    head.u8(match change {
        CredentialChange::Refuse => 1,
        CredentialChange::Forward => 2,
    });
    write_terms(head, &claim.terms);
    head.u64(claim.wait.0);
    write_form(head, claim.form);
}

fn read_claim(reader: &mut Reader<'_>) -> Result<Ask, Unreadable> {
    let lease = Lease(reader.array()?);
    let about = read_about(reader)?;
    let strategy = match reader.u8()? {
        1 => Strategy::ReturnExisting,
        2 => Strategy::Fail,
        3 => Strategy::FailOnRunning,
        _ => return Err(Unreadable("strategy")),
    };
    let on_in_doubt = match reader.u8()? {
        1 => OnInDoubt::Hold,
        2 => OnInDoubt::Retry,
        _ => return Err(Unreadable("on_in_doubt")),
    };
    let change = match reader.u8()? {
        1 => CredentialChange::Refuse,
        2 => CredentialChange::Forward,
        _ => return Err(Unreadable("credential_change")),
    };
    let terms = read_terms(reader)?;
    let wait = Millis(reader.u64()?);
    let form = read_form(reader)?;
    Ok(Ask::Claim(Claim { lease, about, strategy, on_in_doubt, terms, wait, form }, change))
}

/// All but `created`, which only the Ledger knows.
fn write_about(to: &mut Writer, about: &About) {
    to.bytes(&about.fingerprint.0);
    to.bytes(&about.kin.0);
    to.text(&about.route);
    to.text(&about.method);
    to.text(&about.path);
    to.text(&about.correlation_id);
}

fn read_about(reader: &mut Reader<'_>) -> Result<About, Unreadable> {
    Ok(About {
        fingerprint: Fingerprint(reader.array()?),
        kin: Kin(reader.array()?),
        route: reader.text()?,
        method: reader.text()?,
        path: reader.text()?,
        correlation_id: reader.text()?,
        created: Millis(0),
    })
}

fn write_terms(to: &mut Writer, terms: &Terms) {
    for span in [terms.lease, terms.ttl, terms.tombstone, terms.doubt_ttl] {
        to.u64(span.0);
    }
}

fn read_terms(reader: &mut Reader<'_>) -> Result<Terms, Unreadable> {
    Ok(Terms {
        lease: Millis(reader.u64()?),
        ttl: Millis(reader.u64()?),
        tombstone: Millis(reader.u64()?),
        doubt_ttl: Millis(reader.u64()?),
    })
}

fn write_run(to: &mut Writer, run: Run) {
    to.bytes(&run.id.0);
    to.u32(run.attempt);
    write_form(to, run.form);
}

fn write_form(to: &mut Writer, form: Form) {
    to.u8(match form {
        Form::Bare => 1,
        Form::Quoted => 2,
    });
}

fn read_form(reader: &mut Reader<'_>) -> Result<Form, Unreadable> {
    match reader.u8()? {
        1 => Ok(Form::Bare),
        2 => Ok(Form::Quoted),
        _ => Err(Unreadable("form")),
    }
}

fn read_run(reader: &mut Reader<'_>) -> Result<Run, Unreadable> {
    Ok(Run { id: Lease(reader.array()?), attempt: reader.u32()?, form: read_form(reader)? })
}

fn write_reply(to: &mut Writer, reply: &Reply) {
    to.u16(reply.status);
    to.count(reply.headers.len());
    for (name, value) in &reply.headers {
        to.text(name);
        to.text(value);
    }
    match reply.body {
        Kept::Whole { bytes } => {
            to.u8(1);
            to.u64(bytes);
        }
        Kept::StatusOnly => to.u8(2),
    }
}

fn read_reply(reader: &mut Reader<'_>) -> Result<Reply, Unreadable> {
    let status = reader.u16()?;
    let mut headers = Vec::new();
    for _ in 0..reader.u32()? {
        headers.push((reader.text()?, reader.text()?));
    }
    let body = match reader.u8()? {
        1 => Kept::Whole { bytes: reader.u64()? },
        2 => Kept::StatusOnly,
        _ => return Err(Unreadable("body")),
    };
    Ok(Reply { status, headers, body })
}

fn write_completed(to: &mut Writer, completed: &Completed) {
    to.bytes(&completed.lease.0);
    write_run(to, completed.run);
    write_reply(to, &completed.reply);
    for instant in [completed.settled, completed.expires, completed.gone] {
        to.u64(instant.0);
    }
}

fn read_completed(reader: &mut Reader<'_>) -> Result<Completed, Unreadable> {
    Ok(Completed {
        lease: Lease(reader.array()?),
        run: read_run(reader)?,
        reply: read_reply(reader)?,
        settled: Millis(reader.u64()?),
        expires: Millis(reader.u64()?),
        gone: Millis(reader.u64()?),
    })
}

fn write_doubt(to: &mut Writer, doubt: &Doubt) {
    to.option(doubt.lease.as_ref(), |to, lease| to.bytes(&lease.0));
    write_run(to, doubt.run);
    to.u64(doubt.until.0);
    write_terms(to, &doubt.terms);
    to.u64(doubt.closes.0);
    to.u64(doubt.gone.0);
    to.u8(u8::from(doubt.earlier));
    to.option(doubt.base.as_ref(), write_completed);
}

fn read_doubt(reader: &mut Reader<'_>) -> Result<Doubt, Unreadable> {
    Ok(Doubt {
        lease: reader.option(|reader| Ok(Lease(reader.array()?)))?,
        run: read_run(reader)?,
        until: Millis(reader.u64()?),
        terms: read_terms(reader)?,
        closes: Millis(reader.u64()?),
        gone: Millis(reader.u64()?),
        earlier: match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Unreadable("earlier")),
        },
        base: reader.option(read_completed)?,
    })
}

fn frame(version: u8, head: &[u8]) -> Vec<u8> {
    let mut frame = Writer(Vec::with_capacity(PREFIX + head.len()));
    frame.u8(version);
    frame.count(head.len());
    frame.bytes(head);
    frame.0
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }
    /// Nothing here comes near 4 GiB (headers are at most 128 KB); if it did, reading would fail.
    fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }
    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes(text.as_bytes());
    }
    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.count(items.len());
        for item in items {
            write(self, item);
        }
    }
    fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                write(self, value);
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// What follows the version of a row, if that is known.
    fn versioned(row: &'a [u8]) -> Result<Self, Unreadable> {
        let mut reader = Self { rest: row };
        if !(OLDEST..=VERSION).contains(&reader.u8()?) {
            return Err(Unreadable("version"));
        }
        Ok(reader)
    }
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Unreadable("cut short"))?;
        self.rest = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable("cut short"))
    }
    fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array().map(u8::from_le_bytes)
    }
    fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_le_bytes)
    }
    fn text(&mut self) -> Result<String, Unreadable> {
        let count = usize::try_from(self.u32()?).map_err(|_| Unreadable("length"))?;
        let bytes = self.take(count)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Unreadable("text"))
    }
    fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, Unreadable> {
        let mut items = Vec::new();
        for _ in 0..self.u32()? {
            items.push(read(self)?);
        }
        Ok(items)
    }
    fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Unreadable("option")),
        }
    }
    fn end(&self) -> Result<(), Unreadable> {
        if self.rest.is_empty() { Ok(()) } else { Err(Unreadable("bytes left over")) }
    }
}
