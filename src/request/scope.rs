//! Whose key it is: what keeps equal keys of different callers apart.
//!
//! Values are hashed with their lengths and never stored or logged raw.

use serde::Deserialize;

use crate::config::values::Mode;
use crate::request::digest::Parts;
use crate::request::fingerprint::{Fingerprint, OperationId};
use crate::request::key_source::{cookies, header_name};

/// A part of the scope.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ScopePart {
    /// Host and port that the client asked for.
    Host,
    /// Request method.
    Method,
    /// Normalised path.
    Path,
    /// What the caller proves itself with.
    Credential,
    /// Name of the route.
    Route,
    /// A header, by lower-case name.
    Header(String),
}

/// Where callers carry who they are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CredentialPart {
    /// A header, by lower-case name.
    Header(String),
    /// A cookie.
    Cookie(String),
}

impl TryFrom<String> for ScopePart {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let named = || header_name(text.strip_prefix("header:")?).map(Self::Header);
        Ok(match text.as_str() {
            "host" => Self::Host,
            "method" => Self::Method,
            "path" => Self::Path,
            "credential" => Self::Credential,
            "route" => Self::Route,
            _ => named().ok_or("must be host, method, path, credential, route or header:NAME")?,
        })
    }
}

impl TryFrom<String> for CredentialPart {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let part = match text.split_once(':') {
            Some(("header", name)) => header_name(name).map(Self::Header),
            // A cookie's name is a token too (RFC 6265 section 4.1.1), but its case counts.
            Some(("cookie", name)) => header_name(name).map(|_| Self::Cookie(name.to_owned())),
            _ => None,
        };
        part.ok_or("must be header:NAME or cookie:NAME")
    }
}

/// The request's side of the scope.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Host and port that the client asked for.
    pub host: &'a str,
    /// Request method.
    pub method: &'a str,
    /// Normalised path.
    pub path: &'a str,
    /// Name of the route.
    pub route: &'a str,
    /// Digest of what it proves itself with.
    pub credential: [u8; 16],
    /// Looks a header up by lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<String>,
}

impl Caller<'_> {
    /// The scope half of the key id. Shadow records have key ids of their own, so that switching to
    /// enforce starts empty.
    #[must_use]
    pub fn scope(&self, scope: &[ScopePart], mode: Mode) -> [u8; 16] {
        scope
            .iter()
            .fold(Parts::of(purpose(mode, "scope", "shadow scope")), |parts, part| {
                self.add(parts, part)
            })
            .half()
    }

    /// The operation without who asks for it.
    #[must_use]
    pub fn operation(
        &self,
        scope: &[ScopePart],
        mode: Mode,
        fingerprint: &Fingerprint,
    ) -> OperationId {
        let parts =
            Parts::of(purpose(mode, "kin", "shadow kin")).part(self.route).part(fingerprint.0);
        let others = scope.iter().filter(|part| **part != ScopePart::Credential);
        OperationId(others.fold(parts, |parts, part| self.add(parts, part)).half())
    }

    fn add(&self, parts: Parts, part: &ScopePart) -> Parts {
        match part {
            ScopePart::Host => parts.part("host").part(self.host),
            ScopePart::Method => parts.part("method").part(self.method),
            ScopePart::Path => parts.part("path").part(self.path),
            ScopePart::Credential => parts.part("credential").part(self.credential),
            ScopePart::Route => parts.part("route").part(self.route),
            ScopePart::Header(name) => parts.part("header").part(name).maybe((self.header)(name)),
        }
    }
}

fn purpose(mode: Mode, enforced: &'static str, shadow: &'static str) -> &'static str {
    match mode {
        Mode::Shadow => shadow,
        Mode::Enforce | Mode::Off => enforced,
    }
}

/// A credential with bytes that the runtime could not decode: two of them may read the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// Digest of the credential; where none of the parts is present, the whole Cookie header is the
/// credential, its cookies in any order. A blank part is absent: a proxy that empties a header must not
/// make all callers one. `header` looks a header up by lower-case name.
///
/// # Errors
/// The credential holds what the runtime puts in place of bytes that are not UTF-8.
pub fn credential(
    parts: &[CredentialPart],
    header: &dyn Fn(&str) -> Option<String>,
) -> Result<[u8; 16], Undecodable> {
    let cookie_header = header("cookie").unwrap_or_default();
    let pairs = cookies(&cookie_header);
    let (mut digest, mut any) = (Parts::of("credential"), false);
    for part in parts {
        let own;
        let mut values: Vec<&str> = Vec::new();
        match part {
            CredentialPart::Header(name) => {
                own = header(name).unwrap_or_default();
                values.push(&own);
            }
            CredentialPart::Cookie(name) => {
                for (known, value) in &pairs {
                    if known == name {
                        values.push(value);
                    }
                }
            }
        }
        values.retain(|value| !value.trim().is_empty());
        any |= !values.is_empty();
        digest = list(digest, &values)?;
    }
    if any {
        return Ok(digest.half());
    }
    // In any order, and whether it is a pair or not.
    let mut all = Vec::new();
    for cookie in cookie_header.split([';', ',']) {
        all.push(cookie.trim());
    }
    all.retain(|cookie| !cookie.is_empty());
    all.sort_unstable();
    Ok(list(Parts::of("cookie"), &all)?.half())
}

fn list(parts: Parts, values: &[&str]) -> Result<Parts, Undecodable> {
    let mut parts = parts.part(values.len().to_string());
    for value in values {
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Undecodable);
        }
        parts = parts.part(value);
    }
    Ok(parts)
}
