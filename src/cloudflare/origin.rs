//! Calls the origin, once for each granted claim, and reads its response as bytes. Redirects are not followed: a redirect is
//! a reply to keep, and following one would send the body twice.

use std::cell::Cell;
use std::rc::Rc;

use futures_channel::oneshot::{self, Receiver, Sender};
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
use crate::filter::{self, StreamEnd};
use crate::lifecycle::condition::{Body, Coding, Condition, DECODED_MAX};
use crate::lifecycle::outcome::{Facts, Failure};
use crate::lifecycle::redirect;
use crate::lifecycle::reply::{Kept, Reply, has_no_body, is_sendable, kept_headers};
use crate::request::key::Key;
use crate::request::path::Address;
use crate::shadow::{Keeps, Passed};

/// The origin's response.
pub(super) struct OriginResponse {
    /// As the runtime gave it. Its headers keep bytes that are not UTF-8, which Rust's strings cannot.
    pub(super) response: web_sys::Response,
    pub(super) status: u16,
    /// What it is judged by.
    facts: Facts,
    pub(super) headers: HeaderLines,
    pub(super) body: ResponseBody,
    /// Tells how the body ends, where it is streamed.
    pub(super) stream_end: Cell<Option<Receiver<StreamEnd>>>,
    /// The route whose rules say what of it is kept.
    route: Rc<Route>,
}

/// The body of a response.
pub(super) enum ResponseBody {
    /// A response of this status has none.
    None,
    /// All of it, and its entry in the buffer.
    Whole(Uint8Array, BufferedBody),
    /// It is too large to be kept, or made to be streamed: what has been read of it, and who is told how it ends. The
    /// response has the rest.
    Streaming(BufferedBody, Sender<StreamEnd>),
}

impl filter::OriginResponse for OriginResponse {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn reply(&self) -> Reply {
        let body = match &self.body {
            ResponseBody::None => Kept::Whole { bytes: 0 },
            ResponseBody::Whole(bytes, _) => Kept::Whole { bytes: bytes.byte_length().into() },
            ResponseBody::Streaming(..) => Kept::StatusOnly,
        };
        let headers = kept_headers(
            &self.headers.iter().collect::<Vec<_>>(),
            &self.route.reply.drop,
            &self.route.reply.keep,
        );
        Reply { status: self.status, headers, body }
    }

    fn is_streamed(&self) -> bool {
        matches!(self.body, ResponseBody::Streaming(..))
    }
}

impl OriginResponse {
    /// All of its body, where it is kept.
    pub(super) fn bytes(&self) -> Option<&Uint8Array> {
        match &self.body {
            ResponseBody::Whole(bytes, _) => Some(bytes),
            ResponseBody::None | ResponseBody::Streaming(..) => None,
        }
    }
}

/// What tells whether the origin executed the request.
fn facts(
    status: u16,
    headers: &HeaderLines,
    body: Body<'_>,
    purpose: Purpose<'_>,
    route: &Route,
) -> Facts {
    let header = |name: &str| headers.get(name).map(str::to_owned);
    let (leads_back, is_cached, is_absent) = match purpose {
        Purpose::Execute(address) => {
            let location = || headers.get("location");
            let is_redirect = matches!(status, 307 | 308);
            let leads_back =
                is_redirect && location().is_some_and(|to| redirect::leads_back(address, to));
            (leads_back, false, true)
        }
        Purpose::Probe => {
            let absent = route.probe_absent.as_ref();
            let is_absent = absent.is_none_or(|asked| asked.fits(header, body) == Ok(true));
            (false, is_cached(headers), is_absent)
        }
    };
    let origin_outcome = header("idempotency-outcome");
    let when = route.outcome.when(status, header, body);
    Facts { status, leads_back, origin_outcome, when, is_cached, is_absent }
}

