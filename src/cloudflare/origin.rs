//! Calls the origin, once per grant, following nothing, and reads its answer as bytes.

use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::Headers;

use super::SMALL;
use super::bindings;
use super::body_buffer::{BufferedBody, Owner};
use super::body_reader::{self, Read};
use super::tasks::wait;
use crate::config::Origin;
use crate::config::route::Route;
use crate::filter::OriginResponse;
use crate::lifecycle::outcome::{Facts, Failure};
use crate::lifecycle::reply::{Kept, Reply, has_no_body, is_sendable, kept_headers};
use crate::request::fingerprint::media_type;
use crate::request::key::Key;
use crate::request::path::Address;
use crate::shadow::{Keeps, Passed};

/// The origin's answer.
pub(super) struct Answer {
    /// The response as the runtime gave it; its headers keep bytes that Rust strings cannot.
    pub(super) response: web_sys::Response,
    /// Its status.
    pub(super) status: u16,
    /// Its headers as far as strings can hold them.
    pub(super) headers: Lines,
    /// Its body.
    pub(super) body: Body,
    /// The rules for keeping it.
    route: Rc<Route>,
}

/// The body of an answer.
pub(super) enum Body {
    /// None, by its status.
    None,
    /// All of it, and its place in the buffer.
    Whole(Uint8Array, BufferedBody),
    /// What has been read; the response has the rest.
    Streaming(BufferedBody),
}

impl OriginResponse for Answer {
    fn facts(&self) -> Facts {
        facts(self.status, &self.headers)
    }

    fn reply(&self) -> Reply {
        let body = match &self.body {
            Body::None => Kept::Whole { bytes: 0 },
            Body::Whole(bytes, _) => Kept::Whole { bytes: bytes.byte_length().into() },
            Body::Streaming(_) => Kept::StatusOnly,
        };
        let headers =
            kept_headers(&self.headers.all(), &self.route.reply.drop, &self.route.reply.keep);
        Reply { status: self.status, headers, body }
    }
}

/// Headers, names in lower case. Repeated lines come joined by a comma, Set-Cookie apart.
pub(super) struct Lines {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn of(headers: &Headers) -> Self {
        Self::read(bindings::lines(headers))
    }

    /// A name, a line end, its value, a line end, and so on.
    fn read(text: String) -> Self {
        let mut ends = Vec::new();
        for (at, byte) in text.bytes().enumerate() {
            if byte == b'\n' {
                ends.push(at);
            }
        }
        Self { text, ends }
    }

    /// The first of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut n = 0;
        while let Some((known, value)) = self.line(n) {
            if known == name {
                return Some(value);
            }
            n += 1;
        }
        None
    }

    /// Name and value of the nth one.
    pub(super) fn line(&self, n: usize) -> Option<(&str, &str)> {
        let from = if n == 0 { 0 } else { self.ends.get(2 * n - 1)? + 1 };
        let (name, value) = (*self.ends.get(2 * n)?, *self.ends.get(2 * n + 1)?);
        Some((self.text.get(from..name)?, self.text.get(name + 1..value)?))
    }

    fn all(&self) -> Vec<(&str, &str)> {
        let mut all = Vec::new();
        while let Some(line) = self.line(all.len()) {
            all.push(line);
        }
        all
    }

    /// Content-Length in bytes, where it is there, a number, and what ends the body (RFC 9112 section 6.3:
    /// not beside a Transfer-Encoding).
    pub(super) fn content_length(&self) -> Option<u64> {
        if self.get("transfer-encoding").is_some() {
            return None;
        }
        self.get("content-length")?.trim().parse().ok()
    }

    fn is_event_stream(&self) -> bool {
        self.get("content-type").is_some_and(|value| media_type(value) == "text/event-stream")
    }
}

/// What an answer is judged by.
fn facts(status: u16, headers: &Lines) -> Facts {
    Facts {
        status,
        has_retry_after: headers.get("retry-after").is_some(),
        origin_outcome: headers.get("idempotency-outcome").map(str::to_owned),
    }
}

/// What the head of an answer that passed tells.
pub(super) fn passed(response: &web_sys::Response, reply_max: u64) -> Passed {
    let headers = Lines::of(&response.headers());
    let too_large = headers.content_length().is_some_and(|length| length > reply_max);
    let keeps = if too_large || headers.is_event_stream() { Keeps::Status } else { Keeps::Reply };
    Passed { facts: facts(response.status(), &headers), keeps }
}

