//! The leases that were given back or settled a moment ago.
//!
//! A call that its caller has given up may still be delivered. A copy of a claim that arrives after its
//! lease was released must not be granted: nobody would forward, and the key would end in doubt. Nor one
//! that arrives after its lease was settled and another run under `fail_on_running` has replaced that
//! reply: a late copy of the settle would bring the old one back. This memory is the Ledger's own and is
//! lost with it; then such a claim costs a doubt, never a second run.

use std::time::Duration;

use crate::lifecycle::record::Lease;
use crate::time::Timestamp;

/// Leases that ended recently, by their first byte, the oldest first. They are random, so each list is as
/// long as the others, and short: one is looked through for each claim.
#[derive(Debug, Default)]
pub struct Released(Vec<Vec<(Lease, Timestamp)>>);

impl Released {
    /// Remembers a lease that was released or settled now, whether or not it was a record's.
    pub fn remember(&mut self, lease: Lease, now: Timestamp) {
        self.0.resize_with(LISTS, Vec::new);
        if let Some(list) = self.0.get_mut(usize::from(lease.0[0])) {
            list.retain(|(_, at)| now.since(*at) <= DELIVERY_MAX);
            if list.len() >= LIST_MAX {
                list.remove(0);
            }
            list.push((lease, now));
        }
    }

    /// Whether a claim under this lease comes too late.
    #[must_use]
    pub fn has(&self, lease: Lease, now: Timestamp) -> bool {
        let list = self.0.get(usize::from(lease.0[0]));
        let mut list = list.into_iter().flatten();
        list.any(|(known, at)| *known == lease && now.since(*at) <= DELIVERY_MAX)
    }
}

/// For how long a call may still be delivered after its caller has given it up, with a wide margin: the
/// runtime starts no retry later than 10 s after the first (developers.cloudflare.com,
/// durable-objects/best-practices/automatic-retries).
pub const DELIVERY_MAX: Duration = Duration::from_mins(1);
const LISTS: usize = 256;
/// 10,240 in all: at 500 of them a second, which is what a shard can write, 20 s.
const LIST_MAX: usize = 40;
