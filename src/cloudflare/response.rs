//! Builds responses: the origin's own, stored ones, problems.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::Headers;
use worker::Context;

use super::SMALL;
use super::bindings;
use super::body_buffer::Room;
use super::origin::{self, Body};
use super::tasks::{spawn, wait, wait_until};
use super::world::Payload;
use crate::admission::Head;
use crate::answer::{self, Marks, Status, cors_marks};
use crate::config::route::Route;
use crate::lifecycle::reply::{allows_origin, has_no_body, is_ours};
use crate::problem::Problem;
use crate::protocol::Replay;
use crate::time::Timestamp;

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
        expires: Option<Timestamp>,
        context: &Context,
    ) -> Result<Response, JsValue> {
        let mut changes = Changes::default();
        let mut n = 0;
        while let Some((name, _)) = heard.headers.line(n) {
            if is_ours(name) {
                changes.delete(name);
            }
            n += 1;
        }
        changes.set(&answer::marks(status, expires, &self.correlation_id));
        let from = &heard.response;
        let body = match heard.body {
            Body::None => JsValue::NULL,
            Body::Whole(bytes, room) if bytes.byte_length() > SMALL => {
                room.keep_until_read();
                let pipe = bindings::FixedLengthStream::new(bytes.byte_length().into())?.into();
                through(pipe, vec![bytes], None, Some(room), context)
            }
            Body::Whole(bytes, _) => bytes.into(),
            Body::Streaming(chunks) => stream(from.body(), chunks, context)?,
        };
        changes.respond(heard.status, Some(&from.headers()), &body)
    }

    /// The stored reply.
    pub(super) fn stored(&self, replay: &Replay<Payload>) -> Result<Response, JsValue> {
        let mut changes = Changes::default();
        for (name, value) in &replay.reply.headers {
            // A grant to one browser origin is not one to another.
            let granted = self.cors.is_empty() && allows_origin(value, self.origin.as_deref());
            if name != "access-control-allow-origin" || granted {
                changes.append(name, value);
            }
        }
        let status = replay.reply.status;
        self.for_browsers(&mut changes);
        changes.set(&answer::marks(replay.how.into(), Some(replay.expires), &self.correlation_id));
        if status >= 500 {
            // Payment clients would go on retrying a 500 that never changes.
            changes.set(&vec![("stripe-should-retry", "false".to_owned())]);
        }
        let body = match &replay.body {
            _ if has_no_body(status) => JsValue::NULL,
            Payload::Whole(bytes) => bytes.into(),
            // Its length is known, and it passes without being read.
            Payload::Streaming(rest) => rest.into(),
        };
        changes.respond(status, None, &body)
    }

    /// A refusal.
    pub(super) fn problem(
        &self,
        problem: &Problem,
        status: Option<Status>,
    ) -> Result<Response, JsValue> {
        let mut changes = Changes::default();
        self.for_browsers(&mut changes);
        changes.set(&answer::problem_marks(problem, status, &self.correlation_id));
        let body = JsValue::from_str(&problem.body(&self.correlation_id));
        changes.respond(problem.status, None, &body)
    }

    fn for_browsers(&self, changes: &mut Changes) {
        for (name, value) in &self.cors {
            // What the origin exposed stays exposed; whom it allowed has been left out.
            changes.append(name, value);
        }
        if !self.cors.is_empty() {
            changes.append("vary", "Origin");
        }
    }
}

/// A problem that is not of the filter's own kinds (RFC 9457 section 4.2.1).
pub(super) fn plain_problem(status: u16, title: &str) -> Result<Response, JsValue> {
    let body = format!(r#"{{"type":"about:blank","title":"{title}","status":{status}}}"#);
    let marks = vec![
        ("content-type", "application/problem+json".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    response(status, &marks, &JsValue::from_str(&body))
}

/// A JSON document.
pub(super) fn json(document: &str) -> Result<Response, JsValue> {
    let marks = vec![
        ("content-type", "application/json".to_owned()),
        ("cache-control", "public, max-age=300".to_owned()),
    ];
    response(200, &marks, &JsValue::from_str(document))
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
        rest => Ok(through(bindings::IdentityTransformStream::new()?, chunks, rest, None, context)),
    }
}

/// What is read of it is these bytes, then the rest of a stream. `room` is what they take until the client
/// has read them.
fn through(
    pipe: bindings::IdentityTransformStream,
    first: Vec<Uint8Array>,
    rest: Option<web_sys::ReadableStream>,
    room: Option<Room>,
    context: &Context,
) -> JsValue {
    let readable = pipe.readable();
    let pumped = async move {
        // A break on either side reaches the other one as an aborted stream.
        if let Err(error) = pump(first, rest, &pipe.writable()).await {
            bindings::log(&format!("a streamed body broke off: {}", bindings::text(&error)));
        }
        drop(room);
    };
    wait_until(context, spawn(pumped));
    readable
}

/// Writes these bytes and then the rest of a stream, to its end.
async fn pump(
    first: Vec<Uint8Array>,
    rest: Option<web_sys::ReadableStream>,
    to: &bindings::Writable,
) -> Result<(), JsValue> {
    if !first.is_empty() {
        let writer = to.get_writer()?;
        for chunk in first {
            wait(writer.write(&chunk)?).await?;
        }
        writer.release_lock()?;
    }
    let ended = match &rest {
        Some(rest) => rest.unchecked_ref::<bindings::Readable>().pipe_to(to)?,
        None => to.close()?,
    };
    wait(ended).await.map(|_| ())
}

/// A response of the filter's own.
pub(super) fn response(status: u16, marks: &Marks, body: &JsValue) -> Result<Response, JsValue> {
    let mut changes = Changes::default();
    changes.set(marks);
    changes.respond(status, None, body)
}

/// What is done to headers, in the form in which it crosses over to JavaScript.
#[derive(Default)]
pub(super) struct Changes {
    lines: String,
    /// A line end in a header would make two of it.
    is_wrong: bool,
}

impl Changes {
    /// One more line.
    pub(super) fn append(&mut self, name: &str, value: &str) {
        self.add("+", name, value);
    }

    /// One line instead of what there is of that name.
    pub(super) fn replace(&mut self, name: &str, value: &str) {
        self.add("=", name, value);
    }

    /// No line of that name.
    pub(super) fn delete(&mut self, name: &str) {
        self.add("-", name, "");
    }

    fn set(&mut self, marks: &Marks) {
        for (name, value) in marks {
            self.replace(name, value);
        }
    }

    fn add(&mut self, how: &str, name: &str, value: &str) {
        self.is_wrong |= name.contains('\n') || value.contains('\n');
        for part in [how, name, "\n", value, "\n"] {
            self.lines.push_str(part);
        }
    }

    /// A copy of headers with the changes.
    pub(super) fn of(&self, headers: &Headers) -> Result<Headers, JsValue> {
        bindings::changed(headers, self.sound()?)
    }

    fn sound(&self) -> Result<&str, JsValue> {
        if self.is_wrong {
            Err(JsValue::from_str("a header with a line end"))
        } else {
            Ok(&self.lines)
        }
    }

    fn respond(
        &self,
        status: u16,
        headers: Option<&Headers>,
        body: &JsValue,
    ) -> Result<Response, JsValue> {
        bindings::respond(status, headers, self.sound()?, body)
    }
}
