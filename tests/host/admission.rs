//! `admission`: which requests are guarded, and by what key, strategy and patience.

use oncegate::admission::{Admission, Guarded, Head, admit, consider};
use oncegate::config::Policy;
use oncegate::lifecycle::event::{OnInDoubt, Strategy};
use oncegate::lifecycle::record::KeySpelling;
use serde_json::{Value, json};

use crate::make::{address, headers, lease, s, vars};

/// Route, method, address, headers, and what becomes of it.
type Row<'a> = (&'a Value, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// Method, path, headers, and what becomes of it.
type Line<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// What becomes of a request, in a word.
fn becomes(route: &Value, method: &str, url: &str, lines: &[(&str, &str)]) -> String {
    word(&admitted(route, method, url, lines))
}

fn word(admission: &Admission) -> String {
    match admission {
        Admission::Pass => "passes".to_owned(),
        Admission::PassUnmatched => "passes and is logged".to_owned(),
        Admission::NotGuarded(problem) => problem.code.as_str().to_owned(),
        Admission::PassUnread(_, why) => format!("passes: {why}"),
        Admission::Hidden => "hidden".to_owned(),
        Admission::Publish => "publishes".to_owned(),
        Admission::Read(_) => "is read".to_owned(),
        Admission::Refuse(problem, _) => problem.code.as_str().to_owned(),
        Admission::Verify(_) => "is verified".to_owned(),
        Admission::Guard(guarded) => format!("guarded by {}", guarded.key.as_str()),
    }
}

fn policy(route: &Value) -> Policy {
    Policy::parse(&vars([("ROUTES", json!([route]))])).unwrap()
}

fn admitted(route: &Value, method: &str, url: &str, lines: &[(&str, &str)]) -> Admission {
    let (address, header) = (address(url), headers(lines));
    admit(&policy(route), &Head { method, address: &address, header: &header })
}

fn guarded(route: &Value, lines: &[(&str, &str)]) -> Guarded {
    match admitted(route, "POST", "https://h/a", lines) {
        Admission::Guard(guarded) => guarded,
        other => panic!("it is not guarded: {other:?}"),
    }
}

const KEY: (&str, &str) = ("idempotency-key", "k1");

#[test]
fn a_request_is_guarded_where_a_route_matches_and_a_key_is_found() {
    let anything = json!({});
    let required = json!({ "key": { "required": true } });
    let rows: &[Row<'_>] = &[
        (&anything, "POST", "https://h/a", &[KEY], "guarded by k1"),
        (&anything, "PATCH", "https://h/a", &[KEY], "guarded by k1"),
        (&anything, "POST", "https://h/a", &[("idempotency-key", "\"k1\"")], "guarded by k1"),
        (&anything, "POST", "https://h/a", &[], "passes"),
        (&anything, "PUT", "https://h/a", &[KEY], "passes and is logged"),
        (&anything, "PUT", "https://h/a", &[], "passes"),
        (&anything, "GET", "https://h/a", &[KEY], "passes"),
        (&required, "GET", "https://h/a", &[], "passes"),
        (&required, "POST", "https://h/a", &[], "key-missing"),
        (&anything, "POST", "https://h/a", &[("idempotency-key", "")], "key-invalid"),
        (&anything, "POST", "https://h/a", &[("idempotency-key", "a, b")], "key-invalid"),
        (&anything, "POST", "https://h/a", &[KEY, ("x-on-conflict", "no")], "strategy-invalid"),
        // What the runtime makes of bytes that are not UTF-8.
        (&anything, "POST", "https://h/a", &[KEY, ("if-match", "\u{fffd}")], "key-invalid"),
        (&anything, "POST", "https://h/a", &[KEY, ("x-other", "\u{fffd}")], "guarded by k1"),
        (&anything, "POST", "https://h/a", &[("idempotency-key", "k\u{fffd}")], "key-invalid"),
        (&anything, "POST", "https://h/a", &[KEY, ("cookie", "a=\u{fffd}")], "key-invalid"),
        (&anything, "POST", "https://h/a", &[KEY, ("cookie", "_ga=\u{fffd}")], "guarded by k1"),
        (&anything, "POST", "https://h/a", &[("if-match", "\u{fffd}")], "passes"),
        // The filter's own paths, in whatever spelling.
        (&anything, "POST", "https://h/.oncegate", &[KEY], "hidden"),
        (&anything, "GET", "https://h/.oncegate/keys", &[], "hidden"),
        (&anything, "GET", "https://h/a/../.oncegate/", &[], "hidden"),
        (&anything, "GET", "https://h/%2Eoncegate/x", &[], "hidden"),
        (&anything, "GET", "https://h//.OnceGate//x", &[], "hidden"),
        (&anything, "GET", "https://h/.ONCEGATE/", &[], "hidden"),
        (&anything, "POST", "https://h/.oncegateway", &[KEY], "guarded by k1"),
        (&anything, "POST", "https://h/a/.oncegate", &[KEY], "guarded by k1"),
        (&anything, "GET", "https://h/.well-known/idempotency", &[], "publishes"),
        (&anything, "HEAD", "https://h/.well-known/idempotency", &[], "publishes"),
        (&anything, "GET", "https://h//.Well-Known/Idempotency/", &[], "publishes"),
        (&anything, "POST", "https://h/.well-known/idempotency", &[KEY], "guarded by k1"),
    ];
    for (route, method, url, lines, expected) in rows {
        assert_eq!(becomes(route, method, url, lines), *expected, "{method} {url} {lines:?}");
    }
}

