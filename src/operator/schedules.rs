//! The schedules, and what came of a slot that an operator has run.

use std::rc::Rc;

use serde::Serialize;

use crate::config::Policy;
use crate::config::route::Route;
use crate::job::answered::Next;
use crate::job::cron::Slots;
use crate::job::schedule::Schedule;
use crate::lifecycle::event::Strategy;
use crate::operator::run::{CLOCKS_DIFFER, Slot, kept, latest, route};
use crate::request::digest::hex;
use crate::request::key::KeyId;
use crate::time::{Timestamp, rfc3339};

/// A schedule as operators see it.
#[derive(Clone, Debug)]
pub struct ListedSchedule {
    /// It.
    pub schedule: Rc<Schedule>,
    /// The route that guards its requests.
    pub route: Option<Rc<Route>>,
    /// The latest slot that has begun.
    pub latest: Timestamp,
    /// The record of a slot before this instant would be gone by now; none where no slot has a key of its own.
    pub known_since: Option<Timestamp>,
}

/// Every schedule, in the order of the configuration.
#[must_use]
pub fn list(policy: &Policy, now: Timestamp) -> Vec<ListedSchedule> {
    let listed = |schedule: &Rc<Schedule>| {
        let latest = latest(Slots::of(&schedule.cron).ok().as_ref(), now);
        let route = schedule.request(latest).and_then(|request| route(policy, &request));
        let kept = route.as_deref().filter(|_| schedule.has_slots()).map(kept);
        let known_since = kept.map(|kept| now.minus(kept).plus(CLOCKS_DIFFER));
        ListedSchedule { schedule: schedule.clone(), route, latest, known_since }
    };
    policy.schedules.iter().map(listed).collect()
}

/// A slot that was run, or was found to have been run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// It.
    pub slot: Slot,
    /// Its record, if its request was admitted.
    pub key_id: Option<KeyId>,
    /// How its request ended, as the log has it.
    pub outcome: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// What follows.
    pub next: Next,
}

impl Ran {
    /// In how many seconds it is worth looking again.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self.next {
            Next::Retry(after) => Some(after.as_secs()),
            Next::Done | Next::InDoubt(_) | Next::Refused(_) => None,
        }
    }
}

/// The schedules.
#[derive(Serialize)]
pub(super) struct SchedulesDocument<'a> {
    schedules: Vec<ScheduleDocument<'a>>,
}

#[derive(Serialize)]
struct ScheduleDocument<'a> {
    name: &'a str,
    cron: &'a str,
    key: &'a str,
    /// Null where it is the route's.
    on_duplicate: Option<Strategy>,
    method: &'a str,
    url: &'a str,
    route: Option<&'a str>,
    latest: String,
    known_since: Option<String>,
}

impl<'a> SchedulesDocument<'a> {
    pub(super) fn new(schedules: &'a [ListedSchedule]) -> Self {
        let document = |listed: &'a ListedSchedule| {
            let schedule = &listed.schedule;
            ScheduleDocument {
                name: &schedule.name,
                cron: &schedule.cron,
                key: schedule.key.as_str(),
                on_duplicate: schedule.on_duplicate,
                method: &schedule.request.method,
                url: schedule.request.url.as_str(),
                route: listed.route.as_ref().map(|route| route.name.as_str()),
                latest: rfc3339(listed.latest),
                known_since: listed.known_since.map(rfc3339),
            }
        };
        Self { schedules: schedules.iter().map(document).collect() }
    }
}

/// What came of a slot.
#[derive(Serialize)]
pub(super) struct RanDocument<'a> {
    schedule: &'a str,
    scheduled_time: String,
    key: String,
    key_id: Option<String>,
    outcome: &'a str,
    status: u16,
    /// `done`, `retry`, `decide` or `refused`.
    next: &'a str,
    retry_after_s: Option<u64>,
    why: Option<String>,
}

impl<'a> RanDocument<'a> {
    pub(super) fn new(ran: &'a Ran) -> Self {
        Self {
            schedule: &ran.slot.schedule.name,
            scheduled_time: rfc3339(ran.slot.at),
            key: ran.slot.key(),
            key_id: ran.key_id.map(|key_id| hex(&key_id.0)),
            outcome: ran.outcome,
            status: ran.status,
            next: ran.next.as_str(),
            retry_after_s: ran.retry_after_s(),
            why: ran.next.why(),
        }
    }
}
