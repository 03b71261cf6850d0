//! Buffers bodies, within limits: so much per body, and 32 MiB in all per instance (an isolate has
//! 128 MB, developers.cloudflare.com, workers/platform/limits). Bytes stay in JavaScript memory: they
//! are hashed, stored and sent on without entering Wasm.
//!
//! A request is admitted only while there is room; once its claim is granted the reply always finds
//! room, so that a full buffer refuses new work and never loses an outcome.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};

use super::bindings;
use super::tasks::wait;
use super::world::now;
use crate::config::values::BODY_MAX;
use crate::request::digest::sha256;
use crate::request::fingerprint::BodyRule;
use crate::time::Timestamp;

thread_local! {
    static SHARES: RefCell<Vec<Rc<Share>>> = const { RefCell::new(Vec::new()) };
}

/// What one body takes of the buffer.
struct Share {
    bytes: Cell<u64>,
    chunks: RefCell<Vec<Uint8Array>>,
    lapses: Cell<Timestamp>,
}

/// A body in the instance's buffer; given back when dropped.
///
/// When a client hangs up at the wrong moment the runtime drops the request's context, and the future
/// that owns this is never polled nor dropped again. So every share has a time at which it lapses, and
/// whoever needs room takes back what has lapsed.
pub(super) struct Room(Rc<Share>);

impl Room {
    /// An empty share for a body that is about to be read.
    fn new(of: Of) -> Self {
        let lasts = match of {
            Of::Request => READ_IDLE,
            Of::Shadow => READ_MAX,
            Of::Reply { lasts } => lasts,
        };
        let share = Rc::new(Share {
            bytes: Cell::new(0),
            chunks: RefCell::default(),
            lapses: Cell::new(now().plus(lasts)),
        });
        SHARES.with_borrow_mut(|shares| shares.push(share.clone()));
        Self(share)
    }

    /// What has been read already.
    pub(super) fn of(bytes: Uint8Array, of: Of) -> Self {
        let room = Self::new(of);
        room.0.bytes.set(bytes.byte_length().into());
        room.0.chunks.replace(vec![bytes]);
        room
    }

    /// Keeps what is there for so long, instead of the time for reading it.
    pub(super) fn keep_for(&self, span: Duration) {
        self.0.lapses.set(now().plus(span));
    }

    /// Keeps what is there until it has been read, or for a while.
    pub(super) fn keep_until_read(&self) {
        self.keep_for(READ_IDLE);
    }

    /// All bytes; none once the share has lapsed: less than was read must never pass for the body.
    pub(super) fn bytes(&self) -> Option<Uint8Array> {
        if self.has_lapsed() {
            return None;
        }
        let whole = joined(self.0.chunks.take());
        self.0.chunks.replace(vec![whole.clone()]);
        Some(whole)
    }

    fn add(&self, chunk: Uint8Array, started: Timestamp) {
        self.0.bytes.set(self.0.bytes.get() + u64::from(chunk.byte_length()));
        let mut chunks = self.0.chunks.borrow_mut();
        chunks.push(chunk);
        // A chunk is a view of a block that may be far larger than it.
        if chunks.len() >= CHUNKS_MAX {
            let whole = joined(std::mem::take(&mut *chunks));
            chunks.push(whole);
        }
        // Longer for what goes on coming, but nobody holds room for ever by a byte now and then.
        let on = now().plus(READ_IDLE).min(started.plus(READ_MAX));
        self.0.lapses.set(self.0.lapses.get().max(on));
    }

    fn take(&self) -> Vec<Uint8Array> {
        self.0.bytes.set(0);
        self.0.chunks.take()
    }

    fn has_lapsed(&self) -> bool {
        SHARES.with_borrow(|shares| !shares.iter().any(|share| Rc::ptr_eq(share, &self.0)))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        SHARES.with_borrow_mut(|shares| shares.retain(|share| !Rc::ptr_eq(share, &self.0)));
    }
}

/// Whether so many bytes more fit below a limit, lapsed shares being taken back if they are in the way.
fn fits(bytes: u64, limit: u64) -> bool {
    SHARES.with_borrow_mut(|shares| {
        let free = |shares: &Vec<Rc<Share>>| {
            limit.saturating_sub(shares.iter().map(|share| share.bytes.get()).sum()) >= bytes
        };
        if free(shares) {
            return true;
        }
        let now = now();
        shares.retain(|share| {
            let lapsed = share.lapses.get() < now;
            if lapsed {
                share.bytes.set(0);
                share.chunks.borrow_mut().clear();
            }
            !lapsed
        });
        free(shares)
    })
}

/// Whose body it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A request's: refused where there is no room, and given up where nothing comes for a while.
    Request,
    /// A request's that goes on in any case: streamed where there is no room.
    Shadow,
    /// The reply to a granted claim: let in where a request is not, so that a full buffer refuses new work
    /// and loses no outcome; kept for as long as its lease may last.
    Reply {
        /// Time for reading and settling it.
        lasts: Duration,
    },
}

