//! Calls the origin, once per grant, following nothing, and reads its answer as bytes.

use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Headers;

use super::body::{self, Of, Read, Room};
use super::js;
use crate::filter::Heard;
use crate::fingerprint::media_type;
use crate::key::Key;
use crate::outcome::{Facts, Failure};
use crate::policy::Origin;
use crate::reply::{Kept, Reply, has_no_body, is_sendable, kept_headers};
use crate::route::Route;
use crate::shadow::{Keeps, Passed};
use crate::target::Address;

/// The origin's answer.
pub(super) struct Answer {
    /// The response as the runtime gave it; its headers keep bytes that Rust strings cannot.
    pub(super) response: web_sys::Response,
    /// Its body.
    pub(super) body: Body,
    /// The rules for keeping it.
    route: Rc<Route>,
}

/// The body of an answer.
pub(super) enum Body {
    /// None, by its status.
    None,
    /// All of it, and its share of the instance's buffer.
    Whole(Uint8Array, Room),
    /// What has been read, and the stream that has the rest.
    Streaming(Vec<Uint8Array>),
}

impl Heard for Answer {
    fn facts(&self) -> Facts {
        facts(&self.response)
    }

    fn reply(&self) -> Reply {
        let body = match &self.body {
            Body::None => Kept::Whole { bytes: 0 },
            Body::Whole(bytes, _) => Kept::Whole { bytes: bytes.byte_length().into() },
            Body::Streaming(_) => Kept::StatusOnly,
        };
        let headers = kept_headers(&entries(&self.response.headers()), &self.route.reply);
        Reply { status: self.response.status(), headers, body }
    }
}

/// What an answer is judged by.
pub(super) fn facts(response: &web_sys::Response) -> Facts {
    let headers = response.headers();
    Facts {
        status: response.status(),
        says_when: headers.has("retry-after").unwrap_or(false),
        said: headers.get("idempotency-outcome").ok().flatten(),
    }
}

/// What the headers of an answer that passed tell.
pub(super) fn passed(response: &web_sys::Response, reply_max: u64) -> Passed {
    let headers = response.headers();
    let too_large = content_length(&headers).is_some_and(|length| length > reply_max);
    let keeps = if too_large || is_event_stream(&headers) { Keeps::Status } else { Keeps::Reply };
    Passed { facts: facts(response), keeps }
}

fn is_event_stream(headers: &Headers) -> bool {
    let of_type = headers.get("content-type").ok().flatten().map(|value| media_type(&value));
    of_type.as_deref() == Some("text/event-stream")
}

/// What `fetch` is asked to send. A redirect is a reply to keep: following it would send a body twice.
pub(super) fn init(method: &str, headers: &Headers, body: JsValue) -> JsValue {
    js::object(&[
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

/// Sends a request on, and reads the answer. `binding` is the service binding ORIGIN, if that is where
/// it goes; `free` is called once the origin has answered.
pub(super) async fn forward(
    address: &str,
    init: JsValue,
    binding: Option<&js::Fetcher>,
    route: &Rc<Route>,
    free: impl FnOnce(),
) -> Result<Answer, Failure> {
    let sent = send(address, &init, binding).map_err(|_| Failure::NeverSent)?;
    drop(init);
    let response = JsFuture::from(sent).await;
    free();
    read(response.map_err(|_| Failure::Unknown)?.unchecked_into(), route).await
}

/// A throw in here means that the runtime was never asked to send anything.
fn send(
    address: &str,
    init: &JsValue,
    binding: Option<&js::Fetcher>,
) -> Result<js_sys::Promise, JsValue> {
    let request = js::NewRequest::new(&JsValue::from_str(address), init)?;
    // `encodeResponseBody` counts in the init of `fetch` only (lost when a Request is wrapped again):
    // with it gzip and br bodies are handed over as they came.
    let as_it_comes = js::object(&[("encodeResponseBody", JsValue::from_str("manual"))]);
    match binding {
        Some(binding) => binding.fetch(&request, &as_it_comes),
        None => js::fetch(&request, &as_it_comes),
    }
}

async fn read(response: web_sys::Response, route: &Rc<Route>) -> Result<Answer, Failure> {
    let status = response.status();
    if has_no_body(status) || !is_sendable(status) {
        return Ok(Answer { response, body: Body::None, route: route.clone() });
    }
    let headers = response.headers();
    if is_event_stream(&headers) {
        return Ok(Answer { response, body: Body::Streaming(Vec::new()), route: route.clone() });
    }
    let Some(stream) = response.body() else {
        return Ok(Answer { response, body: Body::None, route: route.clone() });
    };
    let length = content_length(&headers);
    let of = Of::Reply { lasts: route.terms().lease };
    let body = match body::read(stream.into(), length, route.reply_max, of).await {
        Read::Whole(room) => {
            room.keep_for(route.terms().lease);
            Body::Whole(room.bytes().ok_or(Failure::Unknown)?, room)
        }
        Read::TooLarge(chunks) | Read::NoRoom(chunks) => Body::Streaming(chunks),
        // Truncated or reset: the runtime raises it when the body is read to its end.
        Read::Broken(_) => return Err(Failure::Unknown),
    };
    Ok(Answer { response, body, route: route.clone() })
}

/// Content-Length in bytes, where it is there and a number.
pub(super) fn content_length(headers: &Headers) -> Option<u64> {
    headers.get("content-length").ok().flatten()?.trim().parse().ok()
}

/// All headers, names in lower case. Repeated lines come joined by a comma, Set-Cookie apart.
fn entries(headers: &Headers) -> Vec<(String, String)> {
    let Ok(Some(entries)) = js_sys::try_iter(headers) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pair: Array = entry.unchecked_into();
            Some((pair.get(0).as_string()?, pair.get(1).as_string()?))
        })
        .collect()
}
