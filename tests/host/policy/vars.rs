//! The vars beside the routes, and the ways in which ROUTES may come.

use oncegate::config::read::Misconfigured;
use oncegate::config::values::{JURISDICTIONS, LOCATION_HINTS};
use oncegate::config::{Origin, Policy, Unmatched, Vars};
use oncegate::log::LogKeys;
use serde_json::{Value, json};

use crate::make::{route, s, vars};

fn wrong_knobs(vars: &Vars) -> Vec<String> {
    let wrongs = Policy::parse(vars).map(|_| ()).unwrap_err();
    wrongs.into_iter().map(|Misconfigured { knob, .. }| knob).collect()
}

#[test]
fn without_configuration_post_and_patch_are_guarded_everywhere() {
    let policy = Policy::parse(&vars([])).unwrap();
    assert_eq!((policy.origin, policy.shards), (Origin::Zone, 16));
    assert_eq!(policy.location_hint, None);
    assert_eq!(policy.routes.all().len(), 1);
    assert_eq!(*policy.routes.all()[0], route());
    for (method, path, guarded) in [
        ("POST", "/", true),
        ("PATCH", "/a/b/c", true),
        ("PUT", "/", false),
        ("DELETE", "/", false),
        ("GET", "/", false),
        ("post", "/", false),
    ] {
        assert_eq!(policy.routes.find(method, path).is_some(), guarded, "{method} {path}");
    }
}

#[test]
fn origin_is_an_address_a_binding_or_the_zones_own() {
    let sound = [
        ("https://origin.example.com", "https://origin.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("HTTPS://Origin.Example.COM", "https://origin.example.com"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://[::1]", "http://[::1]"),
        (" https://h ", "https://h"),
        // Only scheme, host and port count.
        ("https://h/", "https://h"),
        ("https://h/base?a=b#c", "https://h"),
    ];
    for (text, base) in sound {
        let origin = Origin::parse(&vars([("ORIGIN", json!(text))]));
        assert_eq!(origin, Ok(Origin::Url { base: base.to_owned() }), "{text}");
    }
    assert_eq!(Origin::parse(&vars([])), Ok(Origin::Zone));
    assert_eq!(Origin::parse(&Vars { binds_origin: true, ..vars([]) }), Ok(Origin::Binding));
    for no_text in [json!(7), json!(null), json!(["https://h"])] {
        assert_eq!(wrong_knobs(&vars([("ORIGIN", no_text)])), ["ORIGIN"]);
    }
    for text in [
        "",
        "origin.example.com",
        "//origin.example.com",
        "ftp://h",
        "file:///etc/passwd",
        "https://",
        "https:///a",
        "https://?a",
        "https://user:secret@h",
        "https://@h",
        "https://h:port",
        "https://h:",
        "https://h:70000",
        "https://:8080",
        "https://h h",
        "https://h\\evil",
        "https://é",
        "https://h\n",
    ] {
        let wrong = Origin::parse(&vars([("ORIGIN", json!(text))]));
        if text == "https://h\n" {
            assert!(wrong.is_ok(), "white space around it is no part of it");
            continue;
        }
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.knob, "ORIGIN", "{text:?}");
        assert!(!wrong.why.contains("secret"), "a password is not for the log");
    }
}

#[test]
fn shards_is_a_whole_number_or_its_text() {
    let parse = |value| Policy::parse(&vars([("SHARDS", value)]));
    for (value, shards) in [
        (json!(1), 1),
        (json!(16), 16),
        (json!(1024), 1024),
        (json!("64"), 64),
        (json!(" 64 "), 64),
    ] {
        assert_eq!(parse(value).unwrap().shards, shards);
    }
    for value in [
        json!(0),
        json!(1025),
        json!(-1),
        json!(1.5),
        json!("many"),
        json!(""),
        json!("16.0"),
        json!(null),
        json!(true),
        json!([16]),
        json!(65_552),
        json!(4_294_967_312_u64),
    ] {
        assert_eq!(wrong_knobs(&vars([("SHARDS", value.clone())])), ["SHARDS"], "{value}");
    }
}

