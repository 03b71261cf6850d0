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

mod bytes;
mod operator;
mod record;

use std::time::Duration;

use self::bytes::{Reader, Writer};
pub use self::operator::{read_decision, read_tally, write_decision, write_tally};
use self::record::{
    read_about, read_form, read_reply, read_run, read_terms, write_about, write_form, write_reply,
    write_run, write_terms,
};
pub use self::record::{read_record, write_record};
use crate::lifecycle::record::Lease;
use crate::lifecycle::step::{Claim, OnInDoubt, Strategy};
use crate::protocol::{Ask, CredentialChange, How, Replay, Told};
use crate::request::fingerprint::{Fingerprint, Mismatch};
use crate::request::key::KeyId;
use crate::time::{Timestamp, millis};

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
        Ask::Operator(query) => {
            head.u8(7);
            operator::write_query(&mut head, query);
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
        7 => Ask::Operator(operator::read_query(&mut reader)?),
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
            head.option(over_for.as_ref(), |head, over_for| head.u64(millis(*over_for)));
        }
        Told::Expired => head.u8(7),
        // As before the difference was told.
        Told::KeyReused(Mismatch(0)) => head.u8(8),
        Told::KeyReused(Mismatch(bits)) => {
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
        Told::Operator(result) => {
            head.u8(17);
            operator::write_result(&mut head, result);
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
            expires: Timestamp(reader.u64()?),
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
            over_for: reader.option(|reader| Ok(Duration::from_millis(reader.u64()?)))?,
        },
        7 => Told::Expired,
        8 => Told::KeyReused(Mismatch(0)),
        9 => Told::CredentialChanged,
        10 => Told::Kept(reader.option(|reader| Ok(Timestamp(reader.u64()?)))?),
        11 => Told::Stale,
        12 => Told::Absent,
        13 => Told::Crowded,
        14 => Told::Failed(reader.text()?),
        15 => Told::UnknownVersion(reader.u8()?),
        16 => Told::OtherShards(reader.u16()?),
        17 => Told::Operator(operator::read_result(&mut reader)?),
        18 => match reader.u8()? {
            0 => return Err(Unreadable("differs")),
            bits => Told::KeyReused(Mismatch(bits)),
        },
        _ => return Err(Unreadable("answer")),
    };
    reader.end()?;
    Ok(told)
}

fn write_claim(head: &mut Writer, claim: &Claim, change: CredentialChange) {
    head.bytes(&claim.lease.0);
    write_about(head, &claim.metadata);
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
    write_terms(head, &claim.durations);
    head.u64(millis(claim.wait));
    write_form(head, claim.spelling);
}

fn read_claim(reader: &mut Reader<'_>) -> Result<Ask, Unreadable> {
    let lease = Lease(reader.array()?);
    let metadata = read_about(reader)?;
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
    let durations = read_terms(reader)?;
    let wait = Duration::from_millis(reader.u64()?);
    let spelling = read_form(reader)?;
    Ok(Ask::Claim(
        Claim { lease, metadata, strategy, on_in_doubt, durations, wait, spelling },
        change,
    ))
}

fn frame(version: u8, head: &[u8]) -> Vec<u8> {
    let mut frame = Writer(Vec::with_capacity(PREFIX + head.len()));
    frame.u8(version);
    frame.count(head.len());
    frame.bytes(head);
    frame.0
}
