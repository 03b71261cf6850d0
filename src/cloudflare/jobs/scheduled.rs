//! The scheduled event: runs every schedule of the cron trigger that has fired.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::future_to_promise;
use worker::{Env, worker_sys};

use super::Event;
use crate::cloudflare::clock::{now, pause};
use crate::cloudflare::error::Error;
use crate::cloudflare::job::Done;
use crate::cloudflare::tasks::{scoped, spawn};
use crate::cloudflare::worker::Via;
use crate::cloudflare::{bindings, env};
use crate::job::answered::Next;
use crate::job::schedule::{RunLine, Schedule};
use crate::time::Timestamp;

/// The scheduled event. It never fails: a failed event would tell nobody which of its schedules has failed.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn scheduled(
    event: &worker_sys::ScheduledEvent,
    env: Env,
    context: worker_sys::Context,
) -> Promise {
    let (cron, slot) = (event.cron(), event.scheduled_time());
    let fired = scoped(fire(Event::new(env, context), cron, slot));
    future_to_promise(AssertUnwindSafe(async move {
        fired.await;
        Ok(JsValue::UNDEFINED)
    }))
}

/// Runs every schedule of this cron.
async fn fire(event: Rc<Event>, cron: Result<String, JsValue>, slot: Result<f64, JsValue>) {
    let (Ok(cron), Ok(slot)) = (cron, slot) else {
        return bindings::log_error(
            "a scheduled event without its cron or its time: nothing was run",
        );
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ms since 1970")]
    let slot = Timestamp(slot as u64);
    let Ok(policy) = env::policy(&event.env) else {
        return bindings::log_error(
            "misconfigured: no schedule was run. npm run check says what is wrong",
        );
    };
    let due: Vec<_> =
        policy.schedules.iter().filter(|schedule| schedule.cron == cron).cloned().collect();
    if due.is_empty() {
        bindings::log_error(&format!(
            "the trigger \"{cron}\" has fired, but no schedule has this cron, letter by letter"
        ));
    }
    // All at once, each in a task of its own: one that fails or waits keeps no other from its slot.
    let tasks: Vec<_> =
        due.into_iter().map(|schedule| spawn(run(event.clone(), schedule, slot))).collect();
    for task in tasks {
        if task.await.is_err() {
            bindings::log_error(
                "a schedule was ended by a fault of the filter: its key is in doubt, or free",
            );
        }
    }
}

/// Runs a slot: again with the same key where nothing happened, until the event's time is over. A doubt is left to
/// the operators: nothing that is repeated here could tell what became of it.
async fn run(event: Rc<Event>, schedule: Rc<Schedule>, slot: Timestamp) {
    let (started, mut tries) = (now(), 0);
    loop {
        tries += 1;
        let line = |outcome: &str, status: Option<u16>, why: Option<String>| {
            RunLine {
                schedule: &schedule.name,
                scheduled_time: slot,
                operator: None,
                outcome,
                status,
                tries,
                why,
            }
            .to_text()
        };
        match once(&event, &schedule, slot).await {
            Err(error) => {
                return bindings::log_error(&line("misconfigured", None, Some(error.to_string())));
            }
            Ok(done) => {
                let outcome = done.outcome.unwrap_or("failed");
                let why = match done.next {
                    Next::Retry(after)
                        if now().since(started).saturating_add(after) < REPEATED_FOR =>
                    {
                        pause(after).await;
                        continue;
                    }
                    Next::Retry(_) => Some(
                        "not run yet, and the event's time is over: run the slot again by hand"
                            .to_owned(),
                    ),
                    next => next.why(),
                };
                let report = if why.is_none() { bindings::log } else { bindings::log_error };
                return report(&line(outcome, Some(done.status), why));
            }
        }
    }
}

async fn once(event: &Event, schedule: &Schedule, slot: Timestamp) -> Result<Done, Error> {
    let job = schedule.request(slot).ok_or(Error::NothingForPlace)?;
    event.run(job, JsValue::NULL, Via::Schedule(schedule.on_duplicate)).await
}

/// A scheduled event may take 15 minutes (developers.cloudflare.com, workers/platform/limits); the last try needs some.
const REPEATED_FOR: Duration = Duration::from_mins(13);
