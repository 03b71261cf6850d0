//! The whole configuration, parsed before the first request is served; a bad value refuses guarded
//! requests from the first one on, naming the knob.
//!
//! It comes from wrangler.toml's `[vars]`: `ORIGIN`, `SHARDS`, `LOCATION_HINT`, and the routes in
//! `ROUTES`, `ROUTES_2`, … (a var holds 5 KB). The knobs of a route are defined in [`crate::config::route`].

pub mod pattern;
pub mod publish;
pub mod route;
pub mod routing;
pub mod values;

use std::rc::Rc;
use std::time::Duration;

use crate::config::route::{DAY, Doubtful, ForwardKey, KNOBS, Knob, Mode, Route};
use crate::config::routing::Routes;
use crate::config::values::Wrong;
use crate::log::LogKeys;
use crate::request::json::Json;
use crate::request::path::Address;

/// Everything that is configured.
#[derive(Debug)]
pub struct Policy {
    /// Where requests go.
    pub origin: Origin,
    /// How many Ledger objects, 1 to 1024: part of the stored data.
    pub shards: u16,
    /// Where new Ledger objects are placed.
    pub location_hint: Option<String>,
    /// How keys appear in the log.
    pub log_keys: LogKeys,
    /// The routes, ready for matching.
    pub routes: Routes,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// To the zone's own origin: the request is sent on to its own address.
    Zone,
    /// To a service binding named ORIGIN.
    Binding,
    /// To another scheme, host and port.
    Url {
        /// `http://127.0.0.1:8080`: path and query are appended to it as text.
        base: String,
    },
}

/// What the platform holds under the name ORIGIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginVar {
    /// Nothing.
    Absent,
    /// A var.
    Text(String),
    /// A service binding.
    Binding,
}

/// The vars as the platform hands them over, unread.
#[derive(Clone, Debug)]
pub struct Vars {
    /// `ORIGIN`.
    pub origin: OriginVar,
    /// `SHARDS`: a number, or its text.
    pub shards: Option<Json>,
    /// `LOCATION_HINT`.
    pub location_hint: Option<Json>,
    /// `LOG_KEYS`.
    pub log_keys: Option<Json>,
    /// `ROUTES`, `ROUTES_2`, …: name and value (a list of tables, or its JSON text).
    pub routes: Vec<(String, Json)>,
    /// Names of all other vars and bindings.
    pub others: Vec<String>,
}

/// What is wrong with the configuration. Holds no secret: the values are the operator's own vars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misconfigured {
    /// Path of the knob: `ROUTES[1].key.required`.
    pub knob: String,
    /// What was given and what is allowed.
    pub why: String,
}

impl Policy {
    /// Parses all of the configuration.
    ///
    /// # Errors
    /// Everything that is wrong, each with the knob's path.
    pub fn parse(vars: &Vars) -> Result<Self, Vec<Misconfigured>> {
        let mut wrongs: Vec<_> = vars.others.iter().filter_map(|name| misspelt(name)).collect();
        let origin = note(&mut wrongs, Origin::parse(&vars.origin));
        let shards = note(&mut wrongs, shards(vars.shards.as_ref()));
        let location_hint = note(&mut wrongs, location_hint(vars.location_hint.as_ref()));
        let log_keys = note(&mut wrongs, log_keys(vars.log_keys.as_ref()));
        let (list, places) = routes(&vars.routes, &mut wrongs);
        let routes = match Routes::new(list, &places) {
            Ok(routes) => Some(routes),
            Err(conflicts) => {
                wrongs.extend(conflicts);
                None
            }
        };
        match (origin, shards, location_hint, log_keys, routes) {
            (Some(origin), Some(shards), Some(location_hint), Some(log_keys), Some(routes))
                if wrongs.is_empty() =>
            {
                Ok(Self { origin, shards, location_hint, log_keys, routes })
            }
            _ => Err(wrongs),
        }
    }

