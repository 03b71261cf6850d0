//! What the filter needs of the outside for one guarded request: its Ledger, its origin, the clock, the log.

use std::rc::Rc;
use std::time::Duration;

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::Headers;

use super::clock::{now, pause};
use super::error::Error;
use super::guarded_call::GuardedCall;
use super::headers::HeaderChanges;
use super::ledger_stub::{FromLedger, LedgerBody, unreachable};
use super::origin::{self, OriginResponse, OutgoingRequest, Purpose};
use super::tasks::wait;
use super::{SMALL, bindings, faults};
use crate::admission::{Guarded, KEY_HEADER};
use crate::config::route::ForwardKey;
use crate::filter::{HandOver, Reached, StreamEnd, Unreachable, World};
use crate::lifecycle::condition::accepted;
use crate::lifecycle::event::{Claim, Event};
use crate::lifecycle::outcome::Failure;
use crate::lifecycle::record::Execution;
use crate::protocol::runner::{
    RunnerAnswer, RunnerRequest, read_runner_answer, write_runner_request,
};
use crate::request::key::{self, KeyId};
use crate::request::key_source::Source;
use crate::request::prefer::without_async;
use crate::request::repeatability;
use crate::time::Timestamp;

/// What the filter needs of the outside for one guarded request.
pub(super) struct RequestWorld {
    pub(super) call: GuardedCall,
    /// What a Runner is told, where one makes the call.
    pub(super) for_runner: Option<ForRunner>,
    pub(super) guarded: Rc<Guarded>,
    /// As they came.
    pub(super) headers: Headers,
    /// What is changed in them for the origin, whichever request it is.
    pub(super) changes: HeaderChanges,
}

/// What a Runner is told beside what a Worker knows of every request.
pub(super) struct ForRunner {
    pub(super) runners: bindings::Namespace,
    /// Where the client sent the request.
    pub(super) url: String,
    pub(super) traceparent: Option<String>,
}

impl World for RequestWorld {
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
        faults::here("granted");
        let headers = self.headers_of(run).map_err(|_| Failure::NeverSent)?;
        self.call.forward(run, headers).await
    }

    async fn hand_over(
        &self,
        claim: &Claim,
        run: Execution,
        sent: Timestamp,
    ) -> Result<HandOver, Unreachable> {
        faults::here("granted");
        let Some(for_runner) = &self.for_runner else {
            return Ok(HandOver::Refused(Error::NoRunner.to_string()));
        };
        let prepared = || {
            let headers = self.headers_of(run)?;
            if let Some(prefer) = headers.get("prefer")? {
                match without_async(&prefer) {
                    none if none.is_empty() => headers.delete("prefer")?,
                    rest => headers.set("prefer", &rest)?,
                }
            }
            Ok::<_, Error>((headers, self.call.body()?))
        };
        let (headers, body) = match prepared() {
            Ok(prepared) => prepared,
            Err(error) => return Ok(HandOver::Refused(error.to_string())),
        };
        let head = write_runner_request(&RunnerRequest {
            key_id: self.guarded.id,
            shards: self.call.ledger.policy.shards,
            claim: claim.clone(),
            run,
            sent,
            key: self.guarded.key.as_str().to_owned(),
            address: self.call.origin_address.clone(),
            requested: for_runner.url.clone(),
            traceparent: for_runner.traceparent.clone(),
        });
        self.call.progress.attempted(run);
        self.call.progress.reached.set(Reached::Runner);
        let hint = self.call.ledger.policy.location_hint.as_deref();
        let call =
            bindings::hand_over(&for_runner.runners, hint, &head, &headers, body.as_ref(), SMALL);
        let answered = wait(call).await;
        // Whatever came of it, the request is not sent from here.
        drop(self.call.body.take());
        let answer = answered.map_err(|error| unreachable(&error))?;
        faults::here("handed over");
        let answer = answer.dyn_into::<Uint8Array>().map(|bytes| bytes.to_vec());
        match read_runner_answer(&answer.unwrap_or_default()) {
            Ok(RunnerAnswer::Taken | RunnerAnswer::CalledBefore) => Ok(HandOver::Taken),
            Ok(RunnerAnswer::Refused(why)) => Ok(HandOver::Refused(why)),
            Ok(RunnerAnswer::UnknownVersion(version)) => {
                Ok(HandOver::Refused(format!("the Runner speaks version {version} only")))
            }
            // It may have been said by a Runner that makes the call.
            Err(error) => Err(Unreachable::Lost(format!("the Runner's answer: {error}"))),
        }
    }

    async fn probe(&self) -> Result<OriginResponse, Failure> {
        let path = self.guarded.route.probe.as_deref().ok_or(Failure::NeverSent)?;
        let address = origin::probe_address(
            &self.call.ledger.policy.origin,
            &self.call.requested_address,
            path,
            &self.guarded.key,
        )
        .ok_or(Failure::NeverSent)?;
        let headers = self.probe_headers().map_err(|_| Failure::NeverSent)?;
        let request = OutgoingRequest {
            address: &address,
            method: "GET",
            headers,
            body: JsValue::NULL,
            purpose: Purpose::Probe,
        };
        origin::forward(request, self.call.origin_binding.as_ref(), &self.guarded.route, || {})
            .await
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
        self.call.log(&self.guarded.correlation_id, why);
    }
}

