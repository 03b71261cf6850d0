//! Which route guards a request.

use std::borrow::Borrow;

use oncegate::config::pattern::Pattern;
use oncegate::config::{Misconfigured, Policy, Vars};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::make::{self, cases, vars};

fn parse(routes: impl Borrow<Value>) -> Result<Policy, Vec<Misconfigured>> {
    Policy::parse(&Vars {
        routes: vec![("ROUTES".to_owned(), make::json(routes.borrow()))],
        ..vars()
    })
}

/// Routes called by their paths.
fn paths(paths: &[&str]) -> Value {
    paths.iter().map(|path| json!({ "name": path, "path": path })).collect()
}

fn found(policy: &Policy, method: &str, path: &str) -> Option<String> {
    policy.routes.find(method, path).map(|route| route.name.clone())
}

#[test]
fn the_most_specific_path_wins_whatever_the_order() {
    let routes = [
        "/{*rest}",
        "/v1/payments",
        "/v1/payments/{id}",
        "/v1/payments/{id}/charge",
        "/v1/payments/search",
        "/v1/files/{*rest}",
        "/v1/files/index",
    ];
    let rows = [
        ("/v1/payments", "/v1/payments"),
        ("/v1/payments/p1", "/v1/payments/{id}"),
        ("/v1/payments/search", "/v1/payments/search"),
        ("/v1/payments/searches", "/v1/payments/{id}"),
        ("/v1/payments/p1/charge", "/v1/payments/{id}/charge"),
        ("/v1/payments/search/charge", "/v1/payments/{id}/charge"),
        ("/v1/files/index", "/v1/files/index"),
        ("/v1/files/a/b", "/v1/files/{*rest}"),
        ("/v1/files/", "/v1/files/{*rest}"),
        ("/", "/{*rest}"),
        ("/v2", "/{*rest}"),
        ("/v1/payments/p1/refund", "/{*rest}"),
        ("/v1/payments/p1/charge/", "/{*rest}"),
        ("/v1/payments/", "/{*rest}"),
        ("/v1/files", "/{*rest}"),
        ("//v1/payments", "/{*rest}"),
        ("/V1/payments", "/{*rest}"),
    ];
    let mut reversed = routes;
    reversed.reverse();
    for order in [routes, reversed] {
        let policy = parse(paths(&order)).unwrap();
        for (path, route) in rows {
            assert_eq!(found(&policy, "POST", path).as_deref(), Some(route), "{path}");
        }
    }
}

#[test]
fn a_catch_all_takes_its_parent_unless_that_has_a_route_of_its_own() {
    let policy = parse(paths(&["/a/{*rest}"])).unwrap();
    for (path, guarded) in
        [("/a/", true), ("/a/b", true), ("/a/b/", true), ("/a", false), ("/", false)]
    {
        assert_eq!(found(&policy, "POST", path).is_some(), guarded, "{path}");
    }
    let policy = parse(paths(&["/a/{*rest}", "/a/"])).unwrap();
    assert_eq!(found(&policy, "POST", "/a/").as_deref(), Some("/a/"));
}

#[test]
fn a_parameter_is_one_whole_segment() {
    let policy = parse(paths(&["/p/{id}/charge"])).unwrap();
    for (path, guarded) in [
        ("/p/1/charge", true),
        ("/p/%2F/charge", true),
        ("/p/a.b-c/charge", true),
        ("/p//charge", false),
        ("/p/1/2/charge", false),
        ("/p/1/charge/", false),
        ("/p/charge", false),
    ] {
        assert_eq!(found(&policy, "POST", path).is_some(), guarded, "{path}");
    }
}

