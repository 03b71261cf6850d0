//! The story of one guarded request: claim the key, forward, judge the outcome, settle, answer.
//!
//! ```text
//!   claim ──granted──▶ forward ──▶ outcome ──store────▶ settle ──▶ the origin's answer
//!     │                   │           ├──────release──▶ release ─▶ the origin's answer
//!     │                   │           └──────in doubt─▶ doubt ───▶ the origin's answer, or 502
//!     │                   └─ timeout ─▶ doubt ─▶ 504, and read on until the lease ends
//!     └──anything else──▶ replay, or a problem that says what to do
//! ```
//!
//! The claim is durable before the request leaves; the reply is stored before it is sent. Where the
//! Ledger cannot be asked nothing is forwarded. The story refuses to guess: what it does not know it
//! calls a doubt.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::answer::{Answer, STILL_IN_DOUBT, Status, duplicate, store_unavailable, unknown};
use crate::config::route::{Doubtful, Route};
use crate::lifecycle::outcome::{Facts, Failure, Outcome};
use crate::lifecycle::record::{Execution, Lease};
use crate::lifecycle::reply::{Kept, Reply, is_sendable};
use crate::lifecycle::step::Claim;
use crate::problem::{Code, Problem};
use crate::protocol::{Ask, Told};
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// What the story needs from the world around it.
#[allow(async_fn_in_trait, reason = "one thread, static dispatch: no Send bound is wanted")]
pub trait World {
    /// The origin's answer, its body whole or still streaming.
    type OriginResponse: OriginResponse;
    /// A stored body.
    type Body;
    /// Asks the Ledger; a settle carries the body of what was heard.
    async fn ask(
        &self,
        key: &KeyId,
        ask: &Ask,
        heard: Option<&Self::OriginResponse>,
    ) -> Result<Told<Self::Body>, Unreachable>;
    /// Hands the request to the origin, once.
    async fn forward(&self, run: Execution) -> Result<Self::OriginResponse, Failure>;
    /// Asks the origin what became of the key (GET of the route's probe path).
    async fn probe(&self) -> Result<Self::OriginResponse, Failure>;
    /// Lets time pass.
    async fn pause(&self, span: Duration);
    /// The Worker's clock, for measuring spans only: instants are the Ledger's.
    fn now(&self) -> Timestamp;
    /// Tells the operator why something went wrong.
    fn log(&self, why: &str);
}

/// What the story wants to know of the origin's answer.
pub trait OriginResponse {
    /// What it is judged by.
    fn facts(&self) -> Facts;
    /// What of it is kept.
    fn reply(&self) -> Reply;
}

/// The Ledger gave no answer; whether it was asked is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// It has too much to do: asking again makes it worse.
    Overloaded(String),
    /// The call failed or took too long.
    Lost(String),
}

/// One guarded request, ready to be claimed.
#[derive(Clone, Debug)]
pub struct GuardedRequest {
    /// Its record.
    pub key: KeyId,
    /// Its claim.
    pub claim: Claim,
    /// Its rules.
    pub route: Rc<Route>,
}

/// Runs one guarded request to its end. The client is answered through `respond`, once, as soon as its
/// answer is certain; the rest of the work goes on after that, and without a client too.
pub async fn filter<W: World>(
    world: &W,
    mut order: GuardedRequest,
    respond: impl FnOnce(Answer<W::OriginResponse, W::Body>),
) {
    let started = world.now();
    let mut maybe_granted = false;
    for _ in 0..START_OVERS {
        let claimed = claim(world, &order, started).await;
        maybe_granted |= claimed.maybe_granted;
        match claimed.told {
            Ok(Told::Granted(run)) => return execute(world, &order, run, respond).await,
            // The lease lapsed before its grant was heard of: nothing has been sent under it.
            Ok(Told::InDoubt { lease: Some(lease), .. }) if lease == order.claim.lease => {
                end(world, &order.key, Ask::Release(lease), None).await;
                order.claim.lease = lease.next();
                continue;
            }
            Ok(Told::InDoubt { lease: Some(lease), over_for })
                if order.route.on_in_doubt == Doubtful::Probe =>
            {
                match probe(world, &order, lease, over_for).await {
                    Probed::StartOver => continue,
                    Probed::StillInDoubt => respond(unknown(409, STILL_IN_DOUBT)),
                }
            }
            Ok(told) => respond(duplicate(told)),
            Err(why) => {
                world.log(&format!("store-unavailable: {why}"));
                respond(store_unavailable(&why));
            }
        }
        if maybe_granted {
            give_back(world, &order).await;
        }
        return;
    }
    respond(unknown(409, STILL_IN_DOUBT));
    if maybe_granted {
        give_back(world, &order).await;
    }
}

