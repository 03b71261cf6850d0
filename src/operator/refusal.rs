//! Why an operator is refused, as a problem document (RFC 9457).

use std::fmt::Display;

use serde::Serialize;

use crate::operator::decide::DecisionResult;
use crate::request::json;
use crate::request::key::KeyId;
use crate::time::rfc3339;

/// A refusal of the operators' part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub kind: Kind,
    /// What to do next.
    pub detail: String,
    /// The record to look at again.
    pub key: Option<KeyId>,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The question does not parse.
    Invalid,
    /// No token, or a wrong one.
    Unauthorized,
    /// The form was not made for this session, or comes from another site.
    Forbidden,
    /// There is no such page or record.
    NotFound,
    /// The page takes other methods: these.
    Method(&'static str),
    /// A Worker may still be at it.
    LeaseLive,
    /// The record has changed since it was looked at.
    MovedOn,
    /// The body is too large.
    TooLarge,
    /// Too many wrong tokens; seconds to wait.
    TooMany(u64),
    /// A Ledger could not be asked; seconds to wait.
    Unavailable(u64),
}

impl Refusal {
    /// A refusal with what to do next.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Display) -> Self {
        Self { kind, detail: detail.to_string(), key: None }
    }

    /// A question that does not parse.
    #[must_use]
    pub fn invalid(detail: impl Display) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// Why a decision about a record was not carried out; none if it was.
    #[must_use]
    pub fn of(result: DecisionResult, key: KeyId) -> Option<Self> {
        let refusal = match result {
            DecisionResult::Done => return None,
            DecisionResult::Absent => return Some(Self::no_record()),
            DecisionResult::LeaseLive(until) => Self::new(
                Kind::LeaseLive,
                format_args!(
                    "A request may still be under way until {}. Nothing was changed; decide again after that.",
                    rfc3339(until)
                ),
            ),
            DecisionResult::MovedOn => Self::new(
                Kind::MovedOn,
                "The record is not, or no longer, as you saw it: it was resolved, settled or claimed again. Nothing was changed; look at it again.",
            ),
        };
        Some(Self { key: Some(key), ..refusal })
    }

    /// There is no record of that key id.
    #[must_use]
    pub fn no_record() -> Self {
        Self::new(
            Kind::NotFound,
            "There is no such record. It may have been purged or have expired.",
        )
    }

    /// No body is stored for the record.
    #[must_use]
    pub fn no_body() -> Self {
        Self::new(Kind::NotFound, "No body is stored for this record.")
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.row().1
    }

    /// A short summary of the kind.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.row().2
    }

    /// Headers beside the document's own.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self.kind {
            Kind::Unauthorized => {
                vec![("www-authenticate", "Bearer realm=\"oncegate\"".to_owned())]
            }
            Kind::Method(allowed) => vec![("allow", allowed.to_owned())],
            Kind::TooMany(seconds) | Kind::Unavailable(seconds) => {
                vec![("retry-after", seconds.to_string())]
            }
            _ => Vec::new(),
        }
    }

    /// The problem document.
    #[must_use]
    pub fn document(&self) -> String {
        let (code, status, title) = self.row();
        json::to_text(&Document {
            kind: format!("/.well-known/idempotency#{code}"),
            title,
            status,
            detail: &self.detail,
            code,
        })
    }

    fn row(&self) -> (&'static str, u16, &'static str) {
        match self.kind {
            Kind::Invalid => ("invalid-request", 400, "The request is invalid"),
            Kind::Unauthorized => ("unauthorized", 401, "The operator's token is needed"),
            Kind::Forbidden => ("forbidden", 403, "The form was not accepted"),
            Kind::NotFound => ("not-found", 404, "There is no such thing"),
            Kind::Method(_) => ("method-not-allowed", 405, "The method is not allowed"),
            Kind::LeaseLive => ("lease-live", 409, "A request is under way"),
            Kind::MovedOn => ("moved-on", 409, "The record has moved on"),
            Kind::TooLarge => ("request-too-large", 413, "The request body is too large"),
            Kind::TooMany(_) => ("too-many-attempts", 429, "Too many wrong tokens"),
            Kind::Unavailable(_) => {
                ("store-unavailable", 503, "The idempotency store is unavailable")
            }
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}
