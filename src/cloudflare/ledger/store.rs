//! The rows of one Ledger. All of its SQL is here and in the modules of this one.
//!
//! `r` has one row per key id: the record as [`crate::wire`] writes it, and the reply's body where that
//! fits. A claim inserts it, a settle updates it, the sweep deletes it: three rows written over a key's
//! life. Larger bodies lie in `c`, in pieces of 1 MiB: only rows up to 2 MB are documented to work
//! (developers.cloudflare.com, durable-objects/platform/limits), and a larger one fails in production
//! while the local runtime takes it.
//!
//! `WITHOUT ROWID` keeps an INSERT at one row written: a rowid table with a BLOB key has a hidden index.
//!
//! The records of one key in all scopes lie side by side. A claim looks at a few of them for the same
//! operation under another credential. Where there are more, they are a *crowd*: each row of it is in an
//! index by operation, which costs two rows written more, and nobody else has to pay for it.

mod bodies;
mod operator;
mod sweep;

use std::cell::Cell;
use std::panic::AssertUnwindSafe;

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use worker::{SqlStorage, Storage};

use self::bodies::pieces_of;
pub(super) use self::bodies::{Lies, PIECE, Pieces};
use crate::cloudflare::bindings;
use crate::lifecycle::record::{Record, SweepAction};
use crate::lifecycle::step::Change;
use crate::request::fingerprint::OperationId;
use crate::request::key::KeyId;
use crate::time::Timestamp;
use crate::wire::{self, Unreadable};

/// The database of one shard.
pub(super) struct Store {
    storage: bindings::SyncStorage,
    sql: SqlStorage,
    /// Ids of pieces from here on are new. Whoever is being sent a reply finds its pieces or none, and
    /// never those of another one.
    next_piece: Cell<f64>,
}

/// A row that was found.
pub(super) struct Stored {
    /// What it says.
    pub(super) record: Record,
    body: JsValue,
    pieces: Pieces,
}

/// Records of the same operation under other key ids, each as far as it can be read.
pub(super) type Others = Vec<Result<Record, JsValue>>;

/// What a claim finds.
pub(super) struct Near {
    /// The key id's own row, with its body.
    pub(super) stored: Option<Stored>,
    /// The same operation under other key ids.
    pub(super) kindred: Others,
    /// How many rows of the same key there are, as far as they were counted.
    pub(super) around: usize,
}

