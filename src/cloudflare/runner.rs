//! The Durable Object that makes one call of the origin, for a client that does not wait for it.
//!
//! The runtime keeps it for 15 minutes while a task of `waitUntil` is pending, though nobody is connected to it: from the
//! compatibility date 2026-10-01 on (developers.cloudflare.com, changelog/durable-objects/2026-10-01-pending-io-keep-alive).
//! It has no storage: where it is ended in the middle its lease lapses, which is a doubt, and nobody makes the call again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot::Canceled;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::future_to_promise;
use web_sys::{Headers, ReadableStream};
use worker::{Context, Env};

use super::body_buffer::{BufferedBody, Owner};
use super::body_reader::{self, Read};
use super::clock::{now, pause};
use super::error::Error;
use super::guarded_call::GuardedCall;
use super::ledger_stub::{FromLedger, LedgerBody, LedgerClient};
use super::log::{self, Outcome};
use super::origin::{OriginResponse, ResponseBody};
use super::progress::Progress;
use super::tasks::{scoped, spawn, wait, wait_until};
use super::{bindings, env, faults};
use crate::answer::Answer;
use crate::config::Origin;
use crate::config::route::Route;
use crate::encoding::Unreadable;
use crate::filter::{
    GuardedRequest, HandOver, Reached, StreamEnd, Unreachable, World, clear_up, take_over,
};
use crate::lifecycle::event::{Claim, Event};
use crate::lifecycle::outcome::Failure;
use crate::lifecycle::record::Execution;
use crate::log::Entry;
use crate::protocol::VERSION;
use crate::protocol::runner::{
    RunnerAnswer, RunnerRequest, read_runner_request, write_runner_answer,
};
use crate::request::key::{Key, KeyId};
use crate::request::path::Address;
use crate::time::{Timestamp, millis};

/// Takes a request over. Resolves to a [`RunnerAnswer`] as soon as the call is certain to be made, or not to be.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn take(
    context: JsValue,
    env: Env,
    was_called: bool,
    head: Vec<u8>,
    headers: Headers,
    body: JsValue,
) -> Promise {
    let taken = scoped(async move {
        if was_called {
            return RunnerAnswer::CalledBefore;
        }
        let context = Context::new(context.unchecked_into());
        // A fault here leaves nothing behind: the call has not begun.
        let taken = spawn(async move { begin(&context, env, &head, headers, body).await });
        match taken.await {
            Ok(Ok(())) => RunnerAnswer::Taken,
            Ok(Err(refused)) => refused,
            Err(Canceled) => RunnerAnswer::Refused("the Runner failed, its log says where".into()),
        }
    });
    future_to_promise(std::panic::AssertUnwindSafe(async move {
        let answer = taken.await.ok_or(Error::ContextEnded)?;
        Ok(Uint8Array::from(write_runner_answer(&answer).as_slice()).into())
    }))
}

/// Begins the call, unless something is in its way.
async fn begin(
    context: &Context,
    env: Env,
    head: &[u8],
    headers: Headers,
    body: JsValue,
) -> Result<(), RunnerAnswer> {
    let refused = |why: &str| RunnerAnswer::Refused(why.to_owned());
    let request = read_runner_request(head).map_err(|error| match error {
        Unreadable::Version(_) => RunnerAnswer::UnknownVersion(VERSION),
        unreadable => RunnerAnswer::Refused(format!("the message is unreadable: {unreadable}")),
    })?;
    // After a deploy Worker and Runner may be of two configurations for a while.
    let policy = env::policy(&env).map_err(|_| refused("the Runner is misconfigured"))?;
    let route = policy.routes.named(&request.claim.metadata.route).cloned();
    let route = route.ok_or_else(|| refused("the Runner knows no such route"))?;
    if policy.shards != request.shards {
        return Err(refused("the Runner is configured with another number of shards"));
    }
    let requested = Address::parse(&request.requested)
        .ok_or_else(|| refused("the request's address is unreadable"))?;
    let ledgers = env::ledgers(&env).map_err(|error| RunnerAnswer::Refused(error.to_string()))?;
    let body = held(body, &route).await.map_err(refused)?;
    let progress = Progress::new();
    progress.reached.set(Reached::Claim(request.claim.lease));
    let origin_binding =
        matches!(policy.origin, Origin::Binding).then(|| bindings::origin(&env).unchecked_into());
    let call = GuardedCall {
        ledger: LedgerClient { ledgers, policy },
        route: Rc::new(route.without_streams()),
        origin_binding,
        origin_address: request.address.clone(),
        requested_address: requested,
        method: request.claim.metadata.method.clone(),
        body: RefCell::new(body),
        stream_end: Cell::default(),
        progress: Rc::new(progress),
    };
    let world = RunnerWorld { env, call, headers, handed_over: request };
    wait_until(context, run(world));
    Ok(())
}