/// What `fetch` is asked to send. A redirect is a reply to keep: following it would send a body twice.
pub(super) fn init(method: &str, headers: &Headers, body: JsValue) -> JsValue {
    bindings::object(&[
        ("method", JsValue::from_str(method)),
        ("headers", headers.into()),
        ("body", body),
        ("redirect", JsValue::from_str("manual")),
    ])
    .into()
}

/// The address at which the origin tells what became of a key, which is one path segment or query value;
/// none for the keys that no URL can hold as a segment: whoever reads `.` or `..` walks up the path.
pub(super) fn probe_address(
    origin: &Origin,
    asked: &Address,
    path: &str,
    key: &Key,
) -> Option<String> {
    let encoded = String::from(js_sys::encode_uri_component(key.as_str()));
    let path = path.replace("{key}", &encoded);
    let segments = path.split('?').next().unwrap_or_default().split('/');
    let climbs = segments.into_iter().any(|segment| matches!(segment, "." | ".."));
    (!climbs).then(|| format!("{}{path}", base(origin, asked)))
}

/// The address that a request is sent on to.
pub(super) fn address(origin: &Origin, asked: &Address) -> String {
    // Appended as text, never resolved: `//evil.example/x` stays a path.
    format!("{}{}", base(origin, asked), asked.target.as_text())
}

fn base(origin: &Origin, asked: &Address) -> String {
    match origin {
        Origin::Url { base } => base.clone(),
        Origin::Zone | Origin::Binding => format!("{}://{}", asked.scheme, asked.host),
    }
}

/// A request to the origin.
pub(super) struct Sending<'a> {
    pub(super) address: &'a str,
    pub(super) method: &'a str,
    pub(super) headers: Headers,
    pub(super) body: JsValue,
}

/// Sends a request on, and reads the answer. `binding` is the service binding ORIGIN, if that is where
/// it goes; `free` is called once the origin has answered.
pub(super) async fn forward(
    sending: Sending<'_>,
    binding: Option<&bindings::Fetcher>,
    route: &Rc<Route>,
    free: impl FnOnce(),
) -> Result<Answer, Failure> {
    let Sending { address, method, headers, body } = sending;
    let easy = SMALL.min(u32::try_from(route.reply.max).unwrap_or(SMALL));
    let sent = bindings::forward(binding, address, method, &headers, &body, easy);
    let has_body = !body.is_null();
    drop(body);
    let answered = wait(sent).await;
    free();
    let Ok(answered) = answered else {
        let sendable = bindings::is_sendable(address, method, &headers, has_body);
        return Err(if sendable { Failure::Unknown } else { Failure::NeverSent });
    };
    let answered: Array = answered.unchecked_into();
    let response: web_sys::Response = answered.get(0).unchecked_into();
    let headers = Lines::read(answered.get(1).as_string().unwrap_or_default());
    let status = response.status();
    let body = read(&response, status, &headers, answered.get(2), route).await?;
    Ok(Answer { response, status, headers, body, route: route.clone() })
}

/// The body; `easy` is all of it where it was easy to read.
async fn read(
    response: &web_sys::Response,
    status: u16,
    headers: &Lines,
    easy: JsValue,
    route: &Rc<Route>,
) -> Result<Body, Failure> {
    let owner = Owner::Reply { lasts: route.durations().lease };
    if let Ok(bytes) = easy.dyn_into::<Uint8Array>() {
        return Ok(Body::Whole(bytes.clone(), BufferedBody::of(bytes, owner)));
    }
    if has_no_body(status) || !is_sendable(status) {
        return Ok(Body::None);
    }
    if headers.is_event_stream() {
        return Ok(Body::Streaming(BufferedBody::new(owner)));
    }
    let read = match headers.content_length() {
        Some(length) if length <= route.reply.max => {
            body_reader::read_known(response, length, owner).await
        }
        length => {
            let Some(stream) = response.body() else { return Ok(Body::None) };
            body_reader::read(stream.into(), length, route.reply.max, owner).await
        }
    };
    match read {
        Read::Whole(body) => {
            body.keep_for(route.durations().lease);
            Ok(Body::Whole(body.bytes().ok_or(Failure::Unknown)?, body))
        }
        Read::TooLarge(first) | Read::NoRoom(first) => Ok(Body::Streaming(first)),
        // Truncated or reset: the runtime raises it when the body is read to its end.
        Read::Broken(_) => Err(Failure::Unknown),
    }
}
