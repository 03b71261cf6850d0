//! Stored replies on their way to the callers: to whoever asks for one, and to all who waited for it.

use std::rc::Rc;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;

use super::reply_stream::{LargeBody, SettledReply};
use super::store::{BodyPlace, CHUNK_BYTES, StoredRow};
use super::{Answer, BUDGET_PATIENCE, Body, Shard};
use crate::cloudflare::byte_budget::Reservation;
use crate::cloudflare::clock::{now, pause};
use crate::cloudflare::error::Error;
use crate::cloudflare::{SMALL, faults};
use crate::lifecycle::event::{How, Replay, Verdict};
use crate::lifecycle::ledger::Wake;
use crate::lifecycle::record::{Completed, Lease, Record, State};
use crate::lifecycle::step::Change;
use crate::operator::statistics::Counter;
use crate::protocol::LedgerAnswer;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// How a caller comes to its answer.
pub(super) enum Next {
    /// At once.
    Answer(Answer),
    /// It waits for the running claim until then; its reply counts for this route, if it counts.
    Wait(Timestamp, Option<String>),
    /// The reply is too large to be sent before others have been.
    Queue(QueuedReply),
}

/// A reply that waits until there is room for its bytes.
pub(super) struct QueuedReply {
    replay: Replay,
    /// The lease that ended with it.
    lease: Option<Lease>,
    bytes: u64,
    /// What is counted when it is sent, and for which route.
    pub(super) count: Option<(String, Counter)>,
}

impl Shard {
    pub(super) fn replay(
        &self,
        key_id: KeyId,
        replay: Replay,
        row: &StoredRow,
        reservation: Option<Reservation>,
    ) -> Result<Next, Error> {
        let store = self.store()?;
        let body = match store.body(key_id, row, &replay.reply)? {
            None => None,
            Some(BodyPlace::Here(body)) => Some(Body::Small(body)),
            Some(place) => {
                let bytes = replay.reply.body.bytes().min(CHUNK_BYTES.into());
                let Some(reservation) = reservation.or_else(|| self.outgoing.try_reserve(bytes))
                else {
                    let lease = reply_lease(&row.record);
                    return Ok(Next::Queue(QueuedReply { replay, lease, bytes, count: None }));
                };
                Some(Body::Large(match place {
                    BodyPlace::InChunks(chunks) => LargeBody::Chunks(chunks, reservation),
                    BodyPlace::Here(_) | BodyPlace::InRow => {
                        let body = store.body_in_row(key_id, &replay.reply)?;
                        let (replay, reservation) = (replay.clone(), Some(reservation));
                        LargeBody::Held(Rc::new(SettledReply { replay, body, reservation }))
                    }
                }))
            }
        };
        Ok(Next::Answer((LedgerAnswer::Verdict(Verdict::Replay(replay)), body)))
    }

    /// Waits until a large reply can be sent.
    pub(super) async fn queue(&self, key_id: KeyId, queued: QueuedReply) -> Result<Answer, Error> {
        let QueuedReply { replay, lease, bytes, count } = queued;
        let Some(reservation) = self.outgoing.reserve(bytes, BUDGET_PATIENCE).await else {
            return Ok((LedgerAnswer::Crowded, None));
        };
        // Other events came in between: it may be another reply by now.
        let store = self.store()?;
        if let Some(row) = store.find(key_id)?
            && reply_lease(&row.record) == lease
            && let Next::Answer(answer) = self.replay(key_id, replay, &row, Some(reservation))?
        {
            if let Some((route, count)) = count {
                self.statistics.count(store, &route, count, key_id, 0);
            }
            return Ok(answer);
        }
        Ok((LedgerAnswer::ClaimAgain, None))
    }

    pub(super) fn wake(&self, key_id: KeyId, change: &Change, body: &Uint8Array) {
        match change.wake() {
            Wake::Nobody => {}
            Wake::ClaimAgain => self.waiters.wake(key_id, &None),
            Wake::Reply(completed) if self.waiters.has_any(key_id) => {
                let reply = self.settled(completed, body);
                self.waiters.wake(key_id, &reply.map(Rc::new));
            }
            Wake::Reply(_) => {}
        }
    }

    /// The reply for all who wait for it. Where there is no room to send it, they claim again and queue.
    fn settled(&self, completed: &Completed, body: &Uint8Array) -> Option<SettledReply> {
        let bytes = body.byte_length();
        let reservation =
            if bytes > SMALL { Some(self.outgoing.try_reserve(bytes.into())?) } else { None };
        let replay = Replay::of(completed, How::Joined);
        Some(SettledReply { replay, body: body.clone(), reservation })
    }

    /// Waits for the end of the running claim.
    pub(super) async fn wait(
        &self,
        key_id: KeyId,
        until: Timestamp,
        route: Option<&str>,
    ) -> Result<Answer, Error> {
        let woken = self.waiters.add(key_id);
        let wake = match select(woken, pause(until.since(now()))).await {
            Either::Left((wake, _)) => wake.ok().flatten(),
            Either::Right(((), given_up)) => {
                drop(given_up);
                self.waiters.forget_canceled(key_id);
                None
            }
        };
        faults::here("woken");
        let Some(settled) = wake else { return Ok((LedgerAnswer::ClaimAgain, None)) };
        if let Some(route) = route {
            self.statistics.count(self.store()?, route, Counter::Joined, key_id, 0);
        }
        let answer = LedgerAnswer::Verdict(Verdict::Replay(settled.replay.clone()));
        let body = if settled.reservation.is_some() {
            Body::Large(LargeBody::Held(settled))
        } else {
            Body::Small(settled.body.clone())
        };
        Ok((answer, Some(body)))
    }
}

/// The lease that ended with the record's reply.
fn reply_lease(record: &Record) -> Option<Lease> {
    match &record.state {
        State::Completed(completed) => Some(completed.lease),
        State::Released(released) => Some(released.lease),
        State::Running(_) | State::InDoubt(_) | State::Expired(_) | State::Closed(_) => None,
    }
}
