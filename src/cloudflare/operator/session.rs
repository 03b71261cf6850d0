//! Authenticates an operator: the bearer of the token, or a browser with a session.

use std::cell::RefCell;

use super::{Operator, Reply};
use crate::cloudflare::bindings;
use crate::cloudflare::clock::now;
use crate::operator::api::{self, ApiRequest};
use crate::operator::auth::{FailedLogins, SESSION, is_bearer};
use crate::problem::{Code, Problem};
use crate::request::credential::cookies;

thread_local! {
    static FAILED_LOGINS: RefCell<FailedLogins> = RefCell::default();
}

impl Operator<'_> {
    /// The session that the request comes with; `None` where it bears the token.
    pub(super) fn authenticate(&self) -> Result<Option<String>, Problem> {
        // Other schemes of Authorization belong to others, such as the site's own Basic.
        let authorization = (self.head.header)("authorization").filter(|text| is_bearer(text));
        // A session cannot be guessed, so failed log-ins from its address do not block it.
        if authorization.is_none()
            && let Some(session) = self.session()
        {
            return Ok(Some(session));
        }
        self.verify_not_blocked()?;
        match authorization {
            Some(authorization) if self.auth.verify_authorization(&authorization) => Ok(None),
            Some(_) => {
                self.note_failed_login();
                Err(Problem::new(Code::Unauthorized, "The token is wrong."))
            }
            None => {
                let detail = "Send the operator's token as Authorization: Bearer, or log in.";
                Err(Problem::new(Code::Unauthorized, detail))
            }
        }
    }

    /// The valid session among the request's cookies, if there is one.
    pub(super) fn session(&self) -> Option<String> {
        let header = (self.head.header)("cookie")?;
        // Another site of the same domain may have set a cookie of that name too.
        let mut sessions = cookies(&header).into_iter().filter(|(name, _)| *name == COOKIE);
        sessions
            .find(|(_, session)| self.auth.verify_session(session, now()))
            .map(|(_, session)| session)
    }

    /// Opens a session for the bearer of the token.
    pub(super) fn log_in(&self, form: &[u8]) -> Result<Reply, Problem> {
        // Verified now, after the body was read: meanwhile many wrong tokens may have come.
        self.verify_not_blocked()?;
        if !self.auth.verify_token(&field(form, "token")) {
            self.note_failed_login();
            return Err(Problem::new(Code::Unauthorized, "That is not the token."));
        }
        let session = self.auth.new_session(self.nonce, now());
        Ok(Reply::SeeOther(self.set_cookie(&session, SESSION.as_secs())))
    }

    /// Reads a form that was posted with a session.
    pub(super) fn read_form(
        &self,
        request: ApiRequest,
        session: &str,
        form: &[u8],
    ) -> Result<ApiRequest, Problem> {
        if !self.auth.verify_csrf_token(session, &field(form, "form_token")) {
            let detail =
                "The form was not made for this session. Nothing was changed; load the page again.";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        match request {
            ApiRequest::DecideByBody => api::read_form(&|name| field(form, name)),
            ApiRequest::Run(run) => run.with_form(&|name| field(form, name)).map(ApiRequest::Run),
            request => Ok(request),
        }
    }

    /// Refuses an address from which too many wrong tokens came.
    fn verify_not_blocked(&self) -> Result<(), Problem> {
        let address = self.client_address();
        let blocked = FAILED_LOGINS.with_borrow(|failed| failed.blocked_for_s(&address, now()));
        blocked.map_or(Ok(()), |seconds| {
            let detail = format!("Too many wrong tokens came from your address. Wait {seconds} s.");
            Err(Problem::new(Code::TooManyAttempts, detail).retry_after(seconds))
        })
    }

    fn note_failed_login(&self) {
        let address = self.client_address();
        FAILED_LOGINS.with_borrow_mut(|failed| failed.note(&address, now()));
        bindings::log_warning(&format!("a wrong operator's token came from {address}"));
    }

    /// Cloudflare sets this header itself, whatever the client sends (developers.cloudflare.com,
    /// fundamentals/reference/http-headers); a local runtime has none.
    fn client_address(&self) -> String {
        (self.head.header)("cf-connecting-ip").unwrap_or_default()
    }

    /// Refuses a form that another site sent. Browsers name the site that a form comes from; besides,
    /// SameSite=Strict keeps the cookie from other sites.
    pub(super) fn verify_same_site(&self) -> Result<(), Problem> {
        let site = (self.head.header)("sec-fetch-site");
        let origin = (self.head.header)("origin");
        let own = format!("{}://{}", self.head.address.scheme, self.head.address.host);
        if site.is_none_or(|site| site == "same-origin" || site == "none")
            && origin.is_none_or(|origin| origin == own)
        {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, "The form comes from another site. Nothing was changed."))
    }

    pub(super) fn set_cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.head.address.scheme == "https" { "; Secure" } else { "" };
        // The path keeps the cookie from the origin, to which it would be a credential.
        format!(
            "{COOKIE}={value}; Path={}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
            api::ROOT
        )
    }
}

/// A field of a form. The form is parsed for each field anew: a list of its fields could be far larger than
/// the form itself.
fn field(form: &[u8], name: &str) -> String {
    let mut fields = form_urlencoded::parse(form);
    fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

const COOKIE: &str = "oncegate_session";
