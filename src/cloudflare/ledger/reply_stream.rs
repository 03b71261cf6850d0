//! How a large reply leaves a Ledger: as it is read, a piece at a time, never as a second copy.
//!
//! Those who waited for a reply share the one that was settled; everybody else's is read from its rows,
//! 1 MiB after the other. Both take room of the Ledger's [`ByteBudget`] until the last byte has left.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::store::{Pieces, Store};
use crate::cloudflare::bindings;
use crate::cloudflare::byte_budget::{ByteBudget, Place};
use crate::cloudflare::tasks::{Wait, pause, spawn, wait};
use crate::cloudflare::world::now;
use crate::lifecycle::record::Completed;
use crate::time::Timestamp;

/// A reply in memory.
pub(super) struct Settled {
    /// What the record says of it.
    pub(super) completed: Completed,
    /// Its body.
    pub(super) body: Uint8Array,
    /// The room that it takes; none where it is small.
    pub(super) place: Option<Place>,
}

/// A body that is too large to be copied into a message.
pub(super) enum Large {
    /// In memory.
    Held(Rc<Settled>),
    /// In rows of its own; the room is for one of them.
    Pieces(Pieces, #[expect(dead_code, reason = "held while they are sent")] Place),
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
    places: Rc<ByteBudget>,
) -> Result<JsValue, JsValue> {
    let pipe = bindings::FixedLengthStream::new(body.bytes())?;
    let answer = bindings::streamed(head, &pipe.readable());
    let writer = pipe.writable().get_writer()?;
    drop(spawn(async move {
        let to = To { writer, places, started: now() };
        if let Err(why) = to.all(&body, &store).await {
            // The reader sees that it was cut. One who has left needs to see nothing.
            if let Ok(aborted) = to.writer.abort(&why) {
                let _ = wait(aborted).await;
            }
        }
    }));
    Ok(answer)
}

struct To {
    writer: bindings::Writer,
    places: Rc<ByteBudget>,
    started: Timestamp,
}

impl To {
    async fn all(&self, body: &Large, store: &Store) -> Result<(), JsValue> {
        match body {
            Large::Held(settled) => self.write(&settled.body).await?,
            Large::Pieces(pieces, _) => {
                for id in pieces.ids() {
                    self.write(&store.piece(id)?).await?;
                }
            }
        }
        self.step(wait(self.writer.close()?)).await
    }

    /// In small steps, to see whether the other side goes on reading.
    async fn write(&self, bytes: &Uint8Array) -> Result<(), JsValue> {
        let length = bytes.byte_length();
        for at in (0..length).step_by(STEP as usize) {
            let step = bytes.subarray(at, length.min(at + STEP));
            self.step(wait(self.writer.write(&step)?)).await?;
        }
        Ok(())
    }

    async fn step(&self, mut written: Wait) -> Result<(), JsValue> {
        let began = now();
        loop {
            match select(&mut written, pause(LOOK_EVERY)).await {
                Either::Left((done, _)) => return done.map(|_| ()),
                Either::Right(_) => {
                    let slow =
                        now().since(began) > IDLE_MAX || now().since(self.started) > SLOW_MAX;
                    if slow && self.places.is_wanted() {
                        return Err(JsValue::from_str("it is read too slowly, and others wait"));
                    }
                }
            }
        }
    }
}

const STEP: u32 = 64 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// One who reads nothing for so long loses its place if others wait for it: sooner than their patience of
/// 3 s is over, or those who do not read would keep those who do from ever reading.
const IDLE_MAX: Duration = Duration::from_millis(1_500);
/// And so does one who is not done after so long.
const SLOW_MAX: Duration = Duration::from_secs(20);
