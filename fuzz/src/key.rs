//! The value of an Idempotency-Key header: whatever it is, it gives one key in each spelling, or none. And the
//! token of a status address, which has one spelling.

use oncegate::lifecycle::record::KeySpelling;
use oncegate::request::key::Key;
use oncegate::request::status_token::StatusToken;

/// Any text, as the runtime hands a header's value over.
pub fn check(data: &[u8]) {
    let Ok(field) = str::from_utf8(data) else { return };
    if let Ok(key) = Key::parse(field) {
        holds(&key);
        let joined = format!("{field}, {field}");
        assert!(Key::parse(&joined).is_err(), "two header lines: {joined:?}");
    }
    // One spelling each: two of one token would be two addresses.
    if let Some(token) = StatusToken::parse(field) {
        assert_eq!(token.to_text(), field);
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
