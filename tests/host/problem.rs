//! `problem` and `answer`: every refusal as a client sees it, and the headers of every answer.

use std::collections::BTreeMap;

use oncegate::answer::{Status, marks, may_be_told, problem_marks, replay_marks, replayed_headers};
use oncegate::config::route::Doubtful;
use oncegate::lifecycle::event::{How, Replay};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::problem::{Code, Problem};
use oncegate::time::Timestamp;
use serde_json::{Value, json};

/// code, status, whether to come again
const CODES: [(Code, &str, u16, bool); 20] = [
    (Code::KeyMissing, "key-missing", 400, false),
    (Code::KeyInvalid, "key-invalid", 400, false),
    (Code::StrategyInvalid, "strategy-invalid", 400, false),
    (Code::KeyReused, "key-reused", 422, false),
    (Code::InFlight, "in-flight", 409, true),
    (Code::OriginUnreachable, "origin-unreachable", 502, true),
    (Code::Misconfigured, "misconfigured", 500, false),
    (Code::AlreadyExecuted, "already-executed", 409, false),
    (Code::CredentialChanged, "credential-changed", 409, false),
    (Code::CredentialRefused, "credential-refused", 401, false),
    (Code::CredentialUnverifiable, "credential-unverifiable", 503, true),
    (Code::ReplyNotStored, "reply-not-stored", 409, false),
    (Code::OutcomeUnknown, "outcome-unknown", 409, false),
    (Code::KeyExpired, "key-expired", 410, false),
    (Code::RequestTooLarge, "request-too-large", 413, false),
    (Code::NotGuarded, "not-guarded", 404, false),
    (Code::LoopDetected, "loop-detected", 508, false),
    (Code::StatusUnknown, "status-unknown", 404, false),
    (Code::OutsideWindow, "outside-window", 412, false),
    (Code::StoreUnavailable, "store-unavailable", 503, true),
];

#[test]
fn every_code_has_its_status_and_says_whether_to_come_again() {
    assert_eq!(CODES.map(|(code, ..)| code), Code::ALL);
    for (code, name, status, retry) in CODES {
        assert_eq!((code.as_str(), code.status(), code.should_retry()), (name, status, retry));
        assert!(!code.title().is_empty() && !code.ask().is_empty(), "{name}");
        let problem = Problem::new(code, "");
        assert_eq!(problem.status, status, "{name}");
        assert_eq!(problem.retry_after_s.is_some(), retry, "{name}");
    }
}