#[test]
fn a_method_that_a_header_names_is_looked_up_too() {
    let name = "x-http-method-override";
    let routes = json!([
        { "name": "pay", "path": "/pay", "methods": ["POST"], "key": { "required": true } },
        { "name": "put", "path": "/put", "methods": ["PUT"], "key": { "required": true } },
        { "name": "both", "path": "/both", "methods": ["POST"], "key": { "required": true } },
        { "name": "patched", "path": "/both", "methods": ["PATCH"] },
        { "name": "off", "path": "/both", "methods": ["DELETE"], "mode": "off" },
    ]);
    let policy = Policy::parse(&vars([("ROUTES", routes)])).unwrap();
    let of = |method: &str, path: &str, lines: &[(&str, &str)]| {
        let (address, header) = (address(&format!("https://h{path}")), headers(lines));
        match admit(&policy, &Head { method, address: &address, header: &header }) {
            Admission::Refuse(problem, route) => {
                format!("{} by {}", problem.code.as_str(), route.name)
            }
            Admission::Guard(guarded) => guarded.route.name.clone(),
            other => word(&other),
        }
    };
    let rows: &[Line<'_>] = &[
        ("POST", "/put", &[(name, "PUT")], "key-missing by put"),
        ("POST", "/put", &[(name, "put")], "key-missing by put"),
        ("POST", "/put", &[("x-http-method", " Put ")], "key-missing by put"),
        ("POST", "/put", &[("x-method-override", "PUT")], "key-missing by put"),
        ("POST", "/put", &[(name, "PATCH, PUT")], "key-missing by put"),
        ("POST", "/put", &[(name, "DELETE")], "passes"),
        ("POST", "/put", &[], "passes"),
        ("POST", "/put", &[(name, "PUT"), KEY], "put"),
        // Its own route where the other method has none, or one that guards nothing.
        ("POST", "/pay", &[(name, "PUT")], "key-missing by pay"),
        ("POST", "/pay", &[(name, "GET")], "key-missing by pay"),
        ("POST", "/both", &[(name, "DELETE")], "key-missing by both"),
        ("POST", "/both", &[(name, "PATCH"), KEY], "patched"),
        // A safe method that is to be taken for another one.
        ("GET", "/put", &[(name, "PUT")], "key-invalid by put"),
        ("GET", "/put", &[(name, "PUT"), KEY], "key-invalid by put"),
        ("HEAD", "/pay", &[("x-http-method", "post")], "key-invalid by pay"),
        ("OPTIONS", "/pay", &[("x-method-override", "POST")], "key-invalid by pay"),
        ("GET", "/put", &[(name, "POST")], "passes"),
        ("GET", "/both", &[(name, "DELETE")], "passes"),
        ("GET", "/put", &[(name, "GET")], "passes"),
        ("GET", "/elsewhere", &[(name, "PUT")], "passes"),
    ];
    for (method, path, lines, expected) in rows {
        assert_eq!(of(method, path, lines), *expected, "{method} {path} {lines:?}");
    }
}

