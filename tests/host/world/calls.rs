//! The calls that are under way, and what can come of each.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use oncegate::lifecycle::ended_leases::DELIVERY_MAX;
use oncegate::time::Timestamp;

use super::history::Kind;
use super::story::{CallResult, Target};
use super::{Call, Choice, Story, World};

#[derive(Clone)]
pub(super) struct Calling {
    pub(super) id: Call,
    pub(super) what: Target,
    /// What the history says of it; none for a pause.
    pub(super) kind: Option<Rc<Kind>>,
    pub(super) stage: Stage,
    pub(super) made: Timestamp,
    /// False once the call was given up or its Worker stopped: nobody gets its answer.
    pub(super) wanted: bool,
    /// Nothing happens to it unless the driver chooses it by name.
    pub(super) held: bool,
}

#[derive(Clone)]
pub(super) enum Stage {
    /// On its way to the Ledger or the origin.
    Out,
    /// Waiting in the Ledger.
    Waits(Timestamp),
    /// The origin works, or a pause lasts, until then.
    Until(Timestamp, CallResult),
    /// The Ledger's answer is on its way back.
    Back(Vec<u8>),
}

impl Calling {
    pub(super) fn is_pause(&self) -> bool {
        self.kind.is_none()
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waits(_))
    }

    /// Nothing can come of it any more.
    pub(super) fn is_done_for(&self, now: Timestamp) -> bool {
        let on_its_way = matches!(self.stage, Stage::Out) && self.can_arrive(now);
        !self.wanted && !on_its_way && !matches!(self.stage, Stage::Waits(_))
    }

    /// A call that is not delivered by then never is.
    fn can_arrive(&self, now: Timestamp) -> bool {
        now.since(self.made) < DELIVERY_MAX
    }

    fn deadline(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Until(until, _) | Stage::Waits(until) => Some(until),
            Stage::Out | Stage::Back(_) => None,
        }
    }

    /// Whether the driver has nothing to do with it at this moment.
    fn rests(&self, now: Timestamp) -> bool {
        match self.stage {
            Stage::Out => !self.can_arrive(now),
            Stage::Until(until, _) | Stage::Waits(until) => until > now,
            Stage::Back(_) => false,
        }
    }
}

impl Hash for Calling {
    /// Hashes what the story's own news do not tell.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { id, what, kind: _, stage, made, wanted, held } = self;
        (id.story.0, id.number, wanted, held).hash(hasher);
        if !wanted {
            match what {
                Target::Ledger(question) => (0, question).hash(hasher),
                Target::Forward(_, run) => (1, run.id.0, run.attempt).hash(hasher),
                Target::Runner(claim, run, sent) => {
                    (3, claim.lease.0, run.id.0, run.attempt, sent.0).hash(hasher);
                }
                Target::Probe | Target::Pause(_) | Target::Stream(..) => 2.hash(hasher),
            }
        }
        match stage {
            Stage::Out => (0, made.0).hash(hasher),
            Stage::Waits(until) => (1, until.0).hash(hasher),
            Stage::Until(until, said) => (2, until.0, said).hash(hasher),
            Stage::Back(answer) => (3, answer).hash(hasher),
        }
    }
}

impl World {
    pub(super) fn calling(&mut self, call: Call) -> &mut Calling {
        self.calls.iter_mut().find(|calling| calling.id == call).expect("it is under way")
    }

    pub(super) fn choices_of(&self, calling: &Calling) -> Vec<Choice> {
        let Calling { id, what, stage, wanted, .. } = calling;
        let call = *id;
        let mut choices = Vec::new();
        match (stage, what) {
            // A call that was given up may still arrive.
            (Stage::Out, _) => {
                if calling.can_arrive(self.now) {
                    choices.push(Choice::Arrive(call));
                }
                match what {
                    Target::Ledger(_) => choices.push(Choice::Overload(call)),
                    Target::Forward(..) => choices.push(Choice::Refuse(call)),
                    Target::Runner(..) => {
                        choices.extend([Choice::Overload(call), Choice::Refuse(call)]);
                    }
                    Target::Probe | Target::Pause(_) | Target::Stream(..) => {}
                }
            }
            (Stage::Waits(until), _) if *until <= self.now => choices.push(Choice::EndWait(call)),
            (Stage::Until(until, _), _) if *until <= self.now => {
                choices.push(Choice::Answer(call));
            }
            (Stage::Back(_), _) => choices.push(Choice::Answer(call)),
            (Stage::Waits(..) | Stage::Until(..), _) => {}
        }
        // How a stream ends is what the origin does.
        if !calling.is_pause() && !matches!(what, Target::Stream(..)) {
            choices.push(Choice::Lose(call));
        }
        if !wanted {
            choices.retain(|choice| matches!(choice, Choice::Arrive(_) | Choice::EndWait(_)));
        }
        choices
    }

    /// What can happen without a fault and without time passing, to calls whose answer is wanted.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Choice> {
        let ready = self
            .calls
            .iter()
            .filter(|calling| calling.wanted && !calling.held && !calling.rests(self.now));
        ready.map(|calling| match calling.stage {
            Stage::Until(..) | Stage::Back(_) => Choice::Answer(calling.id),
            Stage::Out => Choice::Arrive(calling.id),
            Stage::Waits(_) => Choice::EndWait(calling.id),
        })
    }

    /// Calls whose answer nobody wants any more, and that may arrive all the same.
    pub(crate) fn astray(&self) -> impl Iterator<Item = Choice> {
        let astray = self.calls.iter().filter(|calling| {
            !calling.wanted && matches!(calling.stage, Stage::Out) && calling.can_arrive(self.now)
        });
        astray.map(|calling| Choice::Arrive(calling.id))
    }

    /// Answers before arrivals, the oldest call first; time passes when nothing else can happen.
    pub(super) fn good(&self, end: Timestamp) -> Option<Choice> {
        let rank = |choice: &Choice| match choice {
            Choice::Answer(_) => 0,
            Choice::Arrive(_) => 1,
            _ => 2,
        };
        let soonest = self.ready().min_by_key(rank);
        soonest.or_else(|| self.next_deadline().filter(|at| *at <= end).map(|_| Choice::Pass))
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let wanted = self.calls.iter().filter(|calling| calling.wanted && !calling.held);
        let deadlines = wanted.filter_map(Calling::deadline);
        deadlines.filter(|at| *at > self.now && *at < Timestamp(u64::MAX)).min()
    }

    /// Whether a call is under way whose answer is wanted.
    pub(crate) fn is_busy(&self) -> bool {
        self.calls.iter().any(|calling| calling.wanted)
    }

    /// Whether something can happen without time passing.
    pub(crate) fn is_moving(&self) -> bool {
        self.calls.iter().any(|calling| calling.wanted && !calling.rests(self.now))
    }

    /// A Worker to which something can happen that concerns nobody else, before anything of it reaches
    /// the Ledger.
    pub(crate) fn alone(&self, but: &[Story]) -> Option<Story> {
        let of = |story| self.calls.iter().filter(move |c| c.wanted && c.id.story == story);
        let in_the_ledger = |calling: &Calling| match calling.stage {
            Stage::Out => matches!(calling.what, Target::Ledger(_)),
            Stage::Waits(_) => true,
            Stage::Until(..) | Stage::Back(_) => false,
        };
        (0..self.workers.len()).map(Story).find(|story| {
            !but.contains(story)
                && of(*story).any(|calling| !calling.rests(self.now))
                && !of(*story).any(in_the_ledger)
        })
    }
}