/// Whether a cache gave an answer (RFC 9111 section 5.1; developers.cloudflare.com, cache/concepts/cache-responses).
fn is_cached(headers: &HeaderLines) -> bool {
    let is_fresh = |status: &str| {
        let status = status.trim();
        status.eq_ignore_ascii_case("dynamic") || status.eq_ignore_ascii_case("bypass")
    };
    headers.get("age").is_some()
        || headers.get("cf-cache-status").is_some_and(|status| !is_fresh(status))
}

/// The text of a body that a condition asks for, decoded; none where it cannot be read.
async fn text(body: &ResponseBody, headers: &HeaderLines) -> Option<String> {
    let bytes = match body {
        ResponseBody::None => return Some(String::new()),
        ResponseBody::Whole(bytes, _) => bytes,
        ResponseBody::Streaming(..) => return None,
    };
    let decoded = |format| async move {
        wait(bindings::decoded(bytes, format, DECODED_MAX)).await.ok()?.dyn_into().ok()
    };
    let bytes: Uint8Array = match Coding::of(headers.get("content-encoding")) {
        Coding::Plain => bytes.clone(),
        Coding::Gzip => decoded("gzip").await?,
        Coding::Deflate => decoded("deflate").await?,
        Coding::Other => return None,
    };
    let is_small = bytes.byte_length() <= DECODED_MAX;
    is_small.then(|| String::from_utf8(bytes.to_vec()).ok())?
}

/// The same of a response that passed unread, on a route in shadow mode.
pub(super) fn passed(response: &web_sys::Response, address: &Address, route: &Route) -> Passed {
    let headers = HeaderLines::of(&response.headers());
    let too_large = headers.content_length().is_some_and(|length| length > route.reply.max);
    let keeps =
        if too_large || is_streamed(&headers, route) { Keeps::Status } else { Keeps::Reply };
    let purpose = Purpose::Execute(address);
    Passed { facts: facts(response.status(), &headers, Body::NotRead, purpose, route), keeps }
}

/// Whether a response is made to be streamed.
fn is_streamed(headers: &HeaderLines, route: &Route) -> bool {
    headers.get("content-type").is_some_and(|name| route.reply.stream.has(name))
}

/// The options of a call of `fetch`.
pub(super) fn init(method: &str, headers: &Headers, body: JsValue) -> JsValue {
    bindings::object(&[
        ("method", JsValue::from_str(method)),
        ("headers", headers.into()),
        ("body", body),
        ("redirect", JsValue::from_str("manual")),
    ])
    .into()
}

/// The address at which the origin is asked what became of a key. None where the key would be a dot segment, which URL
/// parsers remove together with the segment before it (RFC 3986 section 5.2.4).
pub(super) fn probe_address(
    origin: &Origin,
    requested: &Address,
    path: &str,
    key: &Key,
) -> Option<String> {
    let encoded = String::from(js_sys::encode_uri_component(key.as_str()));
    let path = path.replace("{key}", &encoded);
    let segments = path.split('?').next().unwrap_or_default().split('/');
    let is_removed = segments.into_iter().any(|segment| matches!(segment, "." | ".."));
    (!is_removed).then(|| format!("{}{path}", base(origin, requested)))
}

/// The address that a guarded request is forwarded to. Path and query are appended as text and never resolved, so that
/// `//evil.example/x` stays a path.
pub(super) fn address(origin: &Origin, requested: &Address) -> String {
    format!("{}{}", base(origin, requested), requested.target.as_text())
}

/// Scheme, host and port that requests are forwarded to.
pub(super) fn base(origin: &Origin, requested: &Address) -> String {
    match origin {
        Origin::Url { base } => base.clone(),
        Origin::Zone | Origin::Binding => format!("{}://{}", requested.scheme, requested.host),
    }
}

pub(super) struct OutgoingRequest<'a> {
    pub(super) address: &'a str,
    pub(super) method: &'a str,
    pub(super) headers: Headers,
    pub(super) body: JsValue,
    pub(super) purpose: Purpose<'a>,
}

/// What a request to the origin is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// The operation, which the client sent to this address.
    Execute(&'a Address),
    /// To learn what became of one.
    Probe,
}

