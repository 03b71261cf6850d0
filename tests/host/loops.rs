//! `loops`: a filter knows the requests that it has forwarded itself.

use oncegate::config::Vars;
use oncegate::config::loops::{LoopId, has_been_here, loop_marks};
use serde_json::{Value, json};

use crate::make::{headers, vars};

fn of(named: Vec<(&'static str, Value)>) -> String {
    LoopId::of(&vars(named), "store").entry("POST", "/pay")
}

#[test]
fn a_request_has_been_here_where_it_brings_the_entry_of_this_configuration_and_operation() {
    let id = LoopId::of(&vars([("ORIGIN", json!("https://o.example"))]), "store");
    let entry = id.entry("POST", "/pay");
    let tight = entry.replace(' ', "");
    let rows = [
        (Some(entry.clone()), true),
        (Some(tight.clone()), true),
        (Some(format!("cloudflare; loops=1, other;a=\"b\" , {entry}")), true),
        (Some(format!("{tight},fastly")), true),
        (None, false),
        (Some("cloudflare; loops=1".to_owned()), false),
        (Some(id.entry("PUT", "/pay")), false),
        (Some(id.entry("POST", "/refund")), false),
        (Some(format!("{entry}0")), false),
        (entry.split(';').next().map(str::to_owned), false),
    ];
    for (field, expected) in rows {
        for name in ["cdn-loop", "oncegate-loop"] {
            let field = field.clone();
            let header = |asked: &str| field.clone().filter(|_| asked == name);
            assert_eq!(has_been_here(&entry, &header), expected, "{name}: {field:?}");
        }
    }
}

#[test]
fn an_entry_is_one_of_rfc_8586() {
    let entry = of(vec![]);
    let (id, parameter) = entry.split_once("; op=").unwrap();
    let is_hex = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(id.strip_prefix("oncegate-").is_some_and(is_hex) && is_hex(parameter), "{entry}");
}

#[test]
fn each_configuration_has_an_entry_of_its_own_and_no_secret_counts() {
    let route = || ("ROUTES", json!([{ "path": "/pay" }]));
    let origin = |at: &str| ("ORIGIN", json!(format!("https://{at}.example")));
    let one = of(vec![origin("a"), route()]);
    for other in [
        of(vec![]),
        of(vec![origin("a")]),
        of(vec![origin("b"), route()]),
        LoopId::of(&vars([origin("a"), route()]), "other store").entry("POST", "/pay"),
        LoopId::of(&Vars { binds_origin: true, ..vars([origin("a"), route()]) }, "store")
            .entry("POST", "/pay"),
    ] {
        assert_ne!(other, one);
    }
    let secret = ("ADMIN_TOKEN", json!("a-secret-of-the-operators"));
    assert_eq!(of(vec![origin("a"), route(), secret]), one);
}

#[test]
fn what_came_through_cloudflare_carries_the_entry_in_a_header_of_its_own_too() {
    let names = |lines: &[(&str, &str)]| {
        loop_marks("x; op=1", &headers(lines)).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["cdn-loop"]);
    assert_eq!(names(&[("cf-ray", "230b030023ae2822-SJC")]), ["cdn-loop", "oncegate-loop"]);
}
