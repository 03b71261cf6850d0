//! Values as bytes: what is stored in a row, and the heads of messages ([`crate::protocol`]). postcard
//! writes and reads them; this module adds the version and refuses whatever is not exactly one value.
//!
//! postcard writes no field names, so a value is read by the very types that wrote it. The types behind a
//! version never change: `tests/host/golden.rs` holds one value of each kind to its bytes. A change is a new
//! version with types of its own, and a release reads a version before any release writes it, because for
//! minutes after a deploy old and new code run side by side, and a deploy may be taken back.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version in which rows are written, and the only one that is read.
pub const ROW_VERSION: u8 = 1;

/// Bytes that cannot be read. For their key that is an error, and never "absent".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There are none.
    #[error("no bytes")]
    Nothing,
    /// They are of a version that this code does not know.
    #[error("version {0}")]
    Version(u8),
    /// They are no value of the expected type.
    #[error("{0}")]
    NoValue(#[from] postcard::Error),
    /// Something comes after the value.
    #[error("bytes left over")]
    LeftOver,
    /// The database's column holds something else than bytes.
    #[error("not bytes")]
    NotBytes,
    /// Message's prefix and its length disagree.
    #[error("cut short")]
    Length,
}

/// A value as a row's column holds it: `[version u8][value]`.
#[must_use]
pub fn write_row<T: Serialize>(value: &T) -> Vec<u8> {
    append(vec![ROW_VERSION], value)
}

/// Reads what [`write_row`] wrote.
///
/// # Errors
/// The bytes are anything else.
pub fn read_row<T: DeserializeOwned>(row: &[u8]) -> Result<T, Unreadable> {
    match row.split_first() {
        Some((&ROW_VERSION, value)) => read(value),
        Some((version, _)) => Err(Unreadable::Version(*version)),
        None => Err(Unreadable::Nothing),
    }
}

/// Appends a value to a prefix.
pub(crate) fn append<T: Serialize>(prefix: Vec<u8>, value: &T) -> Vec<u8> {
    // postcard fails on sequences of unknown length and on errors of hand-written `Serialize`; these types
    // have neither. If one ever had, the empty bytes are unreadable for everybody: refused, not taken for
    // another value.
    postcard::to_extend(value, prefix).unwrap_or_default()
}

/// Reads exactly one value.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(Unreadable::LeftOver),
    }
}
