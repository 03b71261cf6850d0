//! The knobs of a route: what each takes, and what is said of what it does not take.

use std::collections::BTreeMap;
use std::fs;

use oncegate::config::Policy;
use oncegate::config::read::Misconfigured;
use oncegate::config::route::Route;
use serde_json::{Value, json};

use crate::make::{route, s, vars};

fn parse(routes: Value) -> Result<Policy, Vec<Misconfigured>> {
    Policy::parse(&vars([("ROUTES", routes)]))
}

/// All knobs by their dotted names, as the structs tell them where they meet an unknown one.
fn knobs() -> Vec<String> {
    let fields = |table: Value| -> Vec<String> {
        let said = serde_json::from_value::<Route>(table).unwrap_err().to_string();
        let known = said.split('`').skip(3).step_by(2).map(str::to_owned);
        if said.starts_with("unknown field") { known.collect() } else { Vec::new() }
    };
    let dotted = |name: String| {
        let group = fields(json!({ &name: { "?": 0 } }));
        if group.is_empty() {
            vec![name]
        } else {
            group.iter().map(|f| format!("{name}.{f}")).collect()
        }
    };
    fields(json!({ "?": 0 })).into_iter().flat_map(dotted).collect()
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

/// README's row of each knob: its default as JSON, and its meaning.
fn documented() -> BTreeMap<String, (String, String)> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, table) =
        readme.split_once("\n| knob of a route | default | |\n|---|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').splitn(3, '|').map(str::trim).collect();
        let [name, default, doc] = cells[..] else { panic!("it has three cells: {row}") };
        (name.trim_matches('`').to_owned(), (default.trim_matches('`').to_owned(), doc.to_owned()))
    })
    .collect()
}

/// The comments of a struct's fields.
fn comments(file: &str, name: &str) -> BTreeMap<String, String> {
    let code = fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (_, fields) = code.split_once(&format!("\npub struct {name} {{\n")).unwrap();
    let (fields, _) = fields.split_once("\n}\n").unwrap();
    let (mut comments, mut comment) = (BTreeMap::new(), Vec::new());
    for line in fields.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            comment.push(text);
        } else if let Some((field, _)) = line.strip_prefix("pub ").and_then(|l| l.split_once(':')) {
            comments.insert(field.to_owned(), comment.join(" "));
            comment.clear();
        }
    }
    comments
}

#[test]
fn the_readme_names_every_knob_with_its_default_and_its_meaning() {
    let documented = documented();
    let mut knobs = knobs();
    knobs.sort();
    assert_eq!(documented.keys().cloned().collect::<Vec<_>>(), knobs);
    let mut meanings = comments("src/config/route.rs", "Route");
    for (group, file, name) in [
        ("key", "src/config/route.rs", "KeyRule"),
        ("fingerprint", "src/request/fingerprint.rs", "Rule"),
        ("outcome", "src/lifecycle/outcome.rs", "Rule"),
        ("reply", "src/config/route.rs", "ReplyRule"),
        ("request", "src/config/route.rs", "RequestRule"),
    ] {
        let fields = comments(file, name).into_iter();
        meanings.extend(fields.map(|(field, comment)| (format!("{group}.{field}"), comment)));
    }
    // `async` is a word of the language.
    if let Some(comment) = meanings.remove("respond_async") {
        meanings.insert("async".to_owned(), comment);
    }
    for (knob, (default, meaning)) in documented {
        assert_eq!(Some(&meaning), meanings.get(&knob), "{knob}");
        if default.is_empty() {
            assert!(
                ["preset", "probe", "probe_absent", "window"].contains(&knob.as_str()),
                "{knob} has a default"
            );
            continue;
        }
        let default: Value = serde_json::from_str(&default).unwrap();
        let set: Route = serde_json::from_value(table(&knob, &default)).unwrap();
        assert_eq!(set, Route::default(), "{knob} = {default} is not the default");
    }
}

