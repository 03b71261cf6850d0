//! Rows whose time has come: replies go, tombstones stay for as long as they are due, and then they go too.

use std::cell::Cell;

use wasm_bindgen::JsValue;

use super::{COMPLETE, DELETE, Pieces, Row, Store, blob, due, number, read, rec, whole};
use crate::time::Timestamp;

/// One batch of a sweep.
pub(in crate::cloudflare) struct Batch {
    /// The last key id that was looked at.
    pub(in crate::cloudflare) last: JsValue,
    /// How many rows were looked at.
    pub(in crate::cloudflare) rows: u64,
    /// When the next of those that stay will go.
    pub(in crate::cloudflare) next: Option<Timestamp>,
    /// When about one in a hundred of them will have gone; none where they are few.
    pub(in crate::cloudflare) hundredth: Option<Timestamp>,
}

impl Store {
    /// Deletes what is gone among the next rows; `None` after the last one. The columns say what is due,
    /// so a row that cannot be read goes when its time has come and no sooner; where a tombstone would be
    /// left in its place, it stays.
    pub(in crate::cloudflare) fn sweep(
        &self,
        after: Option<&JsValue>,
        now: Timestamp,
    ) -> Result<Option<Batch>, JsValue> {
        let from = after.cloned().unwrap_or_else(|| blob(&[]));
        let at = now;
        let now = number(now);
        let Some(seen) = self.rows(SWEEP_NEXT, &[from.clone(), now.clone()])?.pop() else {
            return Ok(None);
        };
        let last = seen.last();
        if last.is_null() {
            return Ok(None);
        }
        let range = [from, last.clone(), now];
        let tombstone_due = Cell::new(None);
        let has = |rows: f64| rows > 0.0;
        // Each of these reads all of the batch again, and reads are paid for by the row.
        if has(seen.tombs()) || has(seen.gone()) {
            self.together(|| {
                if has(seen.tombs()) {
                    tombstone_due.set(self.bury_all(&range, at)?);
                }
                for row in self.rows_if(has(seen.pieces()), SWEEP_PIECES, &range)? {
                    self.drop_pieces(Pieces::new(row.piece(), row.pieces()))?;
                }
                self.rows_if(has(seen.gone()), SWEEP_ROWS, &range).map(|_| ())
            })?;
        }
        let instant = |column: JsValue| column.as_f64().map(whole).map(Timestamp);
        let next = [instant(seen.next()), tombstone_due.get()].into_iter().flatten().min();
        let rows = whole(seen.count());
        let hundredth = instant(seen.fifth()).filter(|_| rows == BATCH_ROWS);
        Ok(Some(Batch { last, rows, next, hundredth }))
    }

    /// Leaves tombstones in place of replies; says when the first of them will go.
    fn bury_all(&self, range: &[JsValue], now: Timestamp) -> Result<Option<Timestamp>, JsValue> {
        let mut next = None;
        for row in self.rows(SWEEP_TOMBS, range)? {
            next = [next, self.bury(&row, now)?].into_iter().flatten().min();
        }
        Ok(next)
    }

    /// Takes the reply out of a row and leaves its tombstone; says when that will go.
    fn bury(&self, row: &Row, now: Timestamp) -> Result<Option<Timestamp>, JsValue> {
        // Unreadable here is left alone: it is an error for whoever asks for the key.
        let Ok(record) = read(&row.rec()) else { return Ok(None) };
        self.drop_pieces(Pieces::new(row.piece(), row.pieces()))?;
        let Some(tombstone) = record.into_tombstone(now) else {
            // The tombstone is over too: the sweep came late.
            self.exec(DELETE, &[row.last()])?;
            return Ok(None);
        };
        let [due, tomb] = due(&tombstone);
        let zero = || JsValue::from(0);
        let values = [due, tomb, rec(&tombstone), JsValue::NULL, zero(), zero(), row.last()];
        self.exec(COMPLETE, &values)?;
        Ok(Some(tombstone.gone()))
    }
}

const BATCH_ROWS: u64 = 500;
// Key ids are digests, so each batch is a sample of the shard; and so is each fifth of it, which the
// milliseconds pick. The first to go of a hundred rows goes when about one in a hundred does.
const SWEEP_NEXT: &str = "SELECT max(k) AS last, count(*) AS rows, min(CASE WHEN due > ?2 THEN due END) AS next, \
    min(CASE WHEN due > ?2 AND due % 5 = 0 THEN due END) AS fifth, \
    max(due <= ?2 AND tomb = 1) AS tombs, max(due <= ?2 AND tomb = 0) AS gone, \
    max(due <= ?2 AND tomb = 0 AND pieces > 0) AS pieces \
    FROM (SELECT k, due, tomb, pieces FROM r WHERE k > ?1 ORDER BY k LIMIT 500)";
const SWEEP_TOMBS: &str = "SELECT k AS last, rec, piece, pieces FROM r \
    WHERE k > ?1 AND k <= ?2 AND due <= ?3 AND tomb = 1";
const SWEEP_PIECES: &str = "SELECT piece, pieces FROM r WHERE k > ?1 AND k <= ?2 AND due <= ?3 AND tomb = 0 AND pieces > 0";
const SWEEP_ROWS: &str = "DELETE FROM r WHERE k > ?1 AND k <= ?2 AND due <= ?3 AND tomb = 0";
