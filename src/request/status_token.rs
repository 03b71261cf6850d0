//! The token of a key's status address, `/.oncegate/status/{token}`: one byte for the version, the key's half of the key
//! id, and 128 random bits, in base64url without padding (RFC 4648 section 5). 44 characters.
//!
//! The key's half chooses the shard. The scope's half is left out: it holds a digest of the credential, and addresses end
//! in logs. The random bits are what cannot be guessed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::lifecycle::lease::StatusSecret;
use crate::request::key::KeyId;

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
