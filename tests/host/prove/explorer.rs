//! Explores every history of a scenario within a budget of faults.
//!
//! A state that was seen before is not followed again. It is known by a digest of everything that the next
//! events, or the judge, can depend on: the Ledger's rows and memory, the calls under way, what each Worker
//! was told and when (a story depends on nothing else), the origin's script, the clock, the judge's own state,
//! the faults left and the requests still to be sent. That is sound as far as 64 bits go: among 10^7 states
//! two different ones share a digest with a chance of 3 in 10^6, and then one branch of one state is lost.
//!
//! What happens by itself is free: a call arrives or is answered, a request is sent, the alarm comes, time
//! passes where nothing else can happen. A crash, a reset, a lost or refused call, and time that passes
//! although something else could happen cost one fault each. Requests are sent in one order only, since
//! another order would only exchange their names.
//!
//! Of several orders of steps that lead to the same state one is followed. A step that concerns one Worker
//! alone (an answer reaches it, the origin executes its request) changes nothing for the others until the
//! clock moves: so it is taken at once, or not before a delay ([`Step::Hold`]). A request that is sent arrives
//! next, or not before a delay, or something happens to it: a step before its arrival might as well come
//! before it is sent.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::judge::Judge;
use super::retries::{Alarm, retry_until_forgotten};
use super::rules::Violation;
use super::scenarios::Scenario;
use super::search_state::{Orders, SearchState, Step, judge_news};
use crate::world::{Choice, World, seconds};

/// The result of a search.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) states: usize,
    /// Histories that came to an end; after each of them more requests were sent until its key was forgotten.
    pub(crate) ends: usize,
    pub(crate) violation: Option<(Violation, Vec<String>)>,
    endings: Option<BTreeSet<String>>,
}

/// Explores a scenario with so many faults, depth first, which takes little memory. Where a violation is
/// found, a search breadth first finds a shortest history that leads to one.
pub(crate) fn explore(scenario: &Scenario, faults: u32) -> Found {
    let found = search(scenario, faults, Direction::Depth, Orders::One, None);
    if found.violation.is_some() { shortest(scenario, faults) } else { found }
}

/// Explores breadth first: the violation that is found ends a shortest history.
pub(crate) fn shortest(scenario: &Scenario, faults: u32) -> Found {
    search(scenario, faults, Direction::Breadth, Orders::One, None)
}

