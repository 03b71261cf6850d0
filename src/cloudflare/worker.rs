//! The fetch event: what is not guarded is handed on untouched; what is goes through
//! [`crate::filter`] inside `wait_until`, so that a client that hangs up loses nothing.

mod passthrough;
mod request_body;

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot::{self, Canceled};
use js_sys::Promise;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use worker::{Context, Env, event};

use self::passthrough::log_shadow;
use self::request_body::{Body, digest};
use super::body_buffer::BufferedBody;
use super::error::Error;
use super::log::{self, Timing};
use super::operator::Operator;
use super::origin::Lines;
use super::response::{self, Client, Response, plain_problem};
use super::tasks::{scoped, spawn, wait_until};
use super::world::RequestWorld;
use super::{bindings, env, faults, origin};
use crate::admission::{self, Admission, Guarded, Head, admit};
use crate::answer::{Answer, Status};
use crate::config::publish::published;
use crate::config::route::Route;
use crate::config::values::Mode;
use crate::config::{Origin, Policy};
use crate::filter::{GuardedRequest, clear_up, filter};
use crate::lifecycle::record::Lease;
use crate::log::Entry;
use crate::operator::auth::Auth;
use crate::problem::Problem;
use crate::request::path::Address;

/// The program has started, for the first time or anew.
#[event(start)]
fn start() {
    bindings::started();
}

/// The fetch event. The request is served in a task of its own, and so is what answers where a fault ended that
/// task: nothing in this one can fail. A promise of a response is a response to whoever awaits it.
#[event(fetch)]
async fn fetch(
    request: web_sys::Request,
    env: Env,
    context: Context,
) -> worker::Result<web_sys::Response> {
    let asked = Rc::new(Asked::new(request, env, context));
    let answer = scoped(async move {
        let serving = asked.clone();
        if let Ok(answer) = spawn(async move { serving.answer().await }).await {
            return answer;
        }
        let aborted = spawn(async move { asked.aborted().map(JsValue::from) }).await;
        aborted.unwrap_or_else(|Canceled| Err(Error::SecondFault))
    });
    let answer = answer.await.unwrap_or(Ok(JsValue::UNDEFINED));
    // `entry.js` answers where this rejects. An error of this function would be a text of the crate's own.
    Ok(answer.unwrap_or_else(|error| Promise::reject(&error.into()).into()).unchecked_into())
}

/// What `entry.js` answers where all else has failed: nobody knows how far the request had come.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn lost(error: &JsValue) -> Result<Response, Error> {
    bindings::error(&format!("unanswered: {}", bindings::text(error)));
    plain_problem(500, "Internal Server Error")
}

/// A request with its surroundings.
struct Asked {
    request: web_sys::Request,
    method: String,
    /// Its headers, once one of them is looked for.
    headers: OnceCell<Lines>,
    env: Env,
    context: Rc<Context>,
    /// Whom to answer, once it is known to be guarded.
    client: OnceCell<Client>,
    /// How far a guarded one has come, and how long that took.
    course: Rc<Timing>,
}

impl Asked {
    fn new(request: web_sys::Request, env: Env, context: Context) -> Self {
        Self {
            method: request.method(),
            request,
            headers: OnceCell::new(),
            env,
            context: Rc::new(context),
            client: OnceCell::new(),
            course: Rc::new(Timing::new()),
        }
    }

    async fn answer(&self) -> Result<JsValue, Error> {
        match self.serve().await {
            Ok(response) => Ok(response),
            Err(error) => {
                bindings::error(&format!("{}: {error}", self.method));
                plain_problem(502, "Bad Gateway").map(Into::into)
            }
        }
    }

