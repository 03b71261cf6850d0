//! Texts with places that a schedule's slot or a queue's message fills: `nightly-{scheduled_time:date}`,
//! `/jobs/{body:/kind}`. Braces that begin no place are text, as in a JSON body.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::request::json::Pointer;
use crate::time::{Timestamp, rfc3339};

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Place(Place),
}

/// What fills a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The instant at which a schedule was to fire, in this form.
    ScheduledTime(TimeForm),
    /// The id of a queue's message.
    MessageId,
    /// A member of a message's JSON body.
    Body(Pointer),
}

/// How an instant is written, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// `2026-11-28`.
    Date,
    /// `2026-11-28T06:45`.
    Minute,
    /// `2026-11-28T06:45:00Z` (RFC 3339).
    Iso,
    /// `1795848300`: seconds since 1970.
    Unix,
}

/// For what a text is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// In an address: what fills a place is percent-encoded, so that it stays within its segment.
    Address,
    /// Anywhere else.
    Text,
}

impl Template {
    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The places in it.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Place(place) => Some(place),
            Piece::Literal(_) => None,
        })
    }

    /// The text with its places filled; `None` where a place has nothing to fill it.
    #[must_use]
    pub fn filled(&self, used: Use, value: &dyn Fn(&Place) -> Option<String>) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.pieces {
            match (piece, used) {
                (Piece::Literal(text), _) => filled.push_str(text),
                (Piece::Place(place), Use::Text) => filled.push_str(&value(place)?),
                (Piece::Place(place), Use::Address) => encode(&value(place)?, &mut filled),
            }
        }
        Some(filled)
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text.as_str());
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            let place = PLACES.iter().any(|name| after.starts_with(name));
            match after.split_once('}') {
                Some((inside, behind)) if place => {
                    let place = Place::parse(inside).ok_or_else(|| {
                        format!("must have {{scheduled_time:date}}, :minute, :iso or :unix, {{message-id}} or {{body:/pointer}}, not {{{inside}}}")
                    })?;
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(Piece::Place(place));
                    rest = behind;
                }
                _ => {
                    literal.push('{');
                    rest = after;
                }
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        Ok(Self { text, pieces })
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "message-id" => Some(Self::MessageId),
            Some(("scheduled_time", form)) => TimeForm::parse(form).map(Self::ScheduledTime),
            Some(("body", pointer)) => Pointer::parse(pointer).map(Self::Body),
            _ => None,
        }
    }
}

impl TimeForm {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "date" => Some(Self::Date),
            "minute" => Some(Self::Minute),
            "iso" => Some(Self::Iso),
            "unix" => Some(Self::Unix),
            _ => None,
        }
    }

    /// An instant in this form.
    #[must_use]
    pub fn of(self, at: Timestamp) -> String {
        // 2026-11-28T06:45:00.000Z
        let text = rfc3339(at);
        let first = |characters: usize| text.get(..characters).unwrap_or(&text).to_owned();
        match self {
            Self::Date => first("2026-11-28".len()),
            Self::Minute => first("2026-11-28T06:45".len()),
            Self::Iso => first("2026-11-28T06:45:00".len()) + "Z",
            Self::Unix => (at.0 / 1000).to_string(),
        }
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 section 2.3).
fn encode(value: &str, to: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}

const PLACES: [&str; 3] = ["scheduled_time", "message-id", "body:"];
