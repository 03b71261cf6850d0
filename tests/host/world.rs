//! A world of requests, one Ledger and one origin, in which nothing happens by itself.
//!
//! Each request runs the story of [`oncegate::filter`]; each call that it makes (an ask, a forward, a
//! probe, a pause) stands still until the driver takes a [`Choice`] about it. [`World::choices`] lists
//! all that could happen next, faults included; [`World::run`] takes what happens on a good day, until
//! nothing is left to happen. No clock, no randomness, no threads: the same choices, the same world.
//!
//! Fault model: a call may be lost before or after it was heard, or be late; a Worker may stop at any
//! await; the Ledger may forget who waits, but no row; the origin may answer late, wrongly or never.

mod calls;
mod ledger;
mod render;
mod seat;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_channel::oneshot::{self, Receiver};
use oncegate::ask::Ask;
use oncegate::filter::{Heard as _, Order, World as _, filter};
use oncegate::key::KeyId;
use oncegate::outcome::Failure;
use oncegate::record::{Millis, Run};
use oncegate::shadow::{Keeps, Passed, watch};

use self::calls::{Shared, What};
use self::ledger::Ledger;
use self::seat::Seat;
pub(crate) use self::seat::{Heard, heard};
use crate::make::{self, s};

/// Something that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A call arrives: a question is answered or made to wait, a request is executed.
    Arrive(Call),
    /// The answer to a call reaches its caller; a pause is over.
    Answer(Call),
    /// The patience of one who waits in the Ledger is over: it is told to ask again.
    Rouse(Call),
    /// The clock moves on to the next deadline.
    Pass,
    /// Fault: a call fails, whatever came of it.
    Lose(Call),
    /// Fault: the Ledger refuses a question since it has too much to do.
    Overload(Call),
    /// Fault: a request is never handed over.
    Refuse(Call),
    /// Fault: a Worker stops.
    Crash(Story),
    /// Fault: a client hangs up.
    Leave(Story),
    /// Fault: the Ledger is started anew and forgets who waits.
    Reset,
    /// The alarm: rows that are gone are deleted.
    Sweep,
}

impl Choice {
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Self::Arrive(_) | Self::Answer(_) | Self::Rouse(_) | Self::Pass | Self::Sweep => false,
            Self::Lose(_)
            | Self::Overload(_)
            | Self::Refuse(_)
            | Self::Crash(_)
            | Self::Leave(_)
            | Self::Reset => true,
        }
    }
}

/// One request, from first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Story(usize);

/// One call of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call(usize);

/// What a client is answered.
pub(crate) type Answer = oncegate::answer::Answer<Heard, Vec<u8>>;

/// What the origin will do with the next request: answer so, after so long.
pub(crate) type Scripted = (Millis, Result<Heard, Failure>);

/// One execution at the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) key: KeyId,
    pub(crate) run: Run,
    pub(crate) at: Millis,
}

pub(crate) struct World {
    shared: Rc<RefCell<Shared>>,
    workers: Vec<Worker>,
}

