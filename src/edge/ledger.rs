//! The Durable Object: load, step, store, wake. It arbitrates and never calls out.
//!
//! Claim, settle and release are each one synchronous block: from reading the row to writing it nothing
//! is awaited, so no other event can come between (input gates close only around storage operations;
//! any other await lets others in). The answer leaves after the write is on disk: the runtime's output
//! gate holds it until then, so a granted claim is durable.

use std::cell::{Cell, OnceCell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::{Delay, DurableObject, Env, Request, Response, State, durable_object, wasm_bindgen};

use super::body::message;
use super::exchange::{call, join, now, split};
use super::js;
use super::parked::Parked;
use super::store::{Store, Stored};
use crate::ask::{Ask, CredentialChange, How, Replay, Told};
use crate::key::KeyId;
use crate::record::{
    Change, Completed, Due, Event, Kindred, Millis, Record, State as Stage, Step, Verdict, step,
};
use crate::released::Released;
use crate::wire::{self, Addressed, VERSION};

/// One shard.
#[durable_object(alarm)]
pub struct Ledger {
    storage: js::Storage,
    store: OnceCell<Store>,
    parked: Parked,
    /// Leases that were released or settled a moment ago.
    released: RefCell<Released>,
    /// When the alarm is set for; unknown until asked after a start.
    alarm: Cell<Alarm>,
    /// The number of shards that this data was first used with, once known.
    shards: Cell<Option<u16>>,
    /// Where shard 0 is asked for it.
    env: JsValue,
    /// The next sweep comes no sooner: a pass costs as much as the shard has rows.
    sweep_from: Cell<Millis>,
}

#[derive(Clone, Copy)]
enum Alarm {
    Unknown,
    Off,
    At(Millis),
}

/// What is answered, with the body beside it.
type Answer = (Told<()>, Option<Uint8Array>);

impl DurableObject for Ledger {
    fn new(state: State, env: Env) -> Self {
        let storage: js::Storage = js::get(state.as_raw(), "storage").unchecked_into();
        Self {
            storage,
            store: OnceCell::new(),
            parked: Parked::default(),
            released: RefCell::default(),
            alarm: Cell::new(Alarm::Unknown),
            shards: Cell::new(None),
            env: env.into(),
            sweep_from: Cell::new(Millis(0)),
        }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let question = message(request.inner().array_buffer()).await?;
        let (version, (told, body)) = self.hear(&question).await;
        let frame = join(&wire::write_told(&told, version), body.as_ref());
        let answer: web_sys::Response =
            js::NewResponse::new(&frame, &JsValue::UNDEFINED)?.unchecked_into();
        Ok(answer.into())
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.alarm.set(Alarm::Off);
        self.sweep().await?;
        Response::empty()
    }
}

impl Ledger {
    async fn hear(&self, question: &Uint8Array) -> (u8, Answer) {
        let failed = |why: String| (VERSION, (Told::Failed(why), None));
        let (prefix, head, body) = match split(question) {
            Ok((prefix, ..)) if !prefix.is_known() => {
                return (VERSION, (Told::UnknownVersion(VERSION), None));
            }
            Ok(parts) => parts,
            Err(wire::Unreadable(at)) => {
                return failed(format!("the question is unreadable: {at}"));
            }
        };
        let addressed = match wire::read_ask(&head) {
            Ok(addressed) => addressed,
            Err(wire::Unreadable(at)) => {
                return failed(format!("the question is unreadable: {at}"));
            }
        };
        match self.answer(addressed, &body).await {
            Ok(answer) => (prefix.version, answer),
            Err(error) => failed(js::text(&error)),
        }
    }

    async fn answer(&self, addressed: Addressed, body: &Uint8Array) -> Result<Answer, JsValue> {
        let Addressed { key, shards, ask } = addressed;
        self.know_alarm().await?;
        if matches!(ask, Ask::Claim(..) | Ask::Shards) {
            let first = self.first_shards(&ask, key, shards).await?;
            if first != shards {
                return Ok((Told::OtherShards(first), None));
            }
        }
        match self.take(key, ask, body)? {
            Found::Answer(answer) => Ok(answer),
            Found::Wait(until) => self.wait(key, until).await,
        }
    }

    /// The number of shards that this data was first used with. A shard that has none yet asks shard 0,
    /// which every number of shards has: under another number a known key would be unknown, and run again.
    async fn first_shards(&self, ask: &Ask, key: KeyId, shards: u16) -> Result<u16, JsValue> {
        let store = self.store()?;
        let known = match self.shards.get() {
            Some(known) => Some(known),
            None => store.shards()?,
        };
        let first = match known {
            Some(known) => known,
            None if matches!(ask, Ask::Shards) || key.shard(shards) == 0 => {
                store.remember_shards(shards)?
            }
            None => {
                let first = self.ask_shard_0(key, shards).await?;
                if first == shards { store.remember_shards(shards)? } else { first }
            }
        };
        if known.is_some() || first == shards {
            self.shards.set(Some(first));
        }
        Ok(first)
    }

    async fn ask_shard_0(&self, key: KeyId, shards: u16) -> Result<u16, JsValue> {
        let frame =
            join(&wire::write_ask(&Addressed { key, shards, ask: Ask::Shards }, VERSION), None);
        let ledger: js::Namespace = js::get(&self.env, "LEDGER").unchecked_into();
        let answer = call(&ledger, 0, None, &frame).await?;
        let told = split(&answer).and_then(|(_, head, _)| wire::read_told(&head));
        match told {
            Ok(Told::Kept(_)) => Ok(shards),
            Ok(Told::OtherShards(first)) => Ok(first),
            Ok(_) | Err(_) => {
                Err(JsValue::from_str("shard 0 does not say how many shards there are"))
            }
        }
    }

    /// The database; opened on first use, and again where that failed.
    fn store(&self) -> Result<&Store, JsValue> {
        if self.store.get().is_none() {
            // Nobody else can have set it since: nothing was awaited.
            let _ = self.store.set(Store::open(&self.storage)?);
        }
        self.store.get().ok_or_else(|| JsValue::from_str("the database is not open"))
    }

    /// The synchronous block: read, decide, write. No await in here.
    fn take(&self, key: KeyId, ask: Ask, body: &Uint8Array) -> Result<Found, JsValue> {
        let store = self.store()?;
        let now = now();
        let (stored, event) = match ask {
            // A copy of a claim that was on its way while its lease was given back or settled: granting
            // it would leave the key to nobody.
            Ask::Claim(claim, _) if self.released.borrow().has(claim.lease, now) => {
                return Ok(Found::Answer((Told::Stale, None)));
            }
            Ask::Claim(claim, change) => {
                let kin = matches!(change, CredentialChange::Refuse).then_some(claim.about.kin);
                let (stored, kindred) = store.find_with_body(key, kin)?;
                let live = kindred.into_iter().any(|record| record.at(now).is_some());
                (stored, Event::Claim(claim, if live { Kindred::Live } else { Kindred::None }))
            }
            Ask::Settle(lease, reply) => {
                self.released.borrow_mut().remember(lease, now);
                (store.find(key)?, Event::Settle(lease, reply))
            }
            Ask::Release(lease) => {
                self.released.borrow_mut().remember(lease, now);
                (store.find(key)?, Event::Release(lease))
            }
            Ask::Doubt(lease) => (store.find(key)?, Event::Doubt(lease)),
            Ask::Look(fingerprint) => {
                (store.find_with_body(key, None)?.0, Event::Look(fingerprint))
            }
            Ask::Shards => return Ok(Found::Answer((Told::Kept(None), None))),
        };
        let Step { change, verdict } =
            step(stored.as_ref().map(|stored| stored.record.clone()), event, now);
        store.apply(key, stored.as_ref(), &change, body)?;
        self.wake(key, &change, body);
        if let Change::Insert(record) | Change::Update(record) | Change::Complete(record) = &change
        {
            let (Due::Delete(at) | Due::Tombstone(at)) = record.due();
            self.arm(at);
        }
        told(store, verdict, stored.as_ref())
    }

    /// Whatever ends a claim wakes those who wait for it; a grant ends none.
    fn wake(&self, key: KeyId, change: &Change, body: &Uint8Array) {
        match change {
            Change::Keep | Change::Insert(_) => {}
            Change::Update(_) | Change::Delete => self.parked.wake(key, &None),
            Change::Complete(record) => {
                let wake =
                    completed(record).map(|completed| Rc::new((completed.clone(), body.clone())));
                self.parked.wake(key, &wake);
            }
        }
    }

    async fn wait(&self, key: KeyId, until: Millis) -> Result<Answer, JsValue> {
        let Some(woken) = self.parked.park(key) else { return Ok((Told::Crowded, None)) };
        let patience = Delay::from(Duration::from_millis(until.since(now()).0));
        let wake = match select(woken, pin!(patience)).await {
            Either::Left((wake, _)) => wake.ok().flatten(),
            Either::Right(((), gone)) => {
                drop(gone);
                self.parked.forget_gone(key);
                None
            }
        };
        Ok(match wake {
            None => (Told::Again, None),
            Some(settled) => {
                let (completed, body) = settled.as_ref();
                (replay(completed, How::Joined), Some(body.clone()))
            }
        })
    }

    /// Asked once after a start: setting an alarm without knowing would move an earlier one.
    async fn know_alarm(&self) -> Result<(), JsValue> {
        if matches!(self.alarm.get(), Alarm::Unknown) {
            let set = JsFuture::from(self.storage.get_alarm()?).await?.as_f64();
            if matches!(self.alarm.get(), Alarm::Unknown) {
                self.alarm.set(set.map_or(Alarm::Off, |at| Alarm::At(from_js(at))));
            }
        }
        Ok(())
    }

    /// Sets the alarm if it is not set for as early. It belongs to the same commit as the row. A failure
    /// is no reason to refuse: the row is right, and the next one tries again.
    fn arm(&self, due: Millis) {
        let at = due.max(self.sweep_from.get());
        if matches!(self.alarm.get(), Alarm::At(set) if set <= at) {
            return;
        }
        // The call is made here and now; its promise says nothing that the output gate does not.
        match self.storage.set_alarm(to_js(at)) {
            Ok(_) => self.alarm.set(Alarm::At(at)),
            Err(error) => {
                worker::console_error!("the sweep could not be scheduled: {}", js::text(&error));
            }
        }
    }

    /// One pass over the shard in bounded batches. Between two batches other requests get their turn.
    async fn sweep(&self) -> Result<(), JsValue> {
        let store = self.store()?;
        let (mut after, mut rows, mut next) = (None, 0, None);
        while let Some(batch) = store.sweep(after.as_ref(), now())? {
            rows += batch.rows;
            next = [next, batch.next].into_iter().flatten().min();
            after = Some(batch.last);
            Delay::from(Duration::ZERO).await;
        }
        self.sweep_from.set(now().plus(SWEEP_PAUSE).plus(Millis(rows)));
        if let Some(due) = next {
            self.arm(due);
        }
        Ok(())
    }
}

/// What a question led to.
enum Found {
    Answer(Answer),
    Wait(Millis),
}

fn told(store: &Store, verdict: Verdict, stored: Option<&Stored>) -> Result<Found, JsValue> {
    let told = match verdict {
        Verdict::Join(until) => return Ok(Found::Wait(until)),
        Verdict::Replay(completed) => {
            let body =
                stored.map(|stored| store.body(stored, &completed.reply)).transpose()?.flatten();
            return Ok(Found::Answer((replay(&completed, How::Replayed), body)));
        }
        Verdict::Granted(run) => Told::Granted(run),
        Verdict::InFlight { retry_after_s } => Told::InFlight { retry_after_s },
        Verdict::AlreadyExecuted => Told::AlreadyExecuted,
        Verdict::InDoubt { lease, over_for } => Told::InDoubt { lease, over_for },
        Verdict::Expired => Told::Expired,
        Verdict::KeyReused => Told::KeyReused,
        Verdict::CredentialChanged => Told::CredentialChanged,
        Verdict::Kept(expires) => Told::Kept(expires),
        Verdict::Stale => Told::Stale,
        Verdict::Absent => Told::Absent,
    };
    Ok(Found::Answer((told, None)))
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

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole milliseconds since 1970"
)]
fn from_js(at: f64) -> Millis {
    Millis(at as u64)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay below 2^53")]
fn to_js(at: Millis) -> f64 {
    at.0 as f64
}

/// Between two passes at least, and 1 ms more for each row of the shard: a pass over 10^6 rows, which
/// costs about half a second of the object's time, comes at most every 17 minutes.
const SWEEP_PAUSE: Millis = Millis(5_000);