/// What came of claiming.
struct Claimed<B> {
    /// The Ledger's answer, or why there is none.
    told: Result<Told<B>, String>,
    /// A call's answer was lost: the claim may have been granted all the same, or be granted yet, and
    /// must then be given back.
    maybe_granted: bool,
}

/// Claims until there is an answer. The same lease is brought every time, so that a claim whose answer
/// was lost is granted again instead of being found running.
async fn claim<W: World>(
    world: &W,
    order: &GuardedRequest,
    started: Timestamp,
) -> Claimed<W::Body> {
    let (mut lost, mut wakes) = (0, 0);
    let mut first_lost = None;
    let told = loop {
        let asked = world.now();
        let wait = order.claim.wait.saturating_sub(asked.since(started));
        let ask = Ask::Claim(Claim { wait, ..order.claim.clone() }, order.route.credential_change);
        let call = world.ask(&order.key, &ask, None);
        match within(world, wait.saturating_add(CALL_PATIENCE), call).await {
            Ok(Told::Again) if wakes == WAKES_MAX => break Err("it was woken too often".to_owned()),
            Ok(Told::Again) => wakes += 1,
            // The lease is as old as the first call that may have been granted, this one included; the
            // origin needs most of it.
            Ok(Told::Granted(_))
                if world.now().since(first_lost.unwrap_or(asked)) > GRANT_AGE_MAX =>
            {
                first_lost = first_lost.or(Some(asked));
                break Err("the grant came too late to be used".to_owned());
            }
            // What the Ledger failed at may be done in spite of that.
            Ok(Told::Failed(why)) => {
                first_lost = first_lost.or(Some(asked));
                break Err(why);
            }
            Ok(Told::OtherShards(first)) => break Err(other_shards(first)),
            Ok(Told::Crowded) => break Err("too many are waiting in this shard".to_owned()),
            Ok(told) => break Ok(told),
            // It was never delivered.
            Err(Unreachable::Overloaded(why)) => break Err(why),
            Err(Unreachable::Lost(why)) => {
                lost += 1;
                first_lost = first_lost.or(Some(asked));
                if lost >= CLAIM_TRIES {
                    break Err(why);
                }
                world.pause(back_off(lost)).await;
            }
        }
    };
    Claimed { told, maybe_granted: first_lost.is_some() }
}

pub(crate) fn other_shards(first: u16) -> String {
    format!(
        "SHARDS was changed: this data was first used with SHARDS = {first}. Under another number known \
         keys are unknown and would be executed again, so set it back"
    )
}

enum Probed {
    /// The record was resolved, or has moved on.
    StartOver,
    StillInDoubt,
}

/// Asks the origin what became of a doubtful claim, and resolves the record under that claim's lease: if
/// the record has moved on meanwhile, nothing is changed and the duplicate starts over.
async fn probe<W: World>(
    world: &W,
    order: &GuardedRequest,
    lease: Lease,
    over_for: Option<Duration>,
) -> Probed {
    let route = &order.route;
    let heard = match select(pin!(world.probe()), pin!(world.pause(route.timeout))).await {
        Either::Left((Ok(heard), _)) => heard,
        Either::Left((Err(_), _)) | Either::Right(_) => return Probed::StillInDoubt,
    };
    let patient_enough = over_for.is_some_and(|over_for| over_for >= route.probe_after);
    let ended = match heard.facts().status {
        200 => end(world, &order.key, Ask::Settle(lease, heard.reply()), Some(&heard)).await,
        404 if patient_enough => end(world, &order.key, Ask::Release(lease), None).await,
        _ => return Probed::StillInDoubt,
    };
    match ended {
        Ended::Kept(_) | Ended::Stale => Probed::StartOver,
        Ended::Lost => Probed::StillInDoubt,
    }
}

/// Keeps trying to release a claim that may have been granted to a caller who has been refused, so that
/// its key does not end in doubt for nothing.
async fn give_back<W: World>(world: &W, order: &GuardedRequest) {
    let ask = Ask::Release(order.claim.lease);
    for round in 1..=GIVE_BACK_TRIES {
        world.pause(back_off(round + 2)).await;
        let told = within(world, CALL_PATIENCE, world.ask(&order.key, &ask, None)).await;
        // Stale is an answer too: it is remembered, and a copy of the claim that comes now is refused.
        if matches!(told, Ok(Told::Kept(_) | Told::Stale)) {
            return;
        }
    }
}

