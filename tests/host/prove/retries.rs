//! The end of a history: more tries of the first request, until its key is forgotten.

use oncegate::lifecycle::record::State;
use oncegate::time::Timestamp;

use super::rules::Violation;
use super::scenarios::Scenario;
use crate::make::{ms_before, s};
use crate::world::{Choice, Story, World};

/// Whether the alarm comes before or after the try that is sent at the same instant.
#[derive(Clone, Copy)]
pub(super) enum Alarm {
    Before,
    After,
}

/// The instants at which a record changes by itself.
pub(super) fn landmarks(world: &World) -> impl Iterator<Item = Timestamp> {
    let marks = world.records().map(|record| match record.state {
        State::Running(running) => {
            vec![running.until, running.since.plus(running.durations.ttl)]
        }
        State::Completed(completed) | State::Expired(completed) => {
            vec![completed.expires, completed.gone]
        }
        State::InDoubt(doubt) | State::Closed(doubt) => {
            vec![doubt.until, doubt.until.plus(doubt.durations.ttl), doubt.closes, doubt.gone]
        }
        State::Released(released) => vec![released.until],
    });
    marks.collect::<Vec<_>>().into_iter().flatten()
}

/// Sends one more try now, then one just before and one at each instant at which the record changes by itself,
/// each with an alarm. In between nothing goes wrong.
pub(super) fn retry_until_forgotten(
    world: &mut World,
    scenario: &Scenario,
    alarm: Alarm,
    mut judge: impl FnMut(&mut World) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let mut number = 0;
    let mut retry = |world: &mut World, judge: &mut dyn FnMut(&mut World) -> _| {
        number += 1;
        let story: Story = world.send(scenario.retry(number));
        while world.step() {
            judge(world)?;
        }
        debug_assert!(world.is_over(story));
        world.note_quiet();
        judge(world)
    };
    retry(world, &mut judge)?;
    let mut marks: Vec<_> = landmarks(world).filter(|at| *at > world.now()).collect();
    marks.sort();
    marks.dedup();
    for mark in marks {
        for at in [ms_before(mark), mark] {
            if at > world.now() {
                world.run_for(at.since(world.now()));
            }
            match alarm {
                Alarm::Before => {
                    world.take(Choice::Sweep);
                    retry(world, &mut judge)?;
                }
                Alarm::After => {
                    retry(world, &mut judge)?;
                    world.take(Choice::Sweep);
                }
            }
        }
    }
    // Whatever the last try left is forgotten too.
    let last = landmarks(world).max().unwrap_or(world.now());
    world.run_for(last.since(world.now()).saturating_add(s(1)));
    world.take(Choice::Sweep);
    judge(world)
}
