//! The operator's questions and the Ledger's results as bytes, and what the Ledger keeps of them: the
//! hour's numbers and the decisions.

use super::bytes::{Reader, Writer};
use super::record::{read_record, read_reply, write_record, write_reply};
use super::{Unreadable, VERSION};
use crate::lifecycle::record::{Lease, Record};
use crate::operator::decide::{Decision, DecisionResult};
use crate::operator::search::{
    AuditEntry, FoundRecord, OperatorQuery, OperatorResult, Position, Search, StateKind,
};
use crate::operator::statistics::{COUNTERS, Statistics};
use crate::request::key::KeyId;
use crate::time::Timestamp;

pub(super) fn write_query(to: &mut Writer, query: &OperatorQuery) {
    match query {
        OperatorQuery::Key => to.u8(1),
        OperatorQuery::Search(search) => {
            to.u8(2);
            to.option(search.correlation_id.as_ref(), |to, id| to.text(id));
            to.option(search.state.as_ref(), |to, stage| to.text(stage.as_str()));
            to.option(search.route.as_ref(), |to, route| to.text(route));
            to.option(search.since.as_ref(), |to, since| to.u64(since.0));
            to.option(search.after.as_ref(), write_place);
            to.u16(search.limit);
        }
        OperatorQuery::Decide { lease, decision, by } => {
            to.u8(3);
            to.option(lease.as_ref(), |to, lease| to.bytes(&lease.0));
            match decision {
                Decision::Complete(reply) => {
                    to.u8(1);
                    write_reply(to, reply);
                }
                Decision::Release => to.u8(2),
                Decision::Hold => to.u8(3),
                Decision::Purge => to.u8(4),
            }
            to.bytes(by);
        }
        OperatorQuery::Stats => to.u8(4),
        OperatorQuery::Audit { after, limit } => {
            to.u8(5);
            to.option(after.as_ref(), write_place);
            to.u16(*limit);
        }
        OperatorQuery::Decisions => to.u8(6),
    }
}

pub(super) fn read_query(reader: &mut Reader<'_>) -> Result<OperatorQuery, Unreadable> {
    Ok(match reader.u8()? {
        1 => OperatorQuery::Key,
        2 => OperatorQuery::Search(Search {
            correlation_id: reader.option(Reader::text)?,
            state: match reader.option(Reader::text)? {
                Some(name) => Some(StateKind::from_name(&name).ok_or(Unreadable("state"))?),
                None => None,
            },
            route: reader.option(Reader::text)?,
            since: reader.option(|reader| Ok(Timestamp(reader.u64()?)))?,
            after: reader.option(read_place)?,
            limit: reader.u16()?,
        }),
        3 => OperatorQuery::Decide {
            lease: reader.option(|reader| Ok(Lease(reader.array()?)))?,
            decision: match reader.u8()? {
                1 => Decision::Complete(read_reply(reader)?),
                2 => Decision::Release,
                3 => Decision::Hold,
                4 => Decision::Purge,
                _ => return Err(Unreadable("decision")),
            },
            by: reader.array()?,
        },
        4 => OperatorQuery::Stats,
        5 => OperatorQuery::Audit { after: reader.option(read_place)?, limit: reader.u16()? },
        6 => OperatorQuery::Decisions,
        _ => return Err(Unreadable("query")),
    })
}

pub(super) fn write_result(to: &mut Writer, result: &OperatorResult) {
    match result {
        OperatorResult::Records(now, rows) => {
            to.u8(1);
            to.u64(now.0);
            to.list(rows, |to, row| {
                to.bytes(&row.key.0);
                to.u32(row.replays);
                write_inner(to, &row.record);
            });
        }
        OperatorResult::Decided(result) => {
            to.u8(2);
            match result {
                DecisionResult::Done => to.u8(1),
                DecisionResult::Absent => to.u8(2),
                DecisionResult::LeaseLive(until) => {
                    to.u8(3);
                    to.u64(until.0);
                }
                DecisionResult::MovedOn => to.u8(4),
            }
        }
        OperatorResult::Stats(hours) => {
            to.u8(3);
            to.list(hours, |to, (hour, tally)| {
                to.u64(*hour);
                write_counts(to, tally);
            });
        }
        OperatorResult::Audit(rows) => {
            to.u8(4);
            to.list(rows, write_audited);
        }
    }
}

