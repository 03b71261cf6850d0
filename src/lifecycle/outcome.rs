//! What the origin's answer means: store it, release the key, or put the record in doubt. One table.

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::lifecycle::condition::{Body, Condition, Unreadable};
use crate::lifecycle::record::Reason;
use crate::lifecycle::reply::is_sendable;
use crate::request::json::Pointer;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Rules that look into the body or at a header, the first that fits: `[{ status = 200, body = "/approved",
    /// is = false, then = "release" }]`.
    pub when: Vec<When>,
}

/// A rule that looks further than the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    statuses: Vec<u16>,
    condition: Condition,
    then: Outcome,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    status: Statuses,
    body: Option<Pointer>,
    header: Option<String>,
    is: Option<Value>,
    present: Option<bool>,
    then: Outcome,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Statuses {
    One(u16),
    Many(Vec<u16>),
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        if !value.is_object() {
            return Err(D::Error::custom("must be a table"));
        }
        let written = Written::deserialize(value).map_err(|why| {
            let table = r#"must be a table such as { status = 200, body = "/approved", is = false, then = "release" }"#;
            D::Error::custom(format!("{table}: {why}").replace(", expected ", ", which must be "))
        })?;
        let Written { status, body, header, is, present, then } = written;
        let condition = Condition::new(body, header, is, present).map_err(D::Error::custom)?;
        let statuses = match status {
            Statuses::One(status) => vec![status],
            Statuses::Many(statuses) => statuses,
        };
        if statuses.is_empty() || !statuses.iter().all(|status| is_sendable(*status)) {
            return Err(D::Error::custom(
                "must have a status from 200 to 599, or a list of such, as status",
            ));
        }
        Ok(Self { statuses, condition, then })
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut members = to.serialize_map(None)?;
        members.serialize_entry("status", &self.statuses)?;
        self.condition.write(&mut members)?;
        members.serialize_entry("then", &self.then)?;
        members.end()
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            preset: Preset::Standard,
            store: Vec::new(),
            release: Vec::new(),
            in_doubt: Vec::new(),
            when: Vec::new(),
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
    /// Whether it is a redirect that only spells the address in another way.
    pub leads_back: bool,
    /// The answer's `Idempotency-Outcome`, by which the origin decides itself.
    pub origin_outcome: Option<String>,
    /// What the first of the route's rules says that fits.
    pub when: Option<Outcome>,
    /// Whether a cache gave the answer to a probe.
    pub is_cached: bool,
    /// Whether the answer to a probe says that there is nothing, as far as the route asks for that.
    pub is_absent: bool,
}

impl Facts {
    /// An answer of which nothing is known but its status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        Self {
            status,
            leads_back: false,
            origin_outcome: None,
            when: None,
            is_cached: false,
            is_absent: true,
        }
    }

    /// What the origin itself says, or else the first of the route's rules that fits.
    #[must_use]
    pub fn decided(&self) -> Option<Outcome> {
        let said = self.origin_outcome.as_deref().map(|said| said.trim().to_ascii_lowercase());
        match said.as_deref() {
            Some("store") => Some(Outcome::Store),
            Some("release") => Some(Outcome::Release),
            Some("in-doubt") => Some(Outcome::InDoubt),
            Some(_) | None => self.when,
        }
    }

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
    /// route's rules, then its lists, then the preset.
    #[must_use]
    pub fn judge(&self, facts: &Facts) -> Outcome {
        let status = facts.status;
        if !is_sendable(status) {
            return Outcome::InDoubt;
        }
        let listed = || match status {
            _ if self.in_doubt.contains(&status) => Some(Outcome::InDoubt),
            _ if self.store.contains(&status) => Some(Outcome::Store),
            _ if self.release.contains(&status) => Some(Outcome::Release),
            _ => None,
        };
        let preset = || self.preset.judge(status, facts.leads_back);
        facts.decided().or_else(listed).unwrap_or_else(preset)
    }

    /// Whether a rule asks for the body of an answer with this status; with any status, if none is given.
    #[must_use]
    pub fn reads_body(&self, status: Option<u16>) -> bool {
        self.when.iter().any(|rule| {
            let fits = status.is_none_or(|status| rule.statuses.contains(&status));
            fits && rule.condition.reads_body()
        })
    }

    /// What the first rule says that fits. Where its body cannot be read, one that would free the key does not fit, and
    /// any other leaves the outcome unknown.
    #[must_use]
    pub fn when(
        &self,
        status: u16,
        header: impl Fn(&str) -> Option<String>,
        body: Body<'_>,
    ) -> Option<Outcome> {
        let rules = self.when.iter().filter(|rule| rule.statuses.contains(&status));
        for rule in rules {
            match (rule.condition.fits(&header, body), rule.then) {
                (Ok(true), then) => return Some(then),
                (Ok(false), _) | (Err(Unreadable), Outcome::Release) => {}
                (Err(Unreadable), Outcome::Store | Outcome::InDoubt) => {
                    return Some(Outcome::InDoubt);
                }
            }
        }
        None
    }

    /// Whether two rules ask the same of one status: the second could never count.
    #[must_use]
    pub fn rules_repeat(&self) -> bool {
        let repeats = |(at, rule): (usize, &When)| {
            self.when.iter().take(at).any(|earlier| {
                let named = |status: &u16| earlier.statuses.contains(status);
                earlier.condition == rule.condition && rule.statuses.iter().any(named)
            })
        };
        self.when.iter().enumerate().any(repeats)
    }
}

impl Preset {
    /// The table of docs/outcomes.md, by status from 200 to 599. `leads_back` tells whether the answer is a
    /// redirect that only spells the address in another way.
    ///
    /// 52x and 530 are made by Cloudflare's edge: 521 refused, 523 unreachable, 525 and 526 TLS, 530
    /// DNS never reached the origin; 520, 522 and 524 may have.
    #[must_use]
    pub fn judge(self, status: u16, leads_back: bool) -> Outcome {
        use Outcome::{InDoubt, Release, Store};
        let [standard, strict, success_only] = match status {
            200..=299 => [Store, Store, Store],
            // A canonicalising redirect was sent before anything was done.
            307 | 308 if leads_back => [Release, Release, Release],
            300..=399 => [Store, Store, Release],
            // 421 may be sent again even if the method is not idempotent (RFC 9110 section 15.5.20).
            401 | 403 | 407 | 408 | 409 | 421 | 425 | 429 => [Release, Release, Release],
            // A decline is an outcome.
            402 => [Store, Store, Release],
            400..=499 => [Release, Store, Release],
            // 511 is an intercepting network's word, not the origin's (RFC 6585 section 6).
            511 | 521 | 523 | 525 | 526 | 530 => [Release, Release, Release],
            // A Retry-After says when, not whether: caches put it on answers to requests that they had delivered.
            503 => [InDoubt, InDoubt, Release],
            502 | 504 | 520 | 522 | 524 => [InDoubt, InDoubt, InDoubt],
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