#[test]
fn what_no_route_matches_is_refused_where_unmatched_is_refuse() {
    let routes = json!([
        { "path": "/pay", "methods": ["POST"] },
        { "path": "/free", "methods": ["POST"], "mode": "off" },
    ]);
    let named = [("ROUTES", routes), ("UNMATCHED", json!("refuse"))];
    let policy = Policy::parse(&vars(named)).unwrap();
    let of = |method: &str, path: &str, lines: &[(&str, &str)]| {
        let (address, header) = (address(&format!("https://h{path}")), headers(lines));
        word(&admit(&policy, &Head { method, address: &address, header: &header }))
    };
    let override_ = ("x-http-method-override", "DELETE");
    let rows: &[Line<'_>] = &[
        ("POST", "/pay", &[KEY], "guarded by k1"),
        ("POST", "/pay", &[], "passes"),
        ("POST", "/free", &[KEY], "passes"),
        ("POST", "/PAY", &[KEY], "not-guarded"),
        ("POST", "/pay%2F", &[], "not-guarded"),
        ("PUT", "/pay", &[KEY], "not-guarded"),
        ("PURGE", "/pay", &[], "not-guarded"),
        ("GET", "/other", &[KEY], "passes"),
        ("HEAD", "/other", &[], "passes"),
        ("OPTIONS", "/pay", &[], "passes"),
        ("GET", "/other", &[override_], "not-guarded"),
        ("GET", "/.well-known/idempotency", &[], "publishes"),
        ("POST", "/.oncegate", &[], "hidden"),
    ];
    for (method, path, lines, expected) in rows {
        assert_eq!(of(method, path, lines), *expected, "{method} {path} {lines:?}");
    }
}

#[test]
fn a_key_is_one_key_however_many_slashes_its_path_has() {
    let id = |path: &str| match admitted(&json!({}), "POST", &format!("https://h{path}"), &[KEY]) {
        Admission::Guard(guarded) => guarded.id,
        other => panic!("{path} is not guarded: {other:?}"),
    };
    for path in ["/a/b/", "//a/b", "/a//b", r"/a\b", "/a/./b//"] {
        assert_eq!(id(path), id("/a/b"), "{path}");
    }
    for path in ["/a/c", "/a%2Fb", "/ab"] {
        assert_ne!(id(path), id("/a/b"), "{path}");
    }
}

#[test]
fn a_route_in_shadow_admits_as_one_that_enforces_and_one_that_is_off_guards_nothing() {
    let mode = |mode| becomes(&json!({ "mode": mode }), "POST", "https://h/a", &[KEY]);
    assert_eq!(
        [mode("enforce"), mode("shadow"), mode("off")],
        ["guarded by k1", "guarded by k1", "passes"]
    );
    let ids = ["enforce", "shadow"].map(|mode| guarded(&json!({ "mode": mode }), &[KEY]).id);
    assert_ne!(ids[0], ids[1], "their records are apart");
}

