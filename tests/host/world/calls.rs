//! The calls that are under way, and what can come of each.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use oncegate::filter::Unreachable;
use oncegate::outcome::Failure;
use oncegate::record::Millis;
use oncegate::released::DELIVERY_MAX;

use super::history::{Cause, Event, Kind, kind};
use super::ledger::{self, Hearing};
use super::story::{Said, What};
use super::{Call, Choice, Executed, NEVER, Story, World, heard};

#[derive(Clone)]
pub(super) struct Calling {
    pub(super) id: Call,
    pub(super) what: What,
    /// For the history; none of a pause.
    pub(super) kind: Option<Rc<Kind>>,
    pub(super) stage: Stage,
    pub(super) made: Millis,
    /// Nobody hears the answer of a call that was given up, or whose Worker stopped.
    pub(super) wanted: bool,
    /// The driver has it in hand: a good day leaves it alone.
    pub(super) held: bool,
}

#[derive(Clone)]
pub(super) enum Stage {
    /// On its way out.
    Out,
    /// Waiting in the Ledger.
    Parked(Millis),
    /// Until then: the origin is at it, or a pause lasts.
    Until(Millis, Said),
    /// The Ledger's answer is on its way back.
    Back(Vec<u8>),
}

impl Calling {
    pub(super) fn is_pause(&self) -> bool {
        self.kind.is_none()
    }

    pub(super) fn is_parked(&self) -> bool {
        matches!(self.stage, Stage::Parked(_))
    }

    /// Nothing can come of it any more.
    fn is_done_for(&self, now: Millis) -> bool {
        let on_its_way = matches!(self.stage, Stage::Out) && self.can_arrive(now);
        !self.wanted && !on_its_way && !matches!(self.stage, Stage::Parked(_))
    }

    /// What is not delivered by then never is.
    fn can_arrive(&self, now: Millis) -> bool {
        now.since(self.made) < DELIVERY_MAX
    }

    fn deadline(&self) -> Option<Millis> {
        match self.stage {
            Stage::Until(until, _) | Stage::Parked(until) => Some(until),
            Stage::Out | Stage::Back(_) => None,
        }
    }

    /// Whether the driver has nothing to do with it at this moment.
    fn rests(&self, now: Millis) -> bool {
        match self.stage {
            Stage::Out => !self.can_arrive(now),
            Stage::Until(until, _) | Stage::Parked(until) => until > now,
            Stage::Back(_) => false,
        }
    }
}

