//! From a request to the queries that it takes, and from their results to an answer: JSON for programs, a
//! page for people.

use serde::Serialize;

use crate::operator::api::{ApiRequest, cursor};
use crate::operator::documents::{
    AuditDocument, DecidedDocument, DecisionsDocument, KeyDocument, OverviewDocument,
    RecordDocument, RecordWithDecisions, RecordsDocument, StatsDocument, StoredReply,
};
use crate::operator::page::{self, PageContext};
use crate::operator::refusal::{Kind, Refusal};
use crate::operator::search::{
    AuditEntry, FoundRecord, OperatorQuery, OperatorResult, Position, Search, StateKind,
};
use crate::operator::statistics::Statistics;
use crate::request::digest::hex;
use crate::request::key::KeyId;

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiResponse {
    /// For programs.
    Json(String),
    /// For people.
    Page(String),
}

/// The queries that a request takes, in order, and the key id that they are about; `token_id` names the
/// token of the operator who asks.
#[must_use]
pub fn queries(request: &ApiRequest, token_id: [u8; 4]) -> (KeyId, Vec<OperatorQuery>) {
    let search = |search: &Search| OperatorQuery::Search(search.clone());
    match request {
        ApiRequest::Overview => {
            let doubts = Search {
                state: Some(StateKind::InDoubt),
                limit: page::LISTED,
                ..Search::default()
            };
            let latest = Search { limit: page::LISTED, ..Search::default() };
            (NO_KEY, vec![search(&doubts), search(&latest), OperatorQuery::Stats])
        }
        ApiRequest::Key { key, .. } => (KeyId::new(key, [0; 16]), vec![OperatorQuery::Key]),
        ApiRequest::Records { search: wanted, .. } => (NO_KEY, vec![search(wanted)]),
        ApiRequest::Record { key, .. } => {
            (*key, vec![OperatorQuery::Key, OperatorQuery::Decisions])
        }
        ApiRequest::Confirm { key, .. } => (*key, vec![OperatorQuery::Key]),
        ApiRequest::Decide(request) => {
            let (lease, decision) = (request.lease, request.decision.clone());
            let decide = OperatorQuery::Decide { lease, decision, by: token_id };
            (request.key, vec![decide, OperatorQuery::Key])
        }
        ApiRequest::Stats => (NO_KEY, vec![OperatorQuery::Stats]),
        ApiRequest::Audit { after, limit } => {
            (NO_KEY, vec![OperatorQuery::Audit { after: *after, limit: *limit }])
        }
        ApiRequest::LogIn | ApiRequest::LogOut | ApiRequest::DecideByBody => (NO_KEY, Vec::new()),
    }
}

