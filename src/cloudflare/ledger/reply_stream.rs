//! How a large reply leaves a Ledger: as it is read, a piece at a time, never as a second copy.
//!
//! Those who waited for a reply share the one that was settled; everybody else's is read from its rows,
//! 1 MiB after the other. Both take room of the Ledger's [`ByteBudget`] until the last byte has left.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::store::{Pieces, Store};
use crate::cloudflare::bindings;
use crate::cloudflare::byte_budget::{ByteBudget, Reservation};
use crate::cloudflare::clock::now;
use crate::cloudflare::error::Error;
use crate::cloudflare::stepped_writer::{Pace, SteppedWriter};
use crate::cloudflare::tasks::spawn;
use crate::lifecycle::record::Completed;
use crate::time::Timestamp;

/// A reply in memory.
pub(super) struct Settled {
    /// What the record says of it.
    pub(super) completed: Completed,
    /// Its body.
    pub(super) body: Uint8Array,
    /// The room that it takes; none where it is small.
    pub(super) place: Option<Reservation>,
}

/// A body that is too large to be copied into a message.
pub(super) enum Large {
    /// In memory.
    Held(Rc<Settled>),
    /// In rows of its own; the room is for one of them.
    Pieces(Pieces, #[expect(dead_code, reason = "held while they are sent")] Reservation),
}

impl Large {
    fn bytes(&self) -> u64 {
        match self {
            Self::Held(settled) => settled.body.byte_length().into(),
            Self::Pieces(pieces, _) => pieces.bytes,
        }
    }
}

/// An answer whose body is sent while it is read.
pub(super) fn stream(
    head: &[u8],
    body: Large,
    store: Rc<Store>,
    budget: Rc<ByteBudget>,
) -> Result<JsValue, JsValue> {
    let pipe = bindings::FixedLengthStream::new(body.bytes())?;
    let answer = bindings::streamed(head, &pipe.readable());
    let pace = OthersWait { budget, started: now(), moved: Cell::new(now()) };
    let writer = SteppedWriter::new(&pipe.writable(), pace)?;
    drop(spawn(async move {
        if let Err(why) = send(&writer, &body, &store).await {
            // The reader sees that it was cut.
            writer.abort(&why).await;
        }
    }));
    Ok(answer)
}

async fn send(
    writer: &SteppedWriter<OthersWait>,
    body: &Large,
    store: &Store,
) -> Result<(), Error> {
    match body {
        Large::Held(settled) => writer.write(&settled.body).await?,
        Large::Pieces(pieces, _) => {
            for id in pieces.ids() {
                writer.write(&store.piece(id)?).await?;
            }
        }
    }
    writer.close().await
}

/// A reader that does not go on loses its reservation if others wait for one.
struct OthersWait {
    budget: Rc<ByteBudget>,
    started: Timestamp,
    moved: Cell<Timestamp>,
}

impl Pace for OthersWait {
    fn moved(&self) {
        self.moved.set(now());
    }

    fn is_too_slow(&self) -> bool {
        let now = now();
        let slow = now.since(self.moved.get()) > IDLE_MAX || now.since(self.started) > SLOW_MAX;
        slow && self.budget.is_wanted()
    }
}

/// One who reads nothing for so long is slow: sooner than the others' patience of 3 s is over, or those who do not read
/// would keep those who do from ever reading.
const IDLE_MAX: Duration = Duration::from_millis(1_500);
/// And so is one who is not done after so long.
const SLOW_MAX: Duration = Duration::from_secs(20);
