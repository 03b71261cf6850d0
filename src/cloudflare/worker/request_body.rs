//! The body of a guarded request, which is read whole before anything is claimed.

use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::Uint8Array;

use super::FetchEvent;
use crate::admission::{Admission, Head, consider};
use crate::cloudflare::SMALL;
use crate::cloudflare::body_buffer::{BufferedBody, Owner};
use crate::cloudflare::body_reader::{self, Read};
use crate::cloudflare::error::Error;
use crate::cloudflare::tasks::wait_until;
use crate::config::route::Route;
use crate::config::values::Mode;
use crate::problem::{Code, Problem};

/// How much of a request's body has been read.
pub(super) enum RequestBody {
    /// Nothing.
    Unread,
    /// All of it; none where the request has no body.
    Whole(Option<BufferedBody>),
    /// So much, before it turned out to be too large for the buffer.
    Begun(BufferedBody),
}

/// A refusal, and what has been read of the body until then.
type TooMuch = (Problem, BufferedBody);

impl FetchEvent {
    /// Reads the body to find the key in it.
    pub(super) async fn find_key_in_body(
        &self,
        route: Rc<Route>,
        head: &Head<'_>,
    ) -> (Admission, RequestBody) {
        match self.read_body(&route).await {
            Ok(body) => {
                let bytes = body.as_ref().and_then(BufferedBody::bytes);
                let copy = bytes.map(|bytes| bytes.to_vec()).unwrap_or_default();
                (consider(route, head, Some(&copy)), RequestBody::Whole(body))
            }
            Err((problem, first)) => (Admission::Refuse(problem, route), RequestBody::Begun(first)),
        }
    }

    /// The whole body, which may have been read already.
    pub(super) async fn whole_body(
        &self,
        body: RequestBody,
        route: &Route,
    ) -> Result<Option<BufferedBody>, TooMuch> {
        match body {
            RequestBody::Whole(body) => Ok(body),
            RequestBody::Unread | RequestBody::Begun(_) => self.read_body(route).await,
        }
    }

    async fn read_body(&self, route: &Route) -> Result<Option<BufferedBody>, TooMuch> {
        let length = self.headers().content_length();
        let owner = if route.mode == Mode::Shadow { Owner::Shadow } else { Owner::Request };
        // A small body takes no more room than it says, however slowly it comes: it is read in one call.
        let small = length.filter(|bytes| (1..=SMALL.into()).contains(bytes));
        let read = match small.filter(|bytes| *bytes <= route.request.max) {
            Some(length) => body_reader::read_known(&self.request, length, owner).await,
            None => {
                let Some(stream) = self.request.body() else {
                    self.has_unread_body.set(false);
                    return Ok(None);
                };
                let (_held, gone) = oneshot::channel::<()>();
                // The context goes on after a disconnect, so that the log can tell of it.
                wait_until(&self.context, async move {
                    let _ = gone.await;
                });
                body_reader::read(&stream, length, route.request.max, owner).await
            }
        };
        self.has_unread_body.set(!matches!(read, Read::Whole(_)));
        match read {
            Read::Whole(body) => Ok(Some(body)),
            Read::TooLarge(first) => {
                let detail = format!(
                    "The body is larger than the {} bytes that this operation accepts. Nothing was forwarded.",
                    route.request.max
                );
                Err((Problem::new(Code::RequestTooLarge, detail), first))
            }
            Read::NoRoom(first) => {
                let detail = "The filter is buffering as much as it can. Nothing was forwarded; send the request again with the same key.";
                let problem = Problem::new(Code::StoreUnavailable, detail);
                Err((problem.because("this instance has no room for another body"), first))
            }
            Read::Broken(why) => Err((broken_off(&why).to_nobody(), BufferedBody::new(owner))),
            Read::TooSlow => Err((broken_off("it took too long"), BufferedBody::new(owner))),
        }
    }
}

fn broken_off(why: &str) -> Problem {
    let detail = format!(
        "The request's body broke off ({why}). Nothing was forwarded; send the request again with the same key."
    );
    let problem = Problem::new(Code::StoreUnavailable, detail);
    problem.because(format!("the request's body broke off: {why}"))
}

/// The digest of a body by the route's rule. From here on the body is kept for as long as its request may last.
pub(super) async fn digest(body: Option<&BufferedBody>, route: &Route) -> Result<[u8; 32], Error> {
    let bytes = match body {
        None => Uint8Array::new_with_length(0),
        Some(body) => {
            body.keep_for(route.wait.saturating_add(route.durations().lease));
            body.bytes().ok_or(Error::BodyExpired)?
        }
    };
    body_reader::digest(&route.fingerprint, &bytes).await
}
