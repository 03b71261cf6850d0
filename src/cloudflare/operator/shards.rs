//! Asks the Ledgers: each query goes to the shards that it concerns, and their results are merged.
//!
//! No call of a shard lasts longer than [`CALL_PATIENCE`]. A search leaves out a shard that does not answer,
//! and the answer names it: one Ledger that hangs must not hide what the others hold.

use std::pin::pin;

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream;
use js_sys::Uint8Array;

use super::{Later, Operator, unavailable};
use crate::cloudflare::clock::pause;
use crate::cloudflare::ledger_stub::{FromLedger, call};
use crate::cloudflare::{bindings, env};
use crate::config::Policy;
use crate::filter::{CALL_PATIENCE, other_shards};
use crate::operator::answer::{Results, queries};
use crate::operator::api::{ApiRequest, DecisionRequest};
use crate::operator::decide::DecisionResult;
use crate::operator::documents::{DecisionLogLine, UnavailableShard};
use crate::operator::query::{OperatorQuery, OperatorResult};
use crate::problem::Problem;
use crate::protocol::{LedgerAnswer, LedgerRequest, Question, VERSION, write_request};
use crate::request::key::KeyId;

/// Why a shard did not answer.
pub(super) enum NoAnswer {
    TimedOut,
    Failed(String),
}

impl NoAnswer {
    pub(super) fn why(self) -> String {
        match self {
            Self::TimedOut => "it did not answer within 5 s".to_owned(),
            Self::Failed(why) => why,
        }
    }
}

impl Operator<'_> {
    /// The results of a request's queries, and the stored replies where it wants them.
    pub(super) fn ask<'a>(&'a self, request: &'a ApiRequest) -> Later<'a, Results> {
        Box::pin(self.ask_all(request))
    }

    async fn ask_all(&self, request: &ApiRequest) -> Result<Results, Problem> {
        let policy = self.policy()?;
        let (key, queries) = queries(request, self.auth.token_id());
        let mut answers = Results::default();
        for query in queries {
            let result = match (&query, request) {
                (OperatorQuery::Decide { .. }, ApiRequest::Decide(decision)) => {
                    self.decide(policy, query, decision).await?
                }
                _ if query.asks_every_shard() => {
                    self.ask_every_shard(policy, &query, &mut answers.unavailable).await?
                }
                _ => self.ask_one(policy, key, query).await.map_err(|problem| match request {
                    ApiRequest::Decide(_) => unread_after_decision(problem, key),
                    _ => problem,
                })?,
            };
            let is_refused = matches!(
                &result,
                OperatorResult::Decided(result) if *result != DecisionResult::Done
            );
            answers.results.push(result);
            if is_refused {
                break;
            }
        }
        if let Some(OperatorResult::Records(_, found)) = answers.results.first() {
            answers.replies = self.replies(policy, request, found).await?;
        }
        Ok(answers)
    }

    pub(super) fn policy(&self) -> Result<&Policy, Problem> {
        self.policy.as_deref().map_err(|errors| {
            let knobs: Vec<_> = errors.iter().map(|error| error.knob.as_str()).collect();
            unavailable(format!("the configuration does not parse: {}", knobs.join(", ")))
        })
    }

    /// Asks every shard, a few at a time, and merges what they say. Those that do not answer are added to
    /// `missing`; those that are in it already are not asked again.
    async fn ask_every_shard(
        &self,
        policy: &Policy,
        query: &OperatorQuery,
        missing: &mut Vec<UnavailableShard>,
    ) -> Result<OperatorResult, Problem> {
        let question = &Question::Operator(query.clone());
        let shards: Vec<u16> = (0..policy.shards)
            .filter(|shard| missing.iter().all(|missing| missing.shard != *shard))
            .collect();
        let calls =
            shards.iter().map(|shard| self.ask_shard(policy, *shard, NO_KEY, question, None));
        let mut answers = pin!(stream::iter(calls).buffered(AT_ONCE));
        let (mut result, mut timed_out) = (query.empty_result(), 0);
        for shard in shards.iter().copied() {
            // Calls that hang keep their connections: with six of them no other call gets one.
            let answer = if timed_out < AT_ONCE { answers.next().await } else { None };
            let why = match answer {
                Some(Ok((LedgerAnswer::Operator(more), _))) => {
                    result = query.merge(result, more).ok_or_else(unexpected)?;
                    continue;
                }
                // All of them would say so.
                Some(Ok((LedgerAnswer::OtherShards(first), _))) => {
                    return Err(unavailable(other_shards(first)));
                }
                Some(Ok((answer, _))) => unexpected_answer(answer),
                Some(Err(error)) => {
                    timed_out += usize::from(matches!(error, NoAnswer::TimedOut));
                    error.why()
                }
                None => "it was not asked, since too many others did not answer".to_owned(),
            };
            missing.push(UnavailableShard { shard, why });
        }
        match missing.first() {
            Some(first) if missing.len() >= usize::from(policy.shards) => {
                Err(unavailable(format!("shard {}: {}", first.shard, first.why)))
            }
            _ => Ok(result),
        }
    }

    /// Asks the shard that holds the key.
    pub(super) async fn ask_one(
        &self,
        policy: &Policy,
        key: KeyId,
        query: OperatorQuery,
    ) -> Result<OperatorResult, Problem> {
        let (shard, question) = (key.shard(policy.shards), Question::Operator(query));
        let answer = self.ask_shard(policy, shard, key, &question, None).await;
        match answer {
            Ok((LedgerAnswer::Operator(result), _)) => Ok(result),
            Ok((answer, _)) => Err(unavailable(unexpected_answer(answer))),
            Err(error) => Err(unavailable(format!("shard {shard}: {}", error.why()))),
        }
    }

    /// Sends a decision to the shard that holds the record.
    async fn decide(
        &self,
        policy: &Policy,
        query: OperatorQuery,
        request: &DecisionRequest,
    ) -> Result<OperatorResult, Problem> {
        let (shard, question) = (request.key.shard(policy.shards), Question::Operator(query));
        let body = Uint8Array::from(request.body.as_slice());
        let result = match self.ask_shard(policy, shard, request.key, &question, Some(&body)).await
        {
            Ok((LedgerAnswer::Operator(result), _)) => result,
            Ok((answer, _)) => return Err(unavailable(unexpected_answer(answer))),
            Err(error) => {
                let problem = unavailable(format!(
                    "shard {shard}: {}. Nobody knows whether the decision was carried out: look at the record before you decide again",
                    error.why()
                ));
                return Err(problem.about(request.key));
            }
        };
        if result == OperatorResult::Decided(DecisionResult::Done) {
            log_decision(self.auth.token_id(), request);
        }
        Ok(result)
    }

    /// Asks one shard, for at most [`CALL_PATIENCE`].
    pub(super) async fn ask_shard(
        &self,
        policy: &Policy,
        shard: u16,
        key: KeyId,
        question: &Question,
        body: Option<&Uint8Array>,
    ) -> Result<FromLedger, NoAnswer> {
        let question = question.clone();
        let request = LedgerRequest { key_id: key, shards: policy.shards, question };
        let head = write_request(&request, VERSION);
        let ledger = env::ledgers(self.env).map_err(|error| NoAnswer::Failed(error.to_string()))?;
        let hint = policy.location_hint.as_deref();
        let called = pin!(call(&ledger, shard, hint, &head, body));
        match select(called, pause(CALL_PATIENCE)).await {
            Either::Left((answer, _)) => {
                answer.map_err(|error| NoAnswer::Failed(error.to_string()))
            }
            Either::Right(_) => Err(NoAnswer::TimedOut),
        }
    }
}

