//! How a large reply leaves a Ledger: in chunks, as it is read, never as a second copy.
//!
//! Callers who waited for a reply share the one that was settled; for all others it is read from its rows, one
//! chunk after the other. Both hold a reservation of the Ledger's [`ByteBudget`] until the last byte has left.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::store::{ChunkedBody, Store};
use crate::cloudflare::bindings;
use crate::cloudflare::byte_budget::{ByteBudget, Reservation};
use crate::cloudflare::clock::now;
use crate::cloudflare::error::Error;
use crate::cloudflare::stepped_writer::{Pace, SteppedWriter};
use crate::cloudflare::tasks::spawn;
use crate::lifecycle::event::Replay;
use crate::time::Timestamp;

/// A reply in memory.
pub(super) struct SettledReply {
    /// What the caller is answered.
    pub(super) replay: Replay,
    /// Its body.
    pub(super) body: Uint8Array,
    /// The reservation for its bytes; none where it is small.
    pub(super) reservation: Option<Reservation>,
}

/// A body that is too large to be copied into a message.
pub(super) enum LargeBody {
    /// In memory.
    Held(Rc<SettledReply>),
    /// In rows of its own; the reservation is for one chunk.
    Chunks(ChunkedBody, #[expect(dead_code, reason = "held while they are sent")] Reservation),
}

impl LargeBody {
    fn bytes(&self) -> u64 {
        match self {
            Self::Held(settled) => settled.body.byte_length().into(),
            Self::Chunks(chunks, _) => chunks.bytes,
        }
    }
}

/// An answer whose body is sent while it is read.
pub(super) fn stream(
    head: &[u8],
    body: LargeBody,
    store: Rc<Store>,
    budget: Rc<ByteBudget>,
) -> Result<JsValue, Error> {
    let pipe = bindings::FixedLengthStream::new(body.bytes())?;
    let answer = bindings::streamed(head, &pipe.readable());
    let pace = OthersWait { budget, moved: Cell::new(now()) };
    let writer = SteppedWriter::new(&pipe.writable(), pace)?;
    drop(spawn(async move {
        if let Err(why) = send(&writer, &body, &store).await {
            // The reader sees that the body was cut.
            writer.abort(&why).await;
        }
    }));
    Ok(answer)
}

async fn send(
    writer: &SteppedWriter<OthersWait>,
    body: &LargeBody,
    store: &Store,
) -> Result<(), Error> {
    match body {
        LargeBody::Held(settled) => writer.write(&settled.body).await?,
        LargeBody::Chunks(chunks, _) => {
            for id in chunks.ids() {
                writer.write(&store.chunk(chunks, id)?).await?;
            }
        }
    }
    writer.close().await
}

/// A reader that does not go on loses its reservation if others wait for one.
struct OthersWait {
    budget: Rc<ByteBudget>,
    moved: Cell<Timestamp>,
}

impl Pace for OthersWait {
    fn moved(&self) {
        self.moved.set(now());
    }

    fn is_too_slow(&self) -> bool {
        now().since(self.moved.get()) >= STALL_MAX && self.budget.is_wanted()
    }
}

/// A reader that takes less than a step (64 KiB) in so long is cut off if others wait for its room; one that keeps up
/// never is, however long its reply takes. Whoever waits is told to come again after 3 s, and then finds room.
const STALL_MAX: Duration = Duration::from_secs(5);
