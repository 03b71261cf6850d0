//! What names a claim, and what comes of one: its lease, the run that it starts, and what opens the key's status address.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::request::digest::Parts;

/// The random token of one claim. Once it is granted, only its holder can settle or release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lease(pub [u8; 16]);

impl Lease {
    /// Another token, as hard to guess as this one, for a claim whose token may not be used again.
    #[must_use]
    pub fn next(self) -> Self {
        Self(Parts::of("next lease").part(self.0).half())
    }
}

/// One run of the operation at the origin, over all its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Names the run: the lease of its first attempt.
    pub id: Lease,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The spelling of the key in its first attempt; later attempts use the same.
    pub spelling: KeySpelling,
}

/// The two spellings of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeySpelling {
    /// As Stripe's clients send it, or from another source than the Idempotency-Key header.
    Bare,
    /// As a structured-field string.
    Quoted,
}

/// The random part of the token of a key's status address ([`crate::request::status_token`]).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusSecret(pub [u8; 16]);

impl StatusSecret {
    /// Of the claim that makes the record. A lease is 128 random bits that nobody but Worker and Ledger knows, so this is as
    /// hard to guess, and tells nothing of the lease.
    #[must_use]
    pub fn of(lease: Lease) -> Self {
        Self(Parts::of("status").part(lease.0).half())
    }

    /// Whether it is the same, in a time that tells nothing of where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// What is stored of a credential beside this secret: a digest under it, so that equal credentials do not show.
    #[must_use]
    pub fn seal(&self, credential: [u8; 16]) -> [u8; 16] {
        Parts::of("status credential").part(self.0).part(credential).half()
    }
}

impl fmt::Debug for StatusSecret {
    /// It opens a stored reply, so it is not written into logs.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("StatusSecret(..)")
    }
}

/// What opens a key's status address ([`crate::request::status_token`]). It lives with the key: every later claim of the
/// key has the same, so every duplicate is told the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusKey {
    /// The random part of its token.
    pub secret: StatusSecret,
    /// Digest of the credential that its reader must have; none where the route asks for none.
    pub credential: Option<[u8; 16]>,
}
