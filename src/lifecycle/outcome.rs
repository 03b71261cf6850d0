//! What the origin's answer means: store it, release the key, or put the record in doubt. One table.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::lifecycle::record::Reason;
use crate::lifecycle::reply::is_sendable;

/// Why there is no answer. The whole product depends on this distinction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request was never handed over to the runtime: nothing can have happened.
    NeverSent,
    /// No answer began. The runtime words a refused connection like one that was lost after the origin
    /// had done its work, so an error's text proves nothing.
    Lost,
    /// An answer began, and broke off.
    Truncated,
}

/// What an answer means for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operation has its outcome: keep the reply and replay it.
    Store,
    /// Nothing happened, or it is right to evaluate a retry afresh: the key is free again.
    Release,
    /// The origin may or may not have done it.
    InDoubt,
}

/// The preset table of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Store what has an outcome, release what did not happen.
    Standard,
    /// As Stripe does: store every answer to an execution that began, 4xx included.
    Strict,
    /// Store only 2xx; any other answer releases the key (webhooks, Checkout).
    SuccessOnly,
}

/// A route's rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// What the origin's answer means: `standard`, `strict` (as Stripe), `success-only`, which runs a
    /// failed operation again.
    pub preset: Preset,
    /// Statuses whose replies are stored whatever the preset says.
    #[serde(deserialize_with = "statuses")]
    pub store: Vec<u16>,
    /// Statuses that free the key whatever the preset says: a retry runs again.
    #[serde(deserialize_with = "statuses")]
    pub release: Vec<u16>,
    /// Statuses that leave the outcome unknown whatever the preset says.
    #[serde(deserialize_with = "statuses")]
    pub in_doubt: Vec<u16>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            preset: Preset::Standard,
            store: Vec::new(),
            release: Vec::new(),
            in_doubt: Vec::new(),
        }
    }
}

fn statuses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u16>, D::Error> {
    let statuses = Vec::<u16>::deserialize(from)?;
    if !statuses.iter().all(|status| (200..=599).contains(status)) {
        return Err(D::Error::custom("must be a list of statuses from 200 to 599, such as [402]"));
    }
    Ok(statuses)
}

/// What the judgement looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The status as the origin sent it.
    pub status: u16,
    /// Whether the answer has a Retry-After.
    pub has_retry_after: bool,
    /// The answer's `Idempotency-Outcome`, by which the origin decides itself.
    pub origin_outcome: Option<String>,
}

impl Facts {
    /// Why an answer that is taken for a doubt is one.
    #[must_use]
    pub fn doubt(&self) -> Reason {
        if is_sendable(self.status) { Reason::Status(self.status) } else { Reason::NotHttp }
    }
}

impl Rule {
    /// Whether two of the lists name one status.
    #[must_use]
    pub fn lists_overlap(&self) -> bool {
        let named = |one: &[u16], other: &[u16]| one.iter().any(|status| other.contains(status));
        named(&self.store, &self.release)
            || named(&self.release, &self.in_doubt)
            || named(&self.in_doubt, &self.store)
    }

    /// Judges an answer: a status that is not HTTP is a doubt; then the origin's own decision counts, then the
    /// route's lists, then the preset.
    #[must_use]
    pub fn judge(&self, facts: &Facts) -> Outcome {
        let status = facts.status;
        if !is_sendable(status) {
            return Outcome::InDoubt;
        }
        let decided = match facts.origin_outcome.as_deref().map(str::trim) {
            Some("store") => Some(Outcome::Store),
            Some("release") => Some(Outcome::Release),
            Some("in-doubt") => Some(Outcome::InDoubt),
            Some(_) | None => None,
        };
        let listed = || match status {
            _ if self.in_doubt.contains(&status) => Some(Outcome::InDoubt),
            _ if self.store.contains(&status) => Some(Outcome::Store),
            _ if self.release.contains(&status) => Some(Outcome::Release),
            _ => None,
        };
        decided.or_else(listed).unwrap_or_else(|| self.preset.judge(status, facts.has_retry_after))
    }
}

impl Preset {
    /// The table of the contract (1.6), by status from 200 to 599. `has_retry_after` tells whether the
    /// answer has a Retry-After.
    ///
    /// 52x and 530 are made by Cloudflare's edge: 521 refused, 523 unreachable, 525 and 526 TLS, 530
    /// DNS never reached the origin; 520, 522 and 524 may have.
    #[must_use]
    pub fn judge(self, status: u16, has_retry_after: bool) -> Outcome {
        use Outcome::{InDoubt, Release, Store};
        let [standard, strict, success_only] = match status {
            200..=299 => [Store, Store, Store],
            300..=399 => [Store, Store, Release],
            401 | 403 | 407 | 408 | 409 | 425 | 429 => [Release, Release, Release],
            // A decline is an outcome.
            402 => [Store, Store, Release],
            400..=499 => [Release, Store, Release],
            503 if has_retry_after => [Release, Release, Release],
            521 | 523 | 525 | 526 | 530 => [Release, Release, Release],
            502 | 503 | 504 | 520 | 522 | 524 => [InDoubt, InDoubt, InDoubt],
            // 500 and its like: an effect may hide behind it, so it is never run again.
            500..=599 => [Store, Store, Release],
            _ => [InDoubt, InDoubt, InDoubt],
        };
        match self {
            Self::Standard => standard,
            Self::Strict => strict,
            Self::SuccessOnly => success_only,
        }
    }
}