#[test]
fn safe_methods_are_never_guarded_whatever_a_route_says() {
    let methods = ["GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "DELETE"];
    let policy = parse(json!([{ "methods": methods }])).unwrap();
    for method in methods {
        let guarded = ["POST", "PUT", "DELETE"].contains(&method);
        assert_eq!(found(&policy, method, "/").is_some(), guarded, "{method}");
    }
    assert_eq!(found(&policy, "PATCH", "/"), None, "it is not in the list");
}

#[test]
fn each_method_has_routes_of_its_own() {
    let policy = parse(json!([
        { "name": "create", "path": "/p", "methods": ["POST"] },
        { "name": "change", "path": "/p", "methods": ["PATCH", "PUT"] },
    ]))
    .unwrap();
    for (method, route) in [("POST", "create"), ("PATCH", "change"), ("PUT", "change")] {
        assert_eq!(found(&policy, method, "/p").as_deref(), Some(route));
    }
}

/// Request paths are compared in their normal form, and so are those of routes.
#[test]
fn a_route_may_be_written_in_any_spelling_of_its_path() {
    for path in ["/v1/payments", "/v1/%70ayments", "/v1/./payments", "/a/../v1/payments"] {
        let policy = parse(json!([{ "path": path }])).unwrap();
        assert!(found(&policy, "POST", "/v1/payments").is_some(), "{path}");
    }
}

#[test]
fn a_route_that_can_never_match_is_refused() {
    for routes in [
        paths(&["/a", "/a"]),
        paths(&["/{x}", "/{x}"]),
        paths(&["/{*rest}", "/{*all}"]),
        paths(&["/a", "/%61"]),
        json!([{ "path": "/a" }, { "path": "/a", "methods": ["DELETE", "POST"] }]),
    ] {
        let wrongs = parse(routes.clone()).unwrap_err();
        let places: Vec<_> = wrongs.iter().map(|wrong| wrong.knob.as_str()).collect();
        assert!(
            !places.is_empty() && places.iter().all(|place| *place == "ROUTES[1].path"),
            "{routes}: {wrongs:?}"
        );
    }
}

#[test]
fn a_path_that_is_no_pattern_is_refused() {
    for path in ["/{", "/{}", "/{id", "/id}", "/{a}{b}", "/{*}", "/{*rest}/a"] {
        let wrongs = parse(paths(&[path])).unwrap_err();
        assert_eq!(wrongs[0].knob, "ROUTES[0].path", "{path}: {wrongs:?}");
    }
}

#[test]
fn a_parameter_is_more_specific_than_a_catch_all_in_the_same_place() {
    let policy = parse(paths(&["/v1/payments/{id}", "/v1/payments/{*rest}"])).unwrap();
    assert_eq!(found(&policy, "POST", "/v1/payments/1").as_deref(), Some("/v1/payments/{id}"));
    let policy = parse(paths(&["/{*rest}", "/{tenant}/pay"])).unwrap();
    assert_eq!(found(&policy, "POST", "/t/pay").as_deref(), Some("/{tenant}/pay"));
    assert_eq!(found(&policy, "POST", "/t/other").as_deref(), Some("/{*rest}"));
}

#[test]
fn parameters_of_two_routes_may_have_two_names() {
    let policy = parse(paths(&["/p/{id}/charge", "/p/{payment}/refund"])).unwrap();
    assert_eq!(found(&policy, "POST", "/p/1/charge").as_deref(), Some("/p/{id}/charge"));
    assert_eq!(found(&policy, "POST", "/p/1/refund").as_deref(), Some("/p/{payment}/refund"));
}

#[test]
fn a_path_that_a_closer_pattern_only_begins_like_is_guarded_all_the_same() {
    let policy = parse(paths(&["/{x}b/a{*rest}", "/{x}/{*rest}", "/a{x}/c"])).unwrap();
    assert_eq!(found(&policy, "POST", "/ab/c").as_deref(), Some("/a{x}/c"));
    assert_eq!(found(&policy, "POST", "/cb/d").as_deref(), Some("/{x}/{*rest}"));
    assert_eq!(found(&policy, "POST", "/cb/ad").as_deref(), Some("/{x}b/a{*rest}"));
}

/// A segment of a pattern over two letters.
fn segments() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "", "a", "b", "ab", "{x}", "{y}", "a{x}", "{x}b", "a{x}b", "{{a", "{x", "{x}{y}",
    ])
    .prop_map(str::to_owned)
}

fn patterns() -> impl Strategy<Value = String> {
    let rest = prop::sample::select(vec!["", "", "/{*rest}", "/a{*rest}", "/{*rest}/a"]);
    (prop::collection::vec(segments(), 1..4), rest)
        .prop_map(|(segments, rest)| format!("/{}{rest}", segments.join("/")))
}

proptest! {
    #![proptest_config(cases(5000))]

    /// As another router finds, wherever that one takes the patterns.
    #[test]
    fn the_closest_pattern_is_found(
        texts in prop::collection::vec(patterns(), 1..5),
        paths in prop::collection::vec("/[ab{/]{0,4}", 8),
    ) {
        for open in [true, false] {
            let texts: Vec<_> = texts.iter().filter(|text| text.contains('*') == open).collect();
            let mut router = matchit::Router::new();
            let mut taken = Vec::new();
            for text in &texts {
                let own = Pattern::parse(text);
                match router.insert(text.as_str(), text.as_str()) {
                    Ok(()) => taken.push(own.unwrap()),
                    Err(matchit::InsertError::Conflict { .. }) => return Ok(()),
                    Err(_) => prop_assert!(own.is_err(), "{text}"),
                }
            }
            for path in &paths {
                let mut closest: Option<&Pattern> = None;
                for pattern in taken.iter().filter(|pattern| pattern.matches(path)) {
                    if closest.is_none_or(|other| pattern.closer_than(other)) {
                        closest = Some(pattern);
                    }
                }
                let other = router.at(path).ok().map(|found| Pattern::parse(found.value).unwrap());
                // That one does not go back to `{x}` where `{x}b` led nowhere.
                let as_other = match (closest, &other) {
                    (Some(own), Some(other)) => own == other || own.closer_than(other),
                    (own, other) => own == other.as_ref() || other.is_none(),
                };
                prop_assert!(as_other, "{path} among {texts:?}: {closest:?} for {other:?}");
            }
        }
    }
}
