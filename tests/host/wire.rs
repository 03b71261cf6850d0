//! `wire`: every question, answer and row comes back as it went, and nothing else comes back at all.

use std::time::{Duration, Instant};

use oncegate::lifecycle::record::Record;
use oncegate::protocol::Told;
use oncegate::wire::{
    Addressed, OLDEST, PREFIX, Prefix, Unreadable, VERSION, agreed, read_ask, read_record,
    read_told, write_ask, write_record, write_told,
};
use proptest::prelude::*;

use crate::arbitrary;
use crate::make::cases;
use crate::wire_pins::{ask_pins, record_pins, told_pins};

fn head(frame: &[u8]) -> &[u8] {
    &frame[PREFIX..]
}

fn ask_head(addressed: &Addressed) -> Vec<u8> {
    head(&write_ask(addressed, VERSION)).to_vec()
}

fn told_head(told: &Told<()>) -> Vec<u8> {
    head(&write_told(told, VERSION)).to_vec()
}

/// One of the three readers, answering with the bytes that its value is written as.
type Codec = fn(&[u8]) -> Result<Vec<u8>, Unreadable>;
const ASK: Codec = |bytes| read_ask(bytes).map(|addressed| ask_head(&addressed));
const TOLD: Codec = |bytes| read_told(bytes).map(|told| told_head(&told));
const RECORD: Codec = |bytes| read_record(bytes).map(|record| write_record(&record));

/// A message of each kind, with its reader.
fn samples() -> Vec<(Codec, Vec<u8>)> {
    let asks = ask_pins().into_iter().map(|(addressed, _)| (ASK, ask_head(&addressed)));
    let tolds = told_pins().into_iter().map(|(told, _)| (TOLD, told_head(&told)));
    let records = record_pins().into_iter().map(|(record, _)| (RECORD, write_record(&record)));
    asks.chain(tolds).chain(records).collect()
}

#[test]
fn a_message_that_is_cut_short_is_unreadable_wherever_it_is_cut() {
    for (read, bytes) in samples() {
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length} bytes of {bytes:02x?}");
        }
    }
}

#[test]
fn a_message_with_anything_after_it_is_unreadable() {
    for (read, bytes) in samples() {
        for extra in [&[0][..], &[1], &[0xff], &[0; 64]] {
            let longer = [bytes.as_slice(), extra].concat();
            assert_eq!(read(&longer), Err(Unreadable("bytes left over")), "{longer:02x?}");
        }
    }
}

/// A byte in place of another is noticed, or it is part of a value, which then is written with it:
/// nothing is passed over, and no value has two spellings.
#[test]
fn whatever_is_read_is_written_again_with_the_same_bytes() {
    for (read, bytes) in samples() {
        for at in 0..bytes.len() {
            for flipped in [0, 1, 2, 3, 4, 7, 17, 0x7f, 0x80, 0xfe, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = flipped;
                // A row of another version is no row.
                if let Ok(written) = read(&bytes) {
                    assert_eq!(written, bytes, "byte {at} is {flipped}");
                }
            }
        }
    }
}

#[test]
fn a_tag_that_stands_for_nothing_is_unreadable() {
    let [ask, told] = [
        ask_pins().into_iter().map(|(addressed, _)| ask_head(&addressed)).collect::<Vec<_>>(),
        told_pins().into_iter().map(|(told, _)| told_head(&told)).collect(),
    ];
    // In a question the tag follows the key id and the number of shards.
    for (read, messages, at, known) in [(ASK, ask, 34, 1..=7_u8), (TOLD, told, 0, 1..=18)] {
        let used: Vec<u8> = messages.iter().map(|bytes| bytes[at]).collect();
        assert_eq!(used, known.clone().collect::<Vec<u8>>(), "the pins have one of each kind");
        for tag in (0..=u8::MAX).filter(|tag| !known.contains(tag)) {
            for bytes in &messages {
                let mut bytes = bytes.clone();
                bytes[at] = tag;
                assert!(read(&bytes).is_err(), "tag {tag}");
            }
        }
    }
}

