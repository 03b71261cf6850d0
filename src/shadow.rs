//! A route in shadow mode: everything is forwarded as if unguarded, and records of their own let the log
//! say what enforcing would have answered. This is how a cautious team adopts the filter.

use std::time::Duration;

use futures_util::future::join;

use crate::answer::{Answer, duplicate};
use crate::filter::{CALL_PATIENCE, GuardedRequest, World, end, other_shards, within};
use crate::lifecycle::outcome::{Facts, Failure, Outcome};
use crate::lifecycle::reply::{Kept, Reply};
use crate::lifecycle::step::{Claim, Strategy};
use crate::problem::Code;
use crate::protocol::{Ask, Told};

/// What passed.
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
/// withheld, replayed or added. Its records learn from the answer that passed.
pub async fn watch<W: World>(
    world: &W,
    order: &GuardedRequest,
    passed: impl Future<Output = Result<Passed, Failure>>,
    say: impl FnOnce(&'static str),
) {
    let started = world.now();
    let claim = Claim { wait: Duration::from_millis(0), ..order.claim.clone() };
    let ask = Ask::Claim(claim, order.route.credential_change);
    let claimed = within(world, CALL_PATIENCE, world.ask(&order.key, &ask, None));
    let (told, passed) = join(claimed, passed).await;
    let lease = order.claim.lease;
    match told {
        Ok(Told::Granted(_)) => {
            let in_time = world.now().since(started) <= order.route.timeout;
            // Whatever the origin says then, it would have been forwarded.
            say(if in_time { "executed" } else { Code::OutcomeUnknown.as_str() });
            end(world, &order.key, learnt(order, passed), None).await;
        }
        Ok(Told::Replay(replay)) => say(match replay.reply.headers.as_slice() {
            [] => "replayed",
            _ => Code::ReplyNotStored.as_str(),
        }),
        Ok(Told::InFlight { .. })
            if order.claim.strategy == Strategy::ReturnExisting
                && order.claim.wait > Duration::from_millis(0) =>
        {
            say("joined");
        }
        Ok(Told::OtherShards(first)) => {
            world.log(&other_shards(first));
            say(Code::StoreUnavailable.as_str());
        }
        Ok(told) => say(match duplicate::<W::OriginResponse, W::Body>(told) {
            Answer::Problem(problem, _) => problem.code.as_str(),
            Answer::OriginResponse(..) | Answer::Stored(_) => "replayed",
        }),
        Err(_) => {
            say(Code::StoreUnavailable.as_str());
            // It may be granted yet; a shadow of a doubt would only confuse the log.
            end(world, &order.key, Ask::Release(lease), None).await;
        }
    }
}

/// How the claim ends.
fn learnt(order: &GuardedRequest, passed: Result<Passed, Failure>) -> Ask {
    let lease = order.claim.lease;
    let Passed { facts, keeps } = match passed {
        Ok(passed) => passed,
        Err(Failure::NeverSent) => return Ask::Release(lease),
        Err(Failure::Unknown) => return Ask::Doubt(lease),
    };
    match order.route.outcome.judge(&facts) {
        Outcome::Store => {
            // A shadow keeps no reply; a mark tells what enforcing would not keep either.
            let headers = match keeps {
                Keeps::Reply => Vec::new(),
                Keeps::Status => vec![("not-kept".to_owned(), String::new())],
            };
            Ask::Settle(lease, Reply { status: facts.status, headers, body: Kept::StatusOnly })
        }
        Outcome::Release => Ask::Release(lease),
        Outcome::InDoubt => Ask::Doubt(lease),
    }
}
