//! JSON bodies: members that a pointer names (RFC 6901), and the canonical form (RFC 8785).
//!
//! Two readers may read one text differently: duplicate members (which one counts?), numbers that no
//! double holds, lone surrogates. Where that can happen this file says `None` rather than guess, and
//! its callers fall back to the raw bytes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// A JSON pointer (RFC 6901), taken apart and unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Parses `/a/b~1c`; `None` if it is no pointer, or the empty one (which names the whole body).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let tokens = text.strip_prefix('/')?.split('/').map(unescaped);
        tokens.collect::<Option<_>>().map(Self)
    }

    /// The text of a string member, or of an integer as it is written; none for anything else, and for a
    /// body that is not JSON. Nothing of the body but what lies on the way is kept.
    ///
    /// # Errors
    /// A member on the way is there twice.
    pub fn text(&self, json: &[u8]) -> Result<Option<String>, Twice> {
        let Ok(mut at) = serde_json::from_slice::<&RawValue>(json) else { return Ok(None) };
        for token in &self.0 {
            let found = match at.get().as_bytes().first() {
                Some(b'{') => member(at.get(), token)?,
                Some(b'[') => index(token).and_then(|index| item(at.get(), index)),
                Some(_) | None => None,
            };
            let Some(found) = found else { return Ok(None) };
            at = found;
        }
        let digits = at.get().strip_prefix('-').unwrap_or(at.get());
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Some(at.get().to_owned()));
        }
        Ok(serde_json::from_str(at.get()).ok())
    }

    fn escaped(token: &str) -> String {
        token.replace('~', "~0").replace('/', "~1")
    }

    fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |value, token| match value {
            Value::Object(members) => members.get(token),
            Value::Array(items) => items.get(index(token)?),
            _ => None,
        })
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
    serde_json_canonicalizer::to_vec(&strict(json)?).ok()
}

/// The canonical bytes of what each pointer names (`None` where it names nothing); `None` altogether
/// where the body is not JSON or not safely canonical.
#[must_use]
pub fn selected(json: &[u8], pointers: &[Pointer]) -> Option<Vec<Option<Vec<u8>>>> {
    let body = strict(json)?;
    pointers
        .iter()
        .map(|pointer| match pointer.find(&body) {
            None => Some(None),
            Some(value) => serde_json_canonicalizer::to_vec(value).ok().map(Some),
        })
        .collect()
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

fn strict(json: &[u8]) -> Option<Value> {
    is_safe(json).then(|| serde_json::from_slice::<Strict>(json).ok())?.map(|strict| strict.0)
}

/// Whether every number means the same to every reader (an integer up to 2^53, or a decimal of at most 15
/// significant digits: IEEE 754 carries those), and the values are not too many to hold.
fn is_safe(json: &[u8]) -> bool {
    let mut cost = json.len();
    let mut rest = json.iter().copied().peekable();
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
            b',' | b'[' => cost += VALUE_BYTES,
            _ => {}
        }
    }
    cost <= COST_BYTES_MAX
}

fn is_safe_number(text: &str) -> bool {
    if let Ok(integer) = text.parse::<i64>() {
        return integer.unsigned_abs() <= INTEGER_MAX;
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0');
    let zero = mantissa.bytes().all(|b| !matches!(b, b'1'..=b'9'));
    digits.count() <= 15
        && text.parse::<f64>().is_ok_and(|value| zero || (1e-300..1e300).contains(&value.abs()))
}

/// A member that a pointer names is there more than once, and nothing says which one is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice;

/// The one member of that name, unread.
fn member<'a>(object: &'a str, name: &str) -> Result<Option<&'a RawValue>, Twice> {
    struct Named<'n>(&'n str);
    impl<'de> Visitor<'de> for Named<'_> {
        type Value = Result<Option<&'de RawValue>, Twice>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut found, mut count) = (None, 0);
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                if name == self.0 {
                    found = Some(value);
                    count += 1;
                }
            }
            Ok(if count > 1 { Err(Twice) } else { Ok(found) })
        }
    }
    serde_json::Deserializer::from_str(object).deserialize_map(Named(name)).unwrap_or(Ok(None))
}

/// The item at that index, unread.
fn item(array: &str, index: usize) -> Option<&RawValue> {
    struct At(usize);
    impl<'de> Visitor<'de> for At {
        type Value = Option<&'de RawValue>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let (mut found, mut at) = (None, 0);
            while let Some(value) = seq.next_element::<&RawValue>()? {
                if at == self.0 {
                    found = Some(value);
                }
                at += 1;
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(array).deserialize_seq(At(index)).ok()?
}

/// A value in which no member is there twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

/// What a parsed body may take: Wasm memory never shrinks, and an isolate has 128 MB for everybody. A body
/// that would take more is compared by its raw bytes.
const COST_BYTES_MAX: usize = 40 * 1024 * 1024;
/// The first member of an object brings a tree node of eleven (11 x 56 bytes).
const OBJECT_BYTES: usize = 640;
/// A further member or item, with its share of a growing list.
const VALUE_BYTES: usize = 64;
/// 2^53: up to here every integer is a double.
const INTEGER_MAX: u64 = 1 << 53;
