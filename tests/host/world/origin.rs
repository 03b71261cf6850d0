//! The origin's answers.

use std::time::Duration;

use oncegate::filter::{self, StreamEnd};
use oncegate::lifecycle::outcome::Facts;
use oncegate::lifecycle::reply::{Kept, Reply};

use crate::make;

/// An answer of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginResponse {
    pub(crate) facts: Facts,
    pub(crate) body: Vec<u8>,
    /// What is kept of the body.
    pub(crate) kept: Kept,
    /// Where its body is streamed: how long that takes, and how it ends.
    pub(crate) stream: Option<(Duration, StreamEnd)>,
}

impl filter::OriginResponse for OriginResponse {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn reply(&self) -> Reply {
        Reply { body: self.kept, ..make::reply(self.facts.status, 0) }
    }

    fn is_streamed(&self) -> bool {
        self.stream.is_some()
    }
}

/// An answer of the origin whose body is kept whole.
pub(crate) fn response(status: u16, body: &str) -> OriginResponse {
    let facts = Facts::of(status);
    let kept = Kept::Whole { bytes: body.len() as u64 };
    OriginResponse { facts, body: body.into(), kept, stream: None }
}

/// A stream, which ends so after so long.
pub(crate) fn stream(span: Duration, end: StreamEnd) -> OriginResponse {
    OriginResponse { kept: Kept::StatusOnly, stream: Some((span, end)), ..response(200, "") }
}
