//! The bodies that this isolate holds in memory. It has 128 MB (developers.cloudflare.com,
//! workers/platform/limits); bodies take half of it at most, and new requests are let in below a quarter only.
//! So once a claim is granted its reply finds room: a full buffer refuses new work, and loses no outcome.
//!
//! Bytes count for as long as they are held. They stay in JavaScript's memory: they are hashed, stored and sent on
//! without being copied into Wasm.
//!
//! Nobody waits here for another one to give bytes back. The platform allows I/O only in the context that began it,
//! so a task must not wake one of another request. Whoever finds no room is refused, or looks again after a while.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::Uint8Array;

use super::clock::{now, pause};
use super::stepped_writer::Pace;
use crate::config::values::BODY_MAX;
use crate::time::Timestamp;

thread_local! {
    static ENTRIES: RefCell<Vec<Rc<Entry>>> = const { RefCell::new(Vec::new()) };
    /// When somebody found no room the last time, and how many bytes were missing.
    static WANTED: Cell<(Timestamp, u64)> = const { Cell::new((Timestamp(0), 0)) };
}

/// What one body takes.
struct Entry {
    bytes: Cell<u64>,
    chunks: RefCell<Vec<Uint8Array>>,
    expires: Cell<Timestamp>,
    /// Since when its reader has taken nothing, where it is one that may be cut off.
    stalls_since: Cell<Option<Timestamp>>,
}

/// A body in memory. Its bytes are given back when this is dropped.
///
/// The runtime may end a request's context at any time. Its tasks are dropped only when their callbacks have been
/// collected as garbage, which may be late. So every body has a time at which it expires, and whoever needs room
/// takes what has expired.
pub(super) struct BufferedBody(Rc<Entry>);

/// Whose body it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A request: refused where there is no room, and given up where nothing comes for a while.
    Request,
    /// A request that goes on in any case: streamed where there is no room.
    Shadow,
    /// The reply to a granted claim, kept for as long as its lease may last.
    Reply {
        /// Time for reading and settling it.
        lasts: Duration,
    },
}

impl Owner {
    /// How much all bodies together may take when this one comes.
    fn limit(self) -> u64 {
        match self {
            Self::Request | Self::Shadow => BODY_MAX,
            Self::Reply { .. } => 2 * BODY_MAX,
        }
    }

    /// For how long it is kept if nothing comes of it.
    fn lasts(self) -> Duration {
        match self {
            Self::Request => IDLE_MAX,
            Self::Shadow => READ_MAX,
            Self::Reply { lasts } => lasts,
        }
    }

    /// Whether so many bytes more fit. Where readers that are slow keep them from it, they get some time to be cut off.
    pub(super) async fn has_room(self, bytes: u64) -> bool {
        let began = now();
        loop {
            if fits(bytes, self.limit()) {
                return true;
            }
            if !has_slow_reader() || now().since(began) > PATIENCE {
                return false;
            }
            pause(LOOK_EVERY).await;
        }
    }
}

impl BufferedBody {
    /// An empty one, about to be read.
    pub(super) fn new(owner: Owner) -> Self {
        let entry = Rc::new(Entry {
            bytes: Cell::new(0),
            chunks: RefCell::default(),
            expires: Cell::new(now().plus(owner.lasts())),
            stalls_since: Cell::new(None),
        });
        ENTRIES.with_borrow_mut(|entries| entries.push(entry.clone()));
        Self(entry)
    }

    /// What has been read already.
    pub(super) fn of(bytes: Uint8Array, owner: Owner) -> Self {
        let body = Self::new(owner);
        body.fill(bytes);
        body
    }

    /// Counts so many bytes before they come.
    pub(super) fn expect(&self, bytes: u64) {
        self.0.bytes.set(bytes);
    }

    /// All of it has come.
    pub(super) fn fill(&self, bytes: Uint8Array) {
        self.0.bytes.set(bytes.byte_length().into());
        self.0.chunks.replace(vec![bytes]);
    }

    /// One more part of it has come, which began at `started`.
    pub(super) fn add(&self, chunk: Uint8Array, started: Timestamp) {
        self.0.bytes.set(self.0.bytes.get() + u64::from(chunk.byte_length()));
        let mut chunks = self.0.chunks.borrow_mut();
        chunks.push(chunk);
        // A chunk is a view of a block that may be far larger than it.
        if chunks.len() >= CHUNKS_MAX {
            let whole = joined(std::mem::take(&mut *chunks));
            chunks.push(whole);
        }
        // Longer for what goes on coming, but nobody holds memory for ever by a byte now and then.
        let later = now().plus(IDLE_MAX).min(started.plus(READ_MAX));
        self.0.expires.set(self.0.expires.get().max(later));
    }

