//! What a caller proves its identity with: the headers or cookies that the route names, as one digest. The
//! values themselves are never stored or logged.

use serde::Deserialize;

use crate::request::digest::Parts;
use crate::request::header::header_name;

/// A header or cookie that carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CredentialPart {
    /// A header, by lower-case name.
    Header(String),
    /// A cookie, by name.
    Cookie(String),
}

impl TryFrom<String> for CredentialPart {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let part = match text.split_once(':') {
            Some(("header", name)) => header_name(name).map(Self::Header),
            // The name of a cookie is a token too (RFC 6265 section 4.1.1), but its case counts.
            Some(("cookie", name)) => header_name(name).map(|_| Self::Cookie(name.to_owned())),
            _ => None,
        };
        part.ok_or("must be header:NAME or cookie:NAME")
    }
}

/// The credential holds bytes that are not UTF-8. The runtime replaces them, so two credentials may read the
/// same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// The digest of the credential. Where none of the parts is present, the whole Cookie header is the credential,
/// with its cookies in any order. A blank value counts as absent: a proxy that empties a header must not make
/// one caller of all. `header` looks a header up by lower-case name.
///
/// # Errors
/// A value of the credential holds bytes that are not UTF-8.
pub fn credential(
    parts: &[CredentialPart],
    header: &dyn Fn(&str) -> Option<String>,
) -> Result<[u8; 16], Undecodable> {
    let cookie_header = header("cookie").unwrap_or_default();
    let pairs = cookies(&cookie_header);
    let (mut digest, mut is_present) = (Parts::of("credential"), false);
    for part in parts {
        let own;
        let mut values: Vec<&str> = Vec::new();
        match part {
            CredentialPart::Header(name) => {
                own = header(name).unwrap_or_default();
                values.push(&own);
            }
            CredentialPart::Cookie(name) => {
                let named = pairs.iter().filter(|(known, _)| known == name);
                values.extend(named.map(|(_, value)| value.as_str()));
            }
        }
        values.retain(|value| !value.trim().is_empty());
        is_present |= !values.is_empty();
        digest = list(digest, &values)?;
    }
    if is_present {
        return Ok(digest.half());
    }
    // Every piece counts, whether it is a pair or not.
    let mut all: Vec<&str> = cookie_header.split([';', ',']).map(str::trim).collect();
    all.retain(|cookie| !cookie.is_empty());
    all.sort_unstable();
    Ok(list(Parts::of("cookie"), &all)?.half())
}

/// The pairs of a Cookie header. Cookies may arrive joined by `;` or, from several header lines, by `,`. A piece
/// without `=` is added to the value before it, which held the separator: a wrong split may make one credential
/// two, but never two credentials one.
#[must_use]
pub fn cookies(header: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for piece in header.split([';', ',']).map(str::trim).filter(|piece| !piece.is_empty()) {
        match (piece.split_once('='), pairs.last_mut()) {
            (Some((name, value)), _) => {
                pairs.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(piece);
            }
            (None, None) => {}
        }
    }
    pairs
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
