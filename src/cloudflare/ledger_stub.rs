//! Calls a Ledger by the stub of its object.

use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use serde::Serialize;
use wasm_bindgen::{JsCast as _, JsValue};

use super::error::Error;
use super::tasks::wait;
use super::{SMALL, bindings};
use crate::config::Policy;
use crate::filter::Unreachable;
use crate::lifecycle::event::Event;
use crate::protocol::{
    LedgerAnswer, LedgerRequest, Question, VERSION, agreed, read_answer, write_request,
};
use crate::request::key::KeyId;
use crate::request::status_token::StatusToken;

/// A stored body, as it comes from a Ledger.
pub(super) enum LedgerBody {
    Whole(Uint8Array),
    /// It is large, and passes through as fast as the client reads.
    Streaming(web_sys::ReadableStream),
}

/// A Ledger's answer, with the stored body beside it.
pub(super) type FromLedger = (LedgerAnswer, Option<LedgerBody>);

/// One call of a Ledger.
pub(super) async fn call(
    ledger: &bindings::Namespace,
    shard: u16,
    location_hint: Option<&str>,
    head: &[u8],
    body: Option<&Uint8Array>,
) -> Result<FromLedger, Error> {
    let (head, body) =
        message(wait(bindings::ask(ledger, shard, location_hint, head, body, SMALL)).await?);
    let answer = read_answer(&head)?;
    let body = match body.dyn_into::<Uint8Array>() {
        Ok(bytes) => Some(LedgerBody::Whole(bytes)),
        Err(none) if none.is_undefined() => None,
        Err(stream) => Some(LedgerBody::Streaming(stream.unchecked_into())),
    };
    Ok((answer, body))
}

/// The Ledgers of a deployment, for whoever has an event to tell one of them.
pub(super) struct LedgerClient {
    pub(super) ledgers: bindings::Namespace,
    pub(super) policy: Rc<Policy>,
}

impl LedgerClient {
    /// Tells the key's Ledger of an event. `body` is that of the reply in it.
    pub(super) async fn ask(
        &self,
        key_id: &KeyId,
        event: &Event,
        body: Option<&Uint8Array>,
    ) -> Result<FromLedger, Unreachable> {
        let question = || Question::Event(event);
        let (answer, stored) = self.send(key_id, question(), VERSION, body).await?;
        // After a deploy an object that is busy runs the version before for some minutes
        // (developers.cloudflare.com, durable-objects/reference/durable-objects-lifecycle).
        match answer {
            LedgerAnswer::UnknownVersion(offered) => match agreed(offered)
                .filter(|version| *version != VERSION)
            {
                Some(version) => self.send(key_id, question(), version, body).await,
                None => Err(Unreachable::Lost(format!("the Ledger speaks version {offered} only"))),
            },
            answer => Ok((answer, stored)),
        }
    }

    /// Asks what is known of the key of a status address.
    pub(super) async fn status(&self, token: &StatusToken) -> Result<FromLedger, Unreachable> {
        let question = Question::<Event>::Status(token.secret);
        self.send(&token.key, question, VERSION, None).await
    }

    async fn send<E: Serialize>(
        &self,
        key_id: &KeyId,
        question: Question<E>,
        version: u8,
        body: Option<&Uint8Array>,
    ) -> Result<FromLedger, Unreachable> {
        let shards = self.policy.shards;
        let head = write_request(&LedgerRequest { key_id: *key_id, shards, question }, version);
        let shard = key_id.shard(shards);
        let hint = self.policy.location_hint.as_deref();
        let answer = call(&self.ledgers, shard, hint, &head, body).await;
        answer.map_err(|error| unreachable(&error))
    }
}

/// Head and body of what [`bindings::opened`] or [`bindings::ask`] resolved to.
pub(super) fn message(opened: JsValue) -> (Vec<u8>, JsValue) {
    let opened: Array = opened.unchecked_into();
    (opened.get(0).unchecked_into::<Uint8Array>().to_vec(), opened.get(1))
}

pub(super) fn unreachable(error: &Error) -> Unreachable {
    let why = error.to_string();
    if error.is_overload() { Unreachable::Overloaded(why) } else { Unreachable::Lost(why) }
}
