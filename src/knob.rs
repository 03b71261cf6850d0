//! How the values of knobs are written: spans, sizes, names, strategies.

use std::time::Duration;

use serde_json::Value;

use crate::record::{Millis, Strategy};
use crate::target::normal_path;

/// What is allowed instead; completes "is X, but …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

/// `true` or `false`.
pub(crate) fn switch(value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| must("be true or false"))
}

/// A route's name: it appears in logs and digests.
pub(crate) fn name(value: &Value) -> Result<String, Wrong> {
    match value.as_str() {
        Some(name)
            if (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(name.to_owned())
        }
        _ => Err(must("be 1 to 64 visible ASCII characters")),
    }
}

/// A list of method tokens (RFC 9110 section 9.1; case matters, so lower case is a mistake).
pub(crate) fn methods(value: &Value) -> Result<Vec<String>, Wrong> {
    let wrong = || must(r#"be a list of methods in capitals, such as ["POST", "PATCH"]"#);
    let methods = texts(value).ok_or_else(wrong)?;
    let is_method =
        |m: &&str| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    if methods.is_empty() || !methods.iter().all(is_method) {
        return Err(wrong());
    }
    Ok(methods.into_iter().map(str::to_owned).collect())
}

/// A path pattern in the spelling in which request paths are compared.
pub(crate) fn path(value: &Value) -> Result<String, Wrong> {
    match value.as_str() {
        Some(path) if path.starts_with('/') && !path.contains(['?', '#']) => Ok(normal_path(path)),
        _ => Err(must("be a path that starts with / and has no query")),
    }
}

/// A span such as `10s`, `24h`, `7d`, within bounds in milliseconds.
pub(crate) fn span(value: &Value, least: u64, most: u64) -> Result<Millis, Wrong> {
    let wrong = || {
        let text = |ms| humantime::format_duration(Duration::from_millis(ms));
        must(&format!("be a span such as 10s, 24h or 7d, from {} to {}", text(least), text(most)))
    };
    let span = value
        .as_str()
        .and_then(|text| humantime::parse_duration(text.trim()).ok())
        .ok_or_else(wrong)?;
    let ms = u64::try_from(span.as_millis()).map_err(|_| wrong())?;
    if (least..=most).contains(&ms) { Ok(Millis(ms)) } else { Err(wrong()) }
}

/// A size such as `512KiB`, `8MiB`, or a number of bytes.
pub(crate) fn size(value: &Value, most: u64) -> Result<u64, Wrong> {
    let wrong =
        || must(&format!("be a size such as 512KiB, 8MiB or a number of bytes, at most {most}"));
    let bytes = match value {
        Value::String(text) => size_text(text.trim()),
        other => other.as_u64(),
    };
    bytes.filter(|bytes| *bytes <= most).ok_or_else(wrong)
}

fn size_text(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// One of the three strategies.
pub(crate) fn strategy(value: &Value) -> Result<Strategy, Wrong> {
    value.as_str().and_then(strategy_named).ok_or_else(|| must(STRATEGY_NAMES))
}

/// A list of strategies; may be empty.
pub(crate) fn strategies(value: &Value) -> Result<Vec<Strategy>, Wrong> {
    let named =
        |texts: Vec<&str>| texts.into_iter().map(strategy_named).collect::<Option<Vec<_>>>();
    texts(value).and_then(named).ok_or_else(|| must(STRATEGY_NAMES))
}

fn strategy_named(name: &str) -> Option<Strategy> {
    match name {
        "return_existing" => Some(Strategy::ReturnExisting),
        "fail" => Some(Strategy::Fail),
        "fail_on_running" => Some(Strategy::FailOnRunning),
        _ => None,
    }
}

fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

fn must(what: &str) -> Wrong {
    Wrong(format!("must {what}"))
}

const STRATEGY_NAMES: &str = "name return_existing, fail or fail_on_running";