pub(super) fn read_result(reader: &mut Reader<'_>) -> Result<OperatorResult, Unreadable> {
    Ok(match reader.u8()? {
        1 => {
            let now = Timestamp(reader.u64()?);
            let rows = reader.list(|reader| {
                Ok(FoundRecord {
                    key: KeyId(reader.array()?),
                    replays: reader.u32()?,
                    record: read_inner(reader)?,
                })
            })?;
            // Expired and closed are read by the Ledger's clock, and not written.
            let mut read = Vec::new();
            for row in rows {
                let stored = write_record(&row.record);
                let record = row.record.at(now).filter(|record| write_record(record) == stored);
                read.push(FoundRecord { record: record.ok_or(Unreadable("record"))?, ..row });
            }
            OperatorResult::Records(now, read)
        }
        2 => OperatorResult::Decided(match reader.u8()? {
            1 => DecisionResult::Done,
            2 => DecisionResult::Absent,
            3 => DecisionResult::LeaseLive(Timestamp(reader.u64()?)),
            4 => DecisionResult::MovedOn,
            _ => return Err(Unreadable("result")),
        }),
        3 => {
            OperatorResult::Stats(reader.list(|reader| Ok((reader.u64()?, read_counts(reader)?)))?)
        }
        4 => OperatorResult::Audit(reader.list(read_audited)?),
        _ => return Err(Unreadable("result")),
    })
}

/// The numbers of an hour as they are stored.
#[must_use]
pub fn write_tally(tally: &Statistics) -> Vec<u8> {
    let mut row = Writer::default();
    row.u8(VERSION);
    write_counts(&mut row, tally);
    row.0
}

/// Reads the stored numbers of an hour.
///
/// # Errors
/// The row does not follow the grammar.
pub fn read_tally(row: &[u8]) -> Result<Statistics, Unreadable> {
    let mut reader = Reader::versioned(row)?;
    let tally = read_counts(&mut reader)?;
    reader.end()?;
    Ok(tally)
}

/// A decision as it is stored.
#[must_use]
pub fn write_decision(audited: &AuditEntry) -> Vec<u8> {
    let mut row = Writer::default();
    row.u8(VERSION);
    write_audited(&mut row, audited);
    row.0
}

/// Reads a stored decision.
///
/// # Errors
/// The row does not follow the grammar.
pub fn read_decision(row: &[u8]) -> Result<AuditEntry, Unreadable> {
    let mut reader = Reader::versioned(row)?;
    let audited = read_audited(&mut reader)?;
    reader.end()?;
    Ok(audited)
}

fn write_counts(to: &mut Writer, tally: &Statistics) {
    to.list(&tally.routes, |to, (route, counts)| {
        to.text(route);
        to.u8(u8::try_from(COUNTERS).unwrap_or(u8::MAX));
        for count in counts {
            to.u64(*count);
        }
    });
    to.list(&tally.replays, |to, (mark, times)| {
        to.bytes(mark);
        to.u32(*times);
    });
}

fn read_counts(reader: &mut Reader<'_>) -> Result<Statistics, Unreadable> {
    let routes = reader.list(|reader| {
        let route = reader.text()?;
        if usize::from(reader.u8()?) != COUNTERS {
            return Err(Unreadable("counts"));
        }
        let mut counts = [0; COUNTERS];
        for count in &mut counts {
            *count = reader.u64()?;
        }
        Ok((route, counts))
    })?;
    let replays = reader.list(|reader| Ok((reader.array()?, reader.u32()?)))?;
    Ok(Statistics { routes, replays })
}

fn write_audited(to: &mut Writer, audited: &AuditEntry) {
    to.u64(audited.at.0);
    to.bytes(&audited.key.0);
    to.text(&audited.action);
    to.bytes(&audited.by);
    write_inner(to, &audited.before);
    to.option(audited.after.as_ref(), write_inner);
}

fn read_audited(reader: &mut Reader<'_>) -> Result<AuditEntry, Unreadable> {
    Ok(AuditEntry {
        at: Timestamp(reader.u64()?),
        key: KeyId(reader.array()?),
        action: reader.text()?,
        by: reader.array()?,
        before: read_inner(reader)?,
        after: reader.option(read_inner)?,
    })
}

fn write_place(to: &mut Writer, place: &Position) {
    to.u64(place.at.0);
    to.bytes(&place.key.0);
}

fn read_place(reader: &mut Reader<'_>) -> Result<Position, Unreadable> {
    Ok(Position { at: Timestamp(reader.u64()?), key: KeyId(reader.array()?) })
}

/// A record inside of something else, as it lies in its row.
fn write_inner(to: &mut Writer, record: &Record) {
    let row = write_record(record);
    to.count(row.len());
    to.bytes(&row);
}

fn read_inner(reader: &mut Reader<'_>) -> Result<Record, Unreadable> {
    let length = usize::try_from(reader.u32()?).map_err(|_| Unreadable("length"))?;
    read_record(reader.take(length)?)
}
