//! How values of knobs are written where a type of Rust does not say it: a function for
//! `#[serde(deserialize_with = "…")]` each. An error completes "is X, but …".

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::lifecycle::reply::may_keep;
use crate::request::header::header_names;
use crate::request::method::is_safe;
use crate::request::path::{compared, normal_path};

/// Whether a route enforces its rules. It stands here, and not beside the route, since
/// `request::scope` asks for it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It does.
    Enforce,
    /// Everything is forwarded as if unguarded; the log says what enforcing would answer.
    Shadow,
    /// Everything is forwarded.
    Off,
}

/// A group of knobs. A list of their values, which `serde` takes for a struct as well, is a mistake.
pub(crate) fn table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    struct Table<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
        type Value = T;

        fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
            to.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(table))
        }
    }

    from.deserialize_map(Table(PhantomData))
}

/// A route's name: it appears in logs and digests.
pub(crate) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let is_name = |text: &String| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    let name = String::deserialize(from).ok().filter(is_name);
    name.ok_or_else(|| D::Error::custom("must be 1 to 64 visible ASCII characters"))
}

/// Method tokens (RFC 9110 section 9.1). Case matters there, so lower case is a mistake.
pub(crate) fn methods<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let is_method =
        |m: &String| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    let methods = Vec::<String>::deserialize(from)?;
    if !methods.is_empty() && methods.iter().all(|method| is_safe(method)) {
        return Err(D::Error::custom(
            "must name a method that changes something: GET, HEAD, OPTIONS and TRACE are never guarded",
        ));
    }
    if methods.is_empty() || !methods.iter().all(is_method) {
        return Err(D::Error::custom(
            r#"must be a list of methods in capitals, such as ["POST", "PATCH"]"#,
        ));
    }
    Ok(methods)
}

/// A path pattern, in the spelling in which request paths are compared.
pub(crate) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    // A character that a URL parser percent-encodes could never match a request's path.
    let is_path = |path: &String| path.starts_with('/') && path.chars().all(is_path_char);
    let path = String::deserialize(from).ok().filter(is_path);
    if let Some(foreign) =
        path.as_ref().and_then(|path| path.split('/').find(|part| is_foreign(part)))
    {
        return Err(D::Error::custom(format!(
            "must have its parameters in braces: for \"{foreign}\" write {{name}}, which is one segment, or {{*rest}}, which is the rest"
        )));
    }
    // A brace that stands for itself is doubled in a pattern; requests bring it encoded.
    let spelled = |path: String| path.replace("{{", "%7B").replace("}}", "%7D");
    path.map(|path| compared(&normal_path(&spelled(path)))).ok_or_else(|| {
        D::Error::custom("must be a path that starts with /, without a query, and with everything but ASCII letters, digits and signs percent-encoded")
    })
}

/// A parameter as Express (`:id`) or Cloudflare's own routes (`*`) write it. Nobody means it as text.
fn is_foreign(segment: &str) -> bool {
    segment.starts_with(':') || segment.replace("{*", "{").contains('*')
}

/// What a path holds as it is (WHATWG URL, path percent-encode set), and the braces of parameters.
fn is_path_char(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '#' | '<' | '>' | '?' | '\\' | '^' | '`')
}

/// A path with `{key}` in it.
pub(crate) fn probe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let is_probe = |path: &String| {
        path.starts_with('/') && path.matches("{key}").count() == 1 && !path.contains('#')
    };
    match String::deserialize(from).ok().filter(is_probe) {
        Some(path) => Ok(Some(path)),
        None => Err(D::Error::custom("must be a path such as /v1/payments/by-key/{key}")),
    }
}

/// A span such as `10s`, `24h`, `7d`, in whole milliseconds from `LEAST` to `MOST`.
pub(crate) fn span<'de, const LEAST: u64, const MOST: u64, D: Deserializer<'de>>(
    from: D,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(from).ok();
    parse_span(text.as_deref(), LEAST, MOST).map_err(D::Error::custom)
}

/// A span that need not be there.
pub(crate) fn some_span<'de, const LEAST: u64, const MOST: u64, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    span::<LEAST, MOST, D>(from).map(Some)
}

