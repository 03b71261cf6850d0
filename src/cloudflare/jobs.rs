//! Requests that the filter makes itself: for the slots of schedules ([`scheduled`]) and for the messages of queues
//! ([`queue`]). Each is a request like a client's, and is served as one.
//!
//! The events are taken with the types of `worker_sys`, not by the macros of `worker`: those unwrap what may throw,
//! have no `attempts`, panic where a batch cannot be handled, and give a schedule a context that no request takes.

mod queue;
mod scheduled;

use std::rc::Rc;

use wasm_bindgen::{JsCast as _, JsValue};
use worker::worker_sys;
use worker::{Context, Env};

use super::error::Error;
use super::job::{self, Done};
use super::worker::{FetchEvent, Via};
use crate::job::request::JobRequest;

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
        let request = job::request(&self.env, &job, body)?;
        FetchEvent::made(request, self.env.clone(), self.context(), via).await
    }
}
