//! What goes wrong: the origin's answers, and faults.

use std::time::Duration;

use oncegate::filter::StreamEnd;
use oncegate::lifecycle::outcome::Failure;
use oncegate::time::millis;

use super::SWEEP_EVERY;
use super::rng::Rng;
use crate::make::s;
use crate::world::{Choice, NEVER, Scripted, World, response, stream};

/// The faults by name.
pub(super) const FAULTS: [&str; 9] =
    ["crash", "leave", "reset", "lose", "overload", "refuse", "delay", "astray", "sweep"];

#[derive(Default)]
pub(super) struct Faults {
    executions: u64,
    /// When the sweep ran last.
    swept: u64,
}

impl Faults {
    /// Sets the origin's next answers, to a request and to a probe.
    pub(super) fn script(&mut self, world: &mut World, rng: &mut Rng) {
        let [script, probes] = world.scripted();
        if script == 0 {
            self.executions += 1;
            world.origin([origin_answer(self.executions, rng)]);
        }
        if probes == 0 {
            let status = [404, 200, 500][usize::try_from(rng.below(3)).unwrap()];
            world.probes([(s(rng.below(3)), Ok(response(status, "found")))]);
        }
    }

    /// Perhaps something goes wrong; the index of the fault.
    pub(super) fn strike(&mut self, world: &mut World, rng: &mut Rng) -> Option<usize> {
        if world.now().0 > self.swept + millis(SWEEP_EVERY) {
            self.swept = world.now().0;
            world.take(Choice::Sweep);
            return Some(8);
        }
        if !rng.per_mille(25) {
            return None;
        }
        if rng.per_mille(100) {
            let span = if rng.per_mille(100) { s(100) } else { s(20) };
            let at = world.now().plus(Duration::from_millis(1 + rng.below(millis(span))));
            world.delay_to(at);
            return Some(6);
        }
        let astray: Vec<_> = world.astray().collect();
        if let Some(choice) = rng.pick(&astray) {
            world.take(*choice);
            return Some(7);
        }
        // The kind is chosen first: some kinds have many calls to strike at, some have few.
        let wanted = usize::try_from(rng.below(6)).unwrap();
        let mut choices = world.faults();
        choices.retain(|choice| kind(*choice) == Some(wanted));
        let choice = *rng.pick(&choices)?;
        world.take(choice);
        Some(wanted)
    }
}

/// The index of a fault in [`FAULTS`].
fn kind(choice: Choice) -> Option<usize> {
    match choice {
        Choice::Crash(_) => Some(0),
        Choice::Leave(_) => Some(1),
        Choice::Reset => Some(2),
        Choice::Lose(_) => Some(3),
        Choice::Overload(_) => Some(4),
        Choice::Refuse(_) => Some(5),
        Choice::Arrive(_)
        | Choice::Answer(_)
        | Choice::EndWait(_)
        | Choice::Pass
        | Choice::Sweep => None,
    }
}

/// Mostly the origin works; it may be slow, refuse, fail, execute and answer otherwise, or never answer.
fn origin_answer(number: u64, rng: &mut Rng) -> Scripted {
    let body = format!("said {number}");
    let quick = Duration::from_millis(20 + rng.below(400));
    let slow = Duration::from_millis(1000 + rng.below(90_000));
    let say = |after, status| (after, Ok(response(status, &body)));
    match rng.below(100) {
        0..50 => say(quick, 201),
        50..65 => say(slow, 200),
        65..70 => say(quick, 429),
        70..74 => say(quick, 404),
        74..78 => say(quick, 500),
        78..82 => say(slow, 502),
        82..86 => say(quick, 503),
        86..88 => say(quick, 402),
        88 => (quick, Ok(stream(slow, StreamEnd::Over))),
        89 => (quick, Ok(stream(slow, StreamEnd::BrokenOff))),
        90..96 => (quick, Err(Failure::Lost)),
        96..98 => (slow, Err(Failure::Lost)),
        _ => (NEVER, Err(Failure::Lost)),
    }
}
