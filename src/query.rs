//! Queries and forms (WHATWG URL, application/x-www-form-urlencoded).

use std::fmt::Write as _;

/// The pairs of a query or form, decoded; what is not UTF-8 is replaced.
#[must_use]
pub fn pairs(text: &[u8]) -> Pairs<'_> {
    Pairs(text)
}

/// Name and value, one pair after the other.
#[derive(Clone, Debug)]
pub struct Pairs<'a>(&'a [u8]);

impl Iterator for Pairs<'_> {
    type Item = (String, String);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let (pair, rest) = split(self.0, b'&');
            self.0 = rest;
            if !pair.is_empty() {
                let (name, value) = split(pair, b'=');
                return Some((decoded(name), decoded(value)));
            }
        }
        None
    }
}

fn split(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    let place = text.iter().position(|byte| *byte == at).unwrap_or(text.len());
    let (before, rest) = text.split_at_checked(place).unwrap_or((text, &[]));
    (before, rest.get(1..).unwrap_or_default())
}

fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high * 16 + low);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
        }
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A name or a value, encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
