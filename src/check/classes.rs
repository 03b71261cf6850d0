//! The classes of Durable Objects: bound, and made by a migration; and how long a Runner is left alone.

use serde_json::Value;

use super::{CodeUpdateStrategy, Deployment, mistake};
use crate::config::Policy;
use crate::config::read::Misconfigured;

/// The class of the Ledger, which stores in tables.
pub(super) fn ledger(deployment: &Deployment) -> Option<Misconfigured> {
    class(deployment, "LEDGER", "Ledger", "v1")
}

/// The class of the Runner, and what lets it outlive its client, where a route answers asynchronously.
pub(super) fn runner(deployment: &Deployment, policy: &Policy) -> Vec<Misconfigured> {
    let routes = policy.routes.all().iter().filter(|route| route.has_status_address());
    let Some(slowest) = routes.max_by_key(|route| route.timeout) else { return Vec::new() };
    let mut mistakes = Vec::from_iter(class(deployment, "RUNNER", "Runner", "v2"));
    let knob = |name: &str| format!("route {}: {name}", slowest.name);
    let date = deployment.compatibility_date.as_deref();
    // Dates of this form are in the order of their texts.
    if date.is_some_and(|date| date < KEPT_ALIVE_SINCE) {
        mistakes.push(mistake(
            &knob("async"),
            format!("needs compatibility_date = \"{KEPT_ALIVE_SINCE}\" or later: an object is not kept for a call that nobody waits for before that"),
        ));
    }
    let lease = slowest.durations().lease.as_secs_f64();
    let CodeUpdateStrategy { mode, max_delay } = &deployment.durable_objects.code_update_strategy;
    let delay = max_delay.unwrap_or(UPDATE_DELAY_S);
    if mode.as_deref() == Some("immediate") || delay < lease {
        mistakes.push(mistake(
            &knob("timeout"),
            format!("lets a call last {lease} s with its settle, but a deploy ends it sooner, in doubt: write [durable_objects.code_update_strategy] with mode = \"deferred\" and max_delay = {lease} or more"),
        ));
    }
    mistakes
}

fn class(deployment: &Deployment, binding: &str, class: &str, tag: &str) -> Option<Misconfigured> {
    let mut objects = deployment.durable_objects.bindings.iter();
    let Some(object) = objects.find(|object| object.name == binding && object.class_name == class)
    else {
        return Some(mistake(
            binding,
            format!(
                "is not bound: [[durable_objects.bindings]] must hold name = \"{binding}\", class_name = \"{class}\""
            ),
        ));
    };
    let is_named = |list: &[String]| list.iter().any(|name| name == class);
    let migrations = &deployment.migrations;
    if object.script_name.is_some()
        || migrations.iter().any(|step| is_named(&step.new_sqlite_classes))
    {
        return None;
    }
    let storage = deployment.exports.get(class).map(|class| class.get("storage"));
    match storage.map(|storage| storage.and_then(Value::as_str)) {
        Some(Some("sqlite")) => None,
        Some(_) => Some(mistake(
            &format!("exports.{class}.storage"),
            format!(
                "must be \"sqlite\", which every class of the filter is made with: a {class} of another kind cannot become one"
            ),
        )),
        None if migrations.iter().any(|step| is_named(&step.new_classes)) => Some(mistake(
            "migrations",
            format!(
                "names {class} under new_classes, which have no tables: write new_sqlite_classes (a class cannot be changed once it is deployed)"
            ),
        )),
        None => Some(mistake(
            "migrations",
            format!(
                "must name the class: [[migrations]] with tag = \"{tag}\", new_sqlite_classes = [\"{class}\"]"
            ),
        )),
    }
}

/// From this date on a pending task keeps an object for up to 15 minutes (developers.cloudflare.com,
/// changelog/durable-objects/2026-10-01-pending-io-keep-alive).
const KEPT_ALIVE_SINCE: &str = "2026-10-01";
/// So many seconds a deploy waits for a busy object where the configuration does not say (Wrangler 4.141).
const UPDATE_DELAY_S: f64 = 300.0;
