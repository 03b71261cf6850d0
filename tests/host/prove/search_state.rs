//! A state of the search: how far a history has come, and the steps that can follow.

use std::hash::{DefaultHasher, Hash, Hasher};

use oncegate::time::Timestamp;

use super::judge::Judge;
use super::retries::landmarks;
use super::rules::Violation;
use super::scenarios::Scenario;
use crate::world::{Choice, Story, World};

/// One step of a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Send,
    Take(Choice),
    DelayTo(Timestamp),
    /// Nothing happens to this request's Worker before the next delay.
    Hold(Story),
}

/// Which orders of steps are followed where several lead to the same state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Orders {
    All,
    One,
}

#[derive(Clone)]
pub(super) struct SearchState {
    pub(super) world: World,
    pub(super) judge: Judge,
    pub(super) sent: usize,
    /// The request that was sent in the last step.
    just_sent: Option<Story>,
    /// The requests to whose Workers nothing happens before the next delay.
    held: Vec<Story>,
    pub(super) faults: u32,
    /// The index of the latest step in the search's list of steps.
    pub(super) step_index: usize,
}

impl SearchState {
    pub(super) fn first(scenario: &Scenario, faults: u32) -> Self {
        Self {
            world: scenario.world(),
            judge: Judge::default(),
            sent: 0,
            just_sent: None,
            held: Vec::new(),
            faults,
            step_index: 0,
        }
    }

    /// The steps that can follow, each with how many faults it costs.
    pub(super) fn steps(&self, scenario: &Scenario, followed: Orders) -> Vec<(Step, u32)> {
        let world = &self.world;
        if self.faults == 0 && !self.held.is_empty() {
            return Vec::new();
        }
        let alone = match followed {
            Orders::All => None,
            Orders::One => self.just_sent.or_else(|| world.alone(&self.held)),
        };
        let mut steps = Vec::new();
        for choice in world.choices() {
            let cost = u32::from(choice.is_fault());
            let concerned = match choice {
                Choice::Arrive(call) if !world.waits(call) => None,
                Choice::Arrive(call)
                | Choice::Answer(call)
                | Choice::Lose(call)
                | Choice::Overload(call)
                | Choice::Refuse(call) => Some(call.story),
                Choice::EndWait(call) if world.waits(call) => Some(call.story),
                // Nobody gets the answer.
                Choice::EndWait(_) => continue,
                Choice::Crash(story) => Some(story),
                // The story goes on without its client.
                Choice::Leave(_) => continue,
                Choice::Pass if world.is_moving() => continue,
                Choice::Sweep if !world.is_due() => continue,
                Choice::Reset if !world.remembers() => continue,
                Choice::Pass | Choice::Sweep | Choice::Reset => None,
            };
            let is_held = concerned.is_some_and(|story| self.held.contains(&story));
            if !is_held && (alone.is_none() || alone == concerned) {
                steps.push((Step::Take(choice), cost));
            }
        }
        match alone {
            Some(story) if self.faults > 0 => steps.push((Step::Hold(story), 0)),
            Some(_) => {}
            None => {
                steps.extend((self.sent < scenario.requests.len()).then_some((Step::Send, 0)));
                steps.extend(self.delays().into_iter().map(|at| (Step::DelayTo(at), 1)));
            }
        }
        steps.retain(|(_, cost)| *cost <= self.faults);
        steps
    }

    /// The instants to which the clock may jump although something else could happen.
    fn delays(&self) -> Vec<Timestamp> {
        let world = &self.world;
        let next = world.next_deadline();
        let moving = next.filter(|_| world.is_moving());
        let mut delays: Vec<_> = moving
            .into_iter()
            .chain(landmarks(world).filter(|at| Some(*at) != next))
            .filter(|at| *at > world.now())
            .collect();
        delays.sort();
        delays.dedup();
        delays
    }

    pub(super) fn is_end(&self, scenario: &Scenario) -> bool {
        self.sent == scenario.requests.len() && !self.world.is_busy()
    }

    pub(super) fn take(
        &mut self,
        scenario: &Scenario,
        step: Step,
        cost: u32,
    ) -> Result<(), Violation> {
        self.faults -= cost;
        self.make(scenario, step);
        judge_news(&mut self.judge, &mut self.world)
    }

    pub(super) fn make(&mut self, scenario: &Scenario, step: Step) {
        self.just_sent = None;
        match step {
            Step::Send => {
                self.just_sent = Some(self.world.send(scenario.requests[self.sent].clone()));
                self.sent += 1;
            }
            Step::Take(choice) => self.world.take(choice),
            Step::DelayTo(at) => {
                self.held.clear();
                self.world.delay_to(at);
            }
            Step::Hold(story) => {
                self.held.push(story);
                self.held.sort();
            }
        }
        if self.is_end(scenario) {
            self.world.note_quiet();
        }
    }

    pub(super) fn digest(&self, answers: Option<&String>) -> u64 {
        let mut hasher = DefaultHasher::new();
        answers.hash(&mut hasher);
        (self.sent, self.faults, self.just_sent, &self.held).hash(&mut hasher);
        self.world.digest().hash(&mut hasher);
        self.judge.hash(&mut hasher);
        hasher.finish()
    }
}

pub(super) fn judge_news(judge: &mut Judge, world: &mut World) -> Result<(), Violation> {
    world.news().iter().try_for_each(|(at, event)| judge.hear(*at, event))?;
    judge.poll(world, None)
}
