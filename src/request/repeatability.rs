//! OASIS Repeatable Requests 1.0, the dialect of Azure's clients: `Repeatability-Request-ID` names the operation, and
//! `Repeatability-First-Sent` says when it was first sent, so that a retry which comes too late is told from a new request
//! (docs.oasis-open.org/odata/repeatable-requests/v1.0/cs01).

use std::time::{Duration, SystemTime};

use httpdate::{fmt_http_date, parse_http_date};

use crate::time::Timestamp;

/// The headers of a request, as far as they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// What names the operation.
    pub request_id: String,
    /// When the operation was first sent, by the client's clock: the same on every try.
    pub first_sent: Timestamp,
}

impl Repeatable {
    /// Reads the headers of a request; `None` where it has neither of the two.
    ///
    /// # Errors
    /// What is wrong with them, as the end of a sentence.
    pub fn read(header: &dyn Fn(&str) -> Option<String>) -> Option<Result<Self, &'static str>> {
        Some(match (header(REQUEST_ID), header(FIRST_SENT)) {
            (None, None) => return None,
            (Some(_), None) => {
                Err("Repeatability-Request-ID comes without Repeatability-First-Sent")
            }
            (None, Some(_)) => {
                Err("Repeatability-First-Sent comes without Repeatability-Request-ID")
            }
            (Some(request_id), Some(first_sent)) => match imf_fixdate(&first_sent) {
                Some(first_sent) => Ok(Self { request_id, first_sent }),
                None => {
                    Err("Repeatability-First-Sent is no date such as Tue, 24 Nov 2026 08:49:37 GMT")
                }
            },
        })
    }
}

/// An IMF-fixdate (RFC 9110 section 5.6.7), and neither of the obsolete formats, which `httpdate` reads too.
fn imf_fixdate(text: &str) -> Option<Timestamp> {
    let at = parse_http_date(text).ok().filter(|at| fmt_http_date(*at) == text)?;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(Timestamp)
}

/// Names the operation.
pub const REQUEST_ID: &str = "repeatability-request-id";
/// Names the client: an id means something to the client that made it only.
pub const CLIENT_ID: &str = "repeatability-client-id";
/// What came of it: `accepted`, as a request that is executed once or has been, or `rejected`.
pub const RESULT: &str = "repeatability-result";
/// How far clocks may be apart: so much sooner than the window ends a request is too old, and so far ahead it is wrong.
pub const CLOCKS_APART: Duration = Duration::from_mins(5);
/// All that a client sends.
pub const HEADERS: [&str; 3] = [REQUEST_ID, FIRST_SENT, CLIENT_ID];
const FIRST_SENT: &str = "repeatability-first-sent";
