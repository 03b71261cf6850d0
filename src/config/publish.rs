//! The published policy: what a client may rely on, as JSON at `/.well-known/idempotency`.
//!
//! draft-ietf-httpapi-idempotency-key-header-07 section 2.5.2: a resource MUST publish its idempotency
//! specification, the expiration policy included. No secret and no origin address is in it.

use std::time::Duration;

use serde::Serialize;

use crate::admission::strategy_name;
use crate::config::Policy;
use crate::config::route::{RespondAsync, Route};
use crate::config::values::Mode;
use crate::lifecycle::event::Strategy;
use crate::lifecycle::outcome::{self, Outcome, Preset, When};
use crate::problem::Code;
use crate::request::fingerprint;
use crate::request::key_source::Source;

/// The whole document.
#[must_use]
pub fn published(policy: &Policy) -> String {
    let is_public = |route: &&Route| route.publish && route.mode != Mode::Off;
    let routes = policy.routes.all().iter().map(AsRef::as_ref);
    let document = Document {
        routes: routes.filter(is_public).map(rules).collect(),
        problems: Code::ALL.map(problem),
    };
    // Structs of texts, numbers and lists always have a JSON form.
    serde_json::to_string(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct Document<'a> {
    routes: Vec<Rules<'a>>,
    problems: [Problem; Code::ALL.len()],
}

#[derive(Serialize)]
struct Rules<'a> {
    name: &'a str,
    mode: Mode,
    methods: &'a [String],
    path: &'a str,
    key: Key<'a>,
    fingerprint: &'a fingerprint::Rule,
    on_duplicate: Strategy,
    /// As clients write them in `X-On-Conflict`.
    client_strategies: Vec<&'static str>,
    outcome: Outcomes<'a>,
    #[serde(rename = "async")]
    respond_async: RespondAsync,
    wait: String,
    timeout: String,
    ttl: String,
    tombstone: String,
    /// How old an unknown request may be that says when it was first sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<String>,
}

#[derive(Serialize)]
struct Key<'a> {
    from: &'a [Source],
    required: bool,
    grammar: &'static str,
}

/// What becomes of each status, as ranges: `200-399`, `402`.
#[derive(Serialize)]
struct Outcomes<'a> {
    preset: Preset,
    store: Vec<String>,
    release: Vec<String>,
    in_doubt: Vec<String>,
    /// What the body or a header changes in that; the first that fits.
    #[serde(skip_serializing_if = "<[When]>::is_empty")]
    when: &'a [When],
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    status: u16,
    title: &'static str,
    retry: bool,
    ask: &'static str,
}

fn rules(route: &Route) -> Rules<'_> {
    let strategies = route.client_strategies.iter();
    Rules {
        name: &route.name,
        mode: route.mode,
        methods: &route.methods,
        path: &route.path,
        key: Key { from: &route.key.from, required: route.key.required, grammar: KEY_GRAMMAR },
        fingerprint: &route.fingerprint,
        on_duplicate: route.on_duplicate,
        client_strategies: strategies.map(|strategy| strategy_name(*strategy)).collect(),
        outcome: Outcomes {
            preset: route.outcome.preset,
            store: ranges(&route.outcome, Outcome::Store),
            release: ranges(&route.outcome, Outcome::Release),
            in_doubt: ranges(&route.outcome, Outcome::InDoubt),
            when: &route.outcome.when,
        },
        respond_async: route.respond_async,
        wait: iso8601(route.wait),
        timeout: iso8601(route.timeout),
        ttl: iso8601(route.ttl),
        tombstone: iso8601(route.tombstone),
        window: route.repeatability_window().map(iso8601),
    }
}

/// The statuses of one outcome. The rule itself is asked, so that the document cannot say anything else.
fn ranges(rule: &outcome::Rule, wanted: Outcome) -> Vec<String> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for status in 200..=599 {
        if rule.judge(&outcome::Facts::of(status)) == wanted {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == status => *last = status,
                _ => ranges.push((status, status)),
            }
        }
    }
    let text = |(first, last)| {
        if first == last { format!("{first}") } else { format!("{first}-{last}") }
    };
    ranges.into_iter().map(text).collect()
}

fn problem(code: Code) -> Problem {
    Problem {
        code: code.as_str(),
        status: code.status(),
        title: code.title(),
        retry: code.should_retry(),
        ask: code.ask(),
    }
}

/// An ISO 8601 duration: `P7D`, `PT1H30M`, `PT0.5S`.
#[must_use]
pub fn iso8601(span: Duration) -> String {
    let (seconds, ms) = (span.as_secs(), span.subsec_millis());
    let (days, hours, minutes, seconds) =
        (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let part =
        |count: u64, unit: &str| if count > 0 { format!("{count}{unit}") } else { String::new() };
    let fraction = match ms {
        0 => part(seconds, "S"),
        ms => format!("{seconds}.{}S", format!("{ms:03}").trim_end_matches('0')),
    };
    let time = format!("{}{}{fraction}", part(hours, "H"), part(minutes, "M"));
    match (days, time.as_str()) {
        (0, "") => "PT0S".to_owned(),
        (days, "") => format!("P{days}D"),
        (days, time) => format!("P{}T{time}", part(days, "D")),
    }
}

const KEY_GRAMMAR: &str = "1 to 255 characters: a structured-field string (RFC 8941), or bare visible ASCII without quotes, commas, semicolons and backslashes";