impl Hash for Calling {
    /// What the story does not tell by itself.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { id, what, kind: _, stage, made, wanted, held } = self;
        (id.story.0, id.number, wanted, held).hash(hasher);
        if !wanted {
            match what {
                What::Ask(question) => (0, question).hash(hasher),
                What::Forward(_, run) => (1, run.id.0, run.attempt).hash(hasher),
                What::Probe | What::Pause(_) => 2.hash(hasher),
            }
        }
        match stage {
            Stage::Out => (0, made.0).hash(hasher),
            Stage::Parked(until) => (1, until.0).hash(hasher),
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
            // One that was given up may still arrive.
            (Stage::Out, _) => {
                if calling.can_arrive(self.now) {
                    choices.push(Choice::Arrive(call));
                }
                match what {
                    What::Ask(_) => choices.push(Choice::Overload(call)),
                    What::Forward(..) => choices.push(Choice::Refuse(call)),
                    What::Probe | What::Pause(_) => {}
                }
            }
            (Stage::Parked(until), _) if *until <= self.now => choices.push(Choice::Rouse(call)),
            (Stage::Until(until, _), _) if *until <= self.now => {
                choices.push(Choice::Answer(call));
            }
            (Stage::Back(_), _) => choices.push(Choice::Answer(call)),
            (Stage::Parked(..) | Stage::Until(..), _) => {}
        }
        if !calling.is_pause() {
            choices.push(Choice::Lose(call));
        }
        if !wanted {
            choices.retain(|choice| matches!(choice, Choice::Arrive(_) | Choice::Rouse(_)));
        }
        choices
    }

    /// What can happen without a fault and without time passing, to calls that somebody waits for.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Choice> {
        let ready = self
            .calls
            .iter()
            .filter(|calling| calling.wanted && !calling.held && !calling.rests(self.now));
        ready.map(|calling| match calling.stage {
            Stage::Until(..) | Stage::Back(_) => Choice::Answer(calling.id),
            Stage::Out => Choice::Arrive(calling.id),
            Stage::Parked(_) => Choice::Rouse(calling.id),
        })
    }

    /// Calls that nobody waits for any more, and that may arrive all the same.
    pub(crate) fn astray(&self) -> impl Iterator<Item = Choice> {
        let astray = self.calls.iter().filter(|calling| {
            !calling.wanted && matches!(calling.stage, Stage::Out) && calling.can_arrive(self.now)
        });
        astray.map(|calling| Choice::Arrive(calling.id))
    }

    /// Answers before arrivals, the oldest call first; time passes when nothing else can happen.
    pub(super) fn good(&self, end: Millis) -> Option<Choice> {
        let order = |choice: &Choice| match choice {
            Choice::Answer(_) => 0,
            Choice::Arrive(_) => 1,
            _ => 2,
        };
        let soonest = self.ready().min_by_key(order);
        soonest.or_else(|| self.next_deadline().filter(|at| *at <= end).map(|_| Choice::Pass))
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let wanted = self.calls.iter().filter(|calling| calling.wanted && !calling.held);
        let deadlines = wanted.filter_map(Calling::deadline);
        deadlines.filter(|at| *at > self.now && *at < NEVER).min()
    }

    pub(super) fn take_of_calls(&mut self, choice: Choice) {
        match choice {
            Choice::Arrive(call) => self.arrive(call),
            Choice::Answer(call) => {
                if let Some(kind) = self.calling(call).kind.clone() {
                    self.note(Event::Hears { story: call.story, kind });
                }
                let said = match &self.calling(call).stage {
                    Stage::Back(answer) => Said::Told(Ok(answer.clone())),
                    Stage::Until(_, said) => said.clone(),
                    Stage::Out | Stage::Parked(_) => panic!("there is no answer yet"),
                };
                self.say(call, said);
            }
            Choice::Rouse(call) => {
                let told = self.ledger.rouse(call);
                self.note(Event::Woken { story: call.story, told: told.clone() });
                self.calling(call).stage = Stage::Back(ledger::told(&told));
            }
            Choice::Lose(call) => {
                let calling = self.calling(call);
                let lost = match calling.what {
                    What::Ask(_) => Said::Told(Err(Unreachable::Lost("lost".to_owned()))),
                    _ => Said::Heard(Err(Failure::Unknown)),
                };
                let astray = matches!(calling.stage, Stage::Out).then(|| calling.clone());
                let kind = calling.kind.clone();
                self.note_failed(call, kind, Cause::Lost);
                self.ledger.forget(call);
                self.say(call, lost);
                // It failed for its caller; it may arrive all the same.
                self.calls.extend(astray.map(|calling| Calling { wanted: false, ..calling }));
            }
            Choice::Overload(call) => {
                let kind = self.calling(call).kind.clone();
                self.note_failed(call, kind, Cause::Overloaded);
                let why = "overloaded".to_owned();
                self.say(call, Said::Told(Err(Unreachable::Overloaded(why))));
            }
            Choice::Refuse(call) => {
                let kind = self.calling(call).kind.clone();
                self.note_failed(call, kind, Cause::NeverSent);
                self.say(call, Said::Heard(Err(Failure::NeverSent)));
            }
            Choice::Reset => {
                self.note(Event::Reset);
                for call in self.ledger.reset() {
                    self.say(call, Said::Told(Err(Unreachable::Lost("reset".into()))));
                }
            }
            Choice::Sweep => {
                self.ledger.sweep(self.now);
                let left = self.ledger.keys().copied().collect();
                self.note(Event::Swept { left });
            }
            Choice::Pass => {
                let at = self.next_deadline().expect("a deadline to pass on to");
                self.set_now(at);
            }
            Choice::Crash(_) | Choice::Leave(_) => {}
        }
    }

    fn note_failed(&mut self, call: Call, kind: Option<Rc<Kind>>, why: Cause) {
        if let Some(kind) = kind {
            self.note(Event::Failed { story: call.story, kind, why });
        }
    }

    pub(super) fn set_now(&mut self, now: Millis) {
        self.now = now;
        self.calls.retain(|calling| !calling.is_done_for(now));
    }

    fn arrive(&mut self, call: Call) {
        let now = self.now;
        let calling = self.calling(call);
        let (what, kind, absent) = (calling.what.clone(), calling.kind.clone(), !calling.wanted);
        let story = call.story;
        let stage = match what {
            What::Ask(question) => {
                let (hearing, woken) = self.ledger.hear(call, &question, now);
                let (stage, told) = match hearing {
                    Hearing::Answered(told) => (Stage::Back(ledger::told(&told)), Some(told)),
                    Hearing::Parked(until) => (Stage::Parked(until), None),
                    // A fault that is planted here needs two arrivals.
                    Hearing::Again => return,
                };
                let asked = kind.expect("a question is no pause");
                self.note(Event::Asked { story, asked, told, absent });
                for (waiter, told) in woken {
                    self.calling(waiter).stage = Stage::Back(ledger::told(&told));
                    self.note(Event::Woken { story: waiter.story, told });
                }
                stage
            }
            What::Forward(key, run) => {
                let paid = format!("paid {}", self.executed.len() + 1);
                let next = self.script.pop_front();
                let (span, said) = next.unwrap_or_else(|| (Millis(0), Ok(heard(201, &paid))));
                self.executed.push(Executed { key, run, at: now });
                self.note(Event::Executed { story, run, said: said.clone() });
                Stage::Until(now.plus(span), Said::Heard(said))
            }
            What::Probe => {
                let next = self.probes.pop_front();
                let (span, said) = next.unwrap_or_else(|| (Millis(0), Ok(heard(500, ""))));
                self.note(Event::Probed { story, said: said.clone() });
                Stage::Until(now.plus(span), Said::Heard(said))
            }
            What::Pause(_) => panic!("a pause goes nowhere"),
        };
        self.calling(call).stage = stage;
        self.calls.retain(|calling| !calling.is_done_for(now));
    }

    /// The call is over, and its story moves on.
    fn say(&mut self, call: Call, said: Said) {
        let at = self.calls.iter().position(|calling| calling.id == call).expect("it is under way");
        let calling = self.calls.remove(at);
        if calling.wanted {
            self.tell(call.story, call.number, said);
        }
    }

    /// Whether something is under way that somebody waits for.
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
            Stage::Out => matches!(calling.what, What::Ask(_)),
            Stage::Parked(_) => true,
            Stage::Until(..) | Stage::Back(_) => false,
        };
        (0..self.workers.len()).map(Story).find(|story| {
            !but.contains(story)
                && of(*story).any(|calling| !calling.rests(self.now))
                && !of(*story).any(in_the_ledger)
        })
    }

    pub(super) fn made(&mut self, story: Story, number: u32, what: What) {
        let id = Call { story, number };
        let stage = match what {
            What::Pause(until) => Stage::Until(until, Said::Woken),
            What::Ask(_) | What::Forward(..) | What::Probe => Stage::Out,
        };
        let kind = kind(&what).map(Rc::new);
        if let Some(kind) = &kind {
            self.note(Event::Calls { story, kind: Rc::clone(kind) });
        }
        let made = self.now;
        self.calls.push(Calling { id, what, kind, stage, made, wanted: true, held: false });
    }

    /// Nobody waits for these calls any more.
    pub(super) fn give_up(&mut self, is: impl Fn(Call) -> bool) {
        for calling in self.calls.iter_mut().filter(|calling| is(calling.id)) {
            calling.wanted = false;
        }
        let now = self.now;
        self.calls.retain(|calling| !calling.is_done_for(now));
    }
}
