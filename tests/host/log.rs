//! `log`: what the log says of a request, to the byte: people write queries over it.

use std::time::Duration;

use oncegate::log::{Entry, LogKeys, Times, shadow_line};
use oncegate::request::key::{Key, KeyId};

#[test]
fn a_log_line_has_these_members_in_this_order() {
    let key = Key::parse("8e03978e").unwrap();
    let ms = Duration::from_millis;
    let refused = Entry {
        route: "charge",
        method: "POST",
        key: None,
        correlation_id: "c-1",
        traceparent: None,
        shard: None,
        attempt: None,
        outcome: "key-missing",
        status: 400,
        why: Some("no \"key\"\n".to_owned()),
        times: Times { total: ms(3), ledger: ms(0), origin: ms(0) },
    };
    assert_eq!(
        refused.line(LogKeys::Hashed),
        concat!(
            r#"{"outcome":"key-missing","status":400,"why":"no \"key\"\n","route":"charge","method":"POST","#,
            r#""key":null,"key_id":null,"correlation_id":"c-1","traceparent":null,"shard":null,"attempt":null,"#,
            r#""ms":{"total":3,"ledger":0,"origin":0}}"#,
        )
    );
    let executed = Entry {
        key: Some((&key, KeyId::new(&key, [7; 16]))),
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
        executed.line(LogKeys::Plain),
        concat!(
            r#"{"outcome":"executed","status":201,"why":null,"route":"charge","method":"POST","key":"8e03978e","#,
            r#""key_id":"2b3ffd0b13af24bb7e22a843249ba25207070707070707070707070707070707","#,
            r#""correlation_id":"c-1","traceparent":"00-1","shard":11,"attempt":1,"#,
            r#""ms":{"total":30,"ledger":8,"origin":20}}"#,
        )
    );
}

#[test]
fn the_log_line_of_a_shadowed_request_says_what_enforcing_would_have_answered() {
    assert_eq!(
        shadow_line("charge", "replayed", "c-1"),
        r#"{"mode":"shadow","route":"charge","would":"replayed","correlation_id":"c-1"}"#
    );
}
