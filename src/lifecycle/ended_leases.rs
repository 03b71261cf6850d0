//! The leases that were released, settled or superseded a moment ago.
//!
//! A call that its caller has given up may still be delivered. A copy of a claim that arrives after its
//! lease was released must not be granted: no Worker would act on the grant, and the key would end in doubt.
//! A copy of a claim must not be granted either after its lease was settled and another run under
//! `fail_on_running` has replaced that reply: a late copy of the settle would then bring the old reply back.
//! Nor after another attempt has been granted over the doubt that it left (`retry`): that would hold the key for a lease
//! that nobody has.
//! This memory is the Ledger's own and is lost with it; then such a claim costs a doubt, never a second run.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::lifecycle::record::Lease;
use crate::time::Timestamp;

/// Leases that ended recently.
#[derive(Clone, Debug, Default)]
pub struct EndedLeases {
    /// When each of them ended.
    ended: BTreeMap<Lease, Timestamp>,
    /// All of them, in the order in which they ended.
    order: VecDeque<(Lease, Timestamp)>,
}

impl EndedLeases {
    /// Remembers a lease that was released, settled or superseded now, whether or not it was a record's.
    pub fn remember(&mut self, lease: Lease, now: Timestamp) {
        self.ended.insert(lease, now);
        self.order.push_back((lease, now));
        while let Some((first, at)) = self.order.front().copied()
            && (self.order.len() > LEASES_MAX || now.since(at) > DELIVERY_MAX)
        {
            self.order.pop_front();
            // It may have ended again since.
            if self.ended.get(&first) == Some(&at) {
                self.ended.remove(&first);
            }
        }
    }

    /// Whether a claim under this lease comes too late.
    #[must_use]
    pub fn has(&self, lease: Lease, now: Timestamp) -> bool {
        self.ended.get(&lease).is_some_and(|at| now.since(*at) <= DELIVERY_MAX)
    }

    /// All that are remembered, and when each of them ended.
    pub fn iter(&self, now: Timestamp) -> impl Iterator<Item = (Lease, Timestamp)> {
        let ended = self.ended.iter().map(|(lease, at)| (*lease, *at));
        ended.filter(move |(_, at)| now.since(*at) <= DELIVERY_MAX)
    }
}

/// For how long a call may still be delivered after its caller has given it up, with a wide margin: the
/// runtime starts no retry later than 10 s after the first (developers.cloudflare.com,
/// durable-objects/best-practices/automatic-retries).
pub const DELIVERY_MAX: Duration = Duration::from_mins(1);
/// At 500 of them a second, which is what a shard can write, 20 s.
const LEASES_MAX: usize = 10_240;
