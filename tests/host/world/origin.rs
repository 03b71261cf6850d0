//! The origin's answers.

use oncegate::filter;
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
}

impl filter::OriginResponse for OriginResponse {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn reply(&self) -> Reply {
        Reply { body: self.kept, ..make::reply(self.facts.status, 0) }
    }
}

/// An answer of the origin whose body is kept whole.
pub(crate) fn response(status: u16, body: &str) -> OriginResponse {
    let facts = Facts { status, has_retry_after: false, origin_outcome: None };
    OriginResponse { facts, body: body.into(), kept: Kept::Whole { bytes: body.len() as u64 } }
}