impl Of {
    fn limit(self) -> u64 {
        match self {
            Self::Request | Self::Shadow => BODY_MAX,
            Self::Reply { .. } => REPLIES_MAX,
        }
    }
}

/// What came of reading a body.
pub(super) enum Read {
    /// All of it.
    Whole(Room),
    /// More than the limit: what was read so far; the stream, unlocked, has the rest.
    TooLarge(Vec<Uint8Array>),
    /// The instance's buffer is full.
    NoRoom(Vec<Uint8Array>),
    /// It broke off.
    Broken(String),
}

/// Reads a stream to its end, but not beyond `limit` bytes. `length` is what Content-Length says.
pub(super) async fn read(stream: JsValue, length: Option<u64>, limit: u64, of: Of) -> Read {
    if length.is_some_and(|length| length > limit) {
        return Read::TooLarge(Vec::new());
    }
    let room = Room::new(of);
    match read_into(&room, &stream.unchecked_into(), length, limit, of).await {
        Ok(Stopped::AtEnd) => Read::Whole(room),
        Ok(Stopped::OverLimit) => Read::TooLarge(room.take()),
        Ok(Stopped::NoRoom) => Read::NoRoom(room.take()),
        Ok(Stopped::TooSlow) => Read::Broken("it took too long".to_owned()),
        Err(error) => Read::Broken(bindings::text(&error)),
    }
}

/// Reads all of a body that says how long it is and is not too long; none where there is no room.
pub(super) async fn read_known(from: &JsValue, length: u64, of: Of) -> Option<Read> {
    if !fits(length, of.limit()) {
        return None;
    }
    let room = Room::new(of);
    room.0.bytes.set(length);
    Some(match wait(bindings::bytes(from)).await {
        Ok(_) if room.has_lapsed() => Read::Broken("it took too long".to_owned()),
        Ok(bytes) => {
            let bytes: Uint8Array = bytes.unchecked_into();
            // A Worker behind a binding may say what it likes.
            room.0.bytes.set(bytes.byte_length().into());
            room.0.chunks.replace(vec![bytes]);
            Read::Whole(room)
        }
        Err(error) => Read::Broken(bindings::text(&error)),
    })
}

enum Stopped {
    AtEnd,
    OverLimit,
    NoRoom,
    TooSlow,
}

async fn read_into(
    room: &Room,
    stream: &bindings::Readable,
    length: Option<u64>,
    limit: u64,
    of: Of,
) -> Result<Stopped, JsValue> {
    // Only bytes that have come take room: a length is a promise, and anyone can make it.
    if !fits(length.unwrap_or(1), of.limit()) {
        return Ok(Stopped::NoRoom);
    }
    let reader = stream.get_reader()?;
    let started = now();
    let mut total = 0;
    loop {
        let step = wait(reader.read()?).await?;
        if room.has_lapsed() {
            return Ok(Stopped::TooSlow);
        }
        if bindings::get(&step, "done").is_truthy() {
            return Ok(Stopped::AtEnd);
        }
        let chunk: Uint8Array = bindings::get(&step, "value").unchecked_into();
        let bytes = u64::from(chunk.byte_length());
        total += bytes;
        let has_room = fits(bytes, of.limit());
        room.add(chunk, started);
        if total > limit || !has_room {
            reader.release_lock()?;
            return Ok(if total > limit { Stopped::OverLimit } else { Stopped::NoRoom });
        }
    }
}

/// One array of several; the one itself where there is one.
pub(super) fn joined(mut chunks: Vec<Uint8Array>) -> Uint8Array {
    if chunks.len() == 1 {
        return chunks.remove(0);
    }
    let whole = Uint8Array::new_with_length(chunks.iter().map(Uint8Array::byte_length).sum());
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
    let digest = wait(bindings::digest("SHA-256", body)?).await?;
    let mut bytes = [0; 32];
    let digest = Uint8Array::new(&digest);
    if digest.byte_length() != 32 {
        return Err(JsValue::from_str("SHA-256 did not give 32 bytes"));
    }
    digest.copy_to(&mut bytes);
    Ok(bytes)
}

/// Above this, hashing by the runtime is cheaper than copying (measured: between 1 and 2 KB).
const COPIED_MAX: u32 = 2048;
/// A body of which nothing comes, or that is not read, for so long may lose its room to others.
const READ_IDLE: Duration = Duration::from_secs(15);
/// And so may one that has not come whole after so long.
const READ_MAX: Duration = Duration::from_mins(2);
/// Bodies of requests and replies together: half of an isolate's 128 MB. Beyond it a reply is streamed and
/// only its status is kept.
const REPLIES_MAX: u64 = 2 * BODY_MAX;
/// Chunks that are held as they came.
const CHUNKS_MAX: usize = 256;
