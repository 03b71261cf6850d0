//! The headers of a guarded request on its way to the origin: those that belong to one hop are left out (RFC 9110 section
//! 7.6.1), several Cookie lines become one, and an origin at another address is told what the client asked for.

use crate::config::Origin;
use crate::request::header::header_name;
use crate::request::path::Address;

/// A change of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// All lines of this name are left out.
    Delete(String),
    /// One line stands for all of this name.
    Replace(&'static str, String),
}

/// What is changed in the headers of a request. `header` looks a header up by lower-case name; repeated lines are joined
/// by a comma.
#[must_use]
pub fn changes(
    header: &dyn Fn(&str) -> Option<String>,
    origin: &Origin,
    requested: &Address,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let named = header("connection").unwrap_or_default();
    let named = named.split(',').filter_map(|name| header_name(name.trim()));
    for name in named.filter(|name| may_be_named(name)) {
        changes.push(Change::Delete(name));
    }
    for name in ONE_HOP.into_iter().filter(|name| header(name).is_some()) {
        changes.push(Change::Delete(name.to_owned()));
    }
    if let Some(cookies) = header("cookie").and_then(|cookies| one_line(&cookies)) {
        changes.push(Change::Replace("cookie", cookies));
    }
    if matches!(origin, Origin::Url { .. }) {
        changes.push(Change::Replace("x-forwarded-host", requested.host.clone()));
        changes.push(Change::Replace("x-forwarded-proto", requested.scheme.clone()));
        let client = header("cf-connecting-ip");
        if let Some(hops) = client.map(|client| hops(header("x-forwarded-for"), client)) {
            changes.push(Change::Replace("x-forwarded-for", hops));
        }
    }
    changes
}

/// Whether Connection may name it: what the platform says of the client is not the client's to take away.
fn may_be_named(name: &str) -> bool {
    !name.starts_with("cf-") && !KEPT.contains(&name)
}

/// Several Cookie lines as one (RFC 9113 section 8.2.3). The runtime joins lines by a comma and a space, after which the
/// next one begins with a name. `None` where there is nothing to change, or no way to do so without losing bytes.
fn one_line(cookies: &str) -> Option<String> {
    if cookies.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let mut lines = cookies.split(", ");
    let mut joined = lines.next()?.to_owned();
    for line in lines {
        let begins = line.split_once('=').is_some_and(|(name, _)| is_cookie_name(name));
        joined.push_str(if begins { "; " } else { ", " });
        joined.push_str(line);
    }
    (joined != cookies).then_some(joined)
}

/// A token (RFC 6265 section 4.1.1), as the name of a header is.
fn is_cookie_name(name: &str) -> bool {
    header_name(name).is_some()
}

/// X-Forwarded-For with the client's address at its end, once.
fn hops(before: Option<String>, client: String) -> String {
    match before.filter(|hops| !hops.trim().is_empty()) {
        None => client,
        Some(hops) if hops.rsplit(',').next().is_some_and(|last| last.trim() == client) => hops,
        Some(hops) => format!("{hops}, {client}"),
    }
}

/// They belong to one hop, or ask for what a body that is all there does not need (Expect).
const ONE_HOP: [&str; 11] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// The framing of the request, and where it goes.
const KEPT: [&str; 2] = ["content-length", "host"];
