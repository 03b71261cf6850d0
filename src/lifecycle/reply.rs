//! What of a response is kept and replayed: the status, the end-to-end headers, the exact bytes of the body.
//!
//! The core never sees a body: it travels and is stored beside its [`Reply`].

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The kept part of a response, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Status code, 200 to 599.
    pub status: u16,
    /// The headers to replay, in the order in which they came; names in lower case.
    pub headers: Vec<(String, String)>,
    /// What is kept of the body.
    pub body: Kept,
}

impl Reply {
    /// What is kept of it where the operation was released: a large body is not, and then nothing that describes one.
    #[must_use]
    pub fn released(mut self) -> Self {
        if self.body.bytes() > RELEASED_BODY_MAX {
            self.body = Kept::StatusOnly;
        }
        if self.body == Kept::StatusOnly {
            self.headers.retain(|(name, _)| !name.starts_with("content-") && name != "etag");
        }
        self
    }
}

/// Whether the body is there to be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// The whole body.
    Whole {
        /// Its length.
        bytes: u64,
    },
    /// Nothing: the body was longer than `reply.max`, or made to be streamed. Duplicates are told so and never
    /// forwarded.
    StatusOnly,
}

impl Kept {
    /// How many bytes of it are kept.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Whole { bytes } => bytes,
            Self::StatusOnly => 0,
        }
    }
}

/// Media types of replies that are made to be streamed: their bodies go to the first caller as they come, and are not
/// kept. One that ends in `*` names all that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamedTypes(String);

impl StreamedTypes {
    /// None of them.
    #[must_use]
    pub fn none() -> Self {
        Self(String::new())
    }

    /// Whether a Content-Type is one of them. Its parameters do not matter.
    #[must_use]
    pub fn has(&self, content_type: &str) -> bool {
        let wanted = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.0.split_ascii_whitespace().any(|name| match name.strip_suffix('*') {
            Some(beginning) => wanted.starts_with(beginning),
            None => wanted == name,
        })
    }

    /// All of them, with a space between two.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.0
    }
}

impl Default for StreamedTypes {
    fn default() -> Self {
        Self(STREAMED.to_owned())
    }
}

impl<'de> Deserialize<'de> for StreamedTypes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut names = Vec::<String>::deserialize(from)?;
        for name in &mut names {
            name.make_ascii_lowercase();
        }
        if !names.iter().all(|name| is_media_type(name)) {
            return Err(D::Error::custom(
                r#"must be a list of media types without parameters, such as ["text/event-stream", "application/grpc*"]"#,
            ));
        }
        Ok(Self(names.join(" ")))
    }
}

/// `type/subtype` (RFC 9110 section 8.3.1), which may end in `*`. A type alone names nothing: `*` and `text*` are
/// mistakes, `text/*` is not.
fn is_media_type(name: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    name.split_once('/').is_some_and(|(kind, subtype)| {
        let beginning = subtype.strip_suffix('*').unwrap_or(subtype);
        is_token(kind) && (subtype == "*" || is_token(beginning))
    })
}

/// A released answer is mostly a problem document. So many bytes of it are kept.
const RELEASED_BODY_MAX: u64 = 64 * 1024;
/// What browsers and agents read as events (WHATWG HTML, section 9.2), JSON by lines, and RPC whose trailers end it.
const STREAMED: &str = "text/event-stream application/x-ndjson application/jsonl application/grpc* application/connect+*";

/// The headers of a response that a replay carries; names in lower case. Those in `drop` are not kept although
/// they would be, those in `keep` are kept although they would not be.
#[must_use]
pub fn kept_headers(
    headers: &[(&str, &str)],
    drop: &[String],
    keep: &[String],
) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for (_, value) in headers.iter().filter(|(name, _)| *name == "connection") {
        for name in value.split(',') {
            named.push(name.trim().to_ascii_lowercase());
        }
    }
    let mut all = Vec::new();
    for (name, value) in headers {
        // A route that names a header keeps it, though Connection names it too.
        let kept = is_in(keep, name) || (is_kept_by_default(name) && !is_in(&named, name));
        if kept && !is_in(drop, name) {
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    all
}

fn is_in(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}

fn is_kept_by_default(name: &str) -> bool {
    !DROPPED_BY_DEFAULT.contains(&name)
        && !DROPPED_FAMILIES.iter().any(|family| name.starts_with(family))
        && !is_ours(name)
}

/// Headers that the filter itself sets and that an origin may not forge.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    name.starts_with("idempotency-") || name.starts_with("idempotent-")
}

/// 204, 205 and 304 have no body (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5); the runtime refuses
/// to build one.
#[must_use]
pub fn has_no_body(status: u16) -> bool {
    matches!(status, 101 | 204 | 205 | 304)
}

/// Statuses that the runtime can send: it refuses to build others.
#[must_use]
pub fn is_sendable(status: u16) -> bool {
    (200..=599).contains(&status)
}

/// Whether a route may keep a header: one that belongs to a single hop, or that the runtime or the filter sets
/// anew, would be wrong on any replay.
#[must_use]
pub fn may_keep(name: &str) -> bool {
    is_kept_by_default(name)
        || ["age", "alt-svc", "date", "server-timing", "set-cookie"].contains(&name)
        || DROPPED_FAMILIES.iter().any(|family| name.starts_with(family))
        || name == "ratelimit"
}

/// They belong to one exchange (Set-Cookie, Date, Age, timings, limits) or to one hop (RFC 9110
/// section 7.6.1), or the runtime sets them (Content-Length).
const DROPPED_BY_DEFAULT: [&str; 19] = [
    "age",
    "alt-svc",
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "ratelimit",
    "server-timing",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-correlation-id",
];

const DROPPED_FAMILIES: [&str; 5] =
    ["cf-", "ratelimit-", "x-ratelimit-", "x-rate-limit-", "rate-limit-"];
