//! JSON bodies of requests: the member that a pointer names (RFC 6901) and the canonical form (RFC 8785).
//!
//! `serde_json` reads and `serde_json_canonicalizer` writes. This file only decides which bodies may be
//! compared by their canonical form. Two readers may understand one text differently: they may disagree
//! about which of two duplicate members counts, or round a number that no double holds. Such a body has no
//! canonical form here, and the caller compares its raw bytes instead.

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize, Serializer};
use serde_json::Deserializer;
use serde_json::value::RawValue;
use serde_transcode::Transcoder;

/// A JSON pointer (RFC 6901), as its unescaped reference tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer(Vec<String>);

/// A JSON pointer that may be marked with a `?` at its end: what it names may be absent. A member whose own name ends in
/// `?` is named with a second one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MarkedPointer {
    /// What it names.
    pub pointer: Pointer,
    /// Whether a body may be without it.
    pub need: Need,
}

/// A text or an integer of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A string, unescaped.
    Text(String),
    /// An integer, as it is written in the body.
    Integer(String),
}

/// Whether a body must have what a pointer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// It may be without it.
    Optional,
}

/// The body has a member twice that the pointer passes through, and nothing says which one is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateMember;

/// A text in which a pointer can name nothing for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReadable;

impl Pointer {
    /// Parses a pointer such as `/a/b~1c`. The empty pointer, which names the whole body, is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix('/')?.split('/').map(unescaped).collect::<Option<_>>().map(Self)
    }

    /// Whether it ends as a marked pointer does.
    #[must_use]
    pub fn has_mark(&self) -> bool {
        self.0.last().is_some_and(|name| name.ends_with('?'))
    }

    /// The string that the pointer names, or the integer, as it is written in the body. `None` for any
    /// other value, for no value, and for a body that is not JSON.
    ///
    /// # Errors
    /// The body has a member twice that the pointer passes through.
    pub fn text(&self, body: &[u8]) -> Result<Option<String>, DuplicateMember> {
        Ok(self.scalar(body)?.map(|(Scalar::Text(text) | Scalar::Integer(text))| text))
    }

    /// The same, with what it is.
    ///
    /// # Errors
    /// The body has a member twice that the pointer passes through.
    pub fn scalar(&self, body: &[u8]) -> Result<Option<Scalar>, DuplicateMember> {
        let Some(body) = text(body) else { return Ok(None) };
        let Some(value) = self.find(body)? else { return Ok(None) };
        let digits = value.strip_prefix('-').unwrap_or(value);
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Some(Scalar::Integer(value.to_owned())));
        }
        Ok(serde_json::from_str(value).ok().map(Scalar::Text))
    }

    /// The JSON text of the value that the pointer names in a text, which may begin with a byte order mark.
    ///
    /// # Errors
    /// It is no JSON, or has a member twice that the pointer passes through.
    pub fn value<'a>(&self, text: &'a str) -> Result<Option<&'a str>, NotReadable> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        serde_json::from_str::<&RawValue>(text).map_err(|_| NotReadable)?;
        self.find(text).map_err(|DuplicateMember| NotReadable)
    }

    /// Where the member or the item that the pointer names stands in a canonical form.
    fn span(&self, form: &str) -> Result<Option<Range<usize>>, DuplicateMember> {
        let Some(value) = self.find(form)? else { return Ok(None) };
        // `value` is a part of `form`.
        let start = value.as_ptr().addr() - form.as_ptr().addr();
        let is_member = form.as_bytes().get(..start).is_some_and(|before| before.ends_with(b":"));
        // A canonical form has one spelling of each name, and no space beside its colon.
        let name =
            match self.0.last().filter(|_| is_member).map(serde_json_canonicalizer::to_string) {
                None => 0,
                Some(Ok(name)) => name.len() + 1,
                // No text is without a form.
                Some(Err(_)) => return Ok(None),
            };
        Ok(Some(start.saturating_sub(name)..start + value.len()))
    }

    /// The text of the value that the pointer names. Nothing else of the body is kept in memory.
    fn find<'a>(&self, json: &'a str) -> Result<Option<&'a str>, DuplicateMember> {
        // Reads the whole text once: what follows the value may not be JSON.
        let Ok(mut at) = serde_json::from_str::<&RawValue>(json) else { return Ok(None) };
        for token in &self.0 {
            let found = Deserializer::from_str(at.get()).deserialize_any(Step(token));
            match found.unwrap_or(Ok(None))? {
                Some(value) => at = value,
                None => return Ok(None),
            }
        }
        Ok(Some(at.get()))
    }
}

