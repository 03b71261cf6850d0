//! Records as they are stored, and their parts, which messages have too.

use std::time::Duration;

use super::bytes::{Reader, Writer};
use super::{Unreadable, VERSION};
use crate::lifecycle::record::{
    Completed, Doubt, Durations, Execution, KeySpelling, Lease, Metadata, Previous, Record,
    Running, State,
};
use crate::lifecycle::reply::{Kept, Reply};
use crate::request::fingerprint::{Fingerprint, OperationId};
use crate::time::{Timestamp, millis};

/// A record as it is stored.
#[must_use]
pub fn write_record(record: &Record) -> Vec<u8> {
    let mut row = Writer::default();
    row.u8(VERSION);
    write_about(&mut row, &record.metadata);
    row.u64(record.metadata.created.0);
    match &record.state {
        State::Running(running) => {
            row.u8(1);
            row.bytes(&running.lease.0);
            write_run(&mut row, running.run);
            row.u64(running.since.0);
            row.u64(running.until.0);
            write_terms(&mut row, &running.durations);
            match &running.previous {
                Previous::Nothing => row.u8(1),
                Previous::Replied(completed) => {
                    row.u8(2);
                    write_completed(&mut row, completed);
                }
                Previous::Doubted(doubt) => {
                    row.u8(3);
                    write_doubt(&mut row, doubt);
                }
            }
        }
        State::Completed(completed) | State::Expired(completed) => {
            row.u8(2);
            write_completed(&mut row, completed);
        }
        State::InDoubt(doubt) | State::Closed(doubt) => {
            row.u8(3);
            write_doubt(&mut row, doubt);
        }
    }
    row.0
}

/// Reads a stored record.
///
/// # Errors
/// The row does not follow the grammar, or is of a version that this code does not know.
pub fn read_record(row: &[u8]) -> Result<Record, Unreadable> {
    let mut reader = Reader::versioned(row)?;
    let metadata = read_about(&mut reader)?;
    let metadata = Metadata { created: Timestamp(reader.u64()?), ..metadata };
    let state = match reader.u8()? {
        1 => State::Running(Running {
            lease: Lease(reader.array()?),
            run: read_run(&mut reader)?,
            since: Timestamp(reader.u64()?),
            until: Timestamp(reader.u64()?),
            durations: read_terms(&mut reader)?,
            previous: match reader.u8()? {
                1 => Previous::Nothing,
                2 => Previous::Replied(read_completed(&mut reader)?),
                3 => Previous::Doubted(read_doubt(&mut reader)?),
                _ => return Err(Unreadable("before")),
            },
        }),
        2 => State::Completed(read_completed(&mut reader)?),
        3 => State::InDoubt(read_doubt(&mut reader)?),
        _ => return Err(Unreadable("state")),
    };
    reader.end()?;
    Ok(Record { metadata, state })
}

/// All but `created`, which only the Ledger knows.
pub(super) fn write_about(to: &mut Writer, metadata: &Metadata) {
    to.bytes(&metadata.fingerprint.0);
    to.bytes(&metadata.operation.0);
    to.text(&metadata.route);
    to.text(&metadata.method);
    to.text(&metadata.path);
    to.text(&metadata.correlation_id);
}

pub(super) fn read_about(reader: &mut Reader<'_>) -> Result<Metadata, Unreadable> {
    Ok(Metadata {
        fingerprint: Fingerprint(reader.array()?),
        operation: OperationId(reader.array()?),
        route: reader.text()?,
        method: reader.text()?,
        path: reader.text()?,
        correlation_id: reader.text()?,
        created: Timestamp(0),
    })
}

pub(super) fn write_terms(to: &mut Writer, durations: &Durations) {
    for span in [durations.lease, durations.ttl, durations.tombstone, durations.doubt_ttl] {
        to.u64(millis(span));
    }
}