impl RequestWorld {
    /// The headers of the forwarded request.
    fn headers_of(&self, run: Execution) -> Result<Headers, Error> {
        let mut changes = self.changes.clone();
        changes.replace("x-correlation-id", &self.guarded.correlation_id);
        changes.replace("idempotency-attempt", &run.attempt.to_string());
        self.forward_key(&mut changes, run);
        self.accept(&mut changes, Purpose::Execute(&self.call.requested_address));
        changes.applied_to(&self.headers)
    }

    /// Where a rule looks into bodies, they are asked for in a coding that can be decoded.
    fn accept(&self, changes: &mut HeaderChanges, purpose: Purpose<'_>) {
        if purpose.reads_body(&self.guarded.route, None) {
            let by_client = self.headers.get(ACCEPT_ENCODING).ok().flatten();
            changes.replace(ACCEPT_ENCODING, accepted(by_client.as_deref()));
        }
    }

    fn forward_key(&self, changes: &mut HeaderChanges, run: Execution) {
        let Guarded { route, key, spelling, .. } = self.guarded.as_ref();
        let names = route
            .key
            .from
            .iter()
            .filter_map(Source::header)
            .filter(|name| !matches!(*name, KEY_HEADER | "x-correlation-id"));
        match route.forward_key {
            // A later attempt goes on in the spelling of the first.
            ForwardKey::Same if run.spelling != *spelling => {
                changes.replace(KEY_HEADER, &key.spelled(run.spelling));
            }
            ForwardKey::Same => {}
            ForwardKey::Derived => {
                let derived = key::derived(run, &route.name);
                for name in names.filter(|name| self.headers.has(name).unwrap_or(false)) {
                    changes.replace(name, &derived);
                }
                changes.replace(KEY_HEADER, &derived);
            }
            ForwardKey::None => {
                for name in names {
                    changes.delete(name);
                }
                changes.delete(KEY_HEADER);
                // One of these without the other is what an origin refuses that knows them.
                if route.key.from.contains(&Source::Repeatability) {
                    for name in repeatability::HEADERS {
                        changes.delete(name);
                    }
                }
            }
        }
    }

    /// The headers of the request, credentials included, without those that speak of its body, make it
    /// conditional or partial, or turn it into something else than a GET.
    fn probe_headers(&self) -> Result<Headers, Error> {
        let mut changes = self.changes.clone();
        for name in NOT_OF_A_QUESTION.into_iter().chain(repeatability::HEADERS) {
            changes.delete(name);
        }
        changes.replace("x-correlation-id", &self.guarded.correlation_id);
        // No cache may answer it (RFC 9111 section 5.2.1.4).
        changes.replace("cache-control", "no-cache");
        self.accept(&mut changes, Purpose::Probe);
        changes.applied_to(&self.headers)
    }
}

const ACCEPT_ENCODING: &str = "accept-encoding";

/// Headers of the guarded request that a probe leaves out.
const NOT_OF_A_QUESTION: [&str; 15] = [
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "prefer",
    "range",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-on-conflict",
];
