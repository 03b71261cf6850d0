//! Those who wait in a Ledger for a running claim.
//!
//! A wake grants nothing. It brings the settled reply, shared by all who wait for it, or tells the
//! Worker to claim again: the right to forward goes only to whoever asks afresh and so is still there.
//! A reset of the object forgets all of this; the Worker's call fails and it asks again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::outgoing::Settled;
use crate::key::KeyId;
use futures_channel::oneshot::{self, Receiver, Sender};

/// What wakes a waiter: the reply, or nothing in particular.
pub(super) type Wake = Option<Rc<Settled>>;

/// Waiters by key id.
#[derive(Default)]
pub(super) struct Parked {
    by_key: RefCell<BTreeMap<KeyId, Vec<Sender<Wake>>>>,
}

impl Parked {
    /// Takes a place among those who wait for a key; none where too many wait already.
    pub(super) fn park(&self, key: KeyId) -> Option<Receiver<Wake>> {
        let mut by_key = self.by_key.borrow_mut();
        if by_key.values().map(Vec::len).sum::<usize>() >= WAITERS_MAX {
            // Those who have left since still hold a place.
            by_key.values_mut().for_each(|waiters| waiters.retain(|waiter| !waiter.is_canceled()));
            by_key.retain(|_, waiters| !waiters.is_empty());
            if by_key.values().map(Vec::len).sum::<usize>() >= WAITERS_MAX {
                return None;
            }
        }
        let (waker, waiter) = oneshot::channel();
        by_key.entry(key).or_default().push(waker);
        Some(waiter)
    }

    /// Whether anybody may be waiting for a key.
    pub(super) fn is_awaited(&self, key: KeyId) -> bool {
        self.by_key.borrow().contains_key(&key)
    }

    /// Wakes all who wait for a key.
    pub(super) fn wake(&self, key: KeyId, wake: &Wake) {
        // Taken out first: nothing is borrowed while others run.
        let waiters = self.by_key.borrow_mut().remove(&key).unwrap_or_default();
        for waiter in waiters {
            // A waiter that has left needs no waking.
            let _ = waiter.send(wake.clone());
        }
    }

    /// Forgets those who have given up waiting for a key.
    pub(super) fn forget_gone(&self, key: KeyId) {
        let mut by_key = self.by_key.borrow_mut();
        if let Some(waiters) = by_key.get_mut(&key) {
            waiters.retain(|waiter| !waiter.is_canceled());
            if waiters.is_empty() {
                by_key.remove(&key);
            }
        }
    }
}

/// About 75 KB each (measured at 1,000 waiters): 75 MB of an isolate's 128.
const WAITERS_MAX: usize = 1000;
