//! Every history of a scenario within a budget of faults, the shortest first.
//!
//! Breadth first over states, so that the first violation found is at the end of a shortest history. A
//! state that was seen before is not followed again. It is known by a digest of all that what follows,
//! or the judge, can depend on: the Ledger's rows and memory, the calls under way, what each Worker has
//! heard and when (a story is a function of that), the origin's script, the clock, the judge's own
//! state, the faults left and the requests still to be sent. That is sound as far as 64 bits go: among
//! 10^7 states two different ones share a digest with a chance of 3 in 10^6, and what is lost then is one
//! branch of one state.
//!
//! What happens by itself is free: a call arrives or is answered, a request is sent, the alarm comes,
//! time passes where nothing else can happen. A crash, a reset, a lost or refused call, and time that
//! passes although something else could happen cost one fault each. Requests are sent in one order: who
//! is first is a matter of names.
//!
//! Two orders of steps that come to the same are followed once. What concerns one Worker alone (an answer
//! reaches it, the origin hears it) changes nothing for the others until the clock moves: so it comes
//! at once, or not before a delay ([`Step::Hold`]). A request that is sent arrives next, or not before a
//! delay, or something happens to it: what comes before its arrival might as well come before it is sent.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::judge::Judge;
use super::retries::{Alarm, retry_until_forgotten};
use super::rules::Violation;
use super::scenarios::Scenario;
use super::search_state::{At, Orders, Step, judge_news};
use crate::world::{Choice, World, seconds};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) states: usize,
    /// Histories that came to an end, each tried again until its key is forgotten.
    pub(crate) ends: usize,
    pub(crate) violation: Option<(Violation, Vec<String>)>,
    endings: Option<BTreeSet<String>>,
}

/// Explores a scenario with so many faults. Depth first, which takes little memory; what is found is then
/// sought again breadth first.
pub(crate) fn explore(scenario: &Scenario, faults: u32) -> Found {
    let found = search(scenario, faults, Direction::Depth, Orders::One, None);
    if found.violation.is_some() { shortest(scenario, faults) } else { found }
}

/// The same breadth first: what is found is the shortest.
pub(crate) fn shortest(scenario: &Scenario, faults: u32) -> Found {
    search(scenario, faults, Direction::Breadth, Orders::One, None)
}

/// How every history ends: what was answered, and how often the origin executed. Once with all orders of
/// steps followed, once with one order of those that come to the same.
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
    let mut first = At::first(scenario, faults);
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
    /// Only where they are asked for: a state does not tell what was answered on the way to it.
    endings: Option<BTreeSet<String>>,
    /// Each step and the one before it; only where the shortest history is sought.
    steps: Vec<(usize, Step)>,
    seen: HashSet<u64>,
    ended: HashSet<u64>,
}

/// After which step, what, and which epilogue it took to see it.
type Broken = (usize, Violation, Option<Alarm>);

impl Search<'_> {
    fn follow(&mut self, at: At, frontier: &mut VecDeque<At>) -> Result<(), Broken> {
        let steps = at.steps(self.scenario, self.followed);
        let is_end = at.is_end(self.scenario);
        if is_end {
            self.end(&at)?;
        }
        let mut last = Some(at);
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
            let previous = next.place;
            let answers = self.endings.as_ref().map(|_| next.world.ending());
            if judged.is_ok() && !self.seen.insert(next.digest(answers.as_ref())) {
                continue;
            }
            if self.direction == Direction::Breadth {
                next.place = self.steps.len();
                self.steps.push((previous, step));
            }
            judged.map_err(|broken| (next.place, broken, None))?;
            frontier.push_back(next);
        }
        Ok(())
    }

    /// A late copy of a call that nobody waits for: where it changes nothing, it might as well be lost.
    fn late_copy(at: &At, step: Step) -> Option<u64> {
        match step {
            Step::Take(Choice::Arrive(call)) if !at.world.waits(call) => {
                Some(at.world.ledger_digest())
            }
            _ => None,
        }
    }

    /// Nothing is under way: one more try now, and around every moment at which something changes, until
    /// the key is forgotten.
    fn end(&mut self, at: &At) -> Result<(), Broken> {
        if let Some(endings) = &mut self.endings {
            endings.insert(at.world.ending());
        }
        let mut hasher = DefaultHasher::new();
        at.judge.hash(&mut hasher);
        at.world.ledger_digest().hash(&mut hasher);
        if !self.ended.insert(hasher.finish()) {
            return Ok(());
        }
        for alarm in [Alarm::Previous, Alarm::After] {
            let mut world = at.world.clone();
            let mut judge = at.judge.clone();
            let tell = |world: &mut World| judge_news(&mut judge, world);
            retry_until_forgotten(&mut world, self.scenario, alarm, tell)
                .map_err(|broken| (at.place, broken, Some(alarm)))?;
        }
        Ok(())
    }

    /// The history that leads to a step, told line by line.
    fn script(&self, place: usize, faults: u32, alarm: Option<Alarm>) -> Vec<String> {
        let mut steps = Vec::new();
        let mut place = place;
        while place != 0 {
            let (previous, step) = self.steps[place];
            steps.push(step);
            place = previous;
        }
        let mut at = At::first(self.scenario, faults);
        let mut lines = Vec::new();
        let mut judge = Judge::default();
        let mut tell = |world: &mut World| {
            for (now, event) in world.news() {
                lines.push(format!("{}  {}", seconds(now), event.line()));
                judge.hear(now, &event)?;
            }
            Ok(())
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
