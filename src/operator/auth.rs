//! Who may ask: the bearer of `ADMIN_TOKEN`, or a browser that has shown it and holds a session.
//!
//! A session is a cookie that says until when, signed with a key derived from the token: nothing is
//! stored, and changing the token ends every session. A form carries a token bound to its session, so
//! that no other site can post one.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::request::digest::{Parts, hex, hmac};
use crate::time::{Timestamp, millis};

/// What opens the operators' part.
pub struct Auth {
    token: [u8; 32],
    /// For HMAC.
    key: [u8; 64],
}

impl Auth {
    /// `None` where the token is blank: then there is no operators' part.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        let token = token.trim();
        if token.is_empty() {
            return None;
        }
        let mut key = [0; 64];
        for (to, from) in key.iter_mut().zip(Parts::of("session key").part(token).whole()) {
            *to = from;
        }
        Some(Self { token: digest(token), key })
    }

    /// Whether this is the token. Digests are compared, in constant time: neither the place of the first
    /// difference nor the length shows.
    #[must_use]
    pub fn verify_token(&self, token: &str) -> bool {
        digest(token.trim()).ct_eq(&self.token).into()
    }

    /// Whether an Authorization header bears the token (RFC 6750 section 2.1).
    #[must_use]
    pub fn verify_authorization(&self, authorization: &str) -> bool {
        let credentials = authorization.trim().split_once(' ');
        credentials.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && self.verify_token(token)
        })
    }

    /// Names the token in the audit.
    #[must_use]
    pub fn token_id(&self) -> [u8; 4] {
        let mut by = [0; 4];
        for (to, from) in by.iter_mut().zip(Parts::of("by").part(self.token).whole()) {
            *to = from;
        }
        by
    }

    /// A session that lasts [`SESSION`] from now; `nonce` is random.
    #[must_use]
    pub fn new_session(&self, nonce: [u8; 16], now: Timestamp) -> String {
        let claims = format!("{}.{}", now.plus(SESSION).0, hex(&nonce));
        let mac = hex(&self.mac("session", &claims));
        format!("{claims}.{mac}")
    }

    /// Whether a session is one of ours and not over.
    #[must_use]
    pub fn verify_session(&self, session: &str, now: Timestamp) -> bool {
        let Some((claims, mac)) = session.rsplit_once('.') else { return false };
        let until = claims.split('.').next().and_then(|until| until.parse().ok());
        self.is_mac("session", claims, mac) && until.is_some_and(|until| now.0 < until)
    }

    /// The token of the forms of a session.
    #[must_use]
    pub fn csrf_token(&self, session: &str) -> String {
        hex(&self.mac("form", session))
    }

    /// Whether a form was made for this session.
    #[must_use]
    pub fn verify_csrf_token(&self, session: &str, token: &str) -> bool {
        self.is_mac("form", session, token)
    }

    fn mac(&self, purpose: &str, text: &str) -> [u8; 32] {
        hmac(&self.key, format!("{purpose}.{text}").as_bytes())
    }

    fn is_mac(&self, purpose: &str, text: &str, mac: &str) -> bool {
        unhex::<32>(mac).is_some_and(|mac| self.mac(purpose, text).ct_eq(&mac).into())
    }
}

/// Counts wrong tokens by address, in this instance's memory: an address that has shown
/// [`FAILED_MAX`] within a minute is not heard until that is over.
#[derive(Debug, Default)]
pub struct FailedLogins(Vec<Shown>);

#[derive(Debug)]
struct Shown {
    address: String,
    times: u32,
    since: Timestamp,
}

impl FailedLogins {
    /// In how many seconds an address is heard again; `None` where it is heard.
    #[must_use]
    pub fn blocked_for_s(&self, address: &str, now: Timestamp) -> Option<u64> {
        let shown = self.0.iter().find(|shown| shown.address == address)?;
        let over = shown.since.plus(FAILED_WITHIN);
        (shown.times >= FAILED_MAX && now < over).then(|| millis(over.since(now)).div_ceil(1000))
    }

    /// Notes a wrong token.
    pub fn note(&mut self, address: &str, now: Timestamp) {
        self.0.retain(|shown| now < shown.since.plus(FAILED_WITHIN));
        if let Some(shown) = self.0.iter_mut().find(|shown| shown.address == address) {
            shown.times += 1;
            return;
        }
        if self.0.len() >= ADDRESSES_MAX {
            // The oldest makes room: whoever has so many addresses is not held back by a count.
            self.0.remove(0);
        }
        self.0.push(Shown { address: address.to_owned(), times: 1, since: now });
    }
}

fn digest(token: &str) -> [u8; 32] {
    Parts::of("admin token").part(token).whole()
}

/// Bytes from hexadecimal, exactly so many.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// How long a browser stays logged in.
pub const SESSION: Duration = Duration::from_hours(1);
/// Wrong tokens of one address within [`FAILED_WITHIN`].
pub const FAILED_MAX: u32 = 10;
/// The span in which they are counted.
pub const FAILED_WITHIN: Duration = Duration::from_mins(1);
const ADDRESSES_MAX: usize = 1_000;