fn parse_span(text: Option<&str>, least: u64, most: u64) -> Result<Duration, String> {
    let span = text.and_then(|text| humantime::parse_duration(text).ok());
    let ms = span.and_then(|span| u64::try_from(span.as_millis()).ok());
    ms.filter(|ms| (least..=most).contains(ms)).map(Duration::from_millis).ok_or_else(|| {
        let [least, most] = [least, most].map(in_one_unit);
        format!("must be a span such as 10s, 24h or 7d, from {least} to {most}")
    })
}

/// `10m`, `3660d`: the bounds are whole in one unit.
fn in_one_unit(ms: u64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (1, "ms")];
    let unit = units.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    unit.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", ms / unit))
}

/// Names of headers that a reply may keep.
pub(crate) fn kept_names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = header_names(from)?;
    match names.iter().find(|name| !may_keep(name)) {
        Some(name) => Err(D::Error::custom(format!(
            "must leave out {name}: it belongs to one hop, or is set anew on every answer"
        ))),
        None => Ok(names),
    }
}

/// A size such as `512KiB`, `8MiB`, or a number of bytes.
pub(crate) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let bytes = match Value::deserialize(from) {
        Ok(Value::String(text)) => size_text(text.trim()),
        Ok(other) => other.as_u64(),
        Err(_) => None,
    };
    bytes.filter(|bytes| *bytes <= BODY_MAX).ok_or_else(|| {
        D::Error::custom("must be a size such as 512KiB, 8MiB or a number of bytes, at most 32MiB")
    })
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

/// Browser origins (RFC 6454 section 6.2), or `*`.
pub(crate) fn cors<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let is_origin = |text: &String| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        text == "*"
            || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ']))
    };
    let origins = Vec::<String>::deserialize(from)?;
    if !origins.iter().all(is_origin) {
        return Err(D::Error::custom(
            r#"must be a list of origins such as ["https://app.example.com"], without a path"#,
        ));
    }
    Ok(origins)
}

/// `SHARDS`: a number, or its text.
pub(crate) fn shards<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let number = match Value::deserialize(from) {
        Ok(Value::String(text)) => text.trim().parse().ok(),
        Ok(other) => other.as_u64().and_then(|number| u16::try_from(number).ok()),
        Err(_) => None,
    };
    number
        .filter(|shards| (1..=SHARDS_MAX).contains(shards))
        .ok_or_else(|| D::Error::custom(format!("must be a whole number from 1 to {SHARDS_MAX}")))
}

/// `LOCATION_HINT`; an empty text is none.
pub(crate) fn location_hint<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    match String::deserialize(from) {
        Ok(hint) if hint.is_empty() => Ok(None),
        Ok(hint) if LOCATION_HINTS.contains(&hint.as_str()) => Ok(Some(hint)),
        _ => Err(D::Error::custom(format!("must be one of {}", LOCATION_HINTS.join(", ")))),
    }
}

/// `JURISDICTION`; an empty text is none.
pub(crate) fn jurisdiction<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match String::deserialize(from) {
        Ok(name) if name.is_empty() => Ok(None),
        Ok(name) if JURISDICTIONS.contains(&name.as_str()) => Ok(Some(name)),
        _ => Err(D::Error::custom(format!("must be one of {}", JURISDICTIONS.join(", ")))),
    }
}

/// All that one Worker instance buffers bounds what one body may ask for, in bytes.
pub const BODY_MAX: u64 = 32 * 1024 * 1024;
/// The most Ledger objects: at 100 to 250 first-seen keys a second each, 100,000 and more.
pub const SHARDS_MAX: u16 = 1024;
/// Where a Durable Object can be placed (developers.cloudflare.com,
/// durable-objects/reference/data-location).
pub const LOCATION_HINTS: [&str; 11] =
    ["wnam", "enam", "sam", "weur", "eeur", "apac", "apac-ne", "apac-se", "oc", "afr", "me"];
/// Where a Durable Object can be kept by law (developers.cloudflare.com, durable-objects/reference/data-location).
pub const JURISDICTIONS: [&str; 4] = ["eu", "us", "fedramp", "fedramp-high"];
/// One minute in milliseconds.
pub(crate) const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// One day in milliseconds.
pub(crate) const DAY: u64 = 24 * HOUR;
