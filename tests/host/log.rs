//! `log`: what the log says of a request, to the byte: people write queries over it.

use std::time::Duration;

use oncegate::log::{Entry, LogKey, LogKeys, Times, shadow_line};
use oncegate::request::key::Key;

use crate::make::key_id;

fn log_key() -> Option<LogKey> {
    LogKey::new("0123456789abcdef0123456789abcdef", None).ok()
}

/// A request that was refused.
fn entry() -> Entry<'static> {
    Entry {
        via: None,
        route: Some("charge"),
        method: "POST",
        key: None,
        correlation_id: "c-1",
        traceparent: None,
        shard: None,
        attempt: None,
        outcome: "key-missing",
        status: 400,
        why: Some("no \"key\"\n".to_owned()),
        times: Times {
            total: Duration::from_millis(3),
            ledger: Duration::ZERO,
            origin: Duration::ZERO,
        },
    }
}

#[test]
fn a_log_line_has_these_members_in_this_order() {
    let key = Key::parse("8e03978e").unwrap();
    let ms = Duration::from_millis;
    let refused = entry();
    assert_eq!(
        refused.line(LogKeys::Hashed, log_key().as_ref()),
        concat!(
            r#"{"outcome":"key-missing","status":400,"why":"no \"key\"\n","route":"charge","method":"POST","#,
            r#""key":null,"correlation_id":"c-1","traceparent":null,"shard":null,"attempt":null,"#,
            r#""ms":{"total":3,"ledger":0,"origin":0}}"#,
        )
    );
    let executed = Entry {
        key: Some(&key),
        traceparent: Some("00-1".to_owned()),
        shard: Some(11),
        attempt: Some(1),
        outcome: "executed",
        status: 201,
        why: None,
        times: Times { total: ms(30), ledger: ms(8), origin: ms(20) },
        ..refused
    };
    assert_eq!(
        executed.line(LogKeys::Plain, None),
        concat!(
            r#"{"outcome":"executed","status":201,"why":null,"route":"charge","method":"POST","key":"8e03978e","#,
            r#""correlation_id":"c-1","traceparent":"00-1","shard":11,"attempt":1,"#,
            r#""ms":{"total":30,"ledger":8,"origin":20}}"#,
        )
    );
}

/// The digests were computed apart from this code.
#[test]
fn a_key_is_logged_as_a_digest_under_a_secret_or_not_at_all() {
    let key = Key::parse("8e03978e").unwrap();
    let entry = Entry { key: Some(&key), ..entry() };
    let hashed =
        r#""key":"3eb1:442d703ecf8c1901c38da37c2be5f60b54bd421e4e3472083ae954629c1789b4","#;
    assert!(entry.line(LogKeys::Hashed, log_key().as_ref()).contains(hashed));
    assert!(entry.line(LogKeys::Hashed, None).contains(r#""key":null,"#));
    assert!(entry.line(LogKeys::Plain, log_key().as_ref()).contains(r#""key":"8e03978e","#));
}

#[test]
fn a_log_key_is_a_secret_of_its_own_and_long_enough() {
    let [short, long] = [31, 32].map(|bytes| "k".repeat(bytes));
    assert!(LogKey::new(&short, None).is_err());
    assert!(LogKey::new(&format!("{short} \n"), None).is_err(), "space around it is no part of it");
    assert!(LogKey::new(&long, None).is_ok());
    assert!(LogKey::new(&long, Some("another")).is_ok());
    assert!(LogKey::new(&long, Some(&format!("{long}\n"))).is_err(), "it must open nothing");
}

#[test]
fn the_log_line_of_a_shadowed_request_says_what_enforcing_would_have_answered() {
    assert_eq!(
        shadow_line("charge", "replayed", "c-1"),
        r#"{"mode":"shadow","route":"charge","would":"replayed","correlation_id":"c-1"}"#
    );
}

/// Who sees a correlation id could try keys against a plain digest of one.
#[test]
fn a_derived_correlation_id_is_made_under_the_secret() {
    let id = key_id("k");
    let under = |secret: &str| LogKey::new(secret, None).unwrap().correlation_id(&id, "charge");
    let one = under(&"s".repeat(32));
    assert!(one.len() == 32 && one.bytes().all(|b| b.is_ascii_hexdigit()), "{one}");
    assert_eq!(one, under(&"s".repeat(32)), "the same on every try");
    assert_ne!(one, under(&"t".repeat(32)));
    assert_ne!(one, id.correlation_id("charge"));
    let of = |id, route| LogKey::new(&"s".repeat(32), None).unwrap().correlation_id(&id, route);
    assert_ne!(one, of(id, "refund"));
    assert_ne!(one, of(key_id("other"), "charge"));
}