/// The request's body, where there is room for it beside those of other Runners in this isolate.
async fn held(body: JsValue, route: &Route) -> Result<Option<BufferedBody>, &'static str> {
    if body.is_undefined() {
        return Ok(None);
    }
    let body = match body.dyn_into::<Uint8Array>() {
        Ok(bytes) => BufferedBody::of(bytes, Owner::Request),
        Err(stream) => {
            let stream: ReadableStream = stream.unchecked_into();
            match body_reader::read(&stream, None, route.request.max, Owner::Request).await {
                Read::Whole(body) => body,
                Read::TooLarge(_) | Read::NoRoom(_) => {
                    return Err("the Runner has no room for the body");
                }
                Read::Broken(_) | Read::TooSlow => {
                    return Err("the body broke off on its way to the Runner");
                }
            }
        }
    };
    body.keep_for(route.durations().lease);
    Ok(Some(body))
}

/// Makes the call and ends the claim, in a task of its own: where a fault ends that, the claim is ended all the same.
async fn run(world: RunnerWorld) {
    let world = Rc::new(world);
    let running = world.clone();
    let ran = spawn(async move {
        let RunnerRequest { key_id, claim, run, sent, .. } = &running.handed_over;
        let request = GuardedRequest {
            key_id: *key_id,
            claim: claim.clone(),
            route: running.call.route.clone(),
            responds_async: false,
        };
        let respond = |answer| running.finish(answer);
        take_over(&*running, request, *run, *sent, respond).await;
    });
    if let Err(Canceled) = ran.await {
        let (key_id, reached) = (world.handed_over.key_id, world.call.progress.reached.get());
        let _ = spawn(async move { clear_up(&*world, &key_id, reached).await }).await;
    }
}

/// What the filter needs of the outside for a call that was handed over.
struct RunnerWorld {
    env: Env,
    call: GuardedCall,
    /// The headers for the origin.
    headers: Headers,
    handed_over: RunnerRequest,
}

impl World for RunnerWorld {
    type OriginResponse = OriginResponse;
    type Body = LedgerBody;

    async fn ask(
        &self,
        key_id: &KeyId,
        event: &Event,
        response: Option<&OriginResponse>,
    ) -> Result<FromLedger, Unreachable> {
        self.call.ask(key_id, event, response).await
    }

    async fn forward(&self, run: Execution) -> Result<OriginResponse, Failure> {
        faults::here("runs");
        self.call.forward(run, self.headers.clone()).await
    }

    /// The Worker probes before it claims.
    async fn probe(&self) -> Result<OriginResponse, Failure> {
        Err(Failure::NeverSent)
    }

    /// A lease is handed over once.
    async fn hand_over(
        &self,
        _: &Claim,
        _: Execution,
        _: Timestamp,
    ) -> Result<HandOver, Unreachable> {
        Err(Unreachable::Lost("a Runner hands nothing over".to_owned()))
    }

    async fn stream_end(&self) -> StreamEnd {
        self.call.stream_end().await
    }

    async fn pause(&self, span: Duration) {
        pause(span).await;
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn log(&self, why: &str) {
        self.call.log(&self.handed_over.claim.metadata.correlation_id, why);
    }
}

impl RunnerWorld {
    /// There is no client: the answer is logged. A body that is too large to be kept is read to its end, which tells whether
    /// the origin broke it off; but no longer than the route's timeout, since a Runner is paid for by the second.
    fn finish(&self, answer: Answer<OriginResponse, LedgerBody>) {
        let Outcome { name, status, why } = Outcome::of_answer(&answer);
        let RunnerRequest { key_id, claim, key, traceparent, .. } = &self.handed_over;
        let key = Key::stored(key);
        let entry = Entry {
            via: Some("runner"),
            route: Some(&claim.metadata.route),
            method: &claim.metadata.method,
            key: key.as_ref(),
            correlation_id: &claim.metadata.correlation_id,
            traceparent: traceparent.clone(),
            shard: Some(key_id.shard(self.call.ledger.policy.shards)),
            attempt: self.call.progress.attempt(),
            outcome: name,
            status,
            why,
            times: self.call.progress.times(),
        };
        log::write(&self.env, self.call.ledger.policy.log_keys, &entry);
        if let Answer::OriginResponse(response, ..) = answer
            && let ResponseBody::Streaming(first, told) = response.body
            && let Some(rest) = response.response.body()
        {
            drop(first);
            let patience_ms = u32::try_from(millis(self.call.route.timeout)).unwrap_or(u32::MAX);
            drop(spawn(async move {
                let end = match wait(bindings::read_to_end(&rest, patience_ms)).await {
                    Ok(_) => StreamEnd::Over,
                    Err(_) => StreamEnd::BrokenOff,
                };
                // Nobody waits for it where the call's task has ended.
                let _ = told.send(end);
            }));
        }
    }
}
