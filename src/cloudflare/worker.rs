//! The fetch event: decides who answers a request.
//!
//! What is not guarded is forwarded untouched ([`passthrough`]); what is guarded goes through the filter
//! ([`guard`]); operators have an API of their own.

mod guard;
mod made;
mod passthrough;
mod request_body;
mod status;

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use futures_channel::oneshot::Canceled;
use js_sys::Promise;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use worker::{Context, Env, event};

use self::request_body::RequestBody;
use super::error::Error;
use super::headers::HeaderLines;
use super::log::Outcome;
use super::operator::Operator;
use super::progress::Progress;
use super::response::{self, Client, Response, plain_problem};
use super::tasks::{scoped, spawn, wait};
use super::{bindings, env, faults, jwks};
use crate::admission::{self, Admission, Head, TELLING_HEADERS, admit};
use crate::answer::{Marks, may_be_told};
use crate::config::Policy;
use crate::config::loops::{has_been_here, loop_marks};
use crate::config::publish::published;
use crate::config::values::Mode;
use crate::lifecycle::event::{Asker, Strategy};
use crate::lifecycle::record::Lease;
use crate::operator::auth::Auth;
use crate::problem::{Code, Problem};
use crate::request::path::Address;

/// The program has started, for the first time or again after a trap.
#[event(start)]
fn start() {
    bindings::started();
}

/// The fetch event.
///
/// Serving is a spawned task. If a fault ends it, a second one builds the error answer. So nothing in this function can
/// fail. A promise of a response is as good as a response to the runtime, which awaits it.
#[event(fetch)]
async fn fetch(
    request: web_sys::Request,
    env: Env,
    context: Context,
) -> worker::Result<web_sys::Response> {
    let event = Rc::new(FetchEvent::new(request, env, context, Via::Client));
    let answer = scoped(event.served()).await.unwrap_or(Ok(JsValue::UNDEFINED));
    // `entry.js` answers where this promise is rejected. An error of this function would be answered by the `worker`
    // crate, in plain text.
    Ok(answer.unwrap_or_else(|error| Promise::reject(&error.into()).into()).unchecked_into())
}

/// What `entry.js` answers where all else has failed. Nobody knows how far the request had come.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn lost(error: &JsValue) -> Result<Response, Error> {
    bindings::log_error(&format!("unanswered: {}", bindings::text(error)));
    plain_problem(500, "Internal Server Error")
}

/// A request, and what the platform gives along with it.
pub(super) struct FetchEvent {
    /// Who made the request.
    via: Via,
    request: web_sys::Request,
    method: String,
    /// Its headers, once one of them has been looked for.
    headers: OnceCell<HeaderLines>,
    /// A few of them, which are all that is looked at of most requests that pass: reading all takes a twentieth of such
    /// a request's CPU time (measured).
    telling: OnceCell<HeaderLines>,
    loop_entry: OnceCell<String>,
    /// Whether its body may be coming still: it was neither read whole nor passed on.
    has_unread_body: Cell<bool>,
    env: Env,
    context: Context,
    /// Whom to answer, once the request is known to be guarded.
    client: OnceCell<Client>,
    /// How far a guarded request has come, and how long each part took.
    progress: Rc<Progress>,
    /// How it ended, as the log has it.
    outcome: Cell<Option<&'static str>>,
}

/// Who made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// A client.
    Client,
    /// A schedule, which may have a strategy of its own.
    Schedule(Option<Strategy>),
    /// An operator, in the place of a schedule.
    Operator(Option<Strategy>),
    /// A message of a queue.
    Queue,
}

impl Via {
    /// As the log has it; none for a client.
    fn name(self) -> Option<&'static str> {
        match self.asker() {
            Asker::Client => None,
            Asker::Schedule => Some("schedule"),
            Asker::Queue => Some("queue"),
        }
    }

    fn asker(self) -> Asker {
        match self {
            Self::Client => Asker::Client,
            Self::Schedule(_) | Self::Operator(_) => Asker::Schedule,
            Self::Queue => Asker::Queue,
        }
    }
}

impl FetchEvent {
    pub(super) fn new(request: web_sys::Request, env: Env, context: Context, via: Via) -> Self {
        Self {
            via,
            outcome: Cell::default(),
            method: request.method(),
            request,
            headers: OnceCell::new(),
            telling: OnceCell::new(),
            loop_entry: OnceCell::new(),
            has_unread_body: Cell::new(true),
            env,
            context,
            client: OnceCell::new(),
            progress: Rc::new(Progress::new()),
        }
    }

