//! The published policy: what a client may rely on, as JSON at `/.well-known/idempotency`.
//!
//! draft-ietf-httpapi-idempotency-key-header-07 section 2.5.2: a resource MUST publish its idempotency
//! specification, the expiration policy included. No secret and no origin address is in it.

use std::time::Duration;

use crate::admission::strategy_name;
use crate::config::Policy;
use crate::config::route::{Mode, Route};
use crate::lifecycle::event::Strategy;
use crate::lifecycle::outcome::{self, Outcome, Preset};
use crate::problem::Code;
use crate::request::fingerprint::BodyRule;
use crate::request::json::{self, Writer};
use crate::request::key_source::{Piece, Source};

/// The whole document.
#[must_use]
pub fn published(policy: &Policy) -> String {
    json::object(|document| {
        document.list("routes", |routes| {
            for route in policy.routes.all() {
                if route.publish && route.mode != Mode::Off {
                    routes.item(|members| rules(members, route));
                }
            }
        });
        document.list("problems", |problems| {
            for code in Code::ALL {
                problems.item(|members| problem(members, code));
            }
        });
    })
}

fn rules(document: &mut Writer, route: &Route) {
    document.text("name", &route.name);
    let mode = match route.mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
        Mode::Off => "off",
    };
    document.text("mode", mode);
    document.texts("methods", &route.methods);
    document.text("path", &route.path);
    document.object("key", |key| {
        key.list("from", |list| {
            for from in &route.key_from {
                list.item_text(&source(from));
            }
        });
        key.flag("required", route.key_required);
        key.text("grammar", KEY_GRAMMAR);
    });
    document.object("fingerprint", |fingerprint| {
        match &route.fingerprint.body {
            BodyRule::Raw => fingerprint.text("body", "raw"),
            BodyRule::Json => fingerprint.text("body", "json"),
            BodyRule::None => fingerprint.text("body", "none"),
            BodyRule::Pointers(pointers) => {
                fingerprint.list("body", |list| {
                    for pointer in pointers {
                        list.item_text(&pointer.to_string());
                    }
                });
            }
        }
        fingerprint.flag("query", route.fingerprint.query);
        fingerprint.texts("headers", &route.fingerprint.headers);
    });
    document.text("on_duplicate", &strategy(route.on_duplicate));
    document.list("client_strategies", |list| {
        for strategy in &route.client_strategies {
            list.item_text(strategy_name(*strategy));
        }
    });
    document.object("outcome", |members| outcome_rule(members, &route.outcome));
    document.text("wait", &iso8601(route.wait));
    document.text("timeout", &iso8601(route.timeout));
    document.text("ttl", &iso8601(route.ttl));
    document.text("tombstone", &iso8601(route.tombstone));
}

fn source(source: &Source) -> String {
    match source {
        Source::Header(name) => format!("header:{name}"),
        Source::Query(name) => format!("query:{name}"),
        Source::Body(pointer) => format!("body:{pointer}"),
        Source::Template(pieces) => {
            let mut text = "template:".to_owned();
            for piece in pieces {
                match piece {
                    Piece::Literal(literal) => text += literal,
                    Piece::Place(place, _) => {
                        for part in ["{", &self::source(place), "}"] {
                            text.push_str(part);
                        }
                    }
                }
            }
            text
        }
    }
}

fn strategy(strategy: Strategy) -> String {
    strategy_name(strategy).to_ascii_lowercase()
}

/// What becomes of each status: asked of the judgement itself, so that it cannot say anything else.
fn outcome_rule(document: &mut Writer, rule: &outcome::Rule) {
    let preset = match rule.preset {
        Preset::Standard => "standard",
        Preset::Strict => "strict",
        Preset::SuccessOnly => "success-only",
    };
    document.text("preset", preset);
    for (name, outcome) in
        [("store", Outcome::Store), ("release", Outcome::Release), ("in_doubt", Outcome::InDoubt)]
    {
        document.list(name, |list| ranges(list, rule, outcome));
    }
}

/// `200-399`, `402`.
fn ranges(list: &mut Writer, rule: &outcome::Rule, wanted: Outcome) {
    let mut first = None;
    for status in 200..=600 {
        let facts = outcome::Facts { status, has_retry_after: false, origin_outcome: None };
        let is_in = status < 600 && rule.judge(&facts) == wanted;
        match first {
            None if is_in => first = Some(status),
            Some(from) if !is_in => {
                let last = status - 1;
                let one = from == last;
                list.item_text(&if one { format!("{from}") } else { format!("{from}-{last}") });
                first = None;
            }
            _ => {}
        }
    }
}

fn problem(document: &mut Writer, code: Code) {
    document.text("code", code.as_str());
    document.number("status", code.status().into());
    document.text("title", code.title());
    document.flag("retry", code.should_retry());
    document.text("ask", code.ask());
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
