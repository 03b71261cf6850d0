//! What is asked of the Ledgers, and what comes back.

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

use super::{Later, Operator, failed};
use crate::cloudflare::error::Error;
use crate::cloudflare::ledger_stub::message;
use crate::cloudflare::tasks::wait;
use crate::cloudflare::{SMALL, bindings};
use crate::config::Policy;
use crate::filter::other_shards;
use crate::operator::answer::queries;
use crate::operator::api::{ApiRequest, DecisionRequest};
use crate::operator::decide::DecisionResult;
use crate::operator::documents::{DecisionLogLine, StoredReply};
use crate::operator::refusal::Refusal;
use crate::operator::search::OperatorResult;
use crate::protocol::{Ask, Told};
use crate::request::key::KeyId;
use crate::wire::{self, VERSION};

impl Operator<'_> {
    /// One result for each question, and the replies where the request wants them.
    pub(super) fn ask<'a>(
        &'a self,
        request: &'a ApiRequest,
    ) -> Later<'a, (Vec<OperatorResult>, Vec<Option<StoredReply>>)> {
        Box::pin(self.ask_all(request))
    }

    async fn ask_all(
        &self,
        request: &ApiRequest,
    ) -> Result<(Vec<OperatorResult>, Vec<Option<StoredReply>>), Refusal> {
        let policy = self.policy.as_ref().map_err(|wrongs| {
            let knobs: Vec<_> = wrongs.iter().map(|wrong| wrong.knob.as_str()).collect();
            failed(format_args!("the configuration does not parse: {}", knobs.join(", ")))
        })?;
        let (key, queries) = queries(request, self.auth.token_id());
        let body = match request {
            ApiRequest::Decide(resolve) => Some(Uint8Array::from(resolve.body.as_slice())),
            _ => None,
        };
        let mut results = Vec::new();
        for query in queries {
            let shards = if query.asks_every_shard() {
                (0..policy.shards).collect()
            } else {
                vec![key.shard(policy.shards)]
            };
            let mut found = query.empty_result();
            let ask = Ask::Operator(query.clone());
            // A few at a time: six connections may wait at once for one request
            // (developers.cloudflare.com, workers/platform/limits).
            for some in shards.chunks(AT_ONCE) {
                for (told, _) in self.ask_shards(policy, some, key, &ask, body.as_ref()).await? {
                    let Told::Operator(more) = told else { return Err(strange(told)) };
                    found = query
                        .merge(found, more)
                        .ok_or_else(|| failed("a shard answers another question"))?;
                }
            }
            let result = match &found {
                OperatorResult::Decided(result) => Some(*result),
                _ => None,
            };
            results.push(found);
            match (result, request) {
                // At once: what is asked after it may fail, and the decision has been made.
                (Some(DecisionResult::Done), ApiRequest::Decide(request)) => {
                    log_decision(self.auth.token_id(), request);
                }
                (Some(_), _) => break,
                (None, _) => {}
            }
        }
        let mut replies = Vec::new();
        if let Some(OperatorResult::Records(_, rows)) = results.first() {
            for found in rows.iter().filter(|found| request.wants_body_of(found.key)) {
                let look = Ask::Look(found.record.metadata.fingerprint);
                let shard = key.shard(policy.shards);
                let told = self.ask_shards(policy, &[shard], found.key, &look, None).await?.pop();
                replies.push(told.map_or(Ok(None), reply)?);
            }
        }
        Ok((results, replies))
    }

    /// Asks some shards side by side.
    async fn ask_shards(
        &self,
        policy: &Policy,
        shards: &[u16],
        key: KeyId,
        ask: &Ask,
        body: Option<&Uint8Array>,
    ) -> Result<Vec<(Told<()>, Uint8Array)>, Refusal> {
        let head = wire::write_question(&key, policy.shards, ask, VERSION);
        let ledger = bindings::ledger(self.env);
        let hint = policy.location_hint.as_deref();
        let failed_call = |error: Error| failed(error);
        let ask = |shard: &u16| bindings::ask(&ledger, *shard, hint, &head, body, SMALL);
        let all = Promise::all_iterable(&shards.iter().map(ask).collect::<Array>());
        let answers: Array =
            wait(all.unchecked_into()).await.map_err(failed_call)?.unchecked_into();
        let mut told = Vec::new();
        for answer in answers.iter() {
            let (head, body) = message(answer);
            let read = wire::open(&head).and_then(|(_, head)| wire::read_told(head));
            let read = read.map_err(|wire::Unreadable(at)| {
                failed(format_args!("an answer is unreadable: {at}"))
            })?;
            told.push((read, bytes(body).await.map_err(failed_call)?));
        }
        Ok(told)
    }
}

/// Logs a decision that was carried out.
fn log_decision(token_id: [u8; 4], request: &DecisionRequest) {
    match serde_json::to_string(&DecisionLogLine::new(token_id, request)) {
        Ok(line) => bindings::log(&line),
        Err(error) => bindings::error(&format!("a decision has no log line: {error}")),
    }
}

/// A stored reply; none where none is stored.
fn reply((told, body): (Told<()>, Uint8Array)) -> Result<Option<StoredReply>, Refusal> {
    let replay = match told {
        Told::Replay(replay) => replay,
        told @ (Told::Crowded | Told::Again | Told::Failed(_)) => return Err(strange(told)),
        _ => return Ok(None),
    };
    let body = body.to_vec();
    let (body, is_base64) = match String::from_utf8(body) {
        Ok(text) => (text, false),
        Err(error) => {
            let mut latin = String::new();
            for byte in error.as_bytes() {
                latin.push(char::from(*byte));
            }
            (bindings::btoa(&latin).map_err(|error| failed(bindings::text(&error)))?, true)
        }
    };
    let reply = replay.reply;
    Ok(Some(StoredReply { status: reply.status, headers: reply.headers, body, is_base64 }))
}

fn strange(told: Told<()>) -> Refusal {
    match told {
        Told::Failed(why) => failed(&why),
        Told::Crowded | Told::Again => failed("too much is under way in a shard; ask again"),
        Told::OtherShards(first) => failed(other_shards(first)),
        // A busy object runs the code of before for minutes after a deploy.
        _ => failed("a shard runs an older version; ask again in a few minutes"),
    }
}

/// All bytes of an answer's body.
async fn bytes(body: JsValue) -> Result<Uint8Array, Error> {
    match body.dyn_into::<Uint8Array>() {
        Ok(bytes) => Ok(bytes),
        Err(none) if none.is_undefined() => Ok(Uint8Array::new_with_length(0)),
        Err(stream) => {
            let stream = stream.unchecked_into();
            let response = web_sys::Response::new_with_opt_readable_stream(Some(&stream))?;
            Ok(wait(bindings::bytes(&response)).await?.unchecked_into())
        }
    }
}

const AT_ONCE: usize = 6;
