//! The rows of one Ledger. All of its SQL is here and in the modules of this one.
//!
//! The table `records` has one row per key id: the record ([`crate::encoding`]), and the reply's body where that
//! fits. A claim inserts the row, a settle updates it, the sweep deletes it: three rows written over a key's
//! life. Larger bodies lie in `body_chunks`, in chunks of 1 MiB: only rows up to 2 MB are documented to work
//! (developers.cloudflare.com, durable-objects/platform/limits), and a larger one fails in production while the
//! local runtime takes it.
//!
//! `WITHOUT ROWID` keeps an INSERT at one row written: a rowid table with a BLOB key has a hidden index.
//!
//! The records of one key in all scopes lie side by side. A claim reads a few of them to find the same operation
//! under another credential. A key that has more records than that has each of them in an index by operation,
//! which costs two rows written more, and no other key has to pay for it.

mod bodies;
mod event_rows;
mod operator;
mod sweep;

use std::cell::Cell;
use std::panic::AssertUnwindSafe;

use js_sys::{ArrayBuffer, Uint8Array};
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use worker::{SqlStorage, Storage};

pub(super) use self::bodies::{BodyPlace, CHUNK_BYTES, ChunkedBody};
use self::bodies::{Chunks, chunks_of};
pub(super) use self::event_rows::EventRows;
use crate::cloudflare::bindings;
use crate::cloudflare::error::Error;
use crate::encoding::{Unreadable, read_row, write_row};
use crate::lifecycle::lease::StatusSecret;
use crate::lifecycle::ledger;
use crate::lifecycle::record::{Record, SweepAction};
use crate::lifecycle::step::Change;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// The database of one shard.
pub(super) struct Store {
    storage: bindings::SyncStorage,
    sql: SqlStorage,
    /// Ids of chunks from here on are new. A caller to whom a reply is being sent finds the reply's chunks or
    /// none, and never those of another reply.
    next_chunk: Cell<f64>,
}

/// A row that was found, and where its body lies.
pub(super) type StoredRow = ledger::Row<StoredBody>;

/// What a row says of its reply's body.
pub(in crate::cloudflare) struct StoredBody {
    /// The body, where it was read with the row.
    bytes: JsValue,
    chunks: Chunks,
}

