//! `npm run check`: reads a configuration of Wrangler as the Worker and the platform will, without starting
//! anything.
//!
//! Part of what it finds no Worker could say: a Worker sees its vars, and not the file that they stand in.

mod classes;
mod jobs;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::read::Misconfigured;
use crate::config::{Policy, SECRETS, VARS, Vars, is_known};

/// What a configuration of Wrangler is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `wrangler.toml`.
    Toml,
    /// `wrangler.json` and `wrangler.jsonc`: Wrangler takes comments in both.
    Jsonc,
}

/// What was found. The name of a knob begins with its environment: `env.staging: SHARDS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What would not be served as it is written.
    pub errors: Vec<Misconfigured>,
    /// What is served, but is probably not meant.
    pub warnings: Vec<Misconfigured>,
}

/// Checks the text of a configuration: the deployment itself, and each of its environments.
///
/// # Errors
/// The text is no TOML or JSON, or no configuration of Wrangler. The message is the parser's, with the place.
pub fn check(text: &str, format: Format) -> Result<Report, String> {
    let mut file: Map<String, Value> = match format {
        Format::Toml => toml::from_str(text).map_err(|error| error.to_string())?,
        Format::Jsonc => {
            jsonc_parser::parse_to_serde_value(text, &jsonc_parser::ParseOptions::default())
                .map_err(|error| error.to_string())?
        }
    };
    let environments = match file.remove("env") {
        Some(Value::Object(environments)) => environments,
        _ => Map::new(),
    };
    let mut report = Report::default();
    let top = [("", file.clone())];
    let named = environments.iter().filter_map(|(name, part)| {
        let mut part = part.as_object()?.clone();
        for key in INHERITED.into_iter().filter(|key| file.contains_key(*key)) {
            part.entry(key).or_insert_with(|| file.get(key).cloned().unwrap_or_default());
        }
        Some((name.as_str(), part))
    });
    for (environment, deployment) in top.into_iter().chain(named) {
        let mut found = misplaced(&deployment);
        found.add(
            Deployment::deserialize(Value::Object(deployment))
                .map_err(|error| error.to_string())?
                .check(),
        );
        report.add(if environment.is_empty() { found } else { found.within(environment) });
    }
    Ok(report)
}

/// Knobs that stand outside `[vars]`, where neither Wrangler nor the Worker reads them.
fn misplaced(deployment: &Map<String, Value>) -> Report {
    let names = deployment
        .keys()
        .filter(|name| VARS.contains(&name.to_uppercase().as_str()) || name.starts_with("ROUTES"));
    // Wrangler's own `routes` are something else.
    let names = names.filter(|name| name.chars().all(|c| !c.is_ascii_lowercase()));
    let errors = names.map(|name| mistake(name, format!("stands outside vars, where nobody reads it: write [vars] above it, or [[vars.{name}]]")));
    Report { errors: errors.collect(), warnings: Vec::new() }
}

impl Report {
    fn add(&mut self, more: Self) {
        self.errors.extend(more.errors);
        self.warnings.extend(more.warnings);
    }

    fn within(self, environment: &str) -> Self {
        let at = |found: Misconfigured| {
            mistake(&format!("env.{environment}: {}", found.knob), found.why)
        };
        Self {
            errors: self.errors.into_iter().map(at).collect(),
            warnings: self.warnings.into_iter().map(at).collect(),
        }
    }
}

