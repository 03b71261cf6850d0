//! Every refusal, once: code → status, title, whether to try again, and the RFC 9457 document.

use crate::request::json;

/// The code of a refusal; part of the contract, never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The route requires a key and none was sent.
    KeyMissing,
    /// The key does not follow the grammar.
    KeyInvalid,
    /// `X-On-Conflict` names no strategy that the route allows.
    StrategyInvalid,
    /// The key was used for another request.
    KeyReused,
    /// The first request under this key is still running.
    InFlight,
    /// The request was never handed over to the origin.
    OriginUnreachable,
    /// The filter's configuration does not parse.
    Misconfigured,
    /// The operation has been executed and the strategy says to fail.
    AlreadyExecuted,
    /// The same request under the same key came with another credential.
    CredentialChanged,
    /// The operation was executed; its reply was too large to keep.
    ReplyNotStored,
    /// Nobody knows whether the origin executed the operation.
    OutcomeUnknown,
    /// The key's reply is gone; the operation is not executed again.
    KeyExpired,
    /// The request body is over the route's limit.
    RequestTooLarge,
    /// The Ledger could not be asked; nothing was forwarded.
    StoreUnavailable,
}

impl Code {
    /// All of them.
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

    /// What it asks of the client, in a few words.
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

    /// The status that goes with the code; `outcome-unknown` has others for the first caller.
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

/// A refusal on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// Status of the answer.
    pub status: u16,
    /// What to do next, for a person.
    pub detail: String,
    /// Seconds after which to come again, where coming again helps.
    pub retry_after_s: Option<u64>,
    /// Status of the first answer, where only that was kept.
    pub original_status: Option<u16>,
    /// Why, for the operator's log: what a client is not told.
    pub why: Option<String>,
}

impl Problem {
    /// A refusal with the code's own status.
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

    /// The same with another Retry-After, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The same with what the operator's log says of it.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// The same with another status (`outcome-unknown` is 502 or 504 to the first caller).
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The problem document (RFC 9457 section 3).
    #[must_use]
    pub fn body(&self, correlation_id: &str) -> String {
        let code = self.code.as_str();
        json::object(|document| {
            document.text("type", &format!("/.well-known/idempotency#{code}"));
            document.text("title", self.code.title());
            document.number("status", self.status.into());
            document.text("detail", &self.detail);
            document.text("code", code);
            document.text("correlation_id", correlation_id);
            if let Some(status) = self.original_status {
                document.number("original_status", status.into());
            }
            // Stripe's clients take any document without this member for a success, whatever its status
            // (stripe-node 23, RequestSender); RFC 9457 section 3.2 allows further members.
            document.object("error", |error| {
                let kind = if self.status < 500 { "idempotency_error" } else { "api_error" };
                error.text("type", kind);
                error.text("code", code);
                error.text("message", &self.detail);
            });
        })
    }
}
