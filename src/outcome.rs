//! What the origin's answer means: store it, release the key, or doubt. One table.

/// Why there is no answer. The distinction that the product hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request was never handed to the runtime: nothing can have happened.
    NeverSent,
    /// Anything else. The runtime words a refused connection like one that was lost after the origin
    /// had done its work, so an error's text proves nothing.
    Unknown,
}

/// What an answer means for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operation has its outcome: keep the reply and replay it.
    Store,
    /// Nothing happened, or it is right to evaluate a retry afresh: the key is free again.
    Release,
    /// The origin may or may not have done it.
    InDoubt,
}

/// The standard table (contract 1.6). `says_when` tells whether the answer carries Retry-After.
///
/// 52x and 530 are made by Cloudflare's edge: 521 refused, 523 unreachable, 525 and 526 TLS, 530 DNS
/// never reached the origin; 520, 522 and 524 may have.
#[must_use]
pub fn outcome(status: u16, says_when: bool) -> Outcome {
    match status {
        200..=399 | 402 => Outcome::Store,
        400..=499 => Outcome::Release,
        503 if says_when => Outcome::Release,
        521 | 523 | 525 | 526 | 530 => Outcome::Release,
        502 | 503 | 504 | 520 | 522 | 524 => Outcome::InDoubt,
        // 500 and its like: an effect may hide behind it, so it is never run again.
        500..=599 => Outcome::Store,
        // 1xx, 600 and above: the origin speaks no HTTP that the runtime could pass on.
        _ => Outcome::InDoubt,
    }
}
