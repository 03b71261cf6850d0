//! What operators read and write: pages of records, decisions, the numbers of each hour.
//!
//! There is no index beside the primary key: one would cost every payment a row written. A search reads
//! the whole shard instead, in batches, so that requests get their turn between them.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::{Row, Store, blob, bytes_of, number, read, whole};
use crate::lifecycle::record::Record;
use crate::lifecycle::step::Change;
use crate::operator::search::{AuditEntry, Position};
use crate::operator::statistics::{HOURS_KEPT, Statistics};
use crate::request::key::KeyId;
use crate::wire::{self, Unreadable};

/// Some of a shard's records.
pub(in crate::cloudflare) struct Batch {
    /// The last key id that was looked at.
    pub(in crate::cloudflare) last: JsValue,
    /// Those in it, or why one could not be read.
    pub(in crate::cloudflare) records: Vec<Result<(KeyId, Record), JsValue>>,
}

impl Store {
    pub(super) fn open_operator(&self) -> Result<(), JsValue> {
        self.exec(CREATE_HOURS, &[])?;
        self.exec(CREATE_AUDIT, &[])
    }

    /// The key's records in every scope, the key id's own first.
    pub(in crate::cloudflare) fn of_key(
        &self,
        key: KeyId,
    ) -> Result<Vec<(KeyId, Record)>, JsValue> {
        let [lowest, highest] = super::range(key);
        self.rows(READ_KEY, &[lowest, highest, blob(&key.0)])?.iter().map(found).collect()
    }

    /// The next records that contain a text, as every record contains its correlation id and its route;
    /// `None` after the last.
    pub(in crate::cloudflare) fn batch(
        &self,
        after: Option<&JsValue>,
        text: &str,
    ) -> Result<Option<Batch>, JsValue> {
        let from = after.cloned().unwrap_or_else(|| blob(&[]));
        let seen = self.rows(BATCH_END, std::slice::from_ref(&from))?.pop();
        let Some(last) = seen.map(|row| row.last()).filter(|last| !last.is_null()) else {
            return Ok(None);
        };
        let rows = self.rows(BATCH, &[from, last.clone(), blob(text.as_bytes())])?;
        Ok(Some(Batch { last, records: rows.iter().map(found).collect() }))
    }

    /// Carries out a decision and writes it down, both or neither.
    pub(in crate::cloudflare) fn decide(
        &self,
        key: KeyId,
        change: &Change,
        body: &Uint8Array,
        audited: &AuditEntry,
    ) -> Result<(), JsValue> {
        let stored = self.find(key)?;
        let entry = blob(&wire::write_decision(audited));
        self.together(|| {
            self.apply(key, stored.as_ref(), 0, change, body)?;
            self.exec(ADD_DECISION, &[number(audited.at), blob(&key.0), entry.clone()])
        })
    }

    /// Decisions, newest first.
    pub(in crate::cloudflare) fn audit(
        &self,
        after: Option<Position>,
        limit: u16,
    ) -> Result<Vec<AuditEntry>, JsValue> {
        let rows = match after {
            None => self.rows(READ_AUDIT, &[JsValue::from(limit)])?,
            Some(Position { at, key }) => {
                self.rows(READ_OLDER_AUDIT, &[number(at), blob(&key.0), JsValue::from(limit)])?
            }
        };
        audited(&rows)
    }

    /// The latest decisions about a record, newest first.
    pub(in crate::cloudflare) fn decisions(&self, key: KeyId) -> Result<Vec<AuditEntry>, JsValue> {
        audited(&self.rows(READ_DECISIONS, &[blob(&key.0)])?)
    }

    /// The numbers of the hours that are kept, the oldest first.
    pub(in crate::cloudflare) fn hours(&self) -> Result<Vec<(u64, Statistics)>, JsValue> {
        let rows = self.rows(READ_HOURS, &[])?;
        rows.iter().map(|row| Ok((whole(row.count()), tally(row)?))).collect()
    }

