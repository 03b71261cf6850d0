//! Which route guards a request.

use oncegate::config::Policy;
use oncegate::config::read::Misconfigured;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::make::{address, cases, vars};

fn parse(routes: Value) -> Result<Policy, Vec<Misconfigured>> {
    Policy::parse(&vars([("ROUTES", routes)]))
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
        ("/v1/files", "/v1/files/{*rest}"),
        ("/", "/{*rest}"),
        ("/v2", "/{*rest}"),
        ("/v1/payments/p1/refund", "/{*rest}"),
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
        [("/a", true), ("/a/b", true), ("/a/b/c", true), ("/ab", false), ("/", false)]
    {
        assert_eq!(found(&policy, "POST", path).is_some(), guarded, "{path}");
    }
    for own in ["/a", "/a/"] {
        let policy = parse(paths(&["/a/{*rest}", own])).unwrap();
        assert_eq!(found(&policy, "POST", "/a").as_deref(), Some(own));
    }
}

#[test]
fn a_parameter_is_one_whole_segment() {
    let policy = parse(paths(&["/p/{id}/charge"])).unwrap();
    for (path, guarded) in [
        ("/p/1/charge", true),
        ("/p/%2F/charge", true),
        ("/p/a.b-c/charge", true),
        ("/p/1/2/charge", false),
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
    for path in
        ["/v1/payments", "/v1/%70ayments", "/v1/./payments", "/a/../v1/payments", "//v1//payments/"]
    {
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
        paths(&["/a", "//a/"]),
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
fn catch_alls_of_several_depths_stand_beside_each_other() {
    let policy =
        parse(paths(&["/{*rest}", "/{tenant}/{*rest}", "/{tenant}/pay/{*rest}", "/t/{*rest}"]))
            .unwrap();
    for (path, route) in [
        ("/", "/{*rest}"),
        ("/a", "/{tenant}/{*rest}"),
        ("/a/b", "/{tenant}/{*rest}"),
        ("/a/pay/b", "/{tenant}/pay/{*rest}"),
        ("/t", "/t/{*rest}"),
        ("/t/pay/b", "/t/{*rest}"),
    ] {
        assert_eq!(found(&policy, "POST", path).as_deref(), Some(route), "{path}");
    }
}

#[test]
fn a_doubled_brace_stands_for_itself() {
    let policy = parse(paths(&["/{{id}}", "/{id}", "/a{{b"])).unwrap();
    for (path, route) in [("/{id}", "/{{id}}"), ("/id", "/{id}"), ("/a{b", "/a{{b")] {
        let path = address(&format!("https://h{path}")).target.compared;
        assert_eq!(found(&policy, "POST", &path).as_deref(), Some(route), "{path}");
    }
}

#[test]
fn a_parameter_inside_a_segment_is_refused_and_told_how_else() {
    for path in ["/img-{n}.png", "/a/{n}.png", "/a/v{n}/b", "/a/pre{*rest}", "/{{{n}}}"] {
        let wrongs = parse(paths(&[path])).unwrap_err();
        assert_eq!(wrongs[0].knob, "ROUTES[0].path", "{path}");
        assert!(wrongs[0].why.contains("a parameter is a whole segment"), "{wrongs:?}");
    }
}

/// A segment of a pattern over two letters.
fn patterns() -> impl Strategy<Value = String> {
    let segments = prop::sample::select(vec!["", "a", "b", "ab", "{x}", "{y}", "{{a"]);
    let rest = prop::sample::select(vec!["", "", "/{*rest}"]);
    (prop::collection::vec(segments, 1..4), rest)
        .prop_map(|(segments, rest)| format!("/{}{rest}", segments.join("/")))
}

/// How well a pattern names a path, segment by segment; none where it does not. Slashes that are too many do not count.
fn closeness(pattern: &str, path: &str) -> Option<Vec<u8>> {
    let mut closeness = Vec::new();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    for segment in pattern.split('/').filter(|segment| !segment.is_empty()) {
        if segment == "{*rest}" {
            closeness.push(0);
            return Some(closeness);
        }
        let here = segments.next()?;
        closeness.push(match segment {
            "{x}" | "{y}" => 1,
            text if text.replace("{{", "{") == here => 2,
            _ => return None,
        });
    }
    closeness.push(3);
    segments.next().is_none().then_some(closeness)
}

proptest! {
    #![proptest_config(cases(5000))]

    /// By the rule as it is written, one pattern after the other.
    #[test]
    fn the_closest_pattern_is_found(
        patterns in prop::collection::vec(patterns(), 1..5),
        requests in prop::collection::vec("/[ab{/]{0,4}", 8),
    ) {
        let patterns: Vec<_> = patterns.iter().map(String::as_str).collect();
        // Two of them may be the same.
        let Ok(policy) = parse(paths(&patterns)) else { return Ok(()) };
        for path in &requests {
            let closest = patterns
                .iter()
                .filter_map(|pattern| Some((closeness(pattern, path)?, *pattern)))
                .max();
            let compared = address(&format!("https://h{path}")).target.compared;
            let found = found(&policy, "POST", &compared);
            prop_assert_eq!(found.as_deref(), closest.map(|(_, pattern)| pattern), "{} among {:?}", path, patterns);
        }
    }
}