#[wasm_bindgen]
extern "C" {
    /// A row as the cursor gives it: one property per column.
    type Row;
    #[wasm_bindgen(method, getter)]
    fn is_own(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn key_id(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn value(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn body(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn first_chunk(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn chunks(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn number(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn next_due(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn sampled_due(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn has_tombstones_due(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn has_deletions_due(this: &Row) -> f64;
}

impl Store {
    pub(super) fn open(storage: &Storage) -> Result<Self, Error> {
        let (sql, storage) = (storage.sql(), JsValue::from(storage.as_raw()).unchecked_into());
        let store = Self { sql, storage, next_chunk: Cell::default() };
        if !store.rows(FIND_OLD_TABLE, &[])?.is_empty() {
            let why =
                "this data was written before the first release and cannot be read: delete it";
            return Err(Error::Stored(why.to_owned()));
        }
        // Costs no row once the tables are there.
        for create in [CREATE_RECORDS, CREATE_OPERATIONS, CREATE_BODY_CHUNKS, CREATE_SETTINGS] {
            store.exec(create, &[])?;
        }
        store.open_operator()?;
        Ok(store)
    }

    /// The number of shards that this data was first used with, if it has been used.
    pub(super) fn shards(&self) -> Result<Option<u16>, Error> {
        let Some(row) = self.rows(READ_SHARDS, &[])?.pop() else { return Ok(None) };
        let shards = u16::try_from(whole(row.number())).ok().filter(|shards| *shards > 0);
        let unreadable = || Error::Stored("the stored number of shards is unreadable".to_owned());
        shards.map(Some).ok_or_else(unreadable)
    }

    /// Keeps the number of shards, unless one is kept already; returns the one that is kept then.
    pub(super) fn remember_shards(&self, shards: u16) -> Result<u16, Error> {
        self.exec(KEEP_SHARDS, &[JsValue::from(shards)])?;
        Ok(self.shards()?.unwrap_or(shards))
    }

    /// The key id's row, without a body that lies in it.
    pub(super) fn find(&self, key_id: KeyId) -> Result<Option<StoredRow>, Error> {
        self.rows(FIND, &[blob(&key_id.0)])?.pop().map(|row| stored(&row)).transpose()
    }

    /// The row, in whichever scope of the key, whose status address has this secret, and its key id.
    pub(super) fn find_status(
        &self,
        key_id: KeyId,
        secret: &StatusSecret,
    ) -> Result<Option<(KeyId, StoredRow)>, Error> {
        let [lowest, highest] = range(key_id);
        // A part is enough to leave nearly all rows out, and the time that the database takes to compare tells nothing of
        // the rest.
        let part: Vec<u8> = secret.0.iter().take(SECRET_SEARCHED).copied().collect();
        for row in self.rows(FIND_STATUS, &[lowest, highest, blob(&part)])? {
            let stored = stored(&row)?;
            if stored.record.metadata.status.is_some_and(|status| status.secret.is(secret)) {
                return Ok(Some((operator::key_id(&row)?, stored)));
            }
        }
        Ok(None)
    }

    /// Writes what was decided. `found` is the row that was found; `records_of_key` is how many records a claim
    /// counted. Several statements are written together or not at all: a throw alone would not take back what
    /// was written before it.
    fn apply(
        &self,
        key_id: KeyId,
        found: Option<&StoredRow>,
        records_of_key: usize,
        change: &Change,
        body: &Uint8Array,
    ) -> Result<(), Error> {
        let old = found.map(|row| row.body.chunks).unwrap_or_default();
        match change {
            Change::Keep => Ok(()),
            Change::Update(record) => {
                let [due, tombstone] = due(record);
                self.exec(UPDATE, &[due, tombstone, bytes(record), blob(&key_id.0)])
            }
            Change::Insert(record) if old.count > 0.0 || records_of_key == FEW_RECORDS => self
                .together(|| {
                    self.drop_chunks(key_id, old)?;
                    if records_of_key == FEW_RECORDS {
                        let [lowest, highest] = range(key_id);
                        self.exec(INDEX_KEY, &[lowest, highest])?;
                    }
                    self.insert(key_id, records_of_key, record)
                }),
            Change::Insert(record) => self.insert(key_id, records_of_key, record),
            Change::Complete(record) if old.count > 0.0 || body.byte_length() > CHUNK_BYTES => self
                .together(|| {
                    self.drop_chunks(key_id, old)?;
                    self.complete(key_id, record, body)
                }),
            Change::Complete(record) => self.complete(key_id, record, body),
            Change::Delete => self.together(|| {
                self.drop_chunks(key_id, old)?;
                self.exec(DELETE, &[blob(&key_id.0)])
            }),
        }
    }

    fn insert(&self, key_id: KeyId, records_of_key: usize, record: &Record) -> Result<(), Error> {
        let [due, tombstone] = due(record);
        let operation = blob(&record.metadata.operation.0);
        let indexed = JsValue::from(u8::from(records_of_key >= FEW_RECORDS));
        let values = [blob(&key_id.0), operation, indexed, due, tombstone, bytes(record)];
        self.exec(INSERT, &values)
    }

    fn complete(&self, key_id: KeyId, record: &Record, body: &Uint8Array) -> Result<(), Error> {
        let chunks = self.add_chunks(key_id, body)?;
        let in_row =
            if chunks.count > 0.0 || body.byte_length() == 0 { JsValue::NULL } else { body.into() };
        let [due, tombstone] = due(record);
        let (first, count) = (chunks.first.into(), chunks.count.into());
        let values = [due, tombstone, bytes(record), in_row, first, count, blob(&key_id.0)];
        self.exec(COMPLETE, &values)
    }

    fn together(&self, work: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        // A panic in there is an exception to the runtime, which takes everything back.
        let work = AssertUnwindSafe(work);
        self.storage.transaction_sync(&mut || Ok((*work)()?))?;
        Ok(())
    }

    fn exec(&self, query: &str, values: &[JsValue]) -> Result<(), Error> {
        self.sql.exec_raw(query, values.to_vec()).map(drop).map_err(Into::into)
    }

    fn rows(&self, query: &str, values: &[JsValue]) -> Result<Vec<Row>, Error> {
        let rows = self.sql.exec_raw(query, values.to_vec())?;
        rows.map(|row| row.map(JsValue::unchecked_into).map_err(Into::into)).collect()
    }
}

fn stored(row: &Row) -> Result<StoredRow, Error> {
    let chunks = Chunks { first: row.first_chunk(), count: row.chunks() };
    let record = read(&row.value())?;
    if whole(chunks.count) != chunks_of(&record) {
        return Err(Error::Stored("a stored record is unreadable: chunks".to_owned()));
    }
    Ok(StoredRow { record, body: StoredBody { bytes: row.body(), chunks } })
}

/// Unreadable is an error for that key, and never "absent": that would run it again.
fn read(record: &JsValue) -> Result<Record, Error> {
    value(record).map_err(|error| Error::Stored(format!("a stored record is unreadable: {error}")))
}

fn value<T: DeserializeOwned>(column: &JsValue) -> Result<T, Unreadable> {
    read_row(&bytes_of(column).ok_or(Unreadable::NotBytes)?.to_vec())
}

/// A column's bytes; none where it holds anything else: a view of a number would be as many zeroes, or a throw
/// that Wasm does not survive.
fn bytes_of(column: &JsValue) -> Option<Uint8Array> {
    column.dyn_ref::<ArrayBuffer>().map(|bytes| Uint8Array::new(bytes))
}

/// The lowest and the highest key id of one key in all scopes.
fn range(key_id: KeyId) -> [JsValue; 2] {
    [0, u8::MAX].map(|fill| {
        let mut id = [fill; 32];
        for (to, from) in id.iter_mut().zip(key_id.key_half()) {
            *to = from;
        }
        blob(&id)
    })
}

fn blob(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

fn bytes(record: &Record) -> JsValue {
    blob(&write_row(record))
}

/// When the sweep comes for the row, and whether it leaves a tombstone then.
fn due(record: &Record) -> [JsValue; 2] {
    match record.due() {
        SweepAction::Delete(at) => [instant(at), JsValue::from(0)],
        SweepAction::Tombstone(at) => [instant(at), JsValue::from(1)],
    }
}

fn instant(at: Timestamp) -> JsValue {
    JsValue::from_f64(float(at.0))
}

/// Integers cross as JavaScript numbers, exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and instants")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// So many bytes of a status address's secret are searched for.
const SECRET_SEARCHED: usize = 4;
/// A key with more records than this has each of them in the index by operation.
const FEW_RECORDS: usize = 32;

const FIND_OLD_TABLE: &str =
    "SELECT name AS value FROM sqlite_schema WHERE type = 'table' AND name = 'r'";
const CREATE_RECORDS: &str = "CREATE TABLE IF NOT EXISTS records (key_id BLOB PRIMARY KEY, operation BLOB NOT NULL, \
    indexed INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL, leaves_tombstone INTEGER NOT NULL, \
    first_chunk INTEGER NOT NULL, chunks INTEGER NOT NULL, record BLOB NOT NULL, body BLOB) WITHOUT ROWID";
const CREATE_OPERATIONS: &str =
    "CREATE INDEX IF NOT EXISTS operations ON records (operation) WHERE indexed = 1";
const CREATE_BODY_CHUNKS: &str = "CREATE TABLE IF NOT EXISTS body_chunks \
    (id INTEGER PRIMARY KEY, key_id BLOB NOT NULL, bytes BLOB NOT NULL)";
const CREATE_SETTINGS: &str = "CREATE TABLE IF NOT EXISTS settings (id INTEGER PRIMARY KEY CHECK (id = 1), shards INTEGER NOT NULL)";
const READ_SHARDS: &str = "SELECT shards AS number FROM settings";
const KEEP_SHARDS: &str = "INSERT INTO settings (id, shards) VALUES (1, ?) ON CONFLICT DO NOTHING";
// A larger body is read when there is room for it. There are as many rows as the key has scopes.
const FIND_STATUS: &str = concat!(
    "SELECT key_id, record AS value, CASE WHEN length(body) <= ",
    small!(),
    " THEN body END AS body, first_chunk, chunks FROM records \
    WHERE key_id >= ?1 AND key_id <= ?2 AND instr(record, ?3) > 0"
);
const FIND: &str = "SELECT record AS value, first_chunk, chunks FROM records WHERE key_id = ?";
const INDEX_KEY: &str =
    "UPDATE records SET indexed = 1 WHERE key_id >= ? AND key_id <= ? AND indexed = 0";
const INSERT: &str = "INSERT INTO records (key_id, operation, indexed, due, leaves_tombstone, first_chunk, chunks, record) \
    VALUES (?, ?, ?, ?, ?, 0, 0, ?) ON CONFLICT (key_id) DO UPDATE SET operation = excluded.operation, \
    due = excluded.due, leaves_tombstone = excluded.leaves_tombstone, first_chunk = 0, chunks = 0, \
    record = excluded.record, body = NULL";
const UPDATE: &str =
    "UPDATE records SET due = ?, leaves_tombstone = ?, record = ? WHERE key_id = ?";
const COMPLETE: &str = "UPDATE records SET due = ?, leaves_tombstone = ?, record = ?, body = ?, first_chunk = ?, chunks = ? \
    WHERE key_id = ?";
const DELETE: &str = "DELETE FROM records WHERE key_id = ?";
