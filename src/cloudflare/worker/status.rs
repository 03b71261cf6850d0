//! The status address of a key: what became of a call whose client did not wait for it. It needs no operator's token.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use subtle::ConstantTimeEq as _;
use wasm_bindgen::JsValue;

use super::{FetchEvent, random_token};
use crate::admission::{self, Head, status_address};
use crate::answer::{Accepted, Answer, Marks, duplicate, may_be_told};
use crate::cloudflare::clock::pause;
use crate::cloudflare::error::Error;
use crate::cloudflare::ledger_stub::{LedgerBody, LedgerClient};
use crate::cloudflare::response::{Client, Response, response};
use crate::cloudflare::tasks::wait;
use crate::cloudflare::{bindings, env, jwks};
use crate::config::Policy;
use crate::cors::Cors;
use crate::filter::{CALL_PATIENCE, Unreachable, refusal};
use crate::lifecycle::event::Verdict;
use crate::problem::{Code, Problem};
use crate::protocol::{KnownStatus, LedgerAnswer};
use crate::request::bearer::Proof;
use crate::request::credential::credential;
use crate::request::status_token::StatusToken;

impl FetchEvent {
    /// Answers at a status address.
    pub(super) async fn status(&self, token: &str, head: &Head<'_>) -> Result<Response, Error> {
        let id = admission::correlation_id(head, random_token()?);
        let refused = |problem: Problem| Client::new(id, None, head).problem(&problem, None);
        if let ("OPTIONS", Ok(policy)) = (self.method.as_str(), env::policy(&self.env)) {
            return response(204, &preflight(&policy, head), &JsValue::NULL);
        }
        if !matches!(self.method.as_str(), "GET" | "HEAD") {
            let detail = "A status address takes GET and HEAD only: a call that has begun cannot be taken back.";
            return refused(Problem::new(Code::MethodNotAllowed, detail));
        }
        let Ok(policy) = env::policy(&self.env) else {
            let detail = "The filter's configuration does not parse. Its operator finds the reason in the log.";
            return refused(Problem::new(Code::Misconfigured, detail));
        };
        let Some(token) = StatusToken::parse(token) else { return refused(unknown()) };
        match self.known(&policy, &token, head).await? {
            Err(problem) => refused(problem),
            Ok((known, body)) => tell(&policy, &token, known, body, head),
        }
    }

    /// What is known of the key, for a reader who may know it.
    async fn known(
        &self,
        policy: &Rc<Policy>,
        token: &StatusToken,
        head: &Head<'_>,
    ) -> Result<Result<(KnownStatus, Option<LedgerBody>), Problem>, Error> {
        let ledger = LedgerClient { ledgers: env::ledgers(&self.env)?, policy: policy.clone() };
        let call = pin!(ledger.status(token));
        let (answer, body) = match select(call, pin!(pause(CALL_PATIENCE))).await {
            Either::Left((Ok(answer), _)) => answer,
            Either::Left((Err(Unreachable::Lost(why) | Unreachable::Overloaded(why)), _)) => {
                return Ok(Err(unavailable(&why)));
            }
            Either::Right(_) => return Ok(Err(unavailable("no answer in time"))),
        };
        match answer {
            LedgerAnswer::Status(known) => match may_read(policy, token, &known, head).await {
                Ok(()) => Ok(Ok((known, body))),
                Err(problem) => {
                    if let Some(LedgerBody::Streaming(stream)) = body {
                        // The Ledger takes its room back. It does not matter when.
                        drop(wait(stream.cancel()));
                    }
                    Ok(Err(problem))
                }
            },
            LedgerAnswer::Verdict(Verdict::Absent) => Ok(Err(unknown())),
            answer => Ok(Err(unavailable(&refusal(&answer)))),
        }
    }
}

/// Whether the reader has the credential of the call, where the call's route asks for it.
async fn may_read(
    policy: &Policy,
    token: &StatusToken,
    known: &KnownStatus,
    head: &Head<'_>,
) -> Result<(), Problem> {
    let Some(wanted) = known.credential else { return Ok(()) };
    // A route that was renamed or removed since says nothing of credentials any more.
    let route = policy.routes.named(&known.route).ok_or_else(unknown)?;
    let proof = match admission::token(route, head) {
        None => Proof::Opaque,
        Some(bearer) => {
            jwks::verify(policy.trust.as_deref(), &bearer).await.map_err(admission::unverifiable)?
        }
    };
    let found = credential(&route.credential, &proof, head.header).map_err(|_| unknown())?;
    let is_its: bool = token.secret.seal(found).ct_eq(&wanted).into();
    if is_its { Ok(()) } else { Err(unknown()) }
}

/// Tells it.
fn tell(
    policy: &Policy,
    token: &StatusToken,
    known: KnownStatus,
    body: Option<LedgerBody>,
    head: &Head<'_>,
) -> Result<Response, Error> {
    let route = policy.routes.named(&known.route);
    let client = Client::new(known.correlation_id, route.map(AsRef::as_ref), head);
    if let Verdict::InFlight { retry_after_s, .. } = known.verdict {
        let accepted = Accepted { status: token.secret, retry_after_s };
        return client.accepted(&accepted, &status_address(head.address, &token.to_text()));
    }
    match duplicate::<(), _>(known.verdict, body) {
        Answer::Stored(replay, body) => client.replay(&replay, body),
        Answer::Problem(problem, status) => {
            client.problem(&may_be_told(problem, client.on_in_doubt), status)
        }
        Answer::OriginResponse((), ..) | Answer::Accepted(_) => {
            client.problem(&unavailable("the Ledger's answer makes no sense"), None)
        }
    }
}

/// What a page of another site may do with a status address (Fetch standard, section 3.2.4): read it, with the credential
/// of its call, where a route that answers asynchronously lets it.
fn preflight(policy: &Policy, head: &Head<'_>) -> Marks {
    let routes = policy.routes.all().iter().filter(|route| route.has_status_address());
    let allowed: Vec<String> = routes.flat_map(|route| route.cors.iter().cloned()).collect();
    let mut marks = Cors::new(&allowed, (head.header)("origin")).marks();
    if !marks.is_empty() {
        marks.push(("access-control-allow-methods", "GET, HEAD".to_owned()));
        let wanted = (head.header)("access-control-request-headers");
        marks.extend(wanted.map(|names| ("access-control-allow-headers", names)));
    }
    marks
}

fn unknown() -> Problem {
    let detail = "No call is known at this address, or it was made with another credential. What was released is told for ten minutes. Sending the same request again with the same key is safe, and tells as much.";
    Problem::new(Code::StatusUnknown, detail)
}

fn unavailable(why: &str) -> Problem {
    bindings::log_error(&format!("a status address: store-unavailable: {why}"));
    let detail = "The idempotency store could not be asked. Ask again after Retry-After.";
    Problem::new(Code::StoreUnavailable, detail)
}
