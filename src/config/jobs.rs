//! Schedules and queues: read from the vars, and held against the routes that must guard their requests.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::read::{Misconfigured, read};
use crate::config::route::Route;
use crate::config::routing::Routes;
use crate::config::tables::tables;
use crate::config::values::Mode;
use crate::job::queue::QueueRule;
use crate::job::request::{KEY_HEADER, RequestTemplate};
use crate::job::schedule::Schedule;
use crate::request::key_source::Source;

/// The schedules.
pub(super) fn schedules(
    vars: &Map<String, Value>,
    routes: &Routes,
    mistakes: &mut Vec<Misconfigured>,
) -> Vec<Rc<Schedule>> {
    let (mut schedules, mut names) = (Vec::new(), BTreeSet::new());
    for (place, table) in tables("SCHEDULES", vars, mistakes).unwrap_or_default() {
        let schedule: Schedule = match read(&place, table) {
            Ok(schedule) => schedule,
            Err(more) => {
                mistakes.extend(more);
                continue;
            }
        };
        let mut note = |knob: &str, why: String| {
            mistakes.push(Misconfigured::new(format!("{place}.{knob}"), why));
        };
        if !names.insert(schedule.name.clone()) {
            note("name", format!("is {}, as that of another schedule is", schedule.name));
        }
        if let Some((knob, why)) = schedule.contradictions() {
            note(knob, why.to_owned());
        }
        match guarding(&schedule.request, routes) {
            Err(why) => note("request", why),
            Ok(route) if route.ttl.saturating_add(route.tombstone) < KEPT_MIN => {
                note(
                    "request",
                    format!(
                        "is guarded by route {}, which forgets a slot before 7 days are over: set its ttl or tombstone",
                        route.name
                    ),
                );
            }
            Ok(_) => {}
        }
        schedules.push(Rc::new(schedule));
    }
    schedules
}

/// The queues.
pub(super) fn queues(
    vars: &Map<String, Value>,
    routes: &Routes,
    mistakes: &mut Vec<Misconfigured>,
) -> Vec<Rc<QueueRule>> {
    let (mut queues, mut names) = (Vec::new(), BTreeSet::new());
    for (place, table) in tables("QUEUES", vars, mistakes).unwrap_or_default() {
        let queue: QueueRule = match read(&place, table) {
            Ok(queue) => queue,
            Err(more) => {
                mistakes.extend(more);
                continue;
            }
        };
        let mut note = |knob: &str, why: String| {
            mistakes.push(Misconfigured::new(format!("{place}.{knob}"), why));
        };
        if !names.insert(queue.queue.clone()) {
            note("queue", format!("is {}, which another table has already", queue.queue));
        }
        if let Some((knob, why)) = queue.contradictions() {
            note(knob, why.to_owned());
        }
        if let Err(why) = guarding(&queue.request, routes) {
            note("request", why);
        }
        queues.push(Rc::new(queue));
    }
    queues
}

/// The route that guards these requests. One that no route guards would be run as often as it is sent.
fn guarding(request: &RequestTemplate, routes: &Routes) -> Result<Rc<Route>, String> {
    let (method, path) = (&request.method, request.sample_path().unwrap_or_default());
    let Some(route) = routes.find(method, &path) else {
        return Err(format!("is {method} {path}, which no route guards: add one in ROUTES"));
    };
    if route.mode != Mode::Enforce {
        return Err(format!("is guarded by route {}, whose mode is not enforce", route.name));
    }
    if route.key.from.first() != Some(&Source::Header(KEY_HEADER.to_owned())) {
        return Err(format!(
            "is guarded by route {}, which does not look for a key in the header Idempotency-Key first",
            route.name
        ));
    }
    Ok(route)
}

/// How long a slot must be known at least: an operator who comes back from a week away may run it again.
const KEPT_MIN: Duration = Duration::from_hours(7 * 24);
