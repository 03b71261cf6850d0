//! Headers of a request: their names, and what of a value counts where two are compared.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Header names, for a list among the knobs.
pub(crate) fn header_names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let names: Option<_> = names.iter().map(|name| header_name(name)).collect();
    names.ok_or_else(|| D::Error::custom("must be a list of header names"))
}

/// A header name in lower case; `None` if it is not a token (RFC 9110 section 5.1).
#[must_use]
pub fn header_name(text: &str) -> Option<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (!text.is_empty() && text.bytes().all(token)).then(|| text.to_ascii_lowercase())
}

/// Type and subtype in lower case, without parameters (RFC 9110 section 8.3.1).
#[must_use]
pub fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A header's value as it is compared. The scheme of Authorization counts whatever its case, and one space is after it
/// (RFC 9110 sections 11.1 and 11.4): `bearer t1` and `Bearer  t1` are `bearer t1`. What has no scheme, such as a bare
/// API key, is left as it is.
#[must_use]
pub fn compared(name: &str, value: String) -> String {
    if name != "authorization" {
        return value;
    }
    match value.trim_matches([' ', '\t']).split_once(' ') {
        Some((scheme, rest)) => {
            format!("{} {}", scheme.to_ascii_lowercase(), rest.trim_start_matches(' '))
        }
        None => value,
    }
}

/// Whether a value holds bytes that are not UTF-8. The runtime replaces them by U+FFFD, so two different values may read
/// the same.
#[must_use]
pub fn is_undecodable(value: &str) -> bool {
    value.contains(char::REPLACEMENT_CHARACTER)
}
