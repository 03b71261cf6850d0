//! The operators' part: lets them in, asks the Ledgers, answers as JSON or as a page.

use std::cell::RefCell;
use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

use super::body::{self, Of, Read};
use super::exchange::{message, now};
use super::js;
use super::respond::{Response, response};
use super::task::wait;
use crate::admission::Head;
use crate::ask::{Ask, Told};
use crate::digest::hex;
use crate::filter::other_shards;
use crate::json;
use crate::key::KeyId;
use crate::operator::answer::{self, answer, inquiries};
use crate::operator::decide::Ruling;
use crate::operator::desk::{self, Errand, Resolve};
use crate::operator::door::{Door, SESSION, Wrong};
use crate::operator::inquiry::Finding;
use crate::operator::page::{self, Frame};
use crate::operator::refusal::{Kind, Refusal};
use crate::operator::view::Stored;
use crate::policy::{Misconfigured, Policy};
use crate::query;
use crate::source::cookies;
use crate::wire::{self, VERSION};

thread_local! {
    static WRONG: RefCell<Wrong> = RefCell::default();
}

/// An operator's request.
pub(super) struct Operator<'a> {
    pub(super) door: &'a Door,
    pub(super) env: &'a js::Env,
    pub(super) request: &'a web_sys::Request,
    pub(super) head: &'a Head<'a>,
    pub(super) policy: Result<Rc<Policy>, Rc<Vec<Misconfigured>>>,
    /// Fresh random bytes.
    pub(super) nonce: [u8; 16],
}

/// What is answered.
enum Said {
    Answer(u16, answer::Said),
    /// See the first page, with another session.
    SeeOther(String),
}

/// What is waited for apart: one future of all that an answer waits for is larger than its parts.
type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + 'a>>;

