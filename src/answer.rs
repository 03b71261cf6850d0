//! What a client of a guarded request is answered, and the headers that the filter adds to it.

use serde::Serialize;

use crate::config::route::Doubtful;
use crate::lifecycle::event::{How, Replay, Verdict};
use crate::lifecycle::lease::StatusSecret;
use crate::lifecycle::record::Reason;
use crate::lifecycle::reply::Kept;
use crate::problem::{Code, Problem};
use crate::request::json;
use crate::request::repeatability::RESULT;
use crate::time::{Timestamp, rfc3339};

/// An answer on its way to the client. `R` is the origin's response, `B` a stored body.
#[derive(Debug)]
pub enum Answer<R, B> {
    /// A refusal.
    Problem(Problem, Option<Status>),
    /// The origin's own response to this request; when its stored reply expires, if there is one.
    OriginResponse(R, Status, Option<Timestamp>),
    /// The stored reply, with its body unless that is empty.
    Stored(Replay, Option<B>),
    /// The operation runs; the reply will be at its status address.
    Accepted(Accepted),
}

/// An operation that runs without its client (RFC 7240 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The secret of its status address.
    pub status: StatusSecret,
    /// Retry-After, in seconds.
    pub retry_after_s: u64,
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
    /// The operation runs.
    Running,
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
            Self::Running => "running",
        }
    }
}

impl From<How> for Status {
    fn from(how: How) -> Self {
        match how {
            How::Replayed => Self::Replayed,
            How::Joined => Self::Joined,
            How::Executed => Self::Executed,
            How::Released => Self::Released,
        }
    }
}

/// What a duplicate is answered.
#[must_use]
pub fn duplicate<R, B>(verdict: Verdict, body: Option<B>) -> Answer<R, B> {
    let problem = |code, detail: &str| Answer::Problem(Problem::new(code, detail), None);
    match verdict {
        Verdict::Replay(replay) => match (replay.how, replay.reply.body) {
            (How::Released, _) | (_, Kept::Whole { .. }) => Answer::Stored(replay, body),
            (_, Kept::StatusOnly) => reply_not_stored(&replay),
        },
        Verdict::InFlight { retry_after_s, .. } => {
            let detail = "The first request under this key is still running. Send it again, unchanged, after Retry-After.";
            Answer::Problem(Problem::new(Code::InFlight, detail).retry_after(retry_after_s), None)
        }
        Verdict::AlreadyExecuted => problem(
            Code::AlreadyExecuted,
            "The operation was executed before, and the strategy of this request is to fail then. Do not send it again.",
        ),
        Verdict::InDoubt { reason, .. } => unknown(409, reason, STILL_IN_DOUBT),
        Verdict::StillRead { retry_after_s } => {
            let problem = outcome_unknown(409, Reason::Timeout, STILL_READ);
            Answer::Problem(problem.retry_after(retry_after_s), Some(Status::Unknown))
        }
        Verdict::Expired => problem(
            Code::KeyExpired,
            "The reply to this key is gone and the operation is not executed again. Find out what became of it before using a new key.",
        ),
        Verdict::KeyReused(mismatch) => {
            let detail = "This key was used for another request. Use a new key for a new operation, and send retries unchanged.";
            Answer::Problem(Problem::new(Code::KeyReused, detail).because(mismatch.why()), None)
        }
        Verdict::CredentialChanged => problem(
            Code::CredentialChanged,
            "The same request was sent under this key with another credential. Retry with the first credential, or find out what became of it before using a new key.",
        ),
        Verdict::OutsideWindow => problem(
            Code::OutsideWindow,
            "This request was first sent so long ago that what became of it may have been forgotten, so it was not forwarded. Find out whether it was executed before sending it as a new one.",
        ),
        Verdict::AheadOfTime => problem(
            Code::KeyInvalid,
            "Repeatability-First-Sent lies in the future. Send the time of the first try, by a clock that is right.",
        ),
        Verdict::Released => Answer::Problem(not_handed_over(), Some(Status::Released)),
        Verdict::Granted(..)
        | Verdict::Join(_)
        | Verdict::Kept(_)
        | Verdict::Stale
        | Verdict::Absent => store_unavailable("the Ledger's answer makes no sense"),
    }
}