#[test]
fn sources_are_tried_in_turn_and_a_body_is_read_only_where_it_is_needed() {
    let route = json!({ "key": { "from": ["header:Idempotency-Key", "query:key", "body:/id"] } });
    let of = |url: &str, lines: &[(&str, &str)]| becomes(&route, "POST", url, lines);
    assert_eq!(of("https://h/a?key=q", &[KEY]), "guarded by k1");
    assert_eq!(of("https://h/a?key=q", &[]), "guarded by q");
    assert_eq!(of("https://h/a?key=q&key=q", &[]), "key-invalid");
    assert_eq!(of("https://h/a?key=a+b", &[]), "key-invalid");
    assert_eq!(of("https://h/a", &[]), "is read");

    let Admission::Read(route) = admitted(&route, "POST", "https://h/a", &[]) else {
        panic!("its body is needed")
    };
    let (address, header) = (address("https://h/a"), headers(&[]));
    let head = Head { method: "POST", address: &address, header: &header };
    let with = |body: &str| consider(std::rc::Rc::clone(&route), &head, Some(body.as_bytes()));
    assert!(
        matches!(with(r#"{"id":7}"#), Admission::Guard(guarded) if guarded.key.as_str() == "7")
    );
    assert!(matches!(with("{}"), Admission::Pass));
    assert!(matches!(with("id=7"), Admission::PassUnread(_, why) if why == "it is not JSON"));
    assert!(matches!(with(""), Admission::Pass));
    assert!(matches!(with(r#"{"id":"a b"}"#), Admission::Refuse(..)));
}

#[test]
fn a_key_in_a_body_that_cannot_be_read_is_told_from_one_that_is_not_there() {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json = ("content-type", "application/json");
    let sized = ("content-length", "4");
    let in_form = json!({ "key": { "from": ["form:order"] } });
    let required = json!({ "key": { "from": ["form:order"], "required": true } });
    let either = json!({ "key": { "from": ["body:/order", "form:order"] } });
    let of = |route: &Value, lines: &[(&str, &str)], body: &str| {
        let (address, header) = (address("https://h/a"), headers(lines));
        let head = Head { method: "POST", address: &address, header: &header };
        match admit(&policy(route), &head) {
            Admission::Read(route) => consider(route, &head, Some(body.as_bytes())),
            admission => admission,
        }
    };
    let why = "it is application/json, and not application/x-www-form-urlencoded";
    assert!(
        matches!(of(&in_form, &[form], "order=7"), Admission::Guard(it) if it.key.as_str() == "7")
    );
    assert!(matches!(of(&in_form, &[form], "x=7"), Admission::Pass));
    assert!(
        matches!(of(&in_form, &[json, sized], "{}"), Admission::PassUnread(_, it) if it == why)
    );
    // It has no body, so nothing of it is unreadable.
    assert!(matches!(of(&in_form, &[], ""), Admission::Pass));
    assert!(matches!(of(&either, &[json], "{}"), Admission::Pass));
    assert!(matches!(of(&either, &[form], "x=7"), Admission::Pass));
    assert!(matches!(of(&either, &[form], "order=7"), Admission::Guard(_)));
    let Admission::Refuse(problem, _) = of(&required, &[json, sized], "{}") else {
        panic!("it is refused")
    };
    assert_eq!(problem.code.as_str(), "key-missing");
    assert!(problem.detail.contains(why), "{}", problem.detail);
    assert!(problem.why.is_some_and(|log| log.contains(why)));
    let Admission::Refuse(problem, _) = of(&in_form, &[form], "order=7&order=7") else {
        panic!("it is refused")
    };
    assert_eq!(problem.code.as_str(), "key-invalid");
}

#[test]
fn an_empty_key_is_refused_and_its_sender_told_how_to_have_none() {
    let Admission::Refuse(problem, _) =
        admitted(&json!({}), "POST", "https://h/a", &[("idempotency-key", "")])
    else {
        panic!("it is refused")
    };
    assert_eq!(problem.code.as_str(), "key-invalid");
    assert!(problem.detail.contains("leaves the header or field out"), "{}", problem.detail);
}

#[test]
fn the_spelling_of_a_key_is_remembered() {
    for (field, spelling) in [
        ("k1", KeySpelling::Bare),
        ("\"k1\"", KeySpelling::Quoted),
        (" \"k1\"", KeySpelling::Quoted),
    ] {
        assert_eq!(
            guarded(&json!({}), &[("idempotency-key", field)]).spelling,
            spelling,
            "{field}"
        );
    }
}

#[test]
fn a_client_may_choose_among_the_strategies_that_the_route_allows() {
    use Strategy::{Fail, FailOnRunning, ReturnExisting};
    let all = json!({ "client_strategies": ["return_existing", "fail", "fail_on_running"] });
    let default = json!({ "on_duplicate": "fail_on_running" });
    let none = json!({ "client_strategies": [] });
    for (route, asked, expected) in [
        (&all, "RETURN_EXISTING", Some(ReturnExisting)),
        (&all, "FAIL", Some(Fail)),
        (&all, " FAIL ", Some(Fail)),
        (&all, "FAIL_ON_RUNNING", Some(FailOnRunning)),
        (&all, "fail", None),
        (&all, "", None),
        (&all, "FAIL, FAIL", None),
        (&default, "FAIL", Some(Fail)),
        // The route does it by itself; a client may not ask for it.
        (&default, "FAIL_ON_RUNNING", None),
        (&none, "RETURN_EXISTING", None),
    ] {
        let lines = [KEY, ("x-on-conflict", asked)];
        let chosen = match admitted(route, "POST", "https://h/a", &lines) {
            Admission::Guard(guarded) => Some(guarded.strategy),
            _ => None,
        };
        assert_eq!(chosen, expected, "{route} {asked:?}");
    }
    assert_eq!(guarded(&default, &[KEY]).strategy, FailOnRunning);
}

#[test]
fn a_client_waits_no_longer_than_it_prefers_or_the_route_allows() {
    let route = json!({ "wait": "10s" });
    for (prefer, seconds) in [
        (None, 10),
        (Some("wait=3"), 3),
        (Some("wait=0"), 0),
        (Some("wait=60"), 10),
        (Some("respond-async, wait=3"), 3),
        (Some("WAIT=3"), 3),
        (Some("wait = 3"), 3),
        (Some("wait=\"3\""), 3),
        (Some("wait=3; x=y"), 3),
        (Some("wait=3, wait=5"), 3),
        (Some("wait"), 10),
        (Some("wait=soon"), 10),
        (Some("wait=-1"), 10),
        (Some("wait=99999999999999999999"), 10),
        (Some("await=3"), 10),
    ] {
        let lines: Vec<_> =
            [KEY].into_iter().chain(prefer.map(|prefer| ("prefer", prefer))).collect();
        assert_eq!(guarded(&route, &lines).wait, s(seconds), "{prefer:?}");
    }
}

/// RFC 7240: without a time of its own, a client that prefers that does not wait at all.
#[test]
fn a_client_is_answered_before_its_call_is_done_where_its_route_says_so() {
    let rows = [
        // the route's `async`, Prefer, how long the client waits, whether it is answered that its call runs
        ("never", None, 10, false),
        ("never", Some("respond-async"), 10, false),
        ("never", Some("respond-async, wait=3"), 3, false),
        ("allow", None, 10, false),
        ("allow", Some("wait=3"), 3, false),
        ("allow", Some("respond-async"), 0, true),
        ("allow", Some("wait=3, respond-async"), 3, true),
        ("allow", Some("respond-async, wait=60"), 10, true),
        ("always", None, 10, true),
        ("always", Some("respond-async"), 0, true),
        ("always", Some("wait=3"), 3, true),
        ("always", Some("handling=strict"), 10, true),
    ];
    for (route, prefer, wait, responds_async) in rows {
        let lines: Vec<_> =
            [KEY].into_iter().chain(prefer.map(|prefer| ("prefer", prefer))).collect();
        let guarded = guarded(&json!({ "wait": "10s", "async": route }), &lines);
        let found = (guarded.wait, guarded.responds_async);
        assert_eq!(found, (s(wait), responds_async), "{route} {prefer:?}");
    }
}

#[test]
fn a_correlation_id_is_the_clients_or_stands_for_the_operation() {
    let id = |given: &str| guarded(&json!({}), &[KEY, ("x-correlation-id", given)]).correlation_id;
    assert_eq!(id("order-7"), "order-7");
    assert_eq!(id(&"c".repeat(255)).len(), 255);
    let own = guarded(&json!({}), &[KEY]).correlation_id;
    assert_eq!(own.len(), 32);
    for unusable in ["", "a b", "é", "a\tb", &"c".repeat(256)] {
        assert_eq!(id(unusable), own, "{unusable:?}");
    }
    let again = guarded(&json!({}), &[KEY]).correlation_id;
    assert_eq!(again, own, "every try of one operation carries the same");
}

#[test]
fn a_claim_carries_the_rules_of_its_route() {
    let route = json!({
        "name": "charge", "on_in_doubt": "retry", "timeout": "20s", "ttl": "7d",
        "tombstone": "1d", "doubt_ttl": "30d", "wait": "5s",
    });
    let (address, header) = (address("https://h/a?x=1"), headers(&[KEY]));
    let head = Head { method: "POST", address: &address, header: &header };
    let claim = guarded(&route, &[KEY]).claim(&head, &[0; 32], lease(1));
    assert_eq!((claim.lease, claim.wait, claim.on_in_doubt), (lease(1), s(5), OnInDoubt::Retry));
    assert_eq!((claim.durations.lease, claim.durations.ttl), (s(35), s(7 * 86_400)));
    assert_eq!((claim.metadata.route.as_str(), claim.metadata.path.as_str()), ("charge", "/a"));
    for held in ["hold", "probe"] {
        let route = json!({ "on_in_doubt": held, "probe": "/{key}" });
        let claim = guarded(&route, &[KEY]).claim(&head, &[0; 32], lease(1));
        assert_eq!(claim.on_in_doubt, OnInDoubt::Hold, "{held}");
    }
}
