//! A route in shadow mode: everything is forwarded as if unguarded, and records of their own let the log
//! say what enforcing would have answered. This is how a cautious team adopts the filter.

use std::time::Duration;

use futures_util::future::join;

use crate::answer::{Answer, duplicate};
use crate::filter::{CALL_PATIENCE, GuardedRequest, World, end, other_shards, within};
use crate::lifecycle::event::{Claim, Event, Strategy, Verdict};
use crate::lifecycle::outcome::{Facts, Failure, Outcome};
use crate::lifecycle::record::Reason;
use crate::lifecycle::reply::{Kept, Reply};
use crate::problem::Code;
use crate::protocol::LedgerAnswer;

/// A response that was passed on.
#[derive(Clone, Debug)]
pub struct Passed {
    /// What enforcing would judge by.
    pub facts: Facts,
    /// Whether enforcing would keep the reply, as far as its headers tell.
    pub keeps: Keeps,
}

/// Whether a reply would be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Whole.
    Reply,
    /// Only its status: it is too large, or an event stream.
    Status,
}

/// Watches a request that has gone on already, and says what enforcing would have answered. Nothing is
/// withheld, replayed or added. The shadow records are settled by the response that was passed on.
pub async fn watch<W: World>(
    world: &W,
    request: &GuardedRequest,
    passed: impl Future<Output = Result<Passed, Failure>>,
    say: impl FnOnce(&'static str),
) {
    let started = world.now();
    let claim = Event::Claim(Claim { wait: Duration::ZERO, ..request.claim.clone() });
    let claimed = within(world, CALL_PATIENCE, world.ask(&request.key_id, &claim, None));
    let (answer, passed) = join(claimed, passed).await;
    match answer.map(|(answer, _)| answer) {
        Ok(LedgerAnswer::Verdict(Verdict::Granted(..))) => {
            let in_time = world.now().since(started) <= request.route.timeout;
            // Whatever the origin says then, it would have been forwarded.
            say(if in_time { "executed" } else { Code::OutcomeUnknown.as_str() });
            end(world, &request.key_id, ending(request, passed), None).await;
        }
        Ok(LedgerAnswer::Verdict(verdict)) => say(would_answer(request, verdict)),
        Ok(LedgerAnswer::OtherShards(first)) => {
            world.log(&other_shards(first));
            say(Code::StoreUnavailable.as_str());
        }
        Ok(_) => say(Code::StoreUnavailable.as_str()),
        Err(_) => {
            say(Code::StoreUnavailable.as_str());
            // It may be granted yet; a shadow of a doubt would only confuse the log.
            let release = Event::Release(request.claim.lease, None);
            end(world, &request.key_id, release, None).await;
        }
    }
}

/// What enforcing would have answered to a duplicate.
fn would_answer(request: &GuardedRequest, verdict: Verdict) -> &'static str {
    let waits =
        request.claim.strategy == Strategy::ReturnExisting && request.claim.wait > Duration::ZERO;
    match verdict {
        Verdict::Replay(replay) if replay.reply.headers.is_empty() => "replayed",
        Verdict::Replay(_) => Code::ReplyNotStored.as_str(),
        Verdict::InFlight { .. } if waits => "joined",
        verdict => match duplicate::<(), ()>(verdict, None) {
            Answer::Problem(problem, _) => problem.code.as_str(),
            Answer::OriginResponse(..) | Answer::Stored(..) | Answer::Accepted(_) => "replayed",
        },
    }
}

/// How the claim ends.
fn ending(request: &GuardedRequest, passed: Result<Passed, Failure>) -> Event {
    let lease = request.claim.lease;
    let Passed { facts, keeps } = match passed {
        Ok(passed) => passed,
        Err(Failure::NeverSent) => return Event::Release(lease, None),
        Err(Failure::Lost) => return Event::Doubt(lease, Reason::ConnectionLost),
        Err(Failure::Truncated) => return Event::Doubt(lease, Reason::Truncated),
    };
    match request.route.outcome.judge(&facts) {
        Outcome::Store => {
            // A shadow record keeps no reply; a header tells that enforcing would not keep it either.
            let headers = match keeps {
                Keeps::Reply => Vec::new(),
                Keeps::Status => vec![("not-kept".to_owned(), String::new())],
            };
            Event::Settle(lease, Reply { status: facts.status, headers, body: Kept::StatusOnly })
        }
        Outcome::Release => Event::Release(lease, None),
        Outcome::InDoubt => Event::Doubt(lease, facts.doubt()),
    }
}
