//! One request's story: the future of the filter, or of a Runner, which gets the answers to its calls and makes the next ones.
//!
//! A future cannot be copied, but everything that it has ever been told can. So a copy of a world keeps only
//! the news of each story. When the story is to move on, a new future is made and told the same news in the
//! same order: what a story does depends only on what it is told, and when.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oncegate::filter::{
    self, GuardedRequest, HandOver, OriginResponse as _, StreamEnd, Unreachable, World as _,
    filter, take_over,
};
use oncegate::lifecycle::event::{Claim, Event};
use oncegate::lifecycle::outcome::Failure;
use oncegate::lifecycle::record::{Execution, Lease};
use oncegate::lifecycle::reply::Kept;
use oncegate::protocol::{
    LedgerAnswer, LedgerRequest, Question, VERSION, read_answer, write_request,
};
use oncegate::request::key::KeyId;
use oncegate::shadow::{Keeps, Passed, watch};
use oncegate::time::Timestamp;

use super::mutants::Mutant;
use super::{Answer, OriginResponse, Story, messages};
use crate::make::{self, s};

/// What a Worker is answered by its Ledger, with the body beside it.
type FromLedger = Result<(LedgerAnswer, Option<Vec<u8>>), Unreachable>;

/// What a request is when it arrives.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) request: Rc<GuardedRequest>,
    pub(super) at: Timestamp,
    pub(super) role: Role,
    pub(super) mutant: Option<Mutant>,
}

/// Whose story it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A Worker's.
    Worker,
    /// A Worker's, on a route in shadow mode.
    Shadow,
    /// That of a Runner, which makes the call of another story.
    Runner { from: Story, run: Execution, sent: Timestamp },
}

/// What a story was told so far, the latest first.
#[derive(Clone, Default)]
pub(super) struct News(Option<Rc<Item>>);

struct Item {
    at: Timestamp,
    number: u32,
    said: CallResult,
    previous: News,
    /// A digest of this item and all before it.
    digest: u64,
}

impl News {
    pub(super) fn add(&mut self, at: Timestamp, number: u32, said: CallResult) {
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

/// What came of a call.
#[derive(Clone)]
pub(super) enum CallResult {
    Ledger(Result<Vec<u8>, Unreachable>),
    Origin(Result<OriginResponse, Failure>),
    HandOver(Result<HandOver, Unreachable>),
    PauseOver,
    StreamOver(StreamEnd),
}

impl Hash for CallResult {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::Ledger(Ok(answer)) => answer.hash(hasher),
            Self::Ledger(Err(why)) => matches!(why, Unreachable::Lost(_)).hash(hasher),
            Self::Origin(Ok(OriginResponse { facts, body, .. })) => {
                (2, facts.status, body).hash(hasher);
            }
            Self::Origin(Err(why)) => (3, matches!(why, Failure::NeverSent)).hash(hasher),
            Self::HandOver(Ok(taken)) => (6, taken).hash(hasher),
            Self::HandOver(Err(why)) => (7, matches!(why, Unreachable::Lost(_))).hash(hasher),
            Self::PauseOver => 4.hash(hasher),
            Self::StreamOver(end) => (5, end).hash(hasher),
        }
    }
}

/// A call that a story makes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Ledger(Rc<[u8]>),
    Forward(KeyId, Execution),
    /// A Runner, with the claim that was granted and the time at which it was sent.
    Runner(Rc<Claim>, Execution, Timestamp),
    Probe,
    Pause(Timestamp),
    /// A body that is streamed until then.
    Stream(Timestamp, StreamEnd),
}

/// What a story did when it moved on.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) made: Vec<(u32, Target)>,
    pub(super) dropped: Vec<u32>,
    pub(super) answer: Option<Answer>,
    pub(super) log: Vec<String>,
    pub(super) over: bool,
}

