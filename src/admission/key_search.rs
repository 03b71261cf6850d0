//! The key of a request: the route's sources, in turn; and what is said where none of them has one.

use super::{Head, KEY_HEADER};
use crate::config::route::Route;
use crate::lifecycle::record::KeySpelling;
use crate::problem::{Code, Problem};
use crate::request::key::{Key, KeyInvalid};
use crate::request::key_source::{Parts, Source, Value};
use crate::request::repeatability::Repeatable;
use crate::time::Timestamp;

/// What a request's sources have.
pub(super) enum Sought {
    /// The key; and, in the dialect of OASIS, when the operation was first sent.
    Found(Key, KeySpelling, Option<Timestamp>),
    /// None of the sources has one; why the body could not be read for them, if that is so.
    Missing(Option<String>),
    NeedsBody,
    /// Why it cannot be used, and what to send instead.
    Invalid(KeyInvalid, &'static str),
}

/// The key of a request, from the first source that has one.
pub(super) fn find_key(route: &Route, head: &Head<'_>, body: Option<&[u8]>) -> Sought {
    let parts = Parts { header: head.header, query: head.address.target.query.as_deref(), body };
    for source in &route.key.from {
        match source.value(parts) {
            Value::Missing => {}
            Value::NeedsBody => return Sought::NeedsBody,
            Value::Invalid(why) => return Sought::Invalid(KeyInvalid(why), advice(source)),
            Value::Found(value) => return parsed(source, value, head),
        }
    }
    Sought::Missing(unreadable(&route.key.from, parts))
}

/// Whether a request speaks the dialect of OASIS Repeatable Requests, and the route takes its key from that, as far as can
/// be told without its body.
#[must_use]
pub fn speaks_repeatability(route: &Route, head: &Head<'_>) -> bool {
    if !route.key.from.contains(&Source::Repeatability) {
        return false;
    }
    let parts =
        Parts { header: head.header, query: head.address.target.query.as_deref(), body: None };
    let has_none =
        |source: &&Source| matches!(source.value(parts), Value::Missing | Value::NeedsBody);
    route.key.from.iter().find(|source| !has_none(source)) == Some(&Source::Repeatability)
}

/// Why none of the sources in the body can be read. Nothing, where one of them can: then the body has no key.
fn unreadable(sources: &[Source], parts: Parts<'_>) -> Option<String> {
    let mut in_body = sources.iter().filter(|source| source.is_in_body());
    let first = in_body.next()?.unreadable(parts)?;
    in_body.all(|source| source.unreadable(parts).is_some()).then_some(first)
}

/// The refusal of a request that has no key where one is required.
pub(super) fn key_missing(unreadable: Option<String>) -> Problem {
    match unreadable {
        None => Problem::new(
            Code::KeyMissing,
            "This operation requires an idempotency key. Send a new one, such as a UUID, with each new operation, and the same one with each retry of it.",
        ),
        Some(why) => {
            let detail = format!(
                "The idempotency key of this operation is taken from the request's body, which cannot be read: {why}. Send the body in a form that can be read."
            );
            Problem::new(Code::KeyMissing, detail)
                .because(format!("the body cannot be read: {why}"))
        }
    }
}

/// The Idempotency-Key header has a grammar of its own; a value from anywhere else is taken as it is.
fn parsed(source: &Source, value: String, head: &Head<'_>) -> Sought {
    let first_sent = match source {
        Source::Repeatability => Repeatable::read(head.header).and_then(Result::ok),
        _ => None,
    };
    let (key, spelling) = if source.header() == Some(KEY_HEADER) {
        let quoted = value.trim_start().starts_with('"');
        (Key::parse(&value), if quoted { KeySpelling::Quoted } else { KeySpelling::Bare })
    } else {
        (Key::plain(value), KeySpelling::Bare)
    };
    let first_sent = first_sent.map(|repeatable| repeatable.first_sent);
    match key {
        Ok(key) => Sought::Found(key, spelling, first_sent),
        Err(why) => Sought::Invalid(why, advice(source)),
    }
}

fn advice(source: &Source) -> &'static str {
    match source {
        Source::Repeatability => {
            "Send 1 to 255 characters, such as a UUID, as Repeatability-Request-ID, and when the first try was made as Repeatability-First-Sent: both the same on every try."
        }
        _ => "Send 1 to 255 characters, such as a UUID.",
    }
}
