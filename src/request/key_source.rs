//! Where a key is taken from: `header:NAME`, `query:NAME`, `body:/json/pointer`, `form:NAME`, or a template of these such
//! as `template:pay-{header:X-Shop}-{body:/order/id}`; or the two headers of OASIS Repeatable Requests, `repeatability`.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize, Serializer};

use crate::request::header::{header_name, media_type};
use crate::request::json::{DuplicateMember, Pointer, is_json};
use crate::request::repeatability::{REQUEST_ID, Repeatable};

/// One source of a key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Source {
    /// A header, by lower-case name.
    Header(String),
    /// A query parameter, by its decoded name.
    Query(String),
    /// A member of a JSON body.
    Body(Pointer),
    /// A field of an `application/x-www-form-urlencoded` body, by its decoded name.
    Form(String),
    /// Literals with sources between them.
    Template(Vec<Piece>),
    /// The headers of OASIS Repeatable Requests.
    Repeatability,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that is taken as it is.
    Literal(String),
    /// The value of a source. In it, `%` and these characters are percent-encoded: the characters of the literals
    /// between two sources, so that no two sets of values give one key.
    Place(Source, String),
}

/// What a source yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A value.
    Found(String),
    /// The request has no such value.
    Missing,
    /// The request has a value that cannot be used. Why: the end of a sentence.
    Invalid(&'static str),
    /// The body must be read first.
    NeedsBody,
}

/// The parts of a request that a source may name.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// Looks a header up by lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// The raw query.
    pub query: Option<&'a str>,
    /// The body, once it has been read.
    pub body: Option<&'a [u8]>,
}

impl Source {
    /// Parses a source. The error completes the sentence "is X, but must …".
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == REPEATABILITY {
            return Ok(Self::Repeatability);
        }
        let (kind, rest) = text.split_once(':').ok_or(KINDS)?;
        match kind {
            "header" => header_name(rest)
                .map(Self::Header)
                .ok_or_else(|| format!("name a header, not \"{rest}\"")),
            "query" if !rest.is_empty() => Ok(Self::Query(rest.to_owned())),
            "form" if !rest.is_empty() => Ok(Self::Form(rest.to_owned())),
            "body" => Pointer::parse(rest).map(Self::Body).ok_or_else(|| {
                format!("be a JSON pointer such as body:/order/id (RFC 6901), not \"{rest}\"")
            }),
            "template" => template(rest).map(Self::Template),
            _ => Err(KINDS.to_owned()),
        }
    }

    /// The value that a request has for this source.
    #[must_use]
    pub fn value(&self, parts: Parts<'_>) -> Value {
        match self {
            Self::Header(name) => (parts.header)(name).map_or(Value::Missing, Value::Found),
            Self::Query(name) => field(parts.query.unwrap_or_default().as_bytes(), name),
            Self::Body(pointer) => match parts.body {
                None => Value::NeedsBody,
                Some(body) => match pointer.text(body) {
                    Ok(text) => text.map_or(Value::Missing, Value::Found),
                    Err(DuplicateMember) => Value::Invalid(TWICE),
                },
            },
            Self::Form(_) if !parts.is_form() => Value::Missing,
            Self::Form(name) => parts.body.map_or(Value::NeedsBody, |body| field(body, name)),
            Self::Template(pieces) => filled(pieces, parts),
            Self::Repeatability => match Repeatable::read(parts.header) {
                None => Value::Missing,
                Some(Ok(repeatable)) => Value::Found(repeatable.request_id),
                Some(Err(why)) => Value::Invalid(why),
            },
        }
    }

    /// Whether the body is looked at for it.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        match self {
            Self::Header(_) | Self::Query(_) | Self::Repeatability => false,
            Self::Body(_) | Self::Form(_) => true,
            Self::Template(pieces) => pieces
                .iter()
                .any(|piece| matches!(piece, Piece::Place(source, _) if source.is_in_body())),
        }
    }

    /// Why the body says nothing about this source, where it must be read for it. `None` where it can be read, and where
    /// there is no body: then the value is missing, and nothing else is wrong.
    #[must_use]
    pub fn unreadable(&self, parts: Parts<'_>) -> Option<String> {
        match self {
            Self::Header(_) | Self::Query(_) | Self::Repeatability => None,
            Self::Form(_) if !parts.is_form() => {
                // An empty form needs no Content-Type.
                let has_body =
                    parts.body.map_or_else(|| parts.declares_body(), |body| !body.is_empty());
                has_body.then(|| format!("it is {}, and not {FORM}", parts.named_type()))
            }
            Self::Form(_) => {
                parts.coding().filter(|_| parts.body.is_some_and(|body| !body.is_empty()))
            }
            Self::Body(_) => {
                let body = parts.body.filter(|body| !body.is_empty() && !is_json(body))?;
                Some(parts.coding().or_else(|| parts.charset()).unwrap_or_else(|| {
                    let why = if str::from_utf8(body).is_ok() { "JSON" } else { "UTF-8" };
                    format!("it is not {why}")
                }))
            }
            Self::Template(pieces) => pieces.iter().find_map(|piece| match piece {
                Piece::Place(source, _) => source.unreadable(parts),
                Piece::Literal(_) => None,
            }),
        }
    }

    /// The name of the header that has the key, if the source is one.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name) => Some(name),
            Self::Repeatability => Some(REQUEST_ID),
            Self::Query(_) | Self::Body(_) | Self::Form(_) | Self::Template(_) => None,
        }
    }
}

