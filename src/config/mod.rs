//! The whole configuration, parsed before the first request is served; a bad value refuses guarded
//! requests from the first one on, naming the knob.
//!
//! It comes from wrangler.toml's `[vars]`: `ORIGIN`, `SHARDS`, `LOCATION_HINT`, `JURISDICTION`, `UNMATCHED`, `LOG_KEYS`, and
//! the routes in `ROUTES`, `ROUTES_2`, … (a var holds 5 KB). The knobs of a route are the fields of [`route::Route`].

mod contradictions;
mod jobs;
pub mod loops;
pub mod preset;
pub mod publish;
pub mod read;
pub mod route;
pub mod routing;
mod tables;
mod tokens;
pub mod values;

use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::read::{Misconfigured, nearest, read};
use crate::config::route::Route;
use crate::config::routing::Routes;
use crate::config::tables::tables;
use crate::config::values::Mode;
use crate::job::queue::QueueRule;
use crate::job::schedule::Schedule;
use crate::log::LogKeys;
use crate::request::bearer::Trust;
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
    /// The jurisdiction that Ledger objects must not leave: part of the stored data.
    pub jurisdiction: Option<String>,
    /// What becomes of a request that no route matches.
    pub unmatched: Unmatched,
    /// How keys appear in the log.
    pub log_keys: LogKeys,
    /// Whose access tokens are taken, where a route names a claim of them.
    pub trust: Option<Rc<Trust>>,
    /// The routes, ready for matching.
    pub routes: Routes,
    /// What is run at the times of cron triggers.
    pub schedules: Vec<Rc<Schedule>>,
    /// What is run for messages of queues.
    pub queues: Vec<Rc<QueueRule>>,
}

/// What the platform hands over, as far as it is no binding.
#[derive(Clone, Debug, Default)]
pub struct Vars {
    /// Text and JSON vars by name. Secrets are among them: the platform does not tell them apart.
    pub values: Map<String, Value>,
    /// Whether a service is bound as ORIGIN.
    pub binds_origin: bool,
    /// Whether a class of Durable Objects is bound as RUNNER.
    pub binds_runner: bool,
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

/// What becomes of a request whose method is not safe and whose path no route matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unmatched {
    /// It is forwarded unguarded.
    Pass,
    /// It is refused, so that no spelling of a path leads around the routes.
    Refuse,
}

/// The vars beside `ORIGIN` and the routes: a field for each, by its name in lower case.
#[derive(Deserialize)]
#[serde(default, rename_all = "SCREAMING_SNAKE_CASE")]
struct Settings {
    #[serde(deserialize_with = "values::shards")]
    shards: u16,
    #[serde(deserialize_with = "values::location_hint")]
    location_hint: Option<String>,
    #[serde(deserialize_with = "values::jurisdiction")]
    jurisdiction: Option<String>,
    unmatched: Unmatched,
    log_keys: LogKeys,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 16,
            location_hint: None,
            jurisdiction: None,
            unmatched: Unmatched::Pass,
            log_keys: LogKeys::Hashed,
        }
    }
}

impl Policy {
    /// Parses all of the configuration.
    ///
    /// # Errors
    /// Everything that is wrong, each with the knob's path.
    pub fn parse(vars: &Vars) -> Result<Self, Vec<Misconfigured>> {
        let mut mistakes: Vec<_> = vars.values.keys().filter_map(|name| misspelt(name)).collect();
        let origin = noted(&mut mistakes, Origin::parse(vars).map_err(|mistake| vec![mistake]));
        let settings = noted(&mut mistakes, read::<Settings>("", vars.values.clone()));
        let routes = routes(&vars.values, &mut mistakes);
        if !vars.binds_runner {
            mistakes.extend(routes.iter().filter_map(|(place, route)| needs_runner(place, route)));
        }
        mistakes.extend(shared_names(&routes));
        let trust = noted(&mut mistakes, tokens::trust(&vars.values, &routes));
        let routes = noted(&mut mistakes, Routes::new(routes));
        let (schedules, queues) = match &routes {
            Some(routes) => (
                jobs::schedules(&vars.values, routes, &mut mistakes),
                jobs::queues(&vars.values, routes, &mut mistakes),
            ),
            // They are held against the routes.
            None => (Vec::new(), Vec::new()),
        };
        match (origin, settings, trust, routes) {
            (Some(origin), Some(settings), Some(trust), Some(routes)) if mistakes.is_empty() => {
                let Settings { shards, location_hint, jurisdiction, unmatched, log_keys } =
                    settings;
                Ok(Self {
                    origin,
                    shards,
                    location_hint,
                    jurisdiction,
                    unmatched,
                    log_keys,
                    trust,
                    routes,
                    schedules,
                    queues,
                })
            }
            _ => Err(mistakes),
        }
    }

    /// What is allowed but probably not meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<Misconfigured> {
        self.routes.all().iter().filter_map(|route| forgets_payments(route)).collect()
    }
}

