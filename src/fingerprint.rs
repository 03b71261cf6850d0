//! Which parts of two requests must agree for one to be the other's retry.
//!
//! Host and credential are not here: they keep equal keys of different callers apart (the scope),
//! while the fingerprint tells a retry from another request under the same key.

use crate::digest::Parts;
use crate::json::{self, Pointer};
use crate::target::Target;

/// SHA-256 over what makes two requests the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Digest of everything that names an operation except who asks: route, the scope without its
/// credential, and the fingerprint. Equal kin under another key id means that only the credential
/// changed between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kin(pub [u8; 16]);

/// What a route compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Of the body.
    pub body: BodyRule,
    /// Whether the raw query counts.
    pub query: bool,
    /// Further headers, by lower-case name.
    pub headers: Vec<String>,
}

/// What of the body counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyRule {
    /// Every byte.
    Raw,
    /// The canonical form of JSON (RFC 8785): members in another order are the same request.
    Json,
    /// Nothing.
    None,
    /// What these pointers name.
    Pointers(Vec<Pointer>),
}

/// Headers that change what a request asks for and are therefore part of "the same request" where
/// present. Content-Type is compared by media type alone: multipart boundaries differ on every try.
/// Accept* is left out: the stored representation is replayed as it is.
pub const FINGERPRINT_HEADERS: [&str; 5] =
    ["content-encoding", "if-match", "if-none-match", "content-range", "x-http-method-override"];

impl Fingerprint {
    /// `body` is the digest of the body by the rule, `header` looks a header up by lower-case name.
    pub fn of(
        rule: &Rule,
        method: &str,
        target: &Target,
        body: &[u8; 32],
        header: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let query = target.query.as_ref().filter(|_| rule.query);
        let parts = Parts::of("fingerprint")
            .part(method)
            .part(&target.path)
            .maybe(query)
            .part(body)
            .maybe(header("content-type").map(|value| media_type(&value)));
        let parts = FINGERPRINT_HEADERS.iter().fold(parts, |parts, name| parts.maybe(header(name)));
        let parts =
            rule.headers.iter().fold(parts, |parts, name| parts.part(name).maybe(header(name)));
        Self(parts.whole())
    }
}

impl BodyRule {
    /// Whether the rule looks into the body, or only at its bytes as they are.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(self, Self::Json | Self::Pointers(_))
    }

    /// The digest of a body by this rule; `None` where its raw bytes are what counts: by the rule, or
    /// since the body is not JSON or not safely canonical. Then the caller hashes them (SHA-256).
    #[must_use]
    pub fn digest(&self, body: &[u8]) -> Option<[u8; 32]> {
        match self {
            Self::Raw => None,
            Self::None => Some(Parts::of("no body").whole()),
            Self::Json => Some(Parts::of("json").part(json::canonical(body)?).whole()),
            Self::Pointers(pointers) => {
                let values = json::selected(body, pointers)?;
                Some(
                    values
                        .iter()
                        .fold(Parts::of("pointers"), |parts, value| parts.maybe(value.as_ref()))
                        .whole(),
                )
            }
        }
    }
}

/// Type and subtype in lower case, without parameters (RFC 9110 section 8.3.1).
#[must_use]
pub fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