impl Parts<'_> {
    fn is_form(self) -> bool {
        (self.header)("content-type").is_some_and(|value| media_type(&value) == FORM)
    }

    /// Whether the head of the request announces a body (RFC 9112 section 6.3).
    fn declares_body(self) -> bool {
        let length = (self.header)("content-length");
        (self.header)("transfer-encoding").is_some()
            || length.is_some_and(|length| length.trim() != "0")
    }

    fn named_type(self) -> String {
        let named = (self.header)("content-type").map(|value| media_type(&value));
        named.filter(|name| !name.is_empty()).unwrap_or_else(|| "of no named type".to_owned())
    }

    /// Says that a Content-Encoding hides the text of the body (RFC 9110 section 8.4).
    fn coding(self) -> Option<String> {
        let coding = (self.header)("content-encoding")?;
        let is_coded = !matches!(coding.trim().to_ascii_lowercase().as_str(), "" | "identity");
        is_coded.then(|| format!("it is coded (Content-Encoding: {})", shown(&coding)))
    }

    /// Says that the body is in another charset than UTF-8, which JSON always has between systems (RFC 8259 section 8.1).
    fn charset(self) -> Option<String> {
        let content_type = (self.header)("content-type")?;
        let charset = content_type.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        })?;
        let is_other =
            !["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known));
        is_other.then(|| format!("its charset is {}, and not UTF-8", shown(charset)))
    }
}

/// The beginning of a value that a client sent, for a sentence.
fn shown(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(40).collect()
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).map_err(|why| format!("must {why}"))
    }
}

/// As [`Source::parse`] reads it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Body(pointer) => write!(f, "body:{pointer}"),
            Self::Form(name) => write!(f, "form:{name}"),
            Self::Repeatability => f.write_str(REPEATABILITY),
            Self::Template(pieces) => {
                f.write_str("template:")?;
                pieces.iter().try_for_each(|piece| match piece {
                    Piece::Literal(literal) => f.write_str(literal),
                    Piece::Place(place, _) => write!(f, "{{{place}}}"),
                })
            }
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The field of that name of a query or a form, decoded once.
fn field(text: &[u8], name: &str) -> Value {
    let mut found = Value::Missing;
    for (known, value) in form_urlencoded::parse(text) {
        if known == name {
            found = match found {
                Value::Missing => Value::Found(value.into_owned()),
                _ => return Value::Invalid(TWICE),
            };
        }
    }
    found
}

fn filled(pieces: &[Piece], parts: Parts<'_>) -> Value {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Place(source, encoded) => match source.value(parts) {
                Value::Found(value) => push_encoded(&mut text, &value, encoded),
                other => return other,
            },
        }
    }
    Value::Found(text)
}

/// Percent-encodes `%` and the characters of the literals. No character of a literal is left in a value, so the
/// values can be told apart again.
fn push_encoded(text: &mut String, value: &str, encoded: &str) {
    for c in value.chars() {
        if c == '%' || encoded.contains(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
}

fn template(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (place, tail) = after.split_once('}').ok_or("close every { with a }")?;
        match Source::parse(place)? {
            Source::Template(_) => return Err("not nest templates".to_owned()),
            Source::Repeatability => {
                return Err("not hold repeatability, which has a key of its own".to_owned());
            }
            source => {
                if literal.is_empty() && !pieces.is_empty() {
                    return Err("have a literal between two places, or two sets of values would give one key".to_owned());
                }
                if literal.contains('%') && !pieces.is_empty() {
                    return Err(
                        "have no % between two places: it begins an encoded character".to_owned()
                    );
                }
                push_literal(&mut pieces, literal);
                pieces.push(Piece::Place(source, String::new()));
            }
        }
        rest = tail;
    }
    push_literal(&mut pieces, rest);
    let places = pieces.iter().filter(|piece| matches!(piece, Piece::Place(..))).count();
    if places == 0 {
        return Err(
            "hold a place such as {header:X-Shop}: else all requests have one key".to_owned()
        );
    }
    Ok(with_encoded(pieces))
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &str) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.to_owned()));
    }
}

fn with_encoded(mut pieces: Vec<Piece>) -> Vec<Piece> {
    let last = pieces.len().saturating_sub(1);
    let mut between = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        if let (Piece::Literal(literal), true) = (piece, at > 0 && at < last) {
            between.push_str(literal);
        }
    }
    for piece in &mut pieces {
        if let Piece::Place(_, encoded) = piece {
            encoded.clone_from(&between);
        }
    }
    pieces
}

const KINDS: &str =
    "be header:NAME, query:NAME, body:/json/pointer, form:NAME, template:TEXT or repeatability";
const REPEATABILITY: &str = "repeatability";
const TWICE: &str = "it is there more than once";
/// What HTML forms and OAuth clients send (URL standard, section 5).
const FORM: &str = "application/x-www-form-urlencoded";
