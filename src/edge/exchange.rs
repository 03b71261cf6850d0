//! The world of one guarded request: its Ledger, its origin, its clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Date, Promise, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Headers;

use super::body::{Room, message};
use super::journal::Course;
use super::origin::{self, Answer, Body};
use super::{faults, js};
use crate::admission::{Guarded, KEY_HEADER};
use crate::ask::{Ask, Told};
use crate::filter::{Reached, Unreachable, World};
use crate::key::{self, KeyId};
use crate::outcome::Failure;
use crate::policy::Policy;
use crate::record::{Millis, Run};
use crate::route::ForwardKey;
use crate::source::Source;
use crate::target::Address;
use crate::wire::{self, Addressed, PREFIX, Prefix, VERSION};

/// One guarded request on its way.
pub(super) struct Exchange {
    /// The namespace LEDGER.
    pub(super) ledger: js::Namespace,
    /// The service binding ORIGIN, if that is where requests go.
    pub(super) binding: Option<js::Fetcher>,
    /// The address to send on to.
    pub(super) address: String,
    /// The guarded request.
    pub(super) guarded: Rc<Guarded>,
    /// Where it was asked for; a probe goes to the same host.
    pub(super) asked: Address,
    /// Method of the request.
    pub(super) method: String,
    /// Headers of the request as they came.
    pub(super) headers: Headers,
    /// Its body, until the origin has it; none where it had none.
    pub(super) body: RefCell<Option<Room>>,
    /// Where requests go.
    pub(super) policy: Rc<Policy>,
    /// Its course, for whoever answers and writes it down.
    pub(super) course: Rc<Course>,
}

impl World for Exchange {
    type Heard = Answer;
    type Body = Payload;

    async fn ask(
        &self,
        key: &KeyId,
        ask: &Ask,
        heard: Option<&Answer>,
    ) -> Result<Told<Payload>, Unreachable> {
        faults::here("ask");
        if let Ask::Claim(claim, _) = ask {
            self.course.reached.set(Reached::Claim(claim.lease));
        }
        let _until_answered = self.course.asking();
        let addressed = Addressed { key: *key, shards: self.policy.shards, ask: ask.clone() };
        let body = heard.and_then(|heard| match &heard.body {
            Body::Whole(bytes, _) => Some(bytes),
            Body::None | Body::Streaming(_) => None,
        });
        let told = self.ask_in(&addressed, VERSION, body).await?;
        // A busy object runs the code of before for minutes after a deploy.
        match told {
            Told::UnknownVersion(offered) => match wire::agreed(offered)
                .filter(|version| *version != VERSION)
            {
                Some(version) => self.ask_in(&addressed, version, body).await,
                None => Err(Unreachable::Lost(format!("the Ledger speaks version {offered} only"))),
            },
            told => Ok(told),
        }
    }

    async fn forward(&self, run: Run) -> Result<Answer, Failure> {
        faults::here("granted");
        let init = self.request_init(run).map_err(|_| Failure::NeverSent)?;
        let _until_answered = self.course.forwarding(run);
        if let Reached::Claim(lease) = self.course.reached.get() {
            self.course.reached.set(Reached::Origin(lease));
        }
        // Not held while the origin works: only the runtime needs the bytes then, and a future whose
        // context dies would hold them for ever.
        let free = || drop(self.body.take());
        let binding = self.binding.as_ref();
        let heard = origin::forward(&self.address, init, binding, &self.guarded.route, free).await;
        faults::here("answered");
        heard
    }

    async fn probe(&self) -> Result<Answer, Failure> {
        let path = self.guarded.route.probe.as_deref().ok_or(Failure::NeverSent)?;
        let address =
            origin::probe_address(&self.policy.origin, &self.asked, path, &self.guarded.key)
                .ok_or(Failure::NeverSent)?;
        let init = self.probe_init().map_err(|_| Failure::NeverSent)?;
        origin::forward(&address, init, self.binding.as_ref(), &self.guarded.route, || {}).await
    }

    async fn pause(&self, span: Millis) {
        worker::Delay::from(Duration::from_millis(span.0)).await;
    }

    fn now(&self) -> Millis {
        now()
    }

    fn log(&self, why: &str) {
        worker::console_error!(
            "{} {}: {why}",
            self.guarded.route.name,
            self.guarded.correlation_id
        );
    }
}