#[test]
fn a_problem_document_has_these_members_in_this_order() {
    for (code, name, status, retry) in CODES {
        let text = Problem::new(code, "Do this, \"now\".\n").body("c-1");
        let kind = if status < 500 { "idempotency_error" } else { "api_error" };
        let (title, detail) = (code.title(), r#"Do this, \"now\".\n"#);
        assert_eq!(
            text,
            format!(
                r#"{{"type":"/.well-known/idempotency#{name}","title":"{title}","status":{status},"detail":"{detail}","#
            ) + &format!(r#""message":"{detail}","code":"{name}","retryable":{retry},"#)
                + r#""correlation_id":"c-1","#
                + &format!(r#""error":{{"type":"{kind}","code":"{name}","message":"{detail}"}}}}"#)
        );
    }
}

#[test]
fn a_reply_that_was_not_stored_is_reported_with_its_status() {
    let problem =
        Problem { original_status: Some(201), ..Problem::new(Code::ReplyNotStored, "Ask it.") };
    let text = problem.body("c-1");
    assert!(text.contains(r#""status":409,"#), "{text}");
    assert!(text.contains(r#""correlation_id":"c-1","original_status":201,"error":{"#), "{text}");
}

#[test]
fn an_unknown_outcome_is_502_or_504_to_the_first_caller() {
    for status in [409, 502, 504] {
        let problem = Problem::new(Code::OutcomeUnknown, "").with_status(status);
        let document: Value = serde_json::from_str(&problem.body("c-1")).unwrap();
        assert_eq!((problem.status, &document["status"]), (status, &json!(status)));
    }
}

#[test]
fn a_problem_is_never_cached_and_payment_clients_are_told_whether_to_retry() {
    for (code, name, _, retry) in CODES {
        let marks: BTreeMap<_, _> =
            problem_marks(&Problem::new(code, ""), None, "c-1").into_iter().collect();
        assert_eq!(marks["content-type"], "application/problem+json", "{name}");
        assert_eq!(marks["cache-control"], "no-store", "{name}");
        assert_eq!(marks["stripe-should-retry"], retry.to_string(), "{name}");
        assert_eq!(marks["x-should-retry"], retry.to_string(), "{name}");
        assert_eq!(marks["x-correlation-id"], "c-1", "{name}");
        assert_eq!(marks.contains_key("retry-after"), retry, "{name}");
        assert!(!marks.contains_key("idempotent-replayed"), "{name}");
        assert!(!marks.contains_key("idempotency-status"), "{name}");
    }
    let problem = Problem::new(Code::InFlight, "").retry_after(37);
    let marks: BTreeMap<_, _> =
        problem_marks(&problem, Some(Status::Unknown), "c-1").into_iter().collect();
    assert_eq!((&*marks["retry-after"], &*marks["idempotency-status"]), ("37", "unknown"));
}

#[test]
fn a_doubt_is_worth_another_try_where_the_same_request_may_yet_be_told() {
    let unknown = || Problem::new(Code::OutcomeUnknown, "");
    let rows = [
        (unknown(), Doubtful::Hold, false),
        (unknown(), Doubtful::Probe, true),
        (unknown(), Doubtful::Retry, true),
        // The lease is live for so long.
        (unknown().retry_after(15), Doubtful::Hold, true),
        (Problem::new(Code::KeyReused, ""), Doubtful::Retry, false),
        (Problem::new(Code::InFlight, ""), Doubtful::Hold, true),
    ];
    for (problem, on_in_doubt, retryable) in rows {
        let told = may_be_told(problem, on_in_doubt);
        let marks: BTreeMap<_, _> = problem_marks(&told, None, "c-1").into_iter().collect();
        let document: Value = serde_json::from_str(&told.body("c-1")).unwrap();
        let said = retryable.to_string();
        assert_eq!(document["retryable"], json!(retryable), "{told:?} {on_in_doubt:?}");
        assert_eq!([&marks["x-should-retry"], &marks["stripe-should-retry"]], [&said, &said]);
    }
}

#[test]
fn a_replay_says_nothing_of_when_to_come_again() {
    let headers = [
        ("content-type", "text/plain"),
        ("retry-after", "7"),
        ("stripe-should-retry", "true"),
        ("x-should-retry", "true"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    for (status, kept, told) in [
        (201, &["content-type", "retry-after"][..], None),
        (303, &["content-type", "retry-after"], None),
        (402, &["content-type"], None),
        (500, &["content-type"], Some("false")),
        (529, &["content-type"], Some("false")),
    ] {
        let reply = Reply { status, headers: headers.clone(), body: Kept::Whole { bytes: 0 } };
        let replay = Replay { reply, expires: Timestamp(0), how: How::Replayed };
        let names: Vec<_> = replayed_headers(&replay).map(|(name, _)| name).collect();
        assert_eq!(names, kept, "{status}");
        let marks: BTreeMap<_, _> = replay_marks(&replay, "c-1").into_iter().collect();
        for name in ["x-should-retry", "stripe-should-retry"] {
            assert_eq!(marks.get(name).map(String::as_str), told, "{status}");
        }
        assert_eq!(marks["idempotent-replayed"], "true");
    }
}

#[test]
fn a_client_that_hung_up_is_no_failure_of_the_store() {
    let problem = Problem::new(Code::StoreUnavailable, "");
    assert_eq!(problem.logged(), ("store-unavailable", 503));
    assert_eq!(problem.to_nobody().logged(), ("client-gone", 499));
}

#[test]
fn what_comes_back_to_the_filter_frees_its_key() {
    for (code, outcome) in [(Code::LoopDetected, Some("release")), (Code::Misconfigured, None)] {
        let marks: BTreeMap<_, _> =
            problem_marks(&Problem::new(code, ""), None, "c-1").into_iter().collect();
        assert_eq!(marks.get("idempotency-outcome").map(String::as_str), outcome);
    }
}

#[test]
fn an_answer_says_what_became_of_the_operation() {
    let at = Some(Timestamp(1_700_000_000_999));
    let rows = [
        // status, as it is said, whether it is a replay
        (Status::Executed, "executed", false),
        (Status::Replayed, "replayed", true),
        (Status::Joined, "joined", true),
        (Status::Released, "released", false),
        (Status::Unknown, "unknown", false),
    ];
    for (status, said, replayed) in rows {
        for expires in [None, at] {
            let marks: BTreeMap<_, _> = marks(status, expires, "c-1").into_iter().collect();
            assert_eq!(marks["idempotency-status"], said);
            assert_eq!(marks["x-correlation-id"], "c-1");
            let replay = marks.get("idempotent-replayed").map(String::as_str);
            assert_eq!(replay, replayed.then_some("true"), "{said}");
            let until = marks.get("idempotency-expires").map(String::as_str);
            assert_eq!(until, expires.map(|_| "2023-11-14T22:13:20Z"), "{said}");
        }
    }
}

#[test]
fn a_time_that_has_no_name_is_left_out() {
    for (ms, expected) in [
        (0, Some("1970-01-01T00:00:00Z")),
        (253_402_300_799_999, Some("9999-12-31T23:59:59Z")),
        (253_402_300_800_000, None),
        (u64::MAX, None),
    ] {
        let marks: BTreeMap<_, _> =
            marks(Status::Executed, Some(Timestamp(ms)), "c").into_iter().collect();
        assert_eq!(marks.get("idempotency-expires").map(String::as_str), expected, "{ms}");
    }
}
