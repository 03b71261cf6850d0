//! `npm run check`: reads wrangler.toml as the Worker will, without starting anything.
//!
//! Prints every error with the knob's path, and what is allowed but probably not meant as a warning.
//! Exit code 1 if there is an error, 2 if the file cannot be read.

use std::process::ExitCode;

use oncegate::config::{Misconfigured, OriginVar, Policy, VARS, Vars, distance};
use oncegate::request::json::Json;

fn main() -> ExitCode {
    let path = std::env::args().nth(1).unwrap_or_else(|| "wrangler.toml".to_owned());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return unreadable(&path, &error.to_string()),
    };
    let config = match toml::from_str::<toml::Value>(&text) {
        Ok(config) => json(config),
        Err(error) => return unreadable(&path, &error.to_string()),
    };
    let mut errors = 0;
    for (place, environment) in environments(&config) {
        let (wrongs, warnings) = check(&environment);
        for Misconfigured { knob, why } in &wrongs {
            println!("{path}: error: {place}{knob}: {why}");
        }
        for Misconfigured { knob, why } in &warnings {
            println!("{path}: warning: {place}{knob}: {why}");
        }
        errors += wrongs.len();
    }
    if errors > 0 {
        return ExitCode::from(1);
    }
    println!("{path}: sound");
    ExitCode::SUCCESS
}

fn unreadable(path: &str, why: &str) -> ExitCode {
    println!("{path}: error: cannot be read: {}", why.trim());
    ExitCode::from(2)
}

/// The deployment as it is, and each of `[env.NAME]`: vars and bindings are not inherited by those
/// (developers.cloudflare.com, workers/wrangler/environments).
fn environments(config: &Json) -> Vec<(String, Json)> {
    let mut all = vec![(String::new(), config.clone())];
    if let Some(named) = config.get("env").and_then(Json::as_object) {
        all.extend(named.iter().map(|(name, part)| (format!("env.{name}: "), part.clone())));
    }
    all
}

fn check(config: &Json) -> (Vec<Misconfigured>, Vec<Misconfigured>) {
    let vars = config.get("vars").cloned().unwrap_or_else(|| Json::Object(Vec::new()));
    let mut wrongs = too_large(&vars);
    wrongs.extend(unknown_vars(&vars));
    wrongs.extend(bindings(config));
    match Policy::parse(&read(&vars, binds_origin(config))) {
        Ok(policy) => (wrongs, policy.warnings()),
        Err(more) => {
            wrongs.extend(more);
            (wrongs, Vec::new())
        }
    }
}

/// The same reading as the Worker's, of what wrangler would hand to it.
fn read(vars: &Json, binds_origin: bool) -> Vars {
    let origin = match vars.get("ORIGIN") {
        _ if binds_origin => OriginVar::Binding,
        None => OriginVar::Absent,
        Some(value) => OriginVar::Text(value.as_str().unwrap_or_default().to_owned()),
    };
    let members = vars.as_object().into_iter().flatten();
    let mut routes: Vec<(String, Json)> = members
        .filter(|(name, _)| name.starts_with("ROUTES"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    routes.sort_by_key(|(name, _)| (name.len(), name.clone()));
    Vars {
        origin,
        shards: vars.get("SHARDS").cloned(),
        location_hint: vars.get("LOCATION_HINT").cloned(),
        log_keys: vars.get("LOG_KEYS").cloned(),
        routes,
        // Every other var is reported by name.
        others: Vec::new(),
    }
}

/// Vars that nobody reads, whatever they were meant for.
fn unknown_vars(vars: &Json) -> Vec<Misconfigured> {
    let unknown = |name: &&String| !VARS.contains(&name.as_str()) && !name.starts_with("ROUTES_");
    let nearest = |name: &str| VARS.iter().min_by_key(|var| distance(name, var));
    let names = vars.as_object().into_iter().flatten().map(|(name, _)| name);
    names
        .filter(unknown)
        .map(|name| {
            let nearest = nearest(name).unwrap_or(&"ORIGIN");
            let why = format!("is not a var of the filter; the nearest one is {nearest}");
            Misconfigured { knob: name.clone(), why }
        })
        .collect()
}

fn binds_origin(config: &Json) -> bool {
    let services = config.get("services").and_then(Json::as_list);
    services
        .into_iter()
        .flatten()
        .any(|service| service.get("binding").and_then(Json::as_str) == Some("ORIGIN"))
}

/// A var holds 5 KB (developers.cloudflare.com, workers/platform/limits).
fn too_large(vars: &Json) -> Vec<Misconfigured> {
    let members = vars.as_object().into_iter().flatten();
    members
        .map(|(name, value)| (name, value.as_str().map_or(value.to_string().len(), str::len)))
        .filter(|(_, bytes)| *bytes > VAR_BYTES_MAX)
        .map(|(name, bytes)| {
            let why = format!("holds {bytes} bytes of the {VAR_BYTES_MAX} that a var may: move routes to ROUTES_2, ROUTES_3 …");
            Misconfigured { knob: name.clone(), why }
        })
        .collect()
}

fn bindings(config: &Json) -> Vec<Misconfigured> {
    let objects = config
        .get("durable_objects")
        .and_then(|objects| objects.get("bindings"))
        .and_then(Json::as_list);
    let bound = objects.into_iter().flatten().any(|object| {
        let text = |name| object.get(name).and_then(Json::as_str);
        text("name") == Some("LEDGER") && text("class_name") == Some("Ledger")
    });
    let mut wrongs = Vec::new();
    if !bound {
        let why = "is not bound: [[durable_objects.bindings]] must hold name = \"LEDGER\", class_name = \"Ledger\"";
        wrongs.push(Misconfigured { knob: "LEDGER".to_owned(), why: why.to_owned() });
    }
    if binds_origin(config) && config.get("vars").is_some_and(|vars| vars.get("ORIGIN").is_some()) {
        let why = "is both a var and a service binding: keep one";
        wrongs.push(Misconfigured { knob: "ORIGIN".to_owned(), why: why.to_owned() });
    }
    wrongs
}

/// What wrangler makes of TOML.
fn json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => Json::Text(text),
        toml::Value::Boolean(flag) => Json::Flag(flag),
        toml::Value::Array(items) => Json::List(items.into_iter().map(json).collect()),
        toml::Value::Table(members) => {
            let members = members.into_iter().map(|(name, value)| (name, json(value))).collect();
            Json::object(members).unwrap_or(Json::Null)
        }
        toml::Value::Integer(number) => Json::Number(number.to_string()),
        toml::Value::Float(number) => Json::Number(number.to_string()),
        toml::Value::Datetime(date) => Json::Text(date.to_string()),
    }
}

const VAR_BYTES_MAX: usize = 5 * 1024;
