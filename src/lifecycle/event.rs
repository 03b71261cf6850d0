//! What can happen to a record, and what the caller is answered. Both are serialised: a Worker sends a
//! Ledger an [`Event`], and the Ledger answers with a [`Verdict`] ([`crate::protocol`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::record::{
    Completed, Durations, Execution, KeySpelling, Lease, Metadata, Reason, StatusSecret,
};
use crate::lifecycle::reply::Reply;
use crate::request::fingerprint::{Fingerprint, Mismatch};
use crate::time::Timestamp;

/// What can happen to a record.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and most are claims")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A Worker asks for the right to forward. It waits for a running claim as long as the claim says.
    Claim(Claim),
    /// The claim has ended with a reply to keep. The reply's body travels beside the event.
    Settle(Lease, Reply),
    /// The claim has ended, and running the operation again is right: nothing happened, or the route says so. What the
    /// origin answered is kept for a while where the key has a status address; its body travels beside the event.
    Release(Lease, Option<Reply>),
    /// The claim has ended, or its time has, and nobody can know whether the origin executed the operation.
    Doubt(Lease, Reason),
    /// The origin has broken off the body of a reply that was settled at its head. The durations are the route's: a
    /// settled record no longer has them.
    BreakOff(Lease, Durations),
    /// What would a duplicate with this fingerprint be answered, if it waited for so long? Nothing is claimed.
    Look(Fingerprint, Duration),
}

/// A request for the right to forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// A random token. Every repetition of the same claim brings the same one.
    pub lease: Lease,
    /// The metadata of the new record, if the claim makes one; its `created` is set then.
    pub metadata: Metadata,
    /// What the caller wants if the key is known.
    pub strategy: Strategy,
    /// The route's rule for records in doubt.
    pub on_in_doubt: OnInDoubt,
    /// The route's rule for the same operation under another credential.
    pub credential_change: CredentialChange,
    /// The route's durations.
    pub durations: Durations,
    /// How long the caller is willing to wait for a running claim.
    pub wait: Duration,
    /// The spelling in which the caller sent the key.
    pub spelling: KeySpelling,
    /// Who makes the request, for the statistics.
    pub asker: Asker,
    /// Where the caller says when the operation was first sent: by what a retry that comes too late is told.
    pub window: Option<Window>,
}

/// Who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asker {
    /// A client.
    Client,
    /// A schedule, or an operator in its place.
    Schedule,
    /// A message of a queue.
    Queue,
}

/// When an operation was first sent, and for how long the route promises to know it (OASIS Repeatable Requests).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it was first sent, by the client's clock.
    pub first_sent: Timestamp,
    /// For so long a key is known.
    pub span: Duration,
}

/// What a duplicate wants (Conductor's three strategies).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Wait for the running claim, replay the stored reply.
    ReturnExisting,
    /// Refuse every duplicate.
    Fail,
    /// Refuse a duplicate only while a claim is running; run again once it has completed.
    FailOnRunning,
}

/// What a claim does with a record in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnInDoubt {
    /// Nothing: the caller is answered that the outcome is unknown.
    Hold,
    /// It is granted once the doubtful lease is over (for origins that are idempotent themselves).
    Retry,
}

/// What a route says of the same operation under another credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialChange {
    /// The request is neither answered from that record nor forwarded.
    Refuse,
    /// It is another operation (for callers whose keys are weak).
    Forward,
}

/// What the caller is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The claim is granted: forward the request. With it comes the secret of the key's status address, if it has one.
    Granted(Execution, Option<StatusSecret>),
    /// A claim is running, and the caller waits for it until then. The Ledger answers when the wait is over,
    /// so this verdict is never sent.
    Join(Timestamp),
    /// A claim is running.
    InFlight {
        /// Retry-After, in seconds: the claim's age so far, at least 1 s, and at most 1 s past the lease's end.
        retry_after_s: u64,
        /// The secret of the key's status address, if it has one.
        status: Option<StatusSecret>,
    },
    /// The stored reply. Its body travels beside the verdict.
    Replay(Replay),
    /// The operation has been executed.
    AlreadyExecuted,
    /// Whether the origin executed the operation is not known.
    InDoubt {
        /// The doubtful lease, for whoever resolves the record.
        lease: Option<Lease>,
        /// For how long that lease has been over.
        over_for: Duration,
        /// Why it is not known.
        reason: Reason,
    },
    /// The origin did not answer in time. Its call is still read, so it may be known soon.
    StillRead {
        /// Retry-After, in seconds: until the lease's end.
        retry_after_s: u64,
    },
    /// The reply is gone; the operation is not run again.
    Expired,
    /// The key was used for another request, which differs in these parts.
    KeyReused(Mismatch),
    /// The operation is recorded under another credential.
    CredentialChanged,
    /// The settle, release or doubt counts. After a settle: when the reply expires.
    Kept(Option<Timestamp>),
    /// The lease is not, or no longer, this record's: nothing was changed.
    Stale,
    /// The request was not handed over to the origin (only after a look, and at the status address).
    Released,
    /// There is no record (only after a look, and at the status address).
    Absent,
    /// There is no record, and the operation was first sent so long ago that it may have been executed and forgotten.
    OutsideWindow,
    /// There is no record, and the operation will be sent for the first time in the future, as its caller says.
    AheadOfTime,
}

/// A stored reply on its way to a duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Status and headers.
    pub reply: Reply,
    /// When it is no longer replayed.
    pub expires: Timestamp,
    /// How the duplicate came to it.
    pub how: How,
}

impl Replay {
    /// The reply of a completed record.
    #[must_use]
    pub fn of(completed: &Completed, how: How) -> Self {
        Self { reply: completed.reply.clone(), expires: completed.expires, how }
    }
}

/// How a duplicate came to its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It came after the settle.
    Replayed,
    /// It waited for the settle.
    Joined,
    /// It is the request that was executed, by a Runner.
    Executed,
    /// It is no stored reply but what the origin answered to a call that was released.
    Released,
}