#[test]
fn location_hint_is_one_that_the_platform_knows() {
    let parse = |value| Policy::parse(&vars([("LOCATION_HINT", value)]));
    for hint in LOCATION_HINTS {
        assert_eq!(parse(json!(hint)).unwrap().location_hint.as_deref(), Some(hint));
    }
    assert_eq!(parse(json!("")).unwrap().location_hint, None);
    for value in [json!("europe"), json!("WEUR"), json!(1), json!(null), json!(["weur"])] {
        let vars = vars([("LOCATION_HINT", value.clone())]);
        assert_eq!(wrong_knobs(&vars), ["LOCATION_HINT"], "{value}");
    }
}

#[test]
fn jurisdiction_is_one_that_the_platform_knows() {
    let parse = |value| Policy::parse(&vars([("JURISDICTION", value)]));
    for name in JURISDICTIONS {
        assert_eq!(parse(json!(name)).unwrap().jurisdiction.as_deref(), Some(name));
    }
    assert_eq!(parse(json!("")).unwrap().jurisdiction, None);
    for value in [json!("EU"), json!("ch"), json!(1), json!(null), json!(["eu"])] {
        let vars = vars([("JURISDICTION", value.clone())]);
        assert_eq!(wrong_knobs(&vars), ["JURISDICTION"], "{value}");
    }
}

#[test]
fn routes_are_a_list_of_tables_or_its_json_text_and_go_on_in_further_vars() {
    let tables = json!([{ "path": "/a", "wait": "1s" }]);
    for value in [tables.clone(), Value::String(tables.to_string())] {
        let vars = vars([
            ("ROUTES", value),
            ("ROUTES_2", json!([{ "path": "/b" }, { "path": "/c", "name": "third" }])),
            ("ROUTES_3", json!([])),
        ]);
        let policy = Policy::parse(&vars).unwrap();
        let names: Vec<_> = policy.routes.all().iter().map(|route| route.name.as_str()).collect();
        assert_eq!(names, ["route-1", "route-2", "third"]);
        assert_eq!(policy.routes.find("POST", "/a").unwrap().wait, s(1));
        assert!(policy.routes.find("POST", "/d").is_none(), "there is no other route then");
    }
}

