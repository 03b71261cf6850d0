//! Asks the origin what became of a key in doubt (`on_in_doubt = "probe"`).

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::calls::{Ended, end};
use super::{GuardedRequest, OriginResponse as _, World};
use crate::lifecycle::event::Event;
use crate::lifecycle::outcome::Outcome;
use crate::lifecycle::record::Lease;

/// What asking the origin led to.
pub(super) enum Probed {
    /// The record was resolved, or has moved on.
    StartOver,
    StillInDoubt,
}

/// Asks the origin what became of a doubtful claim, and resolves the record under that claim's lease: if
/// the record has moved on meanwhile, nothing is changed and the duplicate starts over.
pub(super) async fn probe<W: World>(
    world: &W,
    request: &GuardedRequest,
    lease: Lease,
    over_for: Duration,
) -> Probed {
    let route = &request.route;
    let response = match select(pin!(world.probe()), pin!(world.pause(route.timeout))).await {
        Either::Left((Ok(response), _)) => response,
        Either::Left((Err(_), _)) | Either::Right(_) => return Probed::StillInDoubt,
    };
    let patient_enough = over_for >= route.probe_after;
    let key_id = &request.key_id;
    let facts = response.facts();
    // What a cache says may be as old as the doubt.
    if facts.is_cached {
        return Probed::StillInDoubt;
    }
    let ended = match (facts.status, facts.decided()) {
        (200, None) | (200 | 404, Some(Outcome::Store)) => {
            end(world, key_id, Event::Settle(lease, response.reply()), Some(&response)).await
        }
        (200, Some(Outcome::Release)) if patient_enough => {
            end(world, key_id, Event::Release(lease, None), None).await
        }
        (404, None | Some(Outcome::Release)) if patient_enough && facts.is_absent => {
            end(world, key_id, Event::Release(lease, None), None).await
        }
        _ => return Probed::StillInDoubt,
    };
    match ended {
        Ended::Kept(_) | Ended::Stale => Probed::StartOver,
        Ended::Lost => Probed::StillInDoubt,
    }
}
