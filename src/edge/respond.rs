//! Builds responses: the origin's own, stored ones, problems.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Headers;
use worker::Context;

use super::alone::afterwards;
use super::body::Room;
use super::exchange::{Payload, SMALL};
use super::js;
use super::origin::{self, Body};
use crate::admission::Head;
use crate::answer::{self, Marks, Status, cors_marks};
use crate::ask::Replay;
use crate::problem::Problem;
use crate::record::Millis;
use crate::reply::{allows_origin, has_no_body, is_ours};
use crate::route::Route;

pub(super) type Response = web_sys::Response;

/// Whom an answer goes to.
pub(super) struct Client {
    /// Its correlation id, or the one it was given.
    pub(super) correlation_id: String,
    /// Its Origin, if it is a browser's page.
    origin: Option<String>,
    /// What such a page is allowed.
    cors: Marks,
}

impl Client {
    /// `route` is the one whose rules answer, where there is one.
    pub(super) fn new(correlation_id: String, route: Option<&Route>, head: &Head<'_>) -> Self {
        let origin = (head.header)("origin");
        let cors = route.map_or_else(Vec::new, |route| cors_marks(&route.cors, origin.as_deref()));
        Self { correlation_id, origin, cors }
    }

    /// The origin's own response, marked.
    pub(super) fn heard(
        &self,
        heard: origin::Answer,
        status: Status,
        expires: Option<Millis>,
        context: &Context,
    ) -> Result<Response, JsValue> {
        let from = &heard.response;
        let headers = Headers::new_with_headers(&from.headers())?;
        for name in names(&headers).iter().filter(|name| is_ours(name)) {
            headers.delete(name)?;
        }
        let body = match heard.body {
            Body::None => JsValue::NULL,
            Body::Whole(bytes, room) if bytes.byte_length() > SMALL => {
                room.keep_until_read();
                let pipe = js::FixedLengthStream::new(bytes.byte_length().into())?.into();
                through(pipe, vec![bytes], None, Some(room), context)
            }
            Body::Whole(bytes, _) => bytes.into(),
            Body::Streaming(chunks) => stream(from.body(), chunks, context)?,
        };
        let marks = answer::marks(status, expires, &self.correlation_id);
        response(from.status(), &headers, &body, &marks)
    }

    /// The stored reply.
    pub(super) fn stored(
        &self,
        replay: &Replay<Payload>,
        context: &Context,
    ) -> Result<Response, JsValue> {
        let headers = Headers::new()?;
        for (name, value) in &replay.reply.headers {
            // A grant to one browser origin is not one to another.
            let granted = self.cors.is_empty() && allows_origin(value, self.origin.as_deref());
            if name != "access-control-allow-origin" || granted {
                headers.append(name, value)?;
            }
        }
        let status = replay.reply.status;
        let mut marks =
            answer::marks(replay.how.into(), Some(replay.expires), &self.correlation_id);
        if status >= 500 {
            // Payment clients would go on retrying a 500 that never changes.
            marks.push(("stripe-should-retry", "false".to_owned()));
        }
        let body = match &replay.body {
            _ if has_no_body(status) => JsValue::NULL,
            Payload::Whole(bytes) => bytes.into(),
            Payload::Streaming(rest) => {
                let pipe = js::FixedLengthStream::new(replay.reply.body.bytes())?.into();
                through(pipe, Vec::new(), Some(rest.clone()), None, context)
            }
        };
        self.for_browsers(&headers)?;
        response(status, &headers, &body, &marks)
    }

    /// A refusal.
    pub(super) fn problem(
        &self,
        problem: &Problem,
        status: Option<Status>,
    ) -> Result<Response, JsValue> {
        let headers = Headers::new()?;
        self.for_browsers(&headers)?;
        let marks = answer::problem_marks(problem, status, &self.correlation_id);
        let body = JsValue::from_str(&problem.body(&self.correlation_id));
        response(problem.status, &headers, &body, &marks)
    }

    fn for_browsers(&self, headers: &Headers) -> Result<(), JsValue> {
        for (name, value) in &self.cors {
            // What the origin exposed stays exposed; whom it allowed has been left out.
            headers.append(name, value)?;
        }
        if self.cors.is_empty() { Ok(()) } else { headers.append("vary", "Origin") }
    }
}

/// A problem that is not of the filter's own kinds (RFC 9457 section 4.2.1).
pub(super) fn plain_problem(status: u16, title: &str) -> Result<Response, JsValue> {
    let body = format!(r#"{{"type":"about:blank","title":"{title}","status":{status}}}"#);
    let marks = vec![
        ("content-type", "application/problem+json".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    response(status, &Headers::new()?, &JsValue::from_str(&body), &marks)
}

/// A JSON document.
pub(super) fn json(document: &str) -> Result<Response, JsValue> {
    let marks = vec![
        ("content-type", "application/json".to_owned()),
        ("cache-control", "public, max-age=300".to_owned()),
    ];
    response(200, &Headers::new()?, &JsValue::from_str(document), &marks)
}

/// A stream of which some has been read: that first, then the rest.
pub(super) fn stream(
    rest: Option<web_sys::ReadableStream>,
    chunks: Vec<Uint8Array>,
    context: &Context,
) -> Result<JsValue, JsValue> {
    match rest {
        None => Ok(JsValue::NULL),
        Some(rest) if chunks.is_empty() => Ok(rest.into()),
        rest => Ok(through(js::IdentityTransformStream::new()?, chunks, rest, None, context)),
    }
}

/// What is read of it is these bytes, then the rest of a stream. `room` is what they take until the client
/// has read them.
fn through(
    pipe: js::IdentityTransformStream,
    first: Vec<Uint8Array>,
    rest: Option<web_sys::ReadableStream>,
    room: Option<Room>,
    context: &Context,
) -> JsValue {
    let readable = pipe.readable();
    afterwards(context, async move {
        // A break on either side reaches the other one as an aborted stream.
        if let Err(error) = pump(first, rest, &pipe.writable()).await {
            worker::console_log!("a streamed body broke off: {}", js::text(&error));
        }
        drop(room);
    });
    readable
}

/// Writes these bytes and then the rest of a stream, to its end.
async fn pump(
    first: Vec<Uint8Array>,
    rest: Option<web_sys::ReadableStream>,
    to: &js::Writable,
) -> Result<(), JsValue> {
    if !first.is_empty() {
        let writer = to.get_writer()?;
        for chunk in first {
            JsFuture::from(writer.write(&chunk)?).await?;
        }
        writer.release_lock()?;
    }
    let ended = match &rest {
        Some(rest) => rest.unchecked_ref::<js::Readable>().pipe_to(to)?,
        None => to.close()?,
    };
    JsFuture::from(ended).await.map(|_| ())
}

/// Builds a response whose body goes out as it is: whatever Content-Encoding says has been done.
pub(super) fn response(
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
