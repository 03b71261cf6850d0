//! The knobs of a route: what each takes, and what is said of what it does not take.

use std::borrow::Borrow;

use oncegate::config::route::{KNOBS, Route};
use oncegate::config::{Misconfigured, Policy, Vars};
use serde_json::{Value, json};

use crate::make::{self, route, s, vars};

fn parse(routes: impl Borrow<Value>) -> Result<Policy, Vec<Misconfigured>> {
    Policy::parse(&Vars {
        routes: vec![("ROUTES".to_owned(), make::json(routes.borrow()))],
        ..vars()
    })
}

fn only_route(table: &Value) -> Route {
    let policy = parse(json!([table])).unwrap();
    let [route] = policy.routes.all() else { panic!("one route was configured") };
    route.as_ref().clone()
}

/// `key.required` is written as `key = { required = … }`.
fn table(dotted: &str, value: &Value) -> Value {
    match dotted.split_once('.') {
        Some((group, name)) => json!({ group: { name: value } }),
        None => json!({ dotted: value }),
    }
}

#[test]
fn every_default_is_what_its_own_knob_takes() {
    assert_eq!(only_route(&json!({})), Route { name: "route-1".to_owned(), ..route() });
    for knob in &KNOBS {
        assert!(!knob.doc.is_empty(), "{}", knob.name);
        if knob.default == "null" {
            continue;
        }
        let default: Value = serde_json::from_str(knob.default).unwrap();
        let route = only_route(&table(knob.name, &default));
        let name = route.name.clone();
        assert_eq!(route, Route { name, ..self::route() }, "{}", knob.name);
    }
}

