//! Builds the responses to clients: the origin's own, stored replies, problems.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use worker::Context;

use super::error::Error;
use super::headers::HeaderChanges;
use super::ledger_stub::LedgerBody;
use super::origin::{OriginResponse, ResponseBody};
use super::{SMALL, body_stream};
use crate::admission::{Guarded, Head, speaks_repeatability};
use crate::answer::{self, Accepted, Marks, Status, replay_marks, replayed_headers};
use crate::config::route::{Doubtful, Route};
use crate::cors::Cors;
use crate::lifecycle::event::Replay;
use crate::lifecycle::reply::{has_no_body, is_ours};
use crate::problem::{Code, Problem};
use crate::time::Timestamp;

pub(super) type Response = web_sys::Response;

/// The client that a response goes to.
pub(super) struct Client {
    /// The id that it sent, or the one that it was given.
    pub(super) correlation_id: String,
    /// What its page may read, where it is one.
    cors: Cors,
    /// Whether it speaks the dialect of OASIS Repeatable Requests.
    speaks_repeatability: bool,
    /// What its route does with a doubt.
    pub(super) on_in_doubt: Doubtful,
}

impl Client {
    pub(super) fn new(correlation_id: String, route: Option<&Route>, head: &Head<'_>) -> Self {
        let allowed = route.map(|route| route.cors.as_slice()).unwrap_or_default();
        Self {
            correlation_id,
            speaks_repeatability: route.is_some_and(|route| speaks_repeatability(route, head)),
            cors: Cors::new(allowed, (head.header)("origin")),
            on_in_doubt: route.map_or(Doubtful::Hold, |route| route.on_in_doubt),
        }
    }

    /// That of a guarded request. Its body has been looked at where the key may lie in it, so it is certain where the key is
    /// from.
    pub(super) fn of(guarded: &Guarded, head: &Head<'_>) -> Self {
        let client = Self::new(guarded.correlation_id.clone(), Some(&guarded.route), head);
        Self { speaks_repeatability: guarded.speaks_repeatability(), ..client }
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
        changes.append_all(&self.cors.exposed());
        changes.replace_all(&answer::marks(status, expires, &self.correlation_id));
        self.mark_result(&mut changes, None);
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
        let reply = &replay.reply;
        for (name, value) in replayed_headers(replay) {
            if self.cors.replays(name, &reply.headers) {
                changes.append(name, value);
            }
        }
        changes.append_all(&self.cors.marks());
        changes.replace_all(&replay_marks(replay, &self.correlation_id));
        self.mark_result(&mut changes, None);
        let status = reply.status;
        let body = match body {
            _ if has_no_body(status) => JsValue::NULL,
            None => Uint8Array::new_with_length(0).into(),
            Some(LedgerBody::Whole(bytes)) => bytes.into(),
            // It passes without being read; the runtime knows its length.
            Some(LedgerBody::Streaming(rest)) => rest.into(),
        };
        changes.respond(status, None, &body)
    }

    /// In place of what the origin says of it: it may have seen a repeated request as a first one.
    fn mark_result(&self, changes: &mut HeaderChanges, refusal: Option<Code>) {
        if self.speaks_repeatability {
            let (name, value) = answer::repeatability_result(refusal);
            changes.replace(name, &value);
        }
    }

    /// The operation runs.
    pub(super) fn accepted(&self, accepted: &Accepted, location: &str) -> Result<Response, Error> {
        let mut changes = HeaderChanges::default();
        changes.append_all(&self.cors.marks());
        // Beside what CORS adds to it.
        changes.append("vary", "Prefer");
        changes.replace_all(&answer::accepted_marks(accepted, location, &self.correlation_id));
        self.mark_result(&mut changes, None);
        let body = answer::accepted_body(location, &self.correlation_id);
        changes.respond(202, None, &JsValue::from_str(&body))
    }

    /// A refusal.
    pub(super) fn problem(
        &self,
        problem: &Problem,
        status: Option<Status>,
    ) -> Result<Response, Error> {
        let mut changes = HeaderChanges::default();
        changes.append_all(&self.cors.marks());
        changes.replace_all(&answer::problem_marks(problem, status, &self.correlation_id));
        self.mark_result(&mut changes, Some(problem.code));
        let body = JsValue::from_str(&problem.body(&self.correlation_id));
        changes.respond(problem.status, None, &body)
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
