//! What operators read and write: pages of records, decisions, the numbers of each hour.
//!
//! There is no index beside the primary key: an index would cost every payment a row written. A search reads the
//! whole shard instead, in batches, so that other requests get their turn between them.

use js_sys::Uint8Array;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;

use super::{Row, Store, blob, bytes_of, float, instant, range, read, value, whole};
use crate::cloudflare::error::Error;
use crate::encoding::write_row;
use crate::lifecycle::record::Record;
use crate::lifecycle::step::Change;
use crate::operator::search::{AuditEntry, Position, RerunEntry};
use crate::operator::statistics::{HOURS_KEPT, Statistics};
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// Some of a shard's records.
pub(in crate::cloudflare) struct Batch {
    /// The last key id that was looked at.
    pub(in crate::cloudflare) last: JsValue,
    /// The records in it, or why one could not be read.
    pub(in crate::cloudflare) records: Vec<Result<(KeyId, Record), Error>>,
}

impl Store {
    pub(super) fn open_operator(&self) -> Result<(), Error> {
        self.exec(CREATE_HOURS, &[])?;
        self.exec(CREATE_AUDIT, &[])?;
        self.exec(CREATE_RERUNS, &[])
    }

    /// The key's records in every scope, the key id's own first.
    pub(in crate::cloudflare) fn records_of_key(
        &self,
        key_id: KeyId,
    ) -> Result<Vec<(KeyId, Record)>, Error> {
        let [lowest, highest] = range(key_id);
        self.rows(READ_KEY, &[lowest, highest, blob(&key_id.0)])?.iter().map(found).collect()
    }

    /// The next records that contain a text, as every record contains its correlation id and its route; `None`
    /// after the last.
    pub(in crate::cloudflare) fn batch(
        &self,
        after: Option<&JsValue>,
        text: &str,
    ) -> Result<Option<Batch>, Error> {
        let from = after.cloned().unwrap_or_else(|| blob(&[]));
        let seen = self.rows(BATCH_END, std::slice::from_ref(&from))?.pop();
        let Some(last) = seen.map(|row| row.key_id()).filter(|last| !last.is_null()) else {
            return Ok(None);
        };
        let rows = self.rows(BATCH, &[from, last.clone(), blob(text.as_bytes())])?;
        Ok(Some(Batch { last, records: rows.iter().map(found).collect() }))
    }

    /// Carries out a decision and writes it down, both or neither.
    pub(in crate::cloudflare) fn resolve(
        &self,
        key_id: KeyId,
        change: &Change,
        body: &Uint8Array,
        audited: &AuditEntry,
    ) -> Result<(), Error> {
        let stored = self.find(key_id)?;
        let decision = blob(&write_row(audited));
        self.together(|| {
            self.apply(key_id, stored.as_ref(), 0, change, body)?;
            let values = [instant(audited.at), blob(&key_id.0), decision.clone()];
            self.exec(ADD_DECISION, &values)
        })
    }

    /// Decisions, newest first.
    pub(in crate::cloudflare) fn audit(
        &self,
        after: Option<Position>,
        limit: u16,
    ) -> Result<Vec<AuditEntry>, Error> {
        let rows = match after {
            None => self.rows(READ_AUDIT, &[JsValue::from(limit)])?,
            Some(Position { at, key }) => {
                self.rows(READ_OLDER_AUDIT, &[instant(at), blob(&key.0), JsValue::from(limit)])?
            }
        };
        rows.iter().map(kept).collect()
    }

    /// The latest decisions about a record, newest first.
    pub(in crate::cloudflare) fn decisions(&self, key_id: KeyId) -> Result<Vec<AuditEntry>, Error> {
        self.rows(READ_DECISIONS, &[blob(&key_id.0)])?.iter().map(kept).collect()
    }

    /// When the latest decision about a key was made.
    pub(in crate::cloudflare) fn latest_decision(
        &self,
        key_id: KeyId,
    ) -> Result<Option<Timestamp>, Error> {
        let latest = self.rows(LATEST_DECISION, &[blob(&key_id.0)])?.pop();
        Ok(latest.map(|row| Timestamp(whole(row.number()))).filter(|at| at.0 > 0))
    }

    /// Writes down that a slot is run again.
    pub(in crate::cloudflare) fn add_rerun(&self, rerun: &RerunEntry) -> Result<(), Error> {
        let values = [instant(rerun.at), blob(&rerun.key.0), blob(&write_row(rerun))];
        self.exec(ADD_RERUN, &values)
    }

    /// Slots that were run again, newest first.
    pub(in crate::cloudflare) fn reruns(
        &self,
        after: Option<Position>,
        limit: u16,
    ) -> Result<Vec<RerunEntry>, Error> {
        let first = Position { at: Timestamp(1 << 53), key: KeyId([0; 32]) };
        let Position { at, key } = after.unwrap_or(first);
        let rows = self.rows(READ_RERUNS, &[instant(at), blob(&key.0), JsValue::from(limit)])?;
        rows.iter().map(kept).collect()
    }

