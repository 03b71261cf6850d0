//! The Durable Object: load, step, store, wake. It arbitrates and never calls out.
//!
//! Claim, settle and release are each one synchronous block: from reading the row to writing it nothing
//! is awaited, so no other event can come between (input gates close only around storage operations;
//! any other await lets others in). The answer leaves after the write is on disk: the runtime's output
//! gate holds it until then, so a granted claim is durable.

mod operator;
mod replies;
mod reply_stream;
mod shard_count;
mod store;
mod sweep;
mod waiters;

use std::cell::{Cell, OnceCell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot::Canceled;
use futures_util::future::{Either, select};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::future_to_promise;
use worker::{DurableObject, Env, Request, Response, State, Storage};

use self::operator::{Counted, tallied};
use self::reply_stream::Large;
use self::store::{Others, Store, Stored};
use self::sweep::Alarm;
use self::waiters::Waiters;
use crate::cloudflare::byte_budget::ByteBudget;
use crate::cloudflare::clock::{now, pause};
use crate::cloudflare::ledger_stub::message;
use crate::cloudflare::tasks::{scoped, spawn, wait};
use crate::cloudflare::{bindings, faults};
use crate::filter::CALL_PATIENCE;
use crate::lifecycle::ended_leases::Released;
use crate::lifecycle::record::{Completed, State as Stage, SweepAction};
use crate::lifecycle::step::{Change, Event, OtherCredential, Verdict, step};
use crate::operator::statistics::Counter;
use crate::protocol::{Ask, CredentialChange, Told};
use crate::request::key::KeyId;
use crate::time::Timestamp;
use crate::wire::{self, Addressed, VERSION};

/// The object, as the class of `entry.js` calls it.
#[worker::durable_object(alarm)]
pub struct Ledger(Rc<Shard>);

// A panic in one request leaves what the others use as it was: every borrow of a cell ends before
// anything that can panic, and the rows are written in one transaction.
impl std::panic::UnwindSafe for Ledger {}
impl std::panic::RefUnwindSafe for Ledger {}

impl DurableObject for Ledger {
    /// Nothing is read before the first question.
    fn new(state: State, env: Env) -> Self {
        Self(Rc::new(Shard::new(state.storage(), env)))
    }

    /// Answers a question whose body is large, when there is room for it.
    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let answer = self.answer(Question::Coming(Clone::clone(request.inner()))).await?;
        // Of anything else a response would be made too, and read as an empty one.
        match answer.dyn_into::<Uint8Array>() {
            Ok(message) => {
                Ok(web_sys::Response::new_with_opt_buffer_source(Some(&message))?.into())
            }
            Err(_) => Err("a large question was answered by a stream".into()),
        }
    }

    /// Sweeps.
    async fn alarm(&self) -> worker::Result<Response> {
        let shard = self.0.clone();
        shard.alarm.set(Alarm::Off);
        let swept = scoped(async { spawn(async move { shard.sweep().await }).await });
        match swept.await {
            Some(Ok(swept)) => swept?,
            // The runtime tries a failed alarm again.
            Some(Err(Canceled)) | None => return Err("the sweep failed".into()),
        }
        Response::empty()
    }
}

#[wasm_bindgen]
impl Ledger {
    /// Answers a question.
    pub fn hear(&self, head: Vec<u8>, body: Option<Uint8Array>) -> Promise {
        faults::here("begin");
        let ledger = Self(self.0.clone());
        let answer = async move { ledger.answer(Question::Here(head, body)).await };
        future_to_promise(AssertUnwindSafe(answer))
    }
}

impl Ledger {
    /// The question is answered in a task of its own, and so it is where a fault ended that task: nothing in this one
    /// can fail.
    async fn answer(&self, question: Question) -> Result<JsValue, JsValue> {
        let shard = self.0.clone();
        let answer = scoped(async move {
            let about = Rc::new(Cell::new(None));
            let (hearing, key) = (shard.clone(), about.clone());
            if let Ok(answer) = spawn(async move { hearing.reply(question, &key).await }).await {
                return answer;
            }
            let aborted = spawn(async move { shard.aborted(about.get()) }).await;
            aborted.unwrap_or_else(|Canceled| Err(JsValue::from_str("two faults in one question")))
        });
        answer.await.unwrap_or_else(|| Err(JsValue::from_str("the question's context has ended")))
    }
}

enum Question {
    /// All of it.
    Here(Vec<u8>, Option<Uint8Array>),
    /// To be read when there is room.
    Coming(web_sys::Request),
}

/// One shard.
struct Shard {
    storage: Storage,
    store: OnceCell<Rc<Store>>,
    parked: Waiters,
    /// Bytes of large replies that come in to be stored.
    incoming: Rc<ByteBudget>,
    /// Bytes of large replies that go out.
    outgoing: Rc<ByteBudget>,
    /// Leases that were released or settled a moment ago.
    released: RefCell<Released>,
    /// When the alarm is set for; unknown until asked after a start.
    alarm: Cell<Alarm>,
    /// The number of shards that this data was first used with, once known.
    shards: Cell<Option<u16>>,
    /// Where shard 0 is asked for it.
    env: Env,
    /// The next sweep comes no sooner: a pass costs as much as the shard has rows.
    sweep_from: Cell<Timestamp>,
    /// What has happened, for operators.
    counted: Counted,
}