impl Operator<'_> {
    /// Answers, whatever comes.
    pub(super) async fn serve(&self) -> Result<Response, JsValue> {
        // Apart from what guards requests: that future is not to be as large as this one.
        let answer: Later<'_, Said> = Box::pin(self.answer());
        match answer.await {
            Ok(said) => self.respond(said, Vec::new()),
            Err(refusal) => {
                let headers = refusal.headers();
                let said = if self.wants_page() {
                    answer::Said::Page(self.refused(&refusal))
                } else {
                    answer::Said::Json(refusal.document())
                };
                self.respond(Said::Answer(refusal.status(), said), headers)
            }
        }
    }

    async fn answer(&self) -> Result<Said, Refusal> {
        let target = &self.head.address.target;
        let query = target.query.as_deref();
        if desk::carries_token(query) {
            return Err(Refusal::invalid(
                "A token does not belong in an address, which is kept in histories and logs. Send it as Authorization: Bearer, and change it.",
            ));
        }
        let errand = desk::read(self.head.method, &target.path, query, now());
        if matches!(errand, Ok(Errand::LogIn)) {
            self.same_site()?;
            return self.log_in(&self.body(TOKEN_MAX).await?);
        }
        let session = self.visitor()?;
        let errand = match (&session, self.head.method, errand?) {
            (Some(session), "POST", errand) => {
                self.same_site()?;
                self.posted(errand, session, &self.body(REQUEST_MAX).await?)?
            }
            // No form can send anything else, and what could carries no form token.
            (Some(_), "DELETE", _) => {
                return Err(Refusal::new(Kind::Forbidden, "A session decides by forms only."));
            }
            (None, _, Errand::Posted) => {
                Errand::Resolve(desk::read_json(&self.body(REQUEST_MAX).await?)?)
            }
            (_, _, errand) => errand,
        };
        if errand == Errand::LogOut {
            return Ok(Said::SeeOther(self.set_cookie("", 0)));
        }
        let (findings, replies) = self.ask(&errand).await?;
        let frame = self.wants_page().then(|| self.frame(session.as_deref()));
        let status = match &errand {
            Errand::Confirm(_, _, Some((refusal, _))) => refusal.status(),
            _ => 200,
        };
        answer(&errand, findings, &replies, frame.as_ref()).map(|said| Said::Answer(status, said))
    }

    // Who asks.

    /// The session, where it is not a bearer of the token.
    fn visitor(&self) -> Result<Option<String>, Refusal> {
        // A session cannot be guessed: it is good whatever else comes from its address. Other schemes are
        // another one's, such as a site's own.
        let authorization = (self.head.header)("authorization").filter(|text| is_bearer(text));
        if authorization.is_none()
            && let Some(session) = self.session()
        {
            return Ok(Some(session));
        }
        self.heard()?;
        match authorization {
            Some(authorization) if self.door.is_borne(&authorization) => Ok(None),
            Some(_) => {
                self.note_wrong();
                Err(Refusal::new(Kind::Unauthorized, "The token is wrong."))
            }
            None => {
                let detail = "Send the operator's token as Authorization: Bearer, or log in.";
                Err(Refusal::new(Kind::Unauthorized, detail))
            }
        }
    }

    fn session(&self) -> Option<String> {
        let header = (self.head.header)("cookie")?;
        // Another site of the same domain may have set one of that name too.
        let mut sessions = cookies(&header).into_iter().filter(|(name, _)| *name == COOKIE);
        sessions.find(|(_, session)| self.door.admits(session, now())).map(|(_, session)| session)
    }

    fn log_in(&self, form: &[u8]) -> Result<Said, Refusal> {
        // Asked after the wait: many may have come with it.
        self.heard()?;
        if !self.door.opens(&field(form, "token")) {
            self.note_wrong();
            return Err(Refusal::new(Kind::Unauthorized, "That is not the token."));
        }
        let session = self.door.session(self.nonce, now());
        Ok(Said::SeeOther(self.set_cookie(&session, SESSION.0 / 1000)))
    }

    fn posted(&self, errand: Errand, session: &str, form: &[u8]) -> Result<Errand, Refusal> {
        if !self.door.is_form_token(session, &field(form, "form_token")) {
            let detail =
                "The form was not made for this session. Nothing was changed; load the page again.";
            return Err(Refusal::new(Kind::Forbidden, detail));
        }
        match errand {
            Errand::Posted => desk::read_form(&|name| field(form, name)),
            errand => Ok(errand),
        }
    }

    /// Whether this address may try a token at all.
    fn heard(&self) -> Result<(), Refusal> {
        let shut = WRONG.with_borrow(|wrong| wrong.shut_for_s(&self.address(), now()));
        shut.map_or(Ok(()), |seconds| {
            let detail = format!("Too many wrong tokens came from your address. Wait {seconds} s.");
            Err(Refusal::new(Kind::TooMany(seconds), &detail))
        })
    }

    fn note_wrong(&self) {
        WRONG.with_borrow_mut(|wrong| wrong.note(&self.address(), now()));
        js::warn(&format!("a wrong operator's token came from {}", self.address()));
    }

    /// Set by Cloudflare, whatever the client sends (developers.cloudflare.com,
    /// fundamentals/reference/http-headers); a local runtime has none.
    fn address(&self) -> String {
        (self.head.header)("cf-connecting-ip").unwrap_or_default()
    }

    /// Browsers say where a form comes from; SameSite=Strict keeps the cookie from other sites anyway.
    fn same_site(&self) -> Result<(), Refusal> {
        let site = (self.head.header)("sec-fetch-site");
        let origin = (self.head.header)("origin");
        let own = format!("{}://{}", self.head.address.scheme, self.head.address.host);
        if site.is_none_or(|site| site == "same-origin" || site == "none")
            && origin.is_none_or(|origin| origin == own)
        {
            return Ok(());
        }
        Err(Refusal::new(Kind::Forbidden, "The form comes from another site. Nothing was changed."))
    }

    fn set_cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.head.address.scheme == "https" { "; Secure" } else { "" };
        // Only the operators' part gets it: never the origin, to which it would be a credential.
        format!(
            "{COOKIE}={value}; Path={}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
            desk::ROOT
        )
    }

    // What is asked for.

    /// One finding for each question, and the replies where the errand wants them.
    fn ask<'a>(&'a self, errand: &'a Errand) -> Later<'a, (Vec<Finding>, Vec<Option<Stored>>)> {
        Box::pin(self.ask_all(errand))
    }

    async fn ask_all(
        &self,
        errand: &Errand,
    ) -> Result<(Vec<Finding>, Vec<Option<Stored>>), Refusal> {
        let policy = self.policy.as_ref().map_err(|wrongs| {
            let knobs: Vec<_> = wrongs.iter().map(|wrong| wrong.knob.as_str()).collect();
            failed(format_args!("the configuration does not parse: {}", knobs.join(", ")))
        })?;
        let (key, inquiries) = inquiries(errand, self.door.by());
        let body = match errand {
            Errand::Resolve(resolve) => Some(Uint8Array::from(resolve.body.as_slice())),
            _ => None,
        };
        let mut findings = Vec::new();
        for inquiry in inquiries {
            let shards = if inquiry.concerns_all() {
                (0..policy.shards).collect()
            } else {
                vec![key.shard(policy.shards)]
            };
            let mut found = inquiry.nothing();
            let ask = Ask::Operator(inquiry.clone());
            // A few at a time: six connections may wait at once for one request
            // (developers.cloudflare.com, workers/platform/limits).
            for some in shards.chunks(AT_ONCE) {
                for (told, _) in self.ask_shards(policy, some, key, &ask, body.as_ref()).await? {
                    let Told::Operator(more) = told else { return Err(strange(told)) };
                    found = inquiry
                        .together(found, more)
                        .ok_or_else(|| failed("a shard answers another question"))?;
                }
            }
            let ruling = match &found {
                Finding::Ruled(ruling) => Some(*ruling),
                _ => None,
            };
            findings.push(found);
            match (ruling, errand) {
                // At once: what is asked after it may fail, and the decision has been made.
                (Some(Ruling::Done), Errand::Resolve(resolve)) => self.log(key, resolve),
                (Some(_), _) => break,
                (None, _) => {}
            }
        }
        let mut replies = Vec::new();
        if let Some(Finding::Records(_, rows)) = findings.first() {
            for found in rows.iter().filter(|found| errand.wants_body_of(found.key)) {
                let look = Ask::Look(found.record.about.fingerprint);
                let shard = key.shard(policy.shards);
                let told = self.ask_shards(policy, &[shard], found.key, &look, None).await?.pop();
                replies.push(told.map_or(Ok(None), reply)?);
            }
        }
        Ok((findings, replies))
    }

    fn log(&self, key: KeyId, resolve: &Resolve) {
        let (by, action) = (hex(&self.door.by()), resolve.decision.as_str());
        let line = json::object(|line| {
            line.text("operator", &by);
            line.text("action", action);
            line.text("key_id", &hex(&key.0));
        });
        js::log(&line);
    }

    /// Asks some shards side by side.
    async fn ask_shards(
        &self,
        policy: &Policy,
        shards: &[u16],
        key: KeyId,
        ask: &Ask,
        body: Option<&Uint8Array>,
    ) -> Result<Vec<(Told<()>, Uint8Array)>, Refusal> {
        let head = wire::write_question(&key, policy.shards, ask, VERSION);
        let ledger = self.env.ledger();
        let hint = policy.location_hint.as_deref();
        let failed_call = |error: JsValue| failed(js::text(&error));
        let ask = |shard: &u16| js::ask(&ledger, *shard, hint, &head, body);
        let all = Promise::all_iterable(&shards.iter().map(ask).collect::<Array>());
        let answers: Array =
            wait(all.unchecked_into()).await.map_err(failed_call)?.unchecked_into();
        let mut told = Vec::new();
        for answer in answers.iter() {
            let (frame, body) = message(answer);
            let read = wire::open(&frame).and_then(|(_, head)| wire::read_told(head));
            let read = read.map_err(|wire::Unreadable(at)| {
                failed(format_args!("an answer is unreadable: {at}"))
            })?;
            told.push((read, bytes(body).await.map_err(failed_call)?));
        }
        Ok(told)
    }

    fn body(&self, limit: u64) -> Later<'_, Vec<u8>> {
        Box::pin(self.read_body(limit))
    }

    async fn read_body(&self, limit: u64) -> Result<Vec<u8>, Refusal> {
        let Some(stream) = self.request.body() else { return Ok(Vec::new()) };
        match body::read(stream.into(), None, limit, Of::Request).await {
            Read::Whole(room) => {
                let bytes = room.bytes().ok_or_else(|| failed("the request took too long"))?;
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

    // How it is answered.

    /// Programs get JSON; a browser says that it would rather have a page.
    fn wants_page(&self) -> bool {
        (self.head.header)("accept").is_some_and(|accept| accept.contains("text/html"))
    }

    fn frame(&self, session: Option<&str>) -> Frame {
        let form_token = session.map_or_else(String::new, |session| self.door.form_token(session));
        let query = self.head.address.target.query.clone();
        Frame { nonce: hex(&self.nonce), form_token, query, now: now() }
    }

    fn refused(&self, refusal: &Refusal) -> String {
        match self.session() {
            Some(session) if refusal.kind != Kind::Unauthorized => {
                page::refused(&self.frame(Some(&session)), refusal)
            }
            _ => {
                // Whoever has only come to the door has done nothing wrong.
                let is_told = self.head.method == "POST" || refusal.kind != Kind::Unauthorized;
                page::log_in(&hex(&self.nonce), is_told.then_some(&*refusal.detail))
            }
        }
    }

    fn respond(&self, said: Said, more: Vec<(&'static str, String)>) -> Result<Response, JsValue> {
        let mut marks = vec![
            ("cache-control", "no-store".to_owned()),
            ("vary", "Accept".to_owned()),
            ("referrer-policy", "same-origin".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        marks.extend(more);
        let (status, body) = match said {
            Said::Answer(status, answer::Said::Json(document)) => {
                let kind =
                    if status < 400 { "application/json" } else { "application/problem+json" };
                marks.push(("content-type", kind.to_owned()));
                (status, document)
            }
            Said::Answer(status, answer::Said::Page(html)) => {
                marks.push(("content-type", "text/html; charset=utf-8".to_owned()));
                marks.push(("content-security-policy", page::policy(&hex(&self.nonce))));
                marks.push(("x-frame-options", "DENY".to_owned()));
                (status, html)
            }
            Said::SeeOther(cookie) => {
                marks.push(("location", desk::ROOT.to_owned()));
                marks.push(("set-cookie", cookie));
                (303, String::new())
            }
        };
        response(status, &marks, &JsValue::from_str(&body))
    }
}

/// A field of a form. The form is read anew for each: a list of its fields could be far larger than itself.
fn field(form: &[u8], name: &str) -> String {
    let mut fields = query::pairs(form);
    fields.find(|(known, _)| known == name).map(|(_, value)| value).unwrap_or_default()
}

/// Whether an Authorization header is of the scheme that bears a token (RFC 6750 section 2.1).
fn is_bearer(authorization: &str) -> bool {
    let scheme = authorization.trim().split(' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("bearer")
}

/// A stored reply; none where none is stored.
fn reply((told, body): (Told<()>, Uint8Array)) -> Result<Option<Stored>, Refusal> {
    let replay = match told {
        Told::Replay(replay) => replay,
        told @ (Told::Crowded | Told::Again | Told::Failed(_)) => return Err(strange(told)),
        _ => return Ok(None),
    };
    let body = body.to_vec();
    let (body, is_base64) = match String::from_utf8(body) {
        Ok(text) => (text, false),
        Err(error) => {
            let mut latin = String::new();
            for byte in error.as_bytes() {
                latin.push(char::from(*byte));
            }
            (js::btoa(&latin).map_err(|error| failed(js::text(&error)))?, true)
        }
    };
    let reply = replay.reply;
    Ok(Some(Stored { status: reply.status, headers: reply.headers, body, is_base64 }))
}

fn strange(told: Told<()>) -> Refusal {
    match told {
        Told::Failed(why) => failed(&why),
        Told::Crowded | Told::Again => failed("too much is under way in a shard; ask again"),
        Told::OtherShards(first) => failed(other_shards(first)),
        // A busy object runs the code of before for minutes after a deploy.
        _ => failed("a shard runs an older version; ask again in a few minutes"),
    }
}

/// All bytes of an answer's body.
async fn bytes(body: JsValue) -> Result<Uint8Array, JsValue> {
    match body.dyn_into::<Uint8Array>() {
        Ok(bytes) => Ok(bytes),
        Err(none) if none.is_undefined() => Ok(Uint8Array::new_with_length(0)),
        Err(stream) => {
            let response = js::NewResponse::new(&stream, &JsValue::UNDEFINED)?;
            Ok(wait(js::bytes(&response)).await?.unchecked_into())
        }
    }
}

/// What keeps the Ledgers from answering.
fn failed(why: impl Display) -> Refusal {
    Refusal::new(Kind::Unavailable(1), format_args!("The store could not be asked: {why}."))
}

const COOKIE: &str = "oncegate_session";
const AT_ONCE: usize = 6;
/// A stored reply is as large as `reply.max` allows, 8 MiB where nothing else is said; a form spells it
/// longer.
const REQUEST_MAX: u64 = 16 * 1024 * 1024;
/// A log-in is read before anybody is known.
const TOKEN_MAX: u64 = 4 * 1024;
