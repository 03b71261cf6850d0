//! The Ledger's answers to operators, and its numbers.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::Shard;
use crate::cloudflare::bindings;
use crate::cloudflare::clock::{now, pause};
use crate::cloudflare::ledger::store::Store;
use crate::lifecycle::record::{Lease, Record};
use crate::lifecycle::step::Change;
use crate::operator::decide::{Decided, Decision, DecisionResult, decide};
use crate::operator::search::{
    AuditEntry, FoundRecord, OperatorQuery, OperatorResult, Page, Search,
};
use crate::operator::statistics::{Counter, FLUSH_EVERY, Statistics, hour_of};
use crate::request::key::KeyId;
use crate::time::Timestamp;

impl Shard {
    pub(super) async fn answer_operator(
        &self,
        key: KeyId,
        query: OperatorQuery,
        body: &Uint8Array,
    ) -> Result<OperatorResult, JsValue> {
        match query {
            OperatorQuery::Key => self.of_key(key),
            OperatorQuery::Search(search) => self.search(&search).await,
            OperatorQuery::Decide { lease, decision, by } => {
                self.decide(key, lease, decision, by, body).map(OperatorResult::Decided)
            }
            OperatorQuery::Stats => {
                let mut hours = self.counted.hours(self.store()?)?;
                // Nobody asks for the replays by key, which take 20 KB an hour.
                for (_, statistics) in &mut hours {
                    statistics.replays.clear();
                }
                Ok(OperatorResult::Stats(hours))
            }
            OperatorQuery::Audit { after, limit } => {
                Ok(OperatorResult::Audit(self.store()?.audit(after, limit)?))
            }
            OperatorQuery::Decisions => Ok(OperatorResult::Audit(self.store()?.decisions(key)?)),
        }
    }

    fn of_key(&self, key: KeyId) -> Result<OperatorResult, JsValue> {
        let (store, now) = (self.store()?, now());
        let rows = store.of_key(key)?;
        let found = rows.into_iter().filter_map(|(key, record)| found(key, record, now));
        Ok(OperatorResult::Records(now, self.shown(store, found.collect())))
    }

    /// Reads the whole shard, a batch at a time; between two of them requests get their turn.
    async fn search(&self, search: &Search) -> Result<OperatorResult, JsValue> {
        let (store, now) = (self.store()?, now());
        let text = search.correlation_id.as_ref().or(search.route.as_ref());
        let text = text.map_or("", String::as_str);
        let (mut page, mut after) = (Page::of(search.limit), None);
        while let Some(batch) = store.batch(after.as_ref(), text)? {
            for row in batch.records {
                match row {
                    Ok((key, record)) => {
                        let found = found(key, record, now);
                        if let Some(found) = found.filter(|found| search.matches(found)) {
                            page.offer(found.position(), found);
                        }
                    }
                    Err(error) => {
                        bindings::error(&format!(
                            "left out of a search: {}",
                            bindings::text(&error)
                        ));
                    }
                }
            }
            after = Some(batch.last);
            pause(Duration::from_millis(0)).await;
        }
        Ok(OperatorResult::Records(now, self.shown(store, page.into_items())))
    }

    /// What is shown of records: how often each was replayed, as far as this is known, and no headers,
    /// which nobody has asked for and which could be 60 KB each.
    fn shown(&self, store: &Store, mut rows: Vec<FoundRecord>) -> Vec<FoundRecord> {
        let hours = self.counted.hours(store).unwrap_or_else(|error| {
            bindings::error(&format!("the statistics cannot be read: {}", bindings::text(&error)));
            Vec::new()
        });
        for found in &mut rows {
            let replays = hours.iter().map(|(_, tally)| tally.replays_of(found.key));
            found.replays = replays.fold(0, u32::saturating_add);
            found.record.without_headers();
        }
        rows
    }

    /// One synchronous block, as for requests: read, decide, write. No await in here.
    fn decide(
        &self,
        key: KeyId,
        lease: Option<Lease>,
        decision: Decision,
        by: [u8; 4],
        body: &Uint8Array,
    ) -> Result<DecisionResult, JsValue> {
        let (store, now) = (self.store()?, now());
        let Some(before) = store.find(key)?.and_then(|stored| stored.record.at(now)) else {
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
        // No two decisions about a record have one instant: it is their place on a page.
        let latest =
            store.decisions(key)?.first().map(|latest| latest.at.plus(Duration::from_millis(1)));
        let at = latest.map_or(now, |next| next.max(now));
        let audited = AuditEntry { at, key, action, by, before, after };
        store.decide(key, &change, body, &audited)?;
        self.written(key, &change, body);
        Ok(DecisionResult::Done)
    }
}

fn found(key: KeyId, record: Record, now: Timestamp) -> Option<FoundRecord> {
    Some(FoundRecord { key, replays: 0, record: record.at(now)? })
}

/// The numbers of the hour, in memory, and what is kept of them.
#[derive(Default)]
pub(super) struct Counted {
    state: RefCell<State>,
    /// When the last one was made.
    kept: Cell<Option<Timestamp>>,
}

#[derive(Default)]
struct State {
    /// What was counted since the last write, of [`Self::hour`].
    hour: u64,
    tally: Statistics,
}

impl Counted {
    /// Counts, and writes it down if that was not done for a while.
    pub(super) fn count(&self, store: &Store, count: impl FnOnce(&mut Statistics)) {
        let now = now();
        if self.state.borrow().hour != hour_of(now) {
            self.keep(store);
            self.state.borrow_mut().hour = hour_of(now);
        }
        count(&mut self.state.borrow_mut().tally);
        // Together with what counts, and not by a timer: one that is pending keeps the object awake, and
        // that is paid for (developers.cloudflare.com, durable-objects/platform/pricing).
        if self.kept.get().is_none_or(|kept| now >= kept.plus(FLUSH_EVERY)) {
            self.keep(store);
        }
    }

    /// Adds what was counted to the row of its hour. Numbers are no reason to fail.
    fn keep(&self, store: &Store) {
        let State { hour, tally } = &mut *self.state.borrow_mut();
        if tally.routes.is_empty() {
            return;
        }
        let kept = store.hour(*hour).and_then(|kept| {
            let mut whole = kept.unwrap_or_default();
            whole.merge(tally);
            store.keep_hour(*hour, &whole)
        });
        *tally = Statistics::default();
        self.kept.set(Some(now()));
        if let Err(error) = kept {
            bindings::error(&format!(
                "the statistics could not be kept: {}",
                bindings::text(&error)
            ));
        }
    }

    /// Every hour that is kept, with what has been counted since.
    fn hours(&self, store: &Store) -> Result<Vec<(u64, Statistics)>, JsValue> {
        let mut hours = store.hours()?;
        let state = self.state.borrow();
        match hours.last_mut() {
            Some((hour, tally)) if *hour == state.hour => tally.merge(&state.tally),
            _ if state.tally.routes.is_empty() => {}
            _ => hours.push((state.hour, state.tally.clone())),
        }
        Ok(hours)
    }
}

/// What a step counts, beside [`Counter::of`] it.
pub(super) fn tallied(tally: &mut Statistics, route: &str, count: Counter, key: KeyId, bytes: u64) {
    tally.add(route, count, 1);
    match count {
        Counter::Executed => tally.add(route, Counter::Bytes, bytes),
        Counter::Replayed | Counter::Joined => tally.replayed(key),
        _ => {}
    }
}
