//! How a large reply leaves a Ledger: in chunks, as it is read, never as a second copy.
//!
//! Callers who waited for a reply share the one that was settled; for all others it is read from its rows, one
//! chunk after the other. Both hold a reservation of the Ledger's [`ByteBudget`] until the last byte has left.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::store::{ChunkedBody, Store};
use crate::cloudflare::bindings;
use crate::cloudflare::byte_budget::{ByteBudget, Place as Reservation};
use crate::cloudflare::tasks::{Wait, pause, spawn, wait};
use crate::cloudflare::world::now;
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
) -> Result<JsValue, JsValue> {
    let pipe = bindings::FixedLengthStream::new(body.bytes())?;
    let answer = bindings::streamed(head, &pipe.readable());
    let writer = pipe.writable().get_writer()?;
    drop(spawn(async move {
        let sender = Sender { writer, budget, started: now() };
        if let Err(why) = sender.send(&body, &store).await {
            // The reader sees that the body was cut. A reader that has left need not see anything.
            if let Ok(aborted) = sender.writer.abort(&why) {
                let _ = wait(aborted).await;
            }
        }
    }));
    Ok(answer)
}

struct Sender {
    writer: bindings::Writer,
    budget: Rc<ByteBudget>,
    started: Timestamp,
}

impl Sender {
    async fn send(&self, body: &LargeBody, store: &Store) -> Result<(), JsValue> {
        match body {
            LargeBody::Held(settled) => self.write(&settled.body).await?,
            LargeBody::Chunks(chunks, _) => {
                for id in chunks.ids() {
                    self.write(&store.chunk(chunks, id)?).await?;
                }
            }
        }
        self.written(wait(self.writer.close()?)).await
    }

    /// Writes in small steps, to notice whether the other side goes on reading.
    async fn write(&self, bytes: &Uint8Array) -> Result<(), JsValue> {
        let length = bytes.byte_length();
        for at in (0..length).step_by(STEP_BYTES as usize) {
            let step = bytes.subarray(at, length.min(at + STEP_BYTES));
            self.written(wait(self.writer.write(&step)?)).await?;
        }
        Ok(())
    }

    async fn written(&self, mut written: Wait) -> Result<(), JsValue> {
        let began = now();
        loop {
            match select(&mut written, pause(CHECK_EVERY)).await {
                Either::Left((done, _)) => return done.map(|_| ()),
                Either::Right(_) => {
                    let slow =
                        now().since(began) > IDLE_MAX || now().since(self.started) > SLOW_MAX;
                    if slow && self.budget.is_wanted() {
                        return Err(JsValue::from_str("it is read too slowly, and others wait"));
                    }
                }
            }
        }
    }
}

const STEP_BYTES: u32 = 64 * 1024;
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// A reader that reads nothing for so long is cut off if others wait for its room: sooner than their patience
/// of 3 s is over, or readers that do not read would keep the others from ever reading.
const IDLE_MAX: Duration = Duration::from_millis(1_500);
/// And so is a reader that is not done after so long.
const SLOW_MAX: Duration = Duration::from_secs(20);
