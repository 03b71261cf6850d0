//! Requests that the filter makes itself: for the slots of schedules ([`scheduled`]) and for the messages of queues
//! ([`queue`]). Each is a request like a client's, and is served as one.
//!
//! The events are taken with the types of `worker_sys`, not by the macros of `worker`: those unwrap what may throw,
//! have no `attempts`, panic where a batch cannot be handled, and give a schedule a context that no request takes.

mod queue;
mod scheduled;

use std::rc::Rc;
use std::time::Duration;

use js_sys::Promise;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::Headers;
use worker::worker_sys;
use worker::{Context, Env};

use super::error::Error;
use super::tasks::wait;
use super::worker::{FetchEvent, Via};
use super::{bindings, origin};
use crate::job::answered::{Answered, Next};
use crate::job::request::{JobHeader, JobRequest};

/// What the platform gives along with an event.
#[derive(Clone)]
struct Event {
    env: Env,
    /// A `worker_sys::Context`, which cannot be cloned itself.
    context: JsValue,
}

impl Event {
    fn new(env: Env, context: worker_sys::Context) -> Rc<Self> {
        Rc::new(Self { env, context: context.into() })
    }

    fn context(&self) -> Context {
        Context::new(self.context.clone().unchecked_into())
    }

    /// Puts a request through the filter, and says what follows from the answer.
    async fn run(&self, job: JobRequest, body: JsValue, via: Via) -> Result<Done, Error> {
        let headers = Headers::new()?;
        for (name, value) in &job.headers {
            match value {
                JobHeader::Text(text) => headers.set(name, text)?,
                JobHeader::Secret(secret) => {
                    let value = bindings::get(&self.env, secret).as_string();
                    headers.set(name, &value.ok_or_else(|| Error::NoSecret(secret.clone()))?)?;
                }
            }
        }
        let body = job.body.map_or(body, |body| JsValue::from_str(&body));
        let request = bindings::request(&job.url, &origin::init(&job.method, &headers, body))?;
        let event = Rc::new(FetchEvent::new(request, self.env.clone(), self.context(), via));
        let answer = wait(Promise::resolve(&event.clone().served().await?)).await?;
        let response: web_sys::Response = answer.unchecked_into();
        let retry_after = response.headers().get("retry-after").ok().flatten();
        // It is read to its end: one that its reader leaves looks like one that the origin broke off, which is a doubt.
        let _ = wait(bindings::drained(&response, READ_MAX, READ_MS)).await;
        let (status, outcome) = (response.status(), event.outcome());
        let retry_after = retry_after.and_then(|seconds| seconds.parse().ok());
        let answered =
            Answered { status, outcome, retry_after: retry_after.map(Duration::from_secs) };
        Ok(Done { status, outcome, next: answered.next() })
    }
}

/// How a request ended.
struct Done {
    status: u16,
    outcome: Option<&'static str>,
    next: Next,
}

/// How much of an answer's body is read, and for how long: nothing depends on it, and a stream may have no end.
const READ_MAX: u32 = 32 * 1024 * 1024;
const READ_MS: u32 = 5000;
