//! Bytes between Worker and Ledger and on the disk, from anybody. An input is taken as a frame, and as the
//! head of a question, the head of an answer and a row.

use oncegate::lifecycle::reply::Reply;
use oncegate::protocol::{Ask, Told};
use oncegate::wire::{
    OLDEST, PREFIX, Prefix, Unreadable, VERSION, agreed, read_ask, read_record, read_told,
    write_ask, write_record, write_told,
};

/// Any bytes.
pub fn check(data: &[u8]) {
    for read in [ask, told, row] {
        reads_back(data, read);
    }
    frame(data);
    let [version, rest @ ..] = data else { return };
    for other in [0, VERSION + 1, u8::MAX] {
        let row = [&[other], rest].concat();
        assert_eq!(read_record(&row), Err(Unreadable("version")));
        // A Ledger that does not know a version says so in words that are read in every version.
        let said = write_told(&Told::<()>::UnknownVersion(*version), other);
        assert_eq!(said, [other, 2, 0, 0, 0, 15, *version]);
        assert_eq!(read_told(&[15, *version]), Ok(Told::UnknownVersion(*version)));
    }
}

/// Reads, says how much was set aside for headers, and writes again.
type Codec = fn(&[u8]) -> Result<(usize, Vec<u8>), Unreadable>;

fn ask(head: &[u8]) -> Result<(usize, Vec<u8>), Unreadable> {
    let addressed = read_ask(head)?;
    let room = match &addressed.ask {
        Ask::Settle(_, reply) => room(reply),
        _ => 0,
    };
    Ok((room, write_ask(&addressed, VERSION).split_off(PREFIX)))
}

fn told(head: &[u8]) -> Result<(usize, Vec<u8>), Unreadable> {
    let told = read_told(head)?;
    let room = match &told {
        Told::Replay(replay) => room(&replay.reply),
        _ => 0,
    };
    Ok((room, write_told(&told, VERSION).split_off(PREFIX)))
}

fn row(row: &[u8]) -> Result<(usize, Vec<u8>), Unreadable> {
    let record = read_record(row)?;
    Ok((record.reply().map_or(0, room), write_record(&record)))
}

fn room(reply: &Reply) -> usize {
    reply.headers.capacity()
}

/// What is read is written again with the same bytes, and neither more nor less of them is read.
fn reads_back(data: &[u8], read: Codec) {
    let Ok((room, written)) = read(data) else { return };
    assert_eq!(written, data, "one spelling");
    // A header takes eight bytes at the least; a list grows by doubling, from four.
    assert!(room <= 4 + data.len() / 4, "room for {room} headers from {} bytes", data.len());
    let longer = [data, &[0]].concat();
    assert!(read(&longer).is_err(), "bytes left over");
    for cut in [data.len().saturating_sub(1), data.len() / 2, data.len() / 3] {
        let (shorter, _) = data.split_at(cut);
        assert!(read(shorter).is_err() || data.is_empty(), "cut at {cut}");
    }
}

/// As both sides take a message apart.
fn frame(data: &[u8]) {
    let Ok(prefix) = Prefix::read(data) else { return assert!(data.len() < PREFIX) };
    let known = (OLDEST..=VERSION).contains(&prefix.version);
    assert_eq!(prefix.is_known(), known);
    assert_eq!(agreed(prefix.version), known.then_some(prefix.version));
    let (_, rest) = data.split_at(PREFIX);
    let head =
        usize::try_from(prefix.head_bytes).ok().and_then(|bytes| rest.split_at_checked(bytes));
    let Some((head, _body)) = head else { return };
    if let Ok(addressed) = read_ask(head).map(|addressed| write_ask(&addressed, prefix.version)) {
        assert!(data.starts_with(&addressed));
    }
    if let Ok(told) = read_told(head).map(|told| write_told(&told, prefix.version)) {
        assert!(data.starts_with(&told));
    }
    reads_back(head, ask);
    reads_back(head, told);
}
