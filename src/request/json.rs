//! JSON: texts that come in (RFC 8259), members that a pointer names (RFC 6901), the canonical form (RFC
//! 8785), and documents that go out.
//!
//! Two readers may read one text differently: duplicate members (which one counts?), numbers that no
//! double holds, lone surrogates. Where that can happen this file says `None` rather than guess, and
//! its callers fall back to the raw bytes.

mod number;
mod read;
mod write;

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

pub use read::NotJson;
use read::Reader;
pub use write::{Writer, object};

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

/// A JSON pointer (RFC 6901), taken apart and unescaped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Parses `/a/b~1c`; `None` if it is no pointer, or the empty one (which names the whole body).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        for token in text.strip_prefix('/')?.split('/') {
            tokens.push(unescaped(token)?);
        }
        Some(Self(tokens))
    }

    /// The text of a string member, or of an integer as it is written; none for anything else, and for a
    /// body that is not JSON. Nothing of the body but what lies on the way is kept.
    ///
    /// # Errors
    /// A member on the way is there twice.
    pub fn text(&self, json: &[u8]) -> Result<Option<String>, Twice> {
        let Some(mut at) = std::str::from_utf8(json).ok().and_then(only) else { return Ok(None) };
        for token in &self.0 {
            let found = match at.as_bytes().first() {
                Some(b'{') => member(at, token)?,
                Some(b'[') => index(token).and_then(|index| item(at, index)),
                Some(_) | None => None,
            };
            let Some(found) = found else { return Ok(None) };
            at = found;
        }
        let digits = at.strip_prefix('-').unwrap_or(at);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Some(at.to_owned()));
        }
        Ok(Reader::new(at).string())
    }

    fn escaped(token: &str) -> String {
        token.replace('~', "~0").replace('/', "~1")
    }

    fn find<'v>(&self, value: &'v Json) -> Option<&'v Json> {
        self.0.iter().try_fold(value, |value, token| match value {
            Json::Object(_) => value.get(token),
            Json::List(items) => items.get(index(token)?),
            _ => None,
        })
    }
}

impl TryFrom<String> for Pointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("must be a JSON pointer such as /order/id (RFC 6901)")
    }
}

impl Serialize for Pointer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", Self::escaped(token)))
    }
}

/// The canonical bytes of a body; `None` where it is not JSON or not safely canonical.
#[must_use]
pub fn canonical(json: &[u8]) -> Option<Vec<u8>> {
    strict(json).map(|value| value.text().into_bytes())
}

/// The canonical bytes of what each pointer names (`None` where it names nothing); `None` altogether
/// where the body is not JSON or not safely canonical.
#[must_use]
pub fn selected(json: &[u8], pointers: &[Pointer]) -> Option<Vec<Option<Vec<u8>>>> {
    let body = strict(json)?;
    let mut found = Vec::new();
    for pointer in pointers {
        found.push(pointer.find(&body).map(|value| value.text().into_bytes()));
    }
    Some(found)
}

fn unescaped(token: &str) -> Option<String> {
    let sound = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    sound.then(|| token.replace("~1", "/").replace("~0", "~"))
}

/// RFC 6901 section 4: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with('0');
    (canonical && token.bytes().all(|b| b.is_ascii_digit())).then(|| token.parse().ok())?
}

/// A body that means the same to every reader, its numbers in their canonical form.
fn strict(json: &[u8]) -> Option<Json> {
    Reader::wary(std::str::from_utf8(json).ok()?, number::canonical)?.whole()
}

/// The one value of a text, as it is written.
fn only(text: &str) -> Option<&str> {
    let mut reader = Reader::new(text);
    let value = reader.raw()?;
    reader.end().then_some(value)
}

/// A member that a pointer names is there more than once, and nothing says which one is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice;

/// The one member of that name, as it is written.
fn member<'a>(object: &'a str, name: &str) -> Result<Option<&'a str>, Twice> {
    let (mut found, mut count) = (None, 0);
    let read = Reader::new(object).members(|known, value| {
        if known == name {
            found = Some(value);
            count += 1;
        }
    });
    match (read, count) {
        // A name in it cannot be read.
        (None, _) => Ok(None),
        (Some(()), 2..) => Err(Twice),
        (Some(()), _) => Ok(found),
    }
}

/// The item at that index, as it is written.
fn item(list: &str, index: usize) -> Option<&str> {
    let (mut found, mut at) = (None, 0);
    Reader::new(list).items(|item| {
        if at == index {
            found = Some(item);
        }
        at += 1;
    })?;
    found
}
