//! Searches: what is looked for, and pages of what was found.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::lifecycle::record::{Record, State};
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// Which records are looked for: those for which all of this holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The first request's correlation id.
    pub correlation_id: Option<String>,
    /// The record's state.
    pub state: Option<StateKind>,
    /// The route's name.
    pub route: Option<String>,
    /// The record was first claimed at this instant or later.
    pub since: Option<Timestamp>,
    /// Where the page before this one ended.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: u16,
}

/// The states of a record, without their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateKind {
    /// A Worker holds the lease.
    Running,
    /// The reply is stored.
    Completed,
    /// The outcome is not known.
    InDoubt,
    /// The reply has expired; the tombstone is still kept.
    Expired,
    /// The record was in doubt for longer than `doubt_ttl`.
    Closed,
    /// The operation was released, and its status address still tells of it.
    Released,
}

impl StateKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::InDoubt,
        Self::Running,
        Self::Completed,
        Self::Expired,
        Self::Closed,
        Self::Released,
    ];

    /// The state's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::InDoubt => "in_doubt",
            Self::Expired => "expired",
            Self::Closed => "closed",
            Self::Released => "released",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }

    /// The state of a record that was read [at](Record::at) an instant.
    #[must_use]
    pub fn of(state: &State) -> Self {
        match state {
            State::Running(_) => Self::Running,
            State::Completed(_) => Self::Completed,
            State::InDoubt(_) => Self::InDoubt,
            State::Expired(_) => Self::Expired,
            State::Closed(_) => Self::Closed,
            State::Released(_) => Self::Released,
        }
    }
}

/// A position in the order of a page: newest first, then by key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// When the record was first claimed, or the decision made.
    pub at: Timestamp,
    /// The record's key id.
    pub key: KeyId,
}

impl Position {
    /// Whether this comes before another position.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        let order = |position: &Self| (Reverse(position.at), position.key);
        order(self) < order(other)
    }
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRecord {
    /// Its key id.
    pub key: KeyId,
    /// The record as it reads now.
    pub record: Record,
    /// How often its reply was replayed, as far as that was counted.
    pub replays: u32,
}

impl FoundRecord {
    /// Its position on a page.
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
    /// Whether the search finds a record.
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

/// The first rows, in the order of a page, of all that are offered in any order. No more than one page of
/// rows is ever in memory.
#[derive(Debug)]
pub struct ResultPage<T> {
    rows: Vec<(Position, T)>,
    limit: usize,
}

impl<T> ResultPage<T> {
    /// An empty page for at most so many rows.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { rows: Vec::new(), limit }
    }

    /// Adds a row if it belongs on the page, in place of the last one if the page is full.
    pub fn offer(&mut self, position: Position, row: T) {
        let at = self.rows.partition_point(|(other, _)| other.is_before(&position));
        if at < self.limit {
            self.rows.insert(at, (position, row));
            self.rows.truncate(self.limit);
        }
    }

    /// The rows in order.
    #[must_use]
    pub fn into_rows(self) -> Vec<T> {
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// A decision that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// The record's key id.
    pub key: KeyId,
    /// `complete`, `release`, `hold` or `purge`.
    pub action: String,
    /// The operator's token: the first bytes of its digest.
    pub by: [u8; 4],
    /// The record before it.
    pub before: Record,
    /// The record after it; `None` where it was deleted.
    pub after: Option<Record>,
}

/// What the audit calls a slot that was run again.
pub const RERUN: &str = "rerun";

/// A slot of a schedule that was run although nobody knew whether it had been run before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerunEntry {
    /// When.
    pub at: Timestamp,
    /// The key id of its record.
    pub key: KeyId,
    /// The operator's token: the first bytes of its digest.
    pub by: [u8; 4],
    /// The schedule's name.
    pub schedule: String,
    /// The slot.
    pub scheduled_time: Timestamp,
    /// The route that guards its request.
    pub route: String,
    /// The request's method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its correlation id.
    pub correlation_id: String,
}

impl RerunEntry {
    /// Its position on a page.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { at: self.at, key: self.key }
    }
}

/// What the audit holds, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audited {
    /// A decision about a record.
    Decision(Box<AuditEntry>),
    /// A slot that was run again.
    Rerun(RerunEntry),
}

impl Audited {
    /// Its position on a page.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Decision(entry) => entry.position(),
            Self::Rerun(entry) => entry.position(),
        }
    }

    /// One page of both.
    #[must_use]
    pub fn page(decisions: Vec<AuditEntry>, reruns: Vec<RerunEntry>, limit: u16) -> Vec<Self> {
        let mut page = ResultPage::new(usize::from(limit));
        let decisions = decisions.into_iter().map(|entry| Self::Decision(Box::new(entry)));
        for entry in decisions.chain(reruns.into_iter().map(Self::Rerun)) {
            page.offer(entry.position(), entry);
        }
        page.into_rows()
    }
}

impl AuditEntry {
    /// Its position on a page.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { at: self.at, key: self.key }
    }
}
