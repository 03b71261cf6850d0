//! What the history tells of one key at any instant: who holds it, what is stored, what is in doubt.
//!
//! Written from the contract (1.5 to 1.7), not from the product: it keeps only what was said, by whom, and for
//! how long that holds.

use std::rc::Rc;

use oncegate::lifecycle::record::{Durations, Reason};
use oncegate::time::millis;

/// Milliseconds of the Ledger's clock.
pub(crate) type Ms = u64;
/// A lease, or the id of a run.
pub(crate) type Token = [u8; 16];

/// A key from the first grant until it is forgotten.
#[derive(Clone, Debug, Hash, Default)]
pub(crate) struct Life {
    pub(crate) print: [u8; 32],
    pub(crate) operation: Token,
    pub(crate) phase: Phase,
    /// The secret of its status address.
    pub(crate) secret: Option<Token>,
    /// What the status address tells of a claim that was released, and left nothing else.
    pub(crate) released: Option<Rc<Released>>,
}

/// A claim that was released.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Released {
    /// The origin's answer, if there is one.
    pub(crate) told: Option<(u16, Vec<u8>)>,
    pub(crate) until: Ms,
}

#[derive(Clone, Debug, Hash, Default)]
pub(crate) enum Phase {
    #[default]
    Free,
    Running(Rc<Hold>),
    Stored(Rc<Stored>),
    Doubt(Rc<Doubt>),
}

/// A granted claim.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Hold {
    pub(crate) lease: Token,
    pub(crate) run: Token,
    pub(crate) attempt: u32,
    pub(crate) until: Ms,
    pub(crate) ttl: Ms,
    pub(crate) tombstone: Ms,
    pub(crate) doubt_ttl: Ms,
    /// What it found, and what its release puts back.
    pub(crate) found: Phase,
}

/// A reply that was stored.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) lease: Token,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) expires: Ms,
    pub(crate) gone: Ms,
}

/// A claim whose outcome nobody knows.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Doubt {
    pub(crate) hold: Hold,
    /// Its holder may still settle or release it.
    pub(crate) can_end: bool,
    pub(crate) closes: Ms,
    pub(crate) gone: Ms,
    /// Why, as a Worker said it; otherwise its lease ran out.
    pub(crate) said: Option<Reason>,
}

/// What a client can be answered about a key at one instant.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) enum View {
    Free,
    /// Free, and the status address tells what was released.
    Released(Rc<Released>),
    Running,
    Stored(Rc<Stored>),
    Expired,
    /// In doubt, and its call is still read.
    StillRead,
    Doubt,
    Closed,
}

impl View {
    /// Whether a claim is granted as if nothing had ever been there.
    pub(crate) fn is_free(&self) -> bool {
        matches!(self, Self::Free | Self::Released(_))
    }
}

impl Life {
    /// What it left when it was released, if that is still told.
    fn told(&self, now: Ms) -> Option<Rc<Released>> {
        let is_free = matches!(self.at(now), Phase::Free);
        self.released.clone().filter(|released| is_free && now < released.until)
    }

    /// The secret of its status address; none once it is forgotten.
    pub(crate) fn address(&self, now: Ms) -> Option<Token> {
        let is_known = !self.view(now).is_free() || self.told(now).is_some();
        self.secret.filter(|_| is_known)
    }

    /// The phase at an instant, time having passed.
    pub(crate) fn at(&self, now: Ms) -> Phase {
        match &self.phase {
            Phase::Running(hold) if hold.until <= now => {
                let doubt = Doubt::of(Hold::clone(hold), None);
                if doubt.gone <= now { Phase::Free } else { Phase::Doubt(Rc::new(doubt)) }
            }
            Phase::Stored(stored) if stored.gone <= now => Phase::Free,
            Phase::Doubt(doubt) if doubt.gone <= now => Phase::Free,
            phase => phase.clone(),
        }
    }

    pub(crate) fn view(&self, now: Ms) -> View {
        match self.at(now) {
            Phase::Free => self.told(now).map_or(View::Free, View::Released),
            Phase::Running(_) => View::Running,
            Phase::Stored(stored) if stored.expires <= now => View::Expired,
            Phase::Stored(stored) => View::Stored(stored),
            Phase::Doubt(doubt) if doubt.closes <= now => View::Closed,
            Phase::Doubt(doubt) if now < doubt.hold.until => View::StillRead,
            Phase::Doubt(_) => View::Doubt,
        }
    }

    /// The next instant at which it changes by itself.
    pub(crate) fn next(&self, now: Ms) -> Option<Ms> {
        let marks = match self.at(now) {
            Phase::Free => [self.told(now)?.until; 3],
            Phase::Running(hold) => [hold.until; 3],
            Phase::Stored(stored) => [stored.expires, stored.gone, stored.gone],
            Phase::Doubt(doubt) => [doubt.hold.until, doubt.closes, doubt.gone],
        };
        marks.into_iter().filter(|mark| *mark > now).min()
    }