    /// What is allowed but probably not meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<Misconfigured> {
        self.routes.all().iter().filter_map(forgets_payments).collect()
    }
}

impl Origin {
    /// Reads ORIGIN alone: safe methods pass even where the rest does not parse.
    ///
    /// # Errors
    /// ORIGIN is neither absent, nor a service binding, nor an http(s) address.
    pub fn parse(var: &OriginVar) -> Result<Self, Misconfigured> {
        let text = match var {
            OriginVar::Absent => return Ok(Self::Zone),
            OriginVar::Binding => return Ok(Self::Binding),
            OriginVar::Text(text) => text,
        };
        let wrong = || {
            wrong(
                "ORIGIN",
                "must be http://HOST[:PORT] or https://HOST[:PORT], without user and password",
            )
        };
        // Only scheme, host and port count: what follows is not resolved against, and not kept.
        let Address { scheme, host, .. } = Address::parse(text.trim()).ok_or_else(wrong)?;
        let usable = matches!(scheme.as_str(), "http" | "https")
            && !host.is_empty()
            && has_sound_port(&host)
            && host.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '@' | '\\'));
        if usable { Ok(Self::Url { base: format!("{scheme}://{host}") }) } else { Err(wrong()) }
    }
}

/// `host`, `host:8080`, `[::1]`, `[::1]:8080`.
fn has_sound_port(host: &str) -> bool {
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    match after.rsplit_once(':') {
        None => true,
        Some((name, port)) => {
            port.parse::<u16>().is_ok() && (host.contains(']') || !name.is_empty())
        }
    }
}

/// A name so near to a var of ours that it must have been meant for it: `ROUTE` would be read by nobody
/// and leave everything to the default route.
fn misspelt(name: &str) -> Option<Misconfigured> {
    let meant = VARS.iter().find(|var| distance(name, var) <= 2)?;
    Some(wrong(name, &format!("is not a var of the filter; the nearest one is {meant}")))
}

/// All routes, each with its place in the vars.
fn routes(
    vars: &[(String, Json)],
    wrongs: &mut Vec<Misconfigured>,
) -> (Vec<Rc<Route>>, Vec<String>) {
    let (mut routes, mut places) = (Vec::new(), Vec::new());
    for (position, (var, value)) in (1..).zip(vars) {
        // A gap would leave what comes after it unguarded.
        let expected =
            if position == 1 { "ROUTES".to_owned() } else { format!("ROUTES_{position}") };
        if *var != expected {
            wrongs.push(wrong(var, &format!("comes where {expected} is expected: routes go on in ROUTES, ROUTES_2, ROUTES_3 … without a gap")));
        }
        let Some(list) = note(wrongs, tables(var, value)) else { continue };
        for (index, table) in list.iter().enumerate() {
            let place = format!("{var}[{index}]");
            if let Some(route) = route(&place, table, routes.len() + 1, wrongs) {
                routes.push(Rc::new(route));
                places.push(place);
            }
        }
    }
    if vars.is_empty() {
        routes.extend(note(wrongs, default_route()).map(Rc::new));
        places.push("the default route".to_owned());
    }
    (routes, places)
}

fn tables(var: &str, value: &Json) -> Result<Vec<Json>, Misconfigured> {
    let list = match value {
        Json::Text(text) => {
            Json::parse(text).map_err(|error| wrong(var, &format!("is not JSON: {error}")))?
        }
        other => other.clone(),
    };
    match list {
        Json::List(tables) => Ok(tables),
        _ => Err(wrong(var, "must be a list of tables: [[vars.ROUTES]]")),
    }
}

fn default_route() -> Result<Route, Misconfigured> {
    Route::with_defaults().map_err(|Wrong(why)| wrong("default", &why))
}

