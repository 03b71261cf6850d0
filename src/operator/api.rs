//! What an operator's request asks for: path, query and body are read here, and nowhere else.

use crate::lifecycle::record::Lease;
use crate::lifecycle::reply::{Kept, Reply, has_no_body, is_sendable, kept_headers};
use crate::operator::auth::unhex;
use crate::operator::decide::Decision;
use crate::operator::refusal::{Kind, Refusal};
use crate::operator::search::{Place, Search, Stage};
use crate::request::digest::{Parts, hex};
use crate::request::json::{self, Json};
use crate::request::key::{Key, KeyId};
use crate::time::{Timestamp, read_rfc3339, read_span};

/// Where the operators' part begins.
pub const ROOT: &str = "/.oncegate/";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiRequest {
    /// The first page: doubts, search box, statistics.
    Overview,
    /// A key's records in every scope, with their bodies or without.
    Key(Key, bool),
    /// A page of records, and the stamp of the search for its [`cursor`].
    Records(Search, String),
    /// One record, with its body or without.
    Record(KeyId, bool),
    /// A page that says what a decision would do, and asks for it; again, where it was refused as it was typed.
    Confirm(KeyId, Action, Option<(Refusal, Draft)>),
    /// To decide.
    Resolve(Resolve),
    /// To decide; the request's body says what.
    Posted,
    /// The numbers of the last hours.
    Stats,
    /// A page of decisions.
    Audit(Option<Place>, u16),
    /// To show the token; the request's body has it.
    LogIn,
    /// To end the session.
    LogOut,
}

/// The decisions by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was executed.
    Complete,
    /// It was not.
    Release,
    /// Not known yet.
    Hold,
    /// Forget it.
    Purge,
}

/// What was typed into the form of a completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Status of the answer.
    pub status: String,
    /// Its headers, one `Name: value` a line.
    pub headers: String,
    /// Its body.
    pub body: String,
}

/// A decision on its way, with the body to store beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// Which record.
    pub key: KeyId,
    /// The lease that was seen.
    pub lease: Option<Lease>,
    /// What to do.
    pub decision: Decision,
    /// The body of the reply; empty for other decisions.
    pub body: Vec<u8>,
}

impl ApiRequest {
    /// Whether the stored body of a record that was found is asked for.
    #[must_use]
    pub fn wants_body_of(&self, found: KeyId) -> bool {
        match self {
            Self::Key(_, body) => *body,
            Self::Record(key, body) => *body && *key == found,
            _ => false,
        }
    }
}

impl Action {
    /// The action of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Complete, Self::Release, Self::Hold, Self::Purge]
            .into_iter()
            .find(|action| action.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Release => "release",
            Self::Hold => "hold",
            Self::Purge => "purge",
        }
    }
}

/// Reads method, path and query of a request under [`ROOT`].
///
/// # Errors
/// What is wrong with it.
pub fn read(
    method: &str,
    path: &str,
    query: Option<&str>,
    now: Timestamp,
) -> Result<ApiRequest, Refusal> {
    let asked = Asked::of(query)?;
    let place = path.strip_prefix(ROOT).unwrap_or_default();
    let (errand, methods) = match place.split('/').collect::<Vec<_>>().as_slice() {
        [""] => (asked.only(&[]).map(|_| ApiRequest::Overview), "GET"),
        ["keys"] => (asked.key(), "GET"),
        ["records"] => {
            (asked.search(now).map(|search| ApiRequest::Records(search, asked.stamp())), "GET")
        }
        ["records", id] if method == "DELETE" => (asked.purge(id), "GET, DELETE"),
        ["records", id] => (asked.record(id), "GET, DELETE"),
        ["records", id, action] => (asked.confirm(id, action), "GET"),
        ["resolve"] => (asked.only(&[]).map(|_| ApiRequest::Posted), "POST"),
        ["stats"] => (asked.only(&[]).map(|_| ApiRequest::Stats), "GET"),
        ["audit"] => (asked.audit(), "GET"),
        ["login"] => (asked.only(&[]).map(|_| ApiRequest::LogIn), "POST"),
        ["logout"] => (asked.only(&[]).map(|_| ApiRequest::LogOut), "POST"),
        _ => return Err(Refusal::new(Kind::NotFound, "Nothing is here. Begin at /.oncegate/.")),
    };
    let method = if method == "HEAD" { "GET" } else { method };
    if !methods.split(", ").any(|allowed| allowed == method) {
        return Err(Refusal::new(Kind::Method(methods), format_args!("Use {methods} here.")));
    }
    errand
}