/// What is answered, with the body beside it.
type Answer = (Told<()>, Option<Body>);

enum Body {
    Small(Uint8Array),
    Large(Large),
}

/// An answer, in the version in which it was asked for.
type Said = (u8, Answer);

impl Shard {
    fn new(storage: Storage, env: Env) -> Self {
        Self {
            storage,
            store: OnceCell::new(),
            parked: Waiters::default(),
            incoming: Rc::new(ByteBudget::new(PLACES_BYTES)),
            outgoing: Rc::new(ByteBudget::new(PLACES_BYTES)),
            released: RefCell::default(),
            alarm: Cell::new(Alarm::Unknown),
            shards: Cell::new(None),
            env,
            sweep_from: Cell::new(Timestamp(0)),
            counted: Counted::default(),
        }
    }

    async fn reply(
        &self,
        question: Question,
        about: &Cell<Option<KeyId>>,
    ) -> Result<JsValue, JsValue> {
        let said = match question {
            Question::Here(head, body) => self.hear(&head, body, about).await,
            Question::Coming(request) => self.listen(&request, about).await?,
        };
        self.respond(said)
    }

    fn respond(&self, (version, (told, body)): Said) -> Result<JsValue, JsValue> {
        faults::here("told");
        let head = wire::write_told(&told, version);
        match body {
            None => Ok(bindings::told(&head, None)),
            Some(Body::Small(body)) => Ok(bindings::told(&head, Some(&body))),
            Some(Body::Large(body)) => {
                reply_stream::stream(&head, body, self.store()?.clone(), self.outgoing.clone())
            }
        }
    }

    /// The answer where a fault ended the work in the middle.
    fn aborted(&self, key: Option<KeyId>) -> Result<JsValue, JsValue> {
        faults::here("failed");
        if let Some(key) = key {
            // It may have been written before: those who wait for the key ask again.
            self.parked.wake(key, &None);
        }
        let why = "the Ledger failed, its log says where".to_owned();
        self.respond((VERSION, (Told::Failed(why), None)))
    }

    /// Reads a large question when there is room for it, until which its bytes stay where they are.
    async fn listen(
        &self,
        request: &web_sys::Request,
        about: &Cell<Option<KeyId>>,
    ) -> Result<Said, JsValue> {
        let crowded = Ok((VERSION, (Told::Crowded, None)));
        let url = request.url();
        let bytes = url.rsplit('/').next().and_then(|bytes| bytes.parse().ok());
        let place = self.incoming.reserve(bytes.unwrap_or(u64::MAX), PLACE_PATIENCE).await;
        if place.is_none() {
            return crowded;
        }
        // The Worker has all of it, so this takes no time, unless the connection is lost on the way.
        let read = bindings::opened(request);
        let opened = match select(wait(read), pause(CALL_PATIENCE)).await {
            Either::Left((opened, _)) => opened?,
            Either::Right(_) => return crowded,
        };
        let (head, body) = message(opened);
        let said = self.hear(&head, body.dyn_into().ok(), about).await;
        drop(place);
        Ok(said)
    }

    async fn hear(
        &self,
        frame: &[u8],
        body: Option<Uint8Array>,
        about: &Cell<Option<KeyId>>,
    ) -> Said {
        let failed = |why: String| (VERSION, (Told::Failed(why), None));
        let unreadable = |wire::Unreadable(at)| failed(format!("the question is unreadable: {at}"));
        let (prefix, head) = match wire::open(frame) {
            Ok((prefix, _)) if !prefix.is_known() => {
                return (VERSION, (Told::UnknownVersion(VERSION), None));
            }
            Ok(parts) => parts,
            Err(error) => return unreadable(error),
        };
        let addressed = match wire::read_ask(head) {
            Ok(addressed) => addressed,
            Err(error) => return unreadable(error),
        };
        about.set(Some(addressed.key));
        let body = body.unwrap_or_else(|| Uint8Array::new_with_length(0));
        match self.answer(addressed, &body).await {
            Ok(answer) => (prefix.version, answer),
            Err(error) => failed(bindings::text(&error)),
        }
    }

    async fn answer(&self, addressed: Addressed, body: &Uint8Array) -> Result<Answer, JsValue> {
        let Addressed { key, shards, ask } = addressed;
        if let Ask::Operator(query) = ask {
            // A decision may set the alarm, and must not move an earlier one.
            self.know_alarm().await?;
            // A shard that has never been used stays so: reads write nothing.
            return match self.store()?.shards()?.filter(|first| *first != shards) {
                Some(first) => Ok((Told::OtherShards(first), None)),
                None => {
                    let result = self.answer_operator(key, query, body).await?;
                    Ok((Told::Operator(result), None))
                }
            };
        }
        self.know_alarm().await?;
        if matches!(ask, Ask::Claim(..) | Ask::Shards) {
            let first = self.first_shards(&ask, key, shards).await?;
            if first != shards {
                return Ok((Told::OtherShards(first), None));
            }
        }
        match self.take(key, ask, body)? {
            Found::Answer(answer) => Ok(answer),
            Found::Wait(until, route) => self.wait(key, until, &route).await,
            Found::Full(completed, bytes) => self.queue(key, completed, bytes).await,
        }
    }