    /// The numbers of the hours that are kept, the oldest first.
    pub(in crate::cloudflare) fn hours(&self) -> Result<Vec<(u64, Statistics)>, Error> {
        let rows = self.rows(READ_HOURS, &[])?;
        rows.iter().map(|row| Ok((whole(row.number()), kept(row)?))).collect()
    }

    /// The numbers of one hour.
    pub(in crate::cloudflare) fn hour(&self, hour: u64) -> Result<Option<Statistics>, Error> {
        self.rows(READ_HOUR, &[float(hour).into()])?.first().map(kept).transpose()
    }

    /// Keeps the numbers of an hour in place of those that were kept of it, and drops those of long ago.
    pub(in crate::cloudflare) fn keep_hour(
        &self,
        hour: u64,
        statistics: &Statistics,
    ) -> Result<(), Error> {
        self.exec(KEEP_HOUR, &[float(hour).into(), blob(&write_row(statistics))])?;
        self.exec(DROP_HOURS, &[float(hour.saturating_sub(HOURS_KEPT)).into()])
    }
}

fn found(row: &Row) -> Result<(KeyId, Record), Error> {
    Ok((key_id(row)?, read(&row.value())?))
}

pub(super) fn key_id(row: &Row) -> Result<KeyId, Error> {
    let id = bytes_of(&row.key_id()).map(|id| id.to_vec()).unwrap_or_default();
    let id = id.try_into();
    id.map(KeyId).map_err(|_| Error::Stored("a stored key id is unreadable".to_owned()))
}

fn kept<T: DeserializeOwned>(row: &Row) -> Result<T, Error> {
    value(&row.value()).map_err(|error| {
        Error::Stored(format!("what was stored for operators is unreadable: {error}"))
    })
}

const CREATE_HOURS: &str =
    "CREATE TABLE IF NOT EXISTS hours (hour INTEGER PRIMARY KEY, statistics BLOB NOT NULL)";
const CREATE_AUDIT: &str = "CREATE TABLE IF NOT EXISTS audit (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, \
    key_id BLOB NOT NULL, decision BLOB NOT NULL)";
const CREATE_RERUNS: &str = "CREATE TABLE IF NOT EXISTS reruns (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, \
    key_id BLOB NOT NULL, rerun BLOB NOT NULL)";
/// A key in more scopes than this belongs to a test, or to an attack.
const READ_KEY: &str = "SELECT key_id, record AS value FROM records WHERE key_id >= ?1 AND key_id <= ?2 \
    ORDER BY key_id <> ?3 LIMIT 200";
/// 500 rows of the usual size are read in about a millisecond.
const BATCH_END: &str = "SELECT max(key_id) AS key_id FROM \
    (SELECT key_id FROM records WHERE key_id > ? ORDER BY key_id LIMIT 500)";
const BATCH: &str = "SELECT key_id, record AS value FROM records \
    WHERE key_id > ?1 AND key_id <= ?2 AND instr(record, ?3) > 0 ORDER BY key_id";
const ADD_DECISION: &str = "INSERT INTO audit (at, key_id, decision) VALUES (?, ?, ?)";
/// Reads the whole tables, as [`READ_DECISIONS`] does.
const LATEST_DECISION: &str = "SELECT ifnull(max(at), 0) AS number FROM \
    (SELECT at, key_id FROM audit UNION ALL SELECT at, key_id FROM reruns) WHERE key_id = ?";
const ADD_RERUN: &str = "INSERT INTO reruns (at, key_id, rerun) VALUES (?, ?, ?)";
const READ_RERUNS: &str = "SELECT rerun AS value FROM reruns \
    WHERE at < ?1 OR (at = ?1 AND key_id > ?2) ORDER BY at DESC, key_id LIMIT ?3";
const READ_AUDIT: &str = "SELECT decision AS value FROM audit ORDER BY at DESC, key_id LIMIT ?";
const READ_OLDER_AUDIT: &str = "SELECT decision AS value FROM audit \
    WHERE at < ?1 OR (at = ?1 AND key_id > ?2) ORDER BY at DESC, key_id LIMIT ?3";
/// Reads the whole table: its rows are made by people, so it stays small.
const READ_DECISIONS: &str =
    "SELECT decision AS value FROM audit WHERE key_id = ? ORDER BY number DESC LIMIT 20";
const READ_HOURS: &str = "SELECT hour AS number, statistics AS value FROM hours ORDER BY hour";
const READ_HOUR: &str = "SELECT hour AS number, statistics AS value FROM hours WHERE hour = ?";
const KEEP_HOUR: &str = "INSERT INTO hours (hour, statistics) VALUES (?, ?) \
    ON CONFLICT (hour) DO UPDATE SET statistics = excluded.statistics";
const DROP_HOURS: &str = "DELETE FROM hours WHERE hour < ?";