pub(super) fn read_terms(reader: &mut Reader<'_>) -> Result<Durations, Unreadable> {
    Ok(Durations {
        lease: Duration::from_millis(reader.u64()?),
        ttl: Duration::from_millis(reader.u64()?),
        tombstone: Duration::from_millis(reader.u64()?),
        doubt_ttl: Duration::from_millis(reader.u64()?),
    })
}

pub(super) fn write_run(to: &mut Writer, run: Execution) {
    to.bytes(&run.id.0);
    to.u32(run.attempt);
    write_form(to, run.spelling);
}

pub(super) fn write_form(to: &mut Writer, spelling: KeySpelling) {
    to.u8(match spelling {
        KeySpelling::Bare => 1,
        KeySpelling::Quoted => 2,
    });
}

pub(super) fn read_form(reader: &mut Reader<'_>) -> Result<KeySpelling, Unreadable> {
    match reader.u8()? {
        1 => Ok(KeySpelling::Bare),
        2 => Ok(KeySpelling::Quoted),
        _ => Err(Unreadable("form")),
    }
}

pub(super) fn read_run(reader: &mut Reader<'_>) -> Result<Execution, Unreadable> {
    Ok(Execution {
        id: Lease(reader.array()?),
        attempt: reader.u32()?,
        spelling: read_form(reader)?,
    })
}

pub(super) fn write_reply(to: &mut Writer, reply: &Reply) {
    to.u16(reply.status);
    to.count(reply.headers.len());
    for (name, value) in &reply.headers {
        to.text(name);
        to.text(value);
    }
    match reply.body {
        Kept::Whole { bytes } => {
            to.u8(1);
            to.u64(bytes);
        }
        Kept::StatusOnly => to.u8(2),
    }
}

pub(super) fn read_reply(reader: &mut Reader<'_>) -> Result<Reply, Unreadable> {
    let status = reader.u16()?;
    let mut headers = Vec::new();
    for _ in 0..reader.u32()? {
        headers.push((reader.text()?, reader.text()?));
    }
    let body = match reader.u8()? {
        1 => Kept::Whole { bytes: reader.u64()? },
        2 => Kept::StatusOnly,
        _ => return Err(Unreadable("body")),
    };
    Ok(Reply { status, headers, body })
}

pub(super) fn write_completed(to: &mut Writer, completed: &Completed) {
    to.bytes(&completed.lease.0);
    write_run(to, completed.run);
    write_reply(to, &completed.reply);
    for instant in [completed.settled, completed.expires, completed.gone] {
        to.u64(instant.0);
    }
}

pub(super) fn read_completed(reader: &mut Reader<'_>) -> Result<Completed, Unreadable> {
    Ok(Completed {
        lease: Lease(reader.array()?),
        run: read_run(reader)?,
        reply: read_reply(reader)?,
        settled: Timestamp(reader.u64()?),
        expires: Timestamp(reader.u64()?),
        gone: Timestamp(reader.u64()?),
    })
}

pub(super) fn write_doubt(to: &mut Writer, doubt: &Doubt) {
    to.option(doubt.lease.as_ref(), |to, lease| to.bytes(&lease.0));
    write_run(to, doubt.run);
    to.u64(doubt.until.0);
    write_terms(to, &doubt.durations);
    to.u64(doubt.closes.0);
    to.u64(doubt.gone.0);
    to.u8(u8::from(doubt.earlier));
    to.option(doubt.base.as_ref(), write_completed);
}

pub(super) fn read_doubt(reader: &mut Reader<'_>) -> Result<Doubt, Unreadable> {
    Ok(Doubt {
        lease: reader.option(|reader| Ok(Lease(reader.array()?)))?,
        run: read_run(reader)?,
        until: Timestamp(reader.u64()?),
        durations: read_terms(reader)?,
        closes: Timestamp(reader.u64()?),
        gone: Timestamp(reader.u64()?),
        earlier: match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Unreadable("earlier")),
        },
        base: reader.option(read_completed)?,
    })
}