#[test]
fn the_defaults_are_those_of_the_promise() {
    let promised = json!({
        "methods": ["POST", "PATCH"],
        "mode": "enforce",
        "key": { "from": ["header:Idempotency-Key"], "required": false },
        "scope": ["host", "method", "path", "credential"],
        "credential": ["header:Authorization", "header:X-Api-Key"],
        "credential_change": "refuse",
        "fingerprint": { "body": "raw", "query": true, "headers": [] },
        "fingerprint.except": [],
        "on_duplicate": "return_existing",
        "client_strategies": ["return_existing", "fail"],
        "wait": "10s",
        "async": "never",
        "status_credential": true,
        "timeout": "60s",
        "outcome": { "preset": "standard", "store": [], "release": [], "in_doubt": [] },
        "on_in_doubt": "hold",
        "probe_after": "60s",
        "ttl": "24h",
        "tombstone": "0s",
        "doubt_ttl": "90d",
        "reply": {
            "max": "8MiB",
            "stream": ["text/event-stream", "application/x-ndjson", "application/jsonl", "application/grpc*", "application/connect+*"],
            "drop": [],
            "keep": [],
        },
        "request": { "max": "8MiB" },
        "forward_key": "same",
        "cors": [],
        "publish": true,
    });
    assert_eq!(only_route(&promised), Route { name: "route-1".to_owned(), ..route() });
    assert_eq!(only_route(&json!({})), Route { name: "route-1".to_owned(), ..route() });
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
        assert_eq!((route.reply.max, route.request.max), (bytes, bytes), "{size}");
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
                json!(["form:"]),
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
        (
            "fingerprint.body",
            &[json!("xml"), json!([]), json!(["amount"]), json!(["?"]), json!({}), json!(null)],
        ),
        (
            "fingerprint.except",
            &[json!("/at"), json!(["at"]), json!([""]), json!(["/a~2"]), json!([1]), json!(null)],
        ),
        ("fingerprint.query", &[json!("yes"), json!(0)]),
        ("fingerprint.headers", &[json!("accept"), json!(["a b"]), json!([""]), json!([1])]),
        ("on_duplicate", &[json!("RETURN_EXISTING"), json!("wait"), json!(["fail"])]),
        ("client_strategies", &[json!("fail"), json!(["retry"]), json!([1])]),
        ("wait", &[json!("11m"), json!("-1s"), json!(10), json!("10"), json!("soon"), json!("")]),
        ("async", &[json!("Allow"), json!(true), json!("202")]),
        ("status_credential", &[json!("no"), json!(0), json!(null)]),
        ("timeout", &[json!("0s"), json!("61m"), json!(60)]),
        ("outcome.preset", &[json!("success_only"), json!("stripe")]),
        ("outcome.store", &[json!(402), json!(["402"]), json!([199]), json!([600]), json!([4.02])]),
        ("outcome.release", &[json!("5xx"), json!([0])]),
        ("outcome.in_doubt", &[json!([-1]), json!([70000])]),
        ("outcome.when", &[json!({}), json!("x"), json!([1]), json!(["release"])]),
        ("on_in_doubt", &[json!("ask"), json!(null)]),
        (
            "probe",
            &[json!("/p"), json!("p/{key}"), json!("/{key}/{key}"), json!("/{key}#a"), json!(true)],
        ),
        (
            "probe_absent",
            &[json!("404"), json!({ "body": "code", "is": 1 }), json!({ "body": "/code" })],
        ),
        ("probe_after", &[json!("31d"), json!(60)]),
        ("ttl", &[json!("0s"), json!("11y"), json!("24"), json!(null)]),
        ("window", &[json!("11y"), json!(3600), json!(""), json!(null)]),
        ("tombstone", &[json!("11y"), json!(0)]),
        ("doubt_ttl", &[json!("0s"), json!("11y")]),
        (
            "reply.max",
            &[json!("33MiB"), json!("8MB"), json!("1.5MiB"), json!(-1), json!(1.5), json!("")],
        ),
        (
            "reply.stream",
            &[
                json!("text/event-stream"),
                json!(["text"]),
                json!(["*"]),
                json!(["text/*x"]),
                json!(["text/plain;charset=utf-8"]),
            ],
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
            let [wrong] = &wrongs[..] else { panic!("one is wrong with {value}: {wrongs:?}") };
            // What is wrong with one item of a list is said of that item.
            let (knob, given) = match wrong.knob.strip_suffix("[0]") {
                Some(knob) => (knob, &value[0]),
                None => (wrong.knob.as_str(), value),
            };
            assert_eq!(knob, place, "{value}: {wrongs:?}");
            assert!(wrong.why.starts_with(&format!("is {given}, but must ")), "{wrong:?}");
        }
    }
    let tested: Vec<_> = rows.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(tested, knobs(), "every knob is here");
}

