//! What a rule asks of an answer's body or header: `{ body = "/approved", is = false }`, `{ header = "X-Maintenance",
//! present = true }`.

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::request::json::Pointer;

/// A condition on one member of the body, or on one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    place: Place,
    /// The value that is asked for; none where it is enough that there is one.
    is: Option<Value>,
}

/// Where the value is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Body(Pointer),
    /// In lower case.
    Header(String),
}

/// The body of an answer, as far as conditions can look into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Its text, decoded.
    Text(&'a str),
    /// It is coded in a way that is not decoded, too large, streamed, or no text.
    Unreadable,
    /// Nobody has looked: conditions on it do not fit.
    NotRead,
}

/// A body that conditions ask for cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Condition {
    /// Whether it asks for the body.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        matches!(self.place, Place::Body(_))
    }

    /// Whether an answer fits. A member that is null counts as absent: servers write `"errors": null` where there are
    /// none.
    ///
    /// # Errors
    /// It asks for a body that cannot be read, or is no JSON, or has the member twice.
    pub fn fits(
        &self,
        header: impl Fn(&str) -> Option<String>,
        body: Body<'_>,
    ) -> Result<bool, Unreadable> {
        match (&self.place, body) {
            (Place::Header(name), _) => {
                let value = header(name);
                Ok(match (&self.is, value) {
                    (_, None) => false,
                    (None, Some(_)) => true,
                    (Some(is), Some(value)) => is.as_str() == Some(value.trim()),
                })
            }
            (Place::Body(pointer), Body::Text(text)) => {
                let value = pointer.value(text).map_err(|_| Unreadable)?;
                Ok(match (&self.is, value) {
                    (_, None | Some("null")) => false,
                    (None, Some(_)) => true,
                    (Some(is), Some(value)) => is_same(is, value),
                })
            }
            (Place::Body(_), Body::Unreadable) => Err(Unreadable),
            (Place::Body(_), Body::NotRead) => Ok(false),
        }
    }

    /// Reads the parts of a condition.
    ///
    /// # Errors
    /// What they must be.
    pub fn new(
        body: Option<Pointer>,
        header: Option<String>,
        is: Option<Value>,
        present: Option<bool>,
    ) -> Result<Self, &'static str> {
        let place = match (body, header) {
            (Some(pointer), None) => Place::Body(pointer),
            (None, Some(name)) if is_name(&name) => Place::Header(name.to_ascii_lowercase()),
            (None, Some(_)) => return Err("must have the name of a header as header"),
            (Some(_), Some(_)) | (None, None) => return Err("must have either body or header"),
        };
        let is_scalar =
            |value: &Value| value.is_string() || value.is_boolean() || value.is_number();
        match (&place, &is, present) {
            (_, None, Some(true)) => {}
            (_, None, Some(false)) => return Err("must have present = true, or is with a value"),
            (_, Some(_), Some(_)) | (_, None, None) => {
                return Err("must have either is or present = true");
            }
            (Place::Header(_), Some(value), None) if !value.is_string() => {
                return Err("must have a text as is, since headers are texts");
            }
            (_, Some(value), None) if !is_scalar(value) => {
                return Err("must have a text, a number, true or false as is");
            }
            (_, Some(_), None) => {}
        }
        Ok(Self { place, is })
    }

    /// Its members, for a document.
    pub(crate) fn write<M: serde::ser::SerializeMap>(&self, to: &mut M) -> Result<(), M::Error> {
        match &self.place {
            Place::Body(pointer) => to.serialize_entry("body", pointer)?,
            Place::Header(name) => to.serialize_entry("header", name)?,
        }
        match &self.is {
            Some(value) => to.serialize_entry("is", value),
            None => to.serialize_entry("present", &true),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    body: Option<Pointer>,
    header: Option<String>,
    is: Option<Value>,
    present: Option<bool>,
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let written = Written::deserialize(value);
        let Written { body, header, is, present } = written.map_err(|why| {
            let table = r#"must be a table such as { body = "/code", is = "not_found" }"#;
            D::Error::custom(format!("{table}: {why}").replace(", expected ", ", which must be "))
        })?;
        Self::new(body, header, is, present).map_err(D::Error::custom)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut members = to.serialize_map(None)?;
        self.write(&mut members)?;
        members.end()
    }
}

/// Numbers are the same where their values are: `1` and `1.0`.
fn is_same(is: &Value, json: &str) -> bool {
    // Only scalars are asked for; no tree is made of anything else.
    if json.starts_with(['{', '[']) {
        return false;
    }
    let Ok(value) = serde_json::from_str::<Value>(json) else { return false };
    let as_floats = || Some(is.as_f64()? - value.as_f64()?);
    let both_integers = is.as_i64().is_some() && value.as_i64().is_some();
    *is == value || !both_integers && as_floats() == Some(0.0)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// How a body is coded that conditions are to look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Plain,
    /// `gzip`.
    Gzip,
    /// `deflate`, which is zlib (RFC 9110 section 8.4.1.2).
    Deflate,
    /// In another way.
    Other,
}

impl Coding {
    /// Reads Content-Encoding.
    #[must_use]
    pub fn of(content_encoding: Option<&str>) -> Self {
        let coding = content_encoding.unwrap_or_default().trim().to_ascii_lowercase();
        match coding.as_str() {
            "" | "identity" => Self::Plain,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            _ => Self::Other,
        }
    }
}

/// The Accept-Encoding of a request whose answer conditions look into: gzip, which is decoded here. Whether the client
/// can decode it was the client's to say: no header at all takes any coding (RFC 9110 section 12.5.3).
#[must_use]
pub fn accepted(by_client: Option<&str>) -> &'static str {
    let Some(list) = by_client else { return "gzip" };
    let takes_gzip = list.split(',').any(|item| {
        let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
        let is_zero = weight.split_once('=').is_some_and(|(_, weight)| {
            weight.trim().parse::<f32>().is_ok_and(|weight| weight == 0.0)
        });
        matches!(coding.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip" | "*") && !is_zero
    });
    if takes_gzip { "gzip" } else { "identity" }
}

/// So much of a body is looked into, decoded. More counts as unreadable, so that a few bytes that decode to gigabytes
/// cost nothing.
pub const DECODED_MAX: u32 = 1024 * 1024;
