//! The calls of a Ledger that one request makes, with their time limits and repetitions: claim, end the
//! claim, give it back.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{GuardedRequest, Unreachable, World};
use crate::lifecycle::event::{Claim, Event, Verdict};
use crate::protocol::LedgerAnswer;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// What came of claiming.
pub(super) struct Claimed<B> {
    /// The verdict, with the stored body where there is one, or why there is none.
    pub(super) verdict: Result<(Verdict, Option<B>), String>,
    /// The answer to a call was lost: the claim may have been granted all the same, or may be granted yet,
    /// and must then be given back.
    pub(super) maybe_granted: bool,
    /// When the call was made that brought the verdict, or an earlier one that may have been granted.
    pub(super) sent: Timestamp,
}

/// Claims until there is a verdict. Every repetition brings the same lease, so that a claim whose answer
/// was lost is granted again instead of being found running.
pub(super) async fn claim<W: World>(
    world: &W,
    request: &GuardedRequest,
    started: Timestamp,
) -> Claimed<W::Body> {
    let (mut lost, mut wakes) = (0, 0);
    let mut first_lost = None;
    let mut asked;
    let verdict = loop {
        asked = world.now();
        let wait = request.claim.wait.saturating_sub(asked.since(started));
        let event = Event::Claim(Claim { wait, ..request.claim.clone() });
        let call = world.ask(&request.key_id, &event, None);
        match within(world, wait.saturating_add(CALL_PATIENCE), call).await {
            // The lease is as old as the first call that may have been granted, this one included; the
            // origin needs most of it.
            Ok((LedgerAnswer::Verdict(Verdict::Granted(..)), _))
                if world.now().since(first_lost.unwrap_or(asked)) > GRANT_AGE_MAX =>
            {
                first_lost = first_lost.or(Some(asked));
                break Err("the grant came too late to be used".to_owned());
            }
            Ok((LedgerAnswer::Verdict(verdict), body)) => break Ok((verdict, body)),
            Ok((LedgerAnswer::ClaimAgain, _)) if wakes == WAKES_MAX => {
                break Err("it was woken too often".to_owned());
            }
            Ok((LedgerAnswer::ClaimAgain, _)) => wakes += 1,
            // What the Ledger failed at may be done in spite of that.
            Ok((LedgerAnswer::Failed(why), _)) => {
                first_lost = first_lost.or(Some(asked));
                break Err(why);
            }
            Ok((answer, _)) => break Err(refusal(&answer)),
            // The claim was never delivered.
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
    let sent = first_lost.unwrap_or(asked);
    Claimed { verdict, maybe_granted: first_lost.is_some(), sent }
}

/// What an answer means that is no verdict, for the log.
pub(crate) fn refusal(answer: &LedgerAnswer) -> String {
    match answer {
        LedgerAnswer::OtherShards(first) => other_shards(*first),
        LedgerAnswer::Crowded => "the Ledger has no room for the reply".to_owned(),
        LedgerAnswer::Failed(why) => why.clone(),
        LedgerAnswer::Verdict(_)
        | LedgerAnswer::ClaimAgain
        | LedgerAnswer::SameShards
        | LedgerAnswer::UnknownVersion(_)
        | LedgerAnswer::Operator(_)
        | LedgerAnswer::Status(_) => "the Ledger's answer makes no sense".to_owned(),
    }
}

pub(crate) fn other_shards(first: u16) -> String {
    format!(
        "SHARDS was changed: this data was first used with SHARDS = {first}. Under another number known \
         keys are unknown and would be executed again, so set it back"
    )
}

/// Keeps trying to release a claim that may have been granted to a caller who has been refused, so that
/// its key does not end in doubt for nothing.
pub(super) async fn give_back<W: World>(world: &W, request: &GuardedRequest) {
    let release = Event::Release(request.claim.lease, None);
    for round in 1..=GIVE_BACK_TRIES {
        world.pause(back_off(round + 2)).await;
        let call = world.ask(&request.key_id, &release, None);
        // Stale is an answer too: the Ledger remembers the lease and refuses a copy of the claim that comes now.
        if let Ok((LedgerAnswer::Verdict(Verdict::Kept(_) | Verdict::Stale), _)) =
            within(world, CALL_PATIENCE, call).await
        {
            return;
        }
    }
}

/// How ending a claim ended.
pub(crate) enum Ended {
    /// It counts. After a settle: when the reply expires.
    Kept(Option<Timestamp>),
    /// The lease was no longer the record's.
    Stale,
    /// The Ledger could not be reached, or refused.
    Lost,
}

/// Ends a claim, with repetitions: the origin may have done its work, and this is what remembers it.
pub(crate) async fn end<W: World>(
    world: &W,
    key_id: &KeyId,
    event: Event,
    response: Option<&W::OriginResponse>,
) -> Ended {
    let mut round = 1;
    let last = loop {
        let why = match within(world, CALL_PATIENCE, world.ask(key_id, &event, response)).await {
            Ok((LedgerAnswer::Verdict(Verdict::Kept(expires)), _)) => return Ended::Kept(expires),
            // The first try may have released the claim, and this one found what that put back.
            Ok((LedgerAnswer::Verdict(Verdict::Stale), _))
                if round > 1 && matches!(event, Event::Release(..)) =>
            {
                return Ended::Kept(None);
            }
            Ok((LedgerAnswer::Verdict(Verdict::Stale), _)) => return Ended::Stale,
            Ok((answer, _)) => refusal(&answer),
            Err(Unreachable::Lost(why) | Unreachable::Overloaded(why)) => why,
        };
        if round == END_TRIES {
            break why;
        }
        world.pause(back_off(round)).await;
        round += 1;
    };
    world.log(&format!("the claim could not be ended and its key goes in doubt: {last}"));
    Ended::Lost
}

/// Bounds a call: a Ledger that does not answer is out of reach.
pub(crate) async fn within<W: World, T>(
    world: &W,
    span: Duration,
    call: impl Future<Output = Result<T, Unreachable>>,
) -> Result<T, Unreachable> {
    match select(pin!(call), pin!(world.pause(span))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(Unreachable::Lost("no answer in time".to_owned())),
    }
}

/// 50 ms, 100 ms, 200 ms …
fn back_off(round: u32) -> Duration {
    Duration::from_millis(25 << round.min(8))
}

/// How often a claim is sent in all while its answers are lost: with pauses of 50 + 100 ms.
const CLAIM_TRIES: u32 = 3;
/// Six tries with pauses of 50 + 100 + … + 800 = 1,550 ms: well within the 15 s that a lease lasts longer than
/// `timeout`, unless calls hang.
const END_TRIES: u32 = 6;
/// After 0.2 + 0.4 + … + 6.4 = 12.6 s of pauses a claim that was never delivered is not coming any more.
const GIVE_BACK_TRIES: u32 = 6;
/// How often one claim may be woken; each wake costs a call, and the caller's patience ends them long before.
pub(super) const WAKES_MAX: u32 = 200;
/// A grant older than this leaves the origin less than its `timeout` within the lease's 15 s of room.
pub(super) const GRANT_AGE_MAX: Duration = Duration::from_secs(10);
/// How long one call of a Ledger may take beyond any waiting.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(5);
