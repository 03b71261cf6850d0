//! Who asks: the bearer of the token, or a browser with a session that was opened with it.

use std::cell::RefCell;

use super::{Operator, Said};
use crate::cloudflare::bindings;
use crate::cloudflare::world::now;
use crate::operator::api::{self, ApiRequest};
use crate::operator::auth::{FailedLogins, SESSION};
use crate::operator::refusal::{Kind, Refusal};
use crate::request::credential::cookies;

thread_local! {
    static FAILED_LOGINS: RefCell<FailedLogins> = RefCell::default();
}

impl Operator<'_> {
    /// The session, where it is not a bearer of the token.
    pub(super) fn visitor(&self) -> Result<Option<String>, Refusal> {
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
            Some(authorization) if self.auth.verify_authorization(&authorization) => Ok(None),
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

    pub(super) fn session(&self) -> Option<String> {
        let header = (self.head.header)("cookie")?;
        // Another site of the same domain may have set one of that name too.
        let mut sessions = cookies(&header).into_iter().filter(|(name, _)| *name == COOKIE);
        sessions
            .find(|(_, session)| self.auth.verify_session(session, now()))
            .map(|(_, session)| session)
    }

    pub(super) fn log_in(&self, form: &[u8]) -> Result<Said, Refusal> {
        // Asked after the wait: many may have come with it.
        self.heard()?;
        if !self.auth.verify_token(&field(form, "token")) {
            self.note_wrong();
            return Err(Refusal::new(Kind::Unauthorized, "That is not the token."));
        }
        let session = self.auth.new_session(self.nonce, now());
        Ok(Said::SeeOther(self.set_cookie(&session, SESSION.as_secs())))
    }

    pub(super) fn posted(
        &self,
        request: ApiRequest,
        session: &str,
        form: &[u8],
    ) -> Result<ApiRequest, Refusal> {
        if !self.auth.verify_csrf_token(session, &field(form, "form_token")) {
            let detail =
                "The form was not made for this session. Nothing was changed; load the page again.";
            return Err(Refusal::new(Kind::Forbidden, detail));
        }
        match request {
            ApiRequest::DecideByBody => api::read_form(&|name| field(form, name)),
            request => Ok(request),
        }
    }

    /// Whether this address may try a token at all.
    fn heard(&self) -> Result<(), Refusal> {
        let shut = FAILED_LOGINS.with_borrow(|wrong| wrong.blocked_for_s(&self.address(), now()));
        shut.map_or(Ok(()), |seconds| {
            let detail = format!("Too many wrong tokens came from your address. Wait {seconds} s.");
            Err(Refusal::new(Kind::TooMany(seconds), &detail))
        })
    }

    fn note_wrong(&self) {
        FAILED_LOGINS.with_borrow_mut(|wrong| wrong.note(&self.address(), now()));
        bindings::warn(&format!("a wrong operator's token came from {}", self.address()));
    }

    /// Set by Cloudflare, whatever the client sends (developers.cloudflare.com,
    /// fundamentals/reference/http-headers); a local runtime has none.
    fn address(&self) -> String {
        (self.head.header)("cf-connecting-ip").unwrap_or_default()
    }

    /// Browsers say where a form comes from; SameSite=Strict keeps the cookie from other sites anyway.
    pub(super) fn same_site(&self) -> Result<(), Refusal> {
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

    pub(super) fn set_cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.head.address.scheme == "https" { "; Secure" } else { "" };
        // Only the operators' part gets it: never the origin, to which it would be a credential.
        format!(
            "{COOKIE}={value}; Path={}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
            api::ROOT
        )
    }
}

/// A field of a form. The form is read anew for each: a list of its fields could be far larger than itself.
fn field(form: &[u8], name: &str) -> String {
    let mut fields = form_urlencoded::parse(form);
    fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Whether an Authorization header is of the scheme that bears a token (RFC 6750 section 2.1).
fn is_bearer(authorization: &str) -> bool {
    let scheme = authorization.trim().split(' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("bearer")
}

const COOKIE: &str = "oncegate_session";