async fn execute<W: World>(
    world: &W,
    order: &GuardedRequest,
    run: Execution,
    respond: impl FnOnce(Answer<W::OriginResponse, W::Body>),
) {
    let mut call = pin!(world.forward(run));
    match select(call.as_mut(), pin!(world.pause(order.route.timeout))).await {
        Either::Left((heard, _)) => respond(conclude(world, order, heard).await),
        Either::Right(_) => {
            // Said to the Ledger first: those who wait hear it now, and whoever comes next finds it. But
            // the caller does not wait for a Ledger that hangs: the lease's end says the same.
            let doubt = Ask::Doubt(order.claim.lease);
            let told = within(world, FIRST_TRY, world.ask(&order.key, &doubt, None)).await;
            respond(unknown(504, "The origin did not answer in time."));
            if !matches!(told, Ok(Told::Kept(_) | Told::Stale)) {
                end(world, &order.key, doubt, None).await;
            }
            let lease_left = order.claim.durations.lease.saturating_sub(order.route.timeout);
            if let Either::Left((heard, _)) = select(call, pin!(world.pause(lease_left))).await {
                conclude(world, order, heard).await;
            }
        }
    }
}

/// Judges what was heard, tells the Ledger, and says what to answer.
async fn conclude<W: World>(
    world: &W,
    order: &GuardedRequest,
    heard: Result<W::OriginResponse, Failure>,
) -> Answer<W::OriginResponse, W::Body> {
    let lease = order.claim.lease;
    let heard = match heard {
        Ok(heard) => heard,
        Err(Failure::NeverSent) => {
            let ended = end(world, &order.key, Ask::Release(lease), None).await;
            let status =
                if matches!(ended, Ended::Lost) { Status::Unknown } else { Status::Released };
            let detail =
                "The request was not handed over to the origin. Send it again with the same key.";
            return Answer::Problem(Problem::new(Code::OriginUnreachable, detail), Some(status));
        }
        Err(Failure::Unknown) => {
            end(world, &order.key, Ask::Doubt(lease), None).await;
            return unknown(
                502,
                "The connection to the origin failed before its answer was complete.",
            );
        }
    };
    let facts = heard.facts();
    match order.route.outcome.judge(&facts) {
        Outcome::Store => {
            let reply = heard.reply();
            let is_stored = matches!(reply.body, Kept::Whole { .. });
            match end(world, &order.key, Ask::Settle(lease, reply), Some(&heard)).await {
                Ended::Kept(expires) => {
                    Answer::OriginResponse(heard, Status::Executed, expires.filter(|_| is_stored))
                }
                Ended::Stale => superseded(world, order, heard, Status::Unknown).await,
                // The origin has answered, so its caller hears it; the record goes in doubt.
                Ended::Lost => Answer::OriginResponse(heard, Status::Unknown, None),
            }
        }
        Outcome::Release => match end(world, &order.key, Ask::Release(lease), None).await {
            Ended::Kept(_) => Answer::OriginResponse(heard, Status::Released, None),
            Ended::Stale => superseded(world, order, heard, Status::Released).await,
            Ended::Lost => Answer::OriginResponse(heard, Status::Unknown, None),
        },
        Outcome::InDoubt => {
            end(world, &order.key, Ask::Doubt(lease), None).await;
            if is_sendable(facts.status) {
                Answer::OriginResponse(heard, Status::Unknown, None)
            } else {
                unknown(502, "The origin answered with a status that is not HTTP.")
            }
        }
    }
}

/// The lease was no longer the record's: its caller is answered as a duplicate. Where there is no
/// record at all, what the origin said is all there is to say.
async fn superseded<W: World>(
    world: &W,
    order: &GuardedRequest,
    heard: W::OriginResponse,
    status: Status,
) -> Answer<W::OriginResponse, W::Body> {
    let ask = Ask::Look(order.claim.metadata.fingerprint);
    match within(world, CALL_PATIENCE, world.ask(&order.key, &ask, None)).await {
        Ok(
            told @ (Told::Replay(_)
            | Told::InFlight { .. }
            | Told::InDoubt { .. }
            | Told::Expired
            | Told::KeyReused(_)),
        ) => duplicate(told),
        // Nothing is known of the record; what the origin said is.
        Ok(_) | Err(_) => Answer::OriginResponse(heard, status, None),
    }
}

