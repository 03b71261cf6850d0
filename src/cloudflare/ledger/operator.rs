//! The Ledger's answers to operators' queries, and its statistics.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use js_sys::Uint8Array;

use super::Shard;
use super::store::Store;
use crate::cloudflare::bindings;
use crate::cloudflare::clock::{now, pause};
use crate::cloudflare::error::Error;
use crate::lifecycle::record::{Lease, Record};
use crate::lifecycle::step::Change;
use crate::operator::decide::{Decided, Decision, DecisionResult, decide};
use crate::operator::query::{OperatorQuery, OperatorResult};
use crate::operator::search::{AuditEntry, FoundRecord, RerunEntry, ResultPage, Search};
use crate::operator::statistics::{Counter, FLUSH_EVERY, Statistics, hour_of};
use crate::request::key::KeyId;
use crate::time::Timestamp;

impl Shard {
    pub(super) async fn query(
        &self,
        key_id: KeyId,
        query: OperatorQuery,
        body: &Uint8Array,
    ) -> Result<OperatorResult, Error> {
        match query {
            OperatorQuery::Key => self.records_of_key(key_id),
            OperatorQuery::Search(search) => self.search(&search).await,
            OperatorQuery::Decide { lease, decision, by } => {
                self.resolve(key_id, lease, decision, by, body).map(OperatorResult::Decided)
            }
            OperatorQuery::Stats => {
                let mut hours = self.statistics.hours(self.store()?)?;
                // Nobody asks for the replays by key, which take 20 KB an hour.
                for (_, statistics) in &mut hours {
                    statistics.replays.clear();
                }
                Ok(OperatorResult::Stats(hours))
            }
            OperatorQuery::Audit { after, limit } => {
                Ok(OperatorResult::Audit(self.store()?.audit(after, limit)?))
            }
            OperatorQuery::Rerun(rerun) => {
                let store = self.store()?;
                let at = decided_at(store, key_id, now())?;
                let rerun = RerunEntry { at, key: key_id, ..rerun };
                store.add_rerun(&rerun)?;
                Ok(OperatorResult::Reruns(vec![rerun]))
            }
            OperatorQuery::Reruns { after, limit } => {
                Ok(OperatorResult::Reruns(self.store()?.reruns(after, limit)?))
            }
            OperatorQuery::Decisions => Ok(OperatorResult::Audit(self.store()?.decisions(key_id)?)),
        }
    }

    fn records_of_key(&self, key_id: KeyId) -> Result<OperatorResult, Error> {
        let (store, now) = (self.store()?, now());
        let rows = store.records_of_key(key_id)?;
        let found = rows.into_iter().filter_map(|(key_id, record)| found(key_id, record, now));
        Ok(OperatorResult::Records(now, self.shown(store, found.collect())))
    }

    /// Reads the whole shard, a batch at a time; between two batches other requests get their turn.
    async fn search(&self, search: &Search) -> Result<OperatorResult, Error> {
        let (store, now) = (self.store()?, now());
        let text = search.correlation_id.as_ref().or(search.route.as_ref());
        let text = text.map_or("", String::as_str);
        let (mut page, mut after) = (ResultPage::new(usize::from(search.limit)), None);
        while let Some(batch) = store.batch(after.as_ref(), text)? {
            for row in batch.records {
                match row {
                    Ok((key_id, record)) => {
                        let found = found(key_id, record, now);
                        if let Some(found) = found.filter(|found| search.matches(found)) {
                            page.offer(found.position(), found);
                        }
                    }
                    Err(error) => {
                        let why = error.to_string();
                        bindings::log_error(&format!("left out of a search: {why}"));
                    }
                }
            }
            after = Some(batch.last);
            pause(Duration::ZERO).await;
        }
        Ok(OperatorResult::Records(now, self.shown(store, page.into_rows())))
    }

    /// What is shown of records: how often each was replayed, as far as this is known, and no headers, which
    /// nobody has asked for and which could be 60 KB each.
    fn shown(&self, store: &Store, mut rows: Vec<FoundRecord>) -> Vec<FoundRecord> {
        let hours = self.statistics.hours(store).unwrap_or_else(|error| {
            bindings::log_error(&format!("the statistics cannot be read: {error}"));
            Vec::new()
        });
        for found in &mut rows {
            let replays = hours.iter().map(|(_, statistics)| statistics.replays_of(found.key));
            found.replays = replays.fold(0, u32::saturating_add);
            found.record.without_headers();
        }
        rows
    }

