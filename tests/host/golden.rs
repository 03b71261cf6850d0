//! The bytes of version 1: one value of each kind, written out.
//!
//! A Ledger may run yesterday's code, and it holds last year's rows. So nothing here ever changes: new fields
//! and new variants are a new version with types of its own and bytes of its own here, while these go on
//! being read. A release reads a new version before any release writes it (`src/encoding.rs`).
//!
//! A number below 128 is one byte; a larger one has 7 bits in each byte, the lowest first, and the top bit set
//! in all but the last. A text or list follows its length, a variant its number, a span its seconds and
//! nanoseconds.

use std::fmt::Debug;
use std::time::Duration;

use oncegate::encoding::{read_row, write_row};
use oncegate::lifecycle::event::{
    Asker, Claim, CredentialChange, Event, How, OnInDoubt, Replay, Strategy, Verdict, Window,
};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::{
    Completed, Doubt, Durations, Execution, KeySpelling, Metadata, Previous, Reason, Record,
    Released, Running, State, StatusKey,
};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::operator::decide::{Decision, DecisionResult};
use oncegate::operator::query::{OperatorQuery, OperatorResult};
use oncegate::operator::search::{
    AuditEntry, FoundRecord, Position, RerunEntry, Search, StateKind,
};
use oncegate::operator::statistics::{Counter, Statistics};
use oncegate::protocol::runner::{
    RunnerAnswer, RunnerRequest, read_runner_answer, read_runner_request, write_runner_answer,
    write_runner_request,
};
use oncegate::protocol::{
    KnownStatus, LedgerAnswer, LedgerRequest, Question, VERSION, write_answer, write_request,
};
use oncegate::request::digest::hex;
use oncegate::request::fingerprint::Mismatch;
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::make::{self, lease};

type Golden<T> = Vec<(T, String)>;

#[test]
fn requests_are_written_as_they_always_were() {
    for (request, expected) in requests() {
        // Version and length of the head are the concern of `encoding.rs`.
        assert_eq!(hex(&write_request(&request, VERSION)[5..]), expected, "{request:?}");
    }
}

#[test]
fn answers_are_written_as_they_always_were() {
    for (answer, expected) in answers() {
        assert_eq!(hex(&write_answer(&answer, VERSION)[5..]), expected, "{answer:?}");
    }
}

#[test]
fn what_a_worker_and_a_runner_say_is_written_and_read_as_it_always_was() {
    let request = RunnerRequest {
        key_id: KeyId([0x1d; 32]),
        shards: 300,
        claim: make::claim(lease(0xaa)),
        run: run(2),
        sent: Timestamp(300),
        key: "k".to_owned(),
        address: "a".to_owned(),
        requested: "r".to_owned(),
        traceparent: Some("t".to_owned()),
    };
    // To whom; the claim; the run, when it was sent, and the texts.
    let expected = format!(
        "{}ac02{AA}{METADATA}0000000000 4b0080a305000000 80ceda0300 0a00000000{BB}0200ac02 016b01610172010174",
        "1d".repeat(32)
    );
    let frame = write_runner_request(&request);
    assert_eq!(hex(&frame[5..]), expected.replace(' ', ""));
    assert_eq!(read_runner_request(&frame), Ok(request));
    for (answer, expected) in [
        (RunnerAnswer::UnknownVersion(1), "0001"),
        (RunnerAnswer::Taken, "01"),
        (RunnerAnswer::CalledBefore, "02"),
        (RunnerAnswer::Refused("why".to_owned()), "0303776879"),
    ] {
        let frame = write_runner_answer(&answer);
        assert_eq!(hex(&frame[5..]), expected, "{answer:?}");
        assert_eq!(read_runner_answer(&frame), Ok(answer));
    }
}

#[test]
fn rows_are_written_and_read_as_they_always_were() {
    records().into_iter().for_each(is_row);
    is_row((tally(), GOLDEN_TALLY.to_owned()));
    is_row((audited(), format!("01{AUDITED}")));
    is_row((rerun(), format!("01{RERUN}")));
}

