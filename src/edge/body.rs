//! Buffers bodies, within limits: so much per body, and 32 MiB in all per instance (an isolate has
//! 128 MB, developers.cloudflare.com, workers/platform/limits). Bytes stay in JavaScript memory: they
//! are hashed, stored and sent on without entering Wasm.

use std::cell::Cell;

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::js;
use crate::digest::sha256;
use crate::fingerprint::BodyRule;
use crate::policy::BODY_MAX;

thread_local! {
    static BUFFERED: Cell<u64> = const { Cell::new(0) };
}

/// A share of the instance's buffer; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Room(u64);

impl Room {
    /// Takes so many bytes more; false, and nothing taken, if they are not there.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let fits = BUFFERED.get().saturating_add(bytes) <= BODY_MAX;
        if fits {
            BUFFERED.set(BUFFERED.get() + bytes);
            self.0 += bytes;
        }
        fits
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        BUFFERED.set(BUFFERED.get().saturating_sub(self.0));
    }
}

/// What came of reading a body.
pub(super) enum Read {
    /// All of it.
    Whole(Uint8Array, Room),
    /// More than the limit: what was read so far; the stream, unlocked, has the rest.
    TooLarge(Vec<Uint8Array>),
    /// The instance's buffer is full.
    NoRoom(Vec<Uint8Array>),
    /// It broke off.
    Broken(String),
}

/// Reads a stream to its end, but not beyond `limit` bytes. `length` is what Content-Length says.
pub(super) async fn read(stream: Option<JsValue>, length: Option<u64>, limit: u64) -> Read {
    let mut room = Room::default();
    let Some(stream) = stream else {
        return Read::Whole(Uint8Array::new_with_length(0), room);
    };
    match length {
        Some(length) if length > limit => return Read::TooLarge(Vec::new()),
        Some(length) if !room.grow(length) => return Read::NoRoom(Vec::new()),
        _ => {}
    }
    match chunks(&stream.unchecked_into(), length, limit, &mut room).await {
        Ok(Chunks::Ended(chunks)) => Read::Whole(joined(chunks), room),
        Ok(Chunks::Over(chunks)) => Read::TooLarge(chunks),
        Ok(Chunks::NoRoom(chunks)) => Read::NoRoom(chunks),
        Err(error) => Read::Broken(js::text(&error)),
    }
}

enum Chunks {
    Ended(Vec<Uint8Array>),
    Over(Vec<Uint8Array>),
    NoRoom(Vec<Uint8Array>),
}

async fn chunks(
    stream: &js::Readable,
    length: Option<u64>,
    limit: u64,
    room: &mut Room,
) -> Result<Chunks, JsValue> {
    let reader = stream.get_reader()?;
    let mut chunks = Vec::new();
    let mut total = 0_u64;
    loop {
        let step = JsFuture::from(reader.read()?).await?;
        if js::get(&step, "done").is_truthy() {
            return Ok(Chunks::Ended(chunks));
        }
        let chunk: Uint8Array = js::get(&step, "value").unchecked_into();
        let bytes = u64::from(chunk.byte_length());
        total += bytes;
        chunks.push(chunk);
        // A declared length has its room already; the runtime ends a body that exceeds it.
        let has_room = length.is_some_and(|length| total <= length) || room.grow(bytes);
        if total > limit || !has_room {
            reader.release_lock()?;
            return Ok(if total > limit { Chunks::Over(chunks) } else { Chunks::NoRoom(chunks) });
        }
    }
}

fn joined(mut chunks: Vec<Uint8Array>) -> Uint8Array {
    if chunks.len() == 1 {
        return chunks.remove(0);
    }
    let total = chunks.iter().map(Uint8Array::byte_length).sum();
    let whole = Uint8Array::new_with_length(total);
    let mut at = 0;
    for chunk in &chunks {
        whole.set(chunk, at);
        at += chunk.byte_length();
    }
    whole
}

/// The digest of a body by a route's rule. Only rules that look into a body copy it into Wasm, and
/// small ones, which beats a promise; large ones are hashed by the runtime.
pub(super) async fn digest(rule: &BodyRule, body: &Uint8Array) -> Result<[u8; 32], JsValue> {
    if rule.reads() || body.byte_length() <= COPIED_MAX {
        let copy = body.to_vec();
        return Ok(rule.digest(&copy).unwrap_or_else(|| sha256(&copy)));
    }
    if let Some(digest) = rule.digest(&[]) {
        return Ok(digest);
    }
    let digest = JsFuture::from(js::digest("SHA-256", body)?).await?;
    let mut bytes = [0; 32];
    let digest = Uint8Array::new(&digest);
    if digest.byte_length() != 32 {
        return Err(JsValue::from_str("SHA-256 did not give 32 bytes"));
    }
    digest.copy_to(&mut bytes);
    Ok(bytes)
}

/// All bytes of a message of the other side.
pub(super) async fn message(
    promise: Result<js_sys::Promise, JsValue>,
) -> Result<Uint8Array, JsValue> {
    let buffer: ArrayBuffer = JsFuture::from(promise?).await?.unchecked_into();
    Ok(Uint8Array::new(&buffer))
}

/// Above this, hashing by the runtime is cheaper than copying (measured: between 1 and 2 KB).
const COPIED_MAX: u32 = 2048;
