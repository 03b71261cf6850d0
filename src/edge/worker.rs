//! The fetch event: what is not guarded is handed on untouched; what is goes through
//! [`crate::filter`] inside `wait_until`, so that a client that hangs up loses nothing.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::{Context, Env, event};

use super::alone::{BrokeOff, afterwards, alone};
use super::body::{self, Of, Read, Room};
use super::exchange::{Exchange, lapsed};
use super::journal::{self, Course};
use super::operator::Operator;
use super::respond::{self, Client, Response, plain_problem};
use super::{faults, js, origin, vars};
use crate::admission::{self, Admission, Guarded, Head, admit, consider};
use crate::answer::{Answer, Status};
use crate::filter::{Order, clear_up, filter};
use crate::journal::Entry;
use crate::operator::door::Door;
use crate::outcome::Failure;
use crate::policy::{Misconfigured, Origin, Policy};
use crate::problem::{Code, Problem};
use crate::publish::published;
use crate::record::Lease;
use crate::route::{Mode, Route};
use crate::routes::is_safe;
use crate::shadow::{Passed, watch};
use crate::target::Address;

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<Response> {
    let course = Rc::new(Course::new());
    let asked = Asked { env: env.into(), context, request, client: OnceCell::new(), course };
    match alone(asked.serve()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            worker::console_error!("{}: {}", asked.request.method(), js::text(&error));
            Ok(plain_problem(502, "Bad Gateway")?)
        }
        Err(BrokeOff) => Ok(asked.broke_off()?),
    }
}

/// A request with its surroundings.
struct Asked {
    request: web_sys::Request,
    env: JsValue,
    context: Context,
    /// Whom to answer, once it is known to be guarded.
    client: OnceCell<Client>,
    /// How far a guarded one has come, and how long that took.
    course: Rc<Course>,
}

/// What has been read of a request's body.
enum Body {
    /// Nothing.
    Untouched,
    /// All of it; none where it has none.
    Whole(Option<Room>),
    /// So much, before it turned out to be too much.
    Begun(Vec<Uint8Array>),
}

impl Asked {
    async fn serve(&self) -> Result<Response, JsValue> {
        faults::arm(&self.request);
        faults::here("start");
        let method = self.request.method();
        let headers = self.request.headers();
        let header = |name: &str| headers.get(name).ok().flatten();
        let Some(address) = Address::parse(&self.request.url()) else {
            return plain_problem(400, "Bad Request");
        };
        let head = Head { method: &method, address: &address, header: &header };
        if admission::is_own(&address.target.path)
            && let Some(door) = vars::door(&self.env)
        {
            return self.operate(&door, &head).await;
        }
        match vars::policy(&self.env) {
            Ok(policy) => self.admit(&policy, &head).await,
            Err(wrongs) => self.misconfigured(&wrongs, &head).await,
        }
    }

    async fn operate(&self, door: &Door, head: &Head<'_>) -> Result<Response, JsValue> {
        let Lease(nonce) = lease()?;
        let (env, request, policy) = (&self.env, &self.request, vars::policy(&self.env));
        Operator { door, env, request, head, policy, nonce }.serve().await
    }

    async fn admit(&self, policy: &Rc<Policy>, head: &Head<'_>) -> Result<Response, JsValue> {
        let (admission, body) = match admit(policy, head) {
            Admission::Read(route) => self.read(route, head).await,
            admission => (admission, Body::Untouched),
        };
        match admission {
            Admission::Pass => self.pass(&policy.origin, head, body).await,
            Admission::Hidden => plain_problem(404, "Not Found"),
            Admission::Publish => respond::json(&published(policy)),
            Admission::Refuse(problem, route) if route.mode == Mode::Shadow => {
                let id = admission::correlation_id(head, lease()?);
                log_shadow(&route, problem.code.as_str(), &id);
                self.pass(&policy.origin, head, body).await
            }
            Admission::Refuse(problem, route) => {
                let id = admission::correlation_id(head, lease()?);
                self.write(policy, &route, None, &id, head, Said::of(&problem));
                Client::new(id, Some(&route), head).problem(&problem, None)
            }
            Admission::Guard(guarded) if guarded.route.mode == Mode::Shadow => {
                self.shadow(policy, guarded, head, body).await
            }
            Admission::Guard(guarded) => self.guard(policy, guarded, head, body).await,
            // The body has been read; asking for it again would be a loop.
            Admission::Read(_) => Err(JsValue::from_str("a body was asked for twice")),
        }
    }

