//! Whether an answer is true of its key at some instant between the request and the answer.

use std::collections::BTreeMap;

use oncegate::answer::{Accepted, Answer as Answered, Status};
use oncegate::lifecycle::event::{How, Replay, Strategy};
use oncegate::lifecycle::reply::Kept;
use oncegate::problem::{Code, Problem};
use oncegate::request::key::KeyId;
use oncegate::time::{Timestamp, millis};

use super::grants::Meaning;
use super::life::{Life, Ms, Phase, Stored, View};
use super::requests::{Grant, OpenRequest};
use super::rules::{Rule, Violation, broken};
use crate::world::{Answer, OriginResponse};

/// Holds an answer against the request, its grant if it had one, every key, whether anything has failed since,
/// and the time.
pub(super) fn check(
    answer: &Answer,
    open: &OpenRequest,
    grant: Option<&Grant>,
    lives: &BTreeMap<KeyId, Life>,
    troubled: bool,
    now: Ms,
) -> Result<(), Violation> {
    match answer {
        Answered::Stored(replay, body) => {
            replayed(replay, body.as_deref().unwrap_or_default(), open, lives)
        }
        Answered::OriginResponse(response, status, expires) => {
            self::response(response, (*status, *expires), open, grant, troubled, now)
        }
        Answered::Problem(problem, _) => refused(problem, open, grant, troubled, now),
        Answered::Accepted(accepted) => self::accepted(accepted, open, troubled, now),
    }
}

impl OpenRequest {
    fn has_same_print(&self, print: &[u8; 32]) -> bool {
        *print == self.request.claim.metadata.fingerprint.0
    }

    /// Whether its key could be seen so, under its fingerprint.
    fn saw(&self, is: impl Fn(&View) -> bool) -> bool {
        self.views.iter().any(|(print, view)| self.has_same_print(print) && is(view))
    }

    fn saw_stored(&self, is: impl Fn(&Stored) -> bool) -> bool {
        self.saw(|view| matches!(view, View::Stored(stored) if is(stored)))
    }
}

/// It runs, and the reply will be at its address.
fn accepted(
    accepted: &Accepted,
    open: &OpenRequest,
    troubled: bool,
    now: Ms,
) -> Result<(), Violation> {
    let claim = &open.request.claim;
    if !open.request.responds_async
        || claim.strategy != Strategy::ReturnExisting && open.lease.is_none()
    {
        return broken(Rule::TrueAnswer, "told to come again to one who did not ask for that");
    }
    if !open.addresses.contains(&accepted.status.0) {
        return broken(Rule::OneAddress, "told an address that its key has not");
    }
    if accepted.retry_after_s < 1 || accepted.retry_after_s > claim.durations.lease.as_secs() {
        return broken(Rule::RetryAfter, format!("{} s", accepted.retry_after_s));
    }
    // Whoever could not be asked may be told before its time.
    if !troubled && now - open.sent < millis(claim.wait) {
        return broken(Rule::Waits, format!("after {} ms only", now - open.sent));
    }
    if open.saw(|view| *view == View::Running) {
        return Ok(());
    }
    broken(Rule::TrueAnswer, "told that it runs, and it does not")
}

fn replayed(
    replay: &Replay,
    body: &[u8],
    open: &OpenRequest,
    lives: &BTreeMap<KeyId, Life>,
) -> Result<(), Violation> {
    if replay.how == How::Released {
        let is_told = |view: &View| match view {
            View::Released(it) => {
                it.told == Some((replay.reply.status, body.to_owned()))
                    && it.until == replay.expires.0
            }
            _ => false,
        };
        // Only to whoever had the claim: a duplicate is granted it.
        return if open.lease.is_some() && open.saw(is_told) {
            Ok(())
        } else {
            broken(Rule::TrueAnswer, "told as released what was not, or to another")
        };
    }
    if replay.how == How::Executed && open.lease.is_none() {
        return broken(Rule::TrueAnswer, "executed, but not for this request");
    }
    let same = |stored: &Stored| {
        stored.status == replay.reply.status
            && stored.body == body
            && stored.expires == replay.expires.0
    };
    if open.saw_stored(same) {
        if open.request.claim.strategy != Strategy::ReturnExisting && open.lease.is_none() {
            return broken(Rule::TrueAnswer, "a replay to one who asked for none");
        }
        return Ok(());
    }
    let other = |(_, view): &([u8; 32], View)| matches!(view, View::Stored(stored) if same(stored));
    if open.views.iter().any(other) {
        return broken(Rule::NothingCrosses, "a replay to another fingerprint");
    }
    let elsewhere = |(key, life): (&KeyId, &Life)| {
        *key != open.request.key_id && matches!(&life.phase, Phase::Stored(stored) if same(stored))
    };
    if lives.iter().any(elsewhere) {
        return broken(Rule::NothingCrosses, "a replay to another scope or key");
    }
    if open.saw_stored(|_| true) {
        return broken(Rule::SameBytes, "a replay of other bytes than those that are stored");
    }
    broken(Rule::TrueAnswer, "a replay where nothing is stored, or no longer")
}