/// Whether a query carries a token: it would stay in histories and logs.
#[must_use]
pub fn carries_token(query: Option<&str>) -> bool {
    let names = ["token", "access_token", "admin_token", "authorization"];
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()))
}

/// Reads a decision as JSON, as programs send it.
///
/// # Errors
/// What is missing or wrong, by name.
pub fn read_json(body: &[u8]) -> Result<Resolve, Refusal> {
    // Each member as it is written: a body that is JSON is kept to the byte.
    let text = std::str::from_utf8(body).unwrap_or_default();
    let members = json::members(text).map_err(|error| {
        Refusal::invalid(format_args!(
            "The body is not a JSON object with key_id, lease and action: {error}."
        ))
    })?;
    if let Some((name, _)) = members.iter().find(|(name, _)| !MEMBERS.contains(&name.as_str())) {
        return Err(Refusal::invalid(format_args!(
            "There is no member \"{name}\": use {}.",
            MEMBERS.join(", ")
        )));
    }
    let raw = |name: &str| members.iter().rfind(|(known, _)| known == name).map(|(_, raw)| *raw);
    let value = |name: &str| raw(name).and_then(|raw| Json::parse(raw).ok()).unwrap_or(Json::Null);
    let text = |name: &str| value(name).as_str().unwrap_or_default().to_owned();
    let headers = match value("headers") {
        Json::Null => Vec::new(),
        headers => json_headers(&headers)
            .ok_or_else(|| Refusal::invalid("headers must be an object of texts, such as {\"Content-Type\": \"application/json\"}."))?,
    };
    let body = match raw("body") {
        None | Some("null") => Vec::new(),
        Some(raw) if raw.starts_with('"') => text("body").into_bytes(),
        Some(raw) => raw.as_bytes().to_vec(),
    };
    let status = value("status").as_u64();
    resolve(&text("key_id"), &text("lease"), &text("action"), status, &headers, body)
}

/// Reads a decision as a form, as the page sends it; `field` looks a field up. A completion that is
/// refused is asked for again, so that nothing has to be typed twice.
///
/// # Errors
/// What is missing or wrong, by name.
pub fn read_form(field: &dyn Fn(&str) -> String) -> Result<ApiRequest, Refusal> {
    read_fields(field).map(ApiRequest::Resolve).or_else(|refusal| {
        let (Ok(key), "complete") = (key_id(&field("key_id")), &*field("action")) else {
            return Err(refusal);
        };
        let [status, headers, body] = ["status", "headers", "body"].map(field);
        let draft = Draft { status, headers, body };
        Ok(ApiRequest::Confirm(key, Action::Complete, Some((refusal, draft))))
    })
}

fn read_fields(field: &dyn Fn(&str) -> String) -> Result<Resolve, Refusal> {
    let lines = field("headers");
    let mut headers = Vec::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return Err(Refusal::invalid(format_args!(
                "The header line \"{line}\" has no colon: write one \"Name: value\" a line."
            )));
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let status = field("status").trim().parse().ok();
    // A browser sends line ends as CR LF.
    let body = field("body").replace("\r\n", "\n").into_bytes();
    resolve(&field("key_id"), &field("lease"), &field("action"), status, &headers, body)
}