    /// Serves the request in a task of its own; where a fault has ended that task, a second one answers. The response,
    /// or the promise of one.
    pub(super) async fn served(self: Rc<Self>) -> Result<JsValue, Error> {
        let serving = self.clone();
        if let Ok(answer) = spawn(async move { serving.answer().await }).await {
            return answer;
        }
        let aborted = spawn(async move { self.aborted().map(JsValue::from) }).await;
        aborted.unwrap_or_else(|Canceled| Err(Error::SecondFault))
    }

    /// How the request ended, as the log has it: an answer's status, or a problem's code.
    pub(super) fn outcome(&self) -> Option<&'static str> {
        self.outcome.get()
    }

    /// The response, or the promise of one.
    async fn answer(&self) -> Result<JsValue, Error> {
        let answer = match self.serve().await {
            Ok(response) => Ok(response),
            Err(error) => {
                bindings::log_error(&format!("{}: {error}", self.method));
                plain_problem(502, "Bad Gateway").map(Into::into)
            }
        };
        self.drain().await;
        answer
    }

    /// Reads what is left of the request's body and drops it: most clients write before they read, and where nobody reads
    /// what they write, they see a reset connection instead of the answer.
    async fn drain(&self) {
        if self.has_unread_body.get() {
            // Where it breaks off there is nobody to be answered.
            let _ = wait(bindings::drained(&self.request, DRAINED_MAX, DRAINED_MS)).await;
        }
    }

    async fn serve(&self) -> Result<JsValue, Error> {
        faults::arm(&self.request);
        faults::here("start");
        let header = |name: &str| self.header(name).map(str::to_owned);
        let Some(address) = Address::parse(&self.request.url()) else {
            return plain_problem(400, "Bad Request").map(Into::into);
        };
        let head = Head { method: &self.method, address: &address, header: &header };
        if let Some(token) = admission::status_token(&address.target.compared) {
            return self.status(token, &head).await.map(Into::into);
        }
        if admission::is_own(&address.target.compared)
            && let Some(auth) = env::auth(&self.env)
        {
            return self.operate(&auth, &head).await.map(Into::into);
        }
        let policy = env::policy(&self.env);
        let path = &address.target.compared;
        if policy.as_ref().is_ok_and(|policy| policy.routes.find(&self.method, path).is_some()) {
            // Admission will look at all of its headers: one crossing for all is less than one for a few and another.
            self.headers();
        }
        if has_been_here(self.loop_entry(&head), &header) {
            return Self::looping(&head).map(Into::into);
        }
        match policy {
            Ok(policy) => self.dispatch(&policy, &head).await,
            Err(wrongs) => self.misconfigured(&wrongs, &head),
        }
    }

    async fn operate(&self, auth: &Auth, head: &Head<'_>) -> Result<Response, Error> {
        let Lease(nonce) = random_token()?;
        let (env, request, policy) = (&self.env, &self.request, env::policy(&self.env));
        let put_through = &*self.put_through();
        Operator { auth, env, request, head, policy, nonce, put_through }.serve().await
    }

    async fn dispatch(&self, policy: &Rc<Policy>, head: &Head<'_>) -> Result<JsValue, Error> {
        let (admission, body) = match admit(policy, head) {
            Admission::Read(route) => self.find_key_in_body(route, head).await,
            admission => (admission, RequestBody::Unread),
        };
        let admission = match admission {
            Admission::Verify(unproven) => {
                let proof = jwks::verify(policy.trust.as_deref(), &unproven.token).await;
                unproven.prove(head, proof)
            }
            admission => admission,
        };
        let response = match admission {
            Admission::Pass | Admission::PassUnmatched | Admission::PassUnread(..)
                if self.via != Via::Client =>
            {
                // It would be run as often as it is sent.
                let detail = "No route guards this request, so it was not forwarded.";
                let id = admission::correlation_id(head, random_token()?);
                let problem = Problem::new(Code::NotGuarded, detail);
                self.log(policy, None, None, &id, head, Outcome::of(&problem));
                Client::new(id, None, head).problem(&problem, None)
            }
            Admission::Pass => return self.pass_through(&policy.origin, head, body),
            Admission::PassUnmatched => {
                passthrough::log_unmatched(head);
                return self.pass_through(&policy.origin, head, body);
            }
            Admission::NotGuarded(problem) => {
                let id = admission::correlation_id(head, random_token()?);
                self.log(policy, None, None, &id, head, Outcome::of(&problem));
                Client::new(id, None, head).problem(&problem, None)
            }
            Admission::PassUnread(route, why) => {
                passthrough::log_unguarded(&route, head, &why);
                return self.pass_through(&policy.origin, head, body);
            }
            Admission::Hidden => plain_problem(404, "Not Found"),
            Admission::Publish => response::json(&published(policy)),
            Admission::Refuse(problem, route) => {
                let id = admission::correlation_id(head, random_token()?);
                if route.mode == Mode::Shadow {
                    passthrough::log_shadow(&route, problem.logged().0, &id);
                    return self.pass_through(&policy.origin, head, body);
                }
                self.log(policy, Some(&route), None, &id, head, Outcome::of(&problem));
                Client::new(id, Some(&route), head).problem(&problem, None)
            }
            Admission::Guard(guarded) => {
                let mut guarded = guarded.under(env::log_key(&self.env).as_deref());
                if let Via::Schedule(Some(strategy)) | Via::Operator(Some(strategy)) = self.via {
                    guarded.strategy = strategy;
                }
                guarded.asker = self.via.asker();
                // An event of the platform lasts as long as a Runner, and waits for the outcome.
                // Operators wait no longer than clients do.
                guarded.responds_async &= matches!(self.via, Via::Client | Via::Operator(_));
                if guarded.route.mode == Mode::Shadow {
                    // It is passed through, whatever its client prefers.
                    guarded.responds_async = false;
                    return self.shadow(policy, guarded, head, body).await;
                }
                self.guard(policy, guarded, head, body).await
            }
            // Both have been done; doing them again would be a loop.
            Admission::Read(_) | Admission::Verify(_) => Err(Error::BodyAskedTwice),
        };
        response.map(Into::into)
    }

    /// The answer to a request that this filter has forwarded itself.
    fn looping(head: &Head<'_>) -> Result<Response, Error> {
        let path = &head.address.target.compared;
        bindings::log_error(&format!(
            "loop-detected: what is forwarded to ORIGIN comes back to this filter: {} {path}",
            head.method
        ));
        let detail = "The filter's origin leads back to the filter, so nothing was forwarded. Its operator finds the reason in the log.";
        let id = admission::correlation_id(head, random_token()?);
        Client::new(id, None, head).problem(&Problem::new(Code::LoopDetected, detail), None)
    }

    /// What of this request's forwards tells this filter that it gets them itself.
    fn loop_entry(&self, head: &Head<'_>) -> &str {
        let path = &head.address.target.compared;
        self.loop_entry.get_or_init(|| env::loop_entry(&self.env, head.method, path))
    }

    fn loop_marks(&self, head: &Head<'_>) -> Marks {
        loop_marks(self.loop_entry(head), head.header)
    }

    /// The answer where a fault of the filter itself has ended the work.
    fn aborted(&self) -> Result<Response, Error> {
        faults::here("aborted");
        let Some(client) = self.client.get() else {
            return plain_problem(500, "Internal Server Error");
        };
        let (problem, status) = self.progress.reached.get().aborted();
        client.problem(&may_be_told(problem, client.on_in_doubt), status)
    }

    fn header(&self, name: &str) -> Option<&str> {
        if self.headers.get().is_none() && TELLING_HEADERS.contains(&name) {
            let read = || HeaderLines::some_of(&self.request.headers(), &TELLING_HEADERS);
            return self.telling.get_or_init(read).get(name);
        }
        self.headers().get(name)
    }

    fn headers(&self) -> &HeaderLines {
        self.headers.get_or_init(|| HeaderLines::of(&self.request.headers()))
    }

    /// The service binding ORIGIN.
    fn origin_binding(&self) -> bindings::Fetcher {
        bindings::origin(&self.env).unchecked_into()
    }
}

/// A new token: 128 random bits.
fn random_token() -> Result<Lease, Error> {
    let mut token = [0; 16];
    bindings::fill_random(&mut token)?;
    Ok(Lease(token))
}

/// So much of a refused request is read, for so long.
const DRAINED_MAX: u32 = 32 * 1024 * 1024;
const DRAINED_MS: u32 = 5000;
