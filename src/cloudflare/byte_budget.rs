//! Bytes that a Ledger holds in memory while they come in or go out: so many at once, the others wait
//! for their turn.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot::{self, Sender};
use futures_util::future::{Either, select};

use super::clock::pause;

/// Room for so many bytes.
pub(super) struct ByteBudget {
    limit: u64,
    taken: Cell<u64>,
    /// Those who wait, in the order in which they came.
    queue: RefCell<Vec<(u64, Sender<Place>)>>,
}

/// Room that is taken; given to the next one when dropped.
pub(super) struct Place {
    of: Rc<ByteBudget>,
    bytes: u64,
}

impl ByteBudget {
    pub(super) fn new(limit: u64) -> Rc<Self> {
        Rc::new(Self { limit, taken: Cell::default(), queue: RefCell::default() })
    }

    /// Room for so many bytes, now or not at all.
    pub(super) fn take(self: &Rc<Self>, bytes: u64) -> Option<Place> {
        // What is larger than all room takes all of it.
        let bytes = bytes.min(self.limit);
        let fits = !self.is_wanted() && self.taken.get() + bytes <= self.limit;
        fits.then(|| self.taken(bytes))
    }

    /// Room for so many bytes as soon as it is there; none after so long, or where too many wait already.
    pub(super) async fn wait(self: &Rc<Self>, bytes: u64, patience: Duration) -> Option<Place> {
        if let Some(place) = self.take(bytes) {
            return Some(place);
        }
        if self.queue.borrow().len() >= QUEUE_MAX {
            return None;
        }
        let (sender, place) = oneshot::channel();
        self.queue.borrow_mut().push((bytes.min(self.limit), sender));
        match select(place, pause(patience)).await {
            Either::Left((place, _)) => place.ok(),
            Either::Right(((), gone)) => {
                drop(gone);
                self.queue.borrow_mut().retain(|(_, waiter)| !waiter.is_canceled());
                // It may have stood before others who fit.
                self.hand_on();
                None
            }
        }
    }

    /// Whether somebody waits for room.
    pub(super) fn is_wanted(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    fn taken(self: &Rc<Self>, bytes: u64) -> Place {
        self.taken.set(self.taken.get() + bytes);
        Place { of: self.clone(), bytes }
    }

    /// Gives the room that is free to those who are first.
    fn hand_on(self: &Rc<Self>) {
        while let Some((bytes, waiter)) = self.next() {
            // One who has left gives it back at once.
            let _ = waiter.send(self.taken(bytes));
        }
    }

    fn next(&self) -> Option<(u64, Sender<Place>)> {
        let free = self.limit - self.taken.get();
        let mut queue = self.queue.borrow_mut();
        (queue.first()?.0 <= free).then(|| queue.remove(0))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.taken.set(self.of.taken.get() - self.bytes);
        self.of.hand_on();
    }
}

/// As many may wait for room; each takes some 75 KB of memory meanwhile.
const QUEUE_MAX: usize = 200;
