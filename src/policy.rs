//! Every knob once: name, default, meaning, parser. Parsed whole before the first request is served;
//! a bad value refuses guarded requests from the first one on, naming the knob.
//!
//! Values come from wrangler.toml's `[vars]`: `ORIGIN`, `SHARDS`, `LOCATION_HINT`, and the routes in
//! `ROUTES`, `ROUTES_2`, … (a var holds 5 KB). A knob's default is text that goes through the same
//! parser as a configured value, so the table cannot promise what the parser does not take.

use serde_json::Value;

use crate::knob::{self, Wrong};
use crate::record::{Millis, Strategy, Terms};
use crate::routes::Routes;
use crate::target::Address;

/// Everything that is configured.
#[derive(Debug)]
pub struct Policy {
    /// Where requests go.
    pub origin: Origin,
    /// How many Ledger objects, 1 to 1024: part of the stored data.
    pub shards: u16,
    /// Where new Ledger objects are placed.
    pub location_hint: Option<String>,
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
    pub shards: Option<Value>,
    /// `LOCATION_HINT`.
    pub location_hint: Option<Value>,
    /// `ROUTES`, `ROUTES_2`, …: name and value (a list of tables, or its JSON text).
    pub routes: Vec<(String, Value)>,
}

/// What is wrong with the configuration. Holds no secret: the values are the operator's own vars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misconfigured {
    /// Path of the knob: `ROUTES[1].key.required`.
    pub knob: String,
    /// What was given and what is allowed.
    pub why: String,
}

/// The rules of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Names it in records and logs.
    pub name: String,
    /// Methods that it guards, upper case.
    pub methods: Vec<String>,
    /// Its path: `{name}` is one segment, `{*rest}` the rest.
    pub path: String,
    /// Whether a request without a key is refused.
    pub key_required: bool,
    /// What a duplicate gets.
    pub on_duplicate: Strategy,
    /// What a client may choose with `X-On-Conflict`.
    pub client_strategies: Vec<Strategy>,
    /// How long a duplicate waits for the running one.
    pub wait: Millis,
    /// How long the origin may take, to the last body byte.
    pub timeout: Millis,
    /// How long a stored reply is kept.
    pub ttl: Millis,
    /// How long a record at least stays in doubt.
    pub doubt_ttl: Millis,
    /// Bytes of reply body that are kept at most.
    pub reply_max: u64,
    /// Bytes of request body that are accepted at most.
    pub request_max: u64,
}

/// One knob of a route: its only definition.
#[derive(Debug)]
pub struct Knob {
    /// Dotted name: `key.required`.
    pub name: &'static str,
    /// The default as it would be written in TOML (and as JSON, which it is parsed as).
    pub default: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    /// Reads a value into the route.
    set: fn(&mut Route, &Value) -> Result<(), Wrong>,
}

