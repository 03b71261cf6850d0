//! Calls the origin, once per grant, following nothing, and reads its answer as bytes.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Headers;

use super::body::{self, Read, Room};
use super::js;
use crate::filter::Heard;
use crate::fingerprint::media_type;
use crate::outcome::Failure;
use crate::policy::Origin;
use crate::reply::{Kept, Reply, has_no_body, is_sendable, kept_headers};
use crate::target::Address;

/// The origin's answer.
pub(super) struct Answer {
    /// The response as the runtime gave it; its headers keep bytes that Rust strings cannot.
    pub(super) response: web_sys::Response,
    /// Its body.
    pub(super) body: Body,
}

/// The body of an answer.
pub(super) enum Body {
    /// None, by its status.
    None,
    /// All of it, in the instance's buffer.
    Whole(Uint8Array, #[expect(dead_code, reason = "held while the bytes are")] Room),
    /// What has been read, and the stream that has the rest.
    Streaming(Vec<Uint8Array>),
}

impl Heard for Answer {
    fn status(&self) -> u16 {
        self.response.status()
    }

    fn says_when(&self) -> bool {
        self.response.headers().has("retry-after").unwrap_or(false)
    }

    fn reply(&self) -> Reply {
        let body = match &self.body {
            Body::None => Kept::Whole { bytes: 0 },
            Body::Whole(bytes, _) => Kept::Whole { bytes: bytes.byte_length().into() },
            Body::Streaming(_) => Kept::StatusOnly,
        };
        Reply {
            status: self.status(),
            headers: kept_headers(&entries(&self.response.headers())),
            body,
        }
    }
}

/// The address that a request is sent on to.
pub(super) fn address(origin: &Origin, asked: &Address) -> String {
    let target = asked.target.as_text();
    match origin {
        // Appended as text, never resolved: `//evil.example/x` stays a path.
        Origin::Url { base } => format!("{base}{target}"),
        Origin::Zone | Origin::Binding => format!("{}://{}{target}", asked.scheme, asked.host),
    }
}

/// Sends a request on. `binding` is the service binding ORIGIN, if that is where it goes.
pub(super) async fn forward(
    address: &str,
    init: &JsValue,
    binding: Option<&js::Fetcher>,
    reply_max: u64,
) -> Result<Answer, Failure> {
    // Throws here mean that the runtime was never asked to send anything.
    let request =
        js::NewRequest::new(&JsValue::from_str(address), init).map_err(|_| Failure::NeverSent)?;
    // `encodeResponseBody` counts in the init of `fetch` only (lost when a Request is wrapped again):
    // with it gzip and br bodies are handed over as they came.
    let as_it_comes = js::object(&[("encodeResponseBody", JsValue::from_str("manual"))]);
    let sent = match binding {
        Some(binding) => binding.fetch(&request, &as_it_comes),
        None => js::fetch(&request, &as_it_comes),
    };
    let response = JsFuture::from(sent.map_err(|_| Failure::NeverSent)?)
        .await
        .map_err(|_| Failure::Unknown)?;
    read(response.unchecked_into(), reply_max).await
}

async fn read(response: web_sys::Response, reply_max: u64) -> Result<Answer, Failure> {
    let status = response.status();
    if has_no_body(status) || !is_sendable(status) {
        return Ok(Answer { response, body: Body::None });
    }
    let headers = response.headers();
    let of_type = headers.get("content-type").ok().flatten().map(|value| media_type(&value));
    if of_type.as_deref() == Some("text/event-stream") {
        return Ok(Answer { response, body: Body::Streaming(Vec::new()) });
    }
    let stream = response.body().map(JsValue::from);
    let body = match body::read(stream, content_length(&headers), reply_max).await {
        Read::Whole(bytes, room) => Body::Whole(bytes, room),
        Read::TooLarge(chunks) | Read::NoRoom(chunks) => Body::Streaming(chunks),
        // Truncated or reset: the runtime raises it when the body is read to its end.
        Read::Broken(_) => return Err(Failure::Unknown),
    };
    Ok(Answer { response, body })
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
