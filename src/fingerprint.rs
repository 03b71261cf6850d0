//! Which parts of two requests must agree for one to be the other's retry.
//!
//! Host and credential are not here: they keep equal keys of different callers apart (the scope),
//! while the fingerprint tells a retry from another request under the same key.

use crate::digest::Parts;
use crate::target::Target;

/// SHA-256 over what makes two requests the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Digest of everything that names an operation except who asks: route, the scope without its
/// credential, and the fingerprint. Equal kin under another key id means that only the credential
/// changed between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kin(pub [u8; 16]);

/// Headers that change what a request asks for and are therefore part of "the same request" where
/// present. Content-Type is compared by media type alone: multipart boundaries differ on every try.
/// Accept* is left out: the stored representation is replayed as it is.
pub const FINGERPRINT_HEADERS: [&str; 5] =
    ["content-encoding", "if-match", "if-none-match", "content-range", "x-http-method-override"];

impl Fingerprint {
    /// `body` is the SHA-256 of the body bytes as sent; `header` looks a header up by lower-case name.
    pub fn of(
        method: &str,
        target: &Target,
        body: &[u8; 32],
        header: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let parts = Parts::of("fingerprint")
            .part(method)
            .part(&target.path)
            .maybe(target.query.as_ref())
            .part(body)
            .maybe(header("content-type").map(|value| media_type(&value)));
        Self(
            FINGERPRINT_HEADERS.iter().fold(parts, |parts, name| parts.maybe(header(name))).whole(),
        )
    }
}

/// Type and subtype in lower case, without parameters (RFC 9110 section 8.3.1).
#[must_use]
pub fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