fn reply_not_stored<R, B>(replay: &Replay) -> Answer<R, B> {
    let status = replay.reply.status;
    let detail = format!(
        "The operation was executed and answered with status {status}, but its reply was not kept. Do not send it again; ask the origin for the result."
    );
    let problem =
        Problem { original_status: Some(status), ..Problem::new(Code::ReplyNotStored, detail) };
    Answer::Problem(problem, None)
}

/// The request never reached the origin.
pub(crate) fn not_handed_over() -> Problem {
    let detail = "The request was not handed over to the origin. Send it again with the same key.";
    Problem::new(Code::OriginUnreachable, detail)
}

/// The outcome is not known: 502 or 504 to the first caller, 409 to duplicates.
pub(crate) fn unknown<R, B>(status: u16, reason: Reason, what: &str) -> Answer<R, B> {
    Answer::Problem(outcome_unknown(status, reason, what), Some(Status::Unknown))
}

fn outcome_unknown(status: u16, reason: Reason, what: &str) -> Problem {
    let detail = format!(
        "{what} It is not known whether the operation was executed. Sending it again with the same key is safe, and tells the outcome as soon as it is known. A new key is not safe: it could execute the operation twice."
    );
    let why = format!("{reason}: {what}");
    Problem::new(Code::OutcomeUnknown, detail).with_status(status).because(why)
}

/// The origin has not answered in time. Its answer is waited for until the lease ends, so it may be told yet: to whoever
/// comes again at once and joins. A Retry-After would keep clients away until the wait is over.
pub(crate) fn unanswered<R, B>() -> Answer<R, B> {
    let problem = outcome_unknown(504, Reason::Timeout, "The origin did not answer in time.");
    Answer::Problem(Problem { retryable: true, ..problem }, Some(Status::Unknown))
}

/// A doubt whose request may yet be told: its lease is live for so long, or the route asks the origin or sends again.
#[must_use]
pub fn may_be_told(problem: Problem, on_in_doubt: Doubtful) -> Problem {
    let is_open = problem.code == Code::OutcomeUnknown && on_in_doubt != Doubtful::Hold;
    Problem { retryable: problem.retryable || is_open, ..problem }
}

/// The Ledger could not be asked; nothing was forwarded.
pub(crate) fn store_unavailable<R, B>(why: &str) -> Answer<R, B> {
    let detail = "The idempotency store could not be asked, so nothing was forwarded. Send the request again with the same key.";
    Answer::Problem(Problem::new(Code::StoreUnavailable, detail).because(why), None)
}

/// Nobody makes the call of a client that does not wait; nothing was forwarded.
pub(crate) fn no_runner(why: &str) -> Problem {
    let detail = "There was no room to run the request, so nothing was forwarded. Send it again with the same key.";
    Problem::new(Code::StoreUnavailable, detail).because(why)
}

pub(crate) const STILL_IN_DOUBT: &str = "An earlier try may or may not have been executed.";
const STILL_READ: &str = "The origin did not answer an earlier try in time, and may answer it yet.";

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

/// The headers of the answer that an operation runs; `location` is its status address.
#[must_use]
pub fn accepted_marks(accepted: &Accepted, location: &str, correlation_id: &str) -> Marks {
    vec![
        ("content-type", "application/json".to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("location", location.to_owned()),
        ("retry-after", accepted.retry_after_s.to_string()),
        // RFC 7240 section 3. The preference may be the route's and not the client's: what is done is the same.
        ("preference-applied", "respond-async".to_owned()),
        ("x-correlation-id", correlation_id.to_owned()),
        ("idempotency-status", Status::Running.as_str().to_owned()),
    ]
}

/// The document of the same answer.
#[must_use]
pub fn accepted_body(location: &str, correlation_id: &str) -> String {
    json::to_text(&AcceptedDocument { status: Status::Running.as_str(), location, correlation_id })
}

#[derive(Serialize)]
struct AcceptedDocument<'a> {
    status: &'static str,
    location: &'a str,
    correlation_id: &'a str,
}

