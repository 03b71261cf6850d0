//! Which parts of two requests must agree for one to be the other's retry.
//!
//! Host and credential are not here: they keep equal keys of different callers apart (the scope),
//! while the fingerprint tells a retry from another request under the same key.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::request::digest::Parts;
use crate::request::json::{self, Pointer};
use crate::request::key_source::header_names;
use crate::request::path::Target;

/// What makes two requests the same request: 20 bytes of a SHA-256 over all of it, then two bytes for each
/// of [`PARTS`], which tell where two requests differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// In which of [`PARTS`] two requests differ, one bit for each, the first the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch(pub u8);

/// The parts of a request that count, by the names that an operator's log has.
pub const PARTS: [&str; 6] = ["method", "path", "query", "body", "Content-Type", "headers"];

/// Digest of everything that names an operation except who asks: route, the scope without its
/// credential, and the fingerprint. Equal kin under another key id means that only the credential
/// changed between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId(pub [u8; 16]);

/// What a route compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Rule {
    /// What of the body a retry must match: `raw`, `json` (RFC 8785), `none`, or a list of JSON pointers.
    pub body: BodyRule,
    /// Whether a retry must match the query.
    pub query: bool,
    /// Further headers that a retry must match.
    #[serde(deserialize_with = "header_names")]
    pub headers: Vec<String>,
}

impl Default for Rule {
    fn default() -> Self {
        Self { body: BodyRule::Raw, query: true, headers: Vec::new() }
    }
}

/// What of the body counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "lowercase",
    expecting = r#"must be raw, json, none, or a list of JSON pointers such as ["/amount", "/currency"]"#
)]
pub enum BodyRule {
    /// Every byte.
    Raw,
    /// The canonical form of JSON (RFC 8785): members in another order are the same request.
    Json,
    /// Nothing.
    None,
    /// What these pointers name.
    #[serde(untagged)]
    Pointers(#[serde(deserialize_with = "one_or_more")] Vec<Pointer>),
}

fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Pointer>, D::Error> {
    let pointers = Vec::<Pointer>::deserialize(from)?;
    if pointers.is_empty() { Err(D::Error::custom("none is named")) } else { Ok(pointers) }
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
        let content_type = header("content-type").map(|value| media_type(&value));
        let headers = FINGERPRINT_HEADERS
            .iter()
            .fold(Parts::of("fingerprinted headers"), |parts, name| parts.maybe(header(name)));
        let headers = rule
            .headers
            .iter()
            .fold(headers, |parts, name| parts.part(name).maybe(header(name)))
            .whole();
        let parts = [
            Parts::of("method").part(method).whole(),
            Parts::of("path").part(&target.path).whole(),
            Parts::of("query").maybe(query).whole(),
            *body,
            Parts::of("content-type").maybe(content_type).whole(),
            headers,
        ];
        let whole = parts.iter().fold(Parts::of("fingerprint"), Parts::part).whole();
        let hints = parts.iter().flat_map(|part| part.iter().take(HINT)).copied();
        let mut fingerprint = [0; 32];
        for (to, from) in fingerprint.iter_mut().zip(whole.into_iter().take(DIGEST).chain(hints)) {
            *to = from;
        }
        Self(fingerprint)
    }

    /// Where another request differs, as far as two bytes of each part tell.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Mismatch {
        let mut bits = 0;
        for (at, (own, other)) in self.0.iter().zip(&other.0).enumerate().skip(DIGEST) {
            if own != other {
                bits |= 1 << ((at - DIGEST) / HINT);
            }
        }
        Mismatch(bits)
    }
}

impl Mismatch {
    /// `fingerprint differs in body, query`.
    #[must_use]
    pub fn why(self) -> String {
        let mut names = Vec::new();
        for (at, name) in PARTS.into_iter().enumerate() {
            if self.0 >> at & 1 == 1 {
                names.push(name);
            }
        }
        match names.as_slice() {
            [] => "fingerprint differs".to_owned(),
            names => format!("fingerprint differs in {}", names.join(", ")),
        }
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
            Self::Json => Some(Parts::of("json").whole_with(json::canonical(body)?.as_bytes())),
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

/// Bytes of the digest over all parts: 160 bits are beyond any search.
const DIGEST: usize = 20;
/// Bytes of each part's own digest.
const HINT: usize = 2;
