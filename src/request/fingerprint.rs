//! The fingerprint: what must agree for one request to be the retry of another.
//!
//! Host and credential are not part of it. They belong to the scope, which keeps equal keys of different callers
//! apart; the fingerprint tells a retry from another request under the same key.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::request::digest::Parts;
use crate::request::header::{compared, header_names, media_type};
use crate::request::json::{self, MarkedPointer, Pointer};
use crate::request::path::Target;

/// The fingerprint of a request: 20 bytes of SHA-256 over all parts, then two bytes of each of [`PARTS`], which tell
/// in which parts two requests differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

/// In which of [`PARTS`] two requests differ: one bit for each, the lowest bit for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch(pub u8);

/// The parts that a fingerprint is made of, as the operator's log names them.
pub const PARTS: [&str; 6] = ["method", "path", "query", "body", "Content-Type", "headers"];

/// Names an operation, whoever asks for it: a digest of route, fingerprint, and the scope without the credential. A
/// record of the same operation under another key id means that the credential changed between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationId(pub [u8; 16]);

/// What a route compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// What of the body a retry must match: `raw`, `json` (RFC 8785), `none`, or a list of JSON pointers, of which
    /// `/note?` may name nothing.
    pub body: BodyRule,
    /// Members of a JSON body, as pointers, that change with each try; all others are compared as under `json`.
    pub except: Vec<Pointer>,
    /// Whether a retry must match the query.
    pub query: bool,
    /// Further headers that a retry must match.
    #[serde(deserialize_with = "header_names")]
    pub headers: Vec<String>,
}

impl Default for Rule {
    fn default() -> Self {
        Self { body: BodyRule::Raw, except: Vec::new(), query: true, headers: Vec::new() }
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
    Pointers(#[serde(deserialize_with = "one_or_more")] Vec<MarkedPointer>),
}

fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<MarkedPointer>, D::Error> {
    let pointers = Vec::<MarkedPointer>::deserialize(from)?;
    if pointers.is_empty() { Err(D::Error::custom("none is named")) } else { Ok(pointers) }
}

/// Headers that change what a request asks for, and count where they are present: preconditions and ranges (RFC 9110
/// sections 13.1 and 14), and the three by which frameworks let a POST stand for another method. Of Content-Type only the media type
/// counts, since a client may choose another multipart boundary for each try. Accept headers do not count: the stored
/// representation is replayed as it is.
pub const FINGERPRINT_HEADERS: [&str; 11] = [
    "content-encoding",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "content-range",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

impl Fingerprint {
    /// The fingerprint of a request. `body` is the digest of its body by the rule; `header` looks a header up by
    /// lower-case name.
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
            .fold(headers, |parts, name| {
                parts.part(name).maybe(header(name).map(|value| compared(name, value)))
            })
            .whole();
        let parts = [
            Parts::of("method").part(method).whole(),
            Parts::of("path").part(&target.compared).whole(),
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

    /// In which parts another request differs, as far as two bytes of each part tell.
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
    /// The reason for the log: `fingerprint differs in query, body`.
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

impl Rule {
    /// Whether the rule reads the body as JSON.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(self.body, BodyRule::Json | BodyRule::Pointers(_))
    }

    /// The digest of a body by this rule. `None` where its raw bytes count, by the rule or since the body cannot be
    /// compared otherwise; the caller then hashes them with SHA-256.
    #[must_use]
    pub fn digest(&self, body: &[u8]) -> Option<[u8; 32]> {
        match &self.body {
            BodyRule::Raw => None,
            BodyRule::None => Some(Parts::of("no body").whole()),
            BodyRule::Json => {
                let form = json::canonical_without(body, &self.except)?;
                Some(Parts::of("json").whole_with(form.as_bytes()))
            }
            // A body in which one of them names nothing is another kind of body: by these alone, two amounts under
            // another name would be one request.
            BodyRule::Pointers(pointers) => {
                let values = json::selected(body, pointers)?;
                let parts = Parts::of("pointers");
                Some(values.iter().fold(parts, |parts, value| parts.maybe(value.as_ref())).whole())
            }
        }
    }

    /// The names of the headers whose whole value counts.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        FINGERPRINT_HEADERS.into_iter().chain(self.headers.iter().map(String::as_str))
    }
}

impl BodyRule {
    /// Whether two pointers of the list name the same member.
    #[must_use]
    pub fn names_twice(&self) -> bool {
        let Self::Pointers(pointers) = self else { return false };
        pointers
            .iter()
            .enumerate()
            .any(|(at, one)| pointers.iter().skip(at + 1).any(|other| other.pointer == one.pointer))
    }
}

/// Bytes of the digest over all parts: nobody finds two requests with the same 160 bits.
const DIGEST: usize = 20;
/// Bytes of the digest of each part.
const HINT: usize = 2;