impl Origin {
    /// Reads ORIGIN alone: safe methods pass even where the rest does not parse.
    ///
    /// # Errors
    /// ORIGIN is neither absent, nor a service binding, nor an http(s) address.
    pub fn parse(vars: &Vars) -> Result<Self, Misconfigured> {
        match vars.values.get("ORIGIN") {
            _ if vars.binds_origin => Ok(Self::Binding),
            None => Ok(Self::Zone),
            Some(value) => value.as_str().and_then(origin_url).ok_or_else(|| {
                // The value may hold a password.
                Misconfigured::new(
                    "ORIGIN",
                    "must be http://HOST[:PORT] or https://HOST[:PORT], without user and password",
                )
            }),
        }
    }
}

fn origin_url(text: &str) -> Option<Origin> {
    // Only scheme, host and port count: what follows is not resolved against, and not kept.
    let Address { scheme, host, .. } = Address::parse(text.trim())?;
    let usable = matches!(scheme.as_str(), "http" | "https")
        && !host.is_empty()
        && has_sound_port(&host)
        && host.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '@' | '\\'));
    usable.then(|| Origin::Url { base: format!("{scheme}://{host}") })
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

/// A var that nobody reads and whose name is so near to one of ours that it must have been meant for it:
/// `ROUTE` would leave everything to the default route.
fn misspelt(name: &str) -> Option<Misconfigured> {
    // In capitals: `routes` is one shift key away.
    let capitals = name.to_ascii_uppercase();
    let meant = nearest(&capitals, VARS.into_iter())?;
    // Of four letters two are half the name: AWS is nobody's JWKS.
    let near = if meant.len() < 6 { 1 } else { 2 };
    let is_near = !is_known(name) && strsim::osa_distance(&capitals, meant) <= near;
    is_near.then(|| {
        Misconfigured::new(name, format!("is not a var of the filter; the nearest one is {meant}"))
    })
}

/// Whether a var is one that the filter reads.
#[must_use]
pub fn is_known(name: &str) -> bool {
    VARS.contains(&name) || LISTS.iter().any(|list| name.starts_with(list))
}

/// All routes, each with its place in the vars.
fn routes(
    vars: &Map<String, Value>,
    mistakes: &mut Vec<Misconfigured>,
) -> Vec<(String, Rc<Route>)> {
    let Some(tables) = tables("ROUTES", vars, mistakes) else {
        return vec![("the default route".to_owned(), Rc::new(Route::default()))];
    };
    let mut routes = Vec::new();
    for (index, (place, table)) in tables.into_iter().enumerate() {
        let route = noted(mistakes, Route::read(&place, &table, index + 1));
        routes.extend(route.map(|route| (place, Rc::new(route))));
    }
    routes
}

/// Whoever answers before the call is done needs somebody who makes the call.
fn needs_runner(place: &str, route: &Route) -> Option<Misconfigured> {
    (route.has_status_address() && route.mode == Mode::Enforce).then(|| {
        Misconfigured::new(
            format!("{place}.async"),
            "needs the class Runner bound as RUNNER, and its migration: docs/async.md",
        )
    })
}

/// A Runner and a status address find the route of a call by its name, and must find no other.
fn shared_names(routes: &[(String, Rc<Route>)]) -> impl Iterator<Item = Misconfigured> {
    let is_shared =
        |route: &Route| routes.iter().filter(|(_, other)| other.name == route.name).count() > 1;
    let shared =
        routes.iter().filter(move |(_, route)| route.has_status_address() && is_shared(route));
    shared.map(|(place, _)| {
        let why = "is another route's too, and a call that is made asynchronously finds its route by its name: give it one of its own";
        Misconfigured::new(format!("{place}.name"), why)
    })
}

/// Payments are retried for days (peers: Adyen 31, Stripe v2 30): a key forgotten sooner charges twice.
fn forgets_payments(route: &Route) -> Option<Misconfigured> {
    let pays =
        ["pay", "charge", "order", "refund", "transfer", "checkout", "invoice", "subscription"];
    let text = format!("{} {}", route.name, route.path).to_ascii_lowercase();
    let forgets = route.mode == Mode::Enforce
        && route.ttl < Duration::from_hours(7 * 24)
        && route.tombstone == Duration::ZERO;
    (forgets && pays.iter().any(|word| text.contains(word))).then(|| {
        Misconfigured::new(
            format!("route {}: ttl", route.name),
            "a late retry of a payment is executed again once ttl has passed: set ttl to 7d or more, or a tombstone",
        )
    })
}

fn noted<T>(mistakes: &mut Vec<Misconfigured>, result: Result<T, Vec<Misconfigured>>) -> Option<T> {
    result.map_err(|more| mistakes.extend(more)).ok()
}

/// What is a secret, and no var.
pub const SECRETS: [&str; 2] = ["ADMIN_TOKEN", "LOG_KEY"];
/// The vars and secrets that the filter reads.
pub const VARS: [&str; 14] = [
    "ORIGIN",
    "SHARDS",
    "LOCATION_HINT",
    "JURISDICTION",
    "ROUTES",
    "SCHEDULES",
    "QUEUES",
    "UNMATCHED",
    "JWKS",
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "ADMIN_TOKEN",
    "LOG_KEYS",
    "LOG_KEY",
];
/// Those that hold lists of tables and go on in further vars.
pub const LISTS: [&str; 3] = ["ROUTES", "SCHEDULES", "QUEUES"];
