//! Calls a Ledger by the stub of its object.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

use super::error::Error;
use super::tasks::wait;
use super::{SMALL, bindings};
use crate::filter::Unreachable;
use crate::protocol::{LedgerAnswer, read_answer};

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

/// Head and body of what [`bindings::opened`] or [`bindings::ask`] resolved to.
pub(super) fn message(opened: JsValue) -> (Vec<u8>, JsValue) {
    let opened: Array = opened.unchecked_into();
    (opened.get(0).unchecked_into::<Uint8Array>().to_vec(), opened.get(1))
}

pub(super) fn unreachable(error: &Error) -> Unreachable {
    let why = error.to_string();
    if error.is_overload() { Unreachable::Overloaded(why) } else { Unreachable::Lost(why) }
}
