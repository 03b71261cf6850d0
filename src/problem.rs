//! Every refusal, to clients and to operators, in one place: its code, status, title, whether a retry helps,
//! and its document (RFC 9457).

use serde::Serialize;

use crate::request::json;
use crate::request::key::KeyId;

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
    /// The same request under the same key came with another credential, and the access token of this one was refused.
    CredentialRefused,
    /// The keys that verify access tokens cannot be fetched. Nothing was claimed, nothing was forwarded.
    CredentialUnverifiable,
    /// The operation has been executed, but its reply was not stored.
    ReplyNotStored,
    /// Nobody knows whether the origin executed the operation.
    OutcomeUnknown,
    /// The reply has expired. The operation is not executed again.
    KeyExpired,
    /// The request body exceeds the route's limit.
    RequestTooLarge,
    /// No route guards this method and path, and what none guards is refused.
    NotGuarded,
    /// The request has been here before: the origin leads back to the filter.
    LoopDetected,
    /// Nothing is known at this status address, or its reader has another credential than the call had.
    StatusUnknown,
    /// The Ledger cannot be reached. Nothing was forwarded.
    StoreUnavailable,
    /// An operator's request does not parse.
    InvalidRequest,
    /// The operator's token is missing or wrong.
    Unauthorized,
    /// The form was not made for this session, or comes from another site.
    Forbidden,
    /// There is no such page or record.
    NotFound,
    /// The page takes other methods.
    MethodNotAllowed,
    /// A request may still be under way, so nothing can be decided.
    LeaseLive,
    /// The record has changed since the operator looked at it.
    MovedOn,
    /// Too many wrong tokens came from this address.
    TooManyAttempts,
    /// A slot of a schedule, or a request that says when it was first sent, is so old that its record may be gone: it cannot
    /// be told from one that never ran.
    OutsideWindow,
}

impl Code {
    /// Every code that a client of a guarded route may get. Operators get others too.
    pub const ALL: [Self; 20] = [
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::StrategyInvalid,
        Self::KeyReused,
        Self::InFlight,
        Self::OriginUnreachable,
        Self::Misconfigured,
        Self::AlreadyExecuted,
        Self::CredentialChanged,
        Self::CredentialRefused,
        Self::CredentialUnverifiable,
        Self::ReplyNotStored,
        Self::OutcomeUnknown,
        Self::KeyExpired,
        Self::RequestTooLarge,
        Self::NotGuarded,
        Self::LoopDetected,
        Self::StatusUnknown,
        Self::OutsideWindow,
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
            Self::InFlight
            | Self::OriginUnreachable
            | Self::CredentialUnverifiable
            | Self::StoreUnavailable => "send the same request with the same key after Retry-After",
            Self::Misconfigured | Self::LoopDetected => "tell the operator",
            Self::StatusUnknown => {
                "ask with the credential of the call; the same request with the same key tells as much"
            }
            Self::NotGuarded => "send it to a method and path that the policy names",
            Self::AlreadyExecuted => "do nothing: the operation has been executed",
            Self::CredentialChanged => "retry with the first credential",
            Self::CredentialRefused => {
                "renew the access token, and send the same request with the same key"
            }
            Self::ReplyNotStored => {
                "do not send it again: the operation has been executed; ask for its result"
            }
            Self::OutcomeUnknown => {
                "send the same request with the same key: it tells when the outcome is known; a new key could execute it twice"
            }
            Self::KeyExpired => "find out what became of the operation before using a new key",
            Self::RequestTooLarge => "send a smaller body",
            Self::InvalidRequest | Self::NotFound | Self::MethodNotAllowed => {
                "send another request"
            }
            Self::Unauthorized => "send the operator's token",
            Self::Forbidden => "load the page again",
            Self::LeaseLive => "decide after the lease has ended",
            Self::MovedOn => "look at the record again",
            Self::TooManyAttempts => "wait for Retry-After",
            Self::OutsideWindow => "find out whether it was executed before",
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

    /// Whether sending the request again can change the answer. For `outcome-unknown` it depends: see [`Problem`].
    #[must_use]
    pub fn should_retry(self) -> bool {
        matches!(
            self,
            Self::InFlight
                | Self::OriginUnreachable
                | Self::CredentialUnverifiable
                | Self::StoreUnavailable
        )
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
            Self::CredentialRefused => ("credential-refused", 401, "The access token was refused"),
            Self::CredentialUnverifiable => {
                ("credential-unverifiable", 503, "The access token cannot be verified now")
            }
            Self::ReplyNotStored => ("reply-not-stored", 409, "The reply was not stored"),
            Self::OutcomeUnknown => ("outcome-unknown", 409, "The outcome is unknown"),
            Self::KeyExpired => ("key-expired", 410, "Idempotency-Key has expired"),
            Self::RequestTooLarge => ("request-too-large", 413, "The request body is too large"),
            Self::NotGuarded => ("not-guarded", 404, "No route guards this method and path"),
            Self::LoopDetected => ("loop-detected", 508, "The request came back to the filter"),
            Self::StatusUnknown => ("status-unknown", 404, "Nothing is known at this address"),
            Self::StoreUnavailable => {
                ("store-unavailable", 503, "The idempotency store is unavailable")
            }
            Self::InvalidRequest => ("invalid-request", 400, "The request is invalid"),
            Self::Unauthorized => ("unauthorized", 401, "The operator's token is needed"),
            Self::Forbidden => ("forbidden", 403, "The form was not accepted"),
            Self::NotFound => ("not-found", 404, "There is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The method is not allowed"),
            Self::LeaseLive => ("lease-live", 409, "A request is under way"),
            Self::MovedOn => ("moved-on", 409, "The record has moved on"),
            Self::TooManyAttempts => ("too-many-attempts", 429, "Too many wrong tokens"),
            Self::OutsideWindow => ("outside-window", 412, "It is too old to be told apart"),
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
    /// Whether sending the same request again can change the answer. `x-should-retry` and `Stripe-Should-Retry` say the
    /// same, which many clients obey.
    pub retryable: bool,
    /// Retry-After in seconds, where a retry helps.
    pub retry_after_s: Option<u64>,
    /// The status of the first answer, where nothing else of it was stored.
    pub original_status: Option<u16>,
    /// The reason for the operator's log. The client does not see it.
    pub why: Option<String>,
    /// Whether the client hung up, so that nobody gets the answer.
    pub client_gone: bool,
    /// For operators: the methods that are allowed, where the request's is not.
    pub allow: Option<&'static str>,
    /// For operators: the record to look at again.
    pub record: Option<Box<KeyId>>,
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
            retryable: code.should_retry(),
            retry_after_s,
            original_status: None,
            why: None,
            client_gone: false,
            allow: None,
            record: None,
        }
    }

