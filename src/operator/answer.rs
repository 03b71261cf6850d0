//! From a request to the queries that it takes, and from their results to an answer: JSON for programs, a
//! page for people.

use std::iter;

use serde::Serialize;

use crate::operator::api::{Action, ApiRequest, DecisionRequest, Draft, cursor};
use crate::operator::decide::no_record;
use crate::operator::documents::{
    AuditDocument, DecidedDocument, DecisionsDocument, KeyDocument, OverviewDocument,
    RecordDocument, RecordWithDecisions, RecordsDocument, StatsAnswer, StatsDocument,
    UnavailableShard,
};
use crate::operator::page::{self, PageContext};
use crate::operator::query::{OperatorQuery, OperatorResult};
use crate::operator::schedules::{ListedSchedule, Ran, RanDocument, SchedulesDocument};
use crate::operator::search::{
    AuditEntry, Audited, FoundRecord, Position, RerunEntry, Search, StateKind,
};
use crate::operator::statistics::Statistics;
use crate::operator::stored_reply::StoredReply;
use crate::problem::{Code, Problem};
use crate::request::digest::hex;
use crate::request::key::{Key, KeyId};

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiResponse {
    /// For programs.
    Json(String),
    /// For people.
    Page(String),
}

/// What the Ledgers said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// One result for each query.
    pub results: Vec<OperatorResult>,
    /// The stored replies of the records whose bodies were asked for; `None` where no reply is stored.
    pub replies: Vec<Option<StoredReply>>,
    /// The shards whose records and numbers are missing from the results.
    pub unavailable: Vec<UnavailableShard>,
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
            let (after, limit) = (*after, *limit);
            let decisions = OperatorQuery::Audit { after, limit };
            (NO_KEY, vec![decisions, OperatorQuery::Reruns { after, limit }])
        }
        ApiRequest::Body(key) => (*key, vec![OperatorQuery::Key]),
        ApiRequest::Schedules
        | ApiRequest::Run(_)
        | ApiRequest::LogIn
        | ApiRequest::LogOut
        | ApiRequest::DecideByBody => (NO_KEY, Vec::new()),
    }
}

/// Answers with the results of the request's queries: as a page where there is a `context` for one.
///
/// # Errors
/// There is no such record, or a decision was refused.
pub fn answer(
    request: &ApiRequest,
    results: Results,
    context: Option<&PageContext>,
) -> Result<ApiResponse, Problem> {
    let Results { results, replies, unavailable } = results;
    let renderer = Renderer { replies, unavailable, context };
    let mut results = results.into_iter();
    let mut next = || results.next().ok_or_else(unexpected_result);
    match request {
        ApiRequest::Overview => {
            renderer.overview(&records(next()?)?, &records(next()?)?, &stats(next()?)?)
        }
        ApiRequest::Key { key, .. } => renderer.key(key, &records(next()?)?),
        ApiRequest::Records { search, digest } => {
            renderer.records(search, digest, &records(next()?)?)
        }
        ApiRequest::Record { key, .. } => {
            renderer.record(&record(next()?, *key)?, &audit(next()?)?)
        }
        ApiRequest::Confirm { key, action, refused } => {
            renderer.confirm(&record(next()?, *key)?, *action, refused.as_ref())
        }
        ApiRequest::Decide(request) => {
            let OperatorResult::Decided(result) = next()? else { return Err(unexpected_result()) };
            match result.problem(request.key) {
                Some(problem) => Err(problem),
                None => renderer.decided(request, record(next()?, request.key).ok().as_ref()),
            }
        }
        ApiRequest::Stats => json(&StatsAnswer {
            stats: StatsDocument::new(&stats(next()?)?),
            unavailable_shards: &renderer.unavailable,
        }),
        ApiRequest::Audit { limit, .. } => {
            let audited = Audited::page(audit(next()?)?, reruns(next()?)?, *limit);
            renderer.audit(*limit, &audited)
        }
        ApiRequest::Body(_)
        | ApiRequest::Schedules
        | ApiRequest::Run(_)
        | ApiRequest::LogIn
        | ApiRequest::LogOut
        | ApiRequest::DecideByBody => Err(Problem::new(Code::NotFound, "There is no session.")),
    }
}

/// Lists the schedules: as a page where there is a `context` for one.
///
/// # Errors
/// There is no document of them.
pub fn schedules(
    listed: &[ListedSchedule],
    context: Option<&PageContext>,
) -> Result<ApiResponse, Problem> {
    match context {
        Some(context) => Ok(ApiResponse::Page(page::schedules(context, listed))),
        None => json(&SchedulesDocument::new(listed)),
    }
}

/// Says what came of a slot.
///
/// # Errors
/// There is no document of it.
pub fn ran(ran: &Ran, context: Option<&PageContext>) -> Result<ApiResponse, Problem> {
    match context {
        Some(context) => Ok(ApiResponse::Page(page::ran(context, ran))),
        None => json(&RanDocument::new(ran)),
    }
}

/// Renders results as a page or as a document.
struct Renderer<'a> {
    replies: Vec<Option<StoredReply>>,
    unavailable: Vec<UnavailableShard>,
    context: Option<&'a PageContext>,
}

