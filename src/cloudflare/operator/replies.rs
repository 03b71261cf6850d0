//! Stored replies with their bodies, for operators.
//!
//! An answer holds at most [`BODIES_MAX`] of bodies: they lie in the memory of the isolate that serves requests,
//! outside its byte budget. A body that does not fit is named by its address, from which it is streamed.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};

use super::shards::unexpected_answer;
use super::{Operator, unavailable};
use crate::cloudflare::bindings;
use crate::cloudflare::clock::pause;
use crate::cloudflare::error::Error;
use crate::cloudflare::ledger_stub::LedgerBody;
use crate::cloudflare::tasks::wait;
use crate::config::Policy;
use crate::filter::CALL_PATIENCE;
use crate::lifecycle::event::{Event, Replay, Verdict};
use crate::operator::api::ApiRequest;
use crate::operator::decide::no_record;
use crate::operator::query::{OperatorQuery, OperatorResult};
use crate::operator::search::FoundRecord;
use crate::operator::stored_reply::{BODIES_MAX, StoredBody, StoredReply};
use crate::problem::{Code, Problem};
use crate::protocol::{LedgerAnswer, Question};
use crate::request::key::KeyId;

impl Operator<'_> {
    /// The replies of the records whose bodies the request asks for, in their order.
    pub(super) async fn replies(
        &self,
        policy: &Policy,
        request: &ApiRequest,
        found: &[FoundRecord],
    ) -> Result<Vec<Option<StoredReply>>, Problem> {
        let is_list = matches!(request, ApiRequest::Key { .. });
        let mut replies = Vec::new();
        // None once the shard has failed: all records of a key lie in the same one.
        let mut room = Some(BODIES_MAX);
        for found in found.iter().filter(|found| request.wants_body_of(found.key)) {
            let Some(left_out) = StoredReply::left_out(found) else {
                replies.push(None);
                continue;
            };
            let fits = room.is_some_and(|room| found.body_bytes() <= room);
            let reply = match room {
                Some(room) if fits || !is_list => self.reply(policy, found, room).await,
                _ => Ok(Some(left_out.clone())),
            };
            let reply = match reply {
                Ok(reply) => reply,
                Err(_) if is_list => {
                    room = None;
                    Some(left_out)
                }
                Err(problem) => return Err(problem),
            };
            let taken = reply.as_ref().map_or(0, StoredReply::bytes);
            room = room.map(|room| room.saturating_sub(taken));
            replies.push(reply);
        }
        Ok(replies)
    }

    /// The stored body of a record, in memory or as a stream.
    pub(super) async fn stored_body(&self, key: KeyId) -> Result<JsValue, Problem> {
        let policy = self.policy()?;
        let result = self.ask_one(policy, key, OperatorQuery::Key).await?;
        let OperatorResult::Records(_, found) = result else { return Err(no_record()) };
        let found = found.iter().find(|found| found.key == key).ok_or_else(no_record)?;
        match self.look(policy, found).await? {
            Some((_, LedgerBody::Whole(bytes))) => Ok(bytes.into()),
            Some((_, LedgerBody::Streaming(stream))) => Ok(stream.into()),
            None => Err(Problem::new(Code::NotFound, "No body is stored for this record.")),
        }
    }

    /// The stored reply of a record, without its body where that is larger than the room for it.
    async fn reply(
        &self,
        policy: &Policy,
        found: &FoundRecord,
        room: u64,
    ) -> Result<Option<StoredReply>, Problem> {
        let Some((Replay { reply, .. }, body)) = self.look(policy, found).await? else {
            return Ok(None);
        };
        let body = match body {
            LedgerBody::Whole(bytes) if u64::from(bytes.byte_length()) <= room => {
                StoredBody::new(bytes.to_vec())
            }
            LedgerBody::Streaming(stream) if reply.body.bytes() <= room => {
                match select(pin!(read_all(&stream)), pause(CALL_PATIENCE)).await {
                    Either::Left((bytes, _)) => StoredBody::new(bytes.map_err(unavailable)?),
                    Either::Right(_) => {
                        return Err(unavailable("a shard did not send a body within 5 s"));
                    }
                }
            }
            LedgerBody::Whole(_) => StoredBody::LeftOut,
            LedgerBody::Streaming(stream) => {
                // The Ledger takes its room back. It does not matter when.
                drop(wait(stream.cancel()));
                StoredBody::LeftOut
            }
        };
        Ok(Some(StoredReply { status: reply.status, headers: Some(reply.headers), body }))
    }

    /// The stored reply of a record and its body; `None` where no reply is stored.
    async fn look(
        &self,
        policy: &Policy,
        found: &FoundRecord,
    ) -> Result<Option<(Replay, LedgerBody)>, Problem> {
        let (key, look) =
            (found.key, Event::Look(found.record.metadata.fingerprint, Duration::ZERO));
        let look = Question::Event(look);
        match self.ask_shard(policy, key.shard(policy.shards), key, &look, None).await {
            Ok((LedgerAnswer::Verdict(Verdict::Replay(replay)), body)) => {
                // No body travels beside an empty one.
                let empty = || LedgerBody::Whole(Uint8Array::new_with_length(0));
                Ok(Some((replay, body.unwrap_or_else(empty))))
            }
            Ok((
                answer @ (LedgerAnswer::Crowded
                | LedgerAnswer::ClaimAgain
                | LedgerAnswer::Failed(_)),
                _,
            )) => Err(unavailable(unexpected_answer(answer))),
            Ok(_) => Ok(None),
            Err(error) => Err(unavailable(error.why())),
        }
    }
}

async fn read_all(stream: &web_sys::ReadableStream) -> Result<Vec<u8>, Error> {
    let response = web_sys::Response::new_with_opt_readable_stream(Some(stream))?;
    let bytes: Uint8Array = wait(bindings::bytes(&response)).await?.unchecked_into();
    Ok(bytes.to_vec())
}
