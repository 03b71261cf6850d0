//! The published policy: what a client may rely on, as JSON at `/.well-known/idempotency`.
//!
//! draft-ietf-httpapi-idempotency-key-header-07 section 2.5.2: a resource MUST publish its idempotency
//! specification, the expiration policy included. No secret and no origin address is in it.

use serde_json::{Value, json};

use crate::admission::strategy_name;
use crate::fingerprint::BodyRule;
use crate::outcome::{self, Outcome, Preset};
use crate::policy::Policy;
use crate::problem::Code;
use crate::record::{Millis, Strategy};
use crate::route::{Mode, Route};
use crate::source::{Piece, Source};

/// The whole document.
#[must_use]
pub fn published(policy: &Policy) -> Value {
    let shown = |route: &&std::rc::Rc<Route>| route.publish && route.mode != Mode::Off;
    let routes: Vec<Value> =
        policy.routes.all().iter().filter(shown).map(|route| rules(route)).collect();
    let problems: Vec<Value> = Code::ALL.iter().map(|code| problem(*code)).collect();
    json!({ "routes": routes, "problems": problems })
}

fn rules(route: &Route) -> Value {
    json!({
        "name": route.name,
        "mode": match route.mode {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
            Mode::Off => "off",
        },
        "methods": route.methods,
        "path": route.path,
        "key": {
            "from": route.key_from.iter().map(source).collect::<Vec<_>>(),
            "required": route.key_required,
            "grammar": KEY_GRAMMAR,
        },
        "fingerprint": {
            "body": body_rule(&route.fingerprint.body),
            "query": route.fingerprint.query,
            "headers": route.fingerprint.headers,
        },
        "on_duplicate": strategy(route.on_duplicate),
        "client_strategies": route.client_strategies.iter().map(|s| strategy_name(*s)).collect::<Vec<_>>(),
        "outcome": outcome_rule(&route.outcome),
        "wait": iso8601(route.wait),
        "timeout": iso8601(route.timeout),
        "ttl": iso8601(route.ttl),
        "tombstone": iso8601(route.tombstone),
    })
}

fn source(source: &Source) -> String {
    match source {
        Source::Header(name) => format!("header:{name}"),
        Source::Query(name) => format!("query:{name}"),
        Source::Body(pointer) => format!("body:{pointer}"),
        Source::Template(pieces) => {
            let piece = |piece: &Piece| match piece {
                Piece::Literal(literal) => literal.clone(),
                Piece::Place(place, _) => format!("{{{}}}", self::source(place)),
            };
            format!("template:{}", pieces.iter().map(piece).collect::<String>())
        }
    }
}

fn body_rule(rule: &BodyRule) -> Value {
    match rule {
        BodyRule::Raw => json!("raw"),
        BodyRule::Json => json!("json"),
        BodyRule::None => json!("none"),
        BodyRule::Pointers(pointers) => pointers.iter().map(ToString::to_string).collect(),
    }
}

fn strategy(strategy: Strategy) -> String {
    strategy_name(strategy).to_ascii_lowercase()
}

/// What becomes of each status: asked of the judgement itself, so that it cannot say anything else.
fn outcome_rule(rule: &outcome::Rule) -> Value {
    let statuses = |wanted: Outcome| -> Vec<u16> {
        let judged = |status: &u16| {
            let facts = outcome::Facts { status: *status, says_when: false, said: None };
            rule.judge(&facts) == wanted
        };
        (200..=599).filter(judged).collect()
    };
    json!({
        "preset": match rule.preset {
            Preset::Standard => "standard",
            Preset::Strict => "strict",
            Preset::SuccessOnly => "success-only",
        },
        "store": ranges(&statuses(Outcome::Store)),
        "release": ranges(&statuses(Outcome::Release)),
        "in_doubt": ranges(&statuses(Outcome::InDoubt)),
    })
}

/// `200-399`, `402`.
fn ranges(statuses: &[u16]) -> Vec<String> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for status in statuses {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *status => *last = *status,
            _ => ranges.push((*status, *status)),
        }
    }
    let text =
        |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    ranges.into_iter().map(text).collect()
}

fn problem(code: Code) -> Value {
    json!({
        "code": code.as_str(),
        "status": code.status(),
        "title": code.title(),
        "retry": code.should_retry(),
        "ask": code.ask(),
    })
}

/// An ISO 8601 duration: `P7D`, `PT1H30M`, `PT0.5S`.
#[must_use]
pub fn iso8601(span: Millis) -> String {
    let (seconds, ms) = (span.0 / 1000, span.0 % 1000);
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
