//! The bodies of replies: in the row of their record, or in pieces of their own.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::{Store, Stored, blob, bytes_of, float, whole};
use crate::lifecycle::record::Record;
use crate::lifecycle::reply::{Kept, Reply};
use crate::request::key::KeyId;

/// Where a reply's body is.
pub(in crate::cloudflare) enum Lies {
    /// Here: it is small.
    Here(Uint8Array),
    /// In its row.
    InRow,
    /// In rows of its own.
    InPieces(Pieces),
}

/// Where a large body lies: so many pieces from this id on.
#[derive(Clone, Copy, Default)]
pub(in crate::cloudflare) struct Pieces {
    pub(super) first: f64,
    pub(super) count: f64,
    /// All of them together.
    pub(in crate::cloudflare) bytes: u64,
}

impl Pieces {
    pub(super) fn new(first: f64, count: f64) -> Self {
        Self { first, count, bytes: 0 }
    }

    /// The ids of the pieces in their order.
    pub(in crate::cloudflare) fn ids(self) -> impl Iterator<Item = f64> {
        (0..whole(self.count)).map(move |n| self.first + float(n))
    }
}

impl Store {
    /// Where the stored body of a reply lies. It must be as long as its record says: a piece that is
    /// missing is an error, never a shorter reply.
    pub(in crate::cloudflare) fn body(
        &self,
        stored: &Stored,
        reply: &Reply,
    ) -> Result<Option<Lies>, JsValue> {
        let Kept::Whole { bytes } = reply.body else { return Ok(None) };
        let Pieces { first, count, .. } = stored.pieces;
        let (length, lies) = if count > 0.0 {
            let found = self.rows(LENGTH_OF_PIECES, &[first.into(), (first + count).into()])?.pop();
            let length = found.map_or(0, |row| whole(row.count()));
            (length, Lies::InPieces(Pieces { bytes, ..stored.pieces }))
        } else if let Some(body) = bytes_of(&stored.body) {
            (body.byte_length().into(), Lies::Here(body))
        } else if bytes == 0 {
            (0, Lies::Here(Uint8Array::new_with_length(0)))
        } else {
            // Not found with the row: see `SMALL`.
            (bytes, Lies::InRow)
        };
        if length != bytes {
            return Err(not_as_long());
        }
        Ok(Some(lies))
    }

    /// A body that lies in its row, of so many bytes.
    pub(in crate::cloudflare) fn in_row(
        &self,
        key: KeyId,
        reply: &Reply,
    ) -> Result<Uint8Array, JsValue> {
        let row = self.rows(READ_BODY, &[blob(&key.0)])?.pop().ok_or_else(not_as_long)?;
        let body = bytes_of(&row.body()).ok_or_else(not_as_long)?;
        let whole = reply.body == Kept::Whole { bytes: body.byte_length().into() };
        if whole { Ok(body) } else { Err(not_as_long()) }
    }

    /// One piece of a large body.
    pub(in crate::cloudflare) fn piece(&self, id: f64) -> Result<Uint8Array, JsValue> {
        let row = self.rows(READ_PIECE, &[id.into()])?.pop();
        row.and_then(|row| bytes_of(&row.body())).ok_or_else(not_as_long)
    }

    pub(super) fn add_pieces(&self, body: &Uint8Array) -> Result<Pieces, JsValue> {
        let length = body.byte_length();
        if length <= PIECE {
            return Ok(Pieces::default());
        }
        let free = self.rows(NEXT_PIECE, &[])?.pop().map_or(1.0, |row| row.piece());
        let first = free.max(self.next_piece.get());
        let mut pieces = Pieces::new(first, 0.0);
        for at in (0..length).step_by(PIECE as usize) {
            let piece = body.subarray(at, length.min(at + PIECE));
            self.exec(ADD_PIECE, &[(first + pieces.count).into(), piece.into()])?;
            pieces.count += 1.0;
        }
        self.next_piece.set(first + pieces.count);
        Ok(pieces)
    }

    pub(super) fn drop_pieces(&self, pieces: Pieces) -> Result<(), JsValue> {
        if pieces.count == 0.0 {
            return Ok(());
        }
        self.exec(DROP_PIECES, &[pieces.first.into(), (pieces.first + pieces.count).into()])
    }
}

/// In how many pieces the body beside a record lies; none where it lies in the row.
pub(super) fn pieces_of(record: &Record) -> u64 {
    match record.reply().map(|reply| reply.body) {
        Some(Kept::Whole { bytes }) if bytes > u64::from(PIECE) => bytes.div_ceil(u64::from(PIECE)),
        Some(Kept::Whole { .. } | Kept::StatusOnly) | None => 0,
    }
}

fn not_as_long() -> JsValue {
    JsValue::from_str("a stored body is not as long as its record says")
}

/// A body up to this lies in its row, whose record takes the rest of the 2 MB; a piece is as large.
pub(in crate::cloudflare) const PIECE: u32 = 1024 * 1024;

const NEXT_PIECE: &str = "SELECT coalesce(max(id), 0) + 1 AS piece FROM c";
const ADD_PIECE: &str = "INSERT INTO c (id, body) VALUES (?, ?)";
const READ_BODY: &str = "SELECT body FROM r WHERE k = ?";
const READ_PIECE: &str = "SELECT body FROM c WHERE id = ?";
const LENGTH_OF_PIECES: &str =
    "SELECT coalesce(sum(length(body)), 0) AS rows FROM c WHERE id >= ? AND id < ?";
const DROP_PIECES: &str = "DELETE FROM c WHERE id >= ? AND id < ?";