fn is_row<T: Serialize + DeserializeOwned + PartialEq + Debug>((value, expected): (T, String)) {
    let row = write_row(&value);
    assert_eq!(hex(&row), expected, "{value:?}");
    assert_eq!(read_row::<T>(&row).as_ref(), Ok(&value));
}

pub(crate) fn requests() -> Golden<LedgerRequest> {
    // The key id, then 300 shards.
    let to = format!("{}ac02", "1d".repeat(32));
    let claim = Claim {
        strategy: Strategy::FailOnRunning,
        on_in_doubt: OnInDoubt::Retry,
        credential_change: CredentialChange::Forward,
        durations: durations(),
        spelling: KeySpelling::Quoted,
        asker: Asker::Client,
        ..make::claim(lease(0xaa))
    };
    let mut with_status = make::claim(lease(0xaa));
    with_status.metadata.status = Some(status_key());
    let span = Duration::from_hours(1);
    let window = Some(Window { first_sent: Timestamp(300), span });
    let repeatable = Claim { window, ..make::claim(lease(0xaa)) };
    let decide = |decision| OperatorQuery::Decide {
        lease: Some(lease(0xaa)),
        decision,
        by: [0xb0, 0xb1, 0xb2, 0xb3],
    };
    let search = Search {
        correlation_id: Some("c".to_owned()),
        state: Some(StateKind::InDoubt),
        route: None,
        since: Some(Timestamp(9)),
        after: Some(place()),
        limit: 50,
    };
    let audit = OperatorQuery::Audit { after: None, limit: 50 };
    let event = |event| Question::Event(event);
    let reply = || make::reply(201, 4);
    [
        // The lease, the metadata, the rules, the durations, 10 s of patience, quoted, a client, no window.
        (event(Event::Claim(claim)), format!("0000{AA}{METADATA}0000020101{DURATIONS}0a00010000")),
        // With a status key; the default rules, 75 s, a day, none, 90 days, 10 s, bare, a client, no window.
        (
            event(Event::Claim(with_status)),
            format!(
                "0000{AA}{METADATA}00{STATUS_KEY}000000 4b00 80a30500 0000 80ceda0300 0a00000000"
            ),
        ),
        // First sent 300 ms after 1970; 3,600 s.
        (
            event(Event::Claim(repeatable)),
            format!(
                "0000{AA}{METADATA}0000000000 4b00 80a30500 0000 80ceda0300 0a000000 01ac02901c00"
            ),
        ),
        (event(Event::Settle(lease(0xaa), reply())), format!("0001{AA}{REPLY}")),
        (event(Event::Release(lease(0xaa), None)), format!("0002{AA}00")),
        (event(Event::Release(lease(0xaa), Some(reply()))), format!("0002{AA}01{REPLY}")),
        // After the lease, `status 503`.
        (event(Event::Doubt(lease(0xaa), Reason::Status(503))), format!("0003{AA}03f703")),
        (event(Event::BreakOff(lease(0xaa), durations())), format!("0004{AA}{DURATIONS}")),
        // The fingerprint, 10 s of patience.
        (event(Event::Look(make::fingerprint(0xf1), make::s(10))), format!("0005{F1}{F1}0a00")),
        (Question::Shards, "01".to_owned()),
        (Question::Operator(OperatorQuery::Key), "0200".to_owned()),
        (
            Question::Operator(OperatorQuery::Search(search)),
            format!("02010101630102000109 01{PLACE}32"),
        ),
        (
            Question::Operator(decide(Decision::Complete(reply()))),
            format!("020201{AA}00{REPLY}b0b1b2b3"),
        ),
        (Question::Operator(decide(Decision::Release)), format!("020201{AA}01b0b1b2b3")),
        (Question::Operator(decide(Decision::Hold)), format!("020201{AA}02b0b1b2b3")),
        (Question::Operator(decide(Decision::Purge)), format!("020201{AA}03b0b1b2b3")),
        (Question::Operator(OperatorQuery::Decisions), "0203".to_owned()),
        (Question::Operator(OperatorQuery::Stats), "0204".to_owned()),
        (Question::Operator(audit), "02050032".to_owned()),
        (Question::Status(StatusSecret([0x5e; 16])), format!("03{SECRET}")),
        (Question::Operator(OperatorQuery::Rerun(rerun())), format!("0206{RERUN}")),
        (
            Question::Operator(OperatorQuery::Reruns { after: Some(place()), limit: 50 }),
            format!("020701{PLACE}32"),
        ),
    ]
    .map(|(question, bytes)| {
        let request = LedgerRequest { key_id: KeyId([0x1d; 32]), shards: 300, question };
        (request, format!("{to}{}", bytes.replace(' ', "")))
    })
    .into()
}

