//! A decision as it is sent: as JSON by programs, as a form by the page.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Action, ApiRequest};
use crate::lifecycle::record::Lease;
use crate::lifecycle::reply::{Kept, Reply, has_no_body, is_sendable, kept_headers};
use crate::operator::decide::Decision;
use crate::problem::Problem;
use crate::request::digest::from_hex;
use crate::request::key::KeyId;

/// A decision on its way to the Ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRequest {
    /// Which record.
    pub key: KeyId,
    /// The lease that the operator saw.
    pub lease: Option<Lease>,
    /// What to do.
    pub decision: Decision,
    /// The body of the reply to store; empty for other decisions.
    pub body: Vec<u8>,
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

/// Reads a decision as JSON.
///
/// # Errors
/// What is missing or wrong, by name.
pub fn read_json(body: &[u8]) -> Result<DecisionRequest, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize::<_, DecisionBody>(&mut deserializer);
    let ended = |body| deserializer.end().map(|()| body).map_err(|error| error.to_string());
    let body = read.map_err(|error| error.to_string()).and_then(ended).map_err(|error| {
        Problem::invalid(format!(
            "The body is not a JSON object with key_id, lease and action: {error}."
        ))
    })?;
    body.into_request()
}

/// The members of a decision in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionBody<'a> {
    #[serde(borrow)]
    key_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    lease: Option<Cow<'a, str>>,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    status: Option<u64>,
    headers: Option<Headers>,
    /// As it is written: a body that is JSON is stored byte for byte.
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

impl DecisionBody<'_> {
    fn into_request(self) -> Result<DecisionRequest, Problem> {
        let body = match self.body.map(RawValue::get) {
            None => Vec::new(),
            Some(raw) if raw.starts_with('"') => serde_json::from_str::<String>(raw)
                .map_err(|error| Problem::invalid(format!("body is no text: {error}.")))?
                .into_bytes(),
            Some(raw) => raw.as_bytes().to_vec(),
        };
        let Headers(headers) = self.headers.unwrap_or_default();
        decision_request(
            &self.key_id.unwrap_or_default(),
            &self.lease.unwrap_or_default(),
            &self.action.unwrap_or_default(),
            self.status,
            &headers,
            body,
        )
    }
}

/// An object of texts, in its order.
#[derive(Default)]
struct Headers(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(r#"an object of texts, such as {"Content-Type": "application/json"}"#)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Vec::new();
        while let Some(header) = map.next_entry()? {
            headers.push(header);
        }
        Ok(Headers(headers))
    }
}

/// Reads a decision as a form; `field` looks a field up. Where a completion is refused, the page asks for it
/// again with what was typed.
///
/// # Errors
/// What is missing or wrong, by name.
pub fn read_form(field: &dyn Fn(&str) -> String) -> Result<ApiRequest, Problem> {
    read_fields(field).map(ApiRequest::Decide).or_else(|problem| {
        let (Ok(key), "complete") = (parse_key_id(&field("key_id")), &*field("action")) else {
            return Err(problem);
        };
        let [status, headers, body] = ["status", "headers", "body"].map(field);
        let draft = Draft { status, headers, body };
        Ok(ApiRequest::Confirm { key, action: Action::Complete, refused: Some((problem, draft)) })
    })
}

fn read_fields(field: &dyn Fn(&str) -> String) -> Result<DecisionRequest, Problem> {
    let lines = field("headers");
    let mut headers = Vec::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return Err(Problem::invalid(format!(
                "The header line \"{line}\" has no colon: write one \"Name: value\" a line."
            )));
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let status = field("status").trim().parse().ok();
    // A browser sends line ends as CR LF.
    let body = field("body").replace("\r\n", "\n").into_bytes();
    decision_request(&field("key_id"), &field("lease"), &field("action"), status, &headers, body)
}

fn decision_request(
    key: &str,
    lease: &str,
    action: &str,
    status: Option<u64>,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> Result<DecisionRequest, Problem> {
    let key = parse_key_id(key)?;
    let lease = parse_lease(lease)?;
    let Some(action) = Action::from_name(action) else {
        return Err(Problem::invalid("action must be complete, release or hold."));
    };
    if lease.is_none() && action != Action::Purge {
        return Err(Problem::invalid("lease is missing: name the one that the record shows."));
    }
    let has_reply = status.is_some() || !headers.is_empty() || !body.is_empty();
    let decision = match action {
        Action::Complete => Decision::Complete(reply(status, headers, &body)?),
        _ if has_reply => {
            return Err(Problem::invalid("status, headers and body go with action complete only."));
        }
        Action::Release => Decision::Release,
        Action::Hold => Decision::Hold,
        Action::Purge => Decision::Purge,
    };
    Ok(DecisionRequest { key, lease, decision, body })
}

/// The reply to store, checked as one of the origin's would be.
fn reply(status: Option<u64>, headers: &[(String, String)], body: &[u8]) -> Result<Reply, Problem> {
    let status = status
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| is_sendable(*status))
        .ok_or_else(|| Problem::invalid("status must be what the origin answered, 200 to 599."))?;
    if has_no_body(status) && !body.is_empty() {
        return Err(Problem::invalid(format!("A {status} has no body: leave it empty.")));
    }
    let mut lower = Vec::new();
    for (name, value) in headers {
        if !is_header_name(name) || !is_header_value(value) {
            return Err(Problem::invalid(format!(
                "The header \"{name}\" is not one that can be sent."
            )));
        }
        lower.push((name.to_ascii_lowercase(), value.clone()));
    }
    if lower.iter().any(|(name, _)| name == "content-encoding") {
        let detail =
            "The body is stored as it is given, so it has no Content-Encoding: leave that out.";
        return Err(Problem::invalid(detail));
    }
    let lines: Vec<_> = lower.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let kept = kept_headers(&lines, &[], &[]);
    if let Some((name, _)) = lower.iter().find(|header| !kept.contains(header)) {
        return Err(Problem::invalid(format!(
            "The header \"{name}\" is never kept: leave it out."
        )));
    }
    Ok(Reply { status, headers: kept, body: Kept::Whole { bytes: body.len() as u64 } })
}

/// A token (RFC 9110 section 5.6.2).
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Visible ASCII, spaces and tabs (RFC 9110 section 5.5, without obs-text).
fn is_header_value(value: &str) -> bool {
    value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
}

/// Reads a key id in hexadecimal.
pub(super) fn parse_key_id(text: &str) -> Result<KeyId, Problem> {
    from_hex(text).map(KeyId).ok_or_else(|| {
        Problem::invalid("key_id must be the 64 hexadecimal digits that the record shows.")
    })
}

/// Reads a lease in hexadecimal; an empty text names none.
pub(super) fn parse_lease(text: &str) -> Result<Option<Lease>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let lease = from_hex(text).map(Lease);
    let wrong =
        || Problem::invalid("lease must be the 32 hexadecimal digits that the record shows.");
    lease.map(Some).ok_or_else(wrong)
}
