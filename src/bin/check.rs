//! `npm run check`: reads wrangler.toml as the Worker will, without starting anything.
//!
//! Prints every error with the knob's path, and what is allowed but probably not meant as a warning.
//! Exit code 1 if there is an error, 2 if the file cannot be read.

use std::collections::BTreeMap;
use std::process::ExitCode;

use oncegate::config::read::Misconfigured;
use oncegate::config::{Policy, Vars, is_known};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The parts of wrangler.toml that count here.
#[derive(Deserialize)]
struct Wrangler {
    #[serde(flatten)]
    deployment: Deployment,
    #[serde(default)]
    env: BTreeMap<String, Deployment>,
}

/// The deployment as it is, or one of `[env.NAME]`: vars and bindings are not inherited by those
/// (developers.cloudflare.com, workers/wrangler/environments).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Deployment {
    vars: Map<String, Value>,
    services: Vec<Service>,
    durable_objects: DurableObjects,
}

#[derive(Deserialize)]
struct Service {
    binding: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DurableObjects {
    bindings: Vec<DurableObject>,
}

#[derive(Deserialize)]
struct DurableObject {
    name: String,
    class_name: String,
}

fn main() -> ExitCode {
    let path = std::env::args().nth(1).unwrap_or_else(|| "wrangler.toml".to_owned());
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    let parsed = text.and_then(|text| toml::from_str(&text).map_err(|error| error.to_string()));
    let Wrangler { deployment, env } = match parsed {
        Ok(wrangler) => wrangler,
        Err(why) => {
            println!("{path}: error: cannot be read: {}", why.trim());
            return ExitCode::from(2);
        }
    };
    let named = env.into_iter().map(|(name, part)| (format!("env.{name}: "), part));
    let mut errors = 0;
    for (place, deployment) in std::iter::once((String::new(), deployment)).chain(named) {
        let (wrongs, warnings) = deployment.check();
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

impl Deployment {
    /// Errors and warnings.
    fn check(self) -> (Vec<Misconfigured>, Vec<Misconfigured>) {
        let mut errors = self.too_large();
        errors.extend(self.bindings());
        let mut warnings = self.unread();
        let binds_origin = self.binds_origin();
        match Policy::parse(&Vars { values: self.vars, binds_origin }) {
            Ok(policy) => warnings.extend(policy.warnings()),
            Err(more) => errors.extend(more),
        }
        warnings.retain(|warning| errors.iter().all(|error| error.knob != warning.knob));
        (errors, warnings)
    }

    fn binds_origin(&self) -> bool {
        self.services.iter().any(|service| service.binding == "ORIGIN")
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

    fn bindings(&self) -> Vec<Misconfigured> {
        let mut mistakes = Vec::new();
        let objects = &self.durable_objects.bindings;
        if !objects.iter().any(|object| object.name == "LEDGER" && object.class_name == "Ledger") {
            let why = "is not bound: [[durable_objects.bindings]] must hold name = \"LEDGER\", class_name = \"Ledger\"";
            mistakes.push(mistake("LEDGER", why));
        }
        if self.binds_origin() && self.vars.contains_key("ORIGIN") {
            mistakes.push(mistake("ORIGIN", "is both a var and a service binding: keep one"));
        }
        mistakes
    }

    /// Vars that the filter does not read. [`Policy::parse`] refuses those whose name is nearly a known one.
    fn unread(&self) -> Vec<Misconfigured> {
        let unread = self.vars.keys().filter(|name| !is_known(name));
        unread.map(|name| mistake(name, "is a var that the filter does not read")).collect()
    }
}

fn mistake(knob: &str, why: impl Into<String>) -> Misconfigured {
    Misconfigured { knob: knob.to_owned(), why: why.into() }
}

const VAR_BYTES_MAX: usize = 5 * 1024;
