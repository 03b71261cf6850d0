//! The operators' part: lets them in, asks the Ledgers, answers as JSON or as a page.

mod shards;
mod visitor;

use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;

use wasm_bindgen::JsValue;

use super::body_buffer::Owner;
use super::body_reader::{self, Read};
use super::clock::now;
use super::error::Error;
use super::response::{Response, response};
use crate::admission::Head;
use crate::config::{Misconfigured, Policy};
use crate::operator::answer::{ApiResponse, answer};
use crate::operator::api::{self, ApiRequest};
use crate::operator::auth::Auth;
use crate::operator::page::{self, PageContext};
use crate::operator::refusal::{Kind, Refusal};
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
}

/// What is answered.
enum Said {
    Answer(u16, ApiResponse),
    /// See the first page, with another session.
    SeeOther(String),
}

/// What is waited for apart: one future of all that an answer waits for is larger than its parts.
type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + 'a>>;

impl Operator<'_> {
    /// Answers, whatever comes.
    pub(super) async fn serve(&self) -> Result<Response, Error> {
        // Apart from what guards requests: that future is not to be as large as this one.
        let answer: Later<'_, Said> = Box::pin(self.answer());
        match answer.await {
            Ok(said) => self.respond(said, Vec::new()),
            Err(refusal) => {
                let headers = refusal.headers();
                let said = if self.wants_page() {
                    ApiResponse::Page(self.refused(&refusal))
                } else {
                    ApiResponse::Json(refusal.document())
                };
                self.respond(Said::Answer(refusal.status(), said), headers)
            }
        }
    }

    async fn answer(&self) -> Result<Said, Refusal> {
        let target = &self.head.address.target;
        let query = target.query.as_deref();
        if api::carries_token(query) {
            return Err(Refusal::invalid(
                "A token does not belong in an address, which is kept in histories and logs. Send it as Authorization: Bearer, and change it.",
            ));
        }
        let request = api::read(self.head.method, &target.path, query, now());
        if matches!(request, Ok(ApiRequest::LogIn)) {
            self.same_site()?;
            return self.log_in(&self.body(TOKEN_MAX).await?);
        }
        let session = self.visitor()?;
        let request = match (&session, self.head.method, request?) {
            (Some(session), "POST", request) => {
                self.same_site()?;
                self.posted(request, session, &self.body(REQUEST_MAX).await?)?
            }
            // No form can send anything else, and what could carries no form token.
            (Some(_), "DELETE", _) => {
                return Err(Refusal::new(Kind::Forbidden, "A session decides by forms only."));
            }
            (None, _, ApiRequest::DecideByBody) => {
                ApiRequest::Decide(api::read_json(&self.body(REQUEST_MAX).await?)?)
            }
            (_, _, request) => request,
        };
        if request == ApiRequest::LogOut {
            return Ok(Said::SeeOther(self.set_cookie("", 0)));
        }
        let (results, replies) = self.ask(&request).await?;
        let context = self.wants_page().then(|| self.context(session.as_deref()));
        let status = match &request {
            ApiRequest::Confirm { refused: Some((refusal, _)), .. } => refusal.status(),
            _ => 200,
        };
        answer(&request, results, &replies, context.as_ref()).map(|said| Said::Answer(status, said))
    }

    fn body(&self, limit: u64) -> Later<'_, Vec<u8>> {
        Box::pin(self.read_body(limit))
    }

    async fn read_body(&self, limit: u64) -> Result<Vec<u8>, Refusal> {
        let Some(stream) = self.request.body() else { return Ok(Vec::new()) };
        match body_reader::read(&stream, None, limit, Owner::Request).await {
            Read::Whole(body) => {
                let bytes = body.bytes().ok_or_else(|| failed("the request took too long"))?;
                Ok(bytes.to_vec())
            }
            Read::TooLarge(_) => Err(Refusal::new(
                Kind::TooLarge,
                format_args!("It may be {limit} bytes. Nothing was changed."),
            )),
            Read::NoRoom(_) => Err(failed("too much is being buffered")),
            Read::Broken(why) => Err(failed(&why)),
        }
    }

    /// Programs get JSON; a browser says that it would rather have a page.
    fn wants_page(&self) -> bool {
        (self.head.header)("accept").is_some_and(|accept| accept.contains("text/html"))
    }

    fn context(&self, session: Option<&str>) -> PageContext {
        let csrf_token = session.map_or_else(String::new, |session| self.auth.csrf_token(session));
        let query = self.head.address.target.query.clone();
        PageContext { nonce: hex(&self.nonce), csrf_token, query, now: now() }
    }

    fn refused(&self, refusal: &Refusal) -> String {
        match self.session() {
            Some(session) if refusal.kind != Kind::Unauthorized => {
                page::refused(&self.context(Some(&session)), refusal)
            }
            _ => {
                // Whoever has only come to the auth has done nothing wrong.
                let is_told = self.head.method == "POST" || refusal.kind != Kind::Unauthorized;
                page::log_in(&hex(&self.nonce), is_told.then_some(&*refusal.detail))
            }
        }
    }

    fn respond(&self, said: Said, more: Vec<(&'static str, String)>) -> Result<Response, Error> {
        let mut marks = vec![
            ("cache-control", "no-store".to_owned()),
            ("vary", "Accept".to_owned()),
            ("referrer-policy", "same-origin".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        marks.extend(more);
        let (status, body) = match said {
            Said::Answer(status, ApiResponse::Json(document)) => {
                let kind =
                    if status < 400 { "application/json" } else { "application/problem+json" };
                marks.push(("content-type", kind.to_owned()));
                (status, document)
            }
            Said::Answer(status, ApiResponse::Page(html)) => {
                marks.push(("content-type", "text/html; charset=utf-8".to_owned()));
                marks.push((
                    "content-security-policy",
                    page::content_security_policy(&hex(&self.nonce)),
                ));
                marks.push(("x-context-options", "DENY".to_owned()));
                (status, html)
            }
            Said::SeeOther(cookie) => {
                marks.push(("location", api::ROOT.to_owned()));
                marks.push(("set-cookie", cookie));
                (303, String::new())
            }
        };
        response(status, &marks, &JsValue::from_str(&body))
    }
}

/// What keeps the Ledgers from answering.
fn failed(why: impl Display) -> Refusal {
    Refusal::new(Kind::Unavailable(1), format_args!("The store could not be asked: {why}."))
}

/// A stored reply is as large as `reply.max` allows, 8 MiB where nothing else is said; a form spells it
/// longer.
const REQUEST_MAX: u64 = 16 * 1024 * 1024;
/// A log-in is read before anybody is known.
const TOKEN_MAX: u64 = 4 * 1024;