fn route(
    place: &str,
    table: &Json,
    position: usize,
    wrongs: &mut Vec<Misconfigured>,
) -> Option<Route> {
    let mut route = note(wrongs, default_route())?;
    route.name = format!("route-{position}");
    // First, whatever its place in the table: the other knobs override it.
    if let Some(preset) = table.get("preset") {
        set(&mut route, "preset", preset, &format!("{place}.preset"), wrongs);
        if let Some(sender) = route.preset {
            route.take_habits(sender);
        }
    }
    set_all(&mut route, place, "", table, wrongs);
    wrongs.extend(
        contradictions(&route)
            .into_iter()
            .map(|(knob, why)| wrong(&format!("{place}.{knob}"), why)),
    );
    Some(route)
}

/// Walks a table; a nested table (`key = { required = true }`) holds the dotted knob `key.required`.
fn set_all(
    route: &mut Route,
    place: &str,
    prefix: &str,
    table: &Json,
    wrongs: &mut Vec<Misconfigured>,
) {
    let Some(members) = table.as_object() else {
        wrongs.push(wrong(place, "must be a table"));
        return;
    };
    // The preset has been taken.
    for (name, value) in
        members.iter().filter(|(name, _)| !(prefix.is_empty() && *name == "preset"))
    {
        let dotted = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let here = format!("{place}.{name}");
        let is_group = KNOBS
            .iter()
            .any(|knob| knob.name.split_once('.').is_some_and(|(group, _)| group == dotted));
        if is_group {
            set_all(route, &here, &dotted, value, wrongs);
        } else {
            set(route, &dotted, value, &here, wrongs);
        }
    }
}

fn set(route: &mut Route, dotted: &str, value: &Json, here: &str, wrongs: &mut Vec<Misconfigured>) {
    match KNOBS.iter().find(|knob| knob.name == dotted) {
        None => wrongs.push(wrong(here, &format!("is not a knob{}", nearest(dotted)))),
        Some(knob) => {
            if let Err(Wrong(why)) = (knob.set)(route, value) {
                wrongs.push(wrong(here, &format!("is {value}, but {why}")));
            }
        }
    }
}

/// The knob that was probably meant.
fn nearest(given: &str) -> String {
    let known =
        |knob: &'static Knob| [Some(knob.name), knob.name.split_once('.').map(|(group, _)| group)];
    let closest = KNOBS.iter().flat_map(known).flatten().min_by_key(|name| distance(given, name));
    closest.map(|name| format!("; the nearest one is {name}")).unwrap_or_default()
}

/// How many letters make one name the other: put in, left out, another one, or two swapped.
#[must_use]
pub fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let (mut before, mut last): (Vec<usize>, Vec<usize>) =
        (Vec::new(), (0..=other.len()).collect());
    let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX / 2);
    let mut previous = None;
    for (row, letter) in one.bytes().enumerate() {
        let mut next = vec![row + 1];
        for (column, own) in other.iter().enumerate() {
            let mut least = (at(&last, column) + usize::from(letter != *own))
                .min(at(&last, column + 1) + 1)
                .min(at(&next, column) + 1);
            let swapped =
                column > 0 && previous == Some(*own) && other.get(column - 1) == Some(&letter);
            if swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            next.push(least);
        }
        (before, last, previous) = (last, next, Some(letter));
    }
    at(&last, other.len())
}

/// Knobs that are sound each and make no sense together.
fn contradictions(route: &Route) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    if route.key_required && route.key_from.is_empty() {
        found.push(("key.required", "asks for a key, but key.from names no source for one"));
    }
    if route.on_in_doubt == Doubtful::Probe && route.probe.is_none() {
        found.push(("on_in_doubt", "is probe, but probe names no path to ask at"));
    }
    if route.on_in_doubt == Doubtful::Retry && route.forward_key == ForwardKey::None {
        found.push(("on_in_doubt", "is retry, which only an origin that sees the same key can bear, but forward_key is none"));
    }
    if route.on_in_doubt == Doubtful::Probe && route.forward_key != ForwardKey::Same {
        found.push((
            "on_in_doubt",
            "is probe, which asks by the client's key, but forward_key keeps that key from the origin",
        ));
    }
    if route.key_from.is_empty() && !route.key_required {
        found.push((
            "key.from",
            "names no source, so nothing is guarded: use mode = \"off\" for that",
        ));
    }
    for (one, other) in [
        (&route.outcome.store, &route.outcome.release),
        (&route.outcome.release, &route.outcome.in_doubt),
        (&route.outcome.in_doubt, &route.outcome.store),
    ] {
        if one.iter().any(|status| other.contains(status)) {
            found.push(("outcome", "names one status in two of its lists"));
        }
    }
    found
}

