//! What follows when a fault of the filter itself ends the work on a request in the middle.

use super::{World, end};
use crate::answer::Status;
use crate::lifecycle::event::Event;
use crate::lifecycle::record::{Lease, Reason};
use crate::problem::{Code, Problem};
use crate::request::key::KeyId;

/// How far a request had come when a fault of the filter itself ended it in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Nothing was asked of the Ledger.
    NoClaim,
    /// Nothing was handed to the origin, but a claim under this lease may have been granted.
    Claim(Lease),
    /// The origin may have the request, under this lease.
    Origin(Lease),
    /// A Runner may have the request, and the lease with it.
    Runner,
}

impl Reached {
    /// What the client is answered.
    #[must_use]
    pub fn aborted(self) -> (Problem, Option<Status>) {
        match self {
            Self::NoClaim | Self::Claim(_) => {
                let detail = "The filter failed before anything was forwarded. Send the request again with the same key.";
                (Problem::new(Code::StoreUnavailable, detail), None)
            }
            Self::Origin(_) | Self::Runner => {
                let detail = "The filter failed while the request was under way, so it is not known whether it was executed. Send it again with the same key.";
                let problem = Problem::new(Code::OutcomeUnknown, detail).with_status(502);
                (problem, Some(Status::Unknown))
            }
        }
    }
}

/// Ends the claim of a request that broke off: nothing was sent, or nobody knows.
pub async fn clear_up<W: World>(world: &W, key_id: &KeyId, reached: Reached) {
    let event = match reached {
        // A Runner ends what it has begun.
        Reached::NoClaim | Reached::Runner => return,
        Reached::Claim(lease) => Event::Release(lease, None),
        // Where the reply was stored before, this changes nothing.
        Reached::Origin(lease) => Event::Doubt(lease, Reason::LeaseOver),
    };
    end(world, key_id, event, None).await;
}