    /// An operator's request does not parse.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// Sets Retry-After, in seconds: another answer may come then.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retryable: true, retry_after_s: Some(seconds), ..self }
    }

    /// Sets the reason for the operator's log.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Says that the client hung up.
    #[must_use]
    pub fn to_nobody(self) -> Self {
        Self { client_gone: true, ..self }
    }

    /// Name and status in the log. Where the client hung up, which no alarm should go off for, they are those of nginx.
    #[must_use]
    pub fn logged(&self) -> (&'static str, u16) {
        if self.client_gone { ("client-gone", 499) } else { (self.code.as_str(), self.status) }
    }

    /// Sets another status: `outcome-unknown` is 502 or 504 for the first caller.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Names the record that the operator should look at again.
    #[must_use]
    pub fn about(self, record: KeyId) -> Self {
        Self { record: Some(Box::new(record)), ..self }
    }

    /// The problem document for a client (RFC 9457 section 3).
    #[must_use]
    pub fn body(&self, correlation_id: &str) -> String {
        let kind = if self.status < 500 { "idempotency_error" } else { "api_error" };
        let error = StripeError { kind, code: self.code.as_str(), message: &self.detail };
        self.document(Some(correlation_id), Some(error))
    }

    /// The problem document for an operator.
    #[must_use]
    pub fn operator_body(&self) -> String {
        self.document(None, None)
    }

    /// The headers for an operator, beside those of the document.
    #[must_use]
    pub fn operator_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if self.code == Code::Unauthorized {
            headers.push(("www-authenticate", "Bearer realm=\"oncegate\"".to_owned()));
        }
        if let Some(allow) = self.allow {
            headers.push(("allow", allow.to_owned()));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.push(("retry-after", seconds.to_string()));
        }
        headers
    }

    fn document(&self, correlation_id: Option<&str>, error: Option<StripeError>) -> String {
        let code = self.code.as_str();
        json::to_text(&Document {
            kind: format!("/.well-known/idempotency#{code}"),
            title: self.code.title(),
            status: self.status,
            detail: &self.detail,
            message: &self.detail,
            code,
            retryable: self.retryable,
            correlation_id,
            original_status: self.original_status,
            error,
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
    /// The same, for clients that look there.
    message: &'a str,
    code: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<StripeError<'a>>,
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
