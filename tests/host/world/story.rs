//! One request's story: a future that is told what came of its calls, and says which it makes next.
//!
//! A future cannot be copied, but all that it has ever been told can. So a copy of a world keeps of each
//! story its news alone; the future is told them anew when it is to move on (what a story does is a
//! function of what it hears, and when).

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oncegate::filter::{
    self, GuardedRequest, OriginResponse as _, Unreachable, World as _, filter,
};
use oncegate::lifecycle::event::Event;
use oncegate::lifecycle::outcome::Failure;
use oncegate::lifecycle::record::Execution;
use oncegate::lifecycle::reply::Kept;
use oncegate::protocol::{
    LedgerAnswer, LedgerRequest, Question, VERSION, read_answer, write_request,
};
use oncegate::request::key::KeyId;
use oncegate::shadow::{Keeps, Passed, watch};
use oncegate::time::Timestamp;

use super::mutants::Mutant;
use super::{Answer, OriginResponse, messages};
use crate::make::{self, s};

/// What a Worker is answered by its Ledger, with the body beside it.
type FromLedger = Result<(LedgerAnswer, Option<Vec<u8>>), Unreachable>;

/// What a request is, from its first moment on.
#[derive(Clone)]
pub(super) struct Opening {
    pub(super) order: Rc<GuardedRequest>,
    pub(super) at: Timestamp,
    /// Guarded, or on a route in shadow mode.
    pub(super) shadow: bool,
    pub(super) mutant: Option<Mutant>,
}

/// What a story was told, the latest first.
#[derive(Clone, Default)]
pub(super) struct News(Option<Rc<Item>>);

struct Item {
    at: Timestamp,
    number: u32,
    said: Said,
    previous: News,
    /// Of this one and all before it.
    digest: u64,
}

impl News {
    pub(super) fn add(&mut self, at: Timestamp, number: u32, said: Said) {
        let mut hasher = DefaultHasher::new();
        (self.digest(), at.0, number).hash(&mut hasher);
        said.hash(&mut hasher);
        let previous = std::mem::take(self);
        *self = Self(Some(Rc::new(Item { at, number, said, previous, digest: hasher.finish() })));
    }

    pub(super) fn digest(&self) -> u64 {
        self.0.as_ref().map_or(0, |item| item.digest)
    }
}

/// What a call says.
#[derive(Clone)]
pub(super) enum Said {
    Told(Result<Vec<u8>, Unreachable>),
    OriginResponse(Result<OriginResponse, Failure>),
    Woken,
}

impl Hash for Said {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::Told(Ok(answer)) => answer.hash(hasher),
            Self::Told(Err(why)) => matches!(why, Unreachable::Lost(_)).hash(hasher),
            Self::OriginResponse(Ok(OriginResponse { facts, body, .. })) => {
                (2, facts.status, body).hash(hasher);
            }
            Self::OriginResponse(Err(why)) => (3, matches!(why, Failure::Unknown)).hash(hasher),
            Self::Woken => 4.hash(hasher),
        }
    }
}

/// What a story calls for.
#[derive(Clone, Debug)]
pub(super) enum What {
    Ask(Rc<[u8]>),
    Forward(KeyId, Execution),
    Probe,
    Pause(Timestamp),
}

/// What came of telling a story something.
#[derive(Default)]
pub(super) struct Moved {
    pub(super) made: Vec<(u32, What)>,
    pub(super) dropped: Vec<u32>,
    pub(super) answer: Option<Answer>,
    pub(super) log: Vec<String>,
    pub(super) over: bool,
}

/// A story that is being told.
pub(super) struct Telling {
    desk: Rc<RefCell<Desk>>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// All that a story sees of the world, and the world of it.
struct Desk {
    now: Timestamp,
    calls: u32,
    said: Vec<(u32, Said)>,
    moved: Moved,
    mutant: Option<Mutant>,
}

impl Telling {
    /// Begins, as far as the first calls.
    pub(super) fn begin(opening: &Opening) -> (Self, Moved) {
        let Opening { order, at, shadow, mutant } = opening.clone();
        let moved = Moved::default();
        let desk = Desk { now: at, calls: 0, said: Vec::new(), moved, mutant };
        let desk = Rc::new(RefCell::new(desk));
        let seat = Seat { key: order.key_id, desk: Rc::clone(&desk) };
        let order = GuardedRequest::clone(&order);
        let future = if shadow {
            Box::pin(watched(seat, order)) as Pin<Box<dyn Future<Output = ()>>>
        } else {
            Box::pin(guarded(seat, order))
        };
        let mut telling = Self { desk, future };
        let moved = telling.go_on();
        (telling, moved)
    }

    /// As far as it had come.
    pub(super) fn again(opening: &Opening, news: &News) -> Self {
        let mut items = Vec::new();
        let mut next = news;
        while let Some(item) = &next.0 {
            items.push(item);
            next = &item.previous;
        }
        let (mut telling, _) = Self::begin(opening);
        for item in items.into_iter().rev() {
            telling.hear(item.at, item.number, item.said.clone());
        }
        telling
    }

