//! Whose key it is: what keeps equal keys of different callers apart.
//!
//! Values are hashed with their lengths and never stored or logged raw.

use crate::digest::Parts;
use crate::fingerprint::{Fingerprint, Kin};

/// The request's side of the default scope.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Host and port that the client asked for.
    pub host: &'a str,
    /// Request method.
    pub method: &'a str,
    /// Normalised path.
    pub path: &'a str,
    /// What the caller proves itself with.
    pub credential: [u8; 16],
}

impl Caller<'_> {
    /// The scope half of the key id.
    #[must_use]
    pub fn scope(&self) -> [u8; 16] {
        self.place(Parts::of("scope")).part(self.credential).half()
    }

    /// The operation without who asks for it.
    #[must_use]
    pub fn kin(&self, route: &str, fingerprint: &Fingerprint) -> Kin {
        Kin(self.place(Parts::of("kin")).part(route).part(fingerprint.0).half())
    }

    fn place(&self, parts: Parts) -> Parts {
        parts.part(self.host).part(self.method).part(self.path)
    }
}

/// Digest of the credential headers; where none of them is present, the whole Cookie header is the
/// credential. `header` looks a header up by lower-case name.
pub fn credential(header: impl Fn(&str) -> Option<String>) -> [u8; 16] {
    let values: Vec<_> = CREDENTIAL_HEADERS.iter().map(|name| header(name)).collect();
    if values.iter().any(Option::is_some) {
        return values.into_iter().fold(Parts::of("credential"), Parts::maybe).half();
    }
    Parts::of("cookie").maybe(header("cookie")).half()
}

/// Where callers of HTTP APIs carry who they are.
pub const CREDENTIAL_HEADERS: [&str; 2] = ["authorization", "x-api-key"];
