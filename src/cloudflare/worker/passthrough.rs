//! Requests that are forwarded as they came: those that no route guards, safe ones where the configuration does not parse,
//! and those of routes in shadow mode, which are watched besides.

use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::Promise;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};

use super::guard::traceparent;
use super::request_body::{RequestBody, digest};
use super::{FetchEvent, random_token};
use crate::admission::{self, Guarded, Head};
use crate::cloudflare::error::Error;
use crate::cloudflare::headers::HeaderChanges;
use crate::cloudflare::response::{Client, Response, plain_problem};
use crate::cloudflare::tasks::{spawn, wait, wait_until};
use crate::cloudflare::{bindings, body_stream, env, origin};
use crate::config::read::Misconfigured;
use crate::config::route::Route;
use crate::config::{Origin, Policy};
use crate::lifecycle::outcome::Failure;
use crate::log::{shadow_line, unguarded_line, unmatched_line};
use crate::problem::{Code, Problem};
use crate::request::method::is_safe;
use crate::shadow::{Passed, watch};

/// The response to a request that was passed through and whose origin could not be reached.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn unreachable(error: &JsValue) -> Result<Response, Error> {
    bindings::log_error(&format!("unguarded: {}", bindings::text(error)));
    plain_problem(502, "Bad Gateway")
}

impl FetchEvent {
    /// Forwards the request as it is. The response is not awaited: the promise of it is returned.
    pub(super) fn pass_through(
        &self,
        to: &Origin,
        head: &Head<'_>,
        body: RequestBody,
    ) -> Result<JsValue, Error> {
        Ok(bindings::or_unreachable(&self.forward_unchanged(to, head, body)?).into())
    }

    /// Forwards the request as it is: its body and the response are streamed, WebSocket upgrades included.
    fn forward_unchanged(
        &self,
        to: &Origin,
        head: &Head<'_>,
        body: RequestBody,
    ) -> Result<Promise, Error> {
        let request = &self.request;
        // Only what is guarded is forwarded in its normal form.
        let address = format!("{}{}", origin::base(to, head.address), head.address.as_sent);
        let binding = matches!(to, Origin::Binding).then(|| self.origin_binding());
        let carrying = |body: JsValue| origin::init(head.method, &request.headers(), body);
        self.has_unread_body.set(false);
        let mut held = None;
        let init = match body {
            RequestBody::Unread => request.into(),
            RequestBody::Whole(None) => carrying(JsValue::NULL),
            RequestBody::Whole(Some(body)) => {
                let bytes = body.bytes().ok_or(Error::BodyExpired)?;
                held = Some(body);
                carrying(bytes.into())
            }
            RequestBody::Begun(first) => {
                carrying(body_stream::resumed(request.body(), None, first, None, &self.context)?)
            }
        };
        let mut changes = HeaderChanges::default();
        changes.append_all(&self.loop_marks(head));
        let response = bindings::pass(binding.as_ref(), &address, &init, changes.lines()?);
        if held.is_some() {
            // The runtime holds the bytes until the origin has them, so they count for as long.
            let answered = wait(response.clone());
            drop(spawn(async move {
                let _ = answered.await;
                drop(held);
            }));
        }
        Ok(response)
    }

    /// What is answered where the configuration does not parse: safe methods pass, all others are refused.
    pub(super) fn misconfigured(
        &self,
        wrongs: &[Misconfigured],
        head: &Head<'_>,
    ) -> Result<JsValue, Error> {
        for wrong in wrongs {
            bindings::log_error(&format!("misconfigured: {}: {}", wrong.knob, wrong.why));
        }
        if admission::is_own(&head.address.target.compared) {
            return plain_problem(404, "Not Found").map(Into::into);
        }
        match env::vars(&self.env).and_then(|vars| Origin::parse(&vars)) {
            Ok(origin) if is_safe(head.method) => {
                self.pass_through(&origin, head, RequestBody::Unread)
            }
            Ok(_) | Err(_) => {
                let detail = "The filter's configuration does not parse, so nothing was forwarded. Its operator finds the reason in the log.";
                let id = admission::correlation_id(head, random_token()?);
                Client::new(id, None, head)
                    .problem(&Problem::new(Code::Misconfigured, detail), None)
                    .map(Into::into)
            }
        }
    }

    /// Forwards the request as if it were unguarded, and logs what would have been answered under `enforce`.
    pub(super) async fn shadow(
        &self,
        policy: &Rc<Policy>,
        guarded: Guarded,
        head: &Head<'_>,
        body: RequestBody,
    ) -> Result<JsValue, Error> {
        let body = match self.whole_body(body, &guarded.route).await {
            Ok(body) => body,
            Err((problem, first)) => {
                log_shadow(&guarded.route, problem.logged().0, &guarded.correlation_id);
                return self.pass_through(&policy.origin, head, RequestBody::Begun(first));
            }
        };
        let digest = digest(body.as_ref(), &guarded.route).await?;
        let guarded = Rc::new(guarded);
        let (world, request) = self.world(policy, guarded.clone(), head, &digest, None)?;
        let route = request.route.clone();
        let (tell, told) = oneshot::channel::<Passed>();
        let watching = async move {
            let passed = async { told.await.map_err(|oneshot::Canceled| Failure::Lost) };
            let id = &request.claim.metadata.correlation_id;
            let say = |would| log_shadow(&request.route, guarded.would(would), id);
            watch(&world, &request, passed, say).await;
        };
        wait_until(&self.context, spawn(watching));
        let passed = self.forward_unchanged(&policy.origin, head, RequestBody::Whole(body))?;
        let response: Response = wait(passed).await?.unchecked_into();
        // The watching may have failed; the response passes all the same.
        let _ = tell.send(origin::passed(&response, head.address, &route));
        Ok(response.into())
    }
}

/// Logs that a request with a key has passed unguarded.
pub(super) fn log_unmatched(head: &Head<'_>) {
    let path = &head.address.target.compared;
    bindings::log(&unmatched_line(head.method, path, traceparent(head).as_deref()));
}

/// Logs that a request passed although its key may lie in its body.
pub(super) fn log_unguarded(route: &Route, head: &Head<'_>, why: &str) {
    let why = format!("its key is taken from the body, which cannot be read: {why}");
    let id = admission::client_correlation_id(head);
    bindings::log(&unguarded_line(&route.name, head.method, id.as_deref(), &why));
}

/// Logs what would have been answered under `enforce`.
pub(super) fn log_shadow(route: &Route, would: &str, correlation_id: &str) {
    bindings::log(&shadow_line(&route.name, would, correlation_id));
}
