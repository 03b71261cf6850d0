//! What has happened, by route and hour: counted in a Ledger's memory, where every request comes by
//! anyway, and folded into one row an hour.
//!
//! The row is written at most every [`FLUSH_EVERY`], together with what is counted then, so that counting
//! costs no row per request and keeps no object awake; what was counted since is lost when the object goes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::Verdict;
use crate::lifecycle::record::State;
use crate::lifecycle::reply::Kept;
use crate::lifecycle::step::{Change, Step};
use crate::problem::Code;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// What is counted. The order is that of the stored numbers: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Forwarded, and the reply stored.
    Executed,
    /// Answered with the stored reply.
    Replayed,
    /// Answered with the reply that it waited for.
    Joined,
    /// The key was given back.
    Released,
    /// The outcome became unknown while a Worker was there to say so.
    InDoubt,
    /// Began to wait for a running claim.
    Waited,
    /// Bytes of the bodies stored.
    Bytes,
    /// Refused: 422 `key-reused`.
    KeyReused,
    /// Refused: 409 `in-flight`.
    InFlight,
    /// Refused: 409 `already-executed`.
    AlreadyExecuted,
    /// Refused: 409 `credential-changed`.
    CredentialChanged,
    /// Refused: 409 `outcome-unknown`.
    OutcomeUnknown,
    /// Refused: 410 `key-expired`.
    KeyExpired,
    /// Refused: 409 `reply-not-stored`.
    ReplyNotStored,
}

/// How many kinds there are.
pub const COUNTERS: usize = 14;

impl Counter {
    /// All of them, in the stored order.
    pub const ALL: [Self; COUNTERS] = [
        Self::Executed,
        Self::Replayed,
        Self::Joined,
        Self::Released,
        Self::InDoubt,
        Self::Waited,
        Self::Bytes,
        Self::KeyReused,
        Self::InFlight,
        Self::AlreadyExecuted,
        Self::CredentialChanged,
        Self::OutcomeUnknown,
        Self::KeyExpired,
        Self::ReplyNotStored,
    ];

    /// The refusal that it counts, if it counts one.
    #[must_use]
    pub fn code(self) -> Option<Code> {
        match self {
            Self::KeyReused => Some(Code::KeyReused),
            Self::InFlight => Some(Code::InFlight),
            Self::AlreadyExecuted => Some(Code::AlreadyExecuted),
            Self::CredentialChanged => Some(Code::CredentialChanged),
            Self::OutcomeUnknown => Some(Code::OutcomeUnknown),
            Self::KeyExpired => Some(Code::KeyExpired),
            Self::ReplyNotStored => Some(Code::ReplyNotStored),
            _ => None,
        }
    }

    /// Its name in the statistics; a refusal's is its code.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Replayed => "replayed",
            Self::Joined => "joined",
            Self::Released => "released",
            Self::InDoubt => "in_doubt",
            Self::Waited => "waits",
            Self::Bytes => "bytes",
            conflict => conflict.code().map_or("", Code::as_str),
        }
    }

    /// What a step adds one to.
    #[must_use]
    pub fn of(step: &Step) -> Option<Self> {
        match (&step.change, &step.verdict) {
            (_, Verdict::Join(_)) => Some(Self::Waited),
            (_, Verdict::InFlight { .. }) => Some(Self::InFlight),
            (_, Verdict::Replay(replay)) if replay.reply.body == Kept::StatusOnly => {
                Some(Self::ReplyNotStored)
            }
            (_, Verdict::Replay(_)) => Some(Self::Replayed),
            (_, Verdict::AlreadyExecuted) => Some(Self::AlreadyExecuted),
            (_, Verdict::InDoubt { .. }) => Some(Self::OutcomeUnknown),
            (_, Verdict::Expired) => Some(Self::KeyExpired),
            (_, Verdict::KeyReused(_)) => Some(Self::KeyReused),
            (_, Verdict::CredentialChanged) => Some(Self::CredentialChanged),
            (Change::Complete(_), Verdict::Kept(_)) => Some(Self::Executed),
            // A release that puts an earlier doubt back leaves it without a lease.
            (Change::Update(record), Verdict::Kept(_)) => match &record.state {
                State::InDoubt(doubt) if doubt.lease.is_some() => Some(Self::InDoubt),
                _ => Some(Self::Released),
            },
            (Change::Delete, Verdict::Kept(_)) => Some(Self::Released),
            (_, Verdict::Granted(_) | Verdict::Kept(_) | Verdict::Stale | Verdict::Absent) => None,
        }
    }
}

