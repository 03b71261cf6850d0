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