pub(crate) fn answers() -> Golden<LedgerAnswer> {
    let reply = Reply { body: Kept::StatusOnly, ..make::reply(500, 0) };
    let replay = Replay { reply, expires: Timestamp(3), how: How::Joined };
    let in_doubt = Verdict::InDoubt {
        lease: Some(lease(0xaa)),
        over_for: Duration::from_millis(60_001),
        reason: Reason::Truncated,
    };
    let how = |replay: &Replay, how| Verdict::Replay(Replay { how, ..replay.clone() });
    let known = KnownStatus {
        route: "charge".to_owned(),
        correlation_id: "c-1".to_owned(),
        credential: Some([0xcd; 16]),
        verdict: Verdict::Expired,
    };
    let verdicts = [
        (Verdict::Granted(run(2), None), format!("00{BB}020000")),
        (Verdict::Granted(run(2), Some(StatusSecret([0x5e; 16]))), format!("00{BB}020001{SECRET}")),
        (Verdict::Join(Timestamp(300)), "01ac02".to_owned()),
        (Verdict::InFlight { retry_after_s: 7, status: None }, "020700".to_owned()),
        (
            Verdict::InFlight { retry_after_s: 7, status: Some(StatusSecret([0x5e; 16])) },
            format!("020701{SECRET}"),
        ),
        (Verdict::Replay(replay.clone()), format!("03f403{HEADERS}010301")),
        (how(&replay, How::Replayed), format!("03f403{HEADERS}010300")),
        (how(&replay, How::Executed), format!("03f403{HEADERS}010302")),
        (how(&replay, How::Released), format!("03f403{HEADERS}010303")),
        (Verdict::AlreadyExecuted, "04".to_owned()),
        // 60 s and 1,000,000 ns; `truncated`.
        (in_doubt, format!("0501{AA}3cc0843d02")),
        (Verdict::StillRead { retry_after_s: 7 }, "0607".to_owned()),
        (Verdict::Expired, "07".to_owned()),
        (Verdict::KeyReused(Mismatch(0b101)), "0805".to_owned()),
        (Verdict::CredentialChanged, "09".to_owned()),
        (Verdict::Kept(Some(Timestamp(3))), "0a0103".to_owned()),
        (Verdict::Stale, "0b".to_owned()),
        (Verdict::Released, "0c".to_owned()),
        (Verdict::Absent, "0d".to_owned()),
        (Verdict::OutsideWindow, "0e".to_owned()),
        (Verdict::AheadOfTime, "0f".to_owned()),
    ];
    let verdicts =
        verdicts.map(|(verdict, bytes)| (LedgerAnswer::Verdict(verdict), format!("01{bytes}")));
    let (record, row) = records().remove(3);
    let found = FoundRecord { key: KeyId([0x1d; 32]), record, replays: 2 };
    let ruled = |ruling| LedgerAnswer::Operator(OperatorResult::Decided(ruling));
    let others = [
        (LedgerAnswer::UnknownVersion(1), "0001".to_owned()),
        (LedgerAnswer::ClaimAgain, "02".to_owned()),
        (LedgerAnswer::Crowded, "03".to_owned()),
        (LedgerAnswer::SameShards, "04".to_owned()),
        (LedgerAnswer::OtherShards(300), "05ac02".to_owned()),
        (LedgerAnswer::Failed("why".to_owned()), "0603776879".to_owned()),
        (
            LedgerAnswer::Operator(OperatorResult::Records(Timestamp(9), vec![found])),
            // The record is that of its row, without the row's version.
            format!("07000901{}{}02", "1d".repeat(32), &row[2..]),
        ),
        (ruled(DecisionResult::Done), "070100".to_owned()),
        (ruled(DecisionResult::Absent), "070101".to_owned()),
        (ruled(DecisionResult::LeaseLive(Timestamp(9))), "07010209".to_owned()),
        (ruled(DecisionResult::MovedOn), "070103".to_owned()),
        (
            LedgerAnswer::Operator(OperatorResult::Stats(vec![(300, tally())])),
            format!("070201ac02{}", &GOLDEN_TALLY[2..]),
        ),
        (
            LedgerAnswer::Operator(OperatorResult::Audit(vec![audited()])),
            format!("070301{AUDITED}"),
        ),
        // The route, the correlation id, who may read it, the verdict.
        (LedgerAnswer::Status(known), format!("080663686172676503632d3101{CREDENTIAL}07")),
        (LedgerAnswer::Operator(OperatorResult::Reruns(vec![rerun()])), format!("070401{RERUN}")),
    ];
    verdicts.into_iter().chain(others).collect()
}

