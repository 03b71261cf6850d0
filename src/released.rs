//! The leases that were given back or settled a moment ago.
//!
//! A call that its caller has given up may still be delivered. A copy of a claim that arrives after its
//! lease was released must not be granted: nobody would forward, and the key would end in doubt. Nor one
//! that arrives after its lease was settled and another run under `fail_on_running` has replaced that
//! reply: a late copy of the settle would bring the old one back. This memory is the Ledger's own and is
//! lost with it; then such a claim costs a doubt, never a second run.

use std::collections::{BTreeMap, VecDeque};

use crate::record::{Lease, Millis};

/// Leases that ended recently, the oldest first.
#[derive(Debug, Default)]
pub struct Released {
    in_order: VecDeque<(Lease, Millis)>,
    last: BTreeMap<Lease, Millis>,
}

impl Released {
    /// Remembers a lease that was released or settled now, whether or not it was a record's.
    pub fn remember(&mut self, lease: Lease, now: Millis) {
        self.in_order.push_back((lease, now));
        self.last.insert(lease, now);
        while let Some((oldest, at)) = self.in_order.front()
            && (self.in_order.len() > RELEASED_MAX || now.since(*at) > DELIVERY_MAX)
        {
            // One that was released again since is remembered by that.
            if self.last.get(oldest) == Some(at) {
                self.last.remove(oldest);
            }
            self.in_order.pop_front();
        }
    }

    /// Whether a claim under this lease comes too late.
    #[must_use]
    pub fn has(&self, lease: Lease, now: Millis) -> bool {
        self.last.get(&lease).is_some_and(|at| now.since(*at) <= DELIVERY_MAX)
    }
}

/// For how long a call may still be delivered after its caller has given it up, with a wide margin: the
/// runtime starts no retry later than 10 s after the first (developers.cloudflare.com,
/// durable-objects/best-practices/automatic-retries).
pub const DELIVERY_MAX: Millis = Millis(60_000);
/// At 500 of them a second, which is what a shard can write, 20 s.
const RELEASED_MAX: usize = 10_000;