fn response(
    response: &OriginResponse,
    (status, expires): (Status, Option<Timestamp>),
    open: &OpenRequest,
    grant: Option<&Grant>,
    troubled: bool,
    now: Ms,
) -> Result<(), Violation> {
    let Some(grant) = grant else {
        return broken(Rule::TrueAnswer, "an answer of the origin without a grant");
    };
    if grant.answer() != Some((response.facts.status, &response.body)) {
        return broken(Rule::SameBytes, "an answer that the origin did not give");
    }
    let is_true = match status {
        Status::Executed => {
            let kept = |stored: &Stored| {
                Some(stored.lease) == open.lease
                    && stored.status == response.facts.status
                    && (response.kept == Kept::StatusOnly || stored.body == response.body)
                    && expires.is_none_or(|expires| expires.0 == stored.expires)
            };
            if !open.saw_stored(kept) {
                return broken(Rule::StoredBeforeSent, "executed, but its reply is not stored");
            }
            true
        }
        // After its lease's end a Worker cannot tell whether its repeated release came first or too late; it
        // is true all the same that its own attempt did nothing.
        Status::Released => grant.released || grant.until <= now,
        Status::Unknown => troubled || Meaning::of(response.facts.status) == Meaning::InDoubt,
        Status::Replayed | Status::Joined | Status::Running => false,
    };
    if is_true {
        return Ok(());
    }
    broken(Rule::TrueAnswer, format!("{} is not true", status.as_str()))
}

fn refused(
    problem: &Problem,
    open: &OpenRequest,
    grant: Option<&Grant>,
    troubled: bool,
    now: Ms,
) -> Result<(), Violation> {
    let claim = &open.request.claim;
    // A doubt may be open without a time at which it ends.
    let has_time = problem.retry_after_s.is_some_and(|seconds| seconds >= 1);
    if problem.retryable != has_time && (has_time || problem.code != Code::OutcomeUnknown) {
        return broken(Rule::RetryAfter, "a problem that passes has no Retry-After");
    }
    let is_true = match problem.code {
        Code::InFlight => {
            let longest = claim.durations.lease.as_secs();
            if problem.retry_after_s.is_some_and(|seconds| seconds > longest) {
                return broken(Rule::RetryAfter, "it is longer than any lease");
            }
            let waits = claim.strategy == Strategy::ReturnExisting && open.lease.is_none();
            if waits && now - open.sent < millis(claim.wait) {
                return broken(Rule::Waits, format!("after {} ms only", now - open.sent));
            }
            open.saw(|view| *view == View::Running)
        }
        Code::AlreadyExecuted => claim.strategy == Strategy::Fail && open.saw_stored(|_| true),
        Code::OutcomeUnknown if problem.status == 409 && problem.retry_after_s.is_some() => {
            let waits = claim.strategy == Strategy::ReturnExisting && open.lease.is_none();
            if waits && now - open.sent < millis(claim.wait) {
                return broken(Rule::Waits, format!("after {} ms only", now - open.sent));
            }
            open.saw(|view| *view == View::StillRead)
        }
        Code::OutcomeUnknown if problem.status == 409 => open.saw(|view| *view == View::Doubt),
        Code::OutcomeUnknown => grant.is_some(),
        Code::KeyExpired => open.saw(|view| matches!(view, View::Expired | View::Closed)),
        Code::KeyReused => {
            open.views.iter().any(|(print, view)| !open.has_same_print(print) && !view.is_free())
        }
        Code::CredentialChanged => open.other_credential,
        Code::OriginUnreachable => {
            let not_sent = |view: &View| matches!(view, View::Released(it) if it.told.is_none());
            open.refused || open.lease.is_some() && open.saw(not_sent)
        }
        Code::StoreUnavailable => troubled,
        Code::ReplyNotStored => open.saw_stored(|stored| stored.body.is_empty()),
        Code::KeyMissing
        | Code::KeyInvalid
        | Code::StrategyInvalid
        | Code::Misconfigured
        | Code::CredentialRefused
        | Code::CredentialUnverifiable
        | Code::RequestTooLarge
        | Code::NotGuarded
        | Code::LoopDetected
        | Code::StatusUnknown => false,
        // Operators get these, clients never.
        Code::InvalidRequest
        | Code::Unauthorized
        | Code::Forbidden
        | Code::NotFound
        | Code::MethodNotAllowed
        | Code::LeaseLive
        | Code::MovedOn
        | Code::TooManyAttempts
        | Code::OutsideWindow => false,
    };
    if is_true {
        return Ok(());
    }
    let views: Vec<_> = open.views.iter().map(|(_, view)| word(view)).collect();
    let why = format!("{}, but the key was {}", problem.code.as_str(), views.join(", then "));
    broken(Rule::TrueAnswer, why)
}

fn word(view: &View) -> &'static str {
    match view {
        View::Free => "free",
        View::Released(_) => "released",
        View::Running => "running",
        View::Stored(_) => "stored",
        View::Expired => "expired",
        View::StillRead => "still read",
        View::Doubt => "in doubt",
        View::Closed => "closed",
    }
}
