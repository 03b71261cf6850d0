//! How far one request has come, and how long each part of it took: what its log line says, and what is answered where a
//! fault ends it in the middle.

use std::cell::Cell;
use std::time::Duration;

use super::clock::now;
use crate::filter::Reached;
use crate::lifecycle::record::Execution;
use crate::log::Times;
use crate::time::Timestamp;

/// How far one request has come, and how long each part of it took.
pub(super) struct Progress {
    started: Timestamp,
    /// How far it has come: what is answered where a fault ends it depends on that.
    pub(super) reached: Cell<Reached>,
    attempt: Cell<Option<u32>>,
    ledger: Stopwatch,
    origin: Stopwatch,
}

impl Progress {
    /// It begins now.
    pub(super) fn new() -> Self {
        Self {
            started: now(),
            reached: Cell::new(Reached::NoClaim),
            attempt: Cell::default(),
            ledger: Stopwatch::default(),
            origin: Stopwatch::default(),
        }
    }

    /// A call of the Ledger begins. It ends when this is dropped, which it is where the call is given up.
    pub(super) fn ledger_call(&self) -> Lap<'_> {
        self.ledger.start()
    }

    /// The request is forwarded to the origin. That ends when this is dropped.
    pub(super) fn forwarding(&self, execution: Execution) -> Lap<'_> {
        self.attempted(execution);
        self.origin.start()
    }

    /// The request is forwarded, by this instance or by a Runner.
    pub(super) fn attempted(&self, execution: Execution) {
        self.attempt.set(Some(execution.attempt));
    }

    /// Which attempt it was, where it was granted one.
    pub(super) fn attempt(&self) -> Option<u32> {
        self.attempt.get()
    }

    /// Where the time went, up to now.
    pub(super) fn times(&self) -> Times {
        let now = now();
        let (ledger, origin) = (self.ledger.until(now), self.origin.until(now));
        Times { total: now.since(self.started), ledger, origin }
    }
}

/// Sums up the time that is spent on one thing, which is done once at a time.
#[derive(Default)]
struct Stopwatch {
    sum: Cell<Duration>,
    /// When the lap began that has not ended: a caller who is answered 504 has waited for an origin that is still being
    /// waited for.
    since: Cell<Option<Timestamp>>,
}

impl Stopwatch {
    fn start(&self) -> Lap<'_> {
        self.since.set(Some(now()));
        Lap(self)
    }

    fn until(&self, now: Timestamp) -> Duration {
        let open = self.since.get().map_or(Duration::ZERO, |since| now.since(since));
        self.sum.get().saturating_add(open)
    }
}

/// One lap of a stopwatch, until it is dropped.
pub(super) struct Lap<'a>(&'a Stopwatch);

impl Drop for Lap<'_> {
    fn drop(&mut self) {
        self.0.sum.set(self.0.until(now()));
        self.0.since.set(None);
    }
}
