//! What a Worker and a Ledger say to each other, and its bytes.
//!
//! A message is a frame, `[version u8][head length u32 LE][head][body]`. The head is a [`LedgerRequest`] or
//! a [`LedgerAnswer`] ([`crate::encoding`]). The body is that of a reply, as the origin sent it; it is never
//! decoded or copied into the head.
//!
//! Worker and Ledger differ in version for minutes after every deploy, since a busy object keeps its old
//! code. So both sides read every version from [`OLDEST`] to [`VERSION`], and a Ledger that is asked in
//! another version says which it speaks, having changed nothing.

pub mod runner;

use serde::{Deserialize, Serialize};

use crate::encoding::{self, Unreadable};
use crate::lifecycle::event::{Event, Verdict};
use crate::lifecycle::lease::StatusSecret;
use crate::operator::query::{OperatorQuery, OperatorResult};
use crate::request::key::KeyId;

/// The version that is written.
pub const VERSION: u8 = 1;
/// The oldest version that is read. The first release knows no version before its own.
pub const OLDEST: u8 = 1;
/// Bytes before the head: the version and the head's length.
pub const PREFIX: usize = 5;

/// A request to a Ledger. `E` is an [`Event`], or a reference to one where the request is only written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRequest<E = Event> {
    /// The record that it is about.
    pub key_id: KeyId,
    /// How many shards the sender believes in.
    pub shards: u16,
    /// What is asked.
    pub question: Question<E>,
}

/// What a Ledger is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question<E = Event> {
    /// Something happens to the record. The body of a settle travels beside the request.
    Event(E),
    /// A shard asks shard 0 on its first use: is this the number of shards? A shard 0 that remembers none
    /// takes it.
    Shards,
    /// An operator's query. The body of a reply that an operator gives travels beside the request.
    Operator(OperatorQuery),
    /// What is known of the key, in whichever scope, whose status address has this secret?
    Status(StatusSecret),
}

/// What a Ledger answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerAnswer {
    /// The Ledger does not speak the version of the request; nothing was changed. It speaks this one.
    /// Always the first variant: it is written with the same bytes in every version.
    UnknownVersion(u8),
    /// What the event led to. The body of a replay travels beside the answer.
    Verdict(Verdict),
    /// What the claim waited for has ended, or the wait has: claim again. A wake grants nothing, so that no
    /// right to forward goes to a caller who has left.
    ClaimAgain,
    /// The Ledger has no room for so many bytes at once; nothing was changed.
    Crowded,
    /// This data was first used with the number of shards that the request names.
    SameShards,
    /// This data was first used with this other number of shards; nothing was changed.
    OtherShards(u16),
    /// The Ledger could not do it. Why, for the log.
    Failed(String),
    /// The result of an operator's query.
    Operator(OperatorResult),
    /// What is known of the key of a status address. The body of a replay travels beside the answer.
    Status(KnownStatus),
}

/// What is known of the key of a status address, and who may be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStatus {
    /// The route of the key's first request.
    pub route: String,
    /// Its correlation id.
    pub correlation_id: String,
    /// Digest of the credential that the reader must have ([`StatusSecret::seal`]); none where anybody may read.
    pub credential: Option<[u8; 16]>,
    /// What a duplicate would be answered.
    pub verdict: Verdict,
}

/// The version to ask again in, after a Ledger offered one; none if this code does not write it.
#[must_use]
pub fn agreed(offered: u8) -> Option<u8> {
    (OLDEST..=VERSION).contains(&offered).then_some(offered)
}

/// Prefix and head of a request, in a version from [`OLDEST`] to [`VERSION`].
#[must_use]
pub fn write_request<E: Serialize>(request: &LedgerRequest<E>, version: u8) -> Vec<u8> {
    write(request, version)
}

/// Reads prefix and head of a request, and says in which version it was written: the answer is written in
/// the same.
///
/// # Errors
/// The bytes are of an unknown version ([`Unreadable::Version`]), or no request.
pub fn read_request(frame: &[u8]) -> Result<(u8, LedgerRequest), Unreadable> {
    let (version, head) = parts(frame)?;
    agreed(version).ok_or(Unreadable::Version(version))?;
    Ok((version, encoding::read(head)?))
}

/// Prefix and head of an answer, in the version of the request.
#[must_use]
pub fn write_answer(answer: &LedgerAnswer, version: u8) -> Vec<u8> {
    write(answer, version)
}

/// Reads prefix and head of an answer.
///
/// # Errors
/// The bytes are no answer.
pub fn read_answer(frame: &[u8]) -> Result<LedgerAnswer, Unreadable> {
    let (version, head) = parts(frame)?;
    match encoding::read(head)? {
        answer @ LedgerAnswer::UnknownVersion(_) => Ok(answer),
        answer => agreed(version).map(|_| answer).ok_or(Unreadable::Version(version)),
    }
}

fn write<T: Serialize>(head: &T, version: u8) -> Vec<u8> {
    let mut frame = encoding::append(vec![version, 0, 0, 0, 0], head);
    // A head is far below 4 GiB: the largest part of it is headers, which the platform limits to 128 KB.
    let length = u32::try_from(frame.len().saturating_sub(PREFIX)).unwrap_or(u32::MAX);
    for (byte, length) in frame.iter_mut().skip(1).zip(length.to_le_bytes()) {
        *byte = length;
    }
    frame
}

/// Version and head of a frame without its body.
fn parts(frame: &[u8]) -> Result<(u8, &[u8]), Unreadable> {
    let (&[version, length @ ..], head) =
        frame.split_first_chunk::<PREFIX>().ok_or(Unreadable::Length)?;
    if head.len() != u32::from_le_bytes(length) as usize {
        return Err(Unreadable::Length);
    }
    Ok((version, head))
}