    /// The response, or the promise of one.
    async fn serve(&self) -> Result<JsValue, Error> {
        faults::arm(&self.request);
        faults::here("start");
        let header = |name: &str| self.headers().get(name).map(str::to_owned);
        let Some(address) = Address::parse(&self.request.url()) else {
            return plain_problem(400, "Bad Request").map(Into::into);
        };
        let head = Head { method: &self.method, address: &address, header: &header };
        if admission::is_own(&address.target.path)
            && let Some(auth) = env::auth(&self.env)
        {
            return self.operate(&auth, &head).await.map(Into::into);
        }
        match env::policy(&self.env) {
            Ok(policy) => self.admit(&policy, &head).await,
            Err(wrongs) => self.misconfigured(&wrongs, &head),
        }
    }

    fn headers(&self) -> &Lines {
        self.headers.get_or_init(|| Lines::of(&self.request.headers()))
    }

    async fn operate(&self, auth: &Auth, head: &Head<'_>) -> Result<Response, Error> {
        let Lease(nonce) = lease()?;
        let (env, request, policy) = (&self.env, &self.request, env::policy(&self.env));
        Operator { auth, env, request, head, policy, nonce }.serve().await
    }

    async fn admit(&self, policy: &Rc<Policy>, head: &Head<'_>) -> Result<JsValue, Error> {
        let (admission, body) = match admit(policy, head) {
            Admission::Read(route) => self.read(route, head).await,
            admission => (admission, Body::Untouched),
        };
        let answered = match admission {
            Admission::Pass => return self.hand_on(&policy.origin, head, body),
            Admission::Hidden => plain_problem(404, "Not Found"),
            Admission::Publish => response::json(&published(policy)),
            Admission::Refuse(problem, route) if route.mode == Mode::Shadow => {
                let id = admission::correlation_id(head, lease()?);
                log_shadow(&route, problem.code.as_str(), &id);
                return self.hand_on(&policy.origin, head, body);
            }
            Admission::Refuse(problem, route) => {
                let id = admission::correlation_id(head, lease()?);
                self.write(policy, &route, None, &id, head, Said::of(&problem));
                Client::new(id, Some(&route), head).problem(&problem, None)
            }
            Admission::Guard(guarded) if guarded.route.mode == Mode::Shadow => {
                return self.shadow(policy, guarded, head, body).await;
            }
            Admission::Guard(guarded) => self.guard(policy, guarded, head, body).await,
            // The body has been read; asking for it again would be a loop.
            Admission::Read(_) => Err(Error::BodyAskedTwice),
        };
        answered.map(Into::into)
    }

    async fn guard(
        &self,
        policy: &Rc<Policy>,
        guarded: Guarded,
        head: &Head<'_>,
        body: Body,
    ) -> Result<Response, Error> {
        let client = self.client.get_or_init(|| {
            Client::new(guarded.correlation_id.clone(), Some(&guarded.route), head)
        });
        let body = match self.whole(body, &guarded.route).await {
            Ok(body) => body,
            Err((problem, _)) => {
                let said = Said::of(&problem);
                let id = &guarded.correlation_id;
                self.write(policy, &guarded.route, Some(&guarded), id, head, said);
                return client.problem(&problem, None);
            }
        };
        let digest = digest(body.as_ref(), &guarded.route).await?;
        faults::here("read");
        let guarded = Rc::new(guarded);
        let (exchange, request) = self.exchange(policy, guarded.clone(), head, &digest, body)?;
        let (sender, answer) = oneshot::channel();
        let (exchange, key) = (Rc::new(exchange), request.key_id);
        let telling = exchange.clone();
        let story = spawn(async move {
            filter(&*telling, request, |said| {
                // Nobody to answer is no reason to stop.
                let _ = sender.send(said);
            })
            .await;
        });
        // Registered before anything is claimed: after a disconnect it would be too late.
        wait_until(&self.context, async move {
            if let Err(Canceled) = story.await {
                let reached = exchange.course.reached.get();
                let _ = spawn(async move { clear_up(&*exchange, &key, reached).await }).await;
            }
        });
        let answer = answer.await;
        let said = match &answer {
            Ok(Answer::Problem(problem, _)) => Said::of(problem),
            Ok(Answer::OriginResponse(heard, status, _)) => Said::heard(heard.status, *status),
            Ok(Answer::Stored(replay, _)) => {
                let outcome = Status::from(replay.how).as_str();
                Said { outcome, status: replay.reply.status, why: None }
            }
            Err(Canceled) => Said::of(&self.course.reached.get().broke_off().0),
        };
        let id = &guarded.correlation_id;
        self.write(policy, &guarded.route, Some(&guarded), id, head, said);
        match answer {
            Ok(Answer::Problem(problem, status)) => client.problem(&problem, status),
            Ok(Answer::OriginResponse(heard, status, expires)) => {
                faults::here("heard");
                client.heard(heard, status, expires, &self.context)
            }
            Ok(Answer::Stored(replay, body)) => client.stored(&replay, body),
            Err(Canceled) => self.aborted(),
        }
    }