pub(crate) fn records() -> Golden<Record> {
    let completed = Completed {
        run: run(1),
        expires: Timestamp(0x0200),
        gone: Timestamp(0x0300),
        ..make::completed(lease(0xaa), Timestamp(0x0100))
    };
    let completed_bytes = format!("{AA}{BB}0100{REPLY}800280048006");
    let doubt = Doubt {
        run: run(3),
        durations: durations(),
        closes: Timestamp(5),
        gone: Timestamp(6),
        reason: Reason::Timeout,
        since: Timestamp(3),
        earlier: Some(Reason::LeaseOver),
        ..make::doubt(lease(0xaa), Timestamp(4))
    };
    // The lease, the run, the reason, since, until, the durations, closes, gone, earlier; then the base.
    let doubt_bytes =
        |lease: &str, base: &str| format!("{lease}{BB}0300000304{DURATIONS}05060104{base}");
    let over = |previous| {
        let until = Timestamp(2);
        let running = make::running(lease(0xaa), Timestamp(1));
        State::Running(Running { run: run(1), until, durations: durations(), previous, ..running })
    };
    let over_bytes = |previous: &str| format!("00{AA}{BB}01000102{DURATIONS}{previous}");
    let released = |reply| {
        let (since, until) = (Timestamp(1), Timestamp(2));
        State::Released(Released { lease: lease(0xaa), run: run(1), reply, since, until })
    };
    let of_nobody = Doubt { lease: None, base: Some(completed.clone()), ..doubt.clone() };
    let held = doubt_bytes(&format!("01{AA}"), "00");
    let nobodys = doubt_bytes("00", &format!("01{completed_bytes}"));
    [
        (over(Previous::Nothing), over_bytes("00")),
        (over(Previous::Replied(completed.clone())), over_bytes(&format!("01{completed_bytes}"))),
        (over(Previous::Doubted(doubt.clone())), over_bytes(&format!("02{held}"))),
        (State::Completed(completed.clone()), format!("01{completed_bytes}")),
        (State::InDoubt(doubt.clone()), format!("02{held}")),
        (State::InDoubt(of_nobody), format!("02{nobodys}")),
        // Only in what operators are shown.
        (State::Expired(completed), format!("03{completed_bytes}")),
        (State::Closed(doubt), format!("04{held}")),
        (released(None), format!("05{AA}{BB}0100000102")),
        (released(Some(make::reply(201, 4))), format!("05{AA}{BB}010001{REPLY}0102")),
    ]
    .map(|(state, bytes)| {
        let has_address = matches!(state, State::Released(_));
        let status = has_address.then(status_key);
        let metadata = Metadata { created: Timestamp(0x1122_3344), status, ..make::metadata() };
        let status = if has_address { STATUS_KEY } else { "00" };
        (Record { metadata, state }, format!("01{METADATA}c4e6888901{status}{bytes}"))
    })
    .into()
}