/// Each with a word that its reason has.
#[test]
fn a_rule_of_an_outcome_that_makes_no_sense_is_refused() {
    for (rule, word) in [
        (json!({}), "status"),
        (json!({ "status": 200, "then": "release" }), "either body or header"),
        (
            json!({ "status": 200, "body": "/a", "header": "B", "is": "c", "then": "store" }),
            "either body or header",
        ),
        (json!({ "status": 200, "body": "/a", "then": "release" }), "either is or present"),
        (
            json!({ "status": 200, "body": "/a", "is": 1, "present": true, "then": "store" }),
            "either is or present",
        ),
        (
            json!({ "status": 200, "body": "/a", "present": false, "then": "store" }),
            "present = true",
        ),
        (json!({ "status": 200, "body": "/a", "is": [1], "then": "store" }), "a text, a number"),
        (json!({ "status": 200, "header": "A", "is": 1, "then": "store" }), "headers are texts"),
        (json!({ "status": 200, "header": "a b", "is": "1", "then": "store" }), "name of a header"),
        (json!({ "status": 200, "body": "a", "is": 1, "then": "store" }), "JSON pointer"),
        (json!({ "status": 600, "body": "/a", "is": 1, "then": "store" }), "200 to 599"),
        (json!({ "status": [], "body": "/a", "is": 1, "then": "store" }), "200 to 599"),
        (
            json!({ "status": "2xx", "body": "/a", "is": 1, "then": "store" }),
            "must be a table such as",
        ),
        (json!({ "status": 200, "body": "/a", "is": 1, "then": "in-doubt" }), "in_doubt"),
        (json!({ "status": 200, "body": "/a", "is": 1 }), "then"),
        (json!({ "status": 200, "body": "/a", "is": 1, "then": "store", "else": 1 }), "else"),
    ] {
        let wrongs = parse(json!([{ "outcome": { "when": [rule] } }])).unwrap_err();
        let [wrong] = &wrongs[..] else { panic!("one is wrong with {rule}: {wrongs:?}") };
        assert_eq!(wrong.knob, "ROUTES[0].outcome.when[0]");
        assert!(wrong.why.contains(word), "{rule}: {}", wrong.why);
    }
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
    assert!(only_route(dotted).key.required);
}

#[test]
fn a_group_and_a_route_are_tables() {
    for (routes, place) in [
        (json!([7]), "ROUTES[0]"),
        (json!([["default"]]), "ROUTES[0]"),
        (json!([{}, "x"]), "ROUTES[1]"),
        (json!([{ "key": true }]), "ROUTES[0].key"),
        (json!([{ "preset": "svix", "key": 7 }]), "ROUTES[0].key"),
        (json!([{ "outcome": "strict" }]), "ROUTES[0].outcome"),
    ] {
        let wrongs = parse(routes).unwrap_err();
        assert_eq!(wrongs[0].knob, place);
        assert!(wrongs[0].why.ends_with(", but must be a table"), "{wrongs:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let wrongs = parse(json!([
        { "ttl": 1, "wait": 1, "key": { "from": 1, "required": 1 }, "tll": "1s" },
        { "mode": 1, "path": "/a" },
    ]))
    .unwrap_err();
    let mut said: Vec<_> = wrongs.iter().map(|wrong| wrong.knob.as_str()).collect();
    said.sort_unstable();
    let first = ["key.from", "key.required", "tll", "ttl", "wait"];
    let first = first.map(|knob| format!("ROUTES[0].{knob}"));
    assert_eq!(said, [&first[..], &["ROUTES[1].mode".to_owned()]].concat());
}

