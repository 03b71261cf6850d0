//! The fetch event: what is not guarded is handed on untouched; what is goes through
//! [`crate::filter`] inside `wait_until`, so that a client that hangs up loses nothing.

use std::cell::RefCell;

use futures_channel::oneshot;
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Headers;
use worker::{Context, Env, event};

use super::body::{self, Read, Room};
use super::exchange::Exchange;
use super::origin::{self, Body};
use super::{js, vars};
use crate::admission::{self, Admission, Guarded, Head, admit};
use crate::answer::{self, Answer, Marks, Status};
use crate::ask::Replay;
use crate::filter::{Order, filter};
use crate::policy::{Misconfigured, Origin, Policy};
use crate::problem::{Code, Problem};
use crate::record::Lease;
use crate::reply::{allows_origin, has_no_body, is_ours};
use crate::routes::is_safe;
use crate::target::Address;

type Response = web_sys::Response;

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<Response> {
    let env = JsValue::from(env);
    match serve(&request, &env, &context).await {
        Ok(response) => Ok(response),
        Err(error) => {
            worker::console_error!("{}: {}", request.method(), js::text(&error));
            Ok(plain_problem(502, "Bad Gateway")?)
        }
    }
}

async fn serve(
    request: &web_sys::Request,
    env: &JsValue,
    context: &Context,
) -> Result<Response, JsValue> {
    let method = request.method();
    let headers = request.headers();
    let header = |name: &str| headers.get(name).ok().flatten();
    let Some(address) = Address::parse(&request.url()) else {
        return plain_problem(400, "Bad Request");
    };
    let head = Head { method: &method, address: &address, header: &header };
    let policy = match vars::policy(env) {
        Ok(policy) => policy,
        Err(wrong) => return misconfigured(request, env, &head, &wrong).await,
    };
    match admit(&policy, &head) {
        Admission::Pass => pass(request, &policy.origin, &address, env).await,
        Admission::Hidden => plain_problem(404, "Not Found"),
        Admission::Refuse(problem) => refuse(&problem, &admission::correlation_id(&head, lease()?)),
        Admission::Guard(guarded) => guard(request, &policy, guarded, &head, env, context).await,
    }
}

/// Hands a request on as it is: body and answer stream, upgrades included.
async fn pass(
    request: &web_sys::Request,
    origin: &Origin,
    asked: &Address,
    env: &JsValue,
) -> Result<Response, JsValue> {
    let sent = match origin {
        Origin::Zone => js::fetch(request, &JsValue::UNDEFINED),
        Origin::Binding => binding(env).fetch(request, &JsValue::UNDEFINED),
        Origin::Url { base } => {
            // The path goes on as it came: an unguarded request is not even normalised.
            let url = request.url();
            let target = url
                .split_once("://")
                .and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
            let address = format!("{base}{}", target.unwrap_or(&asked.target.as_text()));
            js::fetch(&JsValue::from_str(&address), request)
        }
    };
    Ok(JsFuture::from(sent?).await?.unchecked_into())
}

async fn misconfigured(
    request: &web_sys::Request,
    env: &JsValue,
    head: &Head<'_>,
    wrong: &Misconfigured,
) -> Result<Response, JsValue> {
    worker::console_error!("misconfigured: {}: {}", wrong.knob, wrong.why);
    match Origin::parse(&vars::origin(env)) {
        Ok(origin) if is_safe(head.method) => pass(request, &origin, head.address, env).await,
        Ok(_) | Err(_) => {
            let detail = "The filter's configuration does not parse, so nothing was forwarded. Its operator finds the reason in the log.";
            refuse(
                &Problem::new(Code::Misconfigured, detail),
                &admission::correlation_id(head, lease()?),
            )
        }
    }
}