struct Worker {
    /// None once it has ended, or stopped.
    story: Option<Pin<Box<dyn Future<Output = ()>>>>,
    client: Option<Receiver<Answer>>,
    answer: Option<Answer>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { shared: Rc::new(RefCell::new(Shared::at(START))), workers: Vec::new() }
    }

    /// A request comes in.
    pub(crate) fn send(&mut self, order: Order) -> Story {
        let story = Story(self.workers.len());
        let seat = Seat::new(story, order.key, &self.shared);
        let (respond, client) = oneshot::channel();
        let run = async move {
            filter(&seat, order, |answer| {
                // Nobody to answer is no reason to stop.
                let _ = respond.send(answer);
            })
            .await;
        };
        let worker = Worker { story: Some(Box::pin(run)), client: Some(client), answer: None };
        self.workers.push(worker);
        self.poll(story);
        story
    }

    /// A request comes in on a route in shadow mode; the log says what it would have been answered.
    pub(crate) fn shadow(&mut self, order: Order) {
        let story = Story(self.workers.len());
        let seat = Seat::new(story, order.key, &self.shared);
        let run = async move {
            let passed = async {
                let run = make::run(order.claim.lease, 1);
                let passed = |heard: &Heard| Passed { facts: heard.facts(), keeps: Keeps::Reply };
                seat.forward(run).await.as_ref().map(passed).map_err(|failure| *failure)
            };
            watch(&seat, &order, passed, |would| seat.log(would)).await;
        };
        self.workers.push(Worker { story: Some(Box::pin(run)), client: None, answer: None });
        self.poll(story);
    }

    /// What the origin does with the next requests, in turn; then it says 201 at once.
    pub(crate) fn origin(&mut self, script: impl IntoIterator<Item = Scripted>) {
        self.shared.borrow_mut().script.extend(script);
    }

    /// What the origin says when it is asked what became of a key; then 500.
    pub(crate) fn probes(&mut self, script: impl IntoIterator<Item = Scripted>) {
        self.shared.borrow_mut().probes.extend(script);
    }

    /// Everything that could happen next.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        let shared = self.shared.borrow();
        let calls = (0..shared.calls.len()).flat_map(|at| shared.choices_of(Call(at)));
        let mut choices: Vec<_> = calls.collect();
        for (at, worker) in self.workers.iter().enumerate() {
            if worker.story.is_some() {
                choices.push(Choice::Crash(Story(at)));
            }
            if worker.client.is_some() && worker.answer.is_none() {
                choices.push(Choice::Leave(Story(at)));
            }
        }
        choices.extend(shared.next_deadline().map(|_| Choice::Pass));
        choices.extend([Choice::Reset, Choice::Sweep]);
        choices
    }

    pub(crate) fn take(&mut self, choice: Choice) {
        let moved = match choice {
            Choice::Crash(Story(at)) => {
                self.workers[at].story = None;
                return;
            }
            Choice::Leave(Story(at)) => {
                self.workers[at].client = None;
                return;
            }
            choice => self.shared.borrow_mut().take(choice),
        };
        for story in moved {
            self.poll(story);
        }
    }

    /// Takes the next thing that happens on a good day; false if there is none.
    pub(crate) fn step(&mut self) -> bool {
        self.step_before(Millis(u64::MAX))
    }

    fn step_before(&mut self, end: Millis) -> bool {
        let next = self.shared.borrow().good(end);
        next.map(|choice| self.take(choice)).is_some()
    }

    /// A good day, to its end.
    pub(crate) fn run(&mut self) {
        while self.step() {}
    }

    /// A good day for so long.
    pub(crate) fn run_for(&mut self, span: Millis) {
        let end = self.now().plus(span);
        while self.step_before(end) {}
        self.shared.borrow_mut().now = end;
    }

    /// Takes a call in hand: nothing happens to it but what the driver chooses.
    pub(crate) fn hold(&mut self, Call(at): Call) {
        self.shared.borrow_mut().calls[at].held = true;
    }

    fn poll(&mut self, Story(at): Story) {
        let worker = &mut self.workers[at];
        let context = &mut Context::from_waker(Waker::noop());
        if let Some(story) = &mut worker.story
            && story.as_mut().poll(context) == Poll::Ready(())
        {
            worker.story = None;
        }
        if let Some(client) = &mut worker.client
            && let Ok(Some(answer)) = client.try_recv()
        {
            worker.answer = Some(answer);
        }
    }
}

/// What can be seen from outside.
impl World {
    pub(crate) fn now(&self) -> Millis {
        self.shared.borrow().now
    }

    pub(crate) fn executed(&self) -> Vec<Executed> {
        self.shared.borrow().executed.clone()
    }

    pub(crate) fn answer(&self, Story(at): Story) -> Option<&Answer> {
        self.workers[at].answer.as_ref()
    }

    pub(crate) fn is_over(&self, Story(at): Story) -> bool {
        self.workers[at].story.is_none()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.borrow().log.clone()
    }

    /// The Ledger, to look into or to break.
    pub(crate) fn ledger<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.shared.borrow_mut().ledger)
    }

    fn open(&self, story: Story, is: fn(&What) -> bool) -> Option<Call> {
        let shared = self.shared.borrow();
        let at = shared
            .calls
            .iter()
            .rposition(|call| call.by == story && call.wanted && is(&call.what) && !call.is_over());
        at.map(Call)
    }

    /// The question that a request waits for the answer of.
    pub(crate) fn asking(&self, story: Story) -> Call {
        self.open(story, |what| matches!(what, What::Ask(_))).expect("it asks nothing")
    }

    /// The call of the origin that a request waits for the answer of.
    pub(crate) fn forwarding(&self, story: Story) -> Call {
        let forward = |what: &What| matches!(what, What::Forward(..));
        self.open(story, forward).expect("it is not at the origin")
    }

    pub(crate) fn is_asking(&self, story: Story) -> bool {
        self.open(story, |what| matches!(what, What::Ask(_))).is_some()
    }

    pub(crate) fn is_forwarding(&self, story: Story) -> bool {
        self.open(story, |what| matches!(what, What::Forward(..))).is_some()
    }

    /// What a request is asking.
    pub(crate) fn question(&self, story: Story) -> Ask {
        let Call(at) = self.asking(story);
        let shared = self.shared.borrow();
        let What::Ask(question) = &shared.calls[at].what else { panic!("it is a question") };
        ledger::read(question).0.ask
    }
}

/// The Ledger's clock at the beginning.
const START: Millis = s(1000);
/// An answer that never comes.
pub(crate) const NEVER: Millis = Millis(u64::MAX);
