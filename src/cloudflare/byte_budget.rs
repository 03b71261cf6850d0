//! How many bytes of large bodies a Ledger holds in memory: so many at once, the others wait for their turn.
//!
//! The semaphore of tokio is fair: bytes that come free go to whoever waits first, even where somebody behind it
//! needs fewer, so that a large body gets its turn. All who wait belong to one Ledger, so they may wake each other.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clock::pause;

/// So many bytes.
pub(super) struct ByteBudget {
    limit: u32,
    free: Arc<Semaphore>,
    waiting: Cell<usize>,
}

/// Bytes that are set aside for one body, until this is dropped.
pub(super) type Reservation = OwnedSemaphorePermit;

impl ByteBudget {
    pub(super) fn new(limit: u32) -> Self {
        let free = Semaphore::new(usize::try_from(limit).unwrap_or(usize::MAX));
        Self { limit, free: Arc::new(free), waiting: Cell::new(0) }
    }

    /// Reserves so many bytes if they are free and nobody waits.
    pub(super) fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        self.free.clone().try_acquire_many_owned(self.at_most_all(bytes)).ok()
    }

    /// Reserves so many bytes as soon as they are free; none after so long, or where too many wait already.
    pub(super) async fn reserve(&self, bytes: u64, patience: Duration) -> Option<Reservation> {
        if let Some(reservation) = self.try_reserve(bytes) {
            return Some(reservation);
        }
        if self.waiting.get() >= WAITERS_MAX {
            return None;
        }
        let _until_reserved = Waiting::new(&self.waiting);
        let reserved = pin!(self.free.clone().acquire_many_owned(self.at_most_all(bytes)));
        match select(reserved, pause(patience)).await {
            Either::Left((reservation, _)) => reservation.ok(),
            Either::Right(_) => None,
        }
    }

    /// Whether somebody waits for bytes to come free.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.get() > 0
    }

    /// A body that is larger than the budget gets in when it is alone.
    fn at_most_all(&self, bytes: u64) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.limit)
    }
}

/// One that waits, until this is dropped.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// As many may wait; each takes some 75 KB of memory meanwhile (measured).
const WAITERS_MAX: usize = 200;
