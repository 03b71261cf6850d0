//! What is asked of the Ledgers, and what comes back.

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

use super::{Later, Operator, failed};
use crate::cloudflare::bindings;
use crate::cloudflare::tasks::wait;
use crate::cloudflare::world::message;
use crate::config::Policy;
use crate::filter::other_shards;
use crate::operator::answer::inquiries;
use crate::operator::api::{ApiRequest, Resolve};
use crate::operator::decide::Ruling;
use crate::operator::refusal::Refusal;
use crate::operator::search::OperatorResult;
use crate::operator::view::Stored;
use crate::protocol::{Ask, Told};
use crate::request::digest::hex;
use crate::request::json;
use crate::request::key::KeyId;
use crate::wire::{self, VERSION};

impl Operator<'_> {
    /// One finding for each question, and the replies where the errand wants them.
    pub(super) fn ask<'a>(
        &'a self,
        errand: &'a ApiRequest,
    ) -> Later<'a, (Vec<OperatorResult>, Vec<Option<Stored>>)> {
        Box::pin(self.ask_all(errand))
    }

    async fn ask_all(
        &self,
        errand: &ApiRequest,
    ) -> Result<(Vec<OperatorResult>, Vec<Option<Stored>>), Refusal> {
        let policy = self.policy.as_ref().map_err(|wrongs| {
            let knobs: Vec<_> = wrongs.iter().map(|wrong| wrong.knob.as_str()).collect();
            failed(format_args!("the configuration does not parse: {}", knobs.join(", ")))
        })?;
        let (key, inquiries) = inquiries(errand, self.door.by());
        let body = match errand {
            ApiRequest::Resolve(resolve) => Some(Uint8Array::from(resolve.body.as_slice())),
            _ => None,
        };
        let mut findings = Vec::new();
        for inquiry in inquiries {
            let shards = if inquiry.concerns_all() {
                (0..policy.shards).collect()
            } else {
                vec![key.shard(policy.shards)]
            };
            let mut found = inquiry.nothing();
            let ask = Ask::Operator(inquiry.clone());
            // A few at a time: six connections may wait at once for one request
            // (developers.cloudflare.com, workers/platform/limits).
            for some in shards.chunks(AT_ONCE) {
                for (told, _) in self.ask_shards(policy, some, key, &ask, body.as_ref()).await? {
                    let Told::Operator(more) = told else { return Err(strange(told)) };
                    found = inquiry
                        .together(found, more)
                        .ok_or_else(|| failed("a shard answers another question"))?;
                }
            }
            let ruling = match &found {
                OperatorResult::Ruled(ruling) => Some(*ruling),
                _ => None,
            };
            findings.push(found);
            match (ruling, errand) {
                // At once: what is asked after it may fail, and the decision has been made.
                (Some(Ruling::Done), ApiRequest::Resolve(resolve)) => self.log(key, resolve),
                (Some(_), _) => break,
                (None, _) => {}
            }
        }
        let mut replies = Vec::new();
        if let Some(OperatorResult::Records(_, rows)) = findings.first() {
            for found in rows.iter().filter(|found| errand.wants_body_of(found.key)) {
                let look = Ask::Look(found.record.metadata.fingerprint);
                let shard = key.shard(policy.shards);
                let told = self.ask_shards(policy, &[shard], found.key, &look, None).await?.pop();
                replies.push(told.map_or(Ok(None), reply)?);
            }
        }
        Ok((findings, replies))
    }

    fn log(&self, key: KeyId, resolve: &Resolve) {
        let (by, action) = (hex(&self.door.by()), resolve.decision.as_str());
        let line = json::object(|line| {
            line.text("operator", &by);
            line.text("action", action);
            line.text("key_id", &hex(&key.0));
        });
        bindings::log(&line);
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
        let failed_call = |error: JsValue| failed(bindings::text(&error));
        let ask = |shard: &u16| bindings::ask(&ledger, *shard, hint, &head, body);
        let all = Promise::all_iterable(&shards.iter().map(ask).collect::<Array>());
        let answers: Array =
            wait(all.unchecked_into()).await.map_err(failed_call)?.unchecked_into();
        let mut told = Vec::new();
        for answer in answers.iter() {
            let (frame, body) = message(answer);
            let read = wire::open(&frame).and_then(|(_, head)| wire::read_told(head));
            let read = read.map_err(|wire::Unreadable(at)| {
                failed(format_args!("an answer is unreadable: {at}"))
            })?;
            told.push((read, bytes(body).await.map_err(failed_call)?));
        }
        Ok(told)
    }
}

/// A stored reply; none where none is stored.
fn reply((told, body): (Told<()>, Uint8Array)) -> Result<Option<Stored>, Refusal> {
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
    Ok(Some(Stored { status: reply.status, headers: reply.headers, body, is_base64 }))
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
async fn bytes(body: JsValue) -> Result<Uint8Array, JsValue> {
    match body.dyn_into::<Uint8Array>() {
        Ok(bytes) => Ok(bytes),
        Err(none) if none.is_undefined() => Ok(Uint8Array::new_with_length(0)),
        Err(stream) => {
            let response = bindings::NewResponse::new(&stream, &JsValue::UNDEFINED)?;
            Ok(wait(bindings::bytes(&response)).await?.unchecked_into())
        }
    }
}

const AT_ONCE: usize = 6;