    pub(super) fn hear(&mut self, at: Timestamp, number: u32, said: Said) -> Moved {
        {
            let mut desk = self.desk.borrow_mut();
            desk.now = at;
            desk.said.push((number, said));
        }
        self.go_on()
    }

    fn go_on(&mut self) -> Moved {
        let polled = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let moved = std::mem::take(&mut self.desk.borrow_mut().moved);
        Moved { over: polled == Poll::Ready(()), ..moved }
    }
}

async fn guarded(seat: Seat, order: GuardedRequest) {
    let desk = Rc::clone(&seat.desk);
    filter(&seat, order, |answer| desk.borrow_mut().moved.answer = Some(answer)).await;
}

async fn watched(seat: Seat, order: GuardedRequest) {
    let passed = async {
        let run = make::run(order.claim.lease, 1);
        let passed = |heard: &OriginResponse| Passed { facts: heard.facts(), keeps: Keeps::Reply };
        seat.forward(run).await.as_ref().map(passed).map_err(|failure| *failure)
    };
    watch(&seat, &order, passed, |would| seat.log(would)).await;
}

/// The world as one story sees it.
struct Seat {
    key: KeyId,
    desk: Rc<RefCell<Desk>>,
}

impl Seat {
    fn call(&self, what: What) -> Waiting {
        let mut desk = self.desk.borrow_mut();
        desk.calls += 1;
        let number = desk.calls;
        desk.moved.made.push((number, what));
        Waiting { number, desk: Rc::clone(&self.desk) }
    }

    fn mutant(&self) -> Option<Mutant> {
        self.desk.borrow().mutant
    }

    async fn send(&self, key_id: &KeyId, event: &Event, body: &[u8]) -> FromLedger {
        let question = Question::Event(event);
        let request = LedgerRequest { key_id: *key_id, shards: make::SHARDS, question };
        let message = [&write_request(&request, VERSION), body].concat();
        let Said::Told(answer) = self.call(What::Ask(message.into())).await else {
            panic!("a request to the Ledger is answered by the Ledger")
        };
        let answer = answer?;
        let (head, body) = messages::split(&answer);
        Ok((read_answer(head).unwrap(), Some(body.to_owned())))
    }

    async fn hand_over(&self, run: Execution) -> Result<OriginResponse, Failure> {
        let Said::OriginResponse(heard) = self.call(What::Forward(self.key, run)).await else {
            panic!("a request is answered by the origin")
        };
        heard
    }
}

impl filter::World for Seat {
    type OriginResponse = OriginResponse;
    type Body = Vec<u8>;

    async fn ask(
        &self,
        key_id: &KeyId,
        event: &Event,
        response: Option<&OriginResponse>,
    ) -> FromLedger {
        let body = match response {
            Some(OriginResponse { body, kept: Kept::Whole { .. }, .. }) => body.as_slice(),
            _ => &[],
        };
        let mutant = self.mutant();
        let event = Mutant::sends(mutant, event);
        let answer = self.send(key_id, &event, body).await;
        match Mutant::sends_next(mutant, &event, &answer) {
            Some(next) => self.send(key_id, &next, &[]).await,
            None => Mutant::hears(mutant, &event, answer),
        }
    }

    async fn forward(&self, run: Execution) -> Result<OriginResponse, Failure> {
        match self.hand_over(run).await {
            Err(Failure::Unknown) if self.mutant() == Some(Mutant::ForwardRepeated) => {
                self.hand_over(run).await
            }
            heard => heard,
        }
    }

    async fn probe(&self) -> Result<OriginResponse, Failure> {
        let Said::OriginResponse(heard) = self.call(What::Probe).await else {
            panic!("a probe is answered by the origin")
        };
        heard
    }

    async fn pause(&self, span: Duration) {
        let until = self.desk.borrow().now.plus(span);
        self.call(What::Pause(until)).await;
    }

    /// Far from the Ledger's clock: whoever takes one for the other is found out.
    fn now(&self) -> Timestamp {
        self.desk.borrow().now.plus(s(777_777))
    }

    fn log(&self, why: &str) {
        self.desk.borrow_mut().moved.log.push(why.to_owned());
    }
}

/// Stands still until the story is told what came of the call.
struct Waiting {
    number: u32,
    desk: Rc<RefCell<Desk>>,
}

impl Future for Waiting {
    type Output = Said;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Said> {
        let said = &mut self.desk.borrow_mut().said;
        let at = said.iter().position(|(number, _)| *number == self.number);
        at.map_or(Poll::Pending, |at| Poll::Ready(said.swap_remove(at).1))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut desk = self.desk.borrow_mut();
        desk.said.retain(|(number, _)| *number != self.number);
        desk.moved.dropped.push(self.number);
    }
}
