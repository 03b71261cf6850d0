//! The operators' part: authenticates an operator, asks the Ledgers, answers as JSON or as a page.

mod replies;
mod schedules;
mod session;
mod shards;

use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use wasm_bindgen::JsValue;

use super::body_buffer::Owner;
use super::body_reader::{self, Read};
use super::clock::now;
use super::error::Error;
use super::job::Done;
use super::response::{Response, response};
use crate::admission::Head;
use crate::config::Policy;
use crate::config::read::Misconfigured;
use crate::lifecycle::event::Strategy;
use crate::operator::answer::{ApiResponse, answer};
use crate::operator::api::{self, ApiRequest};
use crate::operator::auth::Auth;
use crate::operator::documents::UnavailableShard;
use crate::operator::page::{self, PageContext};
use crate::problem::{Code, Problem};
use crate::request::digest::hex;

/// An operator's request.
pub(super) struct Operator<'a> {
    pub(super) auth: &'a Auth,
    pub(super) env: &'a worker::Env,
    pub(super) request: &'a web_sys::Request,
    pub(super) head: &'a Head<'a>,
    pub(super) policy: Result<Rc<Policy>, Rc<Vec<Misconfigured>>>,
    /// Fresh random bytes.
    pub(super) nonce: [u8; 16],
    /// Puts requests of schedules through the filter.
    pub(super) put_through: &'a PutThrough,
}

/// Puts a request through the filter, under a strategy of its own if it has one.
pub(super) type PutThrough =
    dyn Fn(web_sys::Request, Option<Strategy>) -> LocalBoxFuture<'static, Result<Done, Error>>;

/// What a request is answered with.
enum Reply {
    /// A status and its content.
    Content(u16, ApiResponse),
    /// A stored body as it is: bytes, or a stream of them.
    Body(JsValue),
    /// A redirect to the first page, with the cookie of another session.
    SeeOther(String),
}

/// A future on the heap: the future of a guarded request is not to be as large as that of an operator's.
type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + 'a>>;

