//! What follows from an event: the decision, then whoever waited is woken, the sweep is scheduled, and the
//! event is counted.

use std::time::Duration;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::replies::Next;
use super::store::EventRows;
use super::{Answer, Shard};
use crate::cloudflare::clock::now;
use crate::lifecycle::event::{Event, Verdict};
use crate::lifecycle::ledger::{self, Decision};
use crate::lifecycle::record::SweepAction;
use crate::lifecycle::step::{Change, Step};
use crate::operator::statistics::Counter;
use crate::protocol::LedgerAnswer;
use crate::request::key::KeyId;

impl Shard {
    pub(super) async fn happen(
        &self,
        key_id: KeyId,
        event: Event,
        body: &Uint8Array,
    ) -> Result<Answer, JsValue> {
        match self.decide(key_id, event, body)? {
            Next::Answer(answer) => Ok(answer),
            Next::Wait(until, route) => self.wait(key_id, until, &route).await,
            Next::Queue(reply) => self.queue(key_id, reply).await,
        }
    }

    /// The synchronous block. No await in here.
    fn decide(&self, key_id: KeyId, mut event: Event, body: &Uint8Array) -> Result<Next, JsValue> {
        let store = self.store()?;
        if let Event::Claim(claim) = &mut event
            && !self.waiters.has_place(key_id)
        {
            claim.wait = Duration::ZERO;
        }
        // Taken out meanwhile: a cell that stays borrowed after a fault would fail every later event.
        let mut ended = self.ended_leases.take();
        let mut rows = EventRows::new(store, body);
        let decided = ledger::decide(&mut rows, &mut ended, key_id, event, now());
        self.ended_leases.replace(ended);
        let Decision { step, found, route } = decided?;
        self.written(key_id, &step.change, body);
        let count = route.zip(Counter::of(&step));
        let Step { verdict, .. } = step;
        let next = match (verdict, &found) {
            (Verdict::Replay(replay), Some(row)) => self.replay(key_id, replay, row, None)?,
            (Verdict::Join(until), _) => {
                let route = count.as_ref().map(|(route, _)| route.clone());
                Next::Wait(until, route.unwrap_or_default())
            }
            (verdict, _) => Next::Answer((LedgerAnswer::Verdict(verdict), None)),
        };
        match (next, count) {
            // Counted when it is sent.
            (Next::Queue(mut reply), count) => {
                reply.count = count;
                Ok(Next::Queue(reply))
            }
            (next, Some((route, count))) => {
                self.statistics.count(store, &route, count, key_id, body.byte_length().into());
                Ok(next)
            }
            (next, None) => Ok(next),
        }
    }

    /// What follows from a change: the waiters are woken, and the sweep comes in time.
    pub(super) fn written(&self, key_id: KeyId, change: &Change, body: &Uint8Array) {
        self.wake(key_id, change, body);
        if let Change::Insert(record) | Change::Update(record) | Change::Complete(record) = change {
            let (SweepAction::Delete(at) | SweepAction::Tombstone(at)) = record.due();
            self.arm(at);
        }
    }
}
