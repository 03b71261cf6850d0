//! The promises that a history can break.

/// The promise that a history breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A key is granted once within its life, unless a policy allows more.
    GrantedOnce,
    /// A wake grants nothing.
    WakesGrantNothing,
    /// A lease that was settled or released is not granted to a late copy of its claim.
    EndedIsGone,
    /// Each grant lets the origin execute once, and nothing is executed without one.
    ExecutedOncePerGrant,
    /// Only the lease's holder ends a claim, and it is never refused.
    HolderEnds,
    /// What is stored is what the origin answered, for as long as the route says.
    StoredAsSaid,
    /// A key is released only where nothing happened, or the origin's answer says so.
    ReleasedForCause,
    /// A key is in doubt only where something failed.
    DoubtedForCause,
    /// An answer is true of its key at some instant since the request was sent.
    TrueAnswer,
    /// A replay has the stored reply's bytes.
    SameBytes,
    /// No answer crosses fingerprints, scopes or credentials.
    NothingCrosses,
    /// An answer that says it is stored is stored.
    StoredBeforeSent,
    /// Every request is answered, in bounded time.
    Answered,
    /// A caller that is willing to wait waits, and is woken.
    Waits,
    /// Retry-After is at least 1 s and never past the lease's end.
    RetryAfter,
    /// A call of the origin begins while its lease is live.
    BegunInTime,
    /// Every claim of a key has the same status address until the key is forgotten, and nobody is told another's.
    OneAddress,
    /// A status address tells what a duplicate would be told, and what was released as that.
    StatusTold,
    /// Nothing outlives its expiry.
    NothingLeft,
}

/// A broken promise, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) why: String,
}

pub(crate) fn broken(rule: Rule, why: impl Into<String>) -> Result<(), Violation> {
    Err(Violation { rule, why: why.into() })
}
