//! The bytes between Worker and Ledger, and on disk: one message of each kind, written out.
//!
//! A Ledger may run yesterday's code and holds last year's rows: a change here is a new version of the
//! format. Spaces and line breaks are for the reader; integers are little-endian.

use std::time::Duration;

use oncegate::lifecycle::record::{
    Completed, Doubt, Durations, Execution, KeySpelling, Lease, Metadata, Previous, Record,
    Running, State,
};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::lifecycle::step::{Claim, OnInDoubt, Strategy};
use oncegate::operator::decide::DecisionResult;
use oncegate::operator::search::{OperatorQuery, OperatorResult, Search, StateKind};
use oncegate::protocol::{Ask, CredentialChange, How, Replay, Told};
use oncegate::request::fingerprint::Mismatch;
use oncegate::time::Timestamp;
use oncegate::wire::{Addressed, VERSION, write_ask, write_record, write_told};

use crate::make;

type Pins<T> = Vec<(T, String)>;

#[test]
fn questions_are_written_as_they_always_were() {
    for (addressed, expected) in ask_pins() {
        assert_eq!(hex(&write_ask(&addressed, VERSION)), squeezed(&expected), "{addressed:?}");
    }
}

#[test]
fn answers_are_written_as_they_always_were() {
    for (told, expected) in told_pins() {
        assert_eq!(hex(&write_told(&told, VERSION)), squeezed(&expected), "{told:?}");
    }
}

#[test]
fn records_are_written_as_they_always_were() {
    for (record, expected) in record_pins() {
        assert_eq!(hex(&write_record(&record)), squeezed(&expected), "{record:?}");
    }
}

/// Version and length of the head are checked against each other by reading: here they are `01` and
/// what the head comes to.
fn frame(head: &str) -> String {
    let bytes = u32::try_from(squeezed(head).len() / 2).unwrap();
    format!("01 {} {head}", hex(&bytes.to_le_bytes()))
}

pub(crate) fn ask_pins() -> Pins<Addressed> {
    // key id: SHA-256 of 8e03978e (half), scope; 16 shards
    let to = "2b3ffd0b13af24bb7e22a843249ba252 5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c 1000";
    let claim = Claim {
        strategy: Strategy::FailOnRunning,
        on_in_doubt: OnInDoubt::Retry,
        durations: durations(),
        wait: Duration::from_secs(10),
        spelling: KeySpelling::Quoted,
        ..make::claim(lease(0xaa))
    };
    let claim = (
        Ask::Claim(claim, CredentialChange::Forward),
        // tag, lease, about; fail_on_running, retry, forward; terms, wait; quoted
        format!("01 {AA} {ABOUT} 03 02 02 {TERMS} 1027000000000000 02"),
    );
    let settle = (Ask::Settle(lease(0xaa), make::reply(201, 4)), format!("02 {AA} {REPLY}"));
    [
        claim,
        settle,
        (Ask::Release(lease(0xaa)), format!("03 {AA}")),
        (Ask::Doubt(lease(0xaa)), format!("04 {AA}")),
        (Ask::Look(make::fingerprint(0xf1)), format!("05 {F1} {F1}")),
        (Ask::Shards, "06".to_owned()),
        (
            Ask::Operator(search()),
            "07 02 01 01000000 63 01 08000000 696e5f646f756274 00 01 0900000000000000 00 3200"
                .to_owned(),
        ),
    ]
    .map(|(ask, head)| (make::addressed(ask), frame(&format!("{to} {head}"))))
    .into()
}

fn search() -> OperatorQuery {
    OperatorQuery::Search(Search {
        correlation_id: Some("c".to_owned()),
        state: Some(StateKind::InDoubt),
        route: None,
        since: Some(Timestamp(9)),
        after: None,
        limit: 50,
    })
}

