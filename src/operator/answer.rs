//! From a request to the questions that it takes, and from what is found to an answer: JSON for programs, a
//! page for people.

use crate::operator::api::{self, ApiRequest};
use crate::operator::documents::{self, StoredReply};
use crate::operator::page::{self, PageContext};
use crate::operator::refusal::{Kind, Refusal};
use crate::operator::search::{
    FoundRecord, OperatorQuery, OperatorResult, Position, Search, StateKind,
};
use crate::request::digest::hex;
use crate::request::json::{self, Writer};
use crate::request::key::KeyId;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// For programs.
    Json(String),
    /// For people.
    Page(String),
}

/// The questions, in order, and the key id that the first of them are about; `by` names the token.
#[must_use]
pub fn queries(request: &ApiRequest, by: [u8; 4]) -> (KeyId, Vec<OperatorQuery>) {
    let search = |search: &Search| OperatorQuery::Search(search.clone());
    match request {
        ApiRequest::Overview => {
            let doubts = Search {
                state: Some(StateKind::InDoubt),
                limit: page::LISTED,
                ..Search::default()
            };
            let latest = Search { limit: page::LISTED, ..Search::default() };
            (ANY, vec![search(&doubts), search(&latest), OperatorQuery::Stats])
        }
        ApiRequest::Key(key, _) => (KeyId::new(key, [0; 16]), vec![OperatorQuery::Key]),
        ApiRequest::Records(wanted, _) => (ANY, vec![search(wanted)]),
        ApiRequest::Record(id, _) => (*id, vec![OperatorQuery::Key, OperatorQuery::Decisions]),
        ApiRequest::Confirm(id, ..) => (*id, vec![OperatorQuery::Key]),
        ApiRequest::Resolve(resolve) => {
            let (lease, decision) = (resolve.lease, resolve.decision.clone());
            (resolve.key, vec![OperatorQuery::Decide { lease, decision, by }, OperatorQuery::Key])
        }
        ApiRequest::Stats => (ANY, vec![OperatorQuery::Stats]),
        ApiRequest::Audit(after, limit) => {
            (ANY, vec![OperatorQuery::Audit { after: *after, limit: *limit }])
        }
        ApiRequest::LogIn | ApiRequest::LogOut | ApiRequest::Posted => (ANY, Vec::new()),
    }
}

