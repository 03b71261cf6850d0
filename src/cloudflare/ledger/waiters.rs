//! The callers that wait in a Ledger for a running claim.
//!
//! A wake grants nothing. It brings the settled reply, shared by all who wait for it, or tells the Worker to
//! claim again: the right to forward goes only to a caller who asks afresh and so is still there. A reset of
//! the object forgets all waiters; their Workers' calls fail, and the Workers claim again.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot::{self, Receiver, Sender};

use super::reply_stream::SettledReply;
use crate::request::key::KeyId;

/// What a waiter is woken with: the reply, or nothing, in which case it claims again.
pub(super) type Wake = Option<Rc<SettledReply>>;

/// All waiters of a shard, in the order in which they came; so few that they are searched one by one.
#[derive(Default)]
pub(super) struct Waiters(RefCell<Vec<(KeyId, Sender<Wake>)>>);

impl Waiters {
    /// Whether one more caller can wait for a key.
    pub(super) fn has_place(&self, key_id: KeyId) -> bool {
        let mut waiters = self.0.borrow_mut();
        if waiters.len() < KEY_WAITERS_MAX {
            return true;
        }
        // Callers who have left since still have their places.
        waiters.retain(|(_, waker)| !waker.is_canceled());
        let of_key = waiters.iter().filter(|(waits_for, _)| *waits_for == key_id).count();
        waiters.len() < WAITERS_MAX && of_key < KEY_WAITERS_MAX
    }

    /// Adds a waiter.
    pub(super) fn add(&self, key_id: KeyId) -> Receiver<Wake> {
        let (waker, waiter) = oneshot::channel();
        self.0.borrow_mut().push((key_id, waker));
        waiter
    }

    /// Whether anybody may be waiting for a key.
    pub(super) fn has_any(&self, key_id: KeyId) -> bool {
        self.0.borrow().iter().any(|(waits_for, _)| *waits_for == key_id)
    }

    /// Wakes all who wait for a key.
    pub(super) fn wake(&self, key_id: KeyId, wake: &Wake) {
        // Taken out first: nothing is borrowed while others run.
        let waiters = self.0.take().into_iter();
        let (woken, others): (Vec<_>, Vec<_>) =
            waiters.partition(|(waits_for, _)| *waits_for == key_id);
        self.0.replace(others);
        for (_, waker) in woken {
            // A caller who has left needs no waking.
            let _ = waker.send(wake.clone());
        }
    }

    /// Forgets the waiters for a key whose callers have given up.
    pub(super) fn forget_canceled(&self, key_id: KeyId) {
        self.0
            .borrow_mut()
            .retain(|(waits_for, waker)| *waits_for != key_id || !waker.is_canceled());
    }
}

/// About 75 KB each (measured at 1,000 waiters): 75 MB of the isolate's 128.
const WAITERS_MAX: usize = 1_000;
/// So that one key leaves places to the others.
const KEY_WAITERS_MAX: usize = 250;
