//! Those who wait in a Ledger for a running claim.
//!
//! A wake grants nothing. It brings the settled reply, shared by all who wait for it, or tells the
//! Worker to claim again: the right to forward goes only to whoever asks afresh and so is still there.
//! A reset of the object forgets all of this; the Worker's call fails and it asks again.

use std::cell::RefCell;
use std::rc::Rc;

use super::reply_stream::Settled;
use crate::request::key::KeyId;
use futures_channel::oneshot::{self, Receiver, Sender};

/// What wakes a waiter: the reply, or nothing in particular.
pub(super) type Wake = Option<Rc<Settled>>;

/// Waiters, in the order in which they came; too few for a search to matter.
#[derive(Default)]
pub(super) struct Waiters {
    waiters: RefCell<Vec<(KeyId, Sender<Wake>)>>,
}

impl Waiters {
    /// Takes a place among those who wait for a key; none where too many wait already.
    pub(super) fn park(&self, key: KeyId) -> Option<Receiver<Wake>> {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.len() >= WAITERS_MAX {
            // Those who have left since still hold a place.
            waiters.retain(|(_, waker)| !waker.is_canceled());
            if waiters.len() >= WAITERS_MAX {
                return None;
            }
        }
        let (waker, waiter) = oneshot::channel();
        waiters.push((key, waker));
        Some(waiter)
    }

    /// Whether anybody may be waiting for a key.
    pub(super) fn is_awaited(&self, key: KeyId) -> bool {
        self.waiters.borrow().iter().any(|(of, _)| *of == key)
    }

    /// Wakes all who wait for a key.
    pub(super) fn wake(&self, key: KeyId, wake: &Wake) {
        // Taken out first: nothing is borrowed while others run.
        let (woken, others) = self.waiters.take().into_iter().partition(|(of, _)| *of == key);
        self.waiters.replace(others);
        let woken: Vec<(KeyId, Sender<Wake>)> = woken;
        for (_, waker) in woken {
            // A waiter that has left needs no waking.
            let _ = waker.send(wake.clone());
        }
    }

    /// Forgets those who have given up waiting for a key.
    pub(super) fn forget_gone(&self, key: KeyId) {
        self.waiters.borrow_mut().retain(|(of, waker)| *of != key || !waker.is_canceled());
    }
}

/// About 75 KB each (measured at 1,000 waiters): 75 MB of an isolate's 128.
const WAITERS_MAX: usize = 1000;
