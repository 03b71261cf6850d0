//! The calls that are under way, and what can come of each.

use std::collections::VecDeque;

use oncegate::ask::Told;
use oncegate::filter::Unreachable;
use oncegate::key::KeyId;
use oncegate::outcome::Failure;
use oncegate::record::{Millis, Run};

use super::ledger::{self, Hearing, Ledger};
use super::{Call, Choice, Executed, Heard, NEVER, Scripted, Story, heard};

pub(super) struct Shared {
    pub(super) now: Millis,
    pub(super) ledger: Ledger,
    pub(super) calls: Vec<Calling>,
    pub(super) executed: Vec<Executed>,
    pub(super) script: VecDeque<Scripted>,
    pub(super) probes: VecDeque<Scripted>,
    pub(super) log: Vec<String>,
}

pub(super) struct Calling {
    pub(super) by: Story,
    pub(super) what: What,
    pub(super) stage: Stage,
    /// Nobody hears the answer of a call that was given up, or whose Worker stopped.
    pub(super) wanted: bool,
    /// The driver has it in hand: a good day leaves it alone.
    pub(super) held: bool,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Ask(Vec<u8>),
    Forward(KeyId, Run),
    Probe,
    Pause,
}

pub(super) enum Stage {
    /// On its way out.
    Out,
    /// Waiting in the Ledger.
    Parked(Millis),
    /// Until then: the origin is at it, or a pause lasts.
    Until(Millis, Said),
    /// The Ledger's answer is on its way back.
    Back(Vec<u8>),
    /// Over; what it said has perhaps been taken.
    Over(Option<Said>),
}

#[derive(Clone)]
pub(super) enum Said {
    Told(Result<Vec<u8>, Unreachable>),
    Heard(Result<Heard, Failure>),
    Woken,
}

impl Shared {
    pub(super) fn at(now: Millis) -> Self {
        Self {
            now,
            ledger: Ledger::default(),
            calls: Vec::new(),
            executed: Vec::new(),
            script: VecDeque::new(),
            probes: VecDeque::new(),
            log: Vec::new(),
        }
    }

    pub(super) fn choices_of(&self, call: Call) -> Vec<Choice> {
        let Calling { what, stage, wanted, .. } = &self.calls[call.0];
        let mut choices = Vec::new();
        match (stage, what) {
            // One that was given up may still arrive.
            (Stage::Out, What::Ask(_)) => {
                choices.extend([Choice::Arrive(call), Choice::Overload(call)]);
            }
            (Stage::Out, What::Forward(..)) => {
                choices.extend([Choice::Arrive(call), Choice::Refuse(call)]);
            }
            (Stage::Out, What::Probe | What::Pause) => choices.push(Choice::Arrive(call)),
            (Stage::Parked(until), _) if *until <= self.now => choices.push(Choice::Rouse(call)),
            (Stage::Until(until, _), _) if *until <= self.now => {
                choices.push(Choice::Answer(call));
            }
            (Stage::Back(_), _) => choices.push(Choice::Answer(call)),
            (Stage::Parked(..) | Stage::Until(..) | Stage::Over(_), _) => {}
        }
        let can_fail = !matches!((stage, what), (Stage::Over(_), _) | (_, What::Pause));
        if *wanted && can_fail {
            choices.push(Choice::Lose(call));
        }
        if !wanted {
            choices.retain(|choice| matches!(choice, Choice::Arrive(_) | Choice::Rouse(_)));
        }
        choices
    }