#[test]
fn what_is_wrong_in_a_further_var_is_named_there() {
    for (vars, place) in [
        (
            vars([("ROUTES", json!([])), ("ROUTES_2", json!([{ "path": "/a" }, { "ttl": 1 }]))]),
            "ROUTES_2[1].ttl",
        ),
        (vars([("ROUTES", json!("{"))]), "ROUTES"),
        (vars([("ROUTES", json!("[{}"))]), "ROUTES"),
        (vars([("ROUTES", json!("not JSON"))]), "ROUTES"),
        (vars([("ROUTES", json!(r#"[{ "ttl": "1h", "ttl": "2h" }]"#))]), "ROUTES"),
        (vars([("ROUTES", json!({ "path": "/a" }))]), "ROUTES"),
        (vars([("ROUTES", json!(7))]), "ROUTES"),
        (vars([("ROUTES", json!([])), ("ROUTES_2", json!("7"))]), "ROUTES_2"),
    ] {
        assert_eq!(wrong_knobs(&vars), [place]);
    }
}

#[test]
fn a_route_without_a_name_is_called_by_its_place_among_all() {
    let vars = vars([
        ("ROUTES", json!([{ "path": "/a" }, { "path": "/b", "name": "b" }])),
        ("ROUTES_2", json!([{ "path": "/c" }])),
    ]);
    let policy = Policy::parse(&vars).unwrap();
    let names: Vec<_> = policy.routes.all().iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["route-1", "b", "route-3"]);
}

#[test]
fn payments_that_are_forgotten_within_a_week_are_warned_of() {
    let warned = |table: Value| {
        let policy = Policy::parse(&vars([("ROUTES", json!([table]))])).unwrap();
        !policy.warnings().is_empty()
    };
    assert!(warned(json!({ "path": "/v1/payments" })));
    assert!(warned(json!({ "path": "/v1/{id}/charge", "ttl": "6d" })));
    assert!(!warned(json!({ "path": "/v1/payments", "ttl": "7d" })));
    assert!(!warned(json!({ "path": "/v1/payments", "tombstone": "1d" })));
    assert!(!warned(json!({ "path": "/v1/payments", "mode": "shadow" })));
    assert!(!warned(json!({ "path": "/v1/comments" })));
}

#[test]
fn log_keys_are_hashed_unless_plain_ones_are_asked_for() {
    let parse = |value| Policy::parse(&vars([("LOG_KEYS", value)])).map(|policy| policy.log_keys);
    assert_eq!(Policy::parse(&vars([])).unwrap().log_keys, LogKeys::Hashed);
    assert_eq!(parse(json!("hashed")), Ok(LogKeys::Hashed));
    assert_eq!(parse(json!("plain")), Ok(LogKeys::Plain));
    for value in [json!(""), json!("none"), json!(true), json!(null)] {
        assert_eq!(parse(value).unwrap_err()[0].knob, "LOG_KEYS");
    }
}

#[test]
fn what_no_route_matches_passes_unless_it_is_to_be_refused() {
    let parse = |value| Policy::parse(&vars([("UNMATCHED", value)])).map(|policy| policy.unmatched);
    assert_eq!(Policy::parse(&vars([])).unwrap().unmatched, Unmatched::Pass);
    assert_eq!(parse(json!("pass")), Ok(Unmatched::Pass));
    assert_eq!(parse(json!("refuse")), Ok(Unmatched::Refuse));
    for value in [json!(""), json!("Refuse"), json!(404), json!(true), json!(null)] {
        assert_eq!(parse(value).unwrap_err()[0].knob, "UNMATCHED");
    }
}

#[test]
fn a_var_whose_name_is_nearly_one_of_ours_is_taken_for_a_mistake() {
    for (name, meant) in
        [("ROUTE", "ROUTES"), ("SHARD", "SHARDS"), ("ORIGNI", "ORIGIN"), ("LOGKEYS", "LOG_KEYS")]
    {
        let wrongs = Policy::parse(&vars([(name, json!("x"))])).map(|_| ()).unwrap_err();
        let why = format!("is not a var of the filter; the nearest one is {meant}");
        assert_eq!(wrongs, [Misconfigured { knob: name.to_owned(), why }]);
    }
    for name in ["GREETING", "DATABASE_URL", "ADMIN_TOKEN", "METRICS"] {
        assert!(Policy::parse(&vars([(name, json!("x"))])).is_ok(), "{name}");
    }
}

#[test]
fn routes_go_on_without_a_gap() {
    for names in [&["ROUTES_2"][..], &["ROUTES", "ROUTES_3"], &["ROUTES", "ROUTES_PAYMENTS"]] {
        let vars = vars(names.iter().map(|name| (*name, json!([]))));
        assert_eq!(wrong_knobs(&vars), [names[names.len() - 1]]);
    }
    let all = [
        "ROUTES",
        "ROUTES_2",
        "ROUTES_3",
        "ROUTES_4",
        "ROUTES_5",
        "ROUTES_6",
        "ROUTES_7",
        "ROUTES_8",
        "ROUTES_9",
        "ROUTES_10",
    ];
    let tables = (0..).zip(all).map(|(n, name)| (name, json!([{ "path": format!("/{n}") }])));
    let policy = Policy::parse(&vars(tables)).unwrap();
    let paths: Vec<_> = policy.routes.all().iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"]);
}
