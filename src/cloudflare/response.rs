//! Builds the responses to clients: the origin's own, stored replies, problems.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use worker::Context;

use super::error::Error;
use super::headers::HeaderChanges;
use super::ledger_stub::LedgerBody;
use super::origin::{OriginResponse, ResponseBody};
use super::{SMALL, body_stream};
use crate::admission::Head;
use crate::answer::{self, Marks, Status, cors_marks};
use crate::config::route::Route;
use crate::lifecycle::event::Replay;
use crate::lifecycle::reply::{allows_origin, has_no_body, is_ours};
use crate::problem::Problem;
use crate::time::Timestamp;

pub(super) type Response = web_sys::Response;

/// The client that a response goes to.
pub(super) struct Client {
    /// The id that it sent, or the one that it was given.
    pub(super) correlation_id: String,
    /// Its Origin, which browsers send.
    origin: Option<String>,
    /// The CORS headers for that Origin.
    cors: Marks,
}

impl Client {
    pub(super) fn new(correlation_id: String, route: Option<&Route>, head: &Head<'_>) -> Self {
        let origin = (head.header)("origin");
        let cors = route.map_or_else(Vec::new, |route| cors_marks(&route.cors, origin.as_deref()));
        Self { correlation_id, origin, cors }
    }

    /// The origin's own response, with the filter's headers. `expires` says until when it is stored, if it is.
    pub(super) fn origin_response(
        &self,
        received: OriginResponse,
        status: Status,
        expires: Option<Timestamp>,
        context: &Context,
    ) -> Result<Response, Error> {
        let mut changes = HeaderChanges::default();
        for (name, _) in received.headers.iter().filter(|(name, _)| is_ours(name)) {
            changes.delete(name);
        }
        changes.replace_all(&answer::marks(status, expires, &self.correlation_id));
        let from = &received.response;
        let body = match received.body {
            ResponseBody::None => JsValue::NULL,
            ResponseBody::Whole(bytes, body) if bytes.byte_length() > SMALL => {
                body_stream::whole(bytes, body, expires.is_some(), context)?
            }
            ResponseBody::Whole(bytes, _) => bytes.into(),
            ResponseBody::Streaming(first, told) => {
                let length = received.headers.content_length();
                body_stream::resumed(from.body(), length, first, Some(told), context)?
            }
        };
        changes.respond(received.status, Some(&from.headers()), &body)
    }

    /// The stored reply; without a body where that is empty.
    pub(super) fn replay(
        &self,
        replay: &Replay,
        body: Option<LedgerBody>,
    ) -> Result<Response, Error> {
        let mut changes = HeaderChanges::default();
        for (name, value) in &replay.reply.headers {
            // What the origin allowed one browser origin it did not allow another.
            let granted = self.cors.is_empty() && allows_origin(value, self.origin.as_deref());
            if name != "access-control-allow-origin" || granted {
                changes.append(name, value);
            }
        }
        let status = replay.reply.status;
        self.add_cors(&mut changes);
        changes.replace_all(&answer::marks(
            replay.how.into(),
            Some(replay.expires),
            &self.correlation_id,
        ));
        if status >= 500 {
            // Payment clients would go on retrying a stored 500, which never changes.
            changes.replace_all(&vec![("stripe-should-retry", "false".to_owned())]);
        }
        let body = match body {
            _ if has_no_body(status) => JsValue::NULL,
            None => Uint8Array::new_with_length(0).into(),
            Some(LedgerBody::Whole(bytes)) => bytes.into(),
            // It passes without being read; the runtime knows its length.
            Some(LedgerBody::Streaming(rest)) => rest.into(),
        };
        changes.respond(status, None, &body)
    }

    /// A refusal.
    pub(super) fn problem(
        &self,
        problem: &Problem,
        status: Option<Status>,
    ) -> Result<Response, Error> {
        let mut changes = HeaderChanges::default();
        self.add_cors(&mut changes);
        changes.replace_all(&answer::problem_marks(problem, status, &self.correlation_id));
        let body = JsValue::from_str(&problem.body(&self.correlation_id));
        changes.respond(problem.status, None, &body)
    }

    fn add_cors(&self, changes: &mut HeaderChanges) {
        for (name, value) in &self.cors {
            // Appended: what the stored reply exposes stays exposed.
            changes.append(name, value);
        }
        if !self.cors.is_empty() {
            changes.append("vary", "Origin");
        }
    }
}

/// A problem that is told by its status alone (RFC 9457 section 4.2.1).
pub(super) fn plain_problem(status: u16, title: &str) -> Result<Response, Error> {
    let body = format!(r#"{{"type":"about:blank","title":"{title}","status":{status}}}"#);
    let marks = vec![
        ("content-type", "application/problem+json".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    response(status, &marks, &JsValue::from_str(&body))
}

/// A JSON document.
pub(super) fn json(document: &str) -> Result<Response, Error> {
    let marks = vec![
        ("content-type", "application/json".to_owned()),
        ("cache-control", "public, max-age=300".to_owned()),
    ];
    response(200, &marks, &JsValue::from_str(document))
}

/// A response of the filter's own.
pub(super) fn response(status: u16, marks: &Marks, body: &JsValue) -> Result<Response, Error> {
    let mut changes = HeaderChanges::default();
    changes.replace_all(marks);
    changes.respond(status, None, body)
}