/// Answers with what was found, one result for each question; as a page where there is a context for one.
/// `replies` are those of the records, where they were asked for.
///
/// # Errors
/// There is no such record, or a decision was refused.
pub fn answer(
    request: &ApiRequest,
    results: Vec<OperatorResult>,
    replies: &[Option<StoredReply>],
    context: Option<&PageContext>,
) -> Result<Said, Refusal> {
    let mut results = results.into_iter();
    let mut next = || results.next().unwrap_or(OperatorResult::Stats(Vec::new()));
    Ok(match request {
        ApiRequest::Overview => {
            let (doubts, latest, stats) = (records(next()), records(next()), next());
            let OperatorResult::Stats(stats) = stats else { return Err(strange()) };
            let page = |context: &PageContext| page::overview(context, &doubts, &latest, &stats);
            said(context, page, |to| {
                records_of(to, "in_doubt", &doubts, &[]);
                records_of(to, "latest", &latest, &[]);
                to.object("stats", |to| documents::stats(to, &stats));
            })
        }
        ApiRequest::Key(key, _) => {
            let found = records(next());
            let page = |context: &PageContext| page::key(context, key.as_str(), &found);
            said(context, page, |to| records_of(to, "records", &found, replies))
        }
        ApiRequest::Records(search, stamp) => {
            let found = records(next());
            let last = found.last().map(FoundRecord::position);
            let cursor =
                full(last, found.len(), search.limit).map(|last| api::cursor(search, stamp, last));
            let page = |context: &PageContext| page::records(context, &found, cursor.as_deref());
            said(context, page, |to| {
                records_of(to, "records", &found, &[]);
                to.maybe_text("cursor", cursor.as_deref());
            })
        }
        ApiRequest::Record(id, _) => {
            let (found, decisions) = (one(next(), *id)?, next());
            let OperatorResult::Audit(decisions) = decisions else { return Err(strange()) };
            let reply = replies.first();
            let page = |context: &PageContext| {
                page::record(context, &found, reply.and_then(Option::as_ref), &decisions)
            };
            said(context, page, |to| {
                documents::record(to, &found);
                if let Some(reply) = reply {
                    documents::reply(to, reply.as_ref());
                }
                documents::decisions(to, &decisions);
            })
        }
        ApiRequest::Confirm(id, action, refused) => {
            let found = one(next(), *id)?;
            let Some(context) = context else {
                let other = "This is a page for people: send POST /.oncegate/resolve.";
                let why = refused.as_ref().map(|(refusal, _)| refusal.clone());
                return Err(why.unwrap_or_else(|| Refusal::new(Kind::NotFound, other)));
            };
            Said::Page(page::confirm(context, &found, *action, refused.as_ref()))
        }
        ApiRequest::Resolve(resolve) => {
            let OperatorResult::Decided(result) = next() else { return Err(strange()) };
            let (id, action) = (resolve.key, resolve.decision.as_str());
            if let Some(refusal) = Refusal::of(result, id) {
                return Err(refusal);
            }
            let record = one(next(), id).ok();
            let page = |context: &PageContext| page::decided(context, id, action, record.is_some());
            said(context, page, |to| {
                to.text("key_id", &hex(&id.0));
                to.text("action", action);
                match &record {
                    Some(record) => to.object("record", |to| documents::record(to, record)),
                    None => to.null("record"),
                }
            })
        }
        ApiRequest::Stats => {
            let OperatorResult::Stats(stats) = next() else { return Err(strange()) };
            Said::Json(json::object(|to| documents::stats(to, &stats)))
        }
        ApiRequest::Audit(_, limit) => {
            let OperatorResult::Audit(decisions) = next() else { return Err(strange()) };
            let last = decisions.last().map(super::search::AuditEntry::position);
            let cursor = full(last, decisions.len(), *limit).map(api::audit_cursor);
            let page = |context: &PageContext| page::audit(context, &decisions, cursor.as_deref());
            said(context, page, |to| {
                documents::decisions(to, &decisions);
                to.maybe_text("cursor", cursor.as_deref());
            })
        }
        ApiRequest::LogIn | ApiRequest::LogOut | ApiRequest::Posted => {
            return Err(Refusal::new(Kind::NotFound, "There is no session."));
        }
    })
}

/// A page where there is a context for one, else a document.
fn said(
    context: Option<&PageContext>,
    page: impl FnOnce(&PageContext) -> String,
    members: impl FnOnce(&mut Writer),
) -> Said {
    match context {
        Some(context) => Said::Page(page(context)),
        None => Said::Json(json::object(members)),
    }
}

/// Where a page ends, if it is full: there may be more.
fn full(last: Option<Position>, rows: usize, limit: u16) -> Option<Position> {
    last.filter(|_| rows >= usize::from(limit))
}

fn records(result: OperatorResult) -> Vec<FoundRecord> {
    match result {
        OperatorResult::Records(_, rows) => rows,
        _ => Vec::new(),
    }
}

fn one(result: OperatorResult, id: KeyId) -> Result<FoundRecord, Refusal> {
    let found = records(result).into_iter().find(|found| found.key == id);
    found.ok_or_else(Refusal::no_record)
}

/// Records, with the replies of as many of them as those are.
fn records_of(to: &mut Writer, name: &str, found: &[FoundRecord], replies: &[Option<StoredReply>]) {
    to.list(name, |list| {
        for (at, found) in found.iter().enumerate() {
            list.item(|to| {
                documents::record(to, found);
                if let Some(reply) = replies.get(at) {
                    documents::reply(to, reply.as_ref());
                }
            });
        }
    });
}

fn strange() -> Refusal {
    Refusal::new(Kind::Unavailable(1), "A shard answers another question.")
}

/// Beside the key id of a question that is about none.
const ANY: KeyId = KeyId([0; 32]);
