//! What happened to guarded requests, by route and hour. A Ledger counts in memory, since every request comes
//! to it anyway, and stores one row an hour.
//!
//! The row is written at most every [`FLUSH_EVERY`], together with the event that is counted then. So counting
//! costs no row per request and keeps no object awake. What was counted since the last write is lost when the
//! object is evicted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::{Asker, Verdict};
use crate::lifecycle::record::State;
use crate::lifecycle::reply::Kept;
use crate::lifecycle::step::{Change, Step};
use crate::problem::Code;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// What is counted. The order is that of the stored numbers: new counters go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Forwarded, and the reply was stored.
    Executed,
    /// Answered with the stored reply.
    Replayed,
    /// Answered with the reply that it waited for.
    Joined,
    /// The claim was released.
    Released,
    /// A Worker reported that the outcome is unknown.
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
    /// Made for a schedule.
    BySchedule,
    /// Made for a message of a queue.
    ByQueue,
    /// Refused: 412 `outside-window`.
    OutsideWindow,
}

/// How many counters there are.
pub const COUNTERS: usize = 17;

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
        Self::BySchedule,
        Self::ByQueue,
        Self::OutsideWindow,
    ];

    /// The problem that it counts, if it counts one.
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
            Self::OutsideWindow => Some(Code::OutsideWindow),
            _ => None,
        }
    }

    /// Its name in the statistics; that of a problem is its code.
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
            Self::BySchedule => "by_schedule",
            Self::ByQueue => "by_queue",
            conflict => conflict.code().map_or("", Code::as_str),
        }
    }

    /// The counter that a claim adds one to, whatever it leads to.
    #[must_use]
    pub fn of_asker(asker: Asker) -> Option<Self> {
        match asker {
            Asker::Client => None,
            Asker::Schedule => Some(Self::BySchedule),
            Asker::Queue => Some(Self::ByQueue),
        }
    }

    /// The counter that a step adds one to.
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
            (_, Verdict::InDoubt { .. } | Verdict::StillRead { .. }) => Some(Self::OutcomeUnknown),
            (_, Verdict::Expired) => Some(Self::KeyExpired),
            (_, Verdict::KeyReused(_)) => Some(Self::KeyReused),
            (_, Verdict::CredentialChanged) => Some(Self::CredentialChanged),
            (_, Verdict::OutsideWindow) => Some(Self::OutsideWindow),
            (Change::Complete(record), Verdict::Kept(_)) if !record.is_live() => {
                Some(Self::Released)
            }
            (Change::Complete(_), Verdict::Kept(_)) => Some(Self::Executed),
            // A release that puts an earlier doubt back leaves it without a lease.
            (Change::Update(record), Verdict::Kept(_)) => match &record.state {
                State::InDoubt(doubt) if doubt.lease.is_some() => Some(Self::InDoubt),
                _ => Some(Self::Released),
            },
            (Change::Delete, Verdict::Kept(_)) => Some(Self::Released),
            (
                _,
                Verdict::Granted(..)
                | Verdict::Kept(_)
                | Verdict::Stale
                | Verdict::Released
                | Verdict::Absent
                | Verdict::AheadOfTime,
            ) => None,
        }
    }
}

/// The numbers of one route, in the order of [`Counter::ALL`].
pub type Counts = [u64; COUNTERS];

/// The numbers of one hour, of one Ledger or of several. Lists are searched fast enough: a configuration has a
/// dozen routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// The numbers of each route, by its name.
    pub routes: Vec<(String, Counts)>,
    /// How often a key's reply was replayed, by half of its key id; at most [`REPLAY_KEYS_MAX`] keys.
    pub replays: Vec<([u8; 16], u32)>,
}

impl Statistics {
    /// Adds to a counter of a route. Routes beyond [`ROUTES_MAX`] are not counted.
    pub fn add(&mut self, route: &str, counter: Counter, more: u64) {
        let mut counts = [0; COUNTERS];
        if let Some(number) = counts.get_mut(counter as usize) {
            *number = more;
        }
        self.add_counts(route, &counts);
    }

    /// Counts a replay of a key's reply.
    pub fn replayed(&mut self, key: KeyId) {
        self.add_replays(half(key), 1);
    }

    /// How often a key's reply was replayed, as far as that was counted.
    #[must_use]
    pub fn replays_of(&self, key: KeyId) -> u32 {
        let key = half(key);
        self.replays.iter().find(|(known, _)| *known == key).map_or(0, |(_, times)| *times)
    }

    /// Adds the numbers of another hour or Ledger.
    pub fn merge(&mut self, other: &Self) {
        for (route, counts) in &other.routes {
            self.add_counts(route, counts);
        }
        for (key, times) in &other.replays {
            self.add_replays(*key, *times);
        }
    }

    fn add_counts(&mut self, route: &str, more: &Counts) {
        if let Some((_, counts)) = self.routes.iter_mut().find(|(known, _)| known == route) {
            for (number, more) in counts.iter_mut().zip(more) {
                *number = number.saturating_add(*more);
            }
        } else if self.routes.len() < ROUTES_MAX {
            self.routes.push((route.to_owned(), *more));
        }
    }

    fn add_replays(&mut self, key: [u8; 16], more: u32) {
        if let Some((_, times)) = self.replays.iter_mut().find(|(known, _)| *known == key) {
            *times = times.saturating_add(more);
        } else if self.replays.len() < REPLAY_KEYS_MAX {
            self.replays.push((key, more));
        }
    }
}

/// The number of a counter.
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
fn half(KeyId(id): KeyId) -> [u8; 16] {
    let mut half = [0; 16];
    let chosen = id.iter().take(8).chain(id.iter().skip(16).take(8));
    for (to, from) in half.iter_mut().zip(chosen) {
        *to = *from;
    }
    half
}

const HOUR: u64 = 60 * 60 * 1000;
/// A configuration has a dozen routes, and a client cannot add any.
pub const ROUTES_MAX: usize = 1_000;
/// With 20 bytes each, the replays of an hour take at most 20 KB of its row.
pub const REPLAY_KEYS_MAX: usize = 1_000;
/// The least time between two writes of an hour's row: at most 120 writes an hour and shard.
pub const FLUSH_EVERY: Duration = Duration::from_secs(30);
/// How many hours are stored.
pub const HOURS_KEPT: u64 = 48;