    /// Answers before arrivals, the oldest call first; time passes when nothing else can happen.
    pub(super) fn good(&self, end: Millis) -> Option<Choice> {
        let calls = (0..self.calls.len())
            .filter(|at| self.calls[*at].wanted && !self.calls[*at].held)
            .flat_map(|at| self.choices_of(Call(at)));
        let order = |choice: &Choice| match choice {
            Choice::Answer(_) => 0,
            Choice::Arrive(_) => 1,
            Choice::Rouse(_) => 2,
            _ => 3,
        };
        let soonest = calls.min_by_key(order).filter(|choice| order(choice) < 3);
        soonest.or_else(|| self.next_deadline().filter(|at| *at <= end).map(|_| Choice::Pass))
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let deadline = |call: &Calling| match call.stage {
            Stage::Until(until, _) | Stage::Parked(until) => Some(until),
            Stage::Out | Stage::Back(_) | Stage::Over(_) => None,
        };
        let wanted = self.calls.iter().filter(|call| call.wanted && !call.held);
        wanted.filter_map(deadline).filter(|at| *at > self.now && *at < NEVER).min()
    }

    /// Says whose story moves on.
    pub(super) fn take(&mut self, choice: Choice) -> Vec<Story> {
        match choice {
            Choice::Arrive(call) => return self.arrive(call),
            Choice::Answer(Call(at)) => {
                let said = match &self.calls[at].stage {
                    Stage::Back(answer) => Said::Told(Ok(answer.clone())),
                    Stage::Until(_, said) => said.clone(),
                    _ => panic!("there is no answer yet"),
                };
                return self.say(Call(at), said);
            }
            Choice::Rouse(Call(at)) => {
                self.ledger.forget(at);
                self.calls[at].stage = Stage::Back(ledger::told(&Told::Again));
            }
            Choice::Pass => self.now = self.next_deadline().expect("a deadline to pass on to"),
            Choice::Lose(call) => {
                let lost = match self.calls[call.0].what {
                    What::Ask(_) => Said::Told(Err(Unreachable::Lost("lost".to_owned()))),
                    _ => Said::Heard(Err(Failure::Unknown)),
                };
                self.ledger.forget(call.0);
                return self.say(call, lost);
            }
            Choice::Overload(call) => {
                let why = "overloaded".to_owned();
                return self.say(call, Said::Told(Err(Unreachable::Overloaded(why))));
            }
            Choice::Refuse(call) => return self.say(call, Said::Heard(Err(Failure::NeverSent))),
            Choice::Reset => {
                let waited = self.ledger.reset();
                let lost =
                    |at| self.say(Call(at), Said::Told(Err(Unreachable::Lost("reset".into()))));
                return waited.into_iter().flat_map(lost).collect();
            }
            Choice::Sweep => self.ledger.sweep(self.now),
            Choice::Crash(_) | Choice::Leave(_) => {}
        }
        Vec::new()
    }

    fn arrive(&mut self, Call(at): Call) -> Vec<Story> {
        match self.calls[at].what.clone() {
            What::Ask(question) => {
                let (hearing, woken) = self.ledger.hear(at, &question, self.now);
                self.calls[at].stage = match hearing {
                    Hearing::Answered(answer) => Stage::Back(answer),
                    Hearing::Parked(until) => Stage::Parked(until),
                };
                for (waiter, answer) in woken {
                    self.calls[waiter].stage = Stage::Back(answer);
                }
            }
            What::Forward(key, run) => {
                self.executed.push(Executed { key, run, at: self.now });
                let paid = format!("paid {}", self.executed.len());
                let next = self.script.pop_front();
                let (span, heard) = next.unwrap_or_else(|| (Millis(0), Ok(heard(201, &paid))));
                self.calls[at].stage = Stage::Until(self.now.plus(span), Said::Heard(heard));
            }
            What::Probe => {
                let next = self.probes.pop_front();
                let (span, heard) = next.unwrap_or_else(|| (Millis(0), Ok(heard(500, ""))));
                self.calls[at].stage = Stage::Until(self.now.plus(span), Said::Heard(heard));
            }
            What::Pause => panic!("a pause goes nowhere"),
        }
        Vec::new()
    }

    fn say(&mut self, Call(at): Call, said: Said) -> Vec<Story> {
        let call = &mut self.calls[at];
        call.stage = Stage::Over(Some(said));
        if call.wanted { vec![call.by] } else { Vec::new() }
    }
}

impl Calling {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }
}
