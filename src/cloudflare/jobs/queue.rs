//! The queue event: makes a request of each message, and acknowledges it, sends it back, or puts it aside.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use futures_util::stream;
use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::future_to_promise;
use worker::{Env, worker_sys};

use super::Event;
use crate::cloudflare::error::Error;
use crate::cloudflare::tasks::{scoped, spawn, wait};
use crate::cloudflare::worker::Via;
use crate::cloudflare::{bindings, env};
use crate::job::answered::Next;
use crate::job::queue::{Aside, Delivery, DeliveryLine, Message, QueueRule};
use crate::job::request::{JobHeader, JobRequest};

/// The queue event. It fails only where not even a message can be sent back; `entry.js` then sends back all of them.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn queue(batch: worker_sys::MessageBatch, env: Env, context: worker_sys::Context) -> Promise {
    let handled = scoped(handle(Event::new(env, context), batch));
    future_to_promise(AssertUnwindSafe(async move {
        // Whatever ends early must fail: messages that nobody speaks of count as acknowledged.
        handled.await.unwrap_or_else(|| Err(Error::ContextEnded.into()))?;
        Ok(JsValue::UNDEFINED)
    }))
}

/// Handles every message of a batch.
async fn handle(event: Rc<Event>, batch: worker_sys::MessageBatch) -> Result<(), JsValue> {
    let (name, messages) = (String::from(batch.queue()?), batch.messages()?);
    let policy = env::policy(&event.env).ok();
    let rule =
        policy.and_then(|policy| policy.queues.iter().find(|rule| rule.queue == name).cloned());
    let Some(rule) = rule else {
        bindings::log_error(&format!(
            "queue {name} has no table in QUEUES, or the configuration does not parse: all of its messages go back"
        ));
        return batch.retry_all(bindings::object(&[("delaySeconds", 60.into())]).into());
    };
    let taken = stream::iter(messages.iter()).map(|message| {
        let message: worker_sys::Message = message.unchecked_into();
        take(event.clone(), rule.clone(), message)
    });
    let taken: Vec<_> = taken.buffer_unordered(rule.concurrency).collect().await;
    taken.into_iter().collect()
}

/// Handles one message, in a task of its own: what fails with it harms no other.
async fn take(
    event: Rc<Event>,
    rule: Rc<QueueRule>,
    message: worker_sys::Message,
) -> Result<(), JsValue> {
    let id = message.id().map(String::from).unwrap_or_default();
    let attempts = bindings::attempts(&message);
    let (running, running_rule, running_id) = (message.clone(), rule.clone(), id.clone());
    let sending = event.clone();
    let delivery =
        spawn(async move { deliver(&sending, &running_rule, &running, &running_id).await }).await;
    let failed = |why: String| Delivery {
        outcome: "failed",
        status: None,
        next: Next::Retry(FAULT_AFTER),
        why: Some(why),
    };
    let mut delivery = match delivery {
        Ok(Ok(delivery)) => delivery,
        Ok(Err(error @ Error::NoSecret(_))) => {
            Delivery { outcome: "misconfigured", ..failed(error.to_string()) }
        }
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => failed("the filter was ended by a fault".to_owned()),
    };
    if let Next::Refused(why) = &delivery.next
        && let Err(error) = put_aside(&event.env, &rule, &message, &id, why).await
    {
        // Without a queue for it, the platform moves it to the dead letter queue once max_retries is reached.
        delivery = Delivery {
            next: Next::Retry(ASIDE_AFTER),
            why: Some(format!("{why}; {error}")),
            ..delivery
        };
    }
    let done = match delivery.next {
        Next::Done | Next::Refused(_) => message.ack(),
        Next::Retry(after) | Next::InDoubt(after) => {
            let seconds =
                u32::try_from(after.as_secs()).unwrap_or(DELAY_MAX_S).clamp(1, DELAY_MAX_S);
            message.retry(bindings::object(&[("delaySeconds", seconds.into())]).into())
        }
    };
    let line = DeliveryLine::new(&rule.queue, &id, attempts, &delivery).to_text();
    if matches!(delivery.next, Next::Done) {
        bindings::log(&line);
    } else {
        bindings::log_error(&line);
    }
    done
}

async fn deliver(
    event: &Event,
    rule: &QueueRule,
    message: &worker_sys::Message,
    id: &str,
) -> Result<Delivery, Error> {
    let refused = |why: &str| Delivery {
        outcome: "refused",
        status: None,
        next: Next::Refused(why.to_owned()),
        why: Some(why.to_owned()),
    };
    let content = bindings::message_body(message)?;
    if content.is_undefined() {
        return Ok(refused("the message's body is no text, no bytes and no JSON"));
    }
    let content: Array = content.unchecked_into();
    let (kind, body) = (content.get(0).as_string().unwrap_or_default(), content.get(1));
    let text = body.as_string();
    match rule.request(Message { id, body: text.as_deref() }) {
        Err(why) => Ok(refused(&why)),
        Ok(job) => {
            let done = event.run(of_kind(job, kind), body, Via::Queue).await?;
            let why = match &done.next {
                Next::Refused(why) => Some(why.clone()),
                Next::Done | Next::Retry(_) | Next::InDoubt(_) => None,
            };
            Ok(Delivery {
                outcome: done.outcome.unwrap_or("failed"),
                status: Some(done.status),
                next: done.next,
                why,
            })
        }
    }
}

/// The request with the content type of the message's body, unless the configuration names one.
fn of_kind(mut job: JobRequest, kind: String) -> JobRequest {
    if job.body.is_none() && job.headers.iter().all(|(name, _)| name != "content-type") {
        job.headers.push(("content-type".to_owned(), JobHeader::Text(kind)));
    }
    job
}

/// Sends a message to the queue ASIDE, which a person reads.
async fn put_aside(
    env: &Env,
    rule: &QueueRule,
    message: &worker_sys::Message,
    id: &str,
    why: &str,
) -> Result<(), Error> {
    let aside = bindings::get(env, "ASIDE");
    if !aside.is_object() {
        return Err(Error::NoAside);
    }
    let content = bindings::message_body(message)?;
    if content.is_undefined() {
        // It would be lost with the message, which the dead letter queue keeps as it is.
        return Err(Error::NoAsideForm);
    }
    let body = content.unchecked_into::<Array>().get(1);
    let text = body.as_string();
    let bytes = text.is_none().then(|| BASE64_STANDARD.encode(Uint8Array::new(&body).to_vec()));
    let (body, body_base64) = (text.as_deref(), bytes.as_deref());
    let message = Aside { queue: &rule.queue, id, why, body, body_base64 }.to_text();
    wait(bindings::send(&aside, &message)?).await.map(drop)
}

/// After a fault of the filter itself.
const FAULT_AFTER: Duration = Duration::from_secs(30);
/// A message that is refused comes again this late where nobody can be asked to take it.
const ASIDE_AFTER: Duration = Duration::from_hours(1);
/// 12 hours (developers.cloudflare.com, queues/platform/limits).
const DELAY_MAX_S: u32 = 12 * 60 * 60;
