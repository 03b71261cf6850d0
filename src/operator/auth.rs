//! Who may ask: the bearer of `ADMIN_TOKEN`, or a browser that has logged in with it and holds a session.
//!
//! A session is a cookie with its end and a random part, signed by HMAC with a key derived from the token:
//! nothing is stored, and a new token ends every session. A form carries a CSRF token that is signed for its
//! session, so that no other site can post it.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::request::digest::{Parts, from_hex, hex, hmac};
use crate::time::{Timestamp, millis};

/// The token of this deployment, and what is derived from it.
pub struct Auth {
    /// A digest of the token.
    token: [u8; 32],
    /// The HMAC key of sessions and CSRF tokens.
    key: [u8; 64],
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAuth {
    /// It is blank: there is no operators' part.
    Blank,
    /// It has fewer than [`TOKEN_MIN`] characters, so it could be guessed.
    TooShort,
}

impl Auth {
    /// Takes this token.
    ///
    /// # Errors
    /// The token is blank or too short.
    pub fn new(token: &str) -> Result<Self, NoAuth> {
        let token = token.trim();
        match token.chars().count() {
            0 => return Err(NoAuth::Blank),
            characters if characters < TOKEN_MIN => return Err(NoAuth::TooShort),
            _ => {}
        }
        let mut key = [0; 64];
        for (to, from) in key.iter_mut().zip(Parts::of("session key").part(token).whole()) {
            *to = from;
        }
        Ok(Self { token: digest(token), key })
    }

    /// Whether this is the token. Digests are compared, in constant time: neither the first difference nor
    /// the length shows.
    #[must_use]
    pub fn verify_token(&self, token: &str) -> bool {
        digest(token.trim()).ct_eq(&self.token).into()
    }

    /// Whether an Authorization header bears the token (RFC 6750 section 2.1).
    #[must_use]
    pub fn verify_authorization(&self, authorization: &str) -> bool {
        is_bearer(authorization)
            && authorization
                .trim()
                .split_once(' ')
                .is_some_and(|(_, token)| self.verify_token(token))
    }

    /// Names the token in the audit and the log.
    #[must_use]
    pub fn token_id(&self) -> [u8; 4] {
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(Parts::of("by").part(self.token).whole()) {
            *to = from;
        }
        id
    }

    /// A session that lasts [`SESSION`] from now; `nonce` is random.
    #[must_use]
    pub fn new_session(&self, nonce: [u8; 16], now: Timestamp) -> String {
        let claims = format!("{}.{}", now.plus(SESSION).0, hex(&nonce));
        let mac = hex(&self.mac("session", &claims));
        format!("{claims}.{mac}")
    }

    /// Whether a session was signed here and is not over.
    #[must_use]
    pub fn verify_session(&self, session: &str, now: Timestamp) -> bool {
        let Some((claims, mac)) = session.rsplit_once('.') else { return false };
        let until = claims.split('.').next().and_then(|until| until.parse().ok());
        self.verify_mac("session", claims, mac) && until.is_some_and(|until| now.0 < until)
    }

    /// The CSRF token for the forms of a session.
    #[must_use]
    pub fn csrf_token(&self, session: &str) -> String {
        hex(&self.mac("form", session))
    }

    /// Whether a CSRF token was signed for this session.
    #[must_use]
    pub fn verify_csrf_token(&self, session: &str, token: &str) -> bool {
        self.verify_mac("form", session, token)
    }

    fn mac(&self, purpose: &str, text: &str) -> [u8; 32] {
        hmac(&self.key, format!("{purpose}.{text}").as_bytes())
    }

    fn verify_mac(&self, purpose: &str, text: &str, mac: &str) -> bool {
        from_hex::<32>(mac).is_some_and(|mac| self.mac(purpose, text).ct_eq(&mac).into())
    }
}

/// Whether an Authorization header has the scheme of bearer tokens.
#[must_use]
pub fn is_bearer(authorization: &str) -> bool {
    let scheme = authorization.trim().split(' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("bearer")
}

/// Counts wrong tokens by address, in this instance's memory. An address that has sent [`FAILED_MAX`] of
/// them within [`FAILED_WITHIN`] is refused until that time is over.
#[derive(Debug, Default)]
pub struct FailedLogins(Vec<Attempts>);

#[derive(Debug)]
struct Attempts {
    address: String,
    count: u32,
    since: Timestamp,
}

impl FailedLogins {
    /// For how many seconds an address is refused; `None` where it is not.
    #[must_use]
    pub fn blocked_for_s(&self, address: &str, now: Timestamp) -> Option<u64> {
        let attempts = self.0.iter().find(|attempts| attempts.address == address)?;
        let until = attempts.since.plus(FAILED_WITHIN);
        (attempts.count >= FAILED_MAX && now < until)
            .then(|| millis(until.since(now)).div_ceil(1000))
    }

    /// Notes a wrong token.
    pub fn note(&mut self, address: &str, now: Timestamp) {
        self.0.retain(|attempts| now < attempts.since.plus(FAILED_WITHIN));
        if let Some(attempts) = self.0.iter_mut().find(|attempts| attempts.address == address) {
            attempts.count += 1;
            return;
        }
        if self.0.len() >= ADDRESSES_MAX {
            // The oldest makes room: an attacker with that many addresses is not slowed down by a count.
            self.0.remove(0);
        }
        self.0.push(Attempts { address: address.to_owned(), count: 1, since: now });
    }
}

fn digest(token: &str) -> [u8; 32] {
    Parts::of("admin token").part(token).whole()
}

/// The least characters of a token.
pub const TOKEN_MIN: usize = 16;
/// How long a session lasts.
pub const SESSION: Duration = Duration::from_hours(1);
/// So many wrong tokens within [`FAILED_WITHIN`] block an address.
pub const FAILED_MAX: u32 = 10;
/// The span in which they are counted.
pub const FAILED_WITHIN: Duration = Duration::from_mins(1);
const ADDRESSES_MAX: usize = 1_000;
