//! Rows whose time has come: replies are removed, tombstones stay for as long as they are due, and then they are
//! removed too.

use std::cell::Cell;

use wasm_bindgen::JsValue;

use super::bodies::Chunks;
use super::{COMPLETE, DELETE, Row, Store, blob, bytes, bytes_of, due, instant, read, whole};
use crate::cloudflare::error::Error;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// One batch of a sweep.
pub(in crate::cloudflare) struct Batch {
    /// The last key id that was looked at.
    pub(in crate::cloudflare) last: JsValue,
    /// How many rows were looked at.
    pub(in crate::cloudflare) rows: u64,
    /// When the next of the rows that stay is due.
    pub(in crate::cloudflare) next: Option<Timestamp>,
    /// When about one in a hundred of them is due; none where the rows are few.
    pub(in crate::cloudflare) hundredth: Option<Timestamp>,
}

impl Store {
    /// Deletes what is due among the next rows; `None` after the last one. The columns say what is due, so a row
    /// that cannot be read is deleted when its time has come and no sooner; where a tombstone would be left in
    /// its place, it stays.
    pub(in crate::cloudflare) fn sweep(
        &self,
        after: Option<&JsValue>,
        now: Timestamp,
    ) -> Result<Option<Batch>, Error> {
        let from = after.cloned().unwrap_or_else(|| blob(&[]));
        let Some(seen) = self.rows(SWEEP_NEXT, &[from.clone(), instant(now)])?.pop() else {
            return Ok(None);
        };
        let last = seen.key_id();
        if last.is_null() {
            return Ok(None);
        }
        let range = [from, last.clone(), instant(now)];
        let tombstone_due = Cell::new(None);
        let [tombstones, deletions] =
            [seen.has_tombstones_due(), seen.has_deletions_due()].map(|has| has > 0.0);
        // Each of these statements reads the whole batch again, and reads are paid for by the row.
        if tombstones || deletions {
            self.together(|| {
                if tombstones {
                    tombstone_due.set(self.leave_tombstones(&range, now)?);
                }
                if deletions {
                    self.delete_due(seen.chunks() > 0.0, &range)?;
                }
                Ok(())
            })?;
        }
        let instant = |column: JsValue| column.as_f64().map(whole).map(Timestamp);
        let next = [instant(seen.next_due()), tombstone_due.get()].into_iter().flatten().min();
        let rows = whole(seen.number());
        let hundredth = instant(seen.sampled_due()).filter(|_| rows == BATCH_ROWS);
        Ok(Some(Batch { last, rows, next, hundredth }))
    }

    fn delete_due(&self, have_chunks: bool, range: &[JsValue]) -> Result<(), Error> {
        if have_chunks {
            for row in self.rows(DELETIONS_WITH_CHUNKS, range)? {
                self.drop_chunks_of(&row)?;
            }
        }
        self.exec(DELETIONS, range)
    }

    /// Leaves tombstones in place of replies; says when the first of them is due.
    fn leave_tombstones(
        &self,
        range: &[JsValue],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let mut next = None;
        for row in self.rows(TOMBSTONES, range)? {
            next = [next, self.leave_tombstone(&row, now)?].into_iter().flatten().min();
        }
        Ok(next)
    }

    /// Takes the reply out of a row and leaves its tombstone; says when that is due.
    fn leave_tombstone(&self, row: &Row, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        // An unreadable row is left alone: it is an error for whoever asks for the key.
        let Ok(record) = read(&row.value()) else { return Ok(None) };
        self.drop_chunks_of(row)?;
        let Some(tombstone) = record.into_tombstone(now) else {
            // The sweep came so late that the tombstone is over too.
            self.exec(DELETE, &[row.key_id()])?;
            return Ok(None);
        };
        let [due, leaves_tombstone] = due(&tombstone);
        let zero = || JsValue::from(0);
        let values =
            [due, leaves_tombstone, bytes(&tombstone), JsValue::NULL, zero(), zero(), row.key_id()];
        self.exec(COMPLETE, &values)?;
        Ok(Some(tombstone.gone()))
    }

    /// Chunks name their key id, so numbers that are wrong delete no other key's chunks.
    fn drop_chunks_of(&self, row: &Row) -> Result<(), Error> {
        let id = bytes_of(&row.key_id()).and_then(|id| id.to_vec().try_into().ok());
        let chunks = Chunks { first: row.first_chunk(), count: row.chunks() };
        id.map_or(Ok(()), |id| self.drop_chunks(KeyId(id), chunks))
    }
}

const BATCH_ROWS: u64 = 500;
// Key ids are digests, so each batch is a sample of the shard; and so is each fifth of a batch, which the
// milliseconds pick. The first row of a hundred is due when about one in a hundred is.
const SWEEP_NEXT: &str = "SELECT max(key_id) AS key_id, count(*) AS number, \
    min(CASE WHEN due > ?2 THEN due END) AS next_due, \
    min(CASE WHEN due > ?2 AND due % 5 = 0 THEN due END) AS sampled_due, \
    max(due <= ?2 AND leaves_tombstone = 1) AS has_tombstones_due, \
    max(due <= ?2 AND leaves_tombstone = 0) AS has_deletions_due, \
    max(due <= ?2 AND leaves_tombstone = 0 AND chunks > 0) AS chunks \
    FROM (SELECT key_id, due, leaves_tombstone, chunks FROM records WHERE key_id > ?1 ORDER BY key_id LIMIT 500)";
const TOMBSTONES: &str = "SELECT key_id, record AS value, first_chunk, chunks FROM records \
    WHERE key_id > ?1 AND key_id <= ?2 AND due <= ?3 AND leaves_tombstone = 1";
const DELETIONS_WITH_CHUNKS: &str = "SELECT key_id, first_chunk, chunks FROM records \
    WHERE key_id > ?1 AND key_id <= ?2 AND due <= ?3 AND leaves_tombstone = 0 AND chunks > 0";
const DELETIONS: &str = "DELETE FROM records \
    WHERE key_id > ?1 AND key_id <= ?2 AND due <= ?3 AND leaves_tombstone = 0";
