//! The token of a key's status address, `/.oncegate/status/{token}`: one byte for the version, the key's half of the key
//! id, and 128 random bits, in base64url without padding (RFC 4648 section 5). 44 characters.
//!
//! The key's half chooses the shard. The scope's half is left out: it holds a digest of the credential, and addresses end
//! in logs. The random bits are what cannot be guessed.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::lifecycle::record::Lease;
use crate::request::digest::Parts;
use crate::request::key::KeyId;

/// The random part of a token.
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

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusToken {
    /// Whose half it has: the key's. The scope's half is zero.
    pub key: KeyId,
    /// The random part.
    pub secret: StatusSecret,
}

impl StatusToken {
    /// The token of a key.
    #[must_use]
    pub fn new(key_id: &KeyId, secret: StatusSecret) -> Self {
        Self { key: KeyId::of_halves(key_id.key_half(), [0; 16]), secret }
    }

    /// As it stands in an address.
    #[must_use]
    pub fn to_text(self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.key.key_half());
        bytes.extend(self.secret.0);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads one. `None` if the text is no token of this version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 1 + 16 + 16];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (&[version], rest) = bytes.split_first_chunk()?;
        let (&key_half, rest) = rest.split_first_chunk()?;
        let (&secret, _) = rest.split_first_chunk()?;
        let is_token = length == bytes.len() && version == VERSION;
        let key = KeyId::of_halves(key_half, [0; 16]);
        is_token.then_some(Self { key, secret: StatusSecret(secret) })
    }
}

const VERSION: u8 = 1;
