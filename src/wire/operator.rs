//! The operator's questions and the Ledger's findings as bytes, and what the Ledger keeps of them: the
//! hour's numbers and the decisions.

use super::bytes::{Reader, Writer};
use super::record::{read_record, read_reply, write_record, write_reply};
use super::{Unreadable, VERSION};
use crate::lifecycle::record::{Lease, Record};
use crate::operator::decide::{Decision, Ruling};
use crate::operator::search::{
    Audited, Found, OperatorQuery, OperatorResult, Place, Search, Stage,
};
use crate::operator::statistics::{KINDS, Tally};
use crate::request::key::KeyId;
use crate::time::Timestamp;

pub(super) fn write_inquiry(to: &mut Writer, inquiry: &OperatorQuery) {
    match inquiry {
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

pub(super) fn read_inquiry(reader: &mut Reader<'_>) -> Result<OperatorQuery, Unreadable> {
    Ok(match reader.u8()? {
        1 => OperatorQuery::Key,
        2 => OperatorQuery::Search(Search {
            correlation_id: reader.option(Reader::text)?,
            state: match reader.option(Reader::text)? {
                Some(name) => Some(Stage::named(&name).ok_or(Unreadable("state"))?),
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
        _ => return Err(Unreadable("inquiry")),
    })
}

pub(super) fn write_finding(to: &mut Writer, finding: &OperatorResult) {
    match finding {
        OperatorResult::Records(now, rows) => {
            to.u8(1);
            to.u64(now.0);
            to.list(rows, |to, row| {
                to.bytes(&row.key.0);
                to.u32(row.replays);
                write_inner(to, &row.record);
            });
        }
        OperatorResult::Ruled(ruling) => {
            to.u8(2);
            match ruling {
                Ruling::Done => to.u8(1),
                Ruling::Absent => to.u8(2),
                Ruling::LeaseLive(until) => {
                    to.u8(3);
                    to.u64(until.0);
                }
                Ruling::MovedOn => to.u8(4),
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

pub(super) fn read_finding(reader: &mut Reader<'_>) -> Result<OperatorResult, Unreadable> {
    Ok(match reader.u8()? {
        1 => {
            let now = Timestamp(reader.u64()?);
            let rows = reader.list(|reader| {
                Ok(Found {
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
                read.push(Found { record: record.ok_or(Unreadable("record"))?, ..row });
            }
            OperatorResult::Records(now, read)
        }
        2 => OperatorResult::Ruled(match reader.u8()? {
            1 => Ruling::Done,
            2 => Ruling::Absent,
            3 => Ruling::LeaseLive(Timestamp(reader.u64()?)),
            4 => Ruling::MovedOn,
            _ => return Err(Unreadable("ruling")),
        }),
        3 => {
            OperatorResult::Stats(reader.list(|reader| Ok((reader.u64()?, read_counts(reader)?)))?)
        }
        4 => OperatorResult::Audit(reader.list(read_audited)?),
        _ => return Err(Unreadable("finding")),
    })
}

/// The numbers of an hour as they are stored.
#[must_use]
pub fn write_tally(tally: &Tally) -> Vec<u8> {
    let mut row = Writer::default();
    row.u8(VERSION);
    write_counts(&mut row, tally);
    row.0
}

/// Reads the stored numbers of an hour.
///
/// # Errors
/// The row does not follow the grammar.
pub fn read_tally(row: &[u8]) -> Result<Tally, Unreadable> {
    let mut reader = Reader::versioned(row)?;
    let tally = read_counts(&mut reader)?;
    reader.end()?;
    Ok(tally)
}

/// A decision as it is stored.
#[must_use]
pub fn write_decision(audited: &Audited) -> Vec<u8> {
    let mut row = Writer::default();
    row.u8(VERSION);
    write_audited(&mut row, audited);
    row.0
}

/// Reads a stored decision.
///
/// # Errors
/// The row does not follow the grammar.
pub fn read_decision(row: &[u8]) -> Result<Audited, Unreadable> {
    let mut reader = Reader::versioned(row)?;
    let audited = read_audited(&mut reader)?;
    reader.end()?;
    Ok(audited)
}

fn write_counts(to: &mut Writer, tally: &Tally) {
    to.list(&tally.routes, |to, (route, counts)| {
        to.text(route);
        to.u8(u8::try_from(KINDS).unwrap_or(u8::MAX));
        for count in counts {
            to.u64(*count);
        }
    });
    to.list(&tally.replays, |to, (mark, times)| {
        to.bytes(mark);
        to.u32(*times);
    });
}

fn read_counts(reader: &mut Reader<'_>) -> Result<Tally, Unreadable> {
    let routes = reader.list(|reader| {
        let route = reader.text()?;
        if usize::from(reader.u8()?) != KINDS {
            return Err(Unreadable("counts"));
        }
        let mut counts = [0; KINDS];
        for count in &mut counts {
            *count = reader.u64()?;
        }
        Ok((route, counts))
    })?;
    let replays = reader.list(|reader| Ok((reader.array()?, reader.u32()?)))?;
    Ok(Tally { routes, replays })
}

fn write_audited(to: &mut Writer, audited: &Audited) {
    to.u64(audited.at.0);
    to.bytes(&audited.key.0);
    to.text(&audited.action);
    to.bytes(&audited.by);
    write_inner(to, &audited.before);
    to.option(audited.after.as_ref(), write_inner);
}

fn read_audited(reader: &mut Reader<'_>) -> Result<Audited, Unreadable> {
    Ok(Audited {
        at: Timestamp(reader.u64()?),
        key: KeyId(reader.array()?),
        action: reader.text()?,
        by: reader.array()?,
        before: read_inner(reader)?,
        after: reader.option(read_inner)?,
    })
}

fn write_place(to: &mut Writer, place: &Place) {
    to.u64(place.at.0);
    to.bytes(&place.key.0);
}

fn read_place(reader: &mut Reader<'_>) -> Result<Place, Unreadable> {
    Ok(Place { at: Timestamp(reader.u64()?), key: KeyId(reader.array()?) })
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
