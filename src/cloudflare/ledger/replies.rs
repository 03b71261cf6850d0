//! Stored replies on their way out: to who asks for them, and to all who waited.

use std::rc::Rc;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::operator::tallied;
use super::{Answer, Body, Found, PLACE_PATIENCE, Shard};
use crate::cloudflare::byte_budget::Reservation;
use crate::cloudflare::clock::{now, pause};
use crate::cloudflare::ledger::reply_stream::{Large, Settled};
use crate::cloudflare::ledger::store::{Lies, PIECE, Stored};
use crate::cloudflare::{SMALL, faults};
use crate::lifecycle::record::{Completed, Record, State as Stage};
use crate::lifecycle::step::Change;
use crate::operator::statistics::Counter;
use crate::protocol::{How, Replay, Told};
use crate::request::key::KeyId;
use crate::time::Timestamp;

impl Shard {
    pub(super) fn replay(
        &self,
        key: KeyId,
        completed: Completed,
        stored: &Stored,
        place: Option<Reservation>,
    ) -> Result<Found, JsValue> {
        let store = self.store()?;
        let told = replay(&completed, How::Replayed);
        let body = match store.body(stored, &completed.reply)? {
            None => None,
            Some(Lies::Here(body)) => Some(Body::Small(body)),
            Some(lies) => {
                let bytes = completed.reply.body.bytes().min(PIECE.into());
                let Some(place) = place.or_else(|| self.outgoing.try_reserve(bytes)) else {
                    return Ok(Found::Full(completed, bytes));
                };
                Some(Body::Large(match lies {
                    Lies::InPieces(pieces) => Large::Pieces(pieces, place),
                    Lies::Here(_) | Lies::InRow => {
                        let body = store.in_row(key, &completed.reply)?;
                        Large::Held(Rc::new(Settled { completed, body, place: Some(place) }))
                    }
                }))
            }
        };
        Ok(Found::Answer((told, body)))
    }

    /// A large reply's turn to be sent.
    pub(super) async fn queue(
        &self,
        key: KeyId,
        reply: Completed,
        bytes: u64,
    ) -> Result<Answer, JsValue> {
        let Some(place) = self.outgoing.reserve(bytes, PLACE_PATIENCE).await else {
            return Ok((Told::Crowded, None));
        };
        // Others had their turns in between: it may be another one by now.
        if let Some(stored) = self.store()?.find(key)?
            && completed(&stored.record).is_some_and(|now| now.lease == reply.lease)
            && let Found::Answer(answer) = self.replay(key, reply, &stored, Some(place))?
        {
            return Ok(answer);
        }
        Ok((Told::Again, None))
    }

    /// Whatever ends a claim wakes those who wait for it; a grant ends none.
    pub(super) fn wake(&self, key: KeyId, change: &Change, body: &Uint8Array) {
        match change {
            Change::Keep | Change::Insert(_) => {}
            Change::Update(_) | Change::Delete => self.parked.wake(key, &None),
            Change::Complete(record) if self.parked.is_awaited(key) => {
                let wake = completed(record).and_then(|completed| self.settled(completed, body));
                self.parked.wake(key, &wake.map(Rc::new));
            }
            Change::Complete(_) => {}
        }
    }

    /// The reply for all who wait for it. Where there is no room to send it they claim again, and take
    /// their turns.
    fn settled(&self, completed: &Completed, body: &Uint8Array) -> Option<Settled> {
        let bytes = body.byte_length();
        let place =
            if bytes > SMALL { Some(self.outgoing.try_reserve(bytes.into())?) } else { None };
        Some(Settled { completed: completed.clone(), body: body.clone(), place })
    }

    pub(super) async fn wait(
        &self,
        key: KeyId,
        until: Timestamp,
        route: &str,
    ) -> Result<Answer, JsValue> {
        let Some(woken) = self.parked.park(key) else { return Ok((Told::Crowded, None)) };
        let patience = pause(until.since(now()));
        let wake = match select(woken, patience).await {
            Either::Left((wake, _)) => wake.ok().flatten(),
            Either::Right(((), gone)) => {
                drop(gone);
                self.parked.forget_gone(key);
                None
            }
        };
        faults::here("woken");
        Ok(match wake {
            None => (Told::Again, None),
            Some(settled) => {
                let joined = |tally: &mut _| tallied(tally, route, Counter::Joined, key, 0);
                self.counted.count(self.store()?, joined);
                let told = replay(&settled.completed, How::Joined);
                let body = if settled.place.is_some() {
                    Body::Large(Large::Held(settled))
                } else {
                    Body::Small(settled.body.clone())
                };
                (told, Some(body))
            }
        })
    }
}

fn replay(completed: &Completed, how: How) -> Told<()> {
    Told::Replay(Replay {
        reply: completed.reply.clone(),
        expires: completed.expires,
        how,
        body: (),
    })
}

fn completed(record: &Record) -> Option<&Completed> {
    match &record.state {
        Stage::Completed(completed) => Some(completed),
        _ => None,
    }
}
