//! What operators are told of each guarded request: one JSON line for the log, one data point for the metrics.
//!
//! They never hold a credential or a body. Of the key they hold a digest that nobody can guess it from, or nothing,
//! unless `LOG_KEYS` asks for the key itself. Of the scope they hold nothing at all: whoever reads the log could try
//! passwords against a digest of a credential.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize, Serializer};
use sha2::Sha256;

use crate::request::digest::{first_half, hex, sha256};
use crate::request::json;
use crate::request::key::{Key, KeyId};
use crate::time::millis;

/// How a key appears in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKeys {
    /// As a digest under the secret `LOG_KEY`; not at all where there is none.
    Hashed,
    /// As the client sent it.
    Plain,
}

/// The secret `LOG_KEY`. A plain digest of a key would show a weak key, such as an order number, to whoever tries all
/// of them; a digest under a secret (HMAC-SHA-256, RFC 2104) does not.
pub struct LogKey {
    mac: Hmac<Sha256>,
    /// Which secret it is: the first four hexadecimal digits of its SHA-256.
    id: String,
}

impl LogKey {
    /// Takes the secret.
    ///
    /// # Errors
    /// Why no digest can be made under it: a sentence for the log.
    pub fn new(secret: &str, admin_token: Option<&str>) -> Result<Self, &'static str> {
        let secret = secret.trim();
        if secret.len() < LOG_KEY_BYTES_MIN {
            return Err("LOG_KEY must have 32 bytes or more; the log holds no digests of keys");
        }
        if admin_token.is_some_and(|token| token.trim() == secret) {
            return Err("LOG_KEY must not be the ADMIN_TOKEN; the log holds no digests of keys");
        }
        let mac = Hmac::new_from_slice(secret.as_bytes()).map_err(|_| "LOG_KEY is too long")?;
        let id = hex(&sha256(secret.as_bytes())).chars().take(4).collect();
        Ok(Self { mac, id })
    }

    /// The correlation id of every try of an operation. Under the secret, nobody who sees it can try keys against it.
    #[must_use]
    pub fn correlation_id(&self, id: &KeyId, route: &str) -> String {
        // No key begins with a NUL, so this is the digest of none.
        let mac =
            self.mac.clone().chain_update("\0correlation").chain_update(id.correlation_id(route));
        hex(&first_half(mac.finalize().into_bytes().into()))
    }

    /// The digest of a key: which secret it was made under, then the HMAC.
    fn digest(&self, key: &Key) -> String {
        let mac = self.mac.clone().chain_update(key.as_str()).finalize().into_bytes();
        format!("{}:{}", self.id, hex(&mac))
    }
}

/// One guarded request, answered.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// `schedule` or `queue`, where the filter made the request itself.
    pub via: Option<&'static str>,
    /// Name of the route; `None` where no route has a say.
    pub route: Option<&'a str>,
    /// Request method.
    pub method: &'a str,
    /// The key; `None` where the request was refused because of it.
    pub key: Option<&'a Key>,
    /// The correlation id that the client sent or was told.
    pub correlation_id: &'a str,
    /// The client's trace context (W3C Trace Context), which is forwarded unchanged.
    pub traceparent: Option<String>,
    /// The shard that the key belongs to.
    pub shard: Option<u16>,
    /// The number of the attempt, where the request was forwarded.
    pub attempt: Option<u32>,
    /// `executed`, `replayed`, `joined`, `released`, `unknown`, or a problem's code.
    pub outcome: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// The reason, where it was refused, released or left in doubt.
    pub why: Option<String>,
    /// The spans that it took.
    pub times: Times,
}

/// Spans of one request. They are written in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Times {
    /// From arrival to answer.
    #[serde(serialize_with = "millis_of")]
    pub total: Duration,
    /// Waiting for the Ledger, joins included.
    #[serde(serialize_with = "millis_of")]
    pub ledger: Duration,
    /// Waiting for the origin.
    #[serde(serialize_with = "millis_of")]
    pub origin: Duration,
}

impl Entry<'_> {
    /// The log line.
    #[must_use]
    pub fn line(&self, keys: LogKeys, log_key: Option<&LogKey>) -> String {
        let key = self.key.and_then(|key| match keys {
            LogKeys::Hashed => Some(log_key?.digest(key)),
            LogKeys::Plain => Some(key.as_str().to_owned()),
        });
        json::to_text(&Line {
            via: self.via,
            outcome: self.outcome,
            status: self.status,
            why: self.why.as_deref(),
            route: self.route,
            method: self.method,
            key: key.as_deref(),
            correlation_id: self.correlation_id,
            traceparent: self.traceparent.as_deref(),
            shard: self.shard,
            attempt: self.attempt,
            ms: self.times,
        })
    }

    /// The texts of the data point. blob1 to blob4 are route, outcome, method and reason.
    #[must_use]
    pub fn blobs(&self) -> [&str; 4] {
        [
            self.route.unwrap_or_default(),
            self.outcome,
            self.method,
            self.why.as_deref().unwrap_or_default(),
        ]
    }

    /// The numbers of the data point. double1 to double6 are 1, status, attempt (0 where there is none), and the
    /// milliseconds in all, for the Ledger and for the origin.
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

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'static str>,
    outcome: &'static str,
    status: u16,
    why: Option<&'a str>,
    route: Option<&'a str>,
    method: &'a str,
    key: Option<&'a str>,
    correlation_id: &'a str,
    traceparent: Option<&'a str>,
    shard: Option<u16>,
    attempt: Option<u32>,
    ms: Times,
}

/// The log line of a request that passed unguarded although a route matches it, and why.
#[must_use]
pub fn unguarded_line(
    route: &str,
    method: &str,
    correlation_id: Option<&str>,
    why: &str,
) -> String {
    json::to_text(&UnguardedLine { outcome: "passed", why, route, method, correlation_id })
}

#[derive(Serialize)]
struct UnguardedLine<'a> {
    outcome: &'static str,
    why: &'a str,
    route: &'a str,
    method: &'a str,
    correlation_id: Option<&'a str>,
}

/// The log line of a request that a route in shadow mode let pass. `would` is what enforcing would have answered:
/// an outcome, or a problem's code.
#[must_use]
pub fn shadow_line(route: &str, would: &str, correlation_id: &str) -> String {
    json::to_text(&ShadowLine { mode: "shadow", route, would, correlation_id })
}

/// The log line of a request with a key that passed unguarded since no route matches it.
#[must_use]
pub fn unmatched_line(method: &str, path: &str, traceparent: Option<&str>) -> String {
    let why = "it has a key, but no route matches its method and path, so it is not guarded";
    json::to_text(&UnmatchedLine { outcome: "passed", why, method, path, traceparent })
}

#[derive(Serialize)]
struct UnmatchedLine<'a> {
    outcome: &'static str,
    why: &'static str,
    method: &'a str,
    path: &'a str,
    traceparent: Option<&'a str>,
}

#[derive(Serialize)]
struct ShadowLine<'a> {
    mode: &'static str,
    route: &'a str,
    would: &'a str,
    correlation_id: &'a str,
}

fn millis_of<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(millis(*span))
}

/// As many bytes as a digest of SHA-256 has: a shorter secret weakens the HMAC (RFC 2104 section 3).
const LOG_KEY_BYTES_MIN: usize = 32;
