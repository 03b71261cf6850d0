//! Slots of schedules that an operator runs: now, or after they were missed.

use std::rc::Rc;
use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;

use crate::config::Policy;
use crate::config::route::Route;
use crate::job::cron::Slots;
use crate::job::request::JobRequest;
use crate::job::schedule::Schedule;
use crate::lifecycle::record::CLOSED_KEPT;
use crate::problem::{Code, Problem};
use crate::request::path::Address;
use crate::time::{Timestamp, millis, read_rfc3339, rfc3339};

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRequest {
    /// The schedule's name.
    pub schedule: String,
    /// The slot; the latest one unless another is named.
    pub scheduled_time: Option<Timestamp>,
    /// Run it although nobody knows whether it ran before.
    pub rerun: bool,
}

/// A slot that may be run.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its schedule.
    pub schedule: Rc<Schedule>,
    /// When it was to be run.
    pub at: Timestamp,
    /// The request that it makes.
    pub request: JobRequest,
    /// The route that guards that.
    pub route: Rc<Route>,
    /// Whether its record would be gone by now: then it cannot be told from a slot that never ran.
    pub is_outside_window: bool,
}

impl RunRequest {
    /// Takes what the body says.
    ///
    /// # Errors
    /// It is neither empty nor an object of what is known.
    pub fn with_json(self, body: &[u8]) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            #[serde(default)]
            rerun: bool,
        }
        let wrong = |why: String| {
            Problem::invalid(format!("The body is neither empty nor {{\"rerun\": true}}: {why}."))
        };
        let Body { rerun } = match body.trim_ascii() {
            [] => return Ok(self),
            // A struct is read from a list too.
            [b'{', ..] => serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?,
            _ => return Err(wrong("it is no object".to_owned())),
        };
        Ok(Self { rerun, ..self })
    }

    /// Takes what a form says; `field` looks a field up.
    ///
    /// # Errors
    /// The slot is no instant.
    pub fn with_form(self, field: &dyn Fn(&str) -> String) -> Result<Self, Problem> {
        let scheduled_time = match field("scheduled_time") {
            empty if empty.is_empty() => self.scheduled_time,
            text => Some(read_slot(&text)?),
        };
        Ok(Self { scheduled_time, rerun: field("rerun") == "true", ..self })
    }

    /// The slot that it names, by the Worker's clock.
    ///
    /// # Errors
    /// There is no such schedule, or no such slot, or it lies ahead.
    pub fn slot(&self, policy: &Policy, now: Timestamp) -> Result<Slot, Problem> {
        let found = policy.schedules.iter().find(|schedule| schedule.name == self.schedule);
        let schedule = found.ok_or_else(|| no_schedule(policy))?;
        let slots = Slots::of(&schedule.cron).ok();
        let at = match self.scheduled_time {
            Some(at) => at,
            None => latest(slots.as_ref(), now),
        };
        if at > now.plus(CLOCKS_DIFFER) {
            return Err(Problem::invalid(format!(
                "{} lies ahead. A slot is run when it has begun.",
                rfc3339(at)
            )));
        }
        if let Some(slots) = slots.filter(|slots| !slots.has(at)) {
            return Err(Problem::invalid(no_slot(&slots, schedule, at)));
        }
        let request = schedule.request(at).ok_or_else(|| Problem::invalid(NO_REQUEST))?;
        let route = route(policy, &request).ok_or_else(|| {
            Problem::new(Code::NotGuarded, "No route guards its request, so it was not made.")
        })?;
        let is_outside_window =
            schedule.has_slots() && now.since(at).saturating_add(CLOCKS_DIFFER) > kept(&route);
        Ok(Slot { schedule: schedule.clone(), at, request, route, is_outside_window })
    }
}

impl Slot {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> String {
        self.schedule.key(self.at).unwrap_or_default()
    }

    /// Why nobody knows whether it was run, where it has no record.
    #[must_use]
    pub fn why_unknown(&self) -> String {
        let (name, at) = (&self.route.name, rfc3339(self.at));
        let days = millis(kept(&self.route)) / millis(DAY);
        format!(
            "The slot {at} has no record, and route {name} keeps one for {days} days: nobody knows whether it was run. Nothing was done."
        )
    }

    /// It is not run unless that is asked for.
    #[must_use]
    pub fn outside_window(&self) -> Problem {
        let detail = format!(
            "{} Look at what the job leaves behind; if it was not run, send {{\"rerun\": true}}.",
            self.why_unknown()
        );
        Problem::new(Code::OutsideWindow, detail)
    }
}

/// Reads a slot: an instant of RFC 3339, milliseconds since 1970, or an instant to the minute in UTC, which is what a
/// form sends and what `{scheduled_time:minute}` writes.
///
/// # Errors
/// It is none of these.
pub fn read_slot(text: &str) -> Result<Timestamp, Problem> {
    let milliseconds = || text.parse().ok().map(Timestamp);
    let with_offset = || {
        let at = DateTime::parse_from_rfc3339(text).ok()?;
        u64::try_from(at.timestamp_millis()).ok().map(Timestamp)
    };
    let read = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        milliseconds()
    } else {
        with_offset()
            .or_else(|| read_rfc3339(text))
            .or_else(|| read_rfc3339(&format!("{text}:00Z")))
    };
    read.ok_or_else(|| {
        Problem::invalid("scheduled_time must be an instant such as 2026-11-28T02:00:00Z (a + in it is written %2B), or milliseconds since 1970.")
    })
}

/// The latest slot that has begun. Where the cron is none that can be read here, that is the present minute.
pub(super) fn latest(slots: Option<&Slots>, now: Timestamp) -> Timestamp {
    let minute = Timestamp(now.0 - now.0 % 60_000);
    slots.and_then(|slots| slots.latest(now)).unwrap_or(minute)
}

pub(super) fn route(policy: &Policy, request: &JobRequest) -> Option<Rc<Route>> {
    let address = Address::parse(&request.url)?;
    policy.routes.find(&request.method, &address.target.compared)
}

/// How long a slot is known after it was run, whatever came of it.
pub(super) fn kept(route: &Route) -> Duration {
    let completed = route.ttl.saturating_add(route.tombstone);
    let doubtful = route.doubt_ttl.saturating_add(route.tombstone.max(CLOSED_KEPT));
    completed.min(doubtful)
}

fn no_schedule(policy: &Policy) -> Problem {
    let names: Vec<_> = policy.schedules.iter().map(|schedule| schedule.name.as_str()).collect();
    let detail = match names.as_slice() {
        [] => "SCHEDULES has no schedule.".to_owned(),
        names => format!("There is no such schedule: use one of {}.", names.join(", ")),
    };
    Problem::new(Code::NotFound, detail)
}

/// An instant that is no slot would make a key that no trigger ever makes: one more execution.
fn no_slot(slots: &Slots, schedule: &Schedule, at: Timestamp) -> String {
    let near: Vec<_> =
        [slots.latest(at), slots.first_after(at)].into_iter().flatten().map(rfc3339).collect();
    format!(
        "{} is no slot of \"{}\". The nearest are {}.",
        rfc3339(at),
        schedule.cron,
        near.join(" and ")
    )
}

/// The clocks of the platform's machines differ by less. A slot may begin here so much before it does elsewhere, and
/// its record may be gone so much sooner.
pub(super) const CLOCKS_DIFFER: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
const NO_REQUEST: &str = "A place of the schedule's request or key has nothing to fill it.";