impl TryFrom<String> for Pointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("must be a JSON pointer such as /order/id (RFC 6901)")
    }
}

impl TryFrom<String> for MarkedPointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (pointer, need) = match text.strip_suffix('?') {
            Some(pointer) => (pointer.to_owned(), Need::Optional),
            None => (text, Need::Required),
        };
        Ok(Self { pointer: Pointer::try_from(pointer)?, need })
    }
}

impl Serialize for MarkedPointer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mark = if self.need == Need::Optional { "?" } else { "" };
        to.collect_str(&format_args!("{}{mark}", self.pointer))
    }
}

impl Serialize for Pointer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |token: &String| token.replace('~', "~0").replace('/', "~1");
        self.0.iter().try_for_each(|token| write!(f, "/{}", escaped(token)))
    }
}

/// The canonical form of a body. `None` where the body is not JSON, where two readers may understand it
/// differently, or where reading it would cost too much.
#[must_use]
pub fn canonical(body: &[u8]) -> Option<String> {
    let text = text(body).filter(|text| is_safe(text))?;
    let mut reader = Deserializer::from_str(text);
    // The values go from the reader to the writer one by one: a tree of them (`serde_json::Value`) takes
    // twice the memory, and for an object of half a million members four times the time. The reader refuses
    // lone surrogates and more than 127 levels, the writer refuses an object with a duplicate member.
    let form = serde_json_canonicalizer::to_string(&Transcoder::new(&mut reader)).ok()?;
    reader.end().ok()?;
    Some(form)
}

/// The canonical form of what each pointer names; `None` for a marked pointer that names nothing. `None` as a whole
/// where the body has no canonical form, or where another pointer names nothing.
#[must_use]
pub fn selected(body: &[u8], pointers: &[MarkedPointer]) -> Option<Vec<Option<String>>> {
    let form = canonical(body)?;
    // Within the canonical form of a body, the text of each value is that value's own canonical form.
    let value = |marked: &MarkedPointer| {
        let value = marked.pointer.find(&form).ok()?.map(str::to_owned);
        (value.is_some() || marked.need == Need::Optional).then_some(value)
    };
    pointers.iter().map(value).collect()
}

/// The canonical form of a body without what the pointers name, as if it had never been there. `None` where the body has
/// no canonical form.
#[must_use]
pub fn canonical_without(body: &[u8], pointers: &[Pointer]) -> Option<String> {
    let mut form = canonical(body)?;
    let mut spans: Vec<Range<usize>> = Vec::new();
    for pointer in pointers {
        spans.extend(pointer.span(&form).ok()?);
    }
    // From the end on, so that the spans before stay where they are. What lies within another goes with it.
    spans.sort_by_key(|span| Reverse(span.start));
    let is_within = |inner: &Range<usize>, outer: &Range<usize>| {
        inner != outer && outer.start <= inner.start && inner.end <= outer.end
    };
    spans.dedup();
    let all = spans.clone();
    spans.retain(|span| !all.iter().any(|outer| is_within(span, outer)));
    for Range { start, end } in spans {
        // One of the commas beside it goes too.
        let has_comma = |at: usize| form.as_bytes().get(at) == Some(&b',');
        let span = match start.checked_sub(1).filter(|before| has_comma(*before)) {
            Some(before) => before..end,
            None if has_comma(end) => start..end + 1,
            None => start..end,
        };
        form.replace_range(span, "");
    }
    Some(form)
}

