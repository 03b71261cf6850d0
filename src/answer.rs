//! What a client of a guarded request is answered, and the headers that the filter adds to it.

use crate::lifecycle::reply::Kept;
use crate::problem::{Code, Problem};
use crate::protocol::{How, Replay, Told};
use crate::time::{Timestamp, rfc3339};

/// An answer on its way to the client. `H` is what the origin said, `B` a stored body.
#[derive(Debug)]
pub enum Answer<H, B> {
    /// A refusal.
    Problem(Problem, Option<Status>),
    /// The origin's own response to this request.
    OriginResponse(H, Status, Option<Timestamp>),
    /// The stored reply.
    Stored(Replay<B>),
}

/// What became of the operation, as `Idempotency-Status` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// This request was forwarded and its reply is stored.
    Executed,
    /// This is the stored reply.
    Replayed,
    /// This is the reply that the request waited for.
    Joined,
    /// The key is free again.
    Released,
    /// Nobody knows whether the origin executed the operation.
    Unknown,
}

impl Status {
    /// The header's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Replayed => "replayed",
            Self::Joined => "joined",
            Self::Released => "released",
            Self::Unknown => "unknown",
        }
    }
}

impl From<How> for Status {
    fn from(how: How) -> Self {
        match how {
            How::Replayed => Self::Replayed,
            How::Joined => Self::Joined,
        }
    }
}

/// What a duplicate is answered.
#[must_use]
pub fn duplicate<H, B>(told: Told<B>) -> Answer<H, B> {
    let problem = |code, detail: &str| Answer::Problem(Problem::new(code, detail), None);
    match told {
        Told::Replay(replay) => match replay.reply.body {
            Kept::Whole { .. } => Answer::Stored(replay),
            Kept::StatusOnly => reply_not_stored(&replay),
        },
        Told::InFlight { retry_after_s } => {
            let detail = "The first request under this key is still running. Send it again, unchanged, after Retry-After.";
            Answer::Problem(Problem::new(Code::InFlight, detail).retry_after(retry_after_s), None)
        }
        Told::AlreadyExecuted => problem(
            Code::AlreadyExecuted,
            "The operation was executed before, and the strategy of this request is to fail then. Do not send it again.",
        ),
        Told::InDoubt { .. } => unknown(409, STILL_IN_DOUBT),
        Told::Expired => problem(
            Code::KeyExpired,
            "The reply to this key is gone and the operation is not executed again. Find out what became of it before using a new key.",
        ),
        Told::KeyReused(differs) => {
            let detail = "This key was used for another request. Use a new key for a new operation, and send retries unchanged.";
            Answer::Problem(Problem::new(Code::KeyReused, detail).because(differs.why()), None)
        }
        Told::CredentialChanged => problem(
            Code::CredentialChanged,
            "The same request was sent under this key with another credential. Retry with the first credential, or find out what became of it before using a new key.",
        ),
        Told::Granted(_)
        | Told::Again
        | Told::Kept(_)
        | Told::Stale
        | Told::Absent
        | Told::Crowded
        | Told::OtherShards(_)
        | Told::Failed(_)
        | Told::UnknownVersion(_)
        | Told::Operator(_) => store_unavailable("the Ledger's answer makes no sense"),
    }
}

fn reply_not_stored<H, B>(replay: &Replay<B>) -> Answer<H, B> {
    let status = replay.reply.status;
    let detail = format!(
        "The operation was executed and answered with status {status}, but its reply was not kept. Do not send it again; ask the origin for the result."
    );
    let problem =
        Problem { original_status: Some(status), ..Problem::new(Code::ReplyNotStored, detail) };
    Answer::Problem(problem, None)
}

/// The outcome is not known: 502 or 504 to the first caller, 409 to duplicates.
pub(crate) fn unknown<H, B>(status: u16, what: &str) -> Answer<H, B> {
    let detail = format!(
        "{what} It is not known whether the operation was executed, and it is not sent again by itself. Find out what became of it before using a new key."
    );
    let problem = Problem::new(Code::OutcomeUnknown, detail).with_status(status).because(what);
    Answer::Problem(problem, Some(Status::Unknown))
}

/// The Ledger could not be asked; nothing was forwarded.
pub(crate) fn store_unavailable<H, B>(why: &str) -> Answer<H, B> {
    let detail = "The idempotency store could not be asked, so nothing was forwarded. Send the request again with the same key.";
    Answer::Problem(Problem::new(Code::StoreUnavailable, detail).because(why), None)
}

pub(crate) const STILL_IN_DOUBT: &str = "An earlier try may or may not have been executed.";

/// Headers that the filter sets on an answer; each replaces any other of its name.
pub type Marks = Vec<(&'static str, String)>;

/// The marks of an answer that carries a response.
#[must_use]
pub fn marks(status: Status, expires: Option<Timestamp>, correlation_id: &str) -> Marks {
    let mut marks = vec![
        ("x-correlation-id", correlation_id.to_owned()),
        ("idempotency-status", status.as_str().to_owned()),
    ];
    if matches!(status, Status::Replayed | Status::Joined) {
        marks.push(("idempotent-replayed", "true".to_owned()));
    }
    if let Some(expires) = expires.and_then(seconds) {
        marks.push(("idempotency-expires", expires));
    }
    marks
}

/// The headers of a problem document.
#[must_use]
pub fn problem_marks(problem: &Problem, status: Option<Status>, correlation_id: &str) -> Marks {
    let mut marks = vec![
        ("content-type", "application/problem+json".to_owned()),
        // A refusal is about this moment: no cache may answer a later try with it.
        ("cache-control", "no-store".to_owned()),
        ("content-language", "en".to_owned()),
        ("stripe-should-retry", problem.code.should_retry().to_string()),
        ("x-correlation-id", correlation_id.to_owned()),
    ];
    if let Some(seconds) = problem.retry_after_s {
        marks.push(("retry-after", seconds.to_string()));
    }
    if let Some(status) = status {
        marks.push(("idempotency-status", status.as_str().to_owned()));
    }
    marks
}

/// What a browser's page needs to read a replay or a problem (Fetch standard, section 3.2): leave for
/// the request's own Origin, if the route names it.
#[must_use]
pub fn cors_marks(allowed: &[String], origin: Option<&str>) -> Marks {
    let Some(origin) =
        origin.filter(|origin| allowed.iter().any(|name| name == origin || name == "*"))
    else {
        return Vec::new();
    };
    vec![
        ("access-control-allow-origin", origin.to_owned()),
        ("access-control-expose-headers", EXPOSED.to_owned()),
    ]
}

/// The filter's own headers, and those without which its answers are not understood.
const EXPOSED: &str = "Idempotent-Replayed, Idempotency-Status, Idempotency-Expires, X-Correlation-Id, Retry-After, Location";

/// RFC 3339, whole seconds; none beyond the year 9999.
fn seconds(at: Timestamp) -> Option<String> {
    let exact = rfc3339(at);
    (at.0 < 253_402_300_800_000).then(|| format!("{}Z", exact.get(..19).unwrap_or_default()))
}