impl Purpose<'_> {
    /// Whether a route looks into the body of such an answer; with any status, if none is given.
    pub(super) fn reads_body(self, route: &Route, status: Option<u16>) -> bool {
        let asks_absent = || {
            let absent = route.probe_absent.as_ref();
            status.is_none_or(|status| status == 404) && absent.is_some_and(Condition::reads_body)
        };
        route.outcome.reads_body(status) || matches!(self, Self::Probe) && asks_absent()
    }
}

/// Forwards a request and reads the response. `binding` is the service binding ORIGIN, if requests go there. `free` is
/// called as soon as the head of the response is here.
pub(super) async fn forward(
    request: OutgoingRequest<'_>,
    binding: Option<&bindings::Fetcher>,
    route: &Rc<Route>,
    free: impl FnOnce(),
) -> Result<OriginResponse, Failure> {
    let OutgoingRequest { address, method, headers, body, purpose } = request;
    let small = SMALL.min(u32::try_from(route.reply.max).unwrap_or(SMALL));
    let streams = route.reply.stream.as_text();
    let sent = bindings::forward(binding, address, method, &headers, &body, small, streams);
    let has_body = !body.is_null();
    drop(body);
    let answered = wait(sent).await;
    free();
    // Error texts prove nothing: the runtime words a refused connection like a lost one. Only a request that cannot even be
    // built was never sent.
    let Ok(answered) = answered else {
        let sendable = bindings::is_sendable(address, method, &headers, has_body);
        return Err(if sendable { Failure::Lost } else { Failure::NeverSent });
    };
    let answered: Array = answered.unchecked_into();
    let response: web_sys::Response = answered.get(0).unchecked_into();
    let headers = HeaderLines::read(answered.get(1).as_string().unwrap_or_default());
    if answered.get(2).is_null() {
        return Err(Failure::Truncated);
    }
    let status = response.status();
    let (told, stream_end) = oneshot::channel();
    let body = read(&response, status, &headers, answered.get(2), route, told).await?;
    let facts = if purpose.reads_body(route, Some(status)) {
        let text = text(&body, &headers).await;
        let seen = text.as_deref().map_or(Body::Unreadable, Body::Text);
        facts(status, &headers, seen, purpose, route)
    } else {
        facts(status, &headers, Body::NotRead, purpose, route)
    };
    let stream_end = Cell::new(Some(stream_end));
    let route = route.clone();
    Ok(OriginResponse { response, status, facts, headers, body, stream_end, route })
}

/// The body. `small` is all of it, where the call that forwarded the request has read it already.
async fn read(
    response: &web_sys::Response,
    status: u16,
    headers: &HeaderLines,
    small: JsValue,
    route: &Rc<Route>,
    told: Sender<StreamEnd>,
) -> Result<ResponseBody, Failure> {
    let owner = Owner::Reply { lasts: route.durations().lease };
    if let Ok(bytes) = small.dyn_into::<Uint8Array>() {
        return Ok(ResponseBody::Whole(bytes.clone(), BufferedBody::of(bytes, owner)));
    }
    if has_no_body(status) || !is_sendable(status) {
        return Ok(ResponseBody::None);
    }
    if is_streamed(headers, route) {
        return Ok(ResponseBody::Streaming(BufferedBody::new(owner), told));
    }
    let read = match headers.content_length() {
        Some(length) if length <= route.reply.max => {
            body_reader::read_known(response, length, owner).await
        }
        length => {
            let Some(stream) = response.body() else { return Ok(ResponseBody::None) };
            body_reader::read(&stream, length, route.reply.max, owner).await
        }
    };
    match read {
        Read::Whole(body) => {
            body.keep_for(route.durations().lease);
            Ok(ResponseBody::Whole(body.bytes().ok_or(Failure::Truncated)?, body))
        }
        Read::TooLarge(first) | Read::NoRoom(first) => Ok(ResponseBody::Streaming(first, told)),
        // Where a body is truncated or its connection reset, the runtime rejects the read of its end.
        Read::Broken(_) | Read::TooSlow => Err(Failure::Truncated),
    }
}
