//! What goes on as it came: the unguarded, the misconfigured that is safe, and what is only watched.

use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::Promise;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};

use super::request_body::{Body, digest};
use super::{Asked, lease};
use crate::admission::{self, Guarded, Head};
use crate::cloudflare::error::Error;
use crate::cloudflare::response::{Client, Response, plain_problem};
use crate::cloudflare::tasks::{spawn, wait, wait_until};
use crate::cloudflare::{bindings, body_stream, env, origin};
use crate::config::read::Misconfigured;
use crate::config::route::Route;
use crate::config::routing::is_safe;
use crate::config::{Origin, Policy};
use crate::lifecycle::outcome::Failure;
use crate::log::shadow_line;
use crate::problem::{Code, Problem};
use crate::shadow::{Passed, watch};

/// Says of a request that was handed on that its origin could not be reached.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn unreachable(error: &JsValue) -> Result<Response, Error> {
    bindings::error(&format!("unguarded: {}", bindings::text(error)));
    plain_problem(502, "Bad Gateway")
}

impl Asked {
    /// Hands a request on as it is, and answers with whatever comes.
    pub(super) fn hand_on(
        &self,
        to: &Origin,
        head: &Head<'_>,
        body: Body,
    ) -> Result<JsValue, Error> {
        Ok(bindings::or_unreachable(&self.pass(to, head, body)?).into())
    }

    /// Hands a request on as it is: body and answer stream, upgrades included.
    fn pass(&self, to: &Origin, head: &Head<'_>, body: Body) -> Result<Promise, Error> {
        let request = &self.request;
        let base = match to {
            Origin::Url { base } => base.clone(),
            Origin::Zone | Origin::Binding => {
                format!("{}://{}", head.address.scheme, head.address.host)
            }
        };
        // The path goes on as it came: an unguarded request is not even normalised.
        let address = format!("{base}{}", head.address.raw_target);
        let binding = matches!(to, Origin::Binding).then(|| self.binding());
        let carrying = |body: JsValue| origin::init(head.method, &request.headers(), body);
        let (address, init) = match body {
            Body::Untouched if matches!(to, Origin::Url { .. }) => (Some(address), request.into()),
            Body::Untouched => (None, request.into()),
            Body::Whole(None) => (Some(address), carrying(JsValue::NULL)),
            Body::Whole(Some(body)) => {
                (Some(address), carrying(body.bytes().ok_or(Error::BodyExpired)?.into()))
            }
            Body::Begun(first) => {
                let body = body_stream::resumed(request.body(), first, &self.context)?;
                (Some(address), carrying(body))
            }
        };
        Ok(bindings::pass(binding.as_ref(), address.as_deref(), &init)?)
    }

    pub(super) fn misconfigured(
        &self,
        wrongs: &[Misconfigured],
        head: &Head<'_>,
    ) -> Result<JsValue, Error> {
        for wrong in wrongs {
            bindings::error(&format!("misconfigured: {}: {}", wrong.knob, wrong.why));
        }
        if admission::is_own(&head.address.target.path) {
            return plain_problem(404, "Not Found").map(Into::into);
        }
        match env::vars(&self.env).and_then(|vars| Origin::parse(&vars)) {
            Ok(origin) if is_safe(head.method) => self.hand_on(&origin, head, Body::Untouched),
            Ok(_) | Err(_) => {
                let detail = "The filter's configuration does not parse, so nothing was forwarded. Its operator finds the reason in the log.";
                let id = admission::correlation_id(head, lease()?);
                Client::new(id, None, head)
                    .problem(&Problem::new(Code::Misconfigured, detail), None)
                    .map(Into::into)
            }
        }
    }

    /// Forwards as if unguarded, and logs what enforcing would have answered.
    pub(super) async fn shadow(
        &self,
        policy: &Rc<Policy>,
        guarded: Guarded,
        head: &Head<'_>,
        body: Body,
    ) -> Result<JsValue, Error> {
        let body = match self.whole(body, &guarded.route).await {
            Ok(body) => body,
            Err((problem, first)) => {
                log_shadow(&guarded.route, problem.code.as_str(), &guarded.correlation_id);
                return self.hand_on(&policy.origin, head, Body::Begun(first));
            }
        };
        let digest = digest(body.as_ref(), &guarded.route).await?;
        let (exchange, request) = self.exchange(policy, Rc::new(guarded), head, &digest, None)?;
        let reply_max = request.route.reply.max;
        let (tell, told) = oneshot::channel::<Passed>();
        let watching = async move {
            let passed = async { told.await.map_err(|oneshot::Canceled| Failure::Unknown) };
            let id = &request.claim.metadata.correlation_id;
            watch(&exchange, &request, passed, |would| log_shadow(&request.route, would, id)).await;
        };
        wait_until(&self.context, spawn(watching));
        let passed = self.pass(&policy.origin, head, Body::Whole(body))?;
        let response: Response = wait(passed).await?.unchecked_into();
        // Whoever watches may have given up; the answer passes all the same.
        let _ = tell.send(origin::passed(&response, reply_max));
        Ok(response.into())
    }
}

/// What enforcing would have answered.
pub(super) fn log_shadow(route: &Route, would: &str, correlation_id: &str) {
    bindings::log(&shadow_line(&route.name, would, correlation_id));
}