/// How far a story had come that broke off in the middle, by a fault of the filter itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Nothing was asked of the Ledger.
    NoClaim,
    /// Nothing was handed to the origin, but a claim under this lease may have been granted.
    Claim(Lease),
    /// The origin may have the request, under this lease.
    Origin(Lease),
}

impl Reached {
    /// What the client is told.
    #[must_use]
    pub fn aborted(self) -> (Problem, Option<Status>) {
        match self {
            Self::NoClaim | Self::Claim(_) => {
                let detail = "The filter failed before anything was forwarded. Send the request again with the same key.";
                (Problem::new(Code::StoreUnavailable, detail), None)
            }
            Self::Origin(_) => {
                let detail = "The filter failed while the request was under way, so it is not known whether it was executed. Send it again with the same key.";
                let problem = Problem::new(Code::OutcomeUnknown, detail).with_status(502);
                (problem, Some(Status::Unknown))
            }
        }
    }
}

/// Ends the claim of a story that broke off: nothing was sent, or nobody knows.
pub async fn clear_up<W: World>(world: &W, key: &KeyId, reached: Reached) {
    let ask = match reached {
        Reached::NoClaim => return,
        Reached::Claim(lease) => Ask::Release(lease),
        // Where the reply was stored before, this changes nothing.
        Reached::Origin(lease) => Ask::Doubt(lease),
    };
    end(world, key, ask, None).await;
}

pub(crate) enum Ended {
    Kept(Option<Timestamp>),
    Stale,
    Lost,
}

/// Ends the claim, with retries: the origin may have done its work, and this is what remembers it.
pub(crate) async fn end<W: World>(
    world: &W,
    key: &KeyId,
    ask: Ask,
    heard: Option<&W::OriginResponse>,
) -> Ended {
    let mut last = String::new();
    for round in 1..=END_TRIES {
        match within(world, CALL_PATIENCE, world.ask(key, &ask, heard)).await {
            Ok(Told::Kept(expires)) => return Ended::Kept(expires),
            // The first try may have done it, and this one found what that put back.
            Ok(Told::Stale) if round > 1 && matches!(ask, Ask::Release(_)) => {
                return Ended::Kept(None);
            }
            Ok(Told::Stale) => return Ended::Stale,
            Ok(Told::Failed(why)) | Err(Unreachable::Lost(why) | Unreachable::Overloaded(why)) => {
                last = why;
            }
            Ok(Told::Crowded) => "the Ledger has no room for the reply".clone_into(&mut last),
            Ok(_) => "the Ledger's answer makes no sense".clone_into(&mut last),
        }
        world.pause(back_off(round)).await;
    }
    world.log(&format!("the claim could not be ended and its key goes in doubt: {last}"));
    Ended::Lost
}

/// Bounds a call: a Ledger that does not answer is one that cannot be reached.
pub(crate) async fn within<W: World, T>(
    world: &W,
    span: Duration,
    call: impl Future<Output = Result<T, Unreachable>>,
) -> Result<T, Unreachable> {
    match select(pin!(call), pin!(world.pause(span))).await {
        Either::Left((told, _)) => told,
        Either::Right(_) => Err(Unreachable::Lost("no answer in time".to_owned())),
    }
}

/// 50 ms, 100 ms, 200 ms …
fn back_off(round: u32) -> Duration {
    Duration::from_millis(25 << round.min(8))
}

/// A claim is repeated after a lost answer this often in all: 50 + 100 ms of pauses.
const CLAIM_TRIES: u32 = 3;
/// A settle is tried over 50 + 100 + … + 1,600 = 3,150 ms of pauses: well within the 15 s of room
/// after `timeout`, unless calls hang.
const END_TRIES: u32 = 6;
/// After 0.2 + 0.4 + … + 6.4 = 12.6 s of pauses a claim that was never seen is not coming any more.
const GIVE_BACK_TRIES: u32 = 6;
/// Wakes of one claim at most; each costs a call, and the caller's patience ends them long before.
const WAKES_MAX: u32 = 200;
/// A probe that resolves a record leads to one more claim; more than two mean that it keeps moving on.
const START_OVERS: u32 = 4;
/// A grant older than this leaves the origin less than its `timeout` within the lease's 15 s of room.
const GRANT_AGE_MAX: Duration = Duration::from_secs(10);
/// How long the answer of a timeout waits for the Ledger.
const FIRST_TRY: Duration = Duration::from_secs(2);
/// How long one call of a Ledger may take beyond any waiting.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(5);