#[test]
fn the_defaults_are_those_of_the_promise() {
    let defaults: Vec<_> = KNOBS.iter().map(|knob| (knob.name, knob.default)).collect();
    let promised = [
        ("methods", r#"["POST", "PATCH"]"#),
        ("mode", r#""enforce""#),
        ("key.from", r#"["header:Idempotency-Key"]"#),
        ("key.required", "false"),
        ("scope", r#"["host", "method", "path", "credential"]"#),
        ("credential", r#"["header:Authorization", "header:X-Api-Key"]"#),
        ("credential_change", r#""refuse""#),
        ("fingerprint.body", r#""raw""#),
        ("fingerprint.query", "true"),
        ("fingerprint.headers", "[]"),
        ("on_duplicate", r#""return_existing""#),
        ("client_strategies", r#"["return_existing", "fail"]"#),
        ("wait", r#""10s""#),
        ("timeout", r#""60s""#),
        ("outcome.preset", r#""standard""#),
        ("on_in_doubt", r#""hold""#),
        ("probe_after", r#""60s""#),
        ("ttl", r#""24h""#),
        ("tombstone", r#""0s""#),
        ("doubt_ttl", r#""90d""#),
        ("reply.max", r#""8MiB""#),
        ("request.max", r#""8MiB""#),
        ("forward_key", r#""same""#),
        ("cors", "[]"),
        ("publish", "true"),
    ];
    for row in promised {
        assert!(defaults.contains(&row), "{row:?}");
    }
    let mut names: Vec<_> = KNOBS.iter().map(|knob| knob.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KNOBS.len(), "each knob is defined once");
}

#[test]
fn the_lease_is_the_timeout_and_15_seconds() {
    let route = only_route(&json!({ "timeout": "20s", "ttl": "7d", "tombstone": "1d" }));
    let durations = route.durations();
    assert_eq!(durations.lease, s(35));
    assert_eq!((durations.ttl, durations.tombstone), (s(7 * 86_400), s(86_400)));
    assert_eq!(durations.doubt_ttl, s(90 * 86_400));
}

#[test]
fn spans_and_sizes_are_written_in_several_ways() {
    for (text, seconds) in
        [("10s", 10), (" 10s ", 10), ("1m", 60), ("24h", 86_400), ("7d", 604_800), ("1h 30m", 5400)]
    {
        assert_eq!(only_route(&json!({ "ttl": text })).ttl, s(seconds), "{text}");
    }
    let sizes = [
        (json!("512KiB"), 512 * 1024),
        (json!("8MiB"), 8 * 1024 * 1024),
        (json!("32 MiB"), 32 * 1024 * 1024),
        (json!("10"), 10),
        (json!("10B"), 10),
        (json!(10), 10),
        (json!(0), 0),
    ];
    for (size, bytes) in sizes {
        let route = only_route(&json!({ "reply": { "max": size }, "request": { "max": size } }));
        assert_eq!((route.reply_max, route.request_max), (bytes, bytes), "{size}");
    }
}

/// Each value is wrong by itself, and the complaint names the knob by its whole path.
#[test]
fn a_value_that_a_knob_does_not_take_is_refused_by_name() {
    let rows: &[(&str, &[Value])] = &[
        (
            "name",
            &[json!(""), json!(7), json!("a b"), json!("é"), json!("n".repeat(65)), json!(null)],
        ),
        (
            "methods",
            &[json!("POST"), json!([]), json!(["post"]), json!([1]), json!([""]), json!(["PO ST"])],
        ),
        ("path", &[json!("v1"), json!(""), json!("/a?b"), json!("/a#b"), json!(["/a"])]),
        ("mode", &[json!("on"), json!(true), json!("Shadow")]),
        ("preset", &[json!("stripe"), json!(1)]),
        (
            "key.from",
            &[
                json!("header:A"),
                json!(["A"]),
                json!(["header:"]),
                json!(["header:a b"]),
                json!(["query:"]),
                json!(["body:id"]),
                json!(["cookie:s"]),
                json!(["template:"]),
                json!(["template:x"]),
                json!(["template:{header:A"]),
                json!(["template:{header:A}{header:B}"]),
                json!([1]),
            ],
        ),
        ("key.required", &[json!("true"), json!(1), json!(null)]),
        ("scope", &[json!("host"), json!(["hosts"]), json!(["header:"]), json!([1])]),
        (
            "credential",
            &[json!("header:A"), json!(["A"]), json!(["cookie:"]), json!(["cookie:a b"])],
        ),
        ("credential_change", &[json!("allow"), json!(false)]),
        ("fingerprint.body", &[json!("xml"), json!([]), json!(["amount"]), json!({}), json!(null)]),
        ("fingerprint.query", &[json!("yes"), json!(0)]),
        ("fingerprint.headers", &[json!("accept"), json!(["a b"]), json!([""]), json!([1])]),
        ("on_duplicate", &[json!("RETURN_EXISTING"), json!("wait"), json!(["fail"])]),
        ("client_strategies", &[json!("fail"), json!(["retry"]), json!([1])]),
        ("wait", &[json!("11m"), json!("-1s"), json!(10), json!("10"), json!("soon"), json!("")]),
        ("timeout", &[json!("0s"), json!("61m"), json!(60)]),
        ("outcome.preset", &[json!("success_only"), json!("stripe")]),
        ("outcome.store", &[json!(402), json!(["402"]), json!([199]), json!([600]), json!([4.02])]),
        ("outcome.release", &[json!("5xx"), json!([0])]),
        ("outcome.in_doubt", &[json!([-1]), json!([70000])]),
        ("on_in_doubt", &[json!("ask"), json!(null)]),
        (
            "probe",
            &[json!("/p"), json!("p/{key}"), json!("/{key}/{key}"), json!("/{key}#a"), json!(true)],
        ),
        ("probe_after", &[json!("31d"), json!(60)]),
        ("ttl", &[json!("0s"), json!("11y"), json!("24"), json!(null)]),
        ("tombstone", &[json!("11y"), json!(0)]),
        ("doubt_ttl", &[json!("0s"), json!("11y")]),
        (
            "reply.max",
            &[json!("33MiB"), json!("8MB"), json!("1.5MiB"), json!(-1), json!(1.5), json!("")],
        ),
        ("reply.drop", &[json!("etag"), json!(["a b"])]),
        (
            "reply.keep",
            &[json!(["connection"]), json!(["content-length"]), json!(["idempotency-key"])],
        ),
        ("request.max", &[json!(33_554_433), json!("MiB"), json!("99999999999999999999")]),
        ("forward_key", &[json!("hash"), json!(true)]),
        (
            "cors",
            &[json!("*"), json!(["app.example.com"]), json!(["https://a/"]), json!(["https://"])],
        ),
        ("publish", &[json!("no")]),
    ];
    for (name, values) in rows {
        for value in *values {
            let wrongs = parse(json!([{ "path": "/a" }, table(name, value)])).unwrap_err();
            let place = format!("ROUTES[1].{name}");
            let mut said: Vec<_> = wrongs.iter().map(|wrong| wrong.knob.as_str()).collect();
            said.dedup();
            assert_eq!(said, [place], "{value}: {wrongs:?}");
            let why = &wrongs[0].why;
            assert!(why.starts_with(&format!("is {value}, but must ")), "{why}");
        }
    }
    let tested: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
    let known: Vec<_> = KNOBS.iter().map(|knob| knob.name).collect();
    assert_eq!(tested, known, "every knob is here");
}

#[test]
fn a_name_that_is_no_knob_is_refused_with_the_nearest_that_is_one() {
    let rows = [
        (json!({ "tll": "1h" }), "ROUTES[0].tll", "ttl"),
        (json!({ "on_duplicates": "fail" }), "ROUTES[0].on_duplicates", "on_duplicate"),
        (json!({ "key": { "form": [] } }), "ROUTES[0].key.form", "key.from"),
        (json!({ "reply": { "maximum": 1 } }), "ROUTES[0].reply.maximum", "reply.max"),
        (json!({ "Wait": "1s" }), "ROUTES[0].Wait", "wait"),
        (json!({ "key.required": true }), "ROUTES[0].key.required", "key.required"),
    ];
    for (table, place, nearest) in &rows[..5] {
        let wrongs = parse(json!([table])).unwrap_err();
        let [wrong] = &wrongs[..] else { panic!("one is wrong: {wrongs:?}") };
        assert_eq!(wrong.knob, *place);
        assert_eq!(wrong.why, format!("is not a knob; the nearest one is {nearest}"));
    }
    // Dotted, as the documentation writes it.
    let (dotted, ..) = &rows[5];
    assert!(only_route(dotted).key_required);
}

#[test]
fn a_group_and_a_route_are_tables() {
    for (routes, place) in [
        (json!([7]), "ROUTES[0]"),
        (json!([{}, "x"]), "ROUTES[1]"),
        (json!([{ "key": true }]), "ROUTES[0].key"),
        (json!([{ "outcome": "strict" }]), "ROUTES[0].outcome"),
    ] {
        let wrongs = parse(routes).unwrap_err();
        assert_eq!((wrongs[0].knob.as_str(), wrongs[0].why.as_str()), (place, "must be a table"));
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let wrongs = parse(json!([{ "ttl": 1, "wait": 1 }, { "mode": 1, "path": "/a" }])).unwrap_err();
    let mut said: Vec<_> = wrongs.iter().map(|wrong| wrong.knob.as_str()).collect();
    said.sort_unstable();
    assert_eq!(said, ["ROUTES[0].ttl", "ROUTES[0].wait", "ROUTES[1].mode"]);
}

#[test]
fn knobs_that_make_no_sense_together_are_refused() {
    let rows = [
        (json!({ "key": { "required": true, "from": [] } }), "ROUTES[0].key.required"),
        (json!({ "key": { "from": [] } }), "ROUTES[0].key.from"),
        (json!({ "on_in_doubt": "probe" }), "ROUTES[0].on_in_doubt"),
        (
            json!({ "on_in_doubt": "probe", "probe": "/{key}", "forward_key": "derived" }),
            "ROUTES[0].on_in_doubt",
        ),
        (json!({ "on_in_doubt": "retry", "forward_key": "none" }), "ROUTES[0].on_in_doubt"),
        (json!({ "outcome": { "store": [402], "release": [402] } }), "ROUTES[0].outcome"),
        (json!({ "outcome": { "release": [500], "in_doubt": [500] } }), "ROUTES[0].outcome"),
        (json!({ "outcome": { "in_doubt": [500], "store": [500] } }), "ROUTES[0].outcome"),
    ];
    for (table, place) in rows {
        let wrongs = parse(json!([table])).unwrap_err();
        assert_eq!(wrongs.iter().map(|wrong| wrong.knob.as_str()).collect::<Vec<_>>(), [place]);
    }
    for sound in [
        json!({ "on_in_doubt": "probe", "probe": "/by-key/{key}" }),
        json!({ "on_in_doubt": "retry", "forward_key": "derived" }),
    ] {
        only_route(&sound);
    }
}

#[test]
fn a_senders_habits_are_defaults_that_the_other_knobs_override() {
    use oncegate::config::route::Doubtful;
    use oncegate::lifecycle::outcome::Preset;
    use oncegate::request::fingerprint::BodyRule;
    use oncegate::request::key_source::Source;
    for (preset, key) in [
        ("stripe-webhook", "body:/id"),
        ("github-webhook", "header:X-GitHub-Delivery"),
        ("shopify-webhook", "header:X-Shopify-Webhook-Id"),
        ("standard-webhooks", "header:webhook-id"),
        ("svix", "header:svix-id"),
    ] {
        let route = only_route(&json!({ "preset": preset }));
        assert_eq!(route.key_from, [Source::parse(key).unwrap()], "{preset}");
        assert_eq!(route.outcome.preset, Preset::SuccessOnly, "{preset}");
        assert_eq!(route.fingerprint.body, BodyRule::None, "{preset}");
        assert_eq!(route.on_in_doubt, Doubtful::Retry, "{preset}");
        assert_eq!(route.ttl, s(7 * 86_400), "{preset}");
        // Whatever the order in the table: `fingerprint` and `on_in_doubt` sort before `preset`.
        let route = only_route(&json!({
            "preset": preset,
            "key": { "from": ["header:X-Mine"] },
            "outcome": { "preset": "strict" },
            "fingerprint": { "body": "raw" },
            "on_in_doubt": "hold",
            "ttl": "1h",
        }));
        assert_eq!(route.key_from, [Source::parse("header:X-Mine").unwrap()]);
        assert_eq!(route.outcome.preset, Preset::Strict);
        assert_eq!((route.fingerprint.body, route.on_in_doubt), (BodyRule::Raw, Doubtful::Hold));
        assert_eq!(route.ttl, s(3600));
    }
}
