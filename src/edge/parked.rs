//! Those who wait in a Ledger for a running claim.
//!
//! A wake grants nothing. It brings the settled reply, shared by all who wait for it, or tells the
//! Worker to claim again: the right to forward goes only to whoever asks afresh and so is still there.
//! A reset of the object forgets all of this; the Worker's call fails and it asks again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_channel::oneshot::{self, Receiver, Sender};
use js_sys::Uint8Array;

use crate::key::KeyId;
use crate::record::Completed;

/// What wakes a waiter: the reply, or nothing in particular.
pub(super) type Wake = Option<Rc<(Completed, Uint8Array)>>;

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

    /// Wakes all who wait for a key. Each answer is a copy of the body, so only as many get the reply
    /// now as fit into memory together; the others ask again, and get it from the row.
    pub(super) fn wake(&self, key: KeyId, wake: &Wake) {
        let bytes = wake.as_ref().map_or(0, |settled| settled.1.byte_length());
        let at_once = usize::try_from(AT_ONCE_BYTES / bytes.max(1)).unwrap_or(usize::MAX).max(1);
        // Taken out first: nothing is borrowed while others run.
        let waiters = self.by_key.borrow_mut().remove(&key).unwrap_or_default();
        for (place, waiter) in waiters.into_iter().enumerate() {
            // A waiter that has left needs no waking.
            let _ = waiter.send(if place < at_once { wake.clone() } else { None });
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

/// Bytes of replies that are handed to waiters in one go.
const AT_ONCE_BYTES: u32 = 16 * 1024 * 1024;
/// About 75 KB each (measured at 1,000 waiters): 75 MB of an isolate's 128.
const WAITERS_MAX: usize = 1000;
