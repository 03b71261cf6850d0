//! Calls the origin, once per grant, following nothing, and reads its answer as bytes.

use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::Headers;

use super::body_buffer::{BufferedBody, Owner};
use super::body_reader::{self, Read};
use super::headers::HeaderLines;
use super::tasks::wait;
use super::{SMALL, bindings};
use crate::config::Origin;
use crate::config::route::Route;
use crate::filter;
use crate::lifecycle::outcome::{Facts, Failure};
use crate::lifecycle::reply::{Kept, Reply, has_no_body, is_sendable, kept_headers};
use crate::request::key::Key;
use crate::request::path::Address;
use crate::shadow::{Keeps, Passed};

/// The origin's response.
pub(super) struct OriginResponse {
    /// The response as the runtime gave it; its headers keep bytes that Rust strings cannot.
    pub(super) response: web_sys::Response,
    /// Its status.
    pub(super) status: u16,
    /// Its headers as far as strings can hold them.
    pub(super) headers: HeaderLines,
    /// Its body.
    pub(super) body: ResponseBody,
    /// The rules for keeping it.
    route: Rc<Route>,
}

/// The body of a response.
pub(super) enum ResponseBody {
    /// None, by its status.
    None,
    /// All of it, and its place in the buffer.
    Whole(Uint8Array, BufferedBody),
    /// What has been read; the response has the rest.
    Streaming(BufferedBody),
}

impl filter::OriginResponse for OriginResponse {
    fn facts(&self) -> Facts {
        facts(self.status, &self.headers)
    }

    fn reply(&self) -> Reply {
        let body = match &self.body {
            ResponseBody::None => Kept::Whole { bytes: 0 },
            ResponseBody::Whole(bytes, _) => Kept::Whole { bytes: bytes.byte_length().into() },
            ResponseBody::Streaming(_) => Kept::StatusOnly,
        };
        let headers = kept_headers(&self.headers.all(), &self.route.reply);
        Reply { status: self.status, headers, body }
    }
}

/// What an answer is judged by.
fn facts(status: u16, headers: &HeaderLines) -> Facts {
    Facts {
        status,
        says_when: headers.get("retry-after").is_some(),
        said: headers.get("idempotency-outcome").map(str::to_owned),
    }
}

/// What the head of an answer that passed tells.
pub(super) fn passed(response: &web_sys::Response, reply_max: u64) -> Passed {
    let headers = HeaderLines::of(&response.headers());
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
    requested: &Address,
    path: &str,
    key: &Key,
) -> Option<String> {
    let encoded = String::from(js_sys::encode_uri_component(key.as_str()));
    let path = path.replace("{key}", &encoded);
    let segments = path.split('?').next().unwrap_or_default().split('/');
    let climbs = segments.into_iter().any(|segment| matches!(segment, "." | ".."));
    (!climbs).then(|| format!("{}{path}", base(origin, requested)))
}

/// The address that a request is sent on to.
pub(super) fn address(origin: &Origin, requested: &Address) -> String {
    // Appended as text, never resolved: `//evil.example/x` stays a path.
    format!("{}{}", base(origin, requested), requested.target.as_text())
}

fn base(origin: &Origin, requested: &Address) -> String {
    match origin {
        Origin::Url { base } => base.clone(),
        Origin::Zone | Origin::Binding => format!("{}://{}", requested.scheme, requested.host),
    }
}

/// A request to the origin.
pub(super) struct OutgoingRequest<'a> {
    pub(super) address: &'a str,
    pub(super) method: &'a str,
    pub(super) headers: Headers,
    pub(super) body: JsValue,
}

/// Sends a request on, and reads the answer. `binding` is the service binding ORIGIN, if that is where
/// it goes; `free` is called once the origin has answered.
pub(super) async fn forward(
    sending: OutgoingRequest<'_>,
    binding: Option<&bindings::Fetcher>,
    route: &Rc<Route>,
    free: impl FnOnce(),
) -> Result<OriginResponse, Failure> {
    let OutgoingRequest { address, method, headers, body } = sending;
    let small = SMALL.min(u32::try_from(route.reply_max).unwrap_or(SMALL));
    let sent = bindings::forward(binding, address, method, &headers, &body, small);
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
    let headers = HeaderLines::read(answered.get(1).as_string().unwrap_or_default());
    let status = response.status();
    let body = read(&response, status, &headers, answered.get(2), route).await?;
    Ok(OriginResponse { response, status, headers, body, route: route.clone() })
}

/// The body; `small` is all of it where it was small to read.
async fn read(
    response: &web_sys::Response,
    status: u16,
    headers: &HeaderLines,
    small: JsValue,
    route: &Rc<Route>,
) -> Result<ResponseBody, Failure> {
    let owner = Owner::Reply { lasts: route.durations().lease };
    if let Ok(bytes) = small.dyn_into::<Uint8Array>() {
        return Ok(ResponseBody::Whole(bytes.clone(), BufferedBody::of(bytes, owner)));
    }
    if has_no_body(status) || !is_sendable(status) {
        return Ok(ResponseBody::None);
    }
    if headers.is_event_stream() {
        return Ok(ResponseBody::Streaming(BufferedBody::new(owner)));
    }
    let read = match headers.content_length() {
        Some(length) if length <= route.reply_max => {
            body_reader::read_known(response, length, owner).await
        }
        length => {
            let Some(stream) = response.body() else { return Ok(ResponseBody::None) };
            body_reader::read(stream.into(), length, route.reply_max, owner).await
        }
    };
    match read {
        Read::Whole(body) => {
            body.keep_for(route.durations().lease);
            Ok(ResponseBody::Whole(body.bytes().ok_or(Failure::Unknown)?, body))
        }
        Read::TooLarge(first) | Read::NoRoom(first) => Ok(ResponseBody::Streaming(first)),
        // Truncated or reset: the runtime raises it when the body is read to its end.
        Read::Broken(_) => Err(Failure::Unknown),
    }
}
