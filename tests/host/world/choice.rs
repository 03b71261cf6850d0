//! What may happen next.

use super::story::Role;
use super::{Call, Story, World};

/// Something that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A call arrives: the Ledger answers or makes the caller wait, the origin executes, a Runner begins.
    Arrive(Call),
    /// The answer to a call reaches its caller; a pause is over.
    Answer(Call),
    /// The wait of a caller in the Ledger is over: it is told to claim again.
    EndWait(Call),
    /// The clock moves on to the next deadline.
    Pass,
    /// Fault: a call fails for its caller, whatever came of it.
    Lose(Call),
    /// Fault: the Ledger, or a Runner, refuses a call because it is overloaded.
    Overload(Call),
    /// Fault: a request is never handed over to the runtime; a Runner refuses a lease.
    Refuse(Call),
    /// Fault: a Worker or a Runner stops.
    Crash(Story),
    /// Fault: a client hangs up.
    Leave(Story),
    /// Fault: the Ledger restarts and forgets its waiters.
    Reset,
    /// The alarm: the sweep deletes the rows whose time is over.
    Sweep,
}

impl Choice {
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Self::Arrive(_) | Self::Answer(_) | Self::EndWait(_) | Self::Pass | Self::Sweep => {
                false
            }
            Self::Lose(_)
            | Self::Overload(_)
            | Self::Refuse(_)
            | Self::Crash(_)
            | Self::Leave(_)
            | Self::Reset => true,
        }
    }
}

impl World {
    /// Everything that could happen next.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        let mut choices: Vec<_> =
            self.calls.iter().flat_map(|calling| self.choices_of(calling)).collect();
        for (at, worker) in self.workers.iter().enumerate() {
            if !worker.over {
                choices.push(Choice::Crash(Story(at)));
            }
            if !worker.left && worker.answer.is_none() && worker.arrival.role == Role::Worker {
                choices.push(Choice::Leave(Story(at)));
            }
        }
        choices.extend(self.next_deadline().map(|_| Choice::Pass));
        choices.extend([Choice::Reset, Choice::Sweep]);
        choices
    }

    /// Every fault that could happen next, to calls whose answer is wanted.
    pub(crate) fn faults(&self) -> Vec<Choice> {
        let mut faults: Vec<_> =
            self.calls.iter().flat_map(|calling| self.choices_of(calling)).collect();
        for story in
            self.calls.iter().filter(|calling| calling.wanted).map(|calling| calling.id.story)
        {
            faults.push(Choice::Crash(story));
            let worker = &self.workers[story.0];
            let is_answered = worker.left || worker.answer.is_some();
            if !is_answered && !matches!(worker.arrival.role, Role::Runner { .. }) {
                faults.push(Choice::Leave(story));
            }
        }
        faults.push(Choice::Reset);
        faults.retain(|choice| choice.is_fault());
        faults
    }
}
