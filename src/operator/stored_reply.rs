//! Stored replies with their bodies, as far as an answer to an operator has room for them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::lifecycle::record::State;
use crate::operator::search::FoundRecord;

/// A stored reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReply {
    /// Its status.
    pub status: u16,
    /// Its headers; `None` where they were left out with the body.
    pub headers: Option<Vec<(String, String)>>,
    /// Its body.
    pub body: StoredBody,
}

/// A stored body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredBody {
    /// As it is stored.
    Text(String),
    /// In base64, where it is not a text.
    Base64(String),
    /// There was no room for it in the answer; it is at an address of its own.
    LeftOut,
}

impl StoredReply {
    /// The reply of a record without headers and body; `None` where no reply is stored.
    #[must_use]
    pub fn left_out(found: &FoundRecord) -> Option<Self> {
        let State::Completed(completed) = &found.record.state else { return None };
        Some(Self { status: completed.reply.status, headers: None, body: StoredBody::LeftOut })
    }

    /// How much of an answer it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let headers = self.headers.iter().flatten();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        let body = match &self.body {
            StoredBody::Text(body) | StoredBody::Base64(body) => body.len(),
            StoredBody::LeftOut => 0,
        };
        (headers + body) as u64
    }
}

impl StoredBody {
    /// These bytes, as a text if they are one.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(BASE64_STANDARD.encode(error.as_bytes())),
        }
    }
}

/// Bytes of the stored replies in one answer. They take memory of the isolate that serves requests, outside
/// its byte budget.
pub const BODIES_MAX: u64 = 1024 * 1024;
