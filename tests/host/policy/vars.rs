//! The vars beside the routes, and the ways in which ROUTES may come.

use oncegate::config::{LOCATION_HINTS, Misconfigured, Origin, OriginVar, Policy, Vars, distance};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::make::{self, cases, route, s, vars};

fn wrong_knobs(vars: &Vars) -> Vec<String> {
    let wrongs = Policy::parse(vars).map(|_| ()).unwrap_err();
    wrongs.into_iter().map(|Misconfigured { knob, .. }| knob).collect()
}

fn routes(vars: &[(&str, Value)]) -> Vars {
    let routes = vars.iter().map(|(name, value)| ((*name).to_owned(), make::json(value))).collect();
    Vars { routes, ..self::vars() }
}

#[test]
fn without_configuration_post_and_patch_are_guarded_everywhere() {
    let policy = Policy::parse(&vars()).unwrap();
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
        let origin = Origin::parse(&OriginVar::Text(text.to_owned()));
        assert_eq!(origin, Ok(Origin::Url { base: base.to_owned() }), "{text}");
    }
    assert_eq!(Origin::parse(&OriginVar::Absent), Ok(Origin::Zone));
    assert_eq!(Origin::parse(&OriginVar::Binding), Ok(Origin::Binding));
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
        let wrong = Origin::parse(&OriginVar::Text(text.to_owned()));
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
    let parse = |value| Policy::parse(&Vars { shards: Some(make::json(&value)), ..vars() });
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
        let vars = Vars { shards: Some(make::json(&value)), ..vars() };
        assert_eq!(wrong_knobs(&vars), ["SHARDS"], "{value}");
    }
}

#[test]
fn location_hint_is_one_that_the_platform_knows() {
    let parse = |value| Policy::parse(&Vars { location_hint: Some(make::json(&value)), ..vars() });
    for hint in LOCATION_HINTS {
        assert_eq!(parse(json!(hint)).unwrap().location_hint.as_deref(), Some(hint));
    }
    assert_eq!(parse(json!("")).unwrap().location_hint, None);
    for value in [json!("europe"), json!("WEUR"), json!(1), json!(null), json!(["weur"])] {
        let vars = Vars { location_hint: Some(make::json(&value)), ..vars() };
        assert_eq!(wrong_knobs(&vars), ["LOCATION_HINT"], "{value}");
    }
}

#[test]
fn routes_are_a_list_of_tables_or_its_json_text_and_go_on_in_further_vars() {
    let tables = json!([{ "path": "/a", "wait": "1s" }]);
    for value in [tables.clone(), Value::String(tables.to_string())] {
        let vars = routes(&[
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
            routes(&[("ROUTES", json!([])), ("ROUTES_2", json!([{ "path": "/a" }, { "ttl": 1 }]))]),
            "ROUTES_2[1].ttl",
        ),
        (routes(&[("ROUTES", json!("{"))]), "ROUTES"),
        (routes(&[("ROUTES", json!("[{}"))]), "ROUTES"),
        (routes(&[("ROUTES", json!("not JSON"))]), "ROUTES"),
        (routes(&[("ROUTES", json!({ "path": "/a" }))]), "ROUTES"),
        (routes(&[("ROUTES", json!(7))]), "ROUTES"),
        (routes(&[("ROUTES", json!([])), ("ROUTES_2", json!("7"))]), "ROUTES_2"),
    ] {
        assert_eq!(wrong_knobs(&vars), [place]);
    }
}

#[test]
fn a_route_without_a_name_is_called_by_its_place_among_all() {
    let vars = routes(&[
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
        let policy = Policy::parse(&routes(&[("ROUTES", json!([table]))])).unwrap();
        !policy.warnings().is_empty()
    };
    assert!(warned(json!({ "path": "/v1/payments" })));
    assert!(warned(json!({ "path": "/v1/{id}/charge", "ttl": "6d" })));
    assert!(!warned(json!({ "path": "/v1/payments", "ttl": "7d" })));
    assert!(!warned(json!({ "path": "/v1/payments", "tombstone": "1d" })));
    assert!(!warned(json!({ "path": "/v1/payments", "mode": "shadow" })));
    assert!(!warned(json!({ "path": "/v1/comments" })));
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn the_nearest_name_is_the_one_that_others_find(one in "[abc]{0,5}", other in "[abc]{0,5}") {
        prop_assert_eq!(distance(&one, &other), strsim::osa_distance(&one, &other));
    }
}
