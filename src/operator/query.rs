//! What an operator asks of one Ledger, and what the Ledger answers.

use serde::{Deserialize, Serialize};

use crate::lifecycle::record::Lease;
use crate::operator::decide::{Decision, DecisionResult};
use crate::operator::search::{AuditEntry, FoundRecord, Position, RerunEntry, ResultPage, Search};
use crate::operator::statistics::Statistics;
use crate::time::Timestamp;

/// A query. The key id beside it names the record or the key, for queries that are about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorQuery {
    /// The records of the key in every scope.
    Key,
    /// A page of the shard's records, newest first.
    Search(Search),
    /// A decision about the record. The body of a completion is beside it.
    Decide {
        /// The lease of the record as the operator saw it.
        lease: Option<Lease>,
        /// What to do.
        decision: Decision,
        /// The operator's token: the first bytes of its digest.
        by: [u8; 4],
    },
    /// The latest decisions about the record.
    Decisions,
    /// The numbers of the last hours.
    Stats,
    /// A page of decisions, newest first.
    Audit {
        /// Where the page before this one ended.
        after: Option<Position>,
        /// At most so many.
        limit: u16,
    },
    /// Writes down that a slot is run again. The Ledger sets the instant.
    Rerun(RerunEntry),
    /// A page of the slots that were run again, newest first.
    Reruns {
        /// Where the page before this one ended.
        after: Option<Position>,
        /// At most so many.
        limit: u16,
    },
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorResult {
    /// Records, as they read at this instant of the Ledger's clock.
    Records(Timestamp, Vec<FoundRecord>),
    /// The result of a decision.
    Decided(DecisionResult),
    /// The numbers of each hour, the oldest first.
    Stats(Vec<(u64, Statistics)>),
    /// Decisions.
    Audit(Vec<AuditEntry>),
    /// Slots that were run again.
    Reruns(Vec<RerunEntry>),
}

impl OperatorQuery {
    /// Whether every shard is asked, or only the one that holds the key.
    #[must_use]
    pub fn asks_every_shard(&self) -> bool {
        matches!(self, Self::Search(_) | Self::Stats | Self::Audit { .. } | Self::Reruns { .. })
    }

    /// The result before any shard has answered.
    #[must_use]
    pub fn empty_result(&self) -> OperatorResult {
        match self {
            Self::Key | Self::Search(_) => OperatorResult::Records(Timestamp(0), Vec::new()),
            Self::Decide { .. } => OperatorResult::Decided(DecisionResult::Absent),
            Self::Stats => OperatorResult::Stats(Vec::new()),
            Self::Audit { .. } | Self::Decisions => OperatorResult::Audit(Vec::new()),
            Self::Rerun(_) | Self::Reruns { .. } => OperatorResult::Reruns(Vec::new()),
        }
    }

    /// Merges a shard's result into that of others: a page keeps its order and its length, numbers are
    /// added up. `None` if the two are results of different queries.
    #[must_use]
    pub fn merge(&self, so_far: OperatorResult, more: OperatorResult) -> Option<OperatorResult> {
        Some(match (so_far, more) {
            (OperatorResult::Records(_, rows), OperatorResult::Records(now, more)) => {
                OperatorResult::Records(now, self.one_page(rows, more, FoundRecord::position))
            }
            (OperatorResult::Audit(rows), OperatorResult::Audit(more)) => {
                OperatorResult::Audit(self.one_page(rows, more, AuditEntry::position))
            }
            (OperatorResult::Reruns(rows), OperatorResult::Reruns(more)) => {
                OperatorResult::Reruns(self.one_page(rows, more, RerunEntry::position))
            }
            (OperatorResult::Stats(mut hours), OperatorResult::Stats(more)) => {
                for (hour, statistics) in more {
                    match hours.iter_mut().find(|(known, _)| *known == hour) {
                        Some((_, known)) => known.merge(&statistics),
                        None => hours.push((hour, statistics)),
                    }
                }
                hours.sort_unstable_by_key(|(hour, _)| *hour);
                OperatorResult::Stats(hours)
            }
            (_, decided @ OperatorResult::Decided(_)) => decided,
            _ => return None,
        })
    }

    fn one_page<T>(&self, rows: Vec<T>, more: Vec<T>, position: fn(&T) -> Position) -> Vec<T> {
        let mut page = match self {
            Self::Search(Search { limit, .. })
            | Self::Audit { limit, .. }
            | Self::Reruns { limit, .. } => ResultPage::new(usize::from(*limit)),
            _ => ResultPage::new(usize::MAX),
        };
        for row in rows.into_iter().chain(more) {
            page.offer(position(&row), row);
        }
        page.into_rows()
    }
}