fn resolve(
    key: &str,
    lease: &str,
    action: &str,
    status: Option<u64>,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> Result<Resolve, Refusal> {
    let key = key_id(key)?;
    let lease = read_lease(lease)?;
    let Some(action) = Action::named(action) else {
        return Err(Refusal::invalid("action must be complete, release or hold."));
    };
    if lease.is_none() && action != Action::Purge {
        return Err(Refusal::invalid("lease is missing: name the one that the record shows."));
    }
    let has_reply = status.is_some() || !headers.is_empty() || !body.is_empty();
    let decision = match action {
        Action::Complete => Decision::Complete(reply(status, headers, &body)?),
        // A form sends its empty fields with every button.
        _ if has_reply => {
            return Err(Refusal::invalid("status, headers and body go with action complete only."));
        }
        Action::Release => Decision::Release,
        Action::Hold => Decision::Hold,
        Action::Purge => Decision::Purge,
    };
    Ok(Resolve { key, lease, decision, body })
}

fn reply(status: Option<u64>, headers: &[(String, String)], body: &[u8]) -> Result<Reply, Refusal> {
    let status = status
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| is_sendable(*status))
        .ok_or_else(|| Refusal::invalid("status must be what the origin answered, 200 to 599."))?;
    if has_no_body(status) && !body.is_empty() {
        return Err(Refusal::invalid(format_args!("A {status} has no body: leave it empty.")));
    }
    let mut lower = Vec::new();
    for (name, value) in headers {
        let is_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let is_value = value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
        if !is_name || !is_value {
            return Err(Refusal::invalid(format_args!(
                "The header \"{name}\" is not one that can be sent."
            )));
        }
        lower.push((name.to_ascii_lowercase(), value.clone()));
    }
    if lower.iter().any(|(name, _)| name == "content-encoding") {
        let detail =
            "The body is stored as it is given, so it has no Content-Encoding: leave that out.";
        return Err(Refusal::invalid(detail));
    }
    let mut lines = Vec::new();
    for (name, value) in &lower {
        lines.push((name.as_str(), value.as_str()));
    }
    let kept = kept_headers(&lines, &[], &[]);
    if let Some((name, _)) = lower.iter().find(|header| !kept.contains(header)) {
        return Err(Refusal::invalid(format_args!(
            "The header \"{name}\" is never kept: leave it out."
        )));
    }
    Ok(Reply { status, headers: kept, body: Kept::Whole { bytes: body.len() as u64 } })
}

fn json_headers(headers: &Json) -> Option<Vec<(String, String)>> {
    let mut all = Vec::new();
    for (name, value) in headers.as_object()? {
        all.push((name.clone(), value.as_str()?.to_owned()));
    }
    Some(all)
}

/// A key id in hexadecimal.
///
/// # Errors
/// It is not 64 digits.
pub fn key_id(text: &str) -> Result<KeyId, Refusal> {
    unhex(text).map(KeyId).ok_or_else(|| {
        Refusal::invalid("key_id must be the 64 hexadecimal digits that the record shows.")
    })
}

fn read_lease(text: &str) -> Result<Option<Lease>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let lease = unhex(text).map(Lease);
    let wrong =
        || Refusal::invalid("lease must be the 32 hexadecimal digits that the record shows.");
    lease.map(Some).ok_or_else(wrong)
}

/// A query's parameters, each at most once.
struct Asked(Vec<(String, String)>);

