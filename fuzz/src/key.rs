//! The value of an Idempotency-Key header, beside a reading of RFC 8941 that is spelled out here.

use std::iter::Peekable;
use std::str::Chars;

use oncegate::lifecycle::record::KeySpelling;
use oncegate::request::key::Key;

/// Any text, as the runtime hands a header's value over.
pub fn check(data: &[u8]) {
    let Ok(field) = str::from_utf8(data) else { return };
    let parsed = Key::parse(field).ok();
    let trimmed = field.trim_matches([' ', '\t']);
    match expected(trimmed) {
        Expected::Key(text) => assert_eq!(parsed.as_ref().map(Key::as_str), Some(text.as_str())),
        Expected::Nothing => assert_eq!(parsed, None, "{field:?}"),
        // What follows the string are parameters or nothing sound.
        Expected::Perhaps(text) => {
            assert!(parsed.as_ref().is_none_or(|key| key.as_str() == text), "{field:?}");
        }
    }
    if let Some(key) = parsed {
        holds(&key);
        let joined = format!("{field}, {field}");
        assert!(Key::parse(&joined).is_err(), "two header lines: {joined:?}");
    }
    let plain = Key::plain(field.to_owned());
    let graphic = field.bytes().all(|b| b.is_ascii_graphic());
    assert_eq!(plain.is_ok(), graphic && (1..=255).contains(&field.len()), "{field:?}");
    if let Ok(key) = plain {
        assert_eq!(key.as_str(), field);
        holds(&key);
    }
}

/// Both spellings of a key are that key.
fn holds(key: &Key) {
    let text = key.as_str();
    assert!((1..=255).contains(&text.len()));
    assert!(text.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    let quoted = key.spelled(KeySpelling::Quoted);
    assert_eq!(Key::parse(&quoted).as_ref(), Ok(key));
    assert_eq!(Key::parse(&format!(" \t{quoted};a=1;b=\"\\\"\" ")).as_ref(), Ok(key));
    if text.bytes().all(is_bare) {
        assert_eq!(Key::parse(&key.spelled(KeySpelling::Bare)).as_ref(), Ok(key));
    }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

enum Expected {
    Key(String),
    Nothing,
    Perhaps(String),
}

fn expected(field: &str) -> Expected {
    let (text, rest) = match field.strip_prefix('"') {
        None if field.bytes().all(is_bare) => (field.to_owned(), ""),
        None => return Expected::Nothing,
        Some(after) => {
            let mut chars = after.chars().peekable();
            let Some(text) = string(&mut chars) else { return Expected::Nothing };
            (text, after.split_at(after.len() - chars.map(char::len_utf8).sum::<usize>()).1)
        }
    };
    match (text.len(), rest.starts_with(';'), rest.is_empty()) {
        (1..=255, _, true) => Expected::Key(text),
        (1..=255, true, _) => Expected::Perhaps(text),
        _ => Expected::Nothing,
    }
}

/// RFC 8941 section 4.2.5, after the opening quote.
fn string(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\\' => text.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            '"' => return Some(text),
            c @ ' '..='~' => text.push(c),
            _ => return None,
        }
    }
}
