//! Schedules: a request at the times of a cron trigger, once for each slot, however often the platform fires.

use serde::{Deserialize, Serialize};

use crate::config::values;
use crate::job::request::{JobRequest, RequestTemplate};
use crate::job::template::{Place, Template, Use};
use crate::lifecycle::event::Strategy;
use crate::request::json;
use crate::time::{Timestamp, rfc3339};

/// A table of `SCHEDULES`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Names it in the log and in the operators' API.
    #[serde(deserialize_with = "values::name")]
    pub name: String,
    /// One of `[triggers] crons`, letter by letter: the platform tells a trigger by its text
    /// (developers.cloudflare.com, workers/runtime-apis/handlers/scheduled).
    pub cron: String,
    /// The request that it makes.
    pub request: RequestTemplate,
    /// The key of a slot. With `{scheduled_time:…}` each slot is run once; without it, and with
    /// `fail_on_running`, never two at once.
    pub key: Template,
    /// What a slot gets whose key is known; the route's own unless it is named here.
    #[serde(default)]
    pub on_duplicate: Option<Strategy>,
}

impl Schedule {
    /// The key of a slot.
    #[must_use]
    pub fn key(&self, slot: Timestamp) -> Option<String> {
        self.key.filled(Use::Text, &|place| of_slot(place, slot))
    }

    /// The request of a slot.
    #[must_use]
    pub fn request(&self, slot: Timestamp) -> Option<JobRequest> {
        self.request.filled(self.key(slot)?, &|place| of_slot(place, slot))
    }

    /// Whether each slot has a key of its own.
    #[must_use]
    pub fn has_slots(&self) -> bool {
        self.key.places().next().is_some()
    }

    /// What makes no sense in it, by knob.
    pub(crate) fn contradictions(&self) -> Option<(&'static str, &'static str)> {
        let is_of_messages = |place: &Place| !matches!(place, Place::ScheduledTime(_));
        if self.key.places().chain(self.request.places()).any(is_of_messages) {
            return Some((
                "key",
                "or request has a place for a queue's message, which a schedule has not: use {scheduled_time:…}",
            ));
        }
        if !self.has_slots() && self.on_duplicate != Some(Strategy::FailOnRunning) {
            return Some((
                "key",
                "is the same for every slot, so that only the first one would be run: add {scheduled_time:…}, or set on_duplicate = \"fail_on_running\" if two must never run at once",
            ));
        }
        None
    }
}

fn of_slot(place: &Place, slot: Timestamp) -> Option<String> {
    match place {
        Place::ScheduledTime(form) => Some(form.of(slot)),
        Place::MessageId | Place::Body(_) => None,
    }
}

/// What the log says when a slot has been run.
#[derive(Clone, Debug)]
pub struct RunLine<'a> {
    /// The schedule's name.
    pub schedule: &'a str,
    /// The slot.
    pub scheduled_time: Timestamp,
    /// Names the token of the operator who ran it by hand.
    pub operator: Option<String>,
    /// How the last try ended.
    pub outcome: &'a str,
    /// The status of its answer.
    pub status: Option<u16>,
    /// How often the request was made.
    pub tries: u32,
    /// What is left to do.
    pub why: Option<String>,
}

impl RunLine<'_> {
    /// The line.
    #[must_use]
    pub fn to_text(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            schedule: &'a str,
            scheduled_time: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            operator: Option<&'a str>,
            outcome: &'a str,
            status: Option<u16>,
            tries: u32,
            why: Option<&'a str>,
        }
        json::to_text(&Line {
            schedule: self.schedule,
            scheduled_time: rfc3339(self.scheduled_time),
            operator: self.operator.as_deref(),
            outcome: self.outcome,
            status: self.status,
            tries: self.tries,
            why: self.why.as_deref(),
        })
    }
}