impl Exchange {
    async fn ask_in(
        &self,
        addressed: &Addressed,
        version: u8,
        body: Option<&Uint8Array>,
    ) -> Result<Told<Payload>, Unreachable> {
        let head = wire::write_ask(addressed, version);
        let shard = addressed.key.shard(self.policy.shards);
        let hint = self.policy.location_hint.as_deref();
        let answer = call(&self.ledger, shard, hint, &head, body).await;
        let (told, body) = answer.map_err(|error| unreachable(&error))?;
        Ok(told.with_body(|()| body))
    }

    fn request_init(&self, run: Run) -> Result<JsValue, JsValue> {
        // Copied as a whole: repeated lines, case and bytes beyond ASCII stay as they came.
        let headers = Headers::new_with_headers(&self.headers)?;
        headers.set("x-correlation-id", &self.guarded.correlation_id)?;
        headers.set("idempotency-attempt", &run.attempt.to_string())?;
        self.forward_key(&headers, run)?;
        let body = match self.body.borrow().as_ref() {
            Some(room) => room.bytes().ok_or_else(lapsed)?.into(),
            None => JsValue::NULL,
        };
        Ok(origin::init(&self.method, &headers, body))
    }

    fn forward_key(&self, headers: &Headers, run: Run) -> Result<(), JsValue> {
        let Guarded { route, key, form, .. } = self.guarded.as_ref();
        let names = route
            .key_from
            .iter()
            .filter_map(Source::header)
            .filter(|name| !matches!(*name, KEY_HEADER | "x-correlation-id"));
        match route.forward_key {
            // A later attempt goes on in the spelling of the first.
            ForwardKey::Same if run.form != *form => {
                headers.set(KEY_HEADER, &key.spelled(run.form))
            }
            ForwardKey::Same => Ok(()),
            ForwardKey::Derived => {
                let derived = key::derived(run, &route.name);
                for name in names.filter(|name| headers.has(name).unwrap_or(false)) {
                    headers.set(name, &derived)?;
                }
                headers.set(KEY_HEADER, &derived)
            }
            ForwardKey::None => {
                for name in names {
                    headers.delete(name)?;
                }
                headers.delete(KEY_HEADER)
            }
        }
    }

    /// The headers of the request, credentials included, without those that speak of its body, make it
    /// conditional or partial, or turn it into something else than a GET.
    fn probe_init(&self) -> Result<JsValue, JsValue> {
        let headers = Headers::new_with_headers(&self.headers)?;
        for name in NOT_OF_A_QUESTION {
            headers.delete(name)?;
        }
        headers.set("x-correlation-id", &self.guarded.correlation_id)?;
        Ok(origin::init("GET", &headers, JsValue::NULL))
    }
}

/// A stored body as it comes from the Ledger.
pub(super) enum Payload {
    /// In memory.
    Whole(Uint8Array),
    /// Large: it passes through, as fast as the client reads.
    Streaming(web_sys::ReadableStream),
}

/// One call of a Ledger.
pub(super) async fn call(
    ledger: &js::Namespace,
    shard: u16,
    location_hint: Option<&str>,
    head: &[u8],
    body: Option<&Uint8Array>,
) -> Result<(Told<()>, Payload), JsValue> {
    let sent = send(ledger, shard, location_hint, head, body)?;
    let response: web_sys::Response = JsFuture::from(sent).await?.unchecked_into();
    let (head, body) = if response.status() == STREAMED {
        read_streamed(&response).await?
    } else {
        let whole = message(response.array_buffer()).await?;
        let (_, head, body) = split(&whole).map_err(unreadable)?;
        (head, Payload::Whole(body))
    };
    Ok((wire::read_told(&head).map_err(unreadable)?, body))
}

/// Sends a message to a Ledger. The stub is made anew each time: after an exception it is broken
/// (developers.cloudflare.com, durable-objects/best-practices/error-handling).
pub(super) fn send(
    ledger: &js::Namespace,
    shard: u16,
    location_hint: Option<&str>,
    head: &[u8],
    body: Option<&Uint8Array>,
) -> Result<Promise, JsValue> {
    let options = match location_hint {
        Some(hint) => js::object(&[("locationHint", JsValue::from_str(hint))]).into(),
        None => JsValue::UNDEFINED,
    };
    // The name is part of the stored data.
    let stub = ledger.get_by_name(&format!("shard-{shard}"), &options)?;
    let init = |method, body| js::object(&[("method", JsValue::from_str(method)), ("body", body)]);
    let frame = join(head, body);
    match body.map(Uint8Array::byte_length) {
        // The Ledger is told the length first, and reads when there is room for it. Bytes and not a stream:
        // only those can the runtime send again by itself
        // (developers.cloudflare.com, durable-objects/best-practices/automatic-retries).
        Some(bytes) if bytes > SMALL => {
            let address = JsValue::from_str(&format!("https://ledger/{bytes}"));
            stub.fetch(&address, &init("PUT", frame.into()))
        }
        _ => stub.fetch(&JsValue::from_str("https://ledger/"), &init("POST", frame.into())),
    }
}

