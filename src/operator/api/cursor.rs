//! Cursors: where a page ended, for the request of the next one.

use crate::operator::search::{Position, Search};
use crate::request::digest::{from_hex, hex};
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// The cursor after a page of a search. It is good only for this search, whose digest it carries, and
/// holds the instant since which records are searched: a span back from now would move on with each page.
#[must_use]
pub fn write(search: &Search, digest: &str, last: Position) -> String {
    let since = search.since.map_or(u64::MAX, |since| since.0);
    format!("{}{since:016x}{digest}", write_audit(last))
}

/// Reads a cursor of the search with this digest: where the page ended, and since when records are
/// searched.
#[must_use]
pub fn read(cursor: &str, digest: &str) -> Option<(Position, Option<Timestamp>)> {
    let position = read_audit(cursor.get(..80)?)?;
    let since = u64::from_str_radix(cursor.get(80..96)?, 16).ok()?;
    let since = (since != u64::MAX).then_some(Timestamp(since));
    (cursor.get(96..)? == digest).then_some((position, since))
}

/// The cursor after a page of decisions.
#[must_use]
pub fn write_audit(last: Position) -> String {
    format!("{}{:016x}", hex(&last.key.0), last.at.0)
}

/// Reads a cursor of the decisions.
#[must_use]
pub fn read_audit(cursor: &str) -> Option<Position> {
    let key = from_hex(cursor.get(..64)?).map(KeyId)?;
    let at = u64::from_str_radix(cursor.get(64..)?, 16).ok().map(Timestamp)?;
    Some(Position { at, key })
}
