//! What a caller proves its identity with: the headers, cookies or claims that the route names, as one digest. The
//! values themselves are never stored or logged.

use serde::Deserialize;

use crate::request::bearer::Proof;
use crate::request::digest::Parts;
use crate::request::header::{compared, header_name, is_undecodable};
use crate::request::json::Pointer;

/// A header, a cookie or a claim that carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CredentialPart {
    /// A header, by lower-case name.
    Header(String),
    /// A cookie, by name.
    Cookie(String),
    /// A claim of the bearer token in Authorization, if that verifies; else the header itself.
    Jwt(Pointer),
}

impl TryFrom<String> for CredentialPart {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let part = match text.split_once(':') {
            Some(("header", name)) => header_name(name).map(Self::Header),
            // The name of a cookie is a token too (RFC 6265 section 4.1.1), but its case counts.
            Some(("cookie", name)) => header_name(name).map(|_| Self::Cookie(name.to_owned())),
            Some(("jwt", pointer)) => Pointer::parse(pointer).map(Self::Jwt),
            _ => None,
        };
        part.ok_or(
            "must be header:NAME, cookie:NAME, or a claim of an access token such as jwt:/sub",
        )
    }
}

/// The credential holds bytes that are not UTF-8. The runtime replaces them, so two credentials may read the
/// same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// What the route names holds them.
    Named(CredentialPart),
    /// One of the cookies does, all of which are the credential.
    Cookie,
}

impl Undecodable {
    /// What to do: a text for the client and for whoever configures the route.
    #[must_use]
    pub fn detail(&self) -> String {
        let what = match self {
            Self::Named(CredentialPart::Jwt(_)) => "The header authorization holds".to_owned(),
            Self::Named(CredentialPart::Header(name)) => format!("The header {name} holds"),
            Self::Named(CredentialPart::Cookie(name)) => format!("The cookie {name} holds"),
            Self::Cookie => {
                return "A cookie holds bytes that are not UTF-8, and all cookies together are the credential here, so that callers could not be told apart. Delete or encode that cookie; or let the route name the cookie that says who calls: credential = [\"cookie:SESSION\"].".to_owned();
            }
        };
        format!(
            "{what} bytes that are not UTF-8, so that callers could not be told apart. Encode its value."
        )
    }
}

/// The digest of the credential. Where none of the parts is present, the whole Cookie header is the credential,
/// with its cookies in any order. A blank value counts as absent: a proxy that empties a header must not make
/// one caller of all. `proof` is what its bearer token proves. `header` looks a header up by lower-case name.
///
/// # Errors
/// A value of the credential holds bytes that are not UTF-8.
pub fn credential(
    parts: &[CredentialPart],
    proof: &Proof,
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
                own = header(name).map(|value| compared(name, value)).unwrap_or_default();
                values.push(&own);
            }
            // Beside a verified claim the token itself does not count: the next one has the same claim.
            CredentialPart::Jwt(pointer) => match proof {
                Proof::Verified(subject) => values.extend(subject.claim(pointer)),
                Proof::Opaque | Proof::Refused(_) => {
                    own = authorization(header).unwrap_or_default();
                    values.push(&own);
                }
            },
            CredentialPart::Cookie(name) => {
                let named = pairs.iter().filter(|(known, _)| known == name);
                values.extend(named.map(|(_, value)| value.as_str()));
            }
        }
        if !matches!((part, proof), (CredentialPart::Jwt(_), Proof::Verified(_))) {
            values.retain(|value| !value.trim().is_empty());
        }
        if values.iter().any(|value| is_undecodable(value)) {
            return Err(Undecodable::Named(part.clone()));
        }
        is_present |= !values.is_empty();
        digest = list(digest, &values);
    }
    if is_present {
        return Ok(digest.half());
    }
    // Every other piece counts, whether it is a pair or not.
    let mut all: Vec<&str> = cookie_header.split([';', ',']).map(str::trim).collect();
    all.retain(|cookie| !cookie.is_empty() && !changes_by_itself(cookie));
    if all.iter().any(|cookie| is_undecodable(cookie)) {
        return Err(Undecodable::Cookie);
    }
    all.sort_unstable();
    Ok(list(Parts::of("cookie"), &all).half())
}

fn authorization(header: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    header("authorization").map(|value| compared("authorization", value))
}

/// Whether a pair is a cookie that says nothing of who calls and changes between two tries by itself: those of
/// Cloudflare (developers.cloudflare.com, fundamentals/reference/policies-compliances/cloudflare-cookies), Google
/// Analytics and Ads, and Meta. Only these, by their exact names: a session must never be left out.
fn changes_by_itself(cookie: &str) -> bool {
    const NAMES: [&str; 13] = [
        "__cf_bm",
        "__cflb",
        "__cfruid",
        "_cfuvid",
        "cf_clearance",
        "_ga",
        "_gid",
        "_gat",
        "_gcl_au",
        "_gcl_aw",
        "_gcl_dc",
        "_fbp",
        "_fbc",
    ];
    const BEGINNINGS: [&str; 4] = ["cf_chl_", "__cfwaitingroom", "_gat_gtag_", "_gat_UA-"];
    let Some((name, _)) = cookie.split_once('=') else { return false };
    let name = name.trim();
    let is_measurement_id = |id: &str| {
        !id.is_empty() && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    NAMES.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || name.strip_prefix("_ga_").is_some_and(is_measurement_id)
}

/// The pairs of a Cookie header. Cookies may arrive joined by `;` or, from several header lines, by `,`. A piece
/// without `=` after a comma is added to the value before it, which held the comma: a wrong split may make one credential
/// two, but never two credentials one. After a semicolon, which no value can hold (RFC 6265 section 4.1.1), it is a cookie
/// without a name.
#[must_use]
pub fn cookies(header: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for cookie in header.split(';') {
        let mut is_first = true;
        for piece in cookie.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
            match (piece.split_once('='), pairs.last_mut()) {
                (Some((name, value)), _) => {
                    pairs.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                (None, Some((_, value))) if !is_first => {
                    value.push(',');
                    value.push_str(piece);
                }
                (None, _) => continue,
            }
            is_first = false;
        }
    }
    pairs
}

fn list(parts: Parts, values: &[&str]) -> Parts {
    let parts = parts.part(values.len().to_string());
    values.iter().fold(parts, Parts::part)
}