fn tally() -> Statistics {
    let mut tally = Statistics::default();
    tally.add("charge", Counter::ReplyNotStored, 300);
    tally.replayed(KeyId([0x1d; 32]));
    tally
}

fn audited() -> AuditEntry {
    let Position { at, key } = place();
    let record = |metadata: Metadata| Record {
        metadata,
        state: State::Completed(make::completed(lease(0xaa), Timestamp(0))),
    };
    let before = record(make::metadata());
    let action = "purge".to_owned();
    AuditEntry { at, key, action, by: [0xb0, 0xb1, 0xb2, 0xb3], before, after: None }
}

fn status_key() -> StatusKey {
    StatusKey { secret: StatusSecret([0x5e; 16]), credential: Some([0xcd; 16]) }
}

fn rerun() -> RerunEntry {
    let Position { at, key } = place();
    let text = str::to_owned;
    RerunEntry {
        at,
        key,
        by: [0xb0, 0xb1, 0xb2, 0xb3],
        schedule: text("nightly"),
        scheduled_time: Timestamp(9),
        route: text("jobs"),
        method: text("POST"),
        path: text("/run"),
        correlation_id: text("c-1"),
    }
}

fn place() -> Position {
    Position { at: Timestamp(300), key: KeyId([0x1d; 32]) }
}

fn run(attempt: u32) -> Execution {
    make::run(lease(0xbb), attempt)
}

fn durations() -> Durations {
    Durations {
        lease: Duration::from_secs(1),
        ttl: Duration::from_secs(2),
        tombstone: Duration::from_secs(3),
        doubt_ttl: Duration::from_mins(5),
    }
}

const AA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Half a fingerprint.
const F1: &str = "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1";
/// 300 ms after 1970, a key id.
const PLACE: &str = "ac021d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d";
/// Fingerprint, operation; "charge", "POST", "/v1/payments", "c-1". After it come the instant of creation and the
/// status key.
const METADATA: &str = "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1\
    c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c106636861726765\
    04504f53540c2f76312f7061796d656e747303632d31";
/// The secret of a status address.
const SECRET: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";
/// The digest of a credential under it.
const CREDENTIAL: &str = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
/// There is one: the secret, and a credential that its reader must have.
const STATUS_KEY: &str = "015e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e\
    01cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
/// 1 s, 2 s, 3 s, 300 s.
const DURATIONS: &str = "010002000300ac0200";
/// One: "content-type", "application/json".
const HEADERS: &str = "010c636f6e74656e742d74797065106170706c69636174696f6e2f6a736f6e";
/// Status 201, the headers, whole: 4 bytes.
const REPLY: &str = "c901010c636f6e74656e742d74797065106170706c69636174696f6e2f6a736f6e0004";
/// One route with its 17 counts; one key that was replayed once.
const GOLDEN_TALLY: &str = "010106636861726765\
    00000000000000000000000000ac02000000\
    011d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d01";
/// The place, by whom; "nightly", the slot, "jobs", "POST", "/run", "c-1".
const RERUN: &str = "ac021d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d\
    b0b1b2b3076e696768746c7909046a6f627304504f5354042f72756e03632d31";
/// The place, the action, by whom; the record before, none after.
const AUDITED: &str = "ac021d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d\
    057075726765b0b1b2b3\
    f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1\
    c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10663686172676504504f5354\
    0c2f76312f7061796d656e747303632d310000\
    01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0100\
    c901010c636f6e74656e742d74797065106170706c69636174696f6e2f6a736f6e0004\
    0080b8992980b8992900";
