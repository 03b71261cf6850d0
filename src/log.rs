//! What is told of each guarded request: one JSON line for the log, one data point for the metrics.
//!
//! No credential and no body is ever in it, and the key only as a digest unless the operator has asked
//! for more (`LOG_KEYS`).

use std::time::Duration;

use serde::Deserialize;

use crate::request::digest::hex;
use crate::request::json;
use crate::request::key::{Key, KeyId};
use crate::time::millis;

/// How a key appears in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKeys {
    /// As the first half of its key id: equal keys look equal, and no key can be read.
    Hashed,
    /// As the client sent it.
    Plain,
}

/// One guarded request, answered.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The route that guarded it.
    pub route: &'a str,
    /// Request method.
    pub method: &'a str,
    /// The key and its record; none where a request was refused for its key.
    pub key: Option<(&'a Key, KeyId)>,
    /// The client's correlation id, or the one that it was told.
    pub correlation_id: &'a str,
    /// The request's trace context (W3C Trace Context), which goes on to the origin as it came.
    pub traceparent: Option<String>,
    /// Which Ledger the key belongs to.
    pub shard: Option<u16>,
    /// The attempt that this request was, where it was granted one.
    pub attempt: Option<u32>,
    /// `executed`, `replayed`, `joined`, `released`, `unknown`, or a problem's code.
    pub outcome: &'static str,
    /// Status of the answer.
    pub status: u16,
    /// Why it was refused, released or left in doubt.
    pub why: Option<String>,
    /// Where the time went.
    pub times: Times,
}

/// Spans of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From its arrival to its answer.
    pub total: Duration,
    /// Waiting for the Ledger, joins included.
    pub ledger: Duration,
    /// Waiting for the origin.
    pub origin: Duration,
}

impl Entry<'_> {
    /// The log line.
    #[must_use]
    pub fn line(&self, keys: LogKeys) -> String {
        let key = self.key.map(|(key, id)| match keys {
            LogKeys::Hashed => hex(&id.key_half()),
            LogKeys::Plain => key.as_str().to_owned(),
        });
        let Times { total, ledger, origin } = self.times;
        json::object(|line| {
            line.text("outcome", self.outcome);
            line.number("status", self.status.into());
            line.maybe_text("why", self.why.as_deref());
            line.text("route", self.route);
            line.text("method", self.method);
            line.maybe_text("key", key.as_deref());
            line.maybe_text("key_id", self.key.map(|(_, id)| hex(&id.0)).as_deref());
            line.text("correlation_id", self.correlation_id);
            line.maybe_text("traceparent", self.traceparent.as_deref());
            line.maybe_number("shard", self.shard.map(u64::from));
            line.maybe_number("attempt", self.attempt.map(u64::from));
            line.object("ms", |ms| {
                ms.number("total", millis(total));
                ms.number("ledger", millis(ledger));
                ms.number("origin", millis(origin));
            });
        })
    }

    /// The texts of the data point: blob1 to blob4 are route, outcome, method and why.
    #[must_use]
    pub fn blobs(&self) -> [&str; 4] {
        [self.route, self.outcome, self.method, self.why.as_deref().unwrap_or_default()]
    }

    /// The numbers of the data point: double1 to double6 are 1, status, attempt (0 where none), and total,
    /// Ledger and origin in ms.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "spans of one request stay far below 2^53 ms")]
    pub fn doubles(&self) -> [f64; 6] {
        let Times { total, ledger, origin } = self.times;
        [
            1.0,
            self.status.into(),
            self.attempt.unwrap_or_default().into(),
            millis(total) as f64,
            millis(ledger) as f64,
            millis(origin) as f64,
        ]
    }
}
