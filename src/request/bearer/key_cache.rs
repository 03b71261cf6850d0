//! What is known of a key server's keys, and when it is asked: decided here, carried out by the edge.
//!
//! Values are kept and never promises: in Workers a request that awaits what another request has begun hangs
//! (developers.cloudflare.com, workers/runtime-apis/context). So in a cold isolate each request asks for itself.

use std::rc::Rc;
use std::time::Duration;

use super::keys::{Found, KeySet};
use super::{NotKnownNow, Unverified};
use crate::time::Timestamp;

/// The keys of one server.
#[derive(Debug, Default)]
pub struct KeyCache {
    known: Option<Known>,
    /// When it was asked last.
    asked: Option<Timestamp>,
    /// When it last failed to answer.
    failed: Option<Timestamp>,
}

#[derive(Debug)]
struct Known {
    keys: Rc<KeySet>,
    at: Timestamp,
    fresh_until: Timestamp,
}

/// What to do for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// Judge it by these.
    Use(Rc<KeySet>),
    /// Ask the server.
    Ask,
    /// Tell the client to come again.
    Later(NotKnownNow),
}

impl KeyCache {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { known: None, asked: None, failed: None }
    }

    /// What to do for a token.
    #[must_use]
    pub fn look_up(&self, token: &Unverified, now: Timestamp) -> LookUp {
        let asked_lately = self.asked.is_some_and(|asked| now < asked.plus(ASKED_AGAIN_AFTER));
        match self.usable(now) {
            None if self.failed.is_some_and(|failed| now < failed.plus(LEFT_ALONE_FOR)) => {
                LookUp::Later(NotKnownNow(RETRY_AFTER))
            }
            None => LookUp::Ask,
            Some(known) => match (known.keys.find(token), asked_lately) {
                (Found::Nothing, _) if now < known.at.plus(ASKED_AGAIN_AFTER) => {
                    LookUp::Use(known.keys.clone())
                }
                // Its key may be new, and the server does not answer.
                (Found::Nothing, true) => LookUp::Later(NotKnownNow(RETRY_AFTER)),
                (Found::Nothing, false) => LookUp::Ask,
                (_, false) if now >= known.fresh_until => LookUp::Ask,
                _ => LookUp::Use(known.keys.clone()),
            },
        }
    }

    /// What to do for a token whose server has not answered.
    #[must_use]
    pub fn without_server(&self, token: &Unverified, now: Timestamp) -> LookUp {
        match self.usable(now) {
            Some(known) if known.keys.find(token) != Found::Nothing => {
                LookUp::Use(known.keys.clone())
            }
            Some(_) | None => LookUp::Later(NotKnownNow(RETRY_AFTER)),
        }
    }

    /// The server is being asked.
    pub fn asking(&mut self, now: Timestamp) {
        self.asked = Some(now);
    }

    /// The server has answered; `cache_control` is what it says of its answer.
    pub fn answered(&mut self, keys: Rc<KeySet>, cache_control: Option<&str>, now: Timestamp) {
        let fresh_until = now.plus(lifetime(cache_control));
        self.known = Some(Known { keys, at: now, fresh_until });
        self.failed = None;
    }

    /// The server has not answered, or not with keys.
    pub fn failed(&mut self, now: Timestamp) {
        self.failed = Some(now);
    }

    fn usable(&self, now: Timestamp) -> Option<&Known> {
        self.known.as_ref().filter(|known| now < known.fresh_until.plus(KEPT_WHILE_DOWN))
    }
}

/// How long keys are used before the server is asked again: its `max-age` (RFC 9111 section 5.2.2.1), within bounds.
fn lifetime(cache_control: Option<&str>) -> Duration {
    let Some(field) = cache_control else { return FRESH_USUALLY };
    let mut lifetime = FRESH_USUALLY;
    for directive in field.split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return FRESH_LEAST,
            "max-age" => {
                let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
                lifetime = Duration::from_secs(seconds).clamp(FRESH_LEAST, FRESH_MOST);
            }
            _ => {}
        }
    }
    lifetime
}

/// An unknown kid, or a server that is down, makes it be asked again at most so often. A key server is shared by all of
/// an issuer's applications, and anybody can make up a kid.
const ASKED_AGAIN_AFTER: Duration = Duration::from_mins(1);
/// Where no keys are known, a server that has failed is left alone for so long.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_secs(2);
const FRESH_LEAST: Duration = Duration::from_mins(1);
/// Where the server says nothing.
const FRESH_USUALLY: Duration = Duration::from_mins(5);
const FRESH_MOST: Duration = Duration::from_hours(1);
/// An outage of the issuer stops nobody who has a valid token.
const KEPT_WHILE_DOWN: Duration = Duration::from_hours(24);