    /// The numbers of one hour.
    pub(in crate::cloudflare) fn hour(&self, hour: u64) -> Result<Option<Statistics>, JsValue> {
        self.rows(READ_HOUR, &[int(hour)])?.first().map(tally).transpose()
    }

    /// Keeps the numbers of an hour in place of what was kept of it, and drops those of long ago.
    pub(in crate::cloudflare) fn keep_hour(
        &self,
        hour: u64,
        tally: &Statistics,
    ) -> Result<(), JsValue> {
        self.exec(KEEP_HOUR, &[int(hour), blob(&wire::write_tally(tally))])?;
        self.exec(DROP_HOURS, &[int(hour.saturating_sub(HOURS_KEPT))])
    }
}

fn found(row: &Row) -> Result<(KeyId, Record), JsValue> {
    let id = bytes_of(&row.last()).map(|id| id.to_vec()).unwrap_or_default();
    let id = id.try_into().map_err(|_| JsValue::from_str("a stored key id is unreadable"))?;
    Ok((KeyId(id), read(&row.rec())?))
}

fn audited(rows: &[Row]) -> Result<Vec<AuditEntry>, JsValue> {
    let decision = |row: &Row| wire::read_decision(&column(row)?);
    rows.iter().map(decision).collect::<Result<_, _>>().map_err(unreadable)
}

fn tally(row: &Row) -> Result<Statistics, JsValue> {
    column(row).and_then(|row| wire::read_tally(&row)).map_err(unreadable)
}

fn column(row: &Row) -> Result<Vec<u8>, Unreadable> {
    bytes_of(&row.rec()).map(|bytes| bytes.to_vec()).ok_or(Unreadable("type"))
}

fn unreadable(Unreadable(at): Unreadable) -> JsValue {
    JsValue::from_str(&format!("what was stored for operators is unreadable: {at}"))
}

fn int(number: u64) -> JsValue {
    super::number(crate::time::Timestamp(number))
}

const CREATE_HOURS: &str =
    "CREATE TABLE IF NOT EXISTS h (hour INTEGER PRIMARY KEY, tally BLOB NOT NULL)";
const CREATE_AUDIT: &str = "CREATE TABLE IF NOT EXISTS a (n INTEGER PRIMARY KEY, at INTEGER NOT NULL, k BLOB NOT NULL, \
    entry BLOB NOT NULL)";
/// A key in more scopes than this is somebody's test, or an attack.
const READ_KEY: &str = "SELECT k AS last, rec FROM r WHERE k >= ?1 AND k <= ?2 \
    ORDER BY k <> ?3 LIMIT 200";
/// 500 rows of the usual size are read in about a millisecond.
const BATCH_END: &str =
    "SELECT max(k) AS last FROM (SELECT k FROM r WHERE k > ? ORDER BY k LIMIT 500)";
const BATCH: &str =
    "SELECT k AS last, rec FROM r WHERE k > ?1 AND k <= ?2 AND instr(rec, ?3) > 0 ORDER BY k";
const ADD_DECISION: &str = "INSERT INTO a (at, k, entry) VALUES (?, ?, ?)";
const READ_AUDIT: &str = "SELECT entry AS rec FROM a ORDER BY at DESC, k LIMIT ?";
const READ_OLDER_AUDIT: &str =
    "SELECT entry AS rec FROM a WHERE at < ?1 OR (at = ?1 AND k > ?2) ORDER BY at DESC, k LIMIT ?3";
/// Reads all of the table: people make its rows, so it stays small.
const READ_DECISIONS: &str = "SELECT entry AS rec FROM a WHERE k = ? ORDER BY n DESC LIMIT 20";
const READ_HOURS: &str = "SELECT hour AS rows, tally AS rec FROM h ORDER BY hour";
const READ_HOUR: &str = "SELECT hour AS rows, tally AS rec FROM h WHERE hour = ?";
const KEEP_HOUR: &str = "INSERT INTO h (hour, tally) VALUES (?, ?) ON CONFLICT (hour) DO UPDATE SET tally = excluded.tally";
const DROP_HOURS: &str = "DELETE FROM h WHERE hour < ?";
