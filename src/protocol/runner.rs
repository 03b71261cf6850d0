//! What a Worker and a Runner say to each other: one call in the life of a Runner. The frame is that of the messages to a
//! Ledger ([`super`]); the body of the request and its headers travel beside it.

use serde::{Deserialize, Serialize};

use super::{VERSION, agreed, parts, write};
use crate::encoding::{self, Unreadable};
use crate::lifecycle::event::Claim;
use crate::lifecycle::record::Execution;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// A granted claim, and the request that it was granted for. The Runner has no storage: it lives in memory only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerRequest {
    /// The record.
    pub key_id: KeyId,
    /// How many shards the Worker believes in.
    pub shards: u16,
    /// The claim that was granted.
    pub claim: Claim,
    /// Run and attempt.
    pub run: Execution,
    /// When the claim was sent, by the Worker's clock.
    pub sent: Timestamp,
    /// The key as the client sent it, for the log.
    pub key: String,
    /// The address that the request is forwarded to.
    pub address: String,
    /// The address that the client sent it to.
    pub requested: String,
    /// The client's trace context, for the log.
    pub traceparent: Option<String>,
}

/// What a Runner answers, at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunnerAnswer {
    /// It does not speak the version of the message, and has sent nothing. It speaks this one. Always the first variant.
    UnknownVersion(u8),
    /// It makes the call.
    Taken,
    /// It was called before: the call may be under way.
    CalledBefore,
    /// It has sent nothing. Why, for the log.
    Refused(String),
}

/// Prefix and head of a request.
#[must_use]
pub fn write_runner_request(request: &RunnerRequest) -> Vec<u8> {
    write(request, VERSION)
}

/// Reads prefix and head of a request.
///
/// # Errors
/// The bytes are of an unknown version ([`Unreadable::Version`]), or no request.
pub fn read_runner_request(frame: &[u8]) -> Result<RunnerRequest, Unreadable> {
    let (version, head) = parts(frame)?;
    agreed(version).ok_or(Unreadable::Version(version))?;
    encoding::read(head)
}

/// Prefix and head of a Runner's answer.
#[must_use]
pub fn write_runner_answer(answer: &RunnerAnswer) -> Vec<u8> {
    write(answer, VERSION)
}

/// Reads prefix and head of a Runner's answer.
///
/// # Errors
/// The bytes are no answer.
pub fn read_runner_answer(frame: &[u8]) -> Result<RunnerAnswer, Unreadable> {
    encoding::read(parts(frame)?.1)
}