impl Asked {
    fn of(query: Option<&str>) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        if query.is_some_and(|query| query.matches('&').count() >= PARAMETERS_MAX) {
            return Err(Refusal::invalid("There are too many parameters."));
        }
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Refusal::invalid(format_args!("\"{name}\" is there twice.")));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    fn only(&self, names: &[&str]) -> Result<&Self, Refusal> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(self),
            Some((name, _)) if names.is_empty() => {
                Err(Refusal::invalid(format_args!("\"{name}\" is not asked for here.")))
            }
            Some((name, _)) => Err(Refusal::invalid(format_args!(
                "There is no parameter \"{name}\": use {}.",
                names.join(", ")
            ))),
        }
    }

    /// A parameter; a search form sends its empty fields too.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn key(&self) -> Result<ApiRequest, Refusal> {
        self.only(&["key", "body"])?;
        let Some(key) = self.get("key") else {
            return Err(Refusal::invalid(
                "key is missing: /.oncegate/keys?key=… with the key as the client sent it, percent-encoded.",
            ));
        };
        let body = self.body()?;
        let key = Key::stored(key).ok_or_else(|| {
            Refusal::invalid("No key is longer than 255 characters or holds other than ASCII ones.")
        })?;
        Ok(ApiRequest::Key(key, body))
    }

    fn record(&self, id: &str) -> Result<ApiRequest, Refusal> {
        self.only(&["body"])?;
        Ok(ApiRequest::Record(key_id(id)?, self.body()?))
    }

    fn body(&self) -> Result<bool, Refusal> {
        match self.get("body") {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(Refusal::invalid("body must be 0 or 1.")),
        }
    }

    fn search(&self, now: Timestamp) -> Result<Search, Refusal> {
        self.only(&["correlation_id", "state", "route", "since", "limit", "cursor"])?;
        let state = match self.get("state") {
            None => None,
            Some(name) => Some(Stage::named(name).ok_or_else(|| {
                let names: Vec<_> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
                Refusal::invalid(format_args!("state must be one of {}.", names.join(", ")))
            })?),
        };
        let since = match self.get("since") {
            None => None,
            Some(text) => Some(read_since(text, now).ok_or_else(|| {
                Refusal::invalid("since must be an instant, such as 2026-11-21T14:00:00Z, or a span back from now, such as 2h.")
            })?),
        };
        let owned = |name| self.get(name).map(str::to_owned);
        let mut search = Search {
            correlation_id: owned("correlation_id"),
            state,
            route: owned("route"),
            since,
            after: None,
            limit: self.limit()?,
        };
        if let Some(cursor) = self.get("cursor") {
            let (place, since) = read_cursor(cursor, &self.stamp()).ok_or_else(|| {
                Refusal::invalid("cursor is not one of this search: repeat its other parameters unchanged, or begin without a cursor.")
            })?;
            (search.after, search.since) = (Some(place), since);
        }
        Ok(search)
    }

    /// What this search is told from another one by; its pages may differ in length.
    fn stamp(&self) -> String {
        let names = ["correlation_id", "state", "route", "since"];
        hex(&names
            .iter()
            .fold(Parts::of("search"), |parts, name| parts.maybe(self.get(name)))
            .half())
    }

    fn limit(&self) -> Result<u16, Refusal> {
        match self.get("limit").map(str::parse) {
            None => Ok(LIMIT),
            Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            Some(_) => Err(Refusal::invalid(format_args!("limit must be 1 to {LIMIT_MAX}."))),
        }
    }

    fn purge(&self, id: &str) -> Result<ApiRequest, Refusal> {
        self.only(&["lease"])?;
        let (key, lease) = (key_id(id)?, read_lease(self.get("lease").unwrap_or_default())?);
        Ok(ApiRequest::Resolve(Resolve { key, lease, decision: Decision::Purge, body: Vec::new() }))
    }

    fn confirm(&self, id: &str, action: &str) -> Result<ApiRequest, Refusal> {
        self.only(&[])?;
        let action = Action::named(action)
            .ok_or_else(|| Refusal::new(Kind::NotFound, "There is no such decision."))?;
        Ok(ApiRequest::Confirm(key_id(id)?, action, None))
    }

    fn audit(&self) -> Result<ApiRequest, Refusal> {
        self.only(&["limit", "cursor"])?;
        let after = match self.get("cursor") {
            None => None,
            Some(cursor) => Some(read_audit_cursor(cursor).ok_or_else(|| {
                Refusal::invalid("cursor is not one of the audit: begin without a cursor.")
            })?),
        };
        Ok(ApiRequest::Audit(after, self.limit()?))
    }
}

/// An instant (RFC 3339), or a span back from now.
fn read_since(text: &str, now: Timestamp) -> Option<Timestamp> {
    match read_span(text) {
        Some(span) => Some(now.minus(span)),
        None => read_rfc3339(text),
    }
}

/// Where a page ended, for the request of the next one. It is good only for the search that it came of,
/// and holds the instant at which a span back from now began.
#[must_use]
pub fn cursor(search: &Search, stamp: &str, last: Place) -> String {
    let since = search.since.map_or(u64::MAX, |since| since.0);
    format!("{}{:016x}{since:016x}{stamp}", hex(&last.key.0), last.at.0)
}

fn read_cursor(cursor: &str, stamp: &str) -> Option<(Place, Option<Timestamp>)> {
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let key = unhex(cursor.get(..64)?).map(KeyId)?;
    let at = number(cursor.get(64..80)?).map(Timestamp)?;
    let since = number(cursor.get(80..96)?)?;
    let since = (since != u64::MAX).then_some(Timestamp(since));
    (cursor.get(96..)? == stamp).then_some((Place { at, key }, since))
}

/// Where a page of the audit ended.
#[must_use]
pub fn audit_cursor(last: Place) -> String {
    format!("{}{:016x}", hex(&last.key.0), last.at.0)
}

fn read_audit_cursor(cursor: &str) -> Option<Place> {
    let key = unhex(cursor.get(..64)?).map(KeyId)?;
    let at = u64::from_str_radix(cursor.get(64..)?, 16).ok().map(Timestamp)?;
    Some(Place { at, key })
}

/// More than any request here has.
const PARAMETERS_MAX: usize = 16;
const MEMBERS: [&str; 6] = ["key_id", "lease", "action", "status", "headers", "body"];
/// Records on a page.
const LIMIT: u16 = 50;
const LIMIT_MAX: u16 = 200;
