//! Messages and rows: every value comes back as it went, and bytes that are not exactly one value of a known
//! version are unreadable.

use oncegate::encoding::{ROW_VERSION, Unreadable, read_row, write_row};
use oncegate::lifecycle::record::Record;
use oncegate::protocol::{
    LedgerAnswer, OLDEST, PREFIX, VERSION, agreed, read_answer, read_request, write_answer,
    write_request,
};
use proptest::prelude::*;

use crate::arbitrary;
use crate::golden::{answers, records, requests};
use crate::make::cases;

/// Whether bytes can be read as what they are a form of.
type Reads = fn(&[u8]) -> bool;

/// Every golden message and row, with its reader.
fn samples() -> Vec<(Reads, Vec<u8>)> {
    let request: Reads = |bytes| read_request(bytes).is_ok();
    let answer: Reads = |bytes| read_answer(bytes).is_ok();
    let row: Reads = |bytes| read_row::<Record>(bytes).is_ok();
    let requests = requests().into_iter();
    let requests = requests.map(|(value, _)| (request, write_request(&value, VERSION)));
    let answers = answers().into_iter();
    let answers = answers.map(|(value, _)| (answer, write_answer(&value, VERSION)));
    let rows = records().into_iter().map(|(value, _)| (row, write_row(&value)));
    requests.chain(answers).chain(rows).collect()
}

#[test]
fn what_is_cut_short_or_has_something_after_it_is_unreadable() {
    for (reads, bytes) in samples() {
        assert!(reads(&bytes));
        for length in 0..bytes.len() {
            assert!(!reads(&bytes[..length]), "{length} bytes of {bytes:02x?}");
        }
        assert!(!reads(&[&bytes[..], &[0]].concat()), "{bytes:02x?} and one byte more");
    }
}

#[test]
fn a_frame_says_its_version_and_how_long_its_head_is() {
    for (request, _) in requests() {
        for version in OLDEST..=VERSION {
            let frame = write_request(&request, version);
            let length = u32::try_from(frame.len() - PREFIX).unwrap().to_le_bytes();
            assert_eq!((frame[0], &frame[1..PREFIX]), (version, &length[..]));
            assert_eq!(read_request(&frame), Ok((version, request.clone())));
        }
    }
}

#[test]
fn only_known_versions_are_read() {
    let (request, _) = requests().remove(0);
    let (record, _) = records().remove(0);
    for version in 0..=u8::MAX {
        let known = (OLDEST..=VERSION).contains(&version);
        assert_eq!(agreed(version), known.then_some(version), "{version}");
        let read = read_request(&write_request(&request, version));
        let expected = known.then(|| (version, request.clone()));
        assert_eq!(read, expected.ok_or(Unreadable::Version(version)));
        let answer = read_answer(&write_answer(&LedgerAnswer::ClaimAgain, version));
        assert_eq!(answer.is_ok(), known, "{version}");
        let mut row = write_row(&record);
        row[0] = version;
        assert_eq!(read_row::<Record>(&row).is_ok(), version == ROW_VERSION, "{version}");
    }
}

/// Old and new code meet for minutes after a deploy, whatever the distance between their versions.
#[test]
fn a_ledger_that_does_not_know_a_version_is_understood_in_any() {
    for spoken in 0..=u8::MAX {
        let frame = write_answer(&LedgerAnswer::UnknownVersion(spoken), spoken);
        assert_eq!(frame, [spoken, 2, 0, 0, 0, 0, spoken]);
        assert_eq!(read_answer(&frame), Ok(LedgerAnswer::UnknownVersion(spoken)));
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_request_comes_back_as_it_went(request in arbitrary::request()) {
        prop_assert_eq!(read_request(&write_request(&request, VERSION)), Ok((VERSION, request)));
    }

    #[test]
    fn every_answer_comes_back_as_it_went(answer in arbitrary::answer()) {
        prop_assert_eq!(read_answer(&write_answer(&answer, VERSION)), Ok(answer));
    }

    #[test]
    fn every_record_comes_back_as_it_went(record in arbitrary::record()) {
        prop_assert_eq!(read_row(&write_row(&record)), Ok(record));
    }
}