    /// Keeps it for so long, instead of the time for reading it.
    pub(super) fn keep_for(&self, span: Duration) {
        self.0.expires.set(now().plus(span));
    }

    /// All bytes; none once it has expired: less than was read must never pass for the body.
    pub(super) fn bytes(&self) -> Option<Uint8Array> {
        if self.has_expired() {
            return None;
        }
        let whole = joined(self.0.chunks.take());
        self.0.chunks.replace(vec![whole.clone()]);
        Some(whole)
    }

    /// The parts as they came; they go on counting.
    pub(super) fn take_chunks(&self) -> Vec<Uint8Array> {
        self.0.chunks.take()
    }

    pub(super) fn has_expired(&self) -> bool {
        ENTRIES.with_borrow(|entries| !entries.iter().any(|entry| Rc::ptr_eq(entry, &self.0)))
    }

    /// What goes to whoever reads it from here on: a client, or the origin. One that `may_be_cut` loses it where it
    /// reads too slowly and others need the bytes.
    pub(super) fn into_reader(self, may_be_cut: bool) -> Reader {
        let reader = Reader { body: self, may_be_cut };
        reader.moved();
        reader
    }
}

impl Drop for BufferedBody {
    fn drop(&mut self) {
        ENTRIES.with_borrow_mut(|entries| entries.retain(|entry| !Rc::ptr_eq(entry, &self.0)));
    }
}

/// A body on its way to its reader. The bytes count until this is dropped.
pub(super) struct Reader {
    body: BufferedBody,
    may_be_cut: bool,
}

impl Pace for Reader {
    fn moved(&self) {
        self.body.keep_for(IDLE_MAX);
        self.body.0.stalls_since.set(self.may_be_cut.then(now));
    }

    /// It is, where it has taken less than a step in 5 s while others found no room. Operating systems
    /// take what they send in bursts, so a reader that reads evenly may seem to stall for some seconds. So those that
    /// stall for longest are cut off, and no more of them than are needed.
    fn is_too_slow(&self) -> bool {
        self.body.keep_for(IDLE_MAX);
        let (now, own, (at, wanted)) = (now(), &self.body.0, WANTED.get());
        let Some(since) = own.stalls_since.get().filter(|_| own.stalls(now)) else { return false };
        let is_slower = |entry: &Entry| entry.stalls_since.get().is_some_and(|other| other < since);
        let is_cut = now.since(at) <= WANTED_FOR && sum(is_slower) < wanted;
        if is_cut {
            WANTED.set((at, wanted.saturating_sub(own.bytes.get())));
            own.stalls_since.set(None);
        }
        is_cut
    }
}

impl Entry {
    fn stalls(&self, now: Timestamp) -> bool {
        self.stalls_since.get().is_some_and(|since| now.since(since) >= STALL_MAX)
    }
}

/// How many bytes some of the bodies take.
fn sum(is_counted: impl Fn(&Entry) -> bool) -> u64 {
    ENTRIES.with_borrow(|entries| {
        let counted = entries.iter().filter(|entry| is_counted(entry));
        counted.map(|entry| entry.bytes.get()).sum()
    })
}

fn has_slow_reader() -> bool {
    let now = now();
    sum(|entry| entry.stalls(now)) > 0
}

/// Whether so many bytes more fit below a limit. Bodies that have expired are taken if they are in the way.
fn fits(bytes: u64, limit: u64) -> bool {
    let missing = || (sum(|_| true) + bytes).saturating_sub(limit);
    if missing() == 0 {
        return true;
    }
    let now = now();
    ENTRIES.with_borrow_mut(|entries| {
        for expired in entries.extract_if(.., |entry| entry.expires.get() < now) {
            expired.bytes.set(0);
            expired.chunks.take();
        }
    });
    WANTED.set((now, missing()));
    missing() == 0
}

/// One array of several; the one itself where there is one.
fn joined(mut chunks: Vec<Uint8Array>) -> Uint8Array {
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

/// A body of which nothing comes for so long may be taken; and so may one whose reader is not looked after for so long,
/// since its context has ended.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// And so may a request's that has not come whole after so long.
const READ_MAX: Duration = Duration::from_mins(2);
/// Chunks that are held as they came.
const CHUNKS_MAX: usize = 256;
/// A reader that takes less than a step (64 KiB) in so long is slow.
const STALL_MAX: Duration = Duration::from_secs(5);
/// Others are waiting for as long as this after they found no room: they look again sooner, and clients that were told to
/// come again after 1 s do so.
const WANTED_FOR: Duration = Duration::from_secs(2);
/// How long, and how often, it is looked whether slow readers have gone. A slow reader is seen within 500 ms.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(250);
