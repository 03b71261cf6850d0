//! The story of one guarded request: claim the key, forward, judge the outcome, settle, answer.
//!
//! ```text
//!   claim ──granted──▶ forward ──▶ outcome ──store────▶ settle ──▶ the origin's answer
//!     │                   │           ├──────release──▶ release ─▶ the origin's answer
//!     │                   │           └──────in doubt─▶ doubt ───▶ the origin's answer, or 502
//!     │                   └─ timeout ─▶ doubt ─▶ 504, and read on until the lease ends
//!     │                  (a streamed body that the origin breaks off after its settle ─▶ doubt)
//!     └──anything else──▶ replay, or a problem that says what to do
//! ```
//!
//! Where the client does not wait, a Runner does everything after the grant: [`hand_over`].
//!
//! The claim is durable before the request leaves; the reply is stored before it is sent. Where the
//! Ledger cannot be asked, nothing is forwarded. Nothing is guessed: an outcome that is not known is a doubt.

mod calls;
mod hand_over;
mod interrupted;
mod probe;
mod world;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};

pub(crate) use self::calls::{CALL_PATIENCE, end, other_shards, refusal, within};
use self::calls::{Claimed, Ended, claim, give_back};
use self::hand_over::{Granted, hand_over};
pub use self::hand_over::{HandOver, take_over};
pub use self::interrupted::{Reached, clear_up};
use self::probe::{Probed, probe};
pub use self::world::{OriginResponse, StreamEnd, Unreachable, World};
use crate::answer::{
    Accepted, Answer, STILL_IN_DOUBT, Status, duplicate, may_be_told, not_handed_over,
    store_unavailable, unanswered, unknown,
};
use crate::config::route::{Doubtful, Route};
use crate::lifecycle::event::{Claim, Event, How, Strategy, Verdict};
use crate::lifecycle::outcome::{Failure, Outcome};
use crate::lifecycle::record::{Execution, Reason};
use crate::lifecycle::reply::{Kept, is_sendable};
use crate::protocol::LedgerAnswer;
use crate::request::key::KeyId;

/// One guarded request, ready to be claimed.
#[derive(Clone, Debug)]
pub struct GuardedRequest {
    /// Its record.
    pub key_id: KeyId,
    /// Its claim.
    pub claim: Claim,
    /// Its rules.
    pub route: Rc<Route>,
    /// Whether its client is answered that it runs, where the reply is not there within the claim's `wait`, and a Runner
    /// makes its call.
    pub responds_async: bool,
}

/// Runs one guarded request to its end. The client is answered through `respond`, once, as soon as its
/// answer is certain; the rest of the work goes on after that, and without a client too.
pub async fn filter<W: World>(
    world: &W,
    mut request: GuardedRequest,
    respond: impl FnOnce(Answer<W::OriginResponse, W::Body>),
) {
    let started = world.now();
    let on_in_doubt = request.route.on_in_doubt;
    let respond = move |answer| {
        respond(match answer {
            Answer::Problem(problem, status) => {
                Answer::Problem(may_be_told(problem, on_in_doubt), status)
            }
            other => other,
        });
    };
    let mut maybe_granted = false;
    let mut latest = Reason::LeaseOver;
    for _ in 0..CLAIM_ROUNDS_MAX {
        let Claimed { verdict, maybe_granted: maybe, sent } = claim(world, &request, started).await;
        maybe_granted |= maybe;
        match verdict {
            Ok((Verdict::Granted(run, Some(status)), _)) if request.responds_async => {
                let granted = Granted { run, status, sent };
                return hand_over(world, &request, &granted, started, respond).await;
            }
            Ok((Verdict::Granted(run, _), _)) => {
                return execute(world, &request, run, respond).await;
            }
            // The lease lapsed before the answer to its claim arrived: nothing has been sent under it.
            Ok((Verdict::InDoubt { lease: Some(lease), .. }, _))
                if lease == request.claim.lease =>
            {
                end(world, &request.key_id, Event::Release(lease, None), None).await;
                request.claim.lease = lease.next();
                continue;
            }
            Ok((Verdict::InDoubt { lease: Some(lease), over_for, reason }, _))
                if request.route.on_in_doubt == Doubtful::Probe =>
            {
                match probe(world, &request, lease, over_for).await {
                    Probed::StartOver => {
                        latest = reason;
                        continue;
                    }
                    Probed::StillInDoubt => respond(unknown(409, reason, STILL_IN_DOUBT)),
                }
            }
            Ok((Verdict::InFlight { retry_after_s, status: Some(status) }, _))
                if request.responds_async && request.claim.strategy == Strategy::ReturnExisting =>
            {
                respond(Answer::Accepted(Accepted { status, retry_after_s }));
            }
            Ok((verdict, body)) => respond(duplicate(verdict, body)),
            Err(why) => {
                world.log(&format!("store-unavailable: {why}"));
                respond(store_unavailable(&why));
            }
        }
        if maybe_granted {
            give_back(world, &request).await;
        }
        return;
    }
    respond(unknown(409, latest, STILL_IN_DOUBT));
    if maybe_granted {
        give_back(world, &request).await;
    }
}