    /// The database; opened on first use, and again where that failed.
    fn store(&self) -> Result<&Rc<Store>, JsValue> {
        if self.store.get().is_none() {
            // Nobody else can have set it since: nothing was awaited.
            let _ = self.store.set(Rc::new(Store::open(&self.storage)?));
        }
        self.store.get().ok_or_else(|| JsValue::from_str("the database is not open"))
    }

    /// The synchronous block: read, decide, write. No await in here.
    fn take(&self, key: KeyId, ask: Ask, body: &Uint8Array) -> Result<Found, JsValue> {
        let store = self.store()?;
        let now = now();
        let mut around = 0;
        let claimed = match &ask {
            Ask::Claim(claim, _) => Some(claim.metadata.route.clone()),
            _ => None,
        };
        let is_look = matches!(ask, Ask::Look(_));
        let (stored, event) = match ask {
            // A copy of a claim that was on its way while its lease was given back or settled: granting
            // it would leave the key to nobody.
            Ask::Claim(claim, _) if self.released.borrow().has(claim.lease, now) => {
                return Ok(Found::Answer((Told::Stale, None)));
            }
            Ask::Claim(claim, change) => {
                let kin =
                    matches!(change, CredentialChange::Refuse).then_some(claim.metadata.operation);
                let near = store.find_near(key, kin, now)?;
                let kindred = kindred_of(near.stored.as_ref(), near.kindred, now)?;
                around = near.around;
                (near.stored, Event::Claim(claim, kindred))
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
            Ask::Look(fingerprint) => (store.find_with_body(key)?, Event::Look(fingerprint)),
            Ask::Shards | Ask::Operator(_) => {
                return Ok(Found::Answer((Told::Kept(None), None)));
            }
        };
        let step = step(stored.as_ref().map(|stored| stored.record.clone()), event, now);
        faults::here("step");
        store.apply(key, stored.as_ref(), around, &step.change, body)?;
        faults::here("stored");
        self.written(key, &step.change, body);
        let count = Counter::of(&step).filter(|_| !is_look);
        let of = stored.as_ref().map(|at| at.record.metadata.route.clone());
        let route = claimed.or(of).unwrap_or_default();
        let found = match (step.verdict, stored) {
            (Verdict::Replay(completed), Some(stored)) => {
                self.replay(key, completed, &stored, None)?
            }
            (Verdict::Join(until), _) => Found::Wait(until, route.clone()),
            // Nothing is replayed without a row, and nobody waits.
            (verdict, _) => Found::Answer((Told::of(&verdict).unwrap_or(Told::Again), None)),
        };
        // What must wait for room is counted when it has it.
        if let Some(count) = count.filter(|_| !matches!(found, Found::Full(..))) {
            let bytes = body.byte_length().into();
            self.counted.count(store, |tally| tallied(tally, &route, count, key, bytes));
        }
        Ok(found)
    }

    /// What follows from a write: those who waited for it hear of it, and the sweep comes in time.
    fn written(&self, key: KeyId, change: &Change, body: &Uint8Array) {
        self.wake(key, change, body);
        if let Change::Insert(record) | Change::Update(record) | Change::Complete(record) = change {
            let (SweepAction::Delete(at) | SweepAction::Tombstone(at)) = record.due();
            self.arm(at);
        }
    }
}

/// Whether the operation is live under another credential. A row of it that is unreadable may well be:
/// that is an error, except where the key id's own reply, claim or doubt is what answers.
fn kindred_of(
    own: Option<&Stored>,
    others: Others,
    now: Timestamp,
) -> Result<OtherCredential, JsValue> {
    let own = own.and_then(|own| own.record.clone().at(now)).map(|own| own.state);
    let answers = own.is_some_and(|own| !matches!(own, Stage::Expired(_)));
    let mut found = OtherCredential::None;
    for other in others {
        match other {
            Ok(other) => {
                if other.at(now).is_some() {
                    found = OtherCredential::Live;
                }
            }
            Err(error) if !answers => return Err(error),
            Err(_) => {}
        }
    }
    Ok(found)
}

/// What a question led to.
enum Found {
    Answer(Answer),
    /// For the route's running claim, until then.
    Wait(Timestamp, String),
    /// The reply is too large to be sent before others have been: room for so many bytes is needed.
    Full(Completed, u64),
}

/// Of 128 MB that the isolate has: as much for what comes in and as much for what goes out, beside those
/// who wait.
const PLACES_BYTES: u32 = 16 * 1024 * 1024;
/// How long a large reply waits for its turn; a call of the Ledger is given up after 5 s.
const PLACE_PATIENCE: Duration = Duration::from_secs(3);
