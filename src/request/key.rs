//! The key, from the header to the record: header → [`Key`], key and scope → [`KeyId`], key id → shard.
//!
//! A key may be spelled in two ways: as the structured-field string of the IETF draft (`"8e03978e"`), and bare, as
//! Stripe's clients send it (`8e03978e`). Both are the same key. A value that could be read in two ways is refused.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use sfv::BareItemFromInput;
use sfv::visitor::{Ignored, ItemVisitor, ParameterVisitor};

use crate::lifecycle::lease::{Execution, KeySpelling};
use crate::request::digest::{Parts, first_half, hex, sha256};

/// What the client sent to name an operation, unescaped: 1 to 255 ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

/// Why a value is not a key: a sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInvalid(pub &'static str);

impl Key {
    /// Parses the value of an Idempotency-Key header.
    ///
    /// A quoted value must be an Item that is a string (RFC 8941 section 3.3.3,
    /// draft-ietf-httpapi-idempotency-key-header section 2.1); its parameters are ignored. A bare value may hold
    /// visible ASCII without `"`, `,`, `;` and `\`. Two header lines arrive joined by a comma, which neither
    /// spelling allows.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn parse(field: &str) -> Result<Self, KeyInvalid> {
        let field = field.trim_matches([' ', '\t']);
        let text = if field.starts_with('"') { quoted(field)? } else { bare(field)? };
        Self::of_length(text)
    }

    /// Takes a value from any other source: 1 to 255 visible ASCII characters.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn plain(value: String) -> Result<Self, KeyInvalid> {
        if value.bytes().all(|b| b.is_ascii_graphic()) {
            return Self::of_length(value);
        }
        Err(KeyInvalid("the key holds a space, a control character or one that is not ASCII"))
    }

    /// Takes a key as an operator writes it: unescaped and without quotes. `None` if it cannot be a key.
    #[must_use]
    pub fn stored(text: &str) -> Option<Self> {
        let is_key = text.bytes().all(|b| (b' '..=b'~').contains(&b));
        is_key.then(|| Self::of_length(text.to_owned()).ok()).flatten()
    }

    fn of_length(text: String) -> Result<Self, KeyInvalid> {
        match text.len() {
            0 => Err(KeyInvalid(
                "the key is empty, and a client that has no key leaves the header or field out",
            )),
            1..=KEY_CHARS_MAX => Ok(Self(text)),
            _ => Err(KeyInvalid("the key is longer than 255 characters")),
        }
    }

    /// The key as a header value.
    #[must_use]
    pub fn spelled(&self, spelling: KeySpelling) -> String {
        match spelling {
            KeySpelling::Bare => self.0.clone(),
            KeySpelling::Quoted => {
                format!("\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
    }

    /// The unescaped key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn quoted(field: &str) -> Result<String, KeyInvalid> {
    let mut text = None;
    let read = sfv::Parser::new(field).parse_item_with_visitor(StringItem(&mut text));
    read.ok().and(text).ok_or(KeyInvalid(
        "the key starts with a quote but is not one structured-field string (RFC 8941)",
    ))
}

/// Keeps the string of an Item. The parser reads the parameters, which are then ignored.
struct StringItem<'t>(&'t mut Option<String>);

impl<'de> ItemVisitor<'de> for StringItem<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        *self.0 = item.as_string().map(|string| string.as_str().to_owned());
        Ok(Ignored)
    }
}

// A structured-field parser would take a bare UUID that starts with a digit for a number.
fn bare(field: &str) -> Result<String, KeyInvalid> {
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | ',' | ';' | '\\');
    if field.chars().all(allowed) {
        return Ok(field.to_owned());
    }
    Err(KeyInvalid(if field.contains(',') {
        "the key holds a comma, or the header was sent more than once"
    } else {
        "an unquoted key holds only visible ASCII characters without quotes, commas, semicolons and backslashes"
    }))
}

/// Names a record: the first 16 bytes of SHA-256 of the key, then the first 16 bytes of SHA-256 of the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(pub [u8; 32]);

impl KeyId {
    /// The record of a key in a scope.
    #[must_use]
    pub fn new(key: &Key, scope: [u8; 16]) -> Self {
        Self::of_halves(first_half(sha256(key.as_str().as_bytes())), scope)
    }

    /// The record of these digests of a key and of a scope.
    #[must_use]
    pub fn of_halves(key: [u8; 16], scope: [u8; 16]) -> Self {
        let mut id = [0; 32];
        for (to, from) in id.iter_mut().zip(key.into_iter().chain(scope)) {
            *to = from;
        }
        Self(id)
    }

    /// The half that comes from the key. It alone chooses the shard, so the records of one key in all scopes are
    /// in one shard.
    #[must_use]
    pub fn key_half(&self) -> [u8; 16] {
        first_half(self.0)
    }

    /// Which of `shards` Ledger objects holds the record. Changing this makes stored records unreachable. Zero
    /// shards count as one.
    #[must_use]
    pub fn shard(&self, shards: u16) -> u16 {
        let wide = self.0.iter().take(8).fold(0_u64, |wide, byte| wide << 8 | u64::from(*byte));
        u16::try_from(wide % u64::from(shards.max(1))).unwrap_or(0)
    }

    /// The correlation id of every try of this operation, where the client sent none and there is no secret to make one
    /// under. The log and the origin see it, so nothing of the scope is in it: whoever knows the key could try passwords against it.
    #[must_use]
    pub fn correlation_id(&self, route: &str) -> String {
        hex(&Parts::of("correlation").part(self.key_half()).part(route).half())
    }
}

/// The key that the origin gets instead of the client's (`forward_key = "derived"`): the same on every attempt of
/// one execution, another one for each execution and route.
#[must_use]
pub fn derived(run: Execution, route: &str) -> String {
    hex(&Parts::of("forwarded key").part(run.id.0).part(route).half())
}

/// Length of a key in characters (and bytes), as Stripe and most payment APIs have it.
pub const KEY_CHARS_MAX: usize = 255;
