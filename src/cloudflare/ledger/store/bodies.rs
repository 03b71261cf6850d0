//! The bodies of replies: in the row of their record, or in chunks of their own.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::{Store, StoredRow, blob, bytes_of, float, whole};
use crate::cloudflare::error::Error;
use crate::lifecycle::record::Record;
use crate::lifecycle::reply::{Kept, Reply};
use crate::request::key::KeyId;

/// Where a reply's body is.
pub(in crate::cloudflare) enum BodyPlace {
    /// Here: it is small.
    Here(Uint8Array),
    /// In its row.
    InRow,
    /// In chunks.
    InChunks(ChunkedBody),
}

/// Which chunks a row's body lies in: so many, with ids from the first one on. Every chunk names its key id, so
/// wrong numbers in a row reach no other key's body.
#[derive(Clone, Copy, Default)]
pub(super) struct Chunks {
    pub(super) first: f64,
    pub(super) count: f64,
}

/// A body in chunks.
pub(in crate::cloudflare) struct ChunkedBody {
    key_id: KeyId,
    chunks: Chunks,
    /// The body's length.
    pub(in crate::cloudflare) bytes: u64,
}

impl ChunkedBody {
    /// The ids of the chunks in their order.
    pub(in crate::cloudflare) fn ids(&self) -> impl Iterator<Item = f64> {
        let Chunks { first, count } = self.chunks;
        (0..whole(count)).map(move |n| first + float(n))
    }
}

impl Chunks {
    /// What the statements select the chunks by.
    fn values(self, key_id: KeyId) -> [JsValue; 3] {
        [self.first.into(), (self.first + self.count).into(), blob(&key_id.0)]
    }
}

impl Store {
    /// Where the stored body of a reply is. It must be as long as its record says: a missing chunk is an error,
    /// never a shorter reply.
    pub(in crate::cloudflare) fn body(
        &self,
        key_id: KeyId,
        row: &StoredRow,
        reply: &Reply,
    ) -> Result<Option<BodyPlace>, Error> {
        let Kept::Whole { bytes } = reply.body else { return Ok(None) };
        let chunks = row.body.chunks;
        let (length, place) = if chunks.count > 0.0 {
            let found = self.rows(LENGTH_OF_CHUNKS, &chunks.values(key_id))?.pop();
            let length = found.map_or(0, |row| whole(row.number()));
            (length, BodyPlace::InChunks(ChunkedBody { key_id, chunks, bytes }))
        } else if let Some(body) = bytes_of(&row.body.bytes) {
            (body.byte_length().into(), BodyPlace::Here(body))
        } else if bytes == 0 {
            (0, BodyPlace::Here(Uint8Array::new_with_length(0)))
        } else {
            // Not read with the row: see `SMALL`.
            (bytes, BodyPlace::InRow)
        };
        if length != bytes {
            return Err(not_as_long());
        }
        Ok(Some(place))
    }

    /// A body that lies in its row.
    pub(in crate::cloudflare) fn body_in_row(
        &self,
        key_id: KeyId,
        reply: &Reply,
    ) -> Result<Uint8Array, Error> {
        let row = self.rows(READ_BODY, &[blob(&key_id.0)])?.pop().ok_or_else(not_as_long)?;
        let body = bytes_of(&row.body()).ok_or_else(not_as_long)?;
        let is_whole = reply.body == Kept::Whole { bytes: body.byte_length().into() };
        if is_whole { Ok(body) } else { Err(not_as_long()) }
    }

    /// One chunk of a large body.
    pub(in crate::cloudflare) fn chunk(
        &self,
        of: &ChunkedBody,
        id: f64,
    ) -> Result<Uint8Array, Error> {
        let row = self.rows(READ_CHUNK, &[id.into(), blob(&of.key_id.0)])?.pop();
        row.and_then(|row| bytes_of(&row.body())).ok_or_else(not_as_long)
    }

    pub(super) fn add_chunks(&self, key_id: KeyId, body: &Uint8Array) -> Result<Chunks, Error> {
        let length = body.byte_length();
        if length <= CHUNK_BYTES {
            return Ok(Chunks::default());
        }
        let free = self.rows(NEXT_CHUNK, &[])?.pop().map_or(1.0, |row| row.number());
        let first = free.max(self.next_chunk.get());
        let mut chunks = Chunks { first, count: 0.0 };
        for at in (0..length).step_by(CHUNK_BYTES as usize) {
            let chunk = body.subarray(at, length.min(at + CHUNK_BYTES));
            let id = first + chunks.count;
            self.exec(ADD_CHUNK, &[id.into(), blob(&key_id.0), chunk.into()])?;
            chunks.count += 1.0;
        }
        self.next_chunk.set(first + chunks.count);
        Ok(chunks)
    }

    pub(super) fn drop_chunks(&self, key_id: KeyId, chunks: Chunks) -> Result<(), Error> {
        if chunks.count == 0.0 {
            return Ok(());
        }
        self.exec(DROP_CHUNKS, &chunks.values(key_id))
    }
}

/// In how many chunks the body beside a record lies; none where it lies in the row.
pub(super) fn chunks_of(record: &Record) -> u64 {
    match record.reply().map(|reply| reply.body) {
        Some(Kept::Whole { bytes }) if bytes > u64::from(CHUNK_BYTES) => {
            bytes.div_ceil(u64::from(CHUNK_BYTES))
        }
        Some(Kept::Whole { .. } | Kept::StatusOnly) | None => 0,
    }
}

fn not_as_long() -> Error {
    Error::Stored("a stored body is not as long as its record says".to_owned())
}

/// A body up to this length lies in its row, whose record takes the rest of the 2 MB; a chunk is as long.
pub(in crate::cloudflare) const CHUNK_BYTES: u32 = 1024 * 1024;

const NEXT_CHUNK: &str = "SELECT coalesce(max(id), 0) + 1 AS number FROM body_chunks";
const ADD_CHUNK: &str = "INSERT INTO body_chunks (id, key_id, bytes) VALUES (?, ?, ?)";
const READ_BODY: &str = "SELECT body FROM records WHERE key_id = ?";
const READ_CHUNK: &str = "SELECT bytes AS body FROM body_chunks WHERE id = ? AND key_id = ?";
const LENGTH_OF_CHUNKS: &str = "SELECT coalesce(sum(length(bytes)), 0) AS number FROM body_chunks \
    WHERE id >= ? AND id < ? AND key_id = ?";
const DROP_CHUNKS: &str = "DELETE FROM body_chunks WHERE id >= ? AND id < ? AND key_id = ?";