async fn execute<W: World>(
    world: &W,
    request: &GuardedRequest,
    run: Execution,
    respond: impl FnOnce(Answer<W::OriginResponse, W::Body>),
) {
    let mut call = pin!(world.forward(run));
    match select(call.as_mut(), pin!(world.pause(request.route.timeout))).await {
        Either::Left((response, _)) => {
            let is_streamed = response.as_ref().is_ok_and(OriginResponse::is_streamed);
            let answer = conclude(world, request, response).await;
            let is_followed = is_streamed && matches!(answer, Answer::OriginResponse(..));
            respond(answer);
            if is_followed {
                follow(world, request).await;
            }
        }
        Either::Right(_) => {
            // The Ledger is told first: it wakes the waiters now, and later duplicates find the doubt. But
            // the caller does not wait for a Ledger that hangs: the record reads as in doubt anyway when the lease ends.
            let lease_left = request.claim.durations.lease.saturating_sub(request.route.timeout);
            let doubt = Event::Doubt(request.claim.lease, Reason::Timeout);
            let call_doubt = world.ask(&request.key_id, &doubt, None);
            let answer = within(world, FIRST_TRY, call_doubt).await;
            respond(unanswered());
            let is_told =
                matches!(answer, Ok((LedgerAnswer::Verdict(Verdict::Kept(_) | Verdict::Stale), _)));
            if !is_told {
                end(world, &request.key_id, doubt, None).await;
            }
            if let Either::Left((response, _)) = select(call, pin!(world.pause(lease_left))).await {
                conclude(world, request, response).await;
            }
        }
    }
}

/// Follows a body that is streamed. Its reply was settled at its head; where the origin breaks the body off, nobody
/// knows what it did, after all. (A release or a doubt is what it was: this changes nothing then.)
async fn follow<W: World>(world: &W, request: &GuardedRequest) {
    if world.stream_end().await == StreamEnd::BrokenOff {
        let claim = &request.claim;
        let event = Event::BreakOff(claim.lease, claim.durations);
        end(world, &request.key_id, event, None).await;
    }
}

/// Judges the origin's answer, tells the Ledger, and says what to answer.
async fn conclude<W: World>(
    world: &W,
    request: &GuardedRequest,
    response: Result<W::OriginResponse, Failure>,
) -> Answer<W::OriginResponse, W::Body> {
    let (key_id, lease) = (&request.key_id, request.claim.lease);
    let response = match response {
        Ok(response) => response,
        Err(Failure::NeverSent) => {
            let ended = end(world, key_id, Event::Release(lease, None), None).await;
            let status =
                if matches!(ended, Ended::Lost) { Status::Unknown } else { Status::Released };
            return Answer::Problem(not_handed_over(), Some(status));
        }
        Err(failure) => {
            let (reason, what) = match failure {
                Failure::Truncated => (Reason::Truncated, "The origin's answer broke off."),
                Failure::Lost | Failure::NeverSent => (
                    Reason::ConnectionLost,
                    "The connection to the origin was lost before it answered.",
                ),
            };
            end(world, key_id, Event::Doubt(lease, reason), None).await;
            return unknown(502, reason, what);
        }
    };
    let facts = response.facts();
    match request.route.outcome.judge(&facts) {
        Outcome::Store => {
            let reply = response.reply();
            let is_stored = matches!(reply.body, Kept::Whole { .. });
            match end(world, key_id, Event::Settle(lease, reply), Some(&response)).await {
                Ended::Kept(expires) => {
                    let expires = expires.filter(|_| is_stored);
                    Answer::OriginResponse(response, Status::Executed, expires)
                }
                Ended::Stale => superseded(world, request, response, Status::Unknown).await,
                // The origin has answered, so its caller gets that answer; the record goes in doubt.
                Ended::Lost => Answer::OriginResponse(response, Status::Unknown, None),
            }
        }
        Outcome::Release => {
            let kept = request.route.has_status_address().then(|| response.reply().released());
            let has_body = kept.as_ref().is_some_and(|kept| kept.body != Kept::StatusOnly);
            let body = has_body.then_some(&response);
            match end(world, key_id, Event::Release(lease, kept), body).await {
                Ended::Kept(_) => Answer::OriginResponse(response, Status::Released, None),
                Ended::Stale => superseded(world, request, response, Status::Released).await,
                Ended::Lost => Answer::OriginResponse(response, Status::Unknown, None),
            }
        }
        Outcome::InDoubt => {
            let reason = facts.doubt();
            end(world, key_id, Event::Doubt(lease, reason), None).await;
            if is_sendable(facts.status) {
                Answer::OriginResponse(response, Status::Unknown, None)
            } else {
                unknown(502, reason, "The origin answered with a status that is not HTTP.")
            }
        }
    }
}

/// The lease was no longer the record's: this request's caller is answered as a duplicate. Where the Ledger gives no
/// verdict for a duplicate, the caller gets the origin's answer.
async fn superseded<W: World>(
    world: &W,
    request: &GuardedRequest,
    response: W::OriginResponse,
    status: Status,
) -> Answer<W::OriginResponse, W::Body> {
    let look = Event::Look(request.claim.metadata.fingerprint, Duration::ZERO);
    match within(world, CALL_PATIENCE, world.ask(&request.key_id, &look, None)).await {
        // What another call was answered that was released is not this request's answer.
        Ok((LedgerAnswer::Verdict(Verdict::Replay(replay)), _)) if replay.how == How::Released => {
            Answer::OriginResponse(response, status, None)
        }
        Ok((
            LedgerAnswer::Verdict(
                verdict @ (Verdict::Replay(_)
                | Verdict::InFlight { .. }
                | Verdict::InDoubt { .. }
                | Verdict::StillRead { .. }
                | Verdict::Expired
                | Verdict::KeyReused(_)),
            ),
            body,
        )) => duplicate(verdict, body),
        Ok(_) | Err(_) => Answer::OriginResponse(response, status, None),
    }
}

/// How often a claim is made in all. A probe that resolves a record leads to one more claim, and so does a lease that
/// lapsed on its way; a record that has moved on three times will go on doing so.
const CLAIM_ROUNDS_MAX: u32 = 4;
/// How long the answer of a timeout waits for the Ledger.
const FIRST_TRY: Duration = Duration::from_secs(2);