    /// Reads the body to find the key in it.
    async fn read(&self, route: Rc<Route>, head: &Head<'_>) -> (Admission, Body) {
        match self.buffer(&route).await {
            Ok(body) => {
                let bytes = body.as_ref().and_then(Room::bytes);
                let copy = bytes.map(|bytes| bytes.to_vec()).unwrap_or_default();
                (consider(route, head, Some(&copy)), Body::Whole(body))
            }
            Err((problem, chunks)) => (Admission::Refuse(problem, route), Body::Begun(chunks)),
        }
    }

    /// Hands a request on as it is: body and answer stream, upgrades included.
    async fn pass(&self, to: &Origin, head: &Head<'_>, body: Body) -> Result<Response, JsValue> {
        let request = &self.request;
        let base = match to {
            Origin::Url { base } => base.clone(),
            Origin::Zone | Origin::Binding => {
                format!("{}://{}", head.address.scheme, head.address.host)
            }
        };
        // The path goes on as it came: an unguarded request is not even normalised.
        let address = JsValue::from_str(&format!("{base}{}", raw_target(&request.url())));
        let binding = matches!(to, Origin::Binding).then(|| self.binding());
        let send = |input: &JsValue, init: &JsValue| match &binding {
            Some(binding) => binding.fetch(input, init),
            None => js::fetch(input, init),
        };
        let carrying = |body: JsValue| origin::init(head.method, &request.headers(), body);
        let sent = match body {
            Body::Untouched if matches!(to, Origin::Url { .. }) => send(&address, request),
            Body::Untouched => send(request, &JsValue::UNDEFINED),
            Body::Whole(None) => send(&address, &carrying(JsValue::NULL)),
            Body::Whole(Some(room)) => {
                send(&address, &carrying(room.bytes().ok_or_else(lapsed)?.into()))
            }
            Body::Begun(chunks) => {
                send(&address, &carrying(respond::stream(request.body(), chunks, &self.context)?))
            }
        };
        Ok(JsFuture::from(sent?).await?.unchecked_into())
    }

    async fn misconfigured(
        &self,
        wrongs: &[Misconfigured],
        head: &Head<'_>,
    ) -> Result<Response, JsValue> {
        for wrong in wrongs {
            worker::console_error!("misconfigured: {}: {}", wrong.knob, wrong.why);
        }
        if admission::is_own(&head.address.target.path) {
            return plain_problem(404, "Not Found");
        }
        match Origin::parse(&vars::origin(&self.env)) {
            Ok(origin) if is_safe(head.method) => self.pass(&origin, head, Body::Untouched).await,
            Ok(_) | Err(_) => {
                let detail = "The filter's configuration does not parse, so nothing was forwarded. Its operator finds the reason in the log.";
                let id = admission::correlation_id(head, lease()?);
                Client::new(id, None, head)
                    .problem(&Problem::new(Code::Misconfigured, detail), None)
            }
        }
    }

    async fn guard(
        &self,
        policy: &Rc<Policy>,
        guarded: Guarded,
        head: &Head<'_>,
        body: Body,
    ) -> Result<Response, JsValue> {
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
        let (exchange, order) = self.exchange(policy, guarded.clone(), head, &digest, body)?;
        let (sender, answer) = oneshot::channel();
        // Registered before anything is claimed: after a disconnect it would be too late, and only what
        // is registered lives on, for at most 30 s (developers.cloudflare.com, workers/runtime-apis/context).
        self.context.wait_until(async move {
            let key = order.key;
            let story = filter(&exchange, order, |said| {
                // Nobody to answer is no reason to stop.
                let _ = sender.send(said);
            });
            if let Err(BrokeOff) = alone(story).await {
                clear_up(&exchange, &key, exchange.course.reached.get()).await;
            }
        });
        let answer = answer.await;
        let said = match &answer {
            Ok(Answer::Problem(problem, _)) => Said::of(problem),
            Ok(Answer::Heard(heard, status, _)) => Said::heard(heard.response.status(), *status),
            Ok(Answer::Stored(replay)) => {
                let outcome = Status::from(replay.how).as_str();
                Said { outcome, status: replay.reply.status, why: None }
            }
            Err(oneshot::Canceled) => Said::of(&self.course.reached.get().broke_off().0),
        };
        let id = &guarded.correlation_id;
        self.write(policy, &guarded.route, Some(&guarded), id, head, said);
        match answer {
            Ok(Answer::Problem(problem, status)) => client.problem(&problem, status),
            Ok(Answer::Heard(heard, status, expires)) => {
                faults::here("heard");
                client.heard(heard, status, expires, &self.context)
            }
            Ok(Answer::Stored(replay)) => client.stored(&replay, &self.context),
            Err(oneshot::Canceled) => self.broke_off(),
        }
    }