/// All knobs of a route, in the order of the README.
pub static KNOBS: [Knob; 12] = [
    Knob {
        name: "name",
        default: r#""default""#,
        doc: "Names the route in records and logs; by default `route-1`, `route-2` …",
        set: |route, value| knob::name(value).map(|name| route.name = name),
    },
    Knob {
        name: "methods",
        default: r#"["POST", "PATCH"]"#,
        doc: "Methods it guards. GET, HEAD, OPTIONS and TRACE are never guarded.",
        set: |route, value| knob::methods(value).map(|methods| route.methods = methods),
    },
    Knob {
        name: "path",
        default: r#""/{*rest}""#,
        doc: "Path it guards; `{name}` is one segment, `{*rest}` the rest. The most specific path wins.",
        set: |route, value| knob::path(value).map(|path| route.path = path),
    },
    Knob {
        name: "key.required",
        default: "false",
        doc: "Refuse a request without a key (400); else it passes through unguarded.",
        set: |route, value| knob::switch(value).map(|required| route.key_required = required),
    },
    Knob {
        name: "on_duplicate",
        default: r#""return_existing""#,
        doc: "What a duplicate gets: `return_existing`, `fail`, or `fail_on_running`, which runs a completed operation again.",
        set: |route, value| knob::strategy(value).map(|strategy| route.on_duplicate = strategy),
    },
    Knob {
        name: "client_strategies",
        default: r#"["return_existing", "fail"]"#,
        doc: "What a client may choose with `X-On-Conflict`.",
        set: |route, value| knob::strategies(value).map(|list| route.client_strategies = list),
    },
    Knob {
        name: "wait",
        default: r#""10s""#,
        doc: "How long a duplicate waits for the running one; `0s` never.",
        set: |route, value| knob::span(value, 0, 10 * MINUTE).map(|span| route.wait = span),
    },
    Knob {
        name: "timeout",
        default: r#""60s""#,
        doc: "How long the origin may take, to the last body byte. The lease is this and 15 s.",
        set: |route, value| knob::span(value, 1, 60 * MINUTE).map(|span| route.timeout = span),
    },
    Knob {
        name: "ttl",
        default: r#""24h""#,
        doc: "How long a stored reply is replayed. After it the key is free again.",
        set: |route, value| knob::span(value, 1, 3660 * DAY).map(|span| route.ttl = span),
    },
    Knob {
        name: "doubt_ttl",
        default: r#""90d""#,
        doc: "How long a record stays in doubt; then its key answers 410.",
        set: |route, value| knob::span(value, 1, 3660 * DAY).map(|span| route.doubt_ttl = span),
    },
    Knob {
        name: "reply.max",
        default: r#""8MiB""#,
        doc: "Reply bodies above it reach the first caller but are not kept.",
        set: |route, value| knob::size(value, BODY_MAX).map(|size| route.reply_max = size),
    },
    Knob {
        name: "request.max",
        default: r#""8MiB""#,
        doc: "Request bodies above it are refused (413).",
        set: |route, value| knob::size(value, BODY_MAX).map(|size| route.request_max = size),
    },
];