/// A length says how much is to come; it is believed only once that much is there.
#[test]
fn a_hostile_length_costs_neither_memory_nor_time() {
    let started = Instant::now();
    for (read, bytes) in samples() {
        for at in 0..bytes.len().saturating_sub(3) {
            for length in [u32::MAX, u32::MAX - 1, 0x7fff_ffff, 0x0100_0000] {
                let mut bytes = bytes.clone();
                bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
                if let Ok(written) = read(&bytes) {
                    assert_eq!(written, bytes);
                }
            }
        }
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn only_known_versions_are_read() {
    let [_, row] = [0, 1].map(|at| write_record(&record_pins()[at].0));
    for version in 0..=u8::MAX {
        let known = (OLDEST..=VERSION).contains(&version);
        let prefix = Prefix::read(&[version, 7, 0, 0, 0]).unwrap();
        assert_eq!((prefix.version, prefix.head_bytes), (version, 7));
        assert_eq!(prefix.is_known(), known, "{version}");
        assert_eq!(agreed(version), known.then_some(version), "{version}");
        let mut row = row.clone();
        row[0] = version;
        assert_eq!(read_record(&row).is_ok(), known, "{version}");
        assert!(known || read_record(&row) == Err(Unreadable("version")));
    }
}

#[test]
fn a_ledger_that_does_not_know_a_version_is_understood_in_any() {
    for offered in 0..=u8::MAX {
        // Its own version is in the prefix, and may be one that this side has never heard of.
        let frame = write_told(&Told::<()>::UnknownVersion(offered), offered);
        assert_eq!(frame, [offered, 2, 0, 0, 0, 15, offered]);
        assert_eq!(Prefix::read(&frame).unwrap().version, offered);
        assert_eq!(read_told(head(&frame)), Ok(Told::UnknownVersion(offered)));
    }
}

#[test]
fn a_frame_says_its_version_and_how_long_its_head_is() {
    for length in 0..PREFIX {
        assert!(Prefix::read(&[1; PREFIX][..length]).is_err());
    }
    for (addressed, _) in ask_pins() {
        for version in OLDEST..=VERSION {
            let frame = write_ask(&addressed, version);
            let prefix = Prefix::read(&frame).unwrap();
            assert_eq!(prefix.version, version);
            assert_eq!(usize::try_from(prefix.head_bytes).unwrap(), frame.len() - PREFIX);
        }
    }
}

#[test]
fn text_that_is_not_utf_8_is_unreadable() {
    let mut head = told_head(&Told::Failed("a".to_owned()));
    *head.last_mut().unwrap() = 0xff;
    assert_eq!(read_told(&head), Err(Unreadable("text")));
}

/// What is only ever read is stored as what it came from.
fn as_stored(record: &Record) -> Record {
    read_record(&write_record(record)).unwrap()
}

#[test]
fn an_expired_and_a_closed_record_are_stored_as_what_they_were() {
    use oncegate::lifecycle::record::State;
    for (record, _) in record_pins() {
        let read_as = match record.state.clone() {
            State::Completed(completed) => State::Expired(completed),
            State::InDoubt(doubt) => State::Closed(doubt),
            _ => continue,
        };
        let later = Record { state: read_as, ..record.clone() };
        assert_eq!(as_stored(&later), record);
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn every_question_comes_back_as_it_went(addressed in arbitrary::addressed()) {
        prop_assert_eq!(read_ask(&ask_head(&addressed)), Ok(addressed));
    }

    #[test]
    fn every_answer_comes_back_as_it_went(told in arbitrary::told()) {
        prop_assert_eq!(read_told(&told_head(&told)), Ok(told));
    }

    #[test]
    fn every_record_comes_back_as_it_went(record in arbitrary::record()) {
        prop_assert_eq!(as_stored(&record), record);
    }

    #[test]
    fn any_bytes_are_read_as_what_writes_them_or_not_at_all(bytes in any::<Vec<u8>>()) {
        for read in [ASK, TOLD, RECORD] {
            if let Ok(written) = read(&bytes) {
                prop_assert_eq!(&written, &bytes);
            }
        }
        let _ = Prefix::read(&bytes);
    }

    #[test]
    fn a_record_that_is_cut_short_is_never_a_shorter_one(record in arbitrary::record(), cut in any::<prop::sample::Index>()) {
        let row = write_record(&record);
        prop_assert!(read_record(&row[..cut.index(row.len())]).is_err());
    }
}
