//! What a client of a guarded request is answered, and the headers that the filter adds to it.

use std::time::{Duration, SystemTime};

use crate::ask::{How, Replay};
use crate::problem::Problem;
use crate::record::Millis;

/// An answer on its way to the client. `H` is what the origin said, `B` a stored body.
#[derive(Debug)]
pub enum Answer<H, B> {
    /// A refusal.
    Problem(Problem, Option<Status>),
    /// The origin's own response to this request.
    Heard(H, Status, Option<Millis>),
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

/// Headers that the filter sets on an answer; each replaces any other of its name.
pub type Marks = Vec<(&'static str, String)>;

/// The marks of an answer that carries a response.
#[must_use]
pub fn marks(status: Status, expires: Option<Millis>, correlation_id: &str) -> Marks {
    let mut marks = vec![
        ("x-correlation-id", correlation_id.to_owned()),
        ("idempotency-status", status.as_str().to_owned()),
    ];
    if matches!(status, Status::Replayed | Status::Joined) {
        marks.push(("idempotent-replayed", "true".to_owned()));
    }
    if let Some(expires) = expires.and_then(rfc3339) {
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

/// RFC 3339, whole seconds.
fn rfc3339(instant: Millis) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(instant.0))?;
    // The formatter fails past the year 9999.
    (instant.0 < 253_402_300_800_000).then(|| humantime::format_rfc3339_seconds(time).to_string())
}