/// The headers of a problem document.
#[must_use]
pub fn problem_marks(problem: &Problem, status: Option<Status>, correlation_id: &str) -> Marks {
    let mut marks = vec![
        ("content-type", "application/problem+json".to_owned()),
        // A refusal is about this moment: no cache may answer a later try with it.
        ("cache-control", "no-store".to_owned()),
        ("content-language", "en".to_owned()),
        ("x-correlation-id", correlation_id.to_owned()),
    ];
    marks.extend(should_retry(problem.retryable));
    if problem.code == Code::LoopDetected {
        // It reaches the filter again that forwarded the request, as the answer of its origin: nothing was executed.
        marks.push(("idempotency-outcome", "release".to_owned()));
    }
    if problem.code == Code::MethodNotAllowed {
        // Of the filter's own addresses clients get to know those of statuses only.
        marks.push(("allow", "GET, HEAD".to_owned()));
    }
    if problem.code == Code::CredentialRefused {
        // RFC 6750 section 3.1: on this OAuth clients renew their token and come again.
        marks.push(("www-authenticate", r#"Bearer error="invalid_token""#.to_owned()));
    }
    if let Some(seconds) = problem.retry_after_s {
        marks.push(("retry-after", seconds.to_string()));
    }
    if let Some(status) = status {
        marks.push(("idempotency-status", status.as_str().to_owned()));
    }
    marks
}

/// The mark of every answer to a request in the dialect of OASIS Repeatable Requests: whether it is, or was, executed
/// once, or is refused for what its headers say.
#[must_use]
pub fn repeatability_result(refusal: Option<Code>) -> (&'static str, String) {
    let is_rejected = matches!(refusal, Some(Code::KeyInvalid | Code::OutsideWindow));
    (RESULT, if is_rejected { "rejected" } else { "accepted" }.to_owned())
}

/// What is stored of a reply's headers without what was said of that moment only: whether and when to come again. What was
/// released a few minutes ago may be sent again, so it keeps that.
pub fn replayed_headers(replay: &Replay) -> impl Iterator<Item = (&str, &str)> {
    let Replay { reply, how, .. } = replay;
    let is_of_the_moment = move |name: &str| {
        *how != How::Released
            && (SHOULD_RETRY.contains(&name) || (name == "retry-after" && reply.status >= 400))
    };
    let headers = reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    headers.filter(move |(name, _)| !is_of_the_moment(name))
}

/// The marks of a stored reply. Clients would go on retrying a stored 500, which never changes.
#[must_use]
pub fn replay_marks(replay: &Replay, correlation_id: &str) -> Marks {
    let is_stored = replay.how != How::Released;
    let expires = is_stored.then_some(replay.expires);
    let mut marks = marks(replay.how.into(), expires, correlation_id);
    if is_stored && replay.reply.status >= 500 {
        marks.extend(should_retry(false));
    }
    marks
}

/// Two headers say it: payment clients obey the one of Stripe, SDKs such as those of Anthropic the other.
fn should_retry(retryable: bool) -> impl Iterator<Item = (&'static str, String)> {
    SHOULD_RETRY.into_iter().map(move |name| (name, retryable.to_string()))
}

const SHOULD_RETRY: [&str; 2] = ["stripe-should-retry", "x-should-retry"];

/// RFC 3339, whole seconds; none beyond the year 9999.
fn seconds(at: Timestamp) -> Option<String> {
    let exact = rfc3339(at);
    (at.0 < 253_402_300_800_000).then(|| format!("{}Z", exact.get(..19).unwrap_or_default()))
}