    /// The answer where a fault of the filter itself ended the work in the middle.
    fn aborted(&self) -> Result<Response, Error> {
        faults::here("aborted");
        let Some(client) = self.client.get() else {
            return plain_problem(500, "Internal Server Error");
        };
        let (problem, status) = self.course.reached.get().broke_off();
        client.problem(&problem, status)
    }

    /// Writes down what became of a guarded request.
    fn write(
        &self,
        policy: &Policy,
        route: &Route,
        guarded: Option<&Guarded>,
        correlation_id: &str,
        head: &Head<'_>,
        Said { outcome, status, why }: Said,
    ) {
        let entry = Entry {
            route: &route.name,
            method: head.method,
            key: guarded.map(|guarded| &guarded.key),
            correlation_id,
            // 55 characters (W3C Trace Context section 3.2); what is longer is something else.
            traceparent: (head.header)("traceparent").filter(|trace| trace.len() <= 128),
            shard: guarded.map(|guarded| guarded.id.shard(policy.shards)),
            attempt: self.course.attempt(),
            outcome,
            status,
            why,
            times: self.course.times(),
        };
        log::write(&self.env, policy.log_keys, &entry);
    }

    fn exchange(
        &self,
        policy: &Rc<Policy>,
        guarded: Rc<Guarded>,
        head: &Head<'_>,
        digest: &[u8; 32],
        body: Option<BufferedBody>,
    ) -> Result<(RequestWorld, GuardedRequest), Error> {
        let claim = guarded.claim(head, digest, lease()?);
        let request = GuardedRequest { key_id: guarded.id, claim, route: guarded.route.clone() };
        let exchange = RequestWorld {
            ledger: bindings::ledger(&self.env),
            binding: matches!(policy.origin, Origin::Binding).then(|| self.binding()),
            address: origin::address(&policy.origin, head.address),
            guarded,
            asked: head.address.clone(),
            method: head.method.to_owned(),
            headers: self.request.headers(),
            body: RefCell::new(body),
            policy: policy.clone(),
            course: self.course.clone(),
        };
        Ok((exchange, request))
    }

    fn binding(&self) -> bindings::Fetcher {
        bindings::origin(&self.env).unchecked_into()
    }
}

/// What the log says of an answer.
struct Said {
    outcome: &'static str,
    status: u16,
    why: Option<String>,
}

impl Said {
    fn of(problem: &Problem) -> Self {
        let why = problem.why.clone().unwrap_or_else(|| problem.code.title().to_owned());
        Self { outcome: problem.code.as_str(), status: problem.status, why: Some(why) }
    }

    fn heard(answered: u16, status: Status) -> Self {
        let why = match status {
            Status::Released => Some(format!("the origin answered {answered}: released")),
            Status::Unknown => {
                Some(format!("the origin answered {answered}: it is not known whether it executed"))
            }
            Status::Executed | Status::Replayed | Status::Joined => None,
        };
        Self { outcome: status.as_str(), status: answered, why }
    }
}

/// A fresh token: 128 random bits.
fn lease() -> Result<Lease, Error> {
    let mut token = [0; 16];
    bindings::fill_random(&mut token)?;
    Ok(Lease(token))
}