/// A running story.
pub(super) struct RunningStory {
    shared: Rc<RefCell<Shared>>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// What a story and its world shared.
struct Shared {
    now: Timestamp,
    calls: u32,
    said: Vec<(u32, CallResult)>,
    moved: Progress,
    mutant: Option<Mutant>,
}

impl RunningStory {
    /// Starts a story; it runs as far as its first calls.
    pub(super) fn begin(arrival: &Arrival) -> (Self, Progress) {
        let Arrival { request, at, role, mutant } = arrival.clone();
        let moved = Progress::default();
        let shared = Shared { now: at, calls: 0, said: Vec::new(), moved, mutant };
        let shared = Rc::new(RefCell::new(shared));
        let world = StoryWorld {
            key: request.key_id,
            first_lease: request.claim.lease,
            shared: Rc::clone(&shared),
            stream: Cell::new(None),
        };
        let request = GuardedRequest::clone(&request);
        let future: Pin<Box<dyn Future<Output = ()>>> = match role {
            Role::Worker => Box::pin(guarded(world, request)),
            Role::Shadow => Box::pin(watched(world, request)),
            Role::Runner { run, sent, .. } => Box::pin(handed_over(world, request, run, sent)),
        };
        let mut running = Self { shared, future };
        let moved = running.go_on();
        (running, moved)
    }

    /// Makes the future of a story again and tells it the news.
    pub(super) fn again(arrival: &Arrival, news: &News) -> Self {
        let mut items = Vec::new();
        let mut next = news;
        while let Some(item) = &next.0 {
            items.push(item);
            next = &item.previous;
        }
        let (mut running, _) = Self::begin(arrival);
        for item in items.into_iter().rev() {
            running.hear(item.at, item.number, item.said.clone());
        }
        running
    }

    pub(super) fn hear(&mut self, at: Timestamp, number: u32, said: CallResult) -> Progress {
        {
            let mut shared = self.shared.borrow_mut();
            shared.now = at;
            shared.said.push((number, said));
        }
        self.go_on()
    }

    fn go_on(&mut self) -> Progress {
        let polled = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let moved = std::mem::take(&mut self.shared.borrow_mut().moved);
        Progress { over: polled == Poll::Ready(()), ..moved }
    }
}

async fn guarded(world: StoryWorld, request: GuardedRequest) {
    let shared = Rc::clone(&world.shared);
    filter(&world, request, |answer| shared.borrow_mut().moved.answer = Some(answer)).await;
}

/// There is no client: whatever is answered, nobody hears it.
async fn handed_over(world: StoryWorld, request: GuardedRequest, run: Execution, sent: Timestamp) {
    let sent = match world.mutant() {
        Some(Mutant::LateHandOverTaken) => filter::World::now(&world),
        _ => sent,
    };
    take_over(&world, request, run, sent, |_| ()).await;
}

async fn watched(world: StoryWorld, request: GuardedRequest) {
    let passed = async {
        let run = make::run(request.claim.lease, 1);
        let passed =
            |response: &OriginResponse| Passed { facts: response.facts(), keeps: Keeps::Reply };
        world.forward(run).await.as_ref().map(passed).map_err(|failure| *failure)
    };
    watch(&world, &request, passed, |would| world.log(would)).await;
}

/// The world as one story sees it.
struct StoryWorld {
    key: KeyId,
    /// That of the claim that the story began with.
    first_lease: Lease,
    shared: Rc<RefCell<Shared>>,
    /// The stream of the origin's answer.
    stream: Cell<Option<(Duration, StreamEnd)>>,
}

impl StoryWorld {
    fn call(&self, what: Target) -> Waiting {
        let mut shared = self.shared.borrow_mut();
        shared.calls += 1;
        let number = shared.calls;
        shared.moved.made.push((number, what));
        Waiting { number, shared: Rc::clone(&self.shared) }
    }

    fn mutant(&self) -> Option<Mutant> {
        self.shared.borrow().mutant
    }