impl Renderer<'_> {
    fn overview(
        &self,
        doubts: &[FoundRecord],
        latest: &[FoundRecord],
        stats: &[(u64, Statistics)],
    ) -> Result<ApiResponse, Problem> {
        self.page_or_document(
            |context| page::overview(context, doubts, latest, stats),
            || OverviewDocument {
                in_doubt: RecordDocument::list(doubts),
                latest: RecordDocument::list(latest),
                stats: StatsDocument::new(stats),
                unavailable_shards: &self.unavailable,
            },
        )
    }

    fn key(&self, key: &Key, found: &[FoundRecord]) -> Result<ApiResponse, Problem> {
        let document = || {
            let replies = self.replies.iter().map(Some).chain(iter::repeat(None));
            let records = found.iter().zip(replies);
            KeyDocument {
                records: records.map(|(found, reply)| RecordDocument::new(found, reply)).collect(),
            }
        };
        self.page_or_document(|context| page::key(context, key.as_str(), found), document)
    }

    fn records(
        &self,
        search: &Search,
        digest: &str,
        found: &[FoundRecord],
    ) -> Result<ApiResponse, Problem> {
        let last = found.last().map(FoundRecord::position);
        let cursor = end_of_full_page(last, found.len(), search.limit)
            .map(|last| cursor::write(search, digest, last));
        self.page_or_document(
            |context| page::records(context, found, cursor.as_deref()),
            || RecordsDocument {
                records: RecordDocument::list(found),
                cursor: cursor.clone(),
                unavailable_shards: &self.unavailable,
            },
        )
    }

    fn record(
        &self,
        found: &FoundRecord,
        decisions: &[AuditEntry],
    ) -> Result<ApiResponse, Problem> {
        let reply = self.replies.first();
        self.page_or_document(
            |context| page::record(context, found, reply.and_then(Option::as_ref), decisions),
            || RecordWithDecisions {
                record: RecordDocument::new(found, reply),
                decisions: AuditDocument::list(decisions),
            },
        )
    }

    fn confirm(
        &self,
        found: &FoundRecord,
        action: Action,
        refused: Option<&(Problem, Draft)>,
    ) -> Result<ApiResponse, Problem> {
        match (self.context, refused) {
            (Some(context), _) => {
                Ok(ApiResponse::Page(page::confirm(context, found, action, refused)))
            }
            (None, Some((problem, _))) => Err(problem.clone()),
            (None, None) => {
                let detail = "This is a page for people: send POST /.oncegate/resolve.";
                Err(Problem::new(Code::NotFound, detail))
            }
        }
    }

    /// A decision was carried out; `record` is what is left.
    fn decided(
        &self,
        request: &DecisionRequest,
        record: Option<&FoundRecord>,
    ) -> Result<ApiResponse, Problem> {
        let (key, action) = (request.key, request.decision.as_str());
        self.page_or_document(
            |context| page::decided(context, key, action, record.is_some()),
            || DecidedDocument {
                key_id: hex(&key.0),
                action,
                record: record.map(|record| RecordDocument::new(record, None)),
            },
        )
    }

    fn audit(&self, limit: u16, decisions: &[Audited]) -> Result<ApiResponse, Problem> {
        let last = decisions.last().map(Audited::position);
        let cursor = end_of_full_page(last, decisions.len(), limit).map(cursor::write_audit);
        self.page_or_document(
            |context| page::audit(context, decisions, cursor.as_deref()),
            || DecisionsDocument {
                decisions: AuditDocument::list_all(decisions),
                cursor: cursor.clone(),
                unavailable_shards: &self.unavailable,
            },
        )
    }

    fn page_or_document<D: Serialize>(
        &self,
        page: impl FnOnce(&PageContext) -> String,
        document: impl FnOnce() -> D,
    ) -> Result<ApiResponse, Problem> {
        match self.context {
            Some(context) => Ok(ApiResponse::Page(page(context))),
            None => json(&document()),
        }
    }
}

fn json(document: &impl Serialize) -> Result<ApiResponse, Problem> {
    let failed = |error| Problem::new(Code::StoreUnavailable, format!("No document: {error}."));
    serde_json::to_string(document).map(ApiResponse::Json).map_err(failed)
}

/// Where a page ends, if it is full: then there may be more.
fn end_of_full_page(last: Option<Position>, rows: usize, limit: u16) -> Option<Position> {
    last.filter(|_| rows >= usize::from(limit))
}

fn records(result: OperatorResult) -> Result<Vec<FoundRecord>, Problem> {
    let OperatorResult::Records(_, rows) = result else { return Err(unexpected_result()) };
    Ok(rows)
}

fn record(result: OperatorResult, key: KeyId) -> Result<FoundRecord, Problem> {
    let found = records(result)?.into_iter().find(|found| found.key == key);
    found.ok_or_else(no_record)
}

fn stats(result: OperatorResult) -> Result<Vec<(u64, Statistics)>, Problem> {
    let OperatorResult::Stats(hours) = result else { return Err(unexpected_result()) };
    Ok(hours)
}

fn audit(result: OperatorResult) -> Result<Vec<AuditEntry>, Problem> {
    let OperatorResult::Audit(decisions) = result else { return Err(unexpected_result()) };
    Ok(decisions)
}

fn reruns(result: OperatorResult) -> Result<Vec<RerunEntry>, Problem> {
    let OperatorResult::Reruns(reruns) = result else { return Err(unexpected_result()) };
    Ok(reruns)
}

fn unexpected_result() -> Problem {
    Problem::new(Code::StoreUnavailable, "A shard answers another question.")
}

/// The key id beside a query that is not about a key.
const NO_KEY: KeyId = KeyId([0; 32]);
