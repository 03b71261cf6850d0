//! What an operator asks of one Ledger, and what it says: the conversation, without its bytes.

use serde::{Deserialize, Serialize};

use crate::lifecycle::record::{Lease, Record, State};
use crate::operator::decide::{Decision, DecisionResult};
use crate::operator::statistics::Statistics;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// A question of an operator. The key id beside it says which record or key it is about, where it is
/// about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorQuery {
    /// The key's records, in every scope.
    Key,
    /// One page of the shard's records, newest first.
    Search(Search),
    /// Change a record; a body travels beside it.
    Decide {
        /// The lease of the record as the operator saw it.
        lease: Option<Lease>,
        /// What to do.
        decision: Decision,
        /// By which token: the first bytes of its digest.
        by: [u8; 4],
    },
    /// The latest decisions about the record.
    Decisions,
    /// The numbers of the last hours.
    Stats,
    /// One page of decisions, newest first.
    Audit {
        /// Only what comes after this in the order of a page.
        after: Option<Position>,
        /// At most so many.
        limit: u16,
    },
}

/// What is looked for; all of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The first request's correlation id.
    pub correlation_id: Option<String>,
    /// Where in its life the record is.
    pub state: Option<StateKind>,
    /// The route's name.
    pub route: Option<String>,
    /// First claimed at or after.
    pub since: Option<Timestamp>,
    /// Only what comes after this in the order of a page.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: u16,
}

/// The states by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateKind {
    /// A Worker holds the lease.
    Running,
    /// The reply is stored.
    Completed,
    /// The outcome is not known.
    InDoubt,
    /// The reply is gone, the tombstone is not.
    Expired,
    /// Was in doubt for longer than `doubt_ttl`.
    Closed,
}

impl StateKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::InDoubt, Self::Running, Self::Completed, Self::Expired, Self::Closed];

    /// The state's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::InDoubt => "in_doubt",
            Self::Expired => "expired",
            Self::Closed => "closed",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }

    /// Where a record is that has been read [at](Record::at) an instant.
    #[must_use]
    pub fn of(state: &State) -> Self {
        match state {
            State::Running(_) => Self::Running,
            State::Completed(_) => Self::Completed,
            State::InDoubt(_) => Self::InDoubt,
            State::Expired(_) => Self::Expired,
            State::Closed(_) => Self::Closed,
        }
    }
}

/// A place in the order of a page: newest first, then by key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// When the record was first claimed, or the decision made.
    pub at: Timestamp,
    /// The record's key id.
    pub key: KeyId,
}

impl Position {
    /// Whether this comes before another one.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        let order = |place: &Self| (std::cmp::Reverse(place.at), place.key);
        order(self) < order(other)
    }
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRecord {
    /// Its key id.
    pub key: KeyId,
    /// As it reads at the Ledger's present.
    pub record: Record,
    /// How often its reply was sent again, as far as that was noted.
    pub replays: u32,
}

impl FoundRecord {
    /// Where it comes on a page.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { at: self.record.metadata.created, key: self.key }
    }

    /// Bytes of its stored body.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.record.state.completed().map_or(0, |completed| completed.reply.body.bytes())
    }
}

impl Search {
    /// Whether a record is one of those looked for.
    #[must_use]
    pub fn matches(&self, found: &FoundRecord) -> bool {
        let metadata = &found.record.metadata;
        self.correlation_id.as_ref().is_none_or(|id| *id == metadata.correlation_id)
            && self.state.is_none_or(|stage| stage == StateKind::of(&found.record.state))
            && self.route.as_ref().is_none_or(|route| *route == metadata.route)
            && self.since.is_none_or(|since| metadata.created >= since)
            && self.after.is_none_or(|after| after.is_before(&found.position()))
    }
}

/// The best so many of what is offered, whatever the order it comes in: a page is all that is ever held.
#[derive(Debug)]
pub struct Page<T> {
    best: Vec<(Position, T)>,
    limit: usize,
}

impl<T> Page<T> {
    /// A page of at most so many.
    #[must_use]
    pub fn of(limit: u16) -> Self {
        Self { best: Vec::new(), limit: usize::from(limit) }
    }

