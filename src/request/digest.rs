//! SHA-256 over a list of parts, each preceded by its length: there is no delimiter to inject, so no
//! two lists of parts give the same input (`["a:b", "c"]` and `["a", "b:c"]` stay apart).

use sha2::{Digest as _, Sha256};

/// Parts to be hashed together. They are short, and hashed in one go.
#[derive(Clone)]
pub struct Parts(Vec<u8>);

impl Parts {
    /// Starts a digest for one purpose; the label keeps digests of different purposes apart.
    #[must_use]
    pub fn of(purpose: &str) -> Self {
        Self(Vec::with_capacity(128)).part(purpose)
    }

    /// Adds a part that is there.
    #[must_use]
    pub fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.announce(bytes);
        self.0.extend_from_slice(bytes);
        self
    }

    fn announce(&mut self, bytes: &[u8]) {
        self.0.push(1);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    }

    /// Adds a part that may be absent; absent differs from empty.
    #[must_use]
    pub fn maybe(mut self, bytes: Option<impl AsRef<[u8]>>) -> Self {
        if let Some(bytes) = bytes {
            return self.part(bytes);
        }
        self.0.push(0);
        self
    }

    /// All 32 bytes.
    #[must_use]
    pub fn whole(self) -> [u8; 32] {
        sha256(&self.0)
    }

    /// All 32 bytes with one more part, which may be long.
    #[must_use]
    pub fn whole_with(mut self, bytes: &[u8]) -> [u8; 32] {
        self.announce(bytes);
        Sha256::new().chain_update(&self.0).chain_update(bytes).finalize().into()
    }

    /// The first 16 bytes: 128 bits are beyond any chance collision.
    #[must_use]
    pub fn half(self) -> [u8; 16] {
        first_half(self.whole())
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
    let digit = |half: u8| char::from(if half < 10 { b'0' + half } else { b'a' - 10 + half });
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// HMAC-SHA-256 (RFC 2104) under a key as long as a block, so that any key is one: it pads with zeros.
#[must_use]
pub fn hmac(key: &[u8; 64], text: &[u8]) -> [u8; 32] {
    let round = |pad: u8, text: &[u8]| {
        let block = key.map(|byte| byte ^ pad);
        <[u8; 32]>::from(Sha256::new().chain_update(block).chain_update(text).finalize())
    };
    round(0x5c, &round(0x36, text))
}

/// SHA-256 of one byte string.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