    /// The claim that a lease may still end.
    pub(crate) fn held(&self, lease: Token, now: Ms) -> Option<Rc<Hold>> {
        match self.at(now) {
            Phase::Running(hold) if hold.lease == lease => Some(hold),
            Phase::Doubt(doubt)
                if doubt.hold.lease == lease && doubt.can_end && now < doubt.closes =>
            {
                Some(Rc::new(doubt.hold.clone()))
            }
            _ => None,
        }
    }

    /// Whether its call goes on, or did when somebody looked last: whoever comes for the reply waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        match &self.phase {
            Phase::Running(_) => true,
            Phase::Doubt(doubt) => doubt.said == Some(Reason::Timeout),
            Phase::Free | Phase::Stored(_) => false,
        }
    }

    /// Only a call that is read on keeps its lease.
    pub(crate) fn doubt(&mut self, reason: Reason, now: Ms) {
        let mut doubt = match self.at(now) {
            Phase::Running(hold) => {
                let mut hold = Hold::clone(&hold);
                if reason != Reason::Timeout {
                    hold.until = now;
                }
                Doubt::of(hold, Some(reason))
            }
            Phase::Doubt(doubt) if now < doubt.hold.until => Doubt::clone(&doubt),
            _ => return,
        };
        if reason != Reason::Timeout {
            doubt.hold.until = now;
            doubt.said = Some(reason);
        }
        self.phase = Phase::Doubt(Rc::new(doubt));
    }

    /// A reply of which only the head was stored breaks off. Nothing is left of what its claim had found, but the
    /// doubt about earlier attempts.
    pub(crate) fn break_off(&mut self, mut hold: Hold, now: Ms) {
        hold.until = now;
        let said = Some(Reason::Truncated);
        if hold.attempt > 1 {
            hold.found = Phase::Doubt(Rc::new(Doubt::of(hold.clone(), said)));
        }
        self.phase = Phase::Doubt(Rc::new(Doubt::of(hold, said)));
    }

    pub(crate) fn settle(&mut self, hold: &Hold, status: u16, body: Vec<u8>, now: Ms) {
        let expires = now + hold.ttl;
        let gone = expires + hold.tombstone;
        let stored = Stored { lease: hold.lease, status, body, expires, gone };
        self.phase = Phase::Stored(Rc::new(stored));
    }

    /// A release puts back what the claim found. Where the latest attempt was in doubt already, the earlier
    /// one still is, but no Worker is at it any more.
    pub(crate) fn release(&mut self, told: Option<&(u16, Vec<u8>)>, now: Ms) {
        self.phase = match self.at(now) {
            Phase::Running(hold) => hold.found.clone(),
            Phase::Doubt(doubt) => match &doubt.hold.found {
                Phase::Doubt(earlier) => {
                    let mut left = Doubt::clone(&doubt);
                    left.can_end = false;
                    left.said = earlier.said;
                    left.hold.until = left.hold.until.min(now);
                    Phase::Doubt(Rc::new(left))
                }
                found => found.clone(),
            },
            phase => phase,
        };
        let until = now + RELEASED_KEPT;
        let nothing_is_left = self.secret.is_some() && matches!(self.at(now), Phase::Free);
        let released = || Rc::new(Released { told: told.cloned(), until });
        self.released = nothing_is_left.then(released);
    }
}

impl Hold {
    pub(crate) fn new(lease: Token, now: Ms, durations: &Durations) -> Self {
        Self {
            lease,
            run: lease,
            attempt: 1,
            until: now + millis(durations.lease),
            ttl: millis(durations.ttl),
            tombstone: millis(durations.tombstone),
            doubt_ttl: millis(durations.doubt_ttl),
            found: Phase::Free,
        }
    }
}

impl Doubt {
    fn of(mut hold: Hold, said: Option<Reason>) -> Self {
        let mut closes = hold.until + hold.doubt_ttl;
        if let Phase::Doubt(earlier) = &hold.found {
            closes = closes.max(earlier.closes);
            // Of the doubts before it only the latest counts, and what the first run found.
            if let Phase::Doubt(first) = &earlier.hold.found {
                let mut latest = Doubt::clone(earlier);
                latest.hold.found = first.hold.found.clone();
                hold.found = Phase::Doubt(Rc::new(latest));
            }
        }
        let gone = closes + hold.tombstone.max(CLOSED_KEPT);
        Self { hold, can_end: true, closes, gone, said }
    }
}

/// How long a closed doubt goes on to answer 410 at the least: 90 days.
const CLOSED_KEPT: Ms = 90 * 24 * 60 * 60 * 1000;
/// How long a status address tells what was released: ten minutes.
const RELEASED_KEPT: Ms = 10 * 60 * 1000;
