//! What follows from an event: the decision, then whoever waited is woken, the sweep is scheduled, and the
//! event is counted.

use std::time::Duration;

use js_sys::Uint8Array;

use super::replies::Next;
use super::store::EventRows;
use super::{Answer, Shard};
use crate::cloudflare::clock::now;
use crate::cloudflare::error::Error;
use crate::cloudflare::{bindings, faults};
use crate::lifecycle::event::{Claim, Event, Verdict};
use crate::lifecycle::ledger::{self, Decision};
use crate::lifecycle::record::SweepAction;
use crate::lifecycle::reply::Kept;
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
    ) -> Result<Answer, Error> {
        match self.decide(key_id, event, body)? {
            Next::Answer(answer) => Ok(answer),
            Next::Wait(until, route) => self.wait(key_id, until, route.as_deref()).await,
            Next::Queue(reply) => self.queue(key_id, reply).await,
        }
    }

    /// The synchronous block. No await in here.
    fn decide(&self, key_id: KeyId, mut event: Event, body: &Uint8Array) -> Result<Next, Error> {
        let store = self.store()?;
        if let Event::Claim(Claim { wait, .. }) | Event::Look(_, wait) = &mut event
            && !self.waiters.has_place(key_id)
        {
            *wait = Duration::ZERO;
        }
        if let Event::Claim(claim) = &event
            && let Some(counter) = Counter::of_asker(claim.asker)
        {
            self.statistics.count(store, &claim.metadata.route, counter, key_id, 0);
        }
        let keeps_heads = self.is_nearly_full(&event, body);
        let none = Uint8Array::new_with_length(0);
        let body = if keeps_heads { &none } else { body };
        if let (true, Event::Settle(_, reply)) = (keeps_heads, &mut event) {
            reply.body = Kept::StatusOnly;
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
                Next::Wait(until, route)
            }
            // Nothing that could be replayed is stored, so nothing expires.
            (Verdict::Kept(Some(_)), _) if keeps_heads => {
                Next::Answer((LedgerAnswer::Verdict(Verdict::Kept(None)), None))
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

    /// Whether a settle brings a body to a shard that keeps heads only, since it is nearly full: a full one would refuse
    /// everybody. It is asked for its size after each MiB of bodies.
    fn is_nearly_full(&self, event: &Event, body: &Uint8Array) -> bool {
        if !matches!(event, Event::Settle(..)) || body.byte_length() == 0 {
            return false;
        }
        let written = self.unmeasured.get() + u64::from(body.byte_length());
        let known = self.is_full.get().filter(|_| written < MEASURED_EVERY);
        let is_full = known.unwrap_or_else(|| {
            self.unmeasured.set(0);
            let size = faults::database_size(self.storage.sql().database_size() as u64);
            let is_full = size > NEARLY_FULL;
            if is_full {
                bindings::log_error(&format!(
                    "a shard is nearly full ({size} of 10,000,000,000 bytes): it keeps no bodies of replies any more. Shorten ttl, or lower reply.max"
                ));
            }
            self.is_full.set(Some(is_full));
            is_full
        });
        self.unmeasured.set(self.unmeasured.get() + u64::from(body.byte_length()));
        is_full
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

/// 80 % of the 10 GB that an object's database holds (developers.cloudflare.com, durable-objects/platform/limits).
const NEARLY_FULL: u64 = 8_000_000_000;
/// After so many bytes of bodies a shard is asked for its size again.
const MEASURED_EVERY: u64 = 1024 * 1024;
