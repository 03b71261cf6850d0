//! Schedules and queues, held against what the platform is told of triggers and consumers.

use super::{Queues, mistake};
use crate::config::Policy;
use crate::config::read::Misconfigured;
use crate::job::cron::Slots;
use crate::job::schedule::Schedule;
use crate::time::Timestamp;

/// The platform tells a trigger by its text alone, so that a schedule and its trigger must agree letter by letter.
pub(super) fn schedules(policy: &Policy, crons: &[String]) -> Vec<Misconfigured> {
    let mut mistakes = Vec::new();
    for schedule in &policy.schedules {
        let knob = format!("schedule {}", schedule.name);
        if !crons.contains(&schedule.cron) {
            mistakes.push(mistake(
                &format!("{knob}: cron"),
                format!(
                    "is \"{}\", which is not in [triggers] crons, letter by letter",
                    schedule.cron
                ),
            ));
        }
        match keys_of_slots(schedule) {
            Err(why) => mistakes.push(mistake(&format!("{knob}: cron"), format!("is \"{}\", but {why}", schedule.cron))),
            Ok(Some(key)) => mistakes.push(mistake(&format!("{knob}: key"), format!("is {key} for two slots in a row, of which the second would not be run: use a finer {{scheduled_time:…}}"))),
            Ok(None) => {}
        }
    }
    let unused =
        crons.iter().filter(|cron| policy.schedules.iter().all(|schedule| schedule.cron != **cron));
    mistakes.extend(unused.map(|cron| {
        mistake(
            "triggers.crons",
            format!("has \"{cron}\", which no schedule has, letter by letter"),
        )
    }));
    mistakes
}

/// The first key that two slots in a row share, if slots are to be told apart.
fn keys_of_slots(schedule: &Schedule) -> Result<Option<String>, String> {
    let slots = Slots::of(&schedule.cron)?;
    if !schedule.has_slots() {
        return Ok(None);
    }
    let (mut slot, mut last) = (Timestamp(0), None);
    for _ in 0..SLOTS {
        slot = match slots.first_after(slot) {
            Some(next) => next,
            None => break,
        };
        let key = schedule.key(slot);
        if key.is_some() && key == last {
            return Ok(key);
        }
        last = key;
    }
    Ok(None)
}

/// Queues and their consumers; and where a message goes of which nothing can come.
pub(super) fn queues(policy: &Policy, queues: &Queues) -> Vec<Misconfigured> {
    let mut mistakes = Vec::new();
    let has_aside = queues.producers.iter().any(|producer| producer.binding == "ASIDE");
    for rule in &policy.queues {
        let knob = format!("queue {}", rule.queue);
        match queues.consumers.iter().find(|consumer| consumer.queue == rule.queue) {
            None => mistakes
                .push(mistake(&knob, "is in QUEUES, but [[queues.consumers]] does not name it")),
            Some(consumer) if consumer.dead_letter_queue.is_none() && !has_aside => {
                mistakes.push(mistake(&knob, "has nowhere to put a message of which nothing can come, and the platform would delete it: name a dead_letter_queue, or bind a queue as ASIDE"));
            }
            Some(_) => {}
        }
    }
    let unread = queues
        .consumers
        .iter()
        .filter(|consumer| policy.queues.iter().all(|rule| rule.queue != consumer.queue));
    mistakes.extend(unread.map(|consumer| {
        mistake(
            &format!("queue {}", consumer.queue),
            "is consumed, but has no table in QUEUES: all of its messages would go back",
        )
    }));
    mistakes
}

/// As many slots tell how fine a cron is: a year of every two hours.
const SLOTS: usize = 5000;