    /// Takes something in if it belongs on the page so far.
    pub fn offer(&mut self, place: Position, item: T) {
        let at = self.best.partition_point(|(other, _)| other.is_before(&place));
        if at < self.limit {
            self.best.insert(at, (place, item));
            self.best.truncate(self.limit);
        }
    }

    /// The page, in order.
    #[must_use]
    pub fn into_items(self) -> Vec<T> {
        let mut items = Vec::new();
        for (_, item) in self.best {
            items.push(item);
        }
        items
    }
}

/// A decision that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// About which record.
    pub key: KeyId,
    /// `complete`, `release`, `hold` or `purge`.
    pub action: String,
    /// By which token: the first bytes of its digest.
    pub by: [u8; 4],
    /// What the record said before.
    pub before: Record,
    /// What it says after; none where it is gone.
    pub after: Option<Record>,
}

impl AuditEntry {
    /// Where it comes on a page.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { at: self.at, key: self.key }
    }
}

/// What a Ledger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorResult {
    /// Records, read at that instant of the Ledger's clock.
    Records(Timestamp, Vec<FoundRecord>),
    /// What came of a decision.
    Decided(DecisionResult),
    /// By hour, the oldest first.
    Stats(Vec<(u64, Statistics)>),
    /// Decisions.
    Audit(Vec<AuditEntry>),
}

impl OperatorQuery {
    /// Whether every shard is asked, or only the one that holds the key.
    #[must_use]
    pub fn asks_every_shard(&self) -> bool {
        matches!(self, Self::Search(_) | Self::Stats | Self::Audit { .. })
    }

    /// What it is told where no shard has said anything yet.
    #[must_use]
    pub fn empty_result(&self) -> OperatorResult {
        match self {
            Self::Key | Self::Search(_) => OperatorResult::Records(Timestamp(0), Vec::new()),
            Self::Decide { .. } => OperatorResult::Decided(DecisionResult::Absent),
            Self::Stats => OperatorResult::Stats(Vec::new()),
            Self::Audit { .. } | Self::Decisions => OperatorResult::Audit(Vec::new()),
        }
    }

    /// What several shards say together: one page, in order; the numbers added up. `None` if one of them
    /// answers another question.
    #[must_use]
    pub fn merge(&self, so_far: OperatorResult, more: OperatorResult) -> Option<OperatorResult> {
        Some(match (so_far, more) {
            (OperatorResult::Records(_, rows), OperatorResult::Records(now, more)) => {
                let limit = match self {
                    Self::Search(search) => usize::from(search.limit),
                    _ => usize::MAX,
                };
                OperatorResult::Records(now, merged(rows, more, FoundRecord::position, limit))
            }
            (OperatorResult::Audit(rows), OperatorResult::Audit(more)) => {
                let limit = match self {
                    Self::Audit { limit, .. } => usize::from(*limit),
                    _ => usize::MAX,
                };
                OperatorResult::Audit(merged(rows, more, AuditEntry::position, limit))
            }
            (OperatorResult::Stats(mut hours), OperatorResult::Stats(more)) => {
                for (hour, tally) in more {
                    match hours.iter_mut().find(|(known, _)| *known == hour) {
                        Some((_, known)) => known.merge(&tally),
                        None => hours.push((hour, tally)),
                    }
                }
                hours.sort_unstable_by_key(|(hour, _)| *hour);
                OperatorResult::Stats(hours)
            }
            (_, ruled @ OperatorResult::Decided(_)) => ruled,
            _ => return None,
        })
    }
}

fn merged<T>(rows: Vec<T>, more: Vec<T>, place: fn(&T) -> Position, limit: usize) -> Vec<T> {
    let mut page = Page { best: Vec::new(), limit };
    for rows in [rows, more] {
        for row in rows {
            page.offer(place(&row), row);
        }
    }
    page.into_items()
}

impl Decision {
    /// Its name in a request and in the audit.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Complete(_) => "complete",
            Self::Release => "release",
            Self::Hold => "hold",
            Self::Purge => "purge",
        }
    }
}