/// Whether a body is JSON, as far as a pointer can be looked up in it.
#[must_use]
pub fn is_json(body: &[u8]) -> bool {
    text(body).is_some_and(|text| serde_json::from_str::<&RawValue>(text).is_ok())
}

/// The text of a body, without the byte order mark that some writers put before it: a reader may ignore it
/// (RFC 8259 section 8.1).
fn text(body: &[u8]) -> Option<&str> {
    let text = str::from_utf8(body).ok()?;
    Some(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The JSON text of a document that Oncegate writes.
#[must_use]
pub fn to_text(document: &impl Serialize) -> String {
    // Writing to memory cannot fail, and all names of members are strings.
    serde_json::to_string(document).unwrap_or_default()
}

/// RFC 6901 section 4: `~1` stands for `/`, `~0` for `~`, and no other `~` may occur.
fn unescaped(token: &str) -> Option<String> {
    let is_sound = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    is_sound.then(|| token.replace("~1", "/").replace("~0", "~"))
}

/// One step of a pointer: keeps the value that this token names in an object or an array.
struct Step<'t>(&'t str);

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Result<Option<&'de RawValue>, DuplicateMember>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut is_duplicate) = (None, false);
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if name == self.0 {
                is_duplicate |= found.replace(value).is_some();
            }
        }
        Ok(if is_duplicate { Err(DuplicateMember) } else { Ok(found) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (wanted, mut found, mut at) = (index(self.0), None, 0);
        while let Some(value) = seq.next_element::<&RawValue>()? {
            if wanted == Some(at) {
                found = Some(value);
            }
            at += 1;
        }
        Ok(Ok(found))
    }
}

/// RFC 6901 section 4: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let is_index = token.bytes().all(|b| b.is_ascii_digit());
    (is_index && (token == "0" || !token.starts_with('0'))).then(|| token.parse().ok())?
}

/// Whether every number of a JSON text means the same to every reader, and the text costs no more than
/// [`COST_BYTES_MAX`]. Says nothing of a text that is not JSON.
fn is_safe(json: &str) -> bool {
    let mut cost = json.len();
    let mut rest = json.bytes().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => loop {
                match rest.next() {
                    Some(b'\\') => drop(rest.next()),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            b'-' | b'0'..=b'9' => {
                let mut number = String::from(char::from(byte));
                while let Some(more) = rest.next_if(|b| b.is_ascii_digit() || b"+-.eE".contains(b))
                {
                    number.push(char::from(more));
                }
                if !is_safe_number(&number) {
                    return false;
                }
            }
            b'{' => cost += OBJECT_BYTES,
            b'[' | b',' => cost += VALUE_BYTES,
            _ => {}
        }
    }
    cost <= COST_BYTES_MAX
}

/// Whether a number is an integer up to 2^53, or a decimal of at most 15 significant digits: a double carries
/// those exactly (IEEE 754). Numbers near the ends of the doubles are refused, since digits are lost there.
fn is_safe_number(number: &str) -> bool {
    if let Ok(integer) = number.parse::<i64>() {
        return integer.unsigned_abs() <= INTEGER_MAX;
    }
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').count();
    let is_in_range = || {
        let value = serde_json::from_str::<f64>(number);
        value.is_ok_and(|value| (1e-300..1e300).contains(&value.abs()))
    };
    digits == 0 || digits <= DIGITS_MAX && is_in_range()
}

/// What it may cost to bring a body into its canonical form. Wasm memory never shrinks, and all requests of
/// an isolate share 128 MB. A body of 560,000 members, which just stays below, was measured to take 63 MiB.
/// The bound decides which bodies are compared by their raw bytes, so a change of it changes fingerprints.
const COST_BYTES_MAX: usize = 40 * 1024 * 1024;
/// The cost of an object with its first member.
const OBJECT_BYTES: usize = 640;
/// The cost of an array, and of each further member or item.
const VALUE_BYTES: usize = 64;
/// 2^53: up to here every integer is a double.
const INTEGER_MAX: u64 = 1 << 53;
/// Significant digits that every double carries.
const DIGITS_MAX: usize = 15;
