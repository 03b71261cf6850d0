//! A request whose client does not wait for it: a granted claim is handed over to a Runner, which outlives the client.
//!
//! ```text
//!   Worker:  claim ──granted──▶ hand over ──▶ look, for as long as the client waits ──▶ the reply, or 202
//!                                  │ once
//!   Runner:                        └──▶ forward ──▶ … as in the story of any request
//! ```
//!
//! A lease is handed over once, ever. Where the answer to that is lost the Runner may have the lease, and another one
//! could call the origin a second time. So the client is answered as if it had: the lease decides, and where nobody
//! makes the call it ends in doubt.

use std::time::Duration;

use super::calls::{CALL_PATIENCE, GRANT_AGE_MAX, WAKES_MAX, end, within};
use super::{GuardedRequest, Unreachable, World, execute};
use crate::answer::{Accepted, Answer, Status, duplicate, no_runner, not_handed_over};
use crate::lifecycle::event::{Event, How, Verdict};
use crate::lifecycle::lease::StatusSecret;
use crate::lifecycle::record::Execution;
use crate::protocol::LedgerAnswer;
use crate::time::Timestamp;

/// What came of handing a lease over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HandOver {
    /// A Runner has it.
    Taken,
    /// The Runner has refused it, and has sent nothing. Why, for the log.
    Refused(String),
}

/// A granted claim.
pub(super) struct Granted {
    pub(super) run: Execution,
    /// The secret of the key's status address.
    pub(super) status: StatusSecret,
    /// When the claim was sent, by the Worker's clock.
    pub(super) sent: Timestamp,
}

/// Hands a claim over and answers its client: with the reply, if that is there in time, else that the operation runs.
pub(super) async fn hand_over<W: World>(
    world: &W,
    request: &GuardedRequest,
    granted: &Granted,
    started: Timestamp,
    respond: impl FnOnce(Answer<W::OriginResponse, W::Body>),
) {
    let call = world.hand_over(&request.claim, granted.run, granted.sent);
    match within(world, CALL_PATIENCE, call).await {
        Ok(HandOver::Taken) => {}
        // The Runner may have it all the same.
        Err(Unreachable::Lost(why)) => {
            world.log(&format!("it is not known whether a Runner has the request: {why}"));
        }
        // Nothing was delivered.
        Ok(HandOver::Refused(why)) | Err(Unreachable::Overloaded(why)) => {
            world.log(&format!("no Runner takes the request: {why}"));
            end(world, &request.key_id, Event::Release(request.claim.lease, None), None).await;
            return respond(Answer::Problem(no_runner(&why), None));
        }
    }
    respond(outcome(world, request, granted.status, started).await);
}

/// Waits for the reply as long as the client does.
async fn outcome<W: World>(
    world: &W,
    request: &GuardedRequest,
    status: StatusSecret,
    started: Timestamp,
) -> Answer<W::OriginResponse, W::Body> {
    let fingerprint = request.claim.metadata.fingerprint;
    for _ in 0..WAKES_MAX {
        let wait = request.claim.wait.saturating_sub(world.now().since(started));
        if wait == Duration::ZERO {
            break;
        }
        let look = Event::Look(fingerprint, wait);
        let call = world.ask(&request.key_id, &look, None);
        match within(world, wait.saturating_add(CALL_PATIENCE), call).await {
            Ok((LedgerAnswer::ClaimAgain, _)) => {}
            Ok((LedgerAnswer::Verdict(Verdict::Replay(mut replay)), body)) => {
                if replay.how != How::Released {
                    replay.how = How::Executed;
                }
                return duplicate(Verdict::Replay(replay), body);
            }
            Ok((LedgerAnswer::Verdict(known), body))
                if !matches!(known, Verdict::InFlight { .. } | Verdict::Absent) =>
            {
                return duplicate(known, body);
            }
            // The status address will tell.
            Ok(_) | Err(_) => break,
        }
    }
    Answer::Accepted(Accepted { status, retry_after_s: 1 })
}

/// The Runner's part: makes the call under a lease that was handed over. `sent` is when its claim was sent, by the clock
/// of a Worker: clocks of Cloudflare's machines differ by far less than the seconds that a lease has to spare.
pub async fn take_over<W: World>(
    world: &W,
    request: GuardedRequest,
    run: Execution,
    sent: Timestamp,
    respond: impl FnOnce(Answer<W::OriginResponse, W::Body>),
) {
    // So late that the lease could end before the origin's time does.
    if world.now().since(sent) > GRANT_AGE_MAX {
        end(world, &request.key_id, Event::Release(request.claim.lease, None), None).await;
        return respond(Answer::Problem(not_handed_over(), Some(Status::Released)));
    }
    execute(world, &request, run, respond).await;
}
