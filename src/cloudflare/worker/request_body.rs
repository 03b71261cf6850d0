//! The body of a guarded request, which is read whole before anything is claimed.

use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::Asked;
use crate::admission::{Admission, Head, consider};
use crate::cloudflare::SMALL;
use crate::cloudflare::body_buffer::{self, Of, Read, Room};
use crate::cloudflare::world::lapsed;
use crate::config::route::Route;
use crate::config::values::Mode;
use crate::problem::{Code, Problem};

/// What has been read of a request's body.
pub(super) enum Body {
    /// Nothing.
    Untouched,
    /// All of it; none where it has none.
    Whole(Option<Room>),
    /// So much, before it turned out to be too much.
    Begun(Vec<Uint8Array>),
}

impl Asked {
    /// Reads the body to find the key in it.
    pub(super) async fn read(&self, route: Rc<Route>, head: &Head<'_>) -> (Admission, Body) {
        match self.buffer(&route).await {
            Ok(body) => {
                let bytes = body.as_ref().and_then(Room::bytes);
                let copy = bytes.map(|bytes| bytes.to_vec()).unwrap_or_default();
                (consider(route, head, Some(&copy)), Body::Whole(body))
            }
            Err((problem, chunks)) => (Admission::Refuse(problem, route), Body::Begun(chunks)),
        }
    }

    pub(super) async fn whole(
        &self,
        body: Body,
        route: &Route,
    ) -> Result<Option<Room>, (Problem, Vec<Uint8Array>)> {
        match body {
            Body::Whole(body) => Ok(body),
            Body::Untouched | Body::Begun(_) => self.buffer(route).await,
        }
    }

    /// The request's body in memory; none where it has none. With a refusal comes what was read.
    async fn buffer(&self, route: &Route) -> Result<Option<Room>, (Problem, Vec<Uint8Array>)> {
        let length = self.headers().content_length();
        let of = if route.mode == Mode::Shadow { Of::Shadow } else { Of::Request };
        // A small one takes no more room than it says, however slowly it comes.
        let easy = length.filter(|bytes| (1..=SMALL.into()).contains(bytes));
        let read = match easy.filter(|bytes| *bytes <= route.request.max) {
            Some(length) => match body_buffer::read_known(&self.request, length, of).await {
                Some(read) => read,
                None => Read::NoRoom(Vec::new()),
            },
            None => {
                let Some(stream) = self.request.body() else { return Ok(None) };
                body_buffer::read(stream.into(), length, route.request.max, of).await
            }
        };
        match read {
            Read::Whole(room) => Ok(Some(room)),
            Read::TooLarge(chunks) => {
                let detail = format!(
                    "The body is larger than the {} bytes that this operation accepts. Nothing was forwarded.",
                    route.request.max
                );
                Err((Problem::new(Code::RequestTooLarge, detail), chunks))
            }
            Read::NoRoom(chunks) => {
                let detail = "The filter is buffering as much as it can. Nothing was forwarded; send the request again with the same key.";
                let problem = Problem::new(Code::StoreUnavailable, detail);
                Err((problem.because("this instance has no room for another body"), chunks))
            }
            Read::Broken(why) => {
                let detail = format!(
                    "The request's body broke off ({why}). Nothing was forwarded; send the request again with the same key."
                );
                let problem = Problem::new(Code::StoreUnavailable, detail);
                Err((problem.because(format!("the request's body broke off: {why}")), Vec::new()))
            }
        }
    }
}

/// The digest of a body by the route's rule. From here on the body is kept for as long as its request
/// may last.
pub(super) async fn digest(body: Option<&Room>, route: &Route) -> Result<[u8; 32], JsValue> {
    let bytes = match body {
        None => Uint8Array::new_with_length(0),
        Some(room) => {
            room.keep_for(route.wait.saturating_add(route.durations().lease));
            room.bytes().ok_or_else(lapsed)?
        }
    };
    body_buffer::digest(&route.fingerprint.body, &bytes).await
}
