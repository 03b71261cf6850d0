//! A request that the filter makes itself: how it is built, and what is heard of its answer.

use std::time::Duration;

use wasm_bindgen::JsValue;
use web_sys::{Headers, Request, Response};
use worker::Env;

use super::error::Error;
use super::tasks::wait;
use super::{bindings, origin};
use crate::job::answered::{Answered, Next};
use crate::job::request::{JobHeader, JobRequest};

/// How a request ended.
pub(super) struct Done {
    pub(super) status: u16,
    pub(super) outcome: Option<&'static str>,
    pub(super) next: Next,
}

/// The request, with its secrets; `body` is that of a message.
pub(super) fn request(env: &Env, job: &JobRequest, body: JsValue) -> Result<Request, Error> {
    let headers = Headers::new()?;
    for (name, value) in &job.headers {
        match value {
            JobHeader::Text(text) => headers.set(name, text)?,
            JobHeader::Secret(secret) => {
                let value = bindings::get(env, secret).as_string();
                headers.set(name, &value.ok_or_else(|| Error::NoSecret(secret.clone()))?)?;
            }
        }
    }
    let body = job.body.as_ref().map_or(body, |body| JsValue::from_str(body));
    Ok(bindings::request(&job.url, &origin::init(&job.method, &headers, body))?)
}

/// What follows from its answer, which ended as `outcome` says once it is here.
pub(super) async fn done(
    response: &Response,
    outcome: impl FnOnce() -> Option<&'static str>,
) -> Done {
    let retry_after = response.headers().get("retry-after").ok().flatten();
    // It is read to its end: one that its reader leaves looks like one that the origin broke off, which is a doubt.
    let _ = wait(bindings::drained(response, READ_MAX, READ_MS)).await;
    let (status, outcome) = (response.status(), outcome());
    let retry_after = retry_after.and_then(|seconds| seconds.parse().ok());
    let answered = Answered { status, outcome, retry_after: retry_after.map(Duration::from_secs) };
    Done { status, outcome, next: answered.next() }
}

/// How much of an answer's body is read, and for how long: nothing depends on it, and a stream may have no end.
const READ_MAX: u32 = 32 * 1024 * 1024;
const READ_MS: u32 = 5000;