    /// Carries out an operator's decision. One synchronous block, as for events: read, decide, write. No await
    /// in here.
    fn resolve(
        &self,
        key_id: KeyId,
        lease: Option<Lease>,
        decision: Decision,
        by: [u8; 4],
        body: &Uint8Array,
    ) -> Result<DecisionResult, Error> {
        let (store, now) = (self.store()?, now());
        let Some(before) = store.find(key_id)?.and_then(|row| row.record.at(now)) else {
            return Ok(DecisionResult::Absent);
        };
        let action = decision.as_str().to_owned();
        let Decided { change, result } = decide(Some(before.clone()), lease, decision, now);
        if result != DecisionResult::Done {
            return Ok(result);
        }
        let after = match &change {
            Change::Keep => Some(before.clone()),
            Change::Delete => None,
            Change::Insert(record) | Change::Update(record) | Change::Complete(record) => {
                Some(record.clone())
            }
        };
        let at = decided_at(store, key_id, now)?;
        let audited = AuditEntry { at, key: key_id, action, by, before, after };
        store.resolve(key_id, &change, body, &audited)?;
        self.written(key_id, &change, body);
        Ok(DecisionResult::Done)
    }
}

/// When a decision is made. No two about a key have the same instant: the instant is their place on a page.
fn decided_at(store: &Store, key_id: KeyId, now: Timestamp) -> Result<Timestamp, Error> {
    let latest = store.latest_decision(key_id)?;
    Ok(latest.map_or(now, |latest| latest.plus(Duration::from_millis(1)).max(now)))
}

fn found(key: KeyId, record: Record, now: Timestamp) -> Option<FoundRecord> {
    Some(FoundRecord { key, replays: 0, record: record.at(now)? })
}

/// The numbers of the hour, in memory, and those that are stored.
#[derive(Default)]
pub(super) struct StatisticsBuffer {
    current: RefCell<Current>,
    /// When the hour's row was written last.
    stored: Cell<Option<Timestamp>>,
}

/// What was counted since the last write.
#[derive(Default)]
struct Current {
    hour: u64,
    statistics: Statistics,
}

impl StatisticsBuffer {
    /// Counts one, and writes the hour's row if that was not done for a while. `bytes` is the length of the body
    /// that came with the event.
    pub(super) fn count(
        &self,
        store: &Store,
        route: &str,
        counter: Counter,
        key: KeyId,
        bytes: u64,
    ) {
        let now = now();
        if self.current.borrow().hour != hour_of(now) {
            self.keep(store);
            self.current.borrow_mut().hour = hour_of(now);
        }
        {
            let statistics = &mut self.current.borrow_mut().statistics;
            statistics.add(route, counter, 1);
            match counter {
                Counter::Executed => statistics.add(route, Counter::Bytes, bytes),
                Counter::Replayed | Counter::Joined => statistics.replayed(key),
                _ => {}
            }
        }
        // Together with an event, and not by a timer: a pending timer keeps the object awake, and that is paid
        // for (developers.cloudflare.com, durable-objects/platform/pricing).
        if self.stored.get().is_none_or(|stored| now >= stored.plus(FLUSH_EVERY)) {
            self.keep(store);
        }
    }

    /// Adds what was counted to the row of its hour. Numbers are no reason to fail.
    fn keep(&self, store: &Store) {
        let Current { hour, statistics } = &mut *self.current.borrow_mut();
        if statistics.routes.is_empty() {
            return;
        }
        let kept = store.hour(*hour).and_then(|stored| {
            let mut whole = stored.unwrap_or_default();
            whole.merge(statistics);
            store.keep_hour(*hour, &whole)
        });
        *statistics = Statistics::default();
        self.stored.set(Some(now()));
        if let Err(error) = kept {
            let why = error.to_string();
            bindings::log_error(&format!("the statistics could not be kept: {why}"));
        }
    }

    /// Every hour that is stored, with what has been counted since.
    fn hours(&self, store: &Store) -> Result<Vec<(u64, Statistics)>, Error> {
        let mut hours = store.hours()?;
        let current = self.current.borrow();
        match hours.last_mut() {
            Some((hour, statistics)) if *hour == current.hour => {
                statistics.merge(&current.statistics);
            }
            _ if current.statistics.routes.is_empty() => {}
            _ => hours.push((current.hour, current.statistics.clone())),
        }
        Ok(hours)
    }
}
