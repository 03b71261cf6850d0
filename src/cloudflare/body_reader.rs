//! Reads bodies into the buffer, and takes their digests.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{ReadableStream, ReadableStreamDefaultReader};

use super::bindings;
use super::body_buffer::{BufferedBody, Owner};
use super::clock::now;
use super::error::Error;
use super::tasks::wait;
use crate::request::digest::sha256;
use crate::request::fingerprint::Rule;

/// What came of reading a body.
pub(super) enum Read {
    /// All of it.
    Whole(BufferedBody),
    /// More than the limit: what was read so far. The stream, unlocked, has the rest.
    TooLarge(BufferedBody),
    /// The buffer is full: what was read so far. The stream, unlocked, has the rest.
    NoRoom(BufferedBody),
    /// It broke off.
    Broken(String),
    /// It came so slowly that others were given its room.
    TooSlow,
}

/// Reads a stream to its end, but not beyond `limit` bytes. `length` is what Content-Length says.
pub(super) async fn read(
    stream: &ReadableStream,
    length: Option<u64>,
    limit: u64,
    owner: Owner,
) -> Read {
    let body = BufferedBody::new(owner);
    if length.is_some_and(|length| length > limit) {
        return Read::TooLarge(body);
    }
    match read_into(&body, stream, length, limit, owner).await {
        Ok(Stopped::AtEnd) => Read::Whole(body),
        Ok(Stopped::OverLimit) => Read::TooLarge(body),
        Ok(Stopped::NoRoom) => Read::NoRoom(body),
        Ok(Stopped::TooSlow) => Read::TooSlow,
        Err(error) => Read::Broken(error.to_string()),
    }
}

/// Reads all of a body that says how long it is and is not too long.
pub(super) async fn read_known(from: &JsValue, length: u64, owner: Owner) -> Read {
    let has_room = owner.has_room(length).await;
    let body = BufferedBody::new(owner);
    if !has_room {
        return Read::NoRoom(body);
    }
    body.expect(length);
    match wait(bindings::bytes(from)).await {
        Ok(_) if body.has_expired() => Read::TooSlow,
        Ok(bytes) => {
            // A Worker behind a binding may say what it likes: what has come counts.
            body.fill(bytes.unchecked_into());
            Read::Whole(body)
        }
        Err(error) => Read::Broken(error.to_string()),
    }
}

enum Stopped {
    AtEnd,
    OverLimit,
    NoRoom,
    TooSlow,
}

async fn read_into(
    body: &BufferedBody,
    stream: &ReadableStream,
    length: Option<u64>,
    limit: u64,
    owner: Owner,
) -> Result<Stopped, Error> {
    // Only bytes that have come are counted: a length is a promise, and anyone can make it.
    if !owner.has_room(length.unwrap_or(1)).await {
        return Ok(Stopped::NoRoom);
    }
    let reader = ReadableStreamDefaultReader::new(stream)?;
    let started = now();
    let mut total = 0;
    loop {
        let step = wait(reader.read()).await?;
        if body.has_expired() {
            return Ok(Stopped::TooSlow);
        }
        if bindings::get(&step, "done").is_truthy() {
            return Ok(Stopped::AtEnd);
        }
        let chunk: Uint8Array = bindings::get(&step, "value").unchecked_into();
        let bytes = u64::from(chunk.byte_length());
        total += bytes;
        let has_room = owner.has_room(bytes).await;
        body.add(chunk, started);
        if total > limit || !has_room {
            reader.release_lock();
            return Ok(if total > limit { Stopped::OverLimit } else { Stopped::NoRoom });
        }
    }
}

/// The digest of a body by a route's rule. Only rules that look into a body copy it into Wasm, and small ones, which
/// takes less than a promise; large ones are hashed by the runtime.
pub(super) async fn digest(rule: &Rule, body: &Uint8Array) -> Result<[u8; 32], Error> {
    if rule.reads() || body.byte_length() <= COPIED_MAX {
        let copy = body.to_vec();
        return Ok(rule.digest(&copy).unwrap_or_else(|| sha256(&copy)));
    }
    if let Some(digest) = rule.digest(&[]) {
        return Ok(digest);
    }
    let digest = wait(bindings::digest("SHA-256", body)?).await?;
    Uint8Array::new(&digest).to_vec().try_into().map_err(|_| Error::NoDigest)
}

/// Above this, hashing by the runtime is cheaper than copying (measured: between 1 and 2 KB).
const COPIED_MAX: u32 = 2048;
