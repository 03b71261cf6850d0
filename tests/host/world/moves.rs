//! Carries out the choices about calls.

use std::rc::Rc;
use std::time::Duration;

use oncegate::filter::{HandOver, Unreachable};
use oncegate::lifecycle::outcome::Failure;
use oncegate::time::Timestamp;

use super::calls::{Calling, Stage};
use super::history::{Cause, Event, Kind, kind};
use super::ledger::Hearing;
use super::messages;
use super::story::{CallResult, Target};
use super::{Call, Choice, Executed, Story, World, response};

impl World {
    pub(super) fn take_of_calls(&mut self, choice: Choice) {
        match choice {
            Choice::Arrive(call) => self.arrive(call),
            Choice::Answer(call) => {
                if let Some(kind) = self.calling(call).kind.clone() {
                    self.note(Event::Hears { story: call.story, kind });
                }
                let said = match &self.calling(call).stage {
                    Stage::Back(answer) => CallResult::Ledger(Ok(answer.clone())),
                    Stage::Until(_, said) => said.clone(),
                    Stage::Out | Stage::Waits(_) => panic!("there is no answer yet"),
                };
                self.say(call, said);
            }
            Choice::EndWait(call) => {
                let (answer, body) = self.ledger.end_wait(call);
                self.calling(call).stage = Stage::Back(messages::answer(&answer, &body));
                self.note(Event::Woken { story: call.story, answer });
            }
            Choice::Lose(call) => {
                let calling = self.calling(call);
                let lost = match calling.what {
                    Target::Ledger(_) => {
                        CallResult::Ledger(Err(Unreachable::Lost("lost".to_owned())))
                    }
                    Target::Runner(..) => {
                        CallResult::HandOver(Err(Unreachable::Lost("lost".to_owned())))
                    }
                    _ => CallResult::Origin(Err(Failure::Lost)),
                };
                let astray = matches!(calling.stage, Stage::Out).then(|| calling.clone());
                let kind = calling.kind.clone();
                self.note_failed(call, kind, Cause::Lost);
                self.ledger.forget(call);
                self.say(call, lost);
                // The call failed for its caller; it may arrive all the same.
                self.calls.extend(astray.map(|calling| Calling { wanted: false, ..calling }));
            }
            Choice::Overload(call) => {
                let kind = self.calling(call).kind.clone();
                self.note_failed(call, kind, Cause::Overloaded);
                let why = Unreachable::Overloaded("overloaded".to_owned());
                let said = match self.calling(call).what {
                    Target::Runner(..) => CallResult::HandOver(Err(why)),
                    _ => CallResult::Ledger(Err(why)),
                };
                self.say(call, said);
            }
            Choice::Refuse(call) => {
                let now = self.now;
                let calling = self.calling(call);
                let (kind, is_for_runner) =
                    (calling.kind.clone(), matches!(calling.what, Target::Runner(..)));
                if is_for_runner {
                    // The answer that says so may be lost yet.
                    let refused = HandOver::Refused("no room".to_owned());
                    calling.stage = Stage::Until(now, CallResult::HandOver(Ok(refused)));
                    self.note_failed(call, kind, Cause::Refused);
                } else {
                    self.note_failed(call, kind, Cause::NeverSent);
                    self.say(call, CallResult::Origin(Err(Failure::NeverSent)));
                }
            }
            Choice::Reset => {
                self.note(Event::Reset);
                for call in self.ledger.reset() {
                    self.say(call, CallResult::Ledger(Err(Unreachable::Lost("reset".into()))));
                }
            }
            Choice::Sweep => {
                self.ledger.sweep(self.now);
                let left = self.ledger.key_ids().copied().collect();
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

    pub(super) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
        self.calls.retain(|calling| !calling.is_done_for(now));
    }

    fn arrive(&mut self, call: Call) {
        let now = self.now;
        let calling = self.calling(call);
        let (what, kind, absent) = (calling.what.clone(), calling.kind.clone(), !calling.wanted);
        let story = call.story;
        let stage = match what {
            Target::Ledger(question) => {
                let (hearing, woken) = self.ledger.hear(call, &question, now);
                let (stage, answer) = match hearing {
                    Hearing::Answered((answer, body)) => {
                        (Stage::Back(messages::answer(&answer, &body)), Some(answer))
                    }
                    Hearing::Waits(until) => (Stage::Waits(until), None),
                    // A mutant here needs two arrivals.
                    Hearing::Again => return,
                };
                let asked = kind.expect("a question is no pause");
                self.note(Event::Asked { story, asked, answer, absent });
                for (waiter, (answer, body)) in woken {
                    self.calling(waiter).stage = Stage::Back(messages::answer(&answer, &body));
                    self.note(Event::Woken { story: waiter.story, answer });
                }
                stage
            }
            Target::Forward(key, run) => {
                let paid = format!("paid {}", self.executed.len() + 1);
                let next = self.script.pop_front();
                let (span, said) =
                    next.unwrap_or_else(|| (Duration::from_millis(0), Ok(response(201, &paid))));
                self.executed.push(Executed { key, run, at: now });
                self.note(Event::Executed { story, run, said: said.clone() });
                Stage::Until(now.plus(span), CallResult::Origin(said))
            }
            Target::Runner(claim, run, sent) => {
                self.take_over(call, &claim, run, sent);
                Stage::Until(now, CallResult::HandOver(Ok(HandOver::Taken)))
            }
            Target::Probe => {
                let next = self.probes.pop_front();
                let (span, said) =
                    next.unwrap_or_else(|| (Duration::from_millis(0), Ok(response(500, ""))));
                self.note(Event::Probed { story, said: said.clone() });
                Stage::Until(now.plus(span), CallResult::Origin(said))
            }
            Target::Pause(_) | Target::Stream(..) => panic!("it goes nowhere"),
        };
        self.calling(call).stage = stage;
        self.calls.retain(|calling| !calling.is_done_for(now));
    }

    /// The call is over, and its story moves on with what came of it.
    fn say(&mut self, call: Call, said: CallResult) {
        let at = self.calls.iter().position(|calling| calling.id == call).expect("it is under way");
        let calling = self.calls.remove(at);
        if calling.wanted {
            self.tell(call.story, call.number, said);
        }
    }

    pub(super) fn made(&mut self, story: Story, number: u32, what: Target) {
        let id = Call { story, number };
        let stage = match what {
            Target::Pause(until) => Stage::Until(until, CallResult::PauseOver),
            Target::Stream(until, end) => Stage::Until(until, CallResult::StreamOver(end)),
            Target::Ledger(_) | Target::Forward(..) | Target::Runner(..) | Target::Probe => {
                Stage::Out
            }
        };
        let kind = kind(&what).map(Rc::new);
        if let Some(kind) = &kind {
            self.note(Event::Calls { story, kind: Rc::clone(kind) });
        }
        let made = self.now;
        self.calls.push(Calling { id, what, kind, stage, made, wanted: true, held: false });
    }

    /// Nobody wants the answers to these calls any more.
    pub(super) fn give_up(&mut self, is: impl Fn(Call) -> bool) {
        for calling in self.calls.iter_mut().filter(|calling| is(calling.id)) {
            calling.wanted = false;
        }
        let now = self.now;
        self.calls.retain(|calling| !calling.is_done_for(now));
    }
}
