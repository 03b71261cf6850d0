//! What a Worker asks a Ledger, and what it is told: the conversation, without its bytes (`wire`).

use std::time::Duration;

use serde::Deserialize;

use crate::lifecycle::record::{Execution, Lease};
use crate::lifecycle::reply::Reply;
use crate::lifecycle::step::{Claim, Verdict};
use crate::operator::search::{OperatorQuery, OperatorResult};
use crate::request::fingerprint::{Fingerprint, Mismatch};
use crate::time::Timestamp;

/// A question about one key id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Take the right to forward; wait for a running claim as long as the claim says.
    Claim(Claim, CredentialChange),
    /// End a claim with the reply to keep, whose body travels beside the question.
    Settle(Lease, Reply),
    /// End a claim: nothing happened.
    Release(Lease),
    /// Say that a claim's outcome cannot be known.
    Doubt(Lease),
    /// Read without claiming.
    Look(Fingerprint),
    /// Asked of shard 0 by another one on its first use: is this the number of shards? A shard that
    /// remembers none takes it.
    Shards,
    /// An operator's question.
    Operator(OperatorQuery),
}

/// What a route says of the same operation under another credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialChange {
    /// It is neither replayed nor forwarded.
    Refuse,
    /// It is another operation (callers whose keys are weak).
    Forward,
}

/// The answer. A stored body (`B`) travels beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<B> {
    /// Forward: the lease is yours.
    Granted(Execution),
    /// What was waited for has ended, or the wait has: claim again. A wake grants nothing, so that no
    /// right to forward goes to someone who has left.
    Again,
    /// A claim is running; come again after so many seconds.
    InFlight {
        /// Seconds.
        retry_after_s: u64,
    },
    /// Send this.
    Replay(Replay<B>),
    /// The operation has been executed.
    AlreadyExecuted,
    /// The outcome is not known.
    InDoubt {
        /// The doubtful lease, for whoever resolves it.
        lease: Option<Lease>,
        /// For how long that lease has been over; none while it is not.
        over_for: Option<Duration>,
    },
    /// The reply is gone; the operation is not run again.
    Expired,
    /// The key was used for another request, which differs in this.
    KeyReused(Mismatch),
    /// The operation is recorded under another credential.
    CredentialChanged,
    /// The settle, release or doubt counts. After a settle: when the reply expires.
    Kept(Option<Timestamp>),
    /// The lease is not, or no longer, this record's: nothing was changed.
    Stale,
    /// There is no record (only to a look).
    Absent,
    /// Too many are waiting in this Ledger already.
    Crowded,
    /// This data was first used with another number of shards; nothing was changed.
    OtherShards(u16),
    /// The Ledger could not do it; nothing was changed. For the operator's log.
    Failed(String),
    /// The Ledger does not speak the version it was asked in; nothing was changed. It offers this one.
    UnknownVersion(u8),
    /// What an operator is told.
    Operator(OperatorResult),
}

/// A stored reply on its way to a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay<B> {
    /// Status and headers.
    pub reply: Reply,
    /// When it is no longer replayed.
    pub expires: Timestamp,
    /// Whether the duplicate waited for it.
    pub how: How,
    /// The body; empty where none was stored.
    pub body: B,
}

/// How a duplicate came to its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It came after the settle.
    Replayed,
    /// It waited for the settle.
    Joined,
}

impl<B> Told<B> {
    /// What a verdict is told as; none where that takes more than the verdict: a replay has a body, and
    /// a join is told when it is over.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Option<Self> {
        Some(match *verdict {
            Verdict::Replay(_) | Verdict::Join(_) => return None,
            Verdict::Granted(run) => Self::Granted(run),
            Verdict::InFlight { retry_after_s } => Self::InFlight { retry_after_s },
            Verdict::AlreadyExecuted => Self::AlreadyExecuted,
            Verdict::InDoubt { lease, over_for } => Self::InDoubt { lease, over_for },
            Verdict::Expired => Self::Expired,
            Verdict::KeyReused(differs) => Self::KeyReused(differs),
            Verdict::CredentialChanged => Self::CredentialChanged,
            Verdict::Kept(expires) => Self::Kept(expires),
            Verdict::Stale => Self::Stale,
            Verdict::Absent => Self::Absent,
        })
    }

    /// The same answer with another form of body.
    pub fn with_body<C>(self, change: impl FnOnce(B) -> C) -> Told<C> {
        match self {
            Self::Replay(Replay { reply, expires, how, body }) => {
                Told::Replay(Replay { reply, expires, how, body: change(body) })
            }
            Self::Granted(run) => Told::Granted(run),
            Self::Again => Told::Again,
            Self::InFlight { retry_after_s } => Told::InFlight { retry_after_s },
            Self::AlreadyExecuted => Told::AlreadyExecuted,
            Self::InDoubt { lease, over_for } => Told::InDoubt { lease, over_for },
            Self::Expired => Told::Expired,
            Self::KeyReused(differs) => Told::KeyReused(differs),
            Self::CredentialChanged => Told::CredentialChanged,
            Self::Kept(expires) => Told::Kept(expires),
            Self::Stale => Told::Stale,
            Self::Absent => Told::Absent,
            Self::Crowded => Told::Crowded,
            Self::OtherShards(shards) => Told::OtherShards(shards),
            Self::Failed(why) => Told::Failed(why),
            Self::UnknownVersion(version) => Told::UnknownVersion(version),
            Self::Operator(finding) => Told::Operator(finding),
        }
    }
}