#[wasm_bindgen]
extern "C" {
    /// A row as the cursor gives it: one property per column.
    type Row;
    #[wasm_bindgen(method, getter)]
    fn own(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn rec(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn body(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn piece(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn pieces(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn last(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = "rows")]
    fn count(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn next(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn fifth(this: &Row) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn tombs(this: &Row) -> f64;
    #[wasm_bindgen(method, getter)]
    fn gone(this: &Row) -> f64;
}

impl Store {
    pub(super) fn open(storage: &Storage) -> Result<Self, JsValue> {
        let (sql, storage) = (storage.sql(), JsValue::from(storage.as_raw()).unchecked_into());
        let store = Self { sql, storage, next_piece: Cell::default() };
        // Costs no row once the tables are there.
        store.exec(CREATE_ROWS, &[])?;
        store.exec(CREATE_CROWD, &[])?;
        store.exec(CREATE_PIECES, &[])?;
        store.exec(CREATE_SHARDS, &[])?;
        store.open_operator()?;
        Ok(store)
    }

    /// The number of shards that this data was first used with, if it has been used.
    pub(super) fn shards(&self) -> Result<Option<u16>, JsValue> {
        let Some(row) = self.rows(READ_SHARDS, &[])?.pop() else { return Ok(None) };
        let shards = u16::try_from(whole(row.count())).ok().filter(|shards| *shards > 0);
        shards
            .map(Some)
            .ok_or_else(|| JsValue::from_str("the stored number of shards is unreadable"))
    }

    /// Keeps the number of shards, unless one is kept already; answers the one that is kept then.
    pub(super) fn remember_shards(&self, shards: u16) -> Result<u16, JsValue> {
        self.exec(KEEP_SHARDS, &[JsValue::from(shards)])?;
        Ok(self.shards()?.unwrap_or(shards))
    }

    /// The key id's row, without a body that lies in it.
    pub(super) fn find(&self, key: KeyId) -> Result<Option<Stored>, JsValue> {
        self.rows(FIND, &[blob(&key.0)])?.pop().map(|row| Stored::read(&row)).transpose()
    }

    /// The key id's row with its body.
    pub(super) fn find_with_body(&self, key: KeyId) -> Result<Option<Stored>, JsValue> {
        self.rows(FIND_WITH_BODY, &[blob(&key.0)])?.pop().map(|row| Stored::read(&row)).transpose()
    }

    /// The key id's row with its body, and, where asked for, those of the same operation under other key
    /// ids that may be live.
    pub(super) fn find_near(
        &self,
        key: KeyId,
        kin: Option<OperationId>,
        now: Timestamp,
    ) -> Result<Near, JsValue> {
        let own = blob(&key.0);
        let [lowest, highest] = range(key);
        let wanted = kin.map_or(JsValue::NULL, |kin| blob(&kin.0));
        let values = [own.clone(), lowest.clone(), highest.clone(), wanted.clone()];
        let mut rows = self.rows(FIND_NEAR, &values)?;
        let around = rows.len();
        if around > CROWD {
            rows = self.rows(FIND_WITH_BODY, std::slice::from_ref(&own))?;
            if kin.is_some() {
                let values = [wanted, lowest, highest, own, number(now)];
                rows.extend(self.rows(FIND_IN_CROWD, &values)?);
            }
        }
        let (mut stored, mut kindred) = (None, Vec::new());
        for row in rows {
            if row.own() > 0.0 {
                stored = Some(Stored::read(&row)?);
            } else if !row.rec().is_null() {
                kindred.push(read(&row.rec()));
            }
        }
        Ok(Near { stored, kindred, around })
    }

    /// Writes what a step decided; `around` is what a claim counted. Several statements stand or fall
    /// together: a throw alone would not take back what was written before it.
    pub(super) fn apply(
        &self,
        key: KeyId,
        stored: Option<&Stored>,
        around: usize,
        change: &Change,
        body: &Uint8Array,
    ) -> Result<(), JsValue> {
        let old = stored.map(|stored| stored.pieces).unwrap_or_default();
        match change {
            Change::Keep => Ok(()),
            Change::Update(record) => {
                let [due, tomb] = due(record);
                self.exec(UPDATE, &[due, tomb, rec(record), blob(&key.0)])
            }
            Change::Insert(record) if old.count > 0.0 || around == CROWD => self.together(|| {
                self.drop_pieces(old)?;
                if around == CROWD {
                    let [lowest, highest] = range(key);
                    self.exec(MAKE_CROWD, &[lowest, highest])?;
                }
                self.insert(key, around, record)
            }),
            Change::Insert(record) => self.insert(key, around, record),
            Change::Complete(record) if old.count > 0.0 || body.byte_length() > PIECE => self
                .together(|| {
                    self.drop_pieces(old)?;
                    self.complete(key, record, body)
                }),
            Change::Complete(record) => self.complete(key, record, body),
            Change::Delete => self.together(|| {
                self.drop_pieces(old)?;
                self.exec(DELETE, &[blob(&key.0)])
            }),
        }
    }

    fn insert(&self, key: KeyId, around: usize, record: &Record) -> Result<(), JsValue> {
        let [due, tomb] = due(record);
        let (kin, crowd) =
            (blob(&record.metadata.operation.0), JsValue::from(u8::from(around >= CROWD)));
        self.exec(INSERT, &[blob(&key.0), kin, crowd, due, tomb, rec(record)])
    }

    fn complete(&self, key: KeyId, record: &Record, body: &Uint8Array) -> Result<(), JsValue> {
        let pieces = self.add_pieces(body)?;
        let inline =
            if pieces.count > 0.0 || body.byte_length() == 0 { JsValue::NULL } else { body.into() };
        let [due, tomb] = due(record);
        let (first, count) = (pieces.first.into(), pieces.count.into());
        let values = [due, tomb, rec(record), inline, first, count, blob(&key.0)];
        self.exec(COMPLETE, &values)
    }

    fn together(&self, work: impl Fn() -> Result<(), JsValue>) -> Result<(), JsValue> {
        // A panic in there is an exception to the runtime, which takes everything back.
        let work = AssertUnwindSafe(work);
        self.storage.transaction_sync(&mut || (*work)()).map(|_| ())
    }

    fn exec(&self, query: &str, values: &[JsValue]) -> Result<(), JsValue> {
        self.sql.exec_raw(query, values.to_vec()).map(drop).map_err(Into::into)
    }

    fn rows_if(&self, are: bool, query: &str, values: &[JsValue]) -> Result<Vec<Row>, JsValue> {
        if are { self.rows(query, values) } else { Ok(Vec::new()) }
    }

    fn rows(&self, query: &str, values: &[JsValue]) -> Result<Vec<Row>, JsValue> {
        let rows = self.sql.exec_raw(query, values.to_vec())?;
        rows.map(|row| row.map(JsValue::unchecked_into).map_err(Into::into)).collect()
    }
}

impl Stored {
    fn read(row: &Row) -> Result<Self, JsValue> {
        let pieces = Pieces::new(row.piece(), row.pieces());
        let record = read(&row.rec())?;
        // Pieces are dropped by these columns: a wrong number would reach into another key's body.
        if whole(pieces.count) != pieces_of(&record) {
            return Err(JsValue::from_str("a stored record is unreadable: pieces"));
        }
        Ok(Self { record, body: row.body(), pieces })
    }
}

/// Unreadable is an error for that key, and never "absent": that would run it again.
fn read(rec: &JsValue) -> Result<Record, JsValue> {
    let row = bytes_of(rec).ok_or(Unreadable("type"));
    row.and_then(|row| wire::read_record(&row.to_vec())).map_err(|Unreadable(at)| {
        JsValue::from_str(&format!("a stored record is unreadable: {at}"))
    })
}

/// A column's bytes; none where it holds anything else: a view of a number would be as many zeroes, or a
/// throw that Wasm does not survive.
fn bytes_of(column: &JsValue) -> Option<Uint8Array> {
    column.dyn_ref::<ArrayBuffer>().map(|bytes| Uint8Array::new(bytes))
}

/// The key ids of one key in all scopes.
fn range(key: KeyId) -> [JsValue; 2] {
    [0, u8::MAX].map(|fill| {
        let mut id = [fill; 32];
        for (to, from) in id.iter_mut().zip(key.key_half()) {
            *to = from;
        }
        blob(&id)
    })
}

fn blob(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

fn rec(record: &Record) -> JsValue {
    blob(&wire::write_record(record))
}

/// When the sweep comes for the row, and whether it takes out the reply only.
fn due(record: &Record) -> [JsValue; 2] {
    match record.due() {
        SweepAction::Delete(at) => [number(at), JsValue::from(0)],
        SweepAction::Tombstone(at) => [number(at), JsValue::from(1)],
    }
}

fn number(at: Timestamp) -> JsValue {
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

/// With more records than this under one key they are a crowd, and each of them is in the index.
const CROWD: usize = 32;

const CREATE_ROWS: &str = "CREATE TABLE IF NOT EXISTS r (k BLOB PRIMARY KEY, kin BLOB NOT NULL, crowd INTEGER NOT NULL DEFAULT 0, \
    due INTEGER NOT NULL, tomb INTEGER NOT NULL, piece INTEGER NOT NULL, pieces INTEGER NOT NULL, rec BLOB NOT NULL, body BLOB) \
    WITHOUT ROWID";
const CREATE_CROWD: &str = "CREATE INDEX IF NOT EXISTS crowds ON r (kin) WHERE crowd = 1";
const CREATE_PIECES: &str =
    "CREATE TABLE IF NOT EXISTS c (id INTEGER PRIMARY KEY, body BLOB NOT NULL)";
const CREATE_SHARDS: &str =
    "CREATE TABLE IF NOT EXISTS s (id INTEGER PRIMARY KEY CHECK (id = 1), shards INTEGER NOT NULL)";
const READ_SHARDS: &str = "SELECT shards AS rows FROM s";
const KEEP_SHARDS: &str = "INSERT INTO s (id, shards) VALUES (1, ?) ON CONFLICT DO NOTHING";
const FIND: &str = "SELECT rec, piece, pieces FROM r WHERE k = ?";
// A body of 16 KB at most (`SMALL`): a larger one is read when there is room for it.
const FIND_WITH_BODY: &str = "SELECT 1 AS own, rec, CASE WHEN length(body) <= 16384 THEN body END AS body, \
    piece, pieces FROM r WHERE k = ?";
// One row more than make no crowd.
const FIND_NEAR: &str = "SELECT k = ?1 AS own, CASE WHEN k = ?1 OR kin = ?4 THEN rec END AS rec, \
    CASE WHEN k = ?1 AND length(body) <= 16384 THEN body END AS body, piece, pieces FROM r WHERE k >= ?2 AND k <= ?3 LIMIT 33";
const FIND_IN_CROWD: &str = "SELECT 0 AS own, rec FROM r INDEXED BY crowds \
    WHERE crowd = 1 AND kin = ?1 AND k >= ?2 AND k <= ?3 AND k <> ?4 AND (tomb = 1 OR due > ?5)";
const MAKE_CROWD: &str = "UPDATE r SET crowd = 1 WHERE k >= ? AND k <= ? AND crowd = 0";
const INSERT: &str = "INSERT INTO r (k, kin, crowd, due, tomb, piece, pieces, rec) VALUES (?, ?, ?, ?, ?, 0, 0, ?) \
    ON CONFLICT (k) DO UPDATE SET kin = excluded.kin, due = excluded.due, tomb = excluded.tomb, piece = 0, pieces = 0, \
    rec = excluded.rec, body = NULL";
const UPDATE: &str = "UPDATE r SET due = ?, tomb = ?, rec = ? WHERE k = ?";
const COMPLETE: &str =
    "UPDATE r SET due = ?, tomb = ?, rec = ?, body = ?, piece = ?, pieces = ? WHERE k = ?";
const DELETE: &str = "DELETE FROM r WHERE k = ?";