impl Operator<'_> {
    /// Answers the request; a problem is an answer too.
    pub(super) async fn serve(&self) -> Result<Response, Error> {
        let reply: Later<'_, Reply> = Box::pin(self.reply_to());
        match reply.await {
            Ok(reply) => self.respond(reply, Vec::new()),
            Err(problem) => {
                let headers = problem.operator_headers();
                let content = if self.wants_page() {
                    ApiResponse::Page(self.refused_page(&problem))
                } else {
                    ApiResponse::Json(problem.operator_body())
                };
                self.respond(Reply::Content(problem.status, content), headers)
            }
        }
    }

    async fn reply_to(&self) -> Result<Reply, Problem> {
        let target = &self.head.address.target;
        let query = target.query.as_deref();
        if api::carries_token(query) {
            return Err(Problem::invalid(
                "A token does not belong in an address, which is kept in histories and logs. Send it as Authorization: Bearer, and change it.",
            ));
        }
        let request = api::read(self.head.method, &target.compared, query, now());
        if matches!(request, Ok(ApiRequest::LogIn)) {
            self.verify_same_site()?;
            return self.log_in(&self.body(TOKEN_MAX).await?);
        }
        let session = self.authenticate()?;
        let request = match (&session, self.head.method, request?) {
            (Some(session), "POST", request) => {
                self.verify_same_site()?;
                self.read_form(request, session, &self.body(REQUEST_MAX).await?)?
            }
            // A form cannot send a DELETE, and what can send one carries no CSRF token.
            (Some(_), "DELETE", _) => {
                return Err(Problem::new(Code::Forbidden, "A session decides by forms only."));
            }
            (None, _, ApiRequest::DecideByBody) => {
                ApiRequest::Decide(api::read_json(&self.body(REQUEST_MAX).await?)?)
            }
            (None, _, ApiRequest::Run(run)) => {
                ApiRequest::Run(run.with_json(&self.body(REQUEST_MAX).await?)?)
            }
            (_, _, request) => request,
        };
        match request {
            ApiRequest::LogOut => Ok(Reply::SeeOther(self.set_cookie("", 0))),
            ApiRequest::Body(key) => self.stored_body(key).await.map(Reply::Body),
            ApiRequest::Schedules => self.schedules(session.as_deref()),
            ApiRequest::Run(run) => {
                let running: Later<'_, Reply> = Box::pin(self.run(&run, session.as_deref()));
                running.await
            }
            request => {
                let results = self.ask(&request).await?;
                let missing = results.unavailable.clone();
                let context = self.wants_page().then(|| self.context(session.as_deref(), missing));
                let status = match &request {
                    ApiRequest::Confirm { refused: Some((problem, _)), .. } => problem.status,
                    _ => 200,
                };
                let content = answer(&request, results, context.as_ref())?;
                Ok(Reply::Content(status, content))
            }
        }
    }

    fn body(&self, limit: u64) -> Later<'_, Vec<u8>> {
        Box::pin(self.read_body(limit))
    }

    async fn read_body(&self, limit: u64) -> Result<Vec<u8>, Problem> {
        let Some(stream) = self.request.body() else { return Ok(Vec::new()) };
        match body_reader::read(&stream, None, limit, Owner::Request).await {
            Read::Whole(body) => {
                let bytes = body.bytes().ok_or_else(|| unavailable("the request took too long"))?;
                Ok(bytes.to_vec())
            }
            Read::TooLarge(_) => Err(Problem::new(
                Code::RequestTooLarge,
                format!("It may be {limit} bytes. Nothing was changed."),
            )),
            Read::NoRoom(_) => Err(unavailable("too much is being buffered")),
            Read::Broken(why) => Err(unavailable(&why)),
            Read::TooSlow => Err(unavailable("the request took too long")),
        }
    }

    /// Programs get JSON; a browser's Accept header asks for a page.
    fn wants_page(&self) -> bool {
        (self.head.header)("accept").is_some_and(|accept| accept.contains("text/html"))
    }

    fn context(&self, session: Option<&str>, unavailable: Vec<UnavailableShard>) -> PageContext {
        let csrf_token = session.map_or_else(String::new, |session| self.auth.csrf_token(session));
        let query = self.head.address.target.query.clone();
        let has_schedules = self.policy.as_ref().is_ok_and(|policy| !policy.schedules.is_empty());
        PageContext {
            nonce: hex(&self.nonce),
            csrf_token,
            query,
            now: now(),
            unavailable,
            has_schedules,
        }
    }

    fn refused_page(&self, problem: &Problem) -> String {
        match self.session() {
            Some(session) if problem.code != Code::Unauthorized => {
                page::refused(&self.context(Some(&session), Vec::new()), problem)
            }
            _ => {
                // An operator who opens a page without a session has made no mistake yet.
                let has_error = self.head.method == "POST" || problem.code != Code::Unauthorized;
                page::log_in(&hex(&self.nonce), has_error.then_some(&*problem.detail))
            }
        }
    }

    fn respond(&self, reply: Reply, more: Vec<(&'static str, String)>) -> Result<Response, Error> {
        let mut headers = vec![
            ("cache-control", "no-store".to_owned()),
            ("vary", "Accept".to_owned()),
            ("referrer-policy", "same-origin".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        headers.extend(more);
        let (status, body) = match reply {
            Reply::Content(status, ApiResponse::Json(document)) => {
                let kind =
                    if status < 400 { "application/json" } else { "application/problem+json" };
                headers.push(("content-type", kind.to_owned()));
                (status, JsValue::from_str(&document))
            }
            Reply::Content(status, ApiResponse::Page(html)) => {
                let policy = page::content_security_policy(&hex(&self.nonce));
                headers.push(("content-type", "text/html; charset=utf-8".to_owned()));
                headers.push(("content-security-policy", policy));
                headers.push(("x-frame-options", "DENY".to_owned()));
                (status, JsValue::from_str(&html))
            }
            Reply::Body(body) => {
                // The origin made these bytes: a browser must never take them for a page of ours.
                headers.push(("content-type", "application/octet-stream".to_owned()));
                headers.push(("content-disposition", "attachment; filename=\"body\"".to_owned()));
                headers.push(("content-security-policy", "default-src 'none'; sandbox".to_owned()));
                (200, body)
            }
            Reply::SeeOther(cookie) => {
                headers.push(("location", api::ROOT.to_owned()));
                headers.push(("set-cookie", cookie));
                (303, JsValue::from_str(""))
            }
        };
        response(status, &headers, &body)
    }
}

/// The Ledgers could not be asked.
fn unavailable(why: impl Display) -> Problem {
    Problem::new(Code::StoreUnavailable, format!("The store could not be asked: {why}."))
}

/// A stored reply is as large as `reply.max` allows, 8 MiB by default; a form needs more bytes for it.
const REQUEST_MAX: u64 = 16 * 1024 * 1024;
/// The body of a log-in is read before the operator is authenticated.
const TOKEN_MAX: u64 = 4 * 1024;