async fn guard(
    request: &web_sys::Request,
    policy: &Policy,
    guarded: Guarded,
    asked: &Head<'_>,
    env: &JsValue,
    context: &Context,
) -> Result<Response, JsValue> {
    let correlation_id = guarded.correlation_id.clone();
    let (body, room) = match buffer(request, guarded.route.request_max).await {
        Ok(buffered) => buffered,
        Err(problem) => return refuse(&problem, &correlation_id),
    };
    let digest =
        body::digest(&body.clone().unwrap_or_else(|| Uint8Array::new_with_length(0))).await?;
    let (claim, credential_change) = guarded.claim(asked, &digest, lease()?);
    let order =
        Order { key: guarded.key, claim, credential_change, timeout: guarded.route.timeout };
    let exchange = Exchange {
        ledger: js::get(env, "LEDGER").unchecked_into(),
        shards: policy.shards,
        location_hint: policy.location_hint.clone(),
        binding: matches!(policy.origin, Origin::Binding).then(|| binding(env)),
        address: origin::address(&policy.origin, asked.address),
        method: asked.method.to_owned(),
        headers: request.headers(),
        body,
        room: RefCell::new(room),
        reply_max: guarded.route.reply_max,
        correlation_id: correlation_id.clone(),
    };
    let (respond, answer) = oneshot::channel();
    // Registered before anything is claimed: after a disconnect it would be too late, and only what is
    // registered lives on, for at most 30 s (developers.cloudflare.com, workers/runtime-apis/context).
    context.wait_until(async move {
        filter(&exchange, &order, |said| {
            // Nobody to answer is no reason to stop.
            let _ = respond.send(said);
        })
        .await;
    });
    match answer.await {
        Ok(Answer::Problem(problem, status)) => problem_response(&problem, status, &correlation_id),
        Ok(Answer::Heard(heard, status, expires)) => {
            let marks = answer::marks(status, expires, &correlation_id);
            heard_response(heard, &marks, context)
        }
        Ok(Answer::Stored(replay)) => stored_response(&replay, asked, &correlation_id),
        Err(oneshot::Canceled) => {
            let detail = "The filter failed while the request was under way, so it is not known whether it was executed. Send it again with the same key.";
            let problem = Problem::new(Code::OutcomeUnknown, detail).with_status(502);
            problem_response(&problem, Some(Status::Unknown), &correlation_id)
        }
    }
}

/// The request's body in memory; none where it has none.
async fn buffer(
    request: &web_sys::Request,
    limit: u64,
) -> Result<(Option<Uint8Array>, Room), Problem> {
    let Some(stream) = request.body() else { return Ok((None, Room::default())) };
    let length = origin::content_length(&request.headers());
    match body::read(Some(stream.into()), length, limit).await {
        Read::Whole(bytes, room) => Ok((Some(bytes), room)),
        Read::TooLarge(_) => {
            let detail = format!(
                "The body is larger than the {limit} bytes that this operation accepts. Nothing was forwarded."
            );
            Err(Problem::new(Code::RequestTooLarge, detail))
        }
        Read::NoRoom(_) => {
            let detail = "The filter is buffering as much as it can. Nothing was forwarded; send the request again with the same key.";
            Err(Problem::new(Code::StoreUnavailable, detail))
        }
        Read::Broken(_) => {
            let detail = "The request's body broke off. Nothing was forwarded; send the request again with the same key.";
            Err(Problem::new(Code::StoreUnavailable, detail))
        }
    }
}

fn heard_response(
    heard: origin::Answer,
    marks: &Marks,
    context: &Context,
) -> Result<Response, JsValue> {
    let from = &heard.response;
    let headers = Headers::new_with_headers(&from.headers())?;
    let forged: Vec<_> = names(&headers).into_iter().filter(|name| is_ours(name)).collect();
    for name in forged {
        headers.delete(&name)?;
    }
    let body = match heard.body {
        Body::None => JsValue::NULL,
        Body::Whole(bytes, _) => bytes.into(),
        Body::Streaming(chunks) => stream(from, chunks, context)?,
    };
    response(from.status(), &headers, &body, marks)
}

