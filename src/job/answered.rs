//! What follows from the answer to a schedule's or a message's request. One table; docs/queues.md has it for
//! people.

use std::time::Duration;

use crate::problem::Code;

/// The answer, as far as it counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered<'a> {
    /// Its status.
    pub status: u16,
    /// What became of the request, as the log names it: `executed`, `replayed`, `joined`, `released`, `unknown`,
    /// `running`, or a problem's code. `None` where the filter itself has failed.
    pub outcome: Option<&'a str>,
    /// Its Retry-After.
    pub retry_after: Option<Duration>,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It was executed, now or before.
    Done,
    /// Nothing happened, or is known yet to have happened: the same request may be made again after so long.
    Retry(Duration),
    /// Nobody knows whether it was executed. A late answer may tell, so a message is delivered again after so long;
    /// a schedule leaves the slot to its operators.
    InDoubt(Duration),
    /// Making the request again would be answered the same. Why: a text for people.
    Refused(String),
}

impl Answered<'_> {
    /// Says what follows. Never [`Next::Done`] where nothing is known of the outcome.
    #[must_use]
    pub fn next(self) -> Next {
        let after = self.retry_after.unwrap_or(RETRY_AFTER);
        let is = |codes: &[Code]| codes.iter().any(|code| Some(code.as_str()) == self.outcome);
        let Some(outcome) = self.outcome else { return Next::Retry(after) };
        if is(&[Code::AlreadyExecuted, Code::ReplyNotStored]) {
            return Next::Done;
        }
        if is(&[Code::InFlight, Code::OriginUnreachable, Code::StoreUnavailable]) {
            return Next::Retry(after);
        }
        // A Runner makes it: an operator is not kept waiting.
        if outcome == "running" {
            return Next::Retry(after);
        }
        if outcome == "unknown" || is(&[Code::OutcomeUnknown]) {
            return Next::InDoubt(self.retry_after.unwrap_or(DOUBT_AFTER).max(DOUBT_AFTER));
        }
        match (outcome, self.status) {
            ("executed" | "replayed" | "joined", 200..=299) => Next::Done,
            // Released: nothing happened, and what stood in the way may pass.
            ("released", 401 | 403 | 407 | 408 | 409 | 421 | 425 | 429 | 500..=599) => {
                Next::Retry(after)
            }
            _ => Next::Refused(format!("{} {outcome}", self.status)),
        }
    }
}

impl Next {
    /// Its name for operators.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry(_) => "retry",
            Self::InDoubt(_) => "decide",
            Self::Refused(_) => "refused",
        }
    }

    /// What is left to do, for people.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Done => None,
            Self::Retry(_) => Some("nothing happened, or is known yet to have happened".to_owned()),
            Self::InDoubt(_) => {
                Some("it is not known whether it was executed: decide at /.oncegate/".to_owned())
            }
            Self::Refused(why) => {
                Some(format!("sending it again would be answered the same: {why}"))
            }
        }
    }
}

/// Where the answer does not say when to come again.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// A doubt is looked at again after so long at the earliest.
const DOUBT_AFTER: Duration = Duration::from_mins(1);
