//! What the story of a request needs of the outside.

use std::time::Duration;

use super::hand_over::HandOver;
use crate::lifecycle::event::{Claim, Event};
use crate::lifecycle::outcome::{Facts, Failure};
use crate::lifecycle::record::Execution;
use crate::lifecycle::reply::Reply;
use crate::protocol::LedgerAnswer;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// What the story needs from the world around it.
#[allow(async_fn_in_trait, reason = "one thread, static dispatch: no Send bound is wanted")]
pub trait World {
    /// The origin's answer, its body whole or still streaming.
    type OriginResponse: OriginResponse;
    /// A stored body.
    type Body;
    /// Tells the Ledger of an event; a settle carries the body of the origin's response. Beside the answer
    /// comes a stored body, if the answer has one.
    async fn ask(
        &self,
        key_id: &KeyId,
        event: &Event,
        response: Option<&Self::OriginResponse>,
    ) -> Result<(LedgerAnswer, Option<Self::Body>), Unreachable>;
    /// Hands the request to the origin, once.
    async fn forward(&self, run: Execution) -> Result<Self::OriginResponse, Failure>;
    /// Hands a granted claim over to a Runner, which makes the call in this story's place: once, whatever comes of it.
    /// The claim is the one that was granted, which may not be the one that the story began with. `sent` is when it was
    /// sent, by the Worker's clock.
    async fn hand_over(
        &self,
        claim: &Claim,
        run: Execution,
        sent: Timestamp,
    ) -> Result<HandOver, Unreachable>;
    /// Asks the origin what became of the key (GET of the route's probe path).
    async fn probe(&self) -> Result<Self::OriginResponse, Failure>;
    /// Waits until the body is over that goes to the client while the origin sends it.
    async fn stream_end(&self) -> StreamEnd;
    /// Lets time pass.
    async fn pause(&self, span: Duration);
    /// The Worker's clock. Use it only to measure spans; timestamps come from the Ledger.
    fn now(&self) -> Timestamp;
    /// Tells the operator why something went wrong.
    fn log(&self, why: &str);
}

/// What the story needs to know of the origin's answer.
pub trait OriginResponse {
    /// What it is judged by.
    fn facts(&self) -> Facts;
    /// What of it is kept.
    fn reply(&self) -> Reply;
    /// Whether its body is not here yet: it goes to the client while the origin sends it.
    fn is_streamed(&self) -> bool;
}

/// How a body ended that went to the client while the origin sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamEnd {
    /// All of it came, or the client left: the origin did not break it off.
    Over,
    /// The origin broke it off.
    BrokenOff,
}

/// The Ledger gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// It refused the call since it has too much to do; nothing was changed. A claim is not repeated then; ending a claim
    /// is, since losing that costs a doubt.
    Overloaded(String),
    /// The call failed or took too long.
    Lost(String),
}