/// The rest of a body that was too large to buffer, what was read of it first.
fn stream(from: &Response, chunks: Vec<Uint8Array>, context: &Context) -> Result<JsValue, JsValue> {
    let Some(rest) = from.body() else { return Ok(JsValue::NULL) };
    if chunks.is_empty() {
        return Ok(rest.into());
    }
    let pipe = js::IdentityTransformStream::new()?;
    let readable = pipe.readable();
    context.wait_until(async move {
        // A break on either side reaches the other one as an aborted stream.
        if let Err(error) = pump(chunks, rest.unchecked_ref(), &pipe.writable()).await {
            worker::console_log!("a streamed reply broke off: {}", js::text(&error));
        }
    });
    Ok(readable)
}

async fn pump(
    chunks: Vec<Uint8Array>,
    rest: &js::Readable,
    to: &js::Writable,
) -> Result<(), JsValue> {
    let writer = to.get_writer()?;
    for chunk in chunks {
        JsFuture::from(writer.write(&chunk)?).await?;
    }
    writer.release_lock()?;
    JsFuture::from(rest.pipe_to(to)?).await?;
    Ok(())
}

fn stored_response(
    replay: &Replay<Uint8Array>,
    head: &Head<'_>,
    correlation_id: &str,
) -> Result<Response, JsValue> {
    let headers = Headers::new()?;
    let origin = (head.header)("origin");
    for (name, value) in &replay.reply.headers {
        // A grant to one browser origin is not one to another.
        if name != "access-control-allow-origin" || allows_origin(value, origin.as_deref()) {
            headers.append(name, value)?;
        }
    }
    let status = replay.reply.status;
    let mut marks = answer::marks(replay.how.into(), Some(replay.expires), correlation_id);
    if status >= 500 {
        // Payment clients would go on retrying a 500 that never changes.
        marks.push(("stripe-should-retry", "false".to_owned()));
    }
    let body = if has_no_body(status) { JsValue::NULL } else { (&replay.body).into() };
    response(status, &headers, &body, &marks)
}

fn refuse(problem: &Problem, correlation_id: &str) -> Result<Response, JsValue> {
    problem_response(problem, None, correlation_id)
}

fn problem_response(
    problem: &Problem,
    status: Option<Status>,
    correlation_id: &str,
) -> Result<Response, JsValue> {
    let marks = answer::problem_marks(problem, status, correlation_id);
    let body = JsValue::from_str(&problem.body(correlation_id));
    response(problem.status, &Headers::new()?, &body, &marks)
}

/// A problem that is not of the filter's own kinds (RFC 9457 section 4.2.1).
fn plain_problem(status: u16, title: &str) -> Result<Response, JsValue> {
    let body = format!(r#"{{"type":"about:blank","title":"{title}","status":{status}}}"#);
    let marks = vec![
        ("content-type", "application/problem+json".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    response(status, &Headers::new()?, &JsValue::from_str(&body), &marks)
}

/// Builds a response whose body goes out as it is: whatever Content-Encoding says has been done.
fn response(
    status: u16,
    headers: &Headers,
    body: &JsValue,
    marks: &Marks,
) -> Result<Response, JsValue> {
    for (name, value) in marks {
        headers.set(name, value)?;
    }
    let init = js::object(&[
        ("status", JsValue::from(status)),
        ("headers", headers.into()),
        ("encodeBody", JsValue::from_str("manual")),
    ]);
    Ok(js::NewResponse::new(body, &init)?.unchecked_into())
}

fn names(headers: &Headers) -> Vec<String> {
    let Ok(Some(entries)) = js_sys::try_iter(&headers.keys()) else { return Vec::new() };
    entries.flatten().filter_map(|name| name.as_string()).collect()
}

fn binding(env: &JsValue) -> js::Fetcher {
    js::get(env, "ORIGIN").unchecked_into()
}

/// A fresh token: 128 random bits.
fn lease() -> Result<Lease, JsValue> {
    let mut token = [0; 16];
    js::fill_random(&mut token)?;
    Ok(Lease(token))
}
