//! The Durable Object. It arbitrates and stores, and never calls an origin.
//!
//! Each event is one synchronous block ([`crate::lifecycle::ledger::decide`]): from reading the row to writing
//! it nothing is awaited, so no other event can come between (input gates close only around storage
//! operations; any other await lets other events in). The answer leaves after the write is on disk: the
//! runtime's output gate holds it until then, so a granted claim is durable.

mod events;
mod operator;
mod replies;
mod reply_stream;
mod shard_count;
mod status;
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

use self::operator::StatisticsBuffer;
use self::reply_stream::LargeBody;
use self::store::Store;
use self::sweep::Alarm;
use self::waiters::Waiters;
use crate::cloudflare::bindings;
use crate::cloudflare::byte_budget::ByteBudget;
use crate::cloudflare::clock::pause;
use crate::cloudflare::error::Error;
use crate::cloudflare::faults;
use crate::cloudflare::ledger_stub::message;
use crate::cloudflare::tasks::{scoped, spawn, wait};
use crate::encoding::Unreadable;
use crate::filter::CALL_PATIENCE;
use crate::lifecycle::ended_leases::EndedLeases;
use crate::lifecycle::event::{Event, Verdict};
use crate::operator::query::OperatorQuery;
use crate::protocol::{self, LedgerAnswer, LedgerRequest, Question, VERSION};
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// The object, as the class of `entry.js` calls it.
#[worker::durable_object(alarm)]
pub struct Ledger(Rc<Shard>);

// A panic in one request leaves what the others use as it was: every borrow of a cell ends before
// anything that can panic, and the rows are written in one transaction.
impl std::panic::UnwindSafe for Ledger {}
impl std::panic::RefUnwindSafe for Ledger {}

impl DurableObject for Ledger {
    /// Nothing is read before the first request.
    fn new(state: State, env: Env) -> Self {
        Self(Rc::new(Shard::new(state.storage(), env)))
    }

    /// Answers a request whose body is large, when there is room for it.
    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let answer = self.answer(Incoming::Streamed(Clone::clone(request.inner()))).await?;
        // A response could be made of anything else too, and would be read as an empty one.
        match answer.dyn_into::<Uint8Array>() {
            Ok(message) => {
                Ok(web_sys::Response::new_with_opt_buffer_source(Some(&message))?.into())
            }
            Err(_) => Err("a large request was answered by a stream".into()),
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
    /// Answers a request.
    pub fn hear(&self, head: Vec<u8>, body: Option<Uint8Array>) -> Promise {
        faults::here("begin");
        let ledger = Self(self.0.clone());
        let answer = async move { Ok(ledger.answer(Incoming::Whole(head, body)).await?) };
        future_to_promise(AssertUnwindSafe(answer))
    }
}

impl Ledger {
    /// The request is answered in a task of its own, and so it is where a fault ended that task: nothing in
    /// this one can fail.
    async fn answer(&self, incoming: Incoming) -> Result<JsValue, Error> {
        let shard = self.0.clone();
        let answer = scoped(async move {
            let about = Rc::new(Cell::new(None));
            let (hearing, key_id) = (shard.clone(), about.clone());
            if let Ok(answer) = spawn(async move { hearing.reply(incoming, &key_id).await }).await {
                return answer;
            }
            let aborted = spawn(async move { shard.aborted(about.get()) }).await;
            aborted.unwrap_or_else(|Canceled| Err(Error::SecondFault))
        });
        answer.await.unwrap_or_else(|| Err(Error::ContextEnded))
    }
}

enum Incoming {
    /// Prefix and head, and the body beside them.
    Whole(Vec<u8>, Option<Uint8Array>),
    /// To be read when there is room for it.
    Streamed(web_sys::Request),
}

/// One shard.
struct Shard {
    storage: Storage,
    store: OnceCell<Rc<Store>>,
    waiters: Waiters,
    /// Bytes of large replies that come in to be stored.
    incoming: Rc<ByteBudget>,
    /// Bytes of large replies that go out.
    outgoing: Rc<ByteBudget>,
    ended_leases: RefCell<EndedLeases>,
    /// When the alarm is set for; unknown until asked after a start.
    alarm: Cell<Alarm>,
    /// The number of shards that this data was first used with, once known.
    shards: Cell<Option<u16>>,
    /// Holds the namespace in which shard 0 is asked for it.
    env: Env,
    /// The next sweep comes no sooner: a pass costs as much as the shard has rows.
    sweep_from: Cell<Timestamp>,
    statistics: StatisticsBuffer,
    /// Whether so much is stored that no bodies are kept any more; none until it was measured.
    is_full: Cell<Option<bool>>,
    /// Bytes of bodies since then.
    unmeasured: Cell<u64>,
}

/// An answer, with the body beside it.
type Answer = (LedgerAnswer, Option<Body>);

enum Body {
    Small(Uint8Array),
    Large(LargeBody),
}

/// An answer, in the version of its request.
type VersionedAnswer = (u8, Answer);

impl Shard {
    fn new(storage: Storage, env: Env) -> Self {
        Self {
            storage,
            store: OnceCell::new(),
            waiters: Waiters::default(),
            incoming: Rc::new(ByteBudget::new(BUDGET_BYTES)),
            outgoing: Rc::new(ByteBudget::new(BUDGET_BYTES)),
            ended_leases: RefCell::default(),
            alarm: Cell::new(Alarm::Unknown),
            shards: Cell::new(None),
            env,
            sweep_from: Cell::new(Timestamp(0)),
            statistics: StatisticsBuffer::default(),
            is_full: Cell::new(None),
            unmeasured: Cell::new(0),
        }
    }

