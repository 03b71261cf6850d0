//! Queues: a request for each message, once for each message id or for each id in its body.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::job::answered::Next;
use crate::job::request::{JobRequest, RequestTemplate};
use crate::job::template::{Place, Template, Use};
use crate::request::json::{self, Pointer};

/// A table of `QUEUES`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueRule {
    /// The name of the queue, as in `[[queues.consumers]]`.
    pub queue: String,
    /// The request that a message makes.
    pub request: RequestTemplate,
    /// The key: `message-id`, or `body:/pointer` where a producer may send one job twice.
    #[serde(deserialize_with = "key")]
    pub key: Template,
    /// How many messages are under way at once. A Worker has six connections
    /// (developers.cloudflare.com, workers/platform/limits), and Ledgers need some.
    #[serde(default = "four", deserialize_with = "concurrency")]
    pub concurrency: usize,
}

/// A message, as far as a request is made of it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its body as text, if it is one.
    pub body: Option<&'a str>,
}

impl QueueRule {
    /// The request of a message.
    ///
    /// # Errors
    /// The template for which the message has nothing.
    pub fn request(&self, message: Message<'_>) -> Result<JobRequest, String> {
        let value = |place: &Place| match place {
            Place::MessageId => Some(message.id.to_owned()),
            Place::Body(pointer) => text(pointer, message),
            Place::ScheduledTime(_) => None,
        };
        let key = self.key.filled(Use::Text, &value);
        let key = key
            .ok_or_else(|| format!("the message has nothing for its key, {}", self.key.as_str()))?;
        let request = self.request.filled(key, &value);
        request.ok_or_else(|| {
            format!(
                "the message has nothing for a place of its request, {}",
                self.request.url.as_str()
            )
        })
    }

    /// What makes no sense in it, by knob.
    pub(crate) fn contradictions(&self) -> Option<(&'static str, &'static str)> {
        let is_of_slots = |place: &Place| matches!(place, Place::ScheduledTime(_));
        if self.key.places().chain(self.request.places()).any(is_of_slots) {
            return Some(("request", "has a place for a schedule's slot, which a message has not"));
        }
        if self.key.places().next().is_none() {
            return Some((
                "key",
                "is the same for every message, so that only the first one would be run: use message-id or body:/pointer",
            ));
        }
        None
    }
}

fn text(pointer: &Pointer, message: Message<'_>) -> Option<String> {
    pointer.text(message.body?.as_bytes()).ok().flatten()
}

/// `message-id`, `body:/pointer`, or a template of these.
fn key<'de, D: Deserializer<'de>>(from: D) -> Result<Template, D::Error> {
    let text = String::deserialize(from)?;
    let is_place = text == "message-id" || text.starts_with("body:");
    Template::try_from(if is_place { format!("{{{text}}}") } else { text })
        .map_err(D::Error::custom)
}

fn four() -> usize {
    4
}

fn concurrency<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let number = usize::deserialize(from).ok().filter(|number| (1..=6).contains(number));
    number.ok_or_else(|| D::Error::custom("must be a whole number from 1 to 6"))
}

/// What came of a message.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// How its request ended.
    pub outcome: &'static str,
    /// The status of the answer, where there is one.
    pub status: Option<u16>,
    /// What follows for the message.
    pub next: Next,
    /// Why it is not done.
    pub why: Option<String>,
}

/// What the log says of a message.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryLine<'a> {
    queue: &'a str,
    message: &'a str,
    attempts: u32,
    outcome: &'a str,
    status: Option<u16>,
    /// `ack`, `retry`, or `aside`.
    then: &'static str,
    delay_s: Option<u64>,
    why: Option<&'a str>,
}

impl<'a> DeliveryLine<'a> {
    /// The line of a message that was delivered so many times.
    #[must_use]
    pub fn new(queue: &'a str, message: &'a str, attempts: u32, delivery: &'a Delivery) -> Self {
        let (then, delay_s) = match delivery.next {
            Next::Done => ("ack", None),
            Next::Refused(_) => ("aside", None),
            Next::Retry(after) | Next::InDoubt(after) => ("retry", Some(after.as_secs())),
        };
        let Delivery { outcome, status, why, .. } = delivery;
        Self {
            queue,
            message,
            attempts,
            outcome,
            status: *status,
            then,
            delay_s,
            why: why.as_deref(),
        }
    }

    /// Its text.
    #[must_use]
    pub fn to_text(&self) -> String {
        json::to_text(self)
    }
}

/// A message that was put aside, as the queue ASIDE gets it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Aside<'a> {
    /// The queue that it came from.
    pub queue: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Why nothing can come of it.
    pub why: &'a str,
    /// Its body, if that is a text; JSON as text too.
    pub body: Option<&'a str>,
    /// Its body in base64, if that is bytes.
    pub body_base64: Option<&'a str>,
}

impl Aside<'_> {
    /// It as JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        json::to_text(self)
    }
}