/// The parts of a deployment that count here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Deployment {
    compatibility_date: Option<String>,
    vars: Map<String, Value>,
    services: Vec<Service>,
    durable_objects: DurableObjects,
    migrations: Vec<Migration>,
    exports: Map<String, Value>,
    route: Option<Value>,
    routes: Vec<Value>,
    triggers: Triggers,
    queues: Queues,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Triggers {
    crons: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Queues {
    consumers: Vec<Consumer>,
    producers: Vec<Producer>,
}

#[derive(Deserialize)]
struct Consumer {
    queue: String,
    dead_letter_queue: Option<String>,
}

#[derive(Deserialize)]
struct Producer {
    binding: String,
}

#[derive(Deserialize)]
struct Service {
    binding: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DurableObjects {
    bindings: Vec<DurableObject>,
    code_update_strategy: CodeUpdateStrategy,
}

/// When a deploy replaces the code of an object that is busy.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CodeUpdateStrategy {
    mode: Option<String>,
    /// In seconds.
    max_delay: Option<f64>,
}

#[derive(Deserialize)]
struct DurableObject {
    name: String,
    class_name: String,
    /// The Worker that has the class, where it is another one.
    script_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Migration {
    new_classes: Vec<String>,
    new_sqlite_classes: Vec<String>,
}

impl Deployment {
    fn check(self) -> Report {
        let mut errors = self.too_large();
        errors.extend(classes::ledger(&self));
        errors.extend(self.secrets());
        errors.extend(self.origin());
        let mut warnings = self.unread();
        warnings.extend(self.leads_nowhere());
        let (binds_origin, binds_runner) = (self.binds_origin(), self.binds_class("RUNNER"));
        match Policy::parse(&Vars { values: self.vars.clone(), binds_origin, binds_runner }) {
            Ok(policy) => {
                errors.extend(classes::runner(&self, &policy));
                warnings.extend(policy.warnings());
                errors.extend(jobs::schedules(&policy, &self.triggers.crons));
                errors.extend(jobs::queues(&policy, &self.queues));
            }
            Err(more) => errors.extend(more),
        }
        warnings.retain(|warning| errors.iter().all(|error| error.knob != warning.knob));
        Report { errors, warnings }
    }

    fn binds_origin(&self) -> bool {
        self.services.iter().any(|service| service.binding == "ORIGIN")
    }

    fn binds_class(&self, name: &str) -> bool {
        self.durable_objects.bindings.iter().any(|object| object.name == name)
    }

    /// A var holds 5 KB (developers.cloudflare.com, workers/platform/limits).
    fn too_large(&self) -> Vec<Misconfigured> {
        let sizes = self.vars.iter().map(|(name, value)| {
            (name, value.as_str().map_or_else(|| value.to_string().len(), str::len))
        });
        sizes
            .filter(|(_, bytes)| *bytes > VAR_BYTES_MAX)
            .map(|(name, bytes)| {
                mistake(name, format!("holds {bytes} bytes of the {VAR_BYTES_MAX} that a var may: move routes to ROUTES_2, ROUTES_3 …"))
            })
            .collect()
    }

    /// A var is shown in clear by Wrangler and by the dashboard.
    fn secrets(&self) -> Vec<Misconfigured> {
        let in_vars = SECRETS.into_iter().filter(|name| self.vars.contains_key(*name));
        in_vars
            .map(|name| mistake(name, format!("is a secret, and a var is shown to everybody who sees the deployment: npx wrangler secret put {name}, or .dev.vars on a laptop")))
            .collect()
    }

    fn origin(&self) -> Option<Misconfigured> {
        let origin = self.vars.get("ORIGIN")?.as_str()?;
        let after_scheme = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let path = after_scheme.find(['/', '?', '#']).map_or("", |at| after_scheme.split_at(at).1);
        if self.binds_origin() {
            Some(mistake("ORIGIN", "is both a var and a service binding: keep one"))
        } else if !matches!(path, "" | "/") {
            Some(mistake(
                "ORIGIN",
                format!(
                    "has a path, but only scheme, host and port count: leave out \"{path}\", and let clients ask for the path that the origin knows"
                ),
            ))
        } else {
            None
        }
    }

    /// Vars that the filter does not read. [`Policy::parse`] refuses those whose name is nearly a known one.
    fn unread(&self) -> Vec<Misconfigured> {
        let unread = self.vars.keys().filter(|name| !is_known(name));
        unread.map(|name| mistake(name, "is a var that the filter does not read")).collect()
    }

    /// Without an origin and without a zone whose requests it sees, the Worker would call itself.
    fn leads_nowhere(&self) -> Option<Misconfigured> {
        let has_zone = self.route.is_some() || !self.routes.is_empty();
        let leads = has_zone || self.binds_origin() || self.vars.contains_key("ORIGIN");
        (!leads).then(|| mistake("ORIGIN", "is not set, and no routes are: requests have nowhere to go, and come back to the Worker. Set ORIGIN, bind a service of that name, or name the zone's routes"))
    }
}

fn mistake(knob: &str, why: impl Into<String>) -> Misconfigured {
    Misconfigured { knob: knob.to_owned(), why: why.into() }
}

/// Keys that an environment has from the top of the file unless it names its own (developers.cloudflare.com,
/// workers/wrangler/configuration, "Inheritable keys"). Vars and bindings are not among them.
const INHERITED: [&str; 5] = ["compatibility_date", "migrations", "exports", "route", "routes"];
const VAR_BYTES_MAX: usize = 5 * 1024;