    async fn reply(
        &self,
        incoming: Incoming,
        about: &Cell<Option<KeyId>>,
    ) -> Result<JsValue, Error> {
        let answer = match incoming {
            Incoming::Whole(head, body) => self.hear(&head, body, about).await,
            Incoming::Streamed(request) => self.hear_large(&request, about).await?,
        };
        self.message(answer)
    }

    fn message(&self, (version, (answer, body)): VersionedAnswer) -> Result<JsValue, Error> {
        faults::here("told");
        let head = protocol::write_answer(&answer, version);
        match body {
            None => Ok(bindings::told(&head, None)),
            Some(Body::Small(body)) => Ok(bindings::told(&head, Some(&body))),
            Some(Body::Large(body)) => {
                reply_stream::stream(&head, body, self.store()?.clone(), self.outgoing.clone())
            }
        }
    }

    /// The answer where a fault ended the work in the middle.
    fn aborted(&self, key_id: Option<KeyId>) -> Result<JsValue, Error> {
        faults::here("failed");
        if let Some(key_id) = key_id {
            // The change may have been written before the fault: the key's waiters claim again.
            self.waiters.wake(key_id, &None);
        }
        let why = "the Ledger failed, its log says where".to_owned();
        self.message((VERSION, (LedgerAnswer::Failed(why), None)))
    }

    /// Reads a large request when there is room for it; until then its bytes stay where they are.
    async fn hear_large(
        &self,
        request: &web_sys::Request,
        about: &Cell<Option<KeyId>>,
    ) -> Result<VersionedAnswer, Error> {
        let crowded = Ok((VERSION, (LedgerAnswer::Crowded, None)));
        let url = request.url();
        let bytes = url.rsplit('/').next().and_then(|bytes| bytes.parse().ok());
        let reservation = self.incoming.reserve(bytes.unwrap_or(u64::MAX), BUDGET_PATIENCE).await;
        if reservation.is_none() {
            return crowded;
        }
        // The Worker has all of it, so this takes no time, unless the connection is lost on the way.
        let read = bindings::opened(request);
        let opened = match select(wait(read), pause(CALL_PATIENCE)).await {
            Either::Left((opened, _)) => opened?,
            Either::Right(_) => return crowded,
        };
        let (head, body) = message(opened);
        let answer = self.hear(&head, body.dyn_into().ok(), about).await;
        drop(reservation);
        Ok(answer)
    }

    async fn hear(
        &self,
        head: &[u8],
        body: Option<Uint8Array>,
        about: &Cell<Option<KeyId>>,
    ) -> VersionedAnswer {
        let failed = |why: String| (VERSION, (LedgerAnswer::Failed(why), None));
        let (version, request) = match protocol::read_request(head) {
            Ok(read) => read,
            Err(Unreadable::Version(_)) => {
                return (VERSION, (LedgerAnswer::UnknownVersion(VERSION), None));
            }
            Err(error) => return failed(format!("the request is unreadable: {error}")),
        };
        about.set(Some(request.key_id));
        let body = body.unwrap_or_else(|| Uint8Array::new_with_length(0));
        match self.answer(request, &body).await {
            Ok(answer) => (version, answer),
            Err(error) => failed(error.to_string()),
        }
    }

    async fn answer(&self, request: LedgerRequest, body: &Uint8Array) -> Result<Answer, Error> {
        let LedgerRequest { key_id, shards, question } = request;
        // Whatever is written may set the alarm, and must not move an earlier one.
        self.know_alarm().await?;
        match question {
            Question::Event(event) => {
                if matches!(event, Event::Claim(_)) {
                    let first = self.first_shards(key_id, shards).await?;
                    if first != shards {
                        return Ok((LedgerAnswer::OtherShards(first), None));
                    }
                }
                self.happen(key_id, event, body).await
            }
            // A shard that has never been used stays so: this writes nothing either.
            Question::Status(secret) => match self.known_shards()? {
                Some(first) if first != shards => Ok((LedgerAnswer::OtherShards(first), None)),
                Some(_) => self.status(key_id, &secret).await,
                None => Ok((LedgerAnswer::Verdict(Verdict::Absent), None)),
            },
            Question::Shards => Ok(match self.first_shards_in_shard_0(shards)? {
                first if first == shards => (LedgerAnswer::SameShards, None),
                first => (LedgerAnswer::OtherShards(first), None),
            }),
            Question::Operator(query) => {
                let first = match query {
                    OperatorQuery::Rerun(_) => Some(self.first_shards(key_id, shards).await?),
                    // A shard that has never been used stays so: other queries write nothing in it.
                    _ => self.known_shards()?,
                };
                if let Some(first) = first.filter(|first| *first != shards) {
                    return Ok((LedgerAnswer::OtherShards(first), None));
                }
                let result = self.query(key_id, query, body).await?;
                Ok((LedgerAnswer::Operator(result), None))
            }
        }
    }

    /// The database; opened on first use, and again where that failed.
    fn store(&self) -> Result<&Rc<Store>, Error> {
        if self.store.get().is_none() {
            // No other request can have set it since: nothing was awaited.
            let _ = self.store.set(Rc::new(Store::open(&self.storage)?));
        }
        self.store.get().ok_or_else(|| Error::DatabaseClosed)
    }
}

/// Of the isolate's 128 MB: as much for replies that come in and as much for replies that go out, beside the
/// waiters.
const BUDGET_BYTES: u32 = 16 * 1024 * 1024;
/// How long a large reply waits for its turn; a call of the Ledger is given up after 5 s.
const BUDGET_PATIENCE: Duration = Duration::from_secs(3);