impl Policy {
    /// Parses all of the configuration.
    ///
    /// # Errors
    /// The first thing that is wrong, with the knob's path.
    pub fn parse(vars: &Vars) -> Result<Self, Misconfigured> {
        Ok(Self {
            origin: Origin::parse(&vars.origin)?,
            shards: shards(vars.shards.as_ref())?,
            location_hint: location_hint(vars.location_hint.as_ref())?,
            routes: Routes::new(routes(&vars.routes)?)?,
        })
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
        let wrong = || Misconfigured {
            knob: "ORIGIN".to_owned(),
            why: "must be http://HOST[:PORT] or https://HOST[:PORT], without user and password"
                .to_owned(),
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

impl Route {
    /// The route's spans as the Ledger is told them.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            lease: self.timeout.plus(SETTLE_ROOM),
            ttl: self.ttl,
            tombstone: Millis(0),
            doubt_ttl: self.doubt_ttl,
        }
    }

    /// A route with every knob at its default.
    fn with_defaults(position: usize) -> Result<Self, Wrong> {
        let mut route = Self {
            name: String::new(),
            methods: Vec::new(),
            path: String::new(),
            key_required: false,
            on_duplicate: Strategy::ReturnExisting,
            client_strategies: Vec::new(),
            wait: Millis(0),
            timeout: Millis(0),
            ttl: Millis(0),
            doubt_ttl: Millis(0),
            reply_max: 0,
            request_max: 0,
        };
        for knob in &KNOBS {
            let value = serde_json::from_str(knob.default).map_err(|e| Wrong(e.to_string()))?;
            (knob.set)(&mut route, &value)?;
        }
        if position > 0 {
            route.name = format!("route-{position}");
        }
        Ok(route)
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

fn routes(vars: &[(String, Value)]) -> Result<Vec<Route>, Misconfigured> {
    let mut routes = Vec::new();
    for (var, value) in vars {
        let parsed;
        let list = match value {
            Value::String(text) => {
                parsed = serde_json::from_str(text)
                    .map_err(|error| wrong(var, format!("is not JSON: {error}")))?;
                &parsed
            }
            other => other,
        };
        let tables = list
            .as_array()
            .ok_or_else(|| wrong(var, "must be a list of tables, [[vars.ROUTES]]"))?;
        for (index, table) in tables.iter().enumerate() {
            let place = format!("{var}[{index}]");
            routes.push(route(&place, table, routes.len() + 1)?);
        }
    }
    if vars.is_empty() {
        routes.push(Route::with_defaults(0).map_err(|Wrong(why)| wrong("default", why))?);
    }
    Ok(routes)
}

fn route(place: &str, table: &Value, position: usize) -> Result<Route, Misconfigured> {
    let mut route = Route::with_defaults(position).map_err(|Wrong(why)| wrong("default", why))?;
    set_all(&mut route, place, "", table)?;
    Ok(route)
}

/// Walks a table; a nested table (`key = { required = true }`) is the dotted knob `key.required`.
fn set_all(
    route: &mut Route,
    place: &str,
    prefix: &str,
    table: &Value,
) -> Result<(), Misconfigured> {
    let table = table.as_object().ok_or_else(|| wrong(place, "must be a table"))?;
    for (name, value) in table {
        let dotted = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let here = format!("{place}.{name}");
        if let Some(knob) = KNOBS.iter().find(|knob| knob.name == dotted) {
            (knob.set)(route, value)
                .map_err(|Wrong(why)| wrong(here, format!("is {value}, but {why}")))?;
        } else if prefix.is_empty()
            && KNOBS
                .iter()
                .any(|knob| knob.name.split_once('.').is_some_and(|(group, _)| group == dotted))
        {
            set_all(route, &here, &dotted, value)?;
        } else {
            return Err(wrong(here, "is not a knob"));
        }
    }
    Ok(())
}

fn shards(value: Option<&Value>) -> Result<u16, Misconfigured> {
    let Some(value) = value else { return Ok(SHARDS_DEFAULT) };
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|shards| (1..=SHARDS_MAX).contains(shards))
        .ok_or_else(|| {
            wrong(
                "SHARDS",
                format!("is {value}, but must be a whole number from 1 to {SHARDS_MAX}"),
            )
        })
}

fn location_hint(value: Option<&Value>) -> Result<Option<String>, Misconfigured> {
    let Some(value) = value else { return Ok(None) };
    match value.as_str() {
        Some("") => Ok(None),
        Some(hint) if LOCATION_HINTS.contains(&hint) => Ok(Some(hint.to_owned())),
        _ => Err(wrong(
            "LOCATION_HINT",
            format!("is {value}, but must be one of {}", LOCATION_HINTS.join(", ")),
        )),
    }
}

pub(crate) fn wrong(knob: impl Into<String>, why: impl Into<String>) -> Misconfigured {
    Misconfigured { knob: knob.into(), why: why.into() }
}

/// Time beyond the route's `timeout` for the settle and its retries, and for reading on.
pub const SETTLE_ROOM: Millis = Millis(15_000);
/// Ledger objects where SHARDS is not set.
pub const SHARDS_DEFAULT: u16 = 16;
/// The most Ledger objects: enough for about 100,000 first-seen requests a second.
pub const SHARDS_MAX: u16 = 1024;
/// All that one Worker instance buffers (contract 1.8) bounds what one body may ask for.
pub const BODY_MAX: u64 = 32 * 1024 * 1024;
/// Where a Durable Object can be placed (developers.cloudflare.com, durable-objects/reference/data-location).
pub const LOCATION_HINTS: [&str; 11] =
    ["wnam", "enam", "sam", "weur", "eeur", "apac", "apac-ne", "apac-se", "oc", "afr", "me"];

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
