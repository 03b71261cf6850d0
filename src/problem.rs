//! Every refusal of the filter, in one place: its code, status, title, whether a retry helps, and its document (RFC
//! 9457).

use serde::Serialize;

use crate::request::json;

/// The code of a refusal. Clients rely on it, so a code is never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The route requires a key and none was sent.
    KeyMissing,
    /// The key does not follow the grammar.
    KeyInvalid,
    /// `X-On-Conflict` names a strategy that is unknown or that the route does not allow.
    StrategyInvalid,
    /// The key was used for another request.
    KeyReused,
    /// The first request under this key is still running.
    InFlight,
    /// The request never reached the origin.
    OriginUnreachable,
    /// The filter's configuration does not parse.
    Misconfigured,
    /// The operation has been executed, and the strategy is to fail then.
    AlreadyExecuted,
    /// The same request under the same key came with another credential.
    CredentialChanged,
    /// The operation has been executed, but its reply was not stored.
    ReplyNotStored,
    /// Nobody knows whether the origin executed the operation.
    OutcomeUnknown,
    /// The reply has expired. The operation is not executed again.
    KeyExpired,
    /// The request body exceeds the route's limit.
    RequestTooLarge,
    /// The Ledger cannot be reached. Nothing was forwarded.
    StoreUnavailable,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::StrategyInvalid,
        Self::KeyReused,
        Self::InFlight,
        Self::OriginUnreachable,
        Self::Misconfigured,
        Self::AlreadyExecuted,
        Self::CredentialChanged,
        Self::ReplyNotStored,
        Self::OutcomeUnknown,
        Self::KeyExpired,
        Self::RequestTooLarge,
        Self::StoreUnavailable,
    ];

    /// What the client should do, in a few words.
    #[must_use]
    pub fn ask(self) -> &'static str {
        match self {
            Self::KeyMissing => "send a key",
            Self::KeyInvalid => "send a valid key",
            Self::StrategyInvalid => "choose an allowed strategy, or none",
            Self::KeyReused => "use a new key for a new operation, and send retries unchanged",
            Self::InFlight | Self::OriginUnreachable | Self::StoreUnavailable => {
                "send the same request with the same key after Retry-After"
            }
            Self::Misconfigured => "tell the operator",
            Self::AlreadyExecuted => "do nothing: the operation has been executed",
            Self::CredentialChanged => "retry with the first credential",
            Self::ReplyNotStored => {
                "do not send it again: the operation has been executed; ask for its result"
            }
            Self::OutcomeUnknown | Self::KeyExpired => {
                "find out what became of the operation before using a new key"
            }
            Self::RequestTooLarge => "send a smaller body",
        }
    }

    /// The code as clients see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The usual status. `outcome-unknown` has others for the first caller.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// A short summary of the kind of problem.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// What `Stripe-Should-Retry` says: payment clients obey it.
    #[must_use]
    pub fn should_retry(self) -> bool {
        matches!(self, Self::InFlight | Self::OriginUnreachable | Self::StoreUnavailable)
    }

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::KeyMissing => ("key-missing", 400, "Idempotency-Key is missing"),
            Self::KeyInvalid => ("key-invalid", 400, "Idempotency-Key is invalid"),
            Self::StrategyInvalid => ("strategy-invalid", 400, "X-On-Conflict is invalid"),
            Self::KeyReused => ("key-reused", 422, "Idempotency-Key is already used"),
            Self::InFlight => {
                ("in-flight", 409, "A request is outstanding for this Idempotency-Key")
            }
            Self::OriginUnreachable => ("origin-unreachable", 502, "The origin was not reached"),
            Self::Misconfigured => ("misconfigured", 500, "The filter is misconfigured"),
            Self::AlreadyExecuted => ("already-executed", 409, "The operation was executed before"),
            Self::CredentialChanged => {
                ("credential-changed", 409, "The credential changed between two tries")
            }
            Self::ReplyNotStored => ("reply-not-stored", 409, "The reply was not stored"),
            Self::OutcomeUnknown => ("outcome-unknown", 409, "The outcome is unknown"),
            Self::KeyExpired => ("key-expired", 410, "Idempotency-Key has expired"),
            Self::RequestTooLarge => ("request-too-large", 413, "The request body is too large"),
            Self::StoreUnavailable => {
                ("store-unavailable", 503, "The idempotency store is unavailable")
            }
        }
    }
}

/// A refusal, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind of problem.
    pub code: Code,
    /// The status of the answer.
    pub status: u16,
    /// What to do next, as a text for people.
    pub detail: String,
    /// Retry-After in seconds, where a retry helps.
    pub retry_after_s: Option<u64>,
    /// The status of the first answer, where nothing else of it was stored.
    pub original_status: Option<u16>,
    /// The reason for the operator's log. The client does not see it.
    pub why: Option<String>,
}

impl Problem {
    /// A refusal with the code's usual status.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_s = code.should_retry().then_some(1);
        Self {
            code,
            status: code.status(),
            detail: detail.into(),
            retry_after_s,
            original_status: None,
            why: None,
        }
    }

    /// Sets Retry-After, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Sets the reason for the operator's log.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Sets another status: `outcome-unknown` is 502 or 504 for the first caller.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The problem document (RFC 9457 section 3).
    #[must_use]
    pub fn body(&self, correlation_id: &str) -> String {
        let code = self.code.as_str();
        let kind = if self.status < 500 { "idempotency_error" } else { "api_error" };
        json::to_text(&Document {
            kind: format!("/.well-known/idempotency#{code}"),
            title: self.code.title(),
            status: self.status,
            detail: &self.detail,
            code,
            correlation_id,
            original_status: self.original_status,
            error: StripeError { kind, code, message: &self.detail },
        })
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
    correlation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_status: Option<u16>,
    error: StripeError<'a>,
}

/// Stripe's clients take a document without this member for a success, whatever its status is (stripe-node 23,
/// `RequestSender`). RFC 9457 section 3.2 allows further members.
#[derive(Serialize)]
struct StripeError<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    code: &'a str,
    message: &'a str,
}
