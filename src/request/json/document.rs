//! A tree of values and its text, for the configuration and the operators until they are on `serde`.

use std::fmt;

use super::read::{NotJson, Reader};
use super::write;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Flag(bool),
    /// A number, as it is written.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in the order of RFC 8785; made by [`Json::object`].
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text.
    ///
    /// # Errors
    /// Where it stops being JSON. A member that is there twice is none.
    pub fn parse(text: &str) -> Result<Self, NotJson> {
        let mut reader = Reader::new(text);
        reader.whole().ok_or_else(|| reader.place())
    }

    /// An object; `None` if a member is there twice.
    #[must_use]
    pub fn object(mut members: Vec<(String, Self)>) -> Option<Self> {
        // RFC 8785 section 3.2.3: by UTF-16 code units.
        members
            .sort_unstable_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
        let twice = members.windows(2).any(|two| matches!(two, [(a, _), (b, _)] if a == b));
        (!twice).then_some(Self::Object(members))
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The truth, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(*flag) } else { None }
    }

    /// The number, if it is a whole one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Number(number) = self { number.parse().ok() } else { None }
    }

    /// The items, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The members, if it is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// The member of that name, if it is an object and has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn write(&self, to: &mut String) {
        match self {
            Self::Null => to.push_str("null"),
            Self::Flag(flag) => to.push_str(if *flag { "true" } else { "false" }),
            Self::Number(number) => to.push_str(number),
            Self::Text(text) => write::quote(to, text),
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    to.push(if at == 0 { '[' } else { ',' });
                    item.write(to);
                }
                to.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Self::Object(members) => {
                for (at, (name, value)) in members.iter().enumerate() {
                    to.push(if at == 0 { '{' } else { ',' });
                    write::quote(to, name);
                    to.push(':');
                    value.write(to);
                }
                to.push_str(if members.is_empty() { "{}" } else { "}" });
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The members of an object, each value as it is written; later ones of a name after earlier ones.
///
/// # Errors
/// Where the text stops being a JSON object.
pub fn members(text: &str) -> Result<Vec<(String, &str)>, NotJson> {
    let (mut reader, mut members) = (Reader::new(text), Vec::new());
    match reader.members(|name, value| members.push((name, value))) {
        Some(()) => Ok(members),
        None => Err(reader.place()),
    }
}
