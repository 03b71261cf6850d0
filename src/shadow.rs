//! A route in shadow mode: everything is forwarded as if unguarded, and records of their own let the log
//! say what enforcing would have answered. This is how a cautious team adopts the filter.

use futures_util::future::join;

use crate::answer::{Answer, duplicate};
use crate::ask::{Ask, Told};
use crate::filter::{CALL_PATIENCE, Order, World, end, other_shards, within};
use crate::outcome::{Facts, Failure, Outcome};
use crate::problem::Code;
use crate::record::{Claim, Millis};
use crate::reply::{Kept, Reply};

/// What a route in shadow mode would have answered, and what its records learn from the answer that
/// passed. Nothing is withheld, replayed or added: the request has gone on already.
pub async fn watch<W: World>(
    world: &W,
    order: &Order,
    passed: impl Future<Output = Result<Facts, Failure>>,
) -> &'static str {
    let claim = Claim { wait: Millis(0), ..order.claim.clone() };
    let ask = Ask::Claim(claim, order.route.credential_change);
    let (told, passed) =
        join(within(world, CALL_PATIENCE, world.ask(&order.key, &ask, None)), passed).await;
    let lease = order.claim.lease;
    match told {
        Ok(Told::Granted(_)) => {
            let ask = match passed.map(|facts| (order.route.outcome.judge(&facts), facts.status)) {
                Ok((Outcome::Store, status)) => Ask::Settle(
                    lease,
                    Reply { status, headers: Vec::new(), body: Kept::StatusOnly },
                ),
                Ok((Outcome::Release, _)) | Err(Failure::NeverSent) => Ask::Release(lease),
                Ok((Outcome::InDoubt, _)) | Err(Failure::Unknown) => Ask::Doubt(lease),
            };
            end(world, order, ask, None).await;
            "executed"
        }
        Ok(Told::InFlight { .. }) => "in-flight or joined",
        Ok(Told::Replay(_)) => "replayed",
        Ok(Told::OtherShards(first)) => {
            world.log(&other_shards(first));
            Code::StoreUnavailable.as_str()
        }
        Ok(told) => match duplicate::<W::Heard, W::Body>(told) {
            Answer::Problem(problem, _) => problem.code.as_str(),
            Answer::Heard(..) | Answer::Stored(_) => "replayed",
        },
        Err(_) => {
            // It may be granted yet; a shadow of a doubt would only confuse the log.
            end(world, order, Ask::Release(lease), None).await;
            Code::StoreUnavailable.as_str()
        }
    }
}
