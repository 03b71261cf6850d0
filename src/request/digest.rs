//! SHA-256 over a list of parts. Each part is preceded by its length, so there is no delimiter that a value
//! could contain, and two different lists never give the same input: `["a:b", "c"]` and `["a", "b:c"]` differ.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The parts of one digest. They are short: only the last one may be long ([`Self::whole_with`]).
#[derive(Clone)]
pub struct Parts(Vec<u8>);

impl Parts {
    /// Starts the digest with its purpose: digests for different purposes never agree.
    #[must_use]
    pub fn of(purpose: &str) -> Self {
        Self(Vec::with_capacity(128)).part(purpose)
    }

    /// Adds a part.
    #[must_use]
    pub fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.push_length(bytes);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a part that may be absent. An absent part differs from an empty one.
    #[must_use]
    pub fn maybe(mut self, bytes: Option<impl AsRef<[u8]>>) -> Self {
        if let Some(bytes) = bytes {
            return self.part(bytes);
        }
        self.0.push(0);
        self
    }

    /// The digest.
    #[must_use]
    pub fn whole(self) -> [u8; 32] {
        sha256(&self.0)
    }

    /// The digest with one more part, which is hashed without being copied.
    #[must_use]
    pub fn whole_with(mut self, bytes: &[u8]) -> [u8; 32] {
        self.push_length(bytes);
        Sha256::new().chain_update(&self.0).chain_update(bytes).finalize().into()
    }

    /// The first 16 bytes of the digest: with 128 bits no two inputs agree by chance.
    #[must_use]
    pub fn half(self) -> [u8; 16] {
        first_half(self.whole())
    }

    fn push_length(&mut self, bytes: &[u8]) {
        self.0.push(1);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    }
}

/// The first 16 of 32 bytes.
#[must_use]
pub fn first_half(whole: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(whole) {
        *to = from;
    }
    half
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// Bytes from hexadecimal, exactly so many.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

/// HMAC-SHA-256 (RFC 2104) under a key as long as a block.
#[must_use]
pub fn hmac(key: &[u8; 64], text: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new(key.into()).chain_update(text).finalize().into_bytes().into()
}

/// SHA-256 of one byte string.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