/// How the histories end: what was answered, and how often the origin executed. Once with all orders of steps
/// followed, once with one of those that lead to the same state.
pub(crate) fn endings(scenario: &Scenario, faults: u32) -> [BTreeSet<String>; 2] {
    [Orders::All, Orders::One].map(|followed| {
        let found = search(scenario, faults, Direction::Depth, followed, Some(BTreeSet::new()));
        assert!(found.violation.is_none(), "{:?}", found.violation);
        found.endings.unwrap_or_default()
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Depth,
    Breadth,
}

fn search(
    scenario: &Scenario,
    faults: u32,
    direction: Direction,
    followed: Orders,
    endings: Option<BTreeSet<String>>,
) -> Found {
    let mut search = Search {
        scenario,
        direction,
        followed,
        endings,
        steps: vec![(0, Step::Send)],
        seen: HashSet::new(),
        ended: HashSet::new(),
    };
    let mut first = SearchState::first(scenario, faults);
    let mut frontier = VecDeque::new();
    let mut violation = None;
    let judged = judge_news(&mut first.judge, &mut first.world);
    let mut judged = judged.map_err(|broken| (0, broken, None));
    if judged.is_ok() {
        frontier.push_back(first);
    }
    while judged.is_ok()
        && let Some(at) = match direction {
            Direction::Depth => frontier.pop_back(),
            Direction::Breadth => frontier.pop_front(),
        }
    {
        judged = search.follow(at, &mut frontier);
    }
    if let Err((place, broken, epilogue)) = judged {
        violation = Some((broken, search.script(place, faults, epilogue)));
    }
    let (states, ends) = (search.seen.len(), search.ended.len());
    Found { states, ends, violation, endings: search.endings }
}

struct Search<'a> {
    scenario: &'a Scenario,
    direction: Direction,
    followed: Orders,
    /// Collected only where they are asked for: a state does not tell what was answered on the way to it.
    endings: Option<BTreeSet<String>>,
    /// Each step with the index of the one before it; kept only where a shortest history is sought.
    steps: Vec<(usize, Step)>,
    seen: HashSet<u64>,
    ended: HashSet<u64>,
}

/// After which step, which violation, and which retries at the end it took to see it.
type Broken = (usize, Violation, Option<Alarm>);

impl Search<'_> {
    fn follow(
        &mut self,
        state: SearchState,
        frontier: &mut VecDeque<SearchState>,
    ) -> Result<(), Broken> {
        let steps = state.steps(self.scenario, self.followed);
        let is_end = state.is_end(self.scenario);
        if is_end {
            self.end(&state)?;
        }
        let mut last = Some(state);
        let count = steps.len();
        for (number, (step, cost)) in steps.into_iter().enumerate() {
            let next = if number + 1 == count { last.take() } else { last.clone() };
            let Some(mut next) = next else { break };
            let before_it = Self::late_copy(&next, step);
            let judged = next.take(self.scenario, step, cost);
            if self.followed == Orders::One
                && before_it.is_some_and(|digest| digest == next.world.ledger_digest())
            {
                continue;
            }
            let previous = next.step_index;
            let answers = self.endings.as_ref().map(|_| next.world.ending());
            if judged.is_ok() && !self.seen.insert(next.digest(answers.as_ref())) {
                continue;
            }
            if self.direction == Direction::Breadth {
                next.step_index = self.steps.len();
                self.steps.push((previous, step));
            }
            judged.map_err(|broken| (next.step_index, broken, None))?;
            frontier.push_back(next);
        }
        Ok(())
    }

    /// A late copy of a call whose answer nobody wants: where it changes nothing, it might as well be lost.
    fn late_copy(at: &SearchState, step: Step) -> Option<u64> {
        match step {
            // That of a lease which is handed over begins a story.
            Step::Take(Choice::Arrive(call))
                if !at.world.waits(call) && !at.world.hands_over(call) =>
            {
                Some(at.world.ledger_digest())
            }
            _ => None,
        }
    }

    /// Nothing is under way any more: one more try now, and tries around every instant at which the record
    /// changes, until the key is forgotten.
    fn end(&mut self, at: &SearchState) -> Result<(), Broken> {
        if let Some(endings) = &mut self.endings {
            endings.insert(at.world.ending());
        }
        let mut hasher = DefaultHasher::new();
        at.judge.hash(&mut hasher);
        at.world.ledger_digest().hash(&mut hasher);
        if !self.ended.insert(hasher.finish()) {
            return Ok(());
        }
        for alarm in [Alarm::Before, Alarm::After] {
            let mut world = at.world.clone();
            let mut judge = at.judge.clone();
            let tell = |world: &mut World| judge_news(&mut judge, world);
            retry_until_forgotten(&mut world, self.scenario, alarm, tell)
                .map_err(|broken| (at.step_index, broken, Some(alarm)))?;
        }
        Ok(())
    }

    /// The history that leads to a step, line by line.
    fn script(&self, place: usize, faults: u32, alarm: Option<Alarm>) -> Vec<String> {
        let mut steps = Vec::new();
        let mut place = place;
        while place != 0 {
            let (previous, step) = self.steps[place];
            steps.push(step);
            place = previous;
        }
        let mut at = SearchState::first(self.scenario, faults);
        let mut lines = Vec::new();
        let mut judge = Judge::default();
        let mut tell = |world: &mut World| {
            for (now, event) in world.news() {
                lines.push(format!("{}  {}", seconds(now), event.line()));
                judge.hear(now, &event)?;
            }
            judge.poll(world, None)
        };
        let mut told = tell(&mut at.world);
        for step in steps.into_iter().rev() {
            at.make(self.scenario, step);
            told = told.and_then(|()| tell(&mut at.world));
        }
        if let Some(alarm) = alarm {
            told = told
                .and_then(|()| retry_until_forgotten(&mut at.world, self.scenario, alarm, tell));
        }
        match told {
            Ok(()) => lines.push("told again, the history breaks nothing".to_owned()),
            Err(broken) => lines.push(format!("BROKEN {:?}: {}", broken.rule, broken.why)),
        }
        lines
    }
}