/// The decision is made, whatever happens after it, and its operator must hear that.
fn unread_after_decision(problem: Problem, key: KeyId) -> Problem {
    let detail = format!(
        "The decision was carried out, but the record could not be read after it. {}",
        problem.detail
    );
    Problem { detail, ..problem }.about(key)
}

/// Logs a decision that was carried out.
fn log_decision(token_id: [u8; 4], request: &DecisionRequest) {
    match serde_json::to_string(&DecisionLogLine::new(token_id, request)) {
        Ok(line) => bindings::log(&line),
        Err(error) => bindings::log_error(&format!("a decision has no log line: {error}")),
    }
}

fn unexpected() -> Problem {
    unavailable("a shard answers another question")
}

/// Why an answer is not the one that was asked for.
pub(super) fn unexpected_answer(answer: LedgerAnswer) -> String {
    match answer {
        LedgerAnswer::Failed(why) => why,
        LedgerAnswer::Crowded | LedgerAnswer::ClaimAgain => {
            "too much is under way in a shard; ask again".to_owned()
        }
        LedgerAnswer::OtherShards(first) => other_shards(first),
        // A busy object runs the code of before for minutes after a deploy.
        _ => "a shard runs an older version; ask again in a few minutes".to_owned(),
    }
}

/// The key id beside a query that is not about a key.
const NO_KEY: KeyId = KeyId([0; 32]);
/// Calls at once: six connections may wait at once for one request
/// (developers.cloudflare.com, workers/platform/limits).
const AT_ONCE: usize = 6;
