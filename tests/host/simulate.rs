//! A simulation of hours of virtual time with thousands of keys, clients that retry, an origin that is slow,
//! unreliable and untruthful, random faults, and a judge. A seed determines everything.
//!
//! `SEED=7 cargo test … simulate -- --nocapture` replays one; `ONCEGATE_NIGHTLY=1` takes 10^6 requests.

mod clients;
mod faults;
mod rng;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use oncegate::time::Timestamp;

use self::clients::Clients;
use self::faults::{FAULTS, Faults};
use self::rng::Rng;
use crate::make::{days, is_night, s};
use crate::prove::{Judge, Violation};
use crate::world::{Choice, Event, Mutant, Story, World, seconds};

/// What happened in a simulation, in numbers.
#[derive(Default)]
struct Figures {
    requests: usize,
    executions: usize,
    answers: usize,
    hours: u64,
    faults: [usize; FAULTS.len()],
}

/// One world, from its seed to its end.
struct Simulation {
    world: World,
    judge: Judge,
    rng: Rng,
    clients: Clients,
    faults: Faults,
    /// All events, if they are to be printed.
    told: Option<Vec<(Timestamp, Event)>>,
    figures: Figures,
}

impl Simulation {
    fn new(seed: u64, mutant: Option<Mutant>, tell: bool) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            world: World::with(mutant),
            judge: Judge::default(),
            clients: Clients::new(&mut rng),
            rng,
            faults: Faults::default(),
            told: tell.then(Vec::new),
            figures: Figures::default(),
        }
    }

    /// Runs until every client is done and every key is forgotten. An error is the violation, and the request
    /// that it is about.
    fn run(&mut self) -> Result<(), (Violation, Option<Story>)> {
        let began = self.world.now();
        while let Some(at) = self.clients.next_try() {
            self.live_until(at)?;
            if at > self.world.now() {
                self.world.run_for(at.since(self.world.now()));
            }
            self.clients.send(&mut self.world, &mut self.rng);
            self.notice()?;
        }
        self.figures.hours = self.world.now().since(began).as_secs() / 3600;
        self.world.run();
        self.world.note_quiet();
        self.notice()?;
        self.world.run_for(days(400));
        self.world.take(Choice::Sweep);
        self.notice()
    }

    /// Lets things happen until a client's next try.
    fn live_until(&mut self, end: Timestamp) -> Result<(), (Violation, Option<Story>)> {
        loop {
            self.faults.script(&mut self.world, &mut self.rng);
            if let Some(fault) = self.faults.strike(&mut self.world, &mut self.rng) {
                self.figures.faults[fault] += 1;
                self.notice()?;
                continue;
            }
            let ready: Vec<_> = self.world.ready().collect();
            let choice = match self.rng.pick(&ready) {
                Some(choice) => *choice,
                None => match self.world.next_deadline() {
                    Some(at) if at <= end.max(self.world.now()) => Choice::Pass,
                    _ => return Ok(()),
                },
            };
            self.world.take(choice);
            self.notice()?;
            // A client whose time has come does not wait until the others are done.
            if self.clients.next_try().is_some_and(|at| at <= self.world.now()) {
                return Ok(());
            }
        }
    }

    fn notice(&mut self) -> Result<(), (Violation, Option<Story>)> {
        // Their status addresses are polled.
        let mut keys = BTreeMap::new();
        for (at, event) in self.world.news() {
            if let Some(told) = &mut self.told {
                told.push((at, event.clone()));
            }
            match &event {
                Event::Sent { .. } => self.figures.requests += 1,
                Event::Executed { .. } => self.figures.executions += 1,
                Event::Answered { .. } => self.figures.answers += 1,
                _ => {}
            }
            self.clients.hear(at, &event, &mut self.rng);
            self.judge.hear(at, &event).map_err(|broken| (broken, event.story()))?;
            if let Some(story) = event.story() {
                let key = self.clients.key(story);
                keys.insert(key, story);
            }
        }
        for (key, story) in keys {
            self.judge.poll(&self.world, Some(key)).map_err(|broken| (broken, Some(story)))?;
        }
        Ok(())
    }

    /// The events that concern the key of a request, from the first request under it on.
    fn script(&self, story: Option<Story>) -> Vec<String> {
        let key = story.map(|story| self.clients.key(story));
        let concerns = |event: &Event| {
            event.story().is_none_or(|other| key.is_none_or(|key| self.clients.key(other) == key))
        };
        let told = self.told.iter().flatten();
        told.filter(|(_, event)| concerns(event))
            .skip_while(|(_, event)| event.story().is_none())
            .map(|(at, event)| format!("{}  {}", seconds(*at), event.line()))
            .collect()
    }
}