/// Answers with the results, one for each query. `replies` are those of the records, where they were asked
/// for; `context` is there where a page is wanted.
///
/// # Errors
/// There is no such record, or a decision was refused.
pub fn answer(
    request: &ApiRequest,
    results: Vec<OperatorResult>,
    replies: &[Option<StoredReply>],
    context: Option<&PageContext>,
) -> Result<ApiResponse, Refusal> {
    let mut results = results.into_iter();
    let mut next = || results.next().ok_or_else(unexpected_result);
    match request {
        ApiRequest::Overview => {
            let (doubts, latest) = (records(next()?)?, records(next()?)?);
            let stats = stats(next()?)?;
            respond(
                context,
                |context| page::overview(context, &doubts, &latest, &stats),
                || OverviewDocument {
                    in_doubt: RecordDocument::list(&doubts),
                    latest: RecordDocument::list(&latest),
                    stats: StatsDocument::new(&stats),
                },
            )
        }
        ApiRequest::Key { key, .. } => {
            let found = records(next()?)?;
            let document = || {
                let replies = replies.iter().map(Some).chain(std::iter::repeat(None));
                let records = found.iter().zip(replies);
                KeyDocument {
                    records: records
                        .map(|(found, reply)| RecordDocument::new(found, reply))
                        .collect(),
                }
            };
            respond(context, |context| page::key(context, key.as_str(), &found), document)
        }
        ApiRequest::Records { search, digest } => {
            let found = records(next()?)?;
            let last = found.last().map(FoundRecord::position);
            let cursor = end_of_full_page(last, found.len(), search.limit)
                .map(|last| cursor::write(search, digest, last));
            respond(
                context,
                |context| page::records(context, &found, cursor.as_deref()),
                || RecordsDocument {
                    records: RecordDocument::list(&found),
                    cursor: cursor.clone(),
                },
            )
        }
        ApiRequest::Record { key, .. } => {
            let (found, decisions) = (record(next()?, *key)?, audit(next()?)?);
            let reply = replies.first();
            respond(
                context,
                |context| page::record(context, &found, reply.and_then(Option::as_ref), &decisions),
                || RecordWithDecisions {
                    record: RecordDocument::new(&found, reply),
                    decisions: AuditDocument::list(&decisions),
                },
            )
        }
        ApiRequest::Confirm { key, action, refused } => {
            let found = record(next()?, *key)?;
            let Some(context) = context else {
                let other = "This is a page for people: send POST /.oncegate/resolve.";
                let why = refused.as_ref().map(|(refusal, _)| refusal.clone());
                return Err(why.unwrap_or_else(|| Refusal::new(Kind::NotFound, other)));
            };
            Ok(ApiResponse::Page(page::confirm(context, &found, *action, refused.as_ref())))
        }
        ApiRequest::Decide(request) => {
            let OperatorResult::Decided(result) = next()? else { return Err(unexpected_result()) };
            let (key, action) = (request.key, request.decision.as_str());
            if let Some(refusal) = Refusal::of(result, key) {
                return Err(refusal);
            }
            let record = record(next()?, key).ok();
            respond(
                context,
                |context| page::decided(context, key, action, record.is_some()),
                || DecidedDocument {
                    key_id: hex(&key.0),
                    action,
                    record: record.as_ref().map(|record| RecordDocument::new(record, None)),
                },
            )
        }
        ApiRequest::Stats => Ok(json(&StatsDocument::new(&stats(next()?)?))?),
        ApiRequest::Audit { limit, .. } => {
            let decisions = audit(next()?)?;
            let last = decisions.last().map(AuditEntry::position);
            let cursor = end_of_full_page(last, decisions.len(), *limit).map(cursor::write_audit);
            respond(
                context,
                |context| page::audit(context, &decisions, cursor.as_deref()),
                || DecisionsDocument {
                    decisions: AuditDocument::list(&decisions),
                    cursor: cursor.clone(),
                },
            )
        }
        ApiRequest::LogIn | ApiRequest::LogOut | ApiRequest::DecideByBody => {
            Err(Refusal::new(Kind::NotFound, "There is no session."))
        }
    }
}

/// A page where there is a context for one, else a document.
fn respond<D: Serialize>(
    context: Option<&PageContext>,
    page: impl FnOnce(&PageContext) -> String,
    document: impl FnOnce() -> D,
) -> Result<ApiResponse, Refusal> {
    match context {
        Some(context) => Ok(ApiResponse::Page(page(context))),
        None => json(&document()),
    }
}

fn json(document: &impl Serialize) -> Result<ApiResponse, Refusal> {
    let failed = |error| Refusal::new(Kind::Unavailable(1), format_args!("No document: {error}."));
    serde_json::to_string(document).map(ApiResponse::Json).map_err(failed)
}

/// Where a page ends, if it is full: then there may be more.
fn end_of_full_page(last: Option<Position>, rows: usize, limit: u16) -> Option<Position> {
    last.filter(|_| rows >= usize::from(limit))
}

fn records(result: OperatorResult) -> Result<Vec<FoundRecord>, Refusal> {
    let OperatorResult::Records(_, rows) = result else { return Err(unexpected_result()) };
    Ok(rows)
}

fn record(result: OperatorResult, key: KeyId) -> Result<FoundRecord, Refusal> {
    let found = records(result)?.into_iter().find(|found| found.key == key);
    found.ok_or_else(Refusal::no_record)
}

fn stats(result: OperatorResult) -> Result<Vec<(u64, Statistics)>, Refusal> {
    let OperatorResult::Stats(hours) = result else { return Err(unexpected_result()) };
    Ok(hours)
}

fn audit(result: OperatorResult) -> Result<Vec<AuditEntry>, Refusal> {
    let OperatorResult::Audit(decisions) = result else { return Err(unexpected_result()) };
    Ok(decisions)
}

fn unexpected_result() -> Refusal {
    Refusal::new(Kind::Unavailable(1), "A shard answers another question.")
}

/// The key id beside a query that is not about a key.
const NO_KEY: KeyId = KeyId([0; 32]);