/// The numbers of one route, in the order of [`Counter::ALL`].
pub type Counts = [u64; COUNTERS];

/// One hour of one Ledger, or of many. Lists, since a dozen routes need no tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// By the route's name.
    pub routes: Vec<(String, Counts)>,
    /// How often a key's reply was sent again, by half of its key id; at most [`REPLAY_KEYS_MAX`] keys.
    pub replays: Vec<([u8; 16], u32)>,
}

impl Statistics {
    /// Adds so many of a kind. Routes beyond [`ROUTES_MAX`] are not counted.
    pub fn add(&mut self, route: &str, count: Counter, more: u64) {
        let mut counts = [0; COUNTERS];
        if let Some(number) = counts.get_mut(count as usize) {
            *number = more;
        }
        self.add_all(route, &counts);
    }

    /// Notes that a key's reply was sent again.
    pub fn replayed(&mut self, key: KeyId) {
        self.mark(mark(key), 1);
    }

    /// How often a key's reply was sent again, as far as this was noted.
    #[must_use]
    pub fn replays_of(&self, key: KeyId) -> u32 {
        let mark = mark(key);
        self.replays.iter().find(|(known, _)| *known == mark).map_or(0, |(_, times)| *times)
    }

    /// Adds another's numbers to these.
    pub fn merge(&mut self, other: &Self) {
        for (route, counts) in &other.routes {
            self.add_all(route, counts);
        }
        for (mark, times) in &other.replays {
            self.mark(*mark, *times);
        }
    }

    fn add_all(&mut self, route: &str, more: &Counts) {
        if let Some((_, counts)) = self.routes.iter_mut().find(|(known, _)| known == route) {
            for (number, more) in counts.iter_mut().zip(more) {
                *number = number.saturating_add(*more);
            }
        } else if self.routes.len() < ROUTES_MAX {
            self.routes.push((route.to_owned(), *more));
        }
    }

    fn mark(&mut self, mark: [u8; 16], more: u32) {
        if let Some((_, times)) = self.replays.iter_mut().find(|(known, _)| *known == mark) {
            *times = times.saturating_add(more);
        } else if self.replays.len() < REPLAY_KEYS_MAX {
            self.replays.push((mark, more));
        }
    }
}

/// One number.
#[must_use]
pub fn count_of(counts: &Counts, counter: Counter) -> u64 {
    counts.get(counter as usize).copied().unwrap_or_default()
}

/// The hour of an instant, counted from 1970.
#[must_use]
pub fn hour_of(at: Timestamp) -> u64 {
    at.0 / HOUR
}

/// When an hour began.
#[must_use]
pub fn hour_start(hour: u64) -> Timestamp {
    Timestamp(hour.saturating_mul(HOUR))
}

/// Half of a key id: 8 bytes of the key's half, 8 of the scope's.
fn mark(KeyId(id): KeyId) -> [u8; 16] {
    let mut mark = [0; 16];
    let chosen = id.iter().take(8).chain(id.iter().skip(16).take(8));
    for (to, from) in mark.iter_mut().zip(chosen) {
        *to = *from;
    }
    mark
}

const HOUR: u64 = 60 * 60 * 1000;
/// A configuration has a dozen routes; a client cannot make more.
pub const ROUTES_MAX: usize = 1_000;
/// So the row of an hour stays below 30 KB.
pub const REPLAY_KEYS_MAX: usize = 1_000;
/// The row of the hour is written again no sooner: 120 rows an hour and shard at the most.
pub const FLUSH_EVERY: Duration = Duration::from_secs(30);
/// Hours that are kept.
pub const HOURS_KEPT: u64 = 48;