    async fn send(&self, key_id: &KeyId, event: &Event, body: &[u8]) -> FromLedger {
        let question = Question::Event(event);
        let request = LedgerRequest { key_id: *key_id, shards: make::SHARDS, question };
        let message = [&write_request(&request, VERSION), body].concat();
        let CallResult::Ledger(answer) = self.call(Target::Ledger(message.into())).await else {
            panic!("a request to the Ledger is answered by the Ledger")
        };
        let answer = answer?;
        let (head, body) = messages::split(&answer);
        Ok((read_answer(head).unwrap(), Some(body.to_owned())))
    }

    async fn call_runner(
        &self,
        claim: Rc<Claim>,
        run: Execution,
        sent: Timestamp,
    ) -> Result<HandOver, Unreachable> {
        let CallResult::HandOver(answer) = self.call(Target::Runner(claim, run, sent)).await else {
            panic!("a lease is handed over to a Runner")
        };
        answer
    }

    async fn call_origin(&self, run: Execution) -> Result<OriginResponse, Failure> {
        let CallResult::Origin(response) = self.call(Target::Forward(self.key, run)).await else {
            panic!("a request is answered by the origin")
        };
        self.stream.set(response.as_ref().ok().and_then(|response| response.stream));
        response
    }
}

impl filter::World for StoryWorld {
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
        match self.call_origin(run).await {
            Err(Failure::Lost) if self.mutant() == Some(Mutant::ForwardRepeated) => {
                self.call_origin(run).await
            }
            response => response,
        }
    }

    async fn hand_over(
        &self,
        claim: &Claim,
        run: Execution,
        sent: Timestamp,
    ) -> Result<HandOver, Unreachable> {
        let mut claim = claim.clone();
        if self.mutant() == Some(Mutant::FirstLeaseHandedOver) {
            claim.lease = self.first_lease;
        }
        let claim = Rc::new(claim);
        match (self.call_runner(Rc::clone(&claim), run, sent).await, self.mutant()) {
            (Err(Unreachable::Lost(_)), Some(Mutant::HandOverRepeated)) => {
                self.call_runner(claim, run, sent).await
            }
            (Err(Unreachable::Lost(why)), Some(Mutant::LostHandOverReleased)) => {
                Err(Unreachable::Overloaded(why))
            }
            (answer, _) => answer,
        }
    }

    async fn probe(&self) -> Result<OriginResponse, Failure> {
        let CallResult::Origin(response) = self.call(Target::Probe).await else {
            panic!("a probe is answered by the origin")
        };
        response
    }

    async fn stream_end(&self) -> StreamEnd {
        let (span, end) = self.stream.get().expect("there is a stream");
        let until = self.shared.borrow().now.plus(span);
        let CallResult::StreamOver(end) = self.call(Target::Stream(until, end)).await else {
            panic!("a stream ends")
        };
        end
    }

    async fn pause(&self, span: Duration) {
        let until = self.shared.borrow().now.plus(span);
        self.call(Target::Pause(until)).await;
    }

    /// Far from the Ledger's clock, so that a mix-up of the two shows.
    fn now(&self) -> Timestamp {
        self.shared.borrow().now.plus(s(777_777))
    }

    fn log(&self, why: &str) {
        self.shared.borrow_mut().moved.log.push(why.to_owned());
    }
}

/// Pending until the story is told what came of the call.
struct Waiting {
    number: u32,
    shared: Rc<RefCell<Shared>>,
}

impl Future for Waiting {
    type Output = CallResult;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<CallResult> {
        let said = &mut self.shared.borrow_mut().said;
        let at = said.iter().position(|(number, _)| *number == self.number);
        at.map_or(Poll::Pending, |at| Poll::Ready(said.swap_remove(at).1))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.said.retain(|(number, _)| *number != self.number);
        shared.moved.dropped.push(self.number);
    }
}