/// Payments are retried for days (peers: Adyen 31, Stripe v2 30): a key forgotten sooner charges twice.
fn forgets_payments(route: &Rc<Route>) -> Option<Misconfigured> {
    let pays =
        ["pay", "charge", "order", "refund", "transfer", "checkout", "invoice", "subscription"];
    let text = format!("{} {}", route.name, route.path).to_ascii_lowercase();
    let forgets = route.mode == Mode::Enforce
        && route.ttl < Duration::from_millis(7 * DAY)
        && route.tombstone == Duration::from_millis(0);
    (forgets && pays.iter().any(|word| text.contains(word))).then(|| {
        wrong(
            &format!("route {}: ttl", route.name),
            "a late retry of a payment is executed again once ttl has passed: set ttl to 7d or more, or a tombstone",
        )
    })
}

fn shards(value: Option<&Json>) -> Result<u16, Misconfigured> {
    let Some(value) = value else { return Ok(SHARDS_DEFAULT) };
    let number = match value {
        Json::Text(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|shards| (1..=SHARDS_MAX).contains(shards))
        .ok_or_else(|| {
            wrong(
                "SHARDS",
                &format!("is {value}, but must be a whole number from 1 to {SHARDS_MAX}"),
            )
        })
}

fn log_keys(value: Option<&Json>) -> Result<LogKeys, Misconfigured> {
    match value.map(Json::as_str) {
        None | Some(Some("hashed")) => Ok(LogKeys::Hashed),
        Some(Some("plain")) => Ok(LogKeys::Plain),
        Some(_) => Err(wrong("LOG_KEYS", r#"must be "hashed" or "plain""#)),
    }
}

fn location_hint(value: Option<&Json>) -> Result<Option<String>, Misconfigured> {
    let Some(value) = value else { return Ok(None) };
    match value.as_str() {
        Some("") => Ok(None),
        Some(hint) if LOCATION_HINTS.contains(&hint) => Ok(Some(hint.to_owned())),
        _ => Err(wrong(
            "LOCATION_HINT",
            &format!("is {value}, but must be one of {}", LOCATION_HINTS.join(", ")),
        )),
    }
}

fn note<T>(wrongs: &mut Vec<Misconfigured>, result: Result<T, Misconfigured>) -> Option<T> {
    result.map_err(|wrong| wrongs.push(wrong)).ok()
}

pub(crate) fn wrong(knob: &str, why: &str) -> Misconfigured {
    Misconfigured { knob: knob.to_owned(), why: why.to_owned() }
}

/// The vars and secrets that the filter reads.
pub const VARS: [&str; 7] =
    ["ORIGIN", "SHARDS", "LOCATION_HINT", "ROUTES", "ADMIN_TOKEN", "LOG_KEYS", "LOG_KEY"];
/// Ledger objects where SHARDS is not set.
pub const SHARDS_DEFAULT: u16 = 16;
/// The most Ledger objects: at 100 to 250 first-seen keys a second each, 100,000 and more.
pub const SHARDS_MAX: u16 = 1024;
/// All that one Worker instance buffers (contract 1.8) bounds what one body may ask for, in bytes.
pub const BODY_MAX: u64 = 32 * 1024 * 1024;
/// Where a Durable Object can be placed (developers.cloudflare.com, durable-objects/reference/data-location).
pub const LOCATION_HINTS: [&str; 11] =
    ["wnam", "enam", "sam", "weur", "eeur", "apac", "apac-ne", "apac-se", "oc", "afr", "me"];