/// The head of an answer whose body stays in its stream.
async fn read_streamed(response: &web_sys::Response) -> Result<(Vec<u8>, Payload), JsValue> {
    let stream = response.body().ok_or_else(|| unreadable(wire::Unreadable("no body")))?;
    let mode = js::object(&[("mode", JsValue::from_str("byob"))]);
    let reader = stream.unchecked_ref::<js::Readable>().get_byte_reader(&mode)?;
    let prefix = read_exactly(&reader, u32::try_from(PREFIX).unwrap_or(u32::MAX)).await?;
    let prefix = Prefix::read(&prefix).map_err(unreadable)?;
    let head = read_exactly(&reader, prefix.head_bytes).await?;
    reader.release_lock()?;
    Ok((head, Payload::Streaming(stream)))
}

async fn read_exactly(reader: &js::ByteReader, bytes: u32) -> Result<Vec<u8>, JsValue> {
    let into = Uint8Array::new_with_length(bytes);
    let step = JsFuture::from(reader.read_at_least(bytes, &into)?).await?;
    let read: Uint8Array = js::get(&step, "value").unchecked_into();
    if read.byte_length() == bytes {
        Ok(read.to_vec())
    } else {
        Err(unreadable(wire::Unreadable("cut short")))
    }
}

/// A request that has waited so long that its body was given up is not forwarded without it.
pub(super) fn lapsed() -> JsValue {
    JsValue::from_str("the request's body is no longer buffered")
}

/// The Worker's clock. It stands still between I/O, which is when nothing needs it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole milliseconds since 1970"
)]
pub(super) fn now() -> Millis {
    Millis(Date::now() as u64)
}

/// A message: what the codec wrote, and a body that it never saw.
pub(super) fn join(frame: &[u8], body: Option<&Uint8Array>) -> Uint8Array {
    let Some(body) = body else { return Uint8Array::from(frame) };
    let at = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let whole = Uint8Array::new_with_length(at + body.byte_length());
    whole.set(&Uint8Array::from(frame), 0);
    whole.set(body, at);
    whole
}

/// Takes a message apart: version, head, and a view of the body.
pub(super) fn split(
    message: &Uint8Array,
) -> Result<(Prefix, Vec<u8>, Uint8Array), wire::Unreadable> {
    let length = message.byte_length();
    let after_prefix = u32::try_from(PREFIX).unwrap_or(u32::MAX).min(length);
    let prefix = Prefix::read(&message.subarray(0, after_prefix).to_vec())?;
    let end = after_prefix.saturating_add(prefix.head_bytes);
    if end > length {
        return Err(wire::Unreadable("cut short"));
    }
    Ok((prefix, message.subarray(after_prefix, end).to_vec(), message.subarray(end, length)))
}

fn unreadable(wire::Unreadable(at): wire::Unreadable) -> JsValue {
    JsValue::from_str(&format!("the Ledger's answer is unreadable: {at}"))
}

/// `overloaded` is the one thing that the runtime says reliably of a failed call.
fn unreachable(error: &JsValue) -> Unreachable {
    let why = js::text(error);
    if js::get(error, "overloaded").is_truthy() {
        Unreachable::Overloaded(why)
    } else {
        Unreachable::Lost(why)
    }
}

/// Bodies up to this go in one piece with what is said of them, and take no room of the Ledger's: a
/// thousand of them at once, each a copy, are 16 MB. (`store` has it in its SQL too.)
pub(super) const SMALL: u32 = 16 * 1024;
/// The status of an answer whose body is a stream.
pub(super) const STREAMED: u16 = 206;

/// Headers of the guarded request that a probe leaves out.
const NOT_OF_A_QUESTION: [&str; 17] = [
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "prefer",
    "range",
    "transfer-encoding",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-on-conflict",
];