/// The violation of a seed, with its history, if it breaks a promise.
fn tell(seed: u64, mutant: Option<Mutant>) -> Option<(Violation, Vec<String>)> {
    let mut simulation = Simulation::new(seed, mutant, true);
    let (broken, story) = simulation.run().err()?;
    Some((broken, simulation.script(story)))
}

fn one_seed() -> Option<u64> {
    std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"))
}

#[test]
fn hours_of_faults_break_no_promise() {
    let wanted = if is_night() { 1_000_000 } else { 30_000 };
    let (next, requests) = (AtomicU64::new(one_seed().unwrap_or(1)), AtomicUsize::new(0));
    let sums = Mutex::new((Figures::default(), Vec::new()));
    let work = || {
        while requests.load(Ordering::Relaxed) < wanted {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let mut simulation = Simulation::new(seed, None, false);
            let result = simulation.run();
            requests.fetch_add(simulation.figures.requests, Ordering::Relaxed);
            let mut sums = sums.lock().unwrap();
            sums.0.add(&simulation.figures);
            if result.is_err() {
                sums.1.push(seed);
            }
            if one_seed().is_some() || sums.1.len() > 9 {
                return;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if one_seed().is_some() { 1 } else { threads };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (figures, broken) = sums.into_inner().unwrap();
    println!("{}", figures.line(broken.len()));
    if let Some(seed) = broken.iter().min() {
        let (violation, script) = tell(*seed, None).expect("a seed is the same every time");
        println!("{}\n{violation:?}", script.join("\n"));
        panic!(
            "seeds {broken:?}; SEED={seed} cargo test --no-default-features --test host simulate -- --nocapture"
        );
    }
}

#[test]
fn a_seed_is_the_same_every_time_and_another_is_another() {
    let history = |seed| {
        let mut simulation = Simulation::new(seed, None, true);
        simulation.run().unwrap();
        simulation.script(None)
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}

#[test]
fn mistakes_show_in_a_simulation_too() {
    for mutant in [
        Mutant::WaiterDeletesLock,
        Mutant::CheckThenLock,
        Mutant::LapseRunsAgain,
        Mutant::FailedSettleReleases,
        Mutant::WakeGrants,
        Mutant::ForwardRepeated,
        Mutant::ForwardUnguarded,
        Mutant::AnsweredBeforeStored,
        Mutant::FingerprintIgnored,
        Mutant::ReplayPastExpiry,
        Mutant::JoinedToAnother,
        Mutant::GivenBackForgotten,
        Mutant::DoubtJoinedForEver,
        Mutant::JoinedDoubtGranted,
        Mutant::DoubtKeepsLease,
        Mutant::BreakOffForgotten,
        Mutant::ReasonForgotten,
        Mutant::HandOverRepeated,
        Mutant::LostHandOverReleased,
        Mutant::LateHandOverTaken,
        Mutant::ReleasedReplayed,
        Mutant::ReleasedToldAsReply,
        Mutant::AddressOfEachClaim,
    ] {
        let found = (1..=12).find_map(|seed| tell(seed, Some(mutant)));
        assert!(found.is_some(), "{mutant:?}");
    }
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.executions += other.executions;
        self.answers += other.answers;
        self.hours += other.hours;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, more)| *sum += more);
    }

    fn line(&self, violations: usize) -> String {
        let Self { requests, executions, answers, hours, faults } = self;
        let faults: Vec<_> =
            FAULTS.iter().zip(faults).map(|(name, count)| format!(r#""{name}":{count}"#)).collect();
        format!(
            r#"figures: {{"part":"simulation","requests":{requests},"executions":{executions},"answers":{answers},"virtual_hours":{hours},"faults":{{{}}},"violations":{violations}}}"#,
            faults.join(","),
        )
    }
}

/// About so much virtual time passes between two sweeps.
const SWEEP_EVERY: Duration = s(900);