pub(crate) fn told_pins() -> Pins<Told<()>> {
    let reply = Reply { body: Kept::StatusOnly, ..make::reply(500, 0) };
    let replay = Replay { reply, expires: Timestamp(3), how: How::Joined, ..make::replay(()) };
    let in_doubt =
        Told::InDoubt { lease: Some(lease(0xaa)), over_for: Some(Duration::from_mins(1)) };
    [
        // run: id, attempt, form
        (Told::Granted(run(2)), format!("01 {BB} 02000000 01")),
        (Told::Again, "02".to_owned()),
        (Told::InFlight { retry_after_s: 7 }, "03 0700000000000000".to_owned()),
        // reply (status only), expires, joined
        (Told::Replay(replay), format!("04 f401 {HEADERS} 02 0300000000000000 02")),
        (Told::AlreadyExecuted, "05".to_owned()),
        (in_doubt, format!("06 01 {AA} 01 60ea000000000000")),
        (Told::Expired, "07".to_owned()),
        (Told::KeyReused(Mismatch(0)), "08".to_owned()),
        (Told::CredentialChanged, "09".to_owned()),
        (Told::Kept(Some(Timestamp(3))), "0a 01 0300000000000000".to_owned()),
        (Told::Stale, "0b".to_owned()),
        (Told::Absent, "0c".to_owned()),
        (Told::Crowded, "0d".to_owned()),
        (Told::Failed("why".to_owned()), "0e 03000000 776879".to_owned()),
        (Told::UnknownVersion(1), "0f 01".to_owned()),
        (Told::OtherShards(16), "10 1000".to_owned()),
        (
            Told::Operator(OperatorResult::Decided(DecisionResult::LeaseLive(Timestamp(9)))),
            "11 02 03 0900000000000000".to_owned(),
        ),
        (Told::KeyReused(Mismatch(0b101)), "12 05".to_owned()),
    ]
    .map(|(told, head)| (told, frame(&head)))
    .into()
}

pub(crate) fn record_pins() -> Pins<Record> {
    let completed = Completed {
        run: run(1),
        expires: Timestamp(0x0200),
        gone: Timestamp(0x0300),
        ..make::completed(lease(0xaa), Timestamp(0x0100))
    };
    let completed_bytes =
        format!("{AA} {BB} 01000000 01 {REPLY} 0001000000000000 0002000000000000 0003000000000000");
    let doubt = Doubt {
        run: run(3),
        durations: durations(),
        closes: Timestamp(5),
        gone: Timestamp(6),
        earlier: true,
        ..make::doubt(lease(0xaa), Timestamp(4))
    };
    // lease, run, until, terms, closes, gone, earlier; then the base
    let doubt_bytes = |lease: &str, base: &str| {
        format!(
            "{lease} {BB} 03000000 01 0400000000000000 {TERMS} 0500000000000000 \
             0600000000000000 01 {base}"
        )
    };
    let over = |previous| {
        let until = Timestamp(2);
        let running = make::running(lease(0xaa), Timestamp(1));
        State::Running(Running { run: run(1), until, durations: durations(), previous, ..running })
    };
    let over_bytes = |previous: &str| {
        format!("01 {AA} {BB} 01000000 01 0100000000000000 0200000000000000 {TERMS} {previous}")
    };
    let of_nobody = Doubt { lease: None, base: Some(completed.clone()), ..doubt.clone() };
    let held = doubt_bytes(&format!("01 {AA}"), "00");
    [
        (over(Previous::Nothing), over_bytes("01")),
        (over(Previous::Replied(completed.clone())), over_bytes(&format!("02 {completed_bytes}"))),
        (over(Previous::Doubted(doubt.clone())), over_bytes(&format!("03 {held}"))),
        (State::Completed(completed), format!("02 {completed_bytes}")),
        (State::InDoubt(doubt), format!("03 {held}")),
        (
            State::InDoubt(of_nobody),
            format!("03 {}", doubt_bytes("00", &format!("01 {completed_bytes}"))),
        ),
    ]
    .map(|(state, bytes)| {
        let metadata = Metadata { created: Timestamp(0x1122_3344), ..make::metadata() };
        (Record { metadata, state }, format!("01 {ABOUT} 4433221100000000 {bytes}"))
    })
    .into()
}

fn lease(number: u8) -> Lease {
    make::lease(number)
}

fn run(attempt: u32) -> Execution {
    make::run(lease(0xbb), attempt)
}

fn durations() -> Durations {
    Durations {
        lease: Duration::from_millis(1),
        ttl: Duration::from_millis(2),
        tombstone: Duration::from_millis(3),
        doubt_ttl: Duration::from_millis(4),
    }
}

fn hex(bytes: &[u8]) -> String {
    oncegate::request::digest::hex(bytes)
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

const AA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Half a fingerprint.
const F1: &str = "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1";
/// fingerprint, kin; "charge", "POST", "/v1/payments", "c-1", each after its length
const ABOUT: &str = "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1 f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1 \
    c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1 06000000 636861726765 04000000 504f5354 \
    0c000000 2f76312f7061796d656e7473 03000000 632d31";
/// `lease` 1, `ttl` 2, `tombstone` 3, `doubt_ttl` 4
const TERMS: &str = "0100000000000000 0200000000000000 0300000000000000 0400000000000000";
/// one: "content-type", "application/json"
const HEADERS: &str = "01000000 0c000000 636f6e74656e742d74797065 \
    10000000 6170706c69636174696f6e2f6a736f6e";
/// status 201, the header, whole: 4 bytes
const REPLY: &str = "c900 01000000 0c000000 636f6e74656e742d74797065 \
    10000000 6170706c69636174696f6e2f6a736f6e 01 0400000000000000";
