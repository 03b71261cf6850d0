//! A simulated world of requests, one Ledger and one origin, in which nothing happens by itself.
//!
//! Each request runs [`oncegate::filter`]; a claim that it hands over is run by a Runner, which is a story of its own
//! from the arrival of that call on. Each call that a story makes (of the Ledger, of the origin, of a Runner, a probe,
//! a pause) stands still until the driver takes a [`Choice`] about it. [`World::choices`] lists everything that
//! could happen next, faults included; [`World::run`] takes the choices without a fault until nothing is left
//! to happen. There is no clock, no randomness and no thread: the same choices lead to the same world.
//!
//! Fault model: a call may be lost before or after it arrived, or be late; a Worker may stop at any await; the
//! Ledger may forget its waiters, but no row; a Runner may stop at any await, or refuse; the origin may answer late,
//! wrongly or never.

mod calls;
mod choice;
mod history;
mod ledger;
mod look;
mod messages;
mod moves;
mod mutant_ledger;
mod mutants;
mod origin;
mod render;
mod rows;
mod story;

use std::collections::VecDeque;
use std::hash::Hash;
use std::rc::Rc;
use std::time::Duration;

use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::Claim;
use oncegate::lifecycle::outcome::Failure;
use oncegate::lifecycle::record::Execution;
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;

use self::calls::Calling;
pub(crate) use self::choice::Choice;
pub(crate) use self::history::{Cause, Event, Kind, seconds};
use self::ledger::Ledger;
pub(crate) use self::mutants::Mutant;
pub(crate) use self::origin::{OriginResponse, response, stream};
use crate::make::instant;

use self::story::{Arrival, CallResult, News, Progress, Role, RunningStory};

/// One request, from its arrival to the end of the work on it; or what a Runner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Story(pub(crate) usize);

/// One call of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) story: Story,
    number: u32,
}

/// The answer to a client.
pub(crate) type Answer = oncegate::answer::Answer<OriginResponse, Vec<u8>>;

/// What the origin will do with the next request: give this answer after this time.
pub(crate) type Scripted = (Duration, Result<OriginResponse, Failure>);

/// One execution at the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) key: KeyId,
    pub(crate) run: Execution,
    pub(crate) at: Timestamp,
}

#[derive(Clone)]
pub(crate) struct World {
    now: Timestamp,
    ledger: Ledger,
    calls: Vec<Calling>,
    executed: Vec<Executed>,
    script: VecDeque<Scripted>,
    probes: VecDeque<Scripted>,
    log: Vec<String>,
    workers: Vec<Worker>,
    history: Vec<(Timestamp, Event)>,
    mutant: Option<Mutant>,
}

#[derive(Clone)]
struct Worker {
    arrival: Arrival,
    news: News,
    running: AtHand,
    /// The work has ended, or the Worker has stopped.
    over: bool,
    /// The client has hung up.
    left: bool,
    answer: Option<Rc<Answer>>,
}

/// A story whose future is at hand. A copy of it has none: the future is made again from the news.
struct AtHand(Option<RunningStory>);

