//! The configuration. An input is lines: `ORIGIN`, `SHARDS`, `LOCATION_HINT`, the name of a further var, and
//! `ROUTES` as JSON to the end. An empty line is a var that is not there.

use oncegate::admission::{Head, admit};
use oncegate::config::publish::published;
use oncegate::config::read::Misconfigured;
use oncegate::config::route::Route;
use oncegate::config::{Policy, Vars};
use oncegate::request::json;
use oncegate::request::method::is_safe;
use oncegate::request::path::Address;
use serde_json::Value;

/// Any text.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let [origin, shards, hint, other, routes] = [(); 5].map(|()| line());
    let as_text = |value: &str| Value::String(value.to_owned());
    let named = [
        ("ORIGIN", origin.map(as_text)),
        ("SHARDS", shards.map(value)),
        ("LOCATION_HINT", hint.map(as_text)),
        ("ROUTES", routes.map(as_text)),
        (other.unwrap_or_default(), other.map(as_text)),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut vars = Vars { values: named.collect(), ..Vars::default() };
    let parsed = Policy::parse(&vars);
    match &parsed {
        Ok(policy) => holds(policy),
        Err(wrongs) => names_knobs(wrongs, other),
    }
    // A list of tables says the same as its JSON text.
    let is_plain = |text: &&str| json::canonical(text.as_bytes()).is_some();
    let routes = vars.values.get("ROUTES").and_then(Value::as_str).filter(is_plain);
    if let Some(Ok(list @ Value::Array(_))) = routes.map(serde_json::from_str) {
        vars.values.insert("ROUTES".to_owned(), list);
        match (&parsed, Policy::parse(&vars)) {
            (Ok(one), Ok(other)) => assert_eq!(one.routes.all(), other.routes.all()),
            (one, other) => assert_eq!(one.as_ref().err(), other.as_ref().err(), "{text:?}"),
        }
    }
}

/// SHARDS comes as a number or as its text.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn names_knobs(wrongs: &[Misconfigured], other: Option<&str>) {
    assert!(!wrongs.is_empty());
    for Misconfigured { knob, why } in wrongs {
        let known = ["ORIGIN", "SHARDS", "LOCATION_HINT", "ROUTES"];
        assert!(
            known.iter().any(|var| knob.starts_with(var)) || Some(knob.as_str()) == other,
            "{knob:?}"
        );
        assert!(!why.is_empty() && why.len() < 100_000);
    }
}

fn holds(policy: &Policy) {
    assert!((1..=1024).contains(&policy.shards));
    assert!(serde_json::from_str::<Value>(&published(policy)).is_ok());
    for warning in policy.warnings() {
        assert!(!warning.knob.is_empty() && !warning.why.is_empty());
    }
    for route in policy.routes.all() {
        guards_its_path(policy, route);
    }
}

/// A path of the route's own pattern is guarded by it, or by one that is more specific.
fn guards_its_path(policy: &Policy, route: &Route) {
    let Some(path) = filled(&route.path) else { return };
    let url = format!("https://api.example.com{path}?a=1");
    let Some(address) = Address::parse(&url).filter(|it| it.target.compared == path) else {
        return;
    };
    for method in &route.methods {
        let found = policy.routes.find(method, &path);
        assert_eq!(found.is_none(), is_safe(method), "{method} {path} of {}", route.path);
        let header = |name: &str| name.len().is_multiple_of(2).then(|| format!("\"{name}\""));
        let _ = admit(policy, &Head { method, address: &address, header: &header });
    }
}

/// `{id}` is `v`, `{*rest}` is `v/w`.
fn filled(pattern: &str) -> Option<String> {
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}')?;
        path += before;
        path += if name.starts_with('*') { "v/w" } else { "v" };
        rest = tail;
    }
    Some(path + rest)
}
