//! The parameters of a query, and the requests that are made of them.

use percent_encoding::percent_decode_str;

use super::cursor;
use super::decision::{DecisionRequest, parse_key_id, parse_lease};
use super::{Action, ApiRequest};
use crate::operator::decide::Decision;
use crate::operator::run::{RunRequest, read_slot};
use crate::operator::search::{Search, StateKind};
use crate::problem::{Code, Problem};
use crate::request::digest::{Parts, hex};
use crate::request::key::Key;
use crate::time::{Timestamp, read_rfc3339, read_span};

/// A query's parameters, each at most once.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        if query.matches('&').count() >= PARAMETERS_MAX {
            return Err(Problem::invalid("There are too many parameters."));
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Problem::invalid(format!("\"{name}\" is there twice.")));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// Refuses every parameter but these.
    pub(super) fn allow(&self, names: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) if names.is_empty() => {
                Err(Problem::invalid(format!("\"{name}\" is not asked for here.")))
            }
            Some((name, _)) => Err(Problem::invalid(format!(
                "There is no parameter \"{name}\": use {}.",
                names.join(", ")
            ))),
        }
    }

    pub(super) fn key(&self) -> Result<ApiRequest, Problem> {
        self.allow(&["key", "body"])?;
        let Some(key) = self.get("key") else {
            return Err(Problem::invalid(
                "key is missing: /.oncegate/keys?key=… with the key as the client sent it, percent-encoded.",
            ));
        };
        let with_body = self.with_body()?;
        let key = Key::stored(key).ok_or_else(|| {
            Problem::invalid("No key is longer than 255 characters or holds other than ASCII ones.")
        })?;
        Ok(ApiRequest::Key { key, with_body })
    }

    pub(super) fn records(&self, now: Timestamp) -> Result<ApiRequest, Problem> {
        let (search, digest) = (self.search(now)?, self.search_digest());
        Ok(ApiRequest::Records { search, digest })
    }

    pub(super) fn record(&self, id: &str) -> Result<ApiRequest, Problem> {
        self.allow(&["body"])?;
        Ok(ApiRequest::Record { key: parse_key_id(id)?, with_body: self.with_body()? })
    }

    pub(super) fn body(&self, id: &str) -> Result<ApiRequest, Problem> {
        self.allow(&[])?;
        Ok(ApiRequest::Body(parse_key_id(id)?))
    }

    pub(super) fn purge(&self, id: &str) -> Result<ApiRequest, Problem> {
        self.allow(&["lease"])?;
        let key = parse_key_id(id)?;
        let lease = parse_lease(self.get("lease").unwrap_or_default())?;
        let decision = Decision::Purge;
        Ok(ApiRequest::Decide(DecisionRequest { key, lease, decision, body: Vec::new() }))
    }

    pub(super) fn confirm(&self, id: &str, action: &str) -> Result<ApiRequest, Problem> {
        self.allow(&[])?;
        let action = Action::from_name(action)
            .ok_or_else(|| Problem::new(Code::NotFound, "There is no such decision."))?;
        Ok(ApiRequest::Confirm { key: parse_key_id(id)?, action, refused: None })
    }

    pub(super) fn audit(&self) -> Result<ApiRequest, Problem> {
        self.allow(&["limit", "cursor"])?;
        let after = match self.get("cursor") {
            None => None,
            Some(cursor) => Some(cursor::read_audit(cursor).ok_or_else(|| {
                Problem::invalid("cursor is not one of the audit: begin without a cursor.")
            })?),
        };
        Ok(ApiRequest::Audit { after, limit: self.limit()? })
    }

    pub(super) fn run(&self, name: &str) -> Result<ApiRequest, Problem> {
        self.allow(&["scheduled_time"])?;
        let schedule = percent_decode_str(name).decode_utf8_lossy().into_owned();
        let scheduled_time = self.get("scheduled_time").map(read_slot).transpose()?;
        Ok(ApiRequest::Run(RunRequest { schedule, scheduled_time, rerun: false }))
    }

    fn search(&self, now: Timestamp) -> Result<Search, Problem> {
        self.allow(&["correlation_id", "state", "route", "since", "limit", "cursor"])?;
        let state = match self.get("state") {
            None => None,
            Some(name) => Some(StateKind::from_name(name).ok_or_else(|| {
                let names: Vec<_> = StateKind::ALL.iter().map(|state| state.as_str()).collect();
                Problem::invalid(format!("state must be one of {}.", names.join(", ")))
            })?),
        };
        let since = match self.get("since") {
            None => None,
            Some(text) => Some(read_since(text, now).ok_or_else(|| {
                Problem::invalid("since must be an instant, such as 2026-11-21T14:00:00Z, or a span back from now, such as 2h.")
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
            let (position, since) = cursor::read(cursor, &self.search_digest()).ok_or_else(|| {
                Problem::invalid("cursor is not one of this search: repeat its other parameters unchanged, or begin without a cursor.")
            })?;
            (search.after, search.since) = (Some(position), since);
        }
        Ok(search)
    }

    /// Tells this search from others. The length of a page does not count: it may change between pages.
    fn search_digest(&self) -> String {
        let names = ["correlation_id", "state", "route", "since"];
        let parts =
            names.iter().fold(Parts::of("search"), |parts, name| parts.maybe(self.get(name)));
        hex(&parts.half())
    }

    fn with_body(&self) -> Result<bool, Problem> {
        match self.get("body") {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(Problem::invalid("body must be 0 or 1.")),
        }
    }

    fn limit(&self) -> Result<u16, Problem> {
        match self.get("limit").map(str::parse) {
            None => Ok(LIMIT),
            Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            Some(_) => Err(Problem::invalid(format!("limit must be 1 to {LIMIT_MAX}."))),
        }
    }

    /// A parameter's value. An empty one is none: a search form sends its empty fields too.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// An instant (RFC 3339), or a span back from now.
fn read_since(text: &str, now: Timestamp) -> Option<Timestamp> {
    match read_span(text) {
        Some(span) => Some(now.minus(span)),
        None => read_rfc3339(text),
    }
}

/// More than any request here has.
const PARAMETERS_MAX: usize = 16;
/// Records on a page, where the request does not say.
const LIMIT: u16 = 50;
const LIMIT_MAX: u16 = 200;