impl Clone for AtHand {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: START,
            ledger: Ledger::default(),
            calls: Vec::new(),
            executed: Vec::new(),
            script: VecDeque::new(),
            probes: VecDeque::new(),
            log: Vec::new(),
            workers: Vec::new(),
            history: Vec::new(),
            mutant: None,
        }
    }

    /// A world whose filter makes a mistake, if one is given.
    pub(crate) fn with(mutant: Option<Mutant>) -> Self {
        let mut world = Self::new();
        world.mutant = mutant;
        world.ledger.mutant = mutant;
        world
    }

    /// A request comes in.
    pub(crate) fn send(&mut self, request: GuardedRequest) -> Story {
        self.open(request, Role::Worker)
    }

    /// A request comes in on a route in shadow mode; the log says what enforcing would have answered.
    pub(crate) fn shadow(&mut self, request: GuardedRequest) {
        self.open(request, Role::Shadow);
    }

    fn open(&mut self, request: GuardedRequest, role: Role) -> Story {
        let story = self.next_story();
        let request = Rc::new(request);
        self.note(Event::Sent { story, request: Rc::clone(&request) });
        self.begin(request, role)
    }

    /// A lease that was handed over reaches a Runner.
    fn take_over(&mut self, call: Call, claim: &Claim, run: Execution, sent: Timestamp) {
        let from = call.story;
        let story = self.next_story();
        self.note(Event::TakenOver { story, from });
        let request = GuardedRequest::clone(&self.workers[from.0].arrival.request);
        let request = GuardedRequest { claim: claim.clone(), ..request };
        self.begin(Rc::new(request), Role::Runner { from, run, sent });
    }

    fn begin(&mut self, request: Rc<GuardedRequest>, role: Role) -> Story {
        let story = self.next_story();
        let arrival = Arrival { request, at: self.now, role, mutant: self.mutant };
        let (running, moved) = RunningStory::begin(&arrival);
        self.workers.push(Worker {
            arrival,
            news: News::default(),
            running: AtHand(Some(running)),
            over: false,
            left: false,
            answer: None,
        });
        self.follow(story, moved);
        story
    }

    fn note(&mut self, event: Event) {
        self.history.push((self.now, event));
    }

    /// What the origin does with the next requests, in turn; after them it answers 201 at once.
    pub(crate) fn origin(&mut self, script: impl IntoIterator<Item = Scripted>) {
        self.script.extend(script);
    }

    /// What the origin answers to the next probes, in turn; after them it answers 500.
    pub(crate) fn probes(&mut self, script: impl IntoIterator<Item = Scripted>) {
        self.probes.extend(script);
    }

    /// The request that is sent next.
    pub(crate) fn next_story(&self) -> Story {
        Story(self.workers.len())
    }

    pub(crate) fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Crash(story) => {
                self.note(Event::Crashed { story });
                self.end(story);
                self.give_up(|call| call.story == story);
            }
            Choice::Leave(story) => {
                self.note(Event::Left { story });
                self.workers[story.0].left = true;
            }
            choice => self.take_of_calls(choice),
        }
    }

    /// Takes the next choice without a fault; false if there is none.
    pub(crate) fn step(&mut self) -> bool {
        self.step_before(Timestamp(u64::MAX))
    }

    fn step_before(&mut self, end: Timestamp) -> bool {
        let next = self.good(end);
        next.map(|choice| self.take(choice)).is_some()
    }

    /// Takes choices without a fault until none is left.
    pub(crate) fn run(&mut self) {
        while self.step() {}
    }

    /// Takes choices without a fault for so long.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now().plus(span);
        while self.step_before(end) {}
        self.set_now(end);
    }

    /// A fault: the clock jumps, whatever else could have happened first.
    pub(crate) fn delay_to(&mut self, at: Timestamp) {
        let from = self.now;
        self.set_now(at);
        self.note(Event::Delayed { from });
    }

    /// Says that nothing is under way any more.
    pub(crate) fn note_quiet(&mut self) {
        self.note(Event::Quiet);
    }

    /// The events since the last call of this function.
    pub(crate) fn news(&mut self) -> Vec<(Timestamp, Event)> {
        std::mem::take(&mut self.history)
    }

    /// Nothing happens to this call any more unless the driver chooses it by name.
    pub(crate) fn hold(&mut self, call: Call) {
        self.calling(call).held = true;
    }

    /// Tells a story what came of one of its calls.
    fn tell(&mut self, story: Story, number: u32, said: CallResult) {
        let now = self.now;
        let worker = &mut self.workers[story.0];
        let Worker { arrival, news, running, .. } = worker;
        let running = running.0.get_or_insert_with(|| RunningStory::again(arrival, news));
        let moved = running.hear(now, number, said.clone());
        news.add(now, number, said);
        self.follow(story, moved);
    }

    /// Carries out what a story did when it moved on.
    fn follow(&mut self, story: Story, moved: Progress) {
        let Progress { made, dropped, answer, log, over } = moved;
        for (number, what) in made {
            self.made(story, number, what);
        }
        if !dropped.is_empty() {
            self.give_up(|call| call.story == story && dropped.contains(&call.number));
        }
        if let Some(answer) = answer.map(Rc::new) {
            let worker = &mut self.workers[story.0];
            if !worker.left {
                worker.answer = Some(Rc::clone(&answer));
                self.note(Event::Answered { story, answer });
            }
        }
        self.log.extend(log);
        if over {
            self.end(story);
        }
    }

    fn end(&mut self, story: Story) {
        let worker = &mut self.workers[story.0];
        worker.over = true;
        worker.news = News::default();
        worker.running = AtHand(None);
    }
}

/// The Ledger's clock at the beginning.
const START: Timestamp = instant(1000);
/// An answer that never comes.
pub(crate) const NEVER: Duration = Duration::MAX;
