//! The two things that the work on a claim does, in a Worker as in a Runner: it tells the Ledger of events, and it makes
//! the claim's call of the origin.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot::Receiver;
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::Headers;

use super::body_buffer::BufferedBody;
use super::error::Error;
use super::ledger_stub::{FromLedger, LedgerClient};
use super::origin::{self, OriginResponse, OutgoingRequest, Purpose};
use super::progress::Progress;
use super::{bindings, faults};
use crate::config::route::Route;
use crate::filter::{Reached, StreamEnd, Unreachable};
use crate::lifecycle::event::Event;
use crate::lifecycle::outcome::Failure;
use crate::lifecycle::record::Execution;
use crate::request::key::KeyId;
use crate::request::path::Address;

/// A guarded request, as far as Ledger and origin are concerned.
pub(super) struct GuardedCall {
    pub(super) ledger: LedgerClient,
    pub(super) route: Rc<Route>,
    /// The service binding ORIGIN, if requests go there.
    pub(super) origin_binding: Option<bindings::Fetcher>,
    /// Where the request is forwarded to.
    pub(super) origin_address: String,
    /// Where the client sent it.
    pub(super) requested_address: Address,
    pub(super) method: String,
    /// Its body, until the origin has answered; none where it has none.
    pub(super) body: RefCell<Option<BufferedBody>>,
    /// Tells how the body of the response ends, where it is streamed.
    pub(super) stream_end: Cell<Option<Receiver<StreamEnd>>>,
    /// What the response and the log say where the filter is ended by a fault.
    pub(super) progress: Rc<Progress>,
}

impl GuardedCall {
    pub(super) async fn ask(
        &self,
        key_id: &KeyId,
        event: &Event,
        response: Option<&OriginResponse>,
    ) -> Result<FromLedger, Unreachable> {
        faults::here("ask");
        if let Event::Claim(claim) = event {
            self.progress.reached.set(Reached::Claim(claim.lease));
        }
        let _until_answered = self.progress.ledger_call();
        self.ledger.ask(key_id, event, response.and_then(OriginResponse::bytes)).await
    }

    /// The request's body, if it has one that is still held.
    pub(super) fn body(&self) -> Result<Option<Uint8Array>, Error> {
        let body = self.body.borrow();
        body.as_ref().map(|body| body.bytes().ok_or(Error::BodyExpired)).transpose()
    }

    /// Hands the request to the origin, with these headers.
    pub(super) async fn forward(
        &self,
        run: Execution,
        headers: Headers,
    ) -> Result<OriginResponse, Failure> {
        let body = self.body().map_err(|_| Failure::NeverSent)?;
        let _until_answered = self.progress.forwarding(run);
        if let Reached::Claim(lease) = self.progress.reached.get() {
            self.progress.reached.set(Reached::Origin(lease));
        }
        let request = OutgoingRequest {
            address: &self.origin_address,
            method: &self.method,
            headers,
            body: body.map_or(JsValue::NULL, Into::into),
            purpose: Purpose::Execute(&self.requested_address),
        };
        // Given back as soon as the origin answers, and not only when the reply has been stored.
        let free = || drop(self.body.take());
        let binding = self.origin_binding.as_ref();
        let response = origin::forward(request, binding, &self.route, free).await;
        faults::here("answered");
        if let Ok(response) = &response {
            self.stream_end.set(response.stream_end.take());
        }
        response
    }

    /// Waits until the body of the response is over, where it is streamed.
    pub(super) async fn stream_end(&self) -> StreamEnd {
        match self.stream_end.take() {
            // Who was to tell is gone: the client has left.
            Some(end) => end.await.unwrap_or(StreamEnd::Over),
            None => StreamEnd::Over,
        }
    }

    pub(super) fn log(&self, correlation_id: &str, why: &str) {
        bindings::log_error(&format!("{} {correlation_id}: {why}", self.route.name));
    }
}