#[test]
fn knobs_that_make_no_sense_together_are_refused() {
    let except =
        |body| json!({ "fingerprint": { "body": body, "except": ["/sdkData/createdAt"] } });
    let rows = [
        (json!({ "key": { "required": true, "from": [] } }), "ROUTES[0].key.required"),
        (json!({ "key": { "from": [] } }), "ROUTES[0].key.from"),
        (json!({ "on_in_doubt": "probe" }), "ROUTES[0].on_in_doubt"),
        (
            json!({ "on_in_doubt": "probe", "probe": "/{key}", "forward_key": "derived" }),
            "ROUTES[0].on_in_doubt",
        ),
        (json!({ "on_in_doubt": "retry", "forward_key": "none" }), "ROUTES[0].on_in_doubt"),
        (except("raw"), "ROUTES[0].fingerprint.except"),
        (except("none"), "ROUTES[0].fingerprint.except"),
        (
            json!({ "fingerprint": { "body": ["/a"], "except": ["/a"] } }),
            "ROUTES[0].fingerprint.except",
        ),
        (json!({ "preset": "svix", "fingerprint.except": ["/a"] }), "ROUTES[0].fingerprint.except"),
        (json!({ "fingerprint": { "except": ["/a?"] } }), "ROUTES[0].fingerprint.except"),
        (json!({ "fingerprint": { "body": ["/a", "/a?"] } }), "ROUTES[0].fingerprint.body"),
        (json!({ "outcome": { "store": [402], "release": [402] } }), "ROUTES[0].outcome"),
        (json!({ "probe_absent": { "body": "/a", "present": true } }), "ROUTES[0].probe_absent"),
        (
            json!({ "outcome": { "when": [
                { "status": [200, 201], "body": "/a", "is": 1, "then": "store" },
                { "status": 201, "body": "/a", "is": 1, "then": "release" },
            ] } }),
            "ROUTES[0].outcome.when",
        ),
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
        except("json"),
        json!({ "preset": "svix", "fingerprint": { "body": "json", "except": ["/a"] } }),
        json!({ "fingerprint": { "body": ["/a", "/b?"] } }),
    ] {
        only_route(&sound);
    }
}

#[test]
fn members_are_left_out_of_json_where_nothing_else_is_said() {
    use oncegate::request::fingerprint::BodyRule;
    for table in [
        json!({ "fingerprint": { "except": ["/at"] } }),
        json!({ "fingerprint.except": ["/at"] }),
        json!({ "fingerprint": { "except": ["/at"], "body": "json" } }),
    ] {
        let rule = only_route(&table).fingerprint;
        assert_eq!((rule.body, rule.except.len()), (BodyRule::Json, 1), "{table}");
    }
}

#[test]
fn a_senders_habits_are_defaults_that_the_other_knobs_override() {
    use oncegate::config::route::Doubtful;
    use oncegate::lifecycle::outcome::Preset;
    use oncegate::request::fingerprint::BodyRule;
    use oncegate::request::key_source::Source;
    let github = "template:{header:X-GitHub-Delivery}.{header:X-GitHub-Hook-ID}";
    for (preset, keys, mib) in [
        ("stripe-webhook", &["body:/id"][..], 8),
        ("github-webhook", &[github, "header:X-GitHub-Delivery"], 25),
        ("shopify-webhook", &["header:X-Shopify-Webhook-Id", "header:Shopify-Webhook-Id"], 8),
        ("standard-webhooks", &["header:webhook-id"], 8),
        ("svix", &["header:svix-id"], 8),
    ] {
        let route = only_route(&json!({ "preset": preset }));
        let keys: Vec<_> = keys.iter().map(|key| Source::parse(key).unwrap()).collect();
        assert_eq!(route.key.from, keys, "{preset}");
        assert_eq!(route.request.max, mib << 20, "{preset}");
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
        assert_eq!(route.key.from, [Source::parse("header:X-Mine").unwrap()]);
        assert_eq!(route.outcome.preset, Preset::Strict);
        assert_eq!((route.fingerprint.body, route.on_in_doubt), (BodyRule::Raw, Doubtful::Hold));
        assert_eq!(route.ttl, s(3600));
    }
}