    /// The answer where a fault of the filter itself ended the work in the middle.
    fn broke_off(&self) -> Result<Response, JsValue> {
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
            key: guarded.map(|guarded| (&guarded.key, guarded.id)),
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
        journal::write(&self.env, policy.log_keys, &entry);
    }

    /// Forwards as if unguarded, and logs what enforcing would have answered.
    async fn shadow(
        &self,
        policy: &Rc<Policy>,
        guarded: Guarded,
        head: &Head<'_>,
        body: Body,
    ) -> Result<Response, JsValue> {
        let body = match self.whole(body, &guarded.route).await {
            Ok(body) => body,
            Err((problem, chunks)) => {
                log_shadow(&guarded.route, problem.code.as_str(), &guarded.correlation_id);
                return self.pass(&policy.origin, head, Body::Begun(chunks)).await;
            }
        };
        let digest = digest(body.as_ref(), &guarded.route).await?;
        let (exchange, order) = self.exchange(policy, Rc::new(guarded), head, &digest, None)?;
        let reply_max = order.route.reply_max;
        let (tell, told) = oneshot::channel::<Passed>();
        afterwards(&self.context, async move {
            let passed = async { told.await.map_err(|oneshot::Canceled| Failure::Unknown) };
            let id = &order.claim.about.correlation_id;
            watch(&exchange, &order, passed, |would| log_shadow(&order.route, would, id)).await;
        });
        let response = self.pass(&policy.origin, head, Body::Whole(body)).await?;
        // Whoever watches may have given up; the answer passes all the same.
        let _ = tell.send(origin::passed(&response, reply_max));
        Ok(response)
    }

    fn exchange(
        &self,
        policy: &Rc<Policy>,
        guarded: Rc<Guarded>,
        head: &Head<'_>,
        digest: &[u8; 32],
        body: Option<Room>,
    ) -> Result<(Exchange, Order), JsValue> {
        let claim = guarded.claim(head, digest, lease()?);
        let order = Order { key: guarded.id, claim, route: guarded.route.clone() };
        let exchange = Exchange {
            ledger: js::get(&self.env, "LEDGER").unchecked_into(),
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
        Ok((exchange, order))
    }

    async fn whole(
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
        let Some(stream) = self.request.body() else { return Ok(None) };
        let length = origin::content_length(&self.request.headers());
        let of = if route.mode == Mode::Shadow { Of::Shadow } else { Of::Request };
        match body::read(stream.into(), length, route.request_max, of).await {
            Read::Whole(room) => Ok(Some(room)),
            Read::TooLarge(chunks) => {
                let detail = format!(
                    "The body is larger than the {} bytes that this operation accepts. Nothing was forwarded.",
                    route.request_max
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

    fn binding(&self) -> js::Fetcher {
        js::get(&self.env, "ORIGIN").unchecked_into()
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

/// Path and query as they came.
fn raw_target(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// The digest of a body by the route's rule. From here on the body is kept for as long as its request
/// may last.
async fn digest(body: Option<&Room>, route: &Route) -> Result<[u8; 32], JsValue> {
    let bytes = match body {
        None => Uint8Array::new_with_length(0),
        Some(room) => {
            room.keep_for(route.wait.plus(route.terms().lease));
            room.bytes().ok_or_else(lapsed)?
        }
    };
    body::digest(&route.fingerprint.body, &bytes).await
}

/// What enforcing would have answered.
fn log_shadow(route: &Route, would: &str, correlation_id: &str) {
    let line = crate::json::object(|line| {
        line.text("mode", "shadow");
        line.text("route", &route.name);
        line.text("would", would);
        line.text("correlation_id", correlation_id);
    });
    worker::console_log!("{line}");
}

/// A fresh token: 128 random bits.
fn lease() -> Result<Lease, JsValue> {
    let mut token = [0; 16];
    js::fill_random(&mut token)?;
    Ok(Lease(token))
}
