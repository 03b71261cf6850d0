//! How the values of knobs are written: spans, sizes, names, sources, strategies.

use std::time::Duration;

use crate::config::BODY_MAX;
use crate::config::route::{Doubtful, ForwardKey, Mode, Sender};
use crate::lifecycle::event::{CredentialChange, Strategy};
use crate::lifecycle::outcome::Preset;
use crate::lifecycle::reply::may_keep;
use crate::request::credential::CredentialPart;
use crate::request::fingerprint::BodyRule;
use crate::request::json::{Json, Pointer};
use crate::request::key_source::{Source, header_name};
use crate::request::path::normal_path;
use crate::request::scope::ScopePart;
use crate::time::{self, millis};

/// What is allowed instead; completes "is X, but …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

/// `true` or `false`.
pub(crate) fn switch(value: &Json) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| must("be true or false"))
}

/// A route's name: it appears in logs and digests.
pub(crate) fn name(value: &Json) -> Result<String, Wrong> {
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
pub(crate) fn methods(value: &Json) -> Result<Vec<String>, Wrong> {
    let wrong = || must(r#"be a list of methods in capitals, such as ["POST", "PATCH"]"#);
    let methods = texts(value).ok_or_else(wrong)?;
    let is_method =
        |m: &&str| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    if methods.is_empty() || !methods.iter().all(is_method) {
        return Err(wrong());
    }
    list(value, |text| Some(text.to_owned())).ok_or_else(wrong)
}

/// A path pattern in the spelling in which request paths are compared.
pub(crate) fn path(value: &Json) -> Result<String, Wrong> {
    match value.as_str() {
        // What a URL parser would write in another way could never match a request's path.
        Some(path) if path.starts_with('/') && path.chars().all(is_path_char) => {
            Ok(normal_path(path))
        }
        _ => Err(must(
            "be a path that starts with /, without a query, and with everything but ASCII letters, digits and signs percent-encoded",
        )),
    }
}

/// What stands in a path as it is (WHATWG URL, path percent-encode set), and the braces of parameters.
fn is_path_char(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '#' | '<' | '>' | '?' | '\\' | '^' | '`')
}

/// A path with `{key}` in it.
pub(crate) fn probe(value: &Json) -> Result<Option<String>, Wrong> {
    match value.as_str() {
        Some(path)
            if path.starts_with('/')
                && path.matches("{key}").count() == 1
                && !path.contains('#') =>
        {
            Ok(Some(path.to_owned()))
        }
        _ => Err(must("be a path such as /v1/payments/by-key/{key}")),
    }
}

/// A span such as `10s`, `24h`, `7d`, within bounds in milliseconds.
pub(crate) fn span(value: &Json, least: u64, most: u64) -> Result<Duration, Wrong> {
    let wrong = || {
        let (least, most) =
            (time::span(Duration::from_millis(least)), time::span(Duration::from_millis(most)));
        must(&format!("be a span such as 10s, 24h or 7d, from {least} to {most}"))
    };
    let span = value.as_str().and_then(time::read_span);
    span.filter(|span| (least..=most).contains(&millis(*span))).ok_or_else(wrong)
}

/// A size such as `512KiB`, `8MiB`, or a number of bytes.
pub(crate) fn size(value: &Json) -> Result<u64, Wrong> {
    let bytes = match value {
        Json::Text(text) => size_text(text.trim()),
        other => other.as_u64(),
    };
    bytes
        .filter(|bytes| *bytes <= BODY_MAX)
        .ok_or_else(|| must("be a size such as 512KiB, 8MiB or a number of bytes, at most 32MiB"))
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

/// Where a key may come from.
pub(crate) fn sources(value: &Json) -> Result<Vec<Source>, Wrong> {
    let texts =
        texts(value).ok_or_else(|| must(r#"be a list such as ["header:Idempotency-Key"]"#))?;
    let mut sources = Vec::new();
    for text in texts {
        sources.push(Source::parse(text).map_err(|why| must(&why))?);
    }
    Ok(sources)
}

/// What keeps equal keys apart.
pub(crate) fn scope(value: &Json) -> Result<Vec<ScopePart>, Wrong> {
    let part = |text: &str| match text {
        "host" => Some(ScopePart::Host),
        "method" => Some(ScopePart::Method),
        "path" => Some(ScopePart::Path),
        "credential" => Some(ScopePart::Credential),
        "route" => Some(ScopePart::Route),
        other => header_name(other.strip_prefix("header:")?).map(ScopePart::Header),
    };
    list(value, part)
        .ok_or_else(|| must("be a list of host, method, path, credential, route and header:NAME"))
}

/// Where callers carry who they are.
pub(crate) fn credential(value: &Json) -> Result<Vec<CredentialPart>, Wrong> {
    let part = |text: &str| match text.split_once(':')? {
        ("header", name) => header_name(name).map(CredentialPart::Header),
        // A cookie's name is a token too (RFC 6265 section 4.1.1), but its case counts.
        ("cookie", name) => header_name(name).map(|_| CredentialPart::Cookie(name.to_owned())),
        _ => None,
    };
    list(value, part).ok_or_else(|| must("be a list of header:NAME and cookie:NAME"))
}

/// A list of header names, in lower case.
pub(crate) fn header_names(value: &Json) -> Result<Vec<String>, Wrong> {
    list(value, header_name).ok_or_else(|| must("be a list of header names"))
}

/// Headers that may be kept although they are not by default.
pub(crate) fn kept_names(value: &Json) -> Result<Vec<String>, Wrong> {
    let names = header_names(value)?;
    match names.iter().find(|name| !may_keep(name)) {
        Some(name) => Err(must(&format!(
            "leave out {name}: it belongs to one hop, or is set anew on every answer"
        ))),
        None => Ok(names),
    }
}

/// `raw`, `json`, `none`, or a list of pointers.
pub(crate) fn body_rule(value: &Json) -> Result<BodyRule, Wrong> {
    let wrong = || {
        must(r#"be raw, json, none, or a list of JSON pointers such as ["/amount", "/currency"]"#)
    };
    match value.as_str() {
        Some("raw") => Ok(BodyRule::Raw),
        Some("json") => Ok(BodyRule::Json),
        Some("none") => Ok(BodyRule::None),
        Some(_) => Err(wrong()),
        None => match list(value, Pointer::parse) {
            Some(pointers) if !pointers.is_empty() => Ok(BodyRule::Pointers(pointers)),
            _ => Err(wrong()),
        },
    }
}

/// Single statuses.
pub(crate) fn status_list(value: &Json) -> Result<Vec<u16>, Wrong> {
    let wrong = || must("be a list of statuses from 200 to 599, such as [402]");
    let mut statuses = Vec::new();
    for status in value.as_list().ok_or_else(wrong)? {
        let status = status.as_u64().and_then(|n| u16::try_from(n).ok());
        statuses.push(status.filter(|n| (200..=599).contains(n)).ok_or_else(wrong)?);
    }
    Ok(statuses)
}

/// Browser origins (RFC 6454 section 6.2), or `*`.
pub(crate) fn cors(value: &Json) -> Result<Vec<String>, Wrong> {
    let origin = |text: &str| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let sound = text == "*"
            || rest.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ']));
        sound.then(|| text.to_owned())
    };
    list(value, origin).ok_or_else(|| {
        must(r#"be a list of origins such as ["https://app.example.com"], without a path"#)
    })
}

/// A list of strategies; may be empty.
pub(crate) fn strategies(value: &Json) -> Result<Vec<Strategy>, Wrong> {
    let named = |text: &str| strategy(&Json::Text(text.to_owned())).ok();
    list(value, named).ok_or_else(|| must("be a list of return_existing, fail and fail_on_running"))
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident -> $type:ty { $($text:literal => $value:expr),+ $(,)? }) => {
        $(#[$doc])*
        pub(crate) fn $name(value: &Json) -> Result<$type, Wrong> {
            match value.as_str() {
                $(Some($text) => Ok($value),)+
                _ => Err(must(concat!("be one of", $(" ", $text),+))),
            }
        }
    };
}

choice! {
    /// One of Conductor's three strategies.
    strategy -> Strategy {
        "return_existing" => Strategy::ReturnExisting,
        "fail" => Strategy::Fail,
        "fail_on_running" => Strategy::FailOnRunning,
    }
}
choice! {
    /// Whether the route enforces.
    mode -> Mode { "enforce" => Mode::Enforce, "shadow" => Mode::Shadow, "off" => Mode::Off }
}
choice! {
    /// A webhook sender.
    sender -> Option<Sender> {
        "stripe-webhook" => Some(Sender::Stripe),
        "github-webhook" => Some(Sender::GitHub),
        "shopify-webhook" => Some(Sender::Shopify),
        "standard-webhooks" => Some(Sender::Standard),
        "svix" => Some(Sender::Svix),
    }
}
choice! {
    /// The same operation under another credential.
    credential_change -> CredentialChange {
        "refuse" => CredentialChange::Refuse,
        "forward" => CredentialChange::Forward,
    }
}
choice! {
    /// What the origin's answer means.
    outcome_preset -> Preset {
        "standard" => Preset::Standard,
        "strict" => Preset::Strict,
        "success-only" => Preset::SuccessOnly,
    }
}
choice! {
    /// What happens to a doubt.
    doubtful -> Doubtful { "hold" => Doubtful::Hold, "retry" => Doubtful::Retry, "probe" => Doubtful::Probe }
}
choice! {
    /// The key that the origin gets.
    forward_key -> ForwardKey {
        "same" => ForwardKey::Same,
        "derived" => ForwardKey::Derived,
        "none" => ForwardKey::None,
    }
}

fn list<T>(value: &Json, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for text in texts(value)? {
        all.push(read(text)?);
    }
    Some(all)
}

fn texts(value: &Json) -> Option<Vec<&str>> {
    let mut all = Vec::new();
    for item in value.as_list()? {
        all.push(item.as_str()?);
    }
    Some(all)
}

fn must(what: &str) -> Wrong {
    Wrong(format!("must {what}"))
}
