//! The dialect of OASIS Repeatable Requests: its headers, what a request is that has them, and what its first date decides.

use std::time::Duration;

use oncegate::admission::{Admission, Guarded, Head, admit, consider, speaks_repeatability};
use oncegate::answer::{Answer, duplicate, repeatability_result};
use oncegate::config::Policy;
use oncegate::config::publish::published;
use oncegate::lifecycle::event::{
    Claim, CredentialChange, Event, OnInDoubt, Strategy as OnDuplicate, Verdict, Window,
};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::{
    Completed, Durations, Reason, Record, Released, State, StatusKey,
};
use oncegate::lifecycle::step::{Change, OtherCredential, Step, step};
use oncegate::problem::{Code, Problem};
use oncegate::request::repeatability::Repeatable;
use oncegate::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::arbitrary;
use crate::make::{
    self, address, cases, days, headers, instant, lease, ms_after, ms_before, s, vars,
};

const ID: (&str, &str) = ("repeatability-request-id", "f0c7a1f2");
const SENT: (&str, &str) = ("repeatability-first-sent", "Tue, 24 Nov 2026 08:49:37 GMT");
/// The same instant.
const SENT_AT: Timestamp = Timestamp(1_795_510_177_000);

fn read(lines: &[(&str, &str)]) -> Option<Result<Repeatable, &'static str>> {
    Repeatable::read(&headers(lines))
}

// ---- the headers -----------------------------------------------------------------------------------------------------

#[test]
fn an_id_and_a_date_come_together_or_not_at_all() {
    let both = Repeatable { request_id: "f0c7a1f2".to_owned(), first_sent: SENT_AT };
    assert_eq!(read(&[ID, SENT]), Some(Ok(both)));
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[("repeatability-client-id", "c")]), None);
    for (one, missing) in
        [(ID, "without Repeatability-First-Sent"), (SENT, "without Repeatability-Request-ID")]
    {
        let why = read(&[one]).unwrap().unwrap_err();
        assert!(why.ends_with(missing), "{why}");
    }
}

#[test]
fn a_date_is_an_imf_fixdate_and_nothing_else() {
    let at = |text| read(&[ID, ("repeatability-first-sent", text)]).unwrap().ok();
    for (text, seconds) in [
        ("Tue, 24 Nov 2026 08:49:37 GMT", 1_795_510_177),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
    ] {
        assert_eq!(at(text).map(|it| it.first_sent), Some(instant(seconds)), "{text}");
    }
    for text in [
        "",
        // The obsolete formats of RFC 9110 section 5.6.7.
        "Tuesday, 24-Nov-26 08:49:37 GMT",
        "Tue Nov 24 08:49:37 2026",
        // Other formats.
        "2026-11-24T08:49:37Z",
        "1795510177",
        "Tue, 24 Nov 2026 08:49:37 UTC",
        "Tue, 24 Nov 2026 08:49:37 +0000",
        "Tue, 24 Nov 2026 08:49:37",
        "Tue, 24 Nov 2026 08:49 GMT",
        "Tue, 24 Nov 2026 08:49:37.000 GMT",
        "Tue 24 Nov 2026 08:49:37 GMT",
        "Tue, 4 Nov 2026 08:49:37 GMT",
        "tue, 24 nov 2026 08:49:37 gmt",
        "Di, 24 Nov 2026 08:49:37 GMT",
        // Not that day of the week, and days and times that there are not.
        "Mon, 24 Nov 2026 08:49:37 GMT",
        "Sun, 29 Feb 2026 00:00:00 GMT",
        "Tue, 31 Nov 2026 00:00:00 GMT",
        "Tue, 24 Nov 2026 24:00:00 GMT",
        "Tue, 24 Nov 2026 08:60:00 GMT",
        // Beyond what is counted.
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Sat, 01 Jan 10000 00:00:00 GMT",
        // More than the date; two lines of the header arrive joined.
        " Tue, 24 Nov 2026 08:49:37 GMT",
        "Tue, 24 Nov 2026 08:49:37 GMT ",
        "Tue, 24 Nov 2026 08:49:37 GMT, Tue, 24 Nov 2026 08:49:37 GMT",
        "\"Tue, 24 Nov 2026 08:49:37 GMT\"",
        "Tue, 24 Nov 2026 08:49:37 GM\u{fffd}",
    ] {
        assert_eq!(at(text), None, "{text}");
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_text_is_a_date_or_is_refused(text in ".*|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
        read(&[ID, ("repeatability-first-sent", &text)]).unwrap().ok();
    }
}

// ---- what a request is that has them ---------------------------------------------------------------------------------

fn route(from: &Value) -> Value {
    json!({ "key": { "from": from } })
}

fn admitted<T>(
    table: &Value,
    lines: &[(&str, &str)],
    ask: impl Fn(Admission, &Head<'_>) -> T,
) -> T {
    let policy = Policy::parse(&vars([("ROUTES", json!([table]))])).unwrap();
    let (address, header) = (address("https://h/rooms"), headers(lines));
    let head = Head { method: "POST", address: &address, header: &header };
    ask(admit(&policy, &head), &head)
}

fn guarded(table: &Value, lines: &[(&str, &str)]) -> (Guarded, Claim) {
    admitted(table, lines, |admission, head| match admission {
        Admission::Guard(guarded) => (guarded.clone(), guarded.claim(head, &[7; 32], lease(1))),
        other => panic!("it is not guarded: {other:?}"),
    })
}

fn refused(table: &Value, lines: &[(&str, &str)]) -> (Problem, bool) {
    admitted(table, lines, |admission, head| match admission {
        Admission::Refuse(problem, route) => (problem, speaks_repeatability(&route, head)),
        other => panic!("it is not refused: {other:?}"),
    })
}

#[test]
fn the_id_is_the_key_and_the_date_goes_with_the_claim() {
    let (it, claim) = guarded(&route(&json!(["repeatability"])), &[ID, SENT]);
    assert_eq!(it.key.as_str(), "f0c7a1f2");
    assert!(it.speaks_repeatability());
    // Without a window of its own, the route's ttl.
    assert_eq!(claim.window, Some(Window { first_sent: SENT_AT, span: days(1) }));
    let table = json!({ "key": { "from": ["repeatability"] }, "window": "1h" });
    let (_, claim) = guarded(&table, &[ID, SENT]);
    assert_eq!(claim.window, Some(Window { first_sent: SENT_AT, span: s(3600) }));
}

#[test]
fn the_sources_are_asked_in_their_order_and_the_first_says_which_dialect_it_is() {
    let key = ("idempotency-key", "k1");
    let both = json!(["header:Idempotency-Key", "repeatability"]);
    for (from, lines, expected, speaks) in [
        (&both, &[key][..], "k1", false),
        (&both, &[ID, SENT], "f0c7a1f2", true),
        (&both, &[key, ID, SENT], "k1", false),
        // What is wrong with the second source is not looked at.
        (&both, &[key, ID], "k1", false),
        (&json!(["repeatability", "header:Idempotency-Key"]), &[key, ID, SENT], "f0c7a1f2", true),
        (&json!(["repeatability", "header:Idempotency-Key"]), &[key], "k1", false),
        (&json!(["header:Idempotency-Key"]), &[key, ID, SENT], "k1", false),
        // As any header: no date is asked for.
        (&json!(["header:Repeatability-Request-ID"]), &[ID], "f0c7a1f2", false),
    ] {
        let (it, claim) = guarded(&route(from), lines);
        assert_eq!(
            (it.key.as_str(), it.speaks_repeatability()),
            (expected, speaks),
            "{from} {lines:?}"
        );
        assert_eq!(claim.window.is_some(), speaks, "{from} {lines:?}");
    }
    let passes = |from: &Value, lines: &[(&str, &str)]| {
        admitted(&route(from), lines, |admission, _| matches!(admission, Admission::Pass))
    };
    assert!(passes(&json!(["repeatability"]), &[]));
    assert!(passes(&json!(["repeatability"]), &[key]));
    assert!(passes(&json!(["header:Idempotency-Key"]), &[ID, SENT]));
}

#[test]
fn a_key_in_the_body_comes_before_the_headers_where_the_route_says_so() {
    let table = route(&json!(["body:/id", "repeatability"]));
    for (body, expected, speaks) in [(r#"{"id":"b1"}"#, "b1", false), ("{}", "f0c7a1f2", true)] {
        admitted(&table, &[ID, SENT], |admission, head| {
            let Admission::Read(route) = admission else { panic!("the body is not read") };
            // Until then it may be of the dialect.
            assert!(speaks_repeatability(&route, head));
            let Admission::Guard(it) = consider(route, head, Some(body.as_bytes())) else {
                panic!("it is not guarded")
            };
            assert_eq!((it.key.as_str(), it.speaks_repeatability()), (expected, speaks));
        });
    }
}

#[test]
fn what_cannot_be_used_is_refused_and_rejected() {
    let long = "k".repeat(256);
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[ID], "comes without"),
        (&[SENT], "comes without"),
        (&[ID, ("repeatability-first-sent", "2026-11-24T08:49:37Z")], "no date such as"),
        (&[ID, ("repeatability-first-sent", "")], "no date such as"),
        (&[("repeatability-request-id", ""), SENT], "empty"),
        (&[("repeatability-request-id", "a, b"), SENT], "a space"),
        (&[("repeatability-request-id", "k\u{fffd}"), SENT], "not ASCII"),
        (&[("repeatability-request-id", &long), SENT], "longer than 255"),
        // It is part of the scope.
        (&[ID, SENT, ("repeatability-client-id", "\u{fffd}")], "repeatability-client-id"),
    ];
    for table in [
        route(&json!(["repeatability"])),
        route(&json!(["header:Idempotency-Key", "repeatability"])),
    ] {
        for (lines, why) in rows {
            let (problem, speaks) = refused(&table, lines);
            assert_eq!((problem.code, speaks), (Code::KeyInvalid, true), "{lines:?}");
            assert!(problem.detail.contains(why), "{why}: {}", problem.detail);
        }
    }
    let (problem, speaks) =
        refused(&json!({ "key": { "from": ["repeatability"], "required": true } }), &[]);
    assert_eq!((problem.code, speaks), (Code::KeyMissing, false));
    let (problem, speaks) = refused(
        &route(&json!(["header:Idempotency-Key", "repeatability"])),
        &[("idempotency-key", ""), ID, SENT],
    );
    assert_eq!((problem.code, speaks), (Code::KeyInvalid, false), "by its Idempotency-Key");
}

#[test]
fn an_id_belongs_to_the_client_that_made_it() {
    let table = route(&json!(["repeatability", "header:Idempotency-Key"]));
    let of = |lines: &[(&str, &str)]| {
        let (it, claim) = guarded(&table, lines);
        (it.id, claim.metadata.operation, claim.metadata.fingerprint)
    };
    let client = |name| [ID, SENT, ("repeatability-client-id", name)];
    let (one, other, none) = (of(&client("c1")), of(&client("c2")), of(&[ID, SENT]));
    assert_eq!(one, of(&client("c1")));
    assert_ne!(one.0, other.0);
    assert_ne!(one.0, none.0);
    // Two clients are no two credentials of one.
    assert_ne!(one.1, other.1);
    assert_eq!(one.2, other.2);
    // When it was first sent is not part of what it asks for.
    assert_eq!(none, of(&[ID, ("repeatability-first-sent", "Thu, 01 Jan 1970 00:00:00 GMT")]));
    // With another source the header is none of the filter's business.
    let key = ("idempotency-key", "k1");
    assert_eq!(of(&[key]), of(&[key, ("repeatability-client-id", "c1")]));
}

#[test]
fn another_request_under_the_id_is_told_400_and_nothing_else_is_changed() {
    let (it, _) = guarded(&route(&json!(["repeatability"])), &[ID, SENT]);
    let (usual, _) = guarded(&json!({}), &[("idempotency-key", "k1")]);
    for code in Code::ALL {
        let changed = it.told(Problem::new(code, "d"));
        let status = if code == Code::KeyReused { 400 } else { code.status() };
        assert_eq!((changed.code, changed.status), (code, status));
        assert_eq!(usual.told(Problem::new(code, "d")).status, code.status());
    }
}

#[test]
fn two_refusals_are_rejected_and_everything_else_is_accepted() {
    assert_eq!(repeatability_result(None), ("repeatability-result", "accepted".to_owned()));
    for code in Code::ALL {
        let is_rejected = matches!(code, Code::KeyInvalid | Code::OutsideWindow);
        let expected = if is_rejected { "rejected" } else { "accepted" };
        assert_eq!(repeatability_result(Some(code)).1, expected, "{code:?}");
    }
}

// ---- what its first date decides -------------------------------------------------------------------------------------

const NOW: Timestamp = instant(1_000_000_000);
/// An hour; with five minutes on either side for the clocks.
const WINDOW: Duration = s(3600);
const OLDEST: Duration = s(55 * 60);
const AHEAD: Duration = s(5 * 60);

fn sent_at(first_sent: Timestamp) -> Claim {
    Claim { window: Some(Window { first_sent, span: WINDOW }), ..make::claim(lease(9)) }
}

fn tried(stored: Option<State>, claim: Claim) -> Step {
    step(stored.map(make::record), OtherCredential::None, Event::Claim(claim), NOW)
}

/// What becomes of a claim that finds nothing, in a word.
fn unknown(first_sent: Timestamp) -> &'static str {
    match tried(None, sent_at(first_sent)) {
        Step { verdict: Verdict::Granted(..), change: Change::Insert(_) } => "granted",
        Step { verdict: Verdict::OutsideWindow, change: Change::Keep } => "outside window",
        Step { verdict: Verdict::AheadOfTime, change: Change::Keep } => "ahead of time",
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_unknown_is_run_in_its_window_only() {
    for (first_sent, expected) in [
        (Timestamp(0), "outside window"),
        (ms_before(NOW.minus(OLDEST)), "outside window"),
        (NOW.minus(OLDEST), "outside window"),
        (ms_after(NOW.minus(OLDEST)), "granted"),
        (NOW, "granted"),
        (NOW.plus(AHEAD), "granted"),
        (ms_after(NOW.plus(AHEAD)), "ahead of time"),
        (Timestamp(u64::MAX), "ahead of time"),
    ] {
        assert_eq!(unknown(first_sent), expected, "{first_sent:?}");
    }
    // What says nothing of its age is run at any.
    assert!(matches!(tried(None, make::claim(lease(9))).verdict, Verdict::Granted(..)));
}

#[test]
fn what_is_known_is_told_whatever_its_age() {
    let own = lease(1);
    let replied = make::completed(own, NOW.minus(s(60)));
    let expires = NOW.minus(s(1));
    let expired = Completed { expires, gone: NOW.plus(s(1)), ..replied.clone() };
    let doubt = make::doubt(own, NOW.minus(s(60)));
    let closed = make::doubt(own, NOW.minus(days(91)));
    for first_sent in [Timestamp(0), NOW, Timestamp(u64::MAX)] {
        let told = |state| tried(Some(state), sent_at(first_sent)).verdict;
        let running = make::running(own, NOW.minus(s(1)));
        assert!(matches!(told(State::Running(running)), Verdict::Join(_)));
        assert!(matches!(told(State::Completed(replied.clone())), Verdict::Replay(_)));
        assert!(matches!(told(State::Completed(expired.clone())), Verdict::Expired));
        assert!(matches!(told(State::InDoubt(doubt.clone())), Verdict::InDoubt { .. }));
        assert!(matches!(told(State::InDoubt(closed.clone())), Verdict::Expired));
        let mut other = sent_at(first_sent);
        other.metadata.fingerprint = make::fingerprint(0xf2);
        assert!(matches!(
            tried(Some(State::Completed(replied.clone())), other).verdict,
            Verdict::KeyReused(_)
        ));
    }
}

#[test]
fn what_was_released_is_unknown_and_what_runs_again_is_not() {
    let own = lease(1);
    let released = |first_sent, claimed_by| {
        let status = Some(StatusKey { secret: StatusSecret([0x5e; 16]), credential: None });
        let state = State::Released(Released {
            lease: own,
            run: make::run(own, 1),
            reply: None,
            since: NOW.minus(s(1)),
            until: NOW.plus(s(1)),
        });
        let mut record = make::record(state);
        record.metadata.status = status;
        let claim = Claim { lease: claimed_by, ..sent_at(first_sent) };
        step(Some(record), OtherCredential::None, Event::Claim(claim), NOW)
    };
    assert!(matches!(released(NOW, lease(9)).verdict, Verdict::Granted(..)));
    let late = released(Timestamp(0), lease(9));
    assert_eq!((late.verdict, late.change), (Verdict::OutsideWindow, Change::Keep));
    // A late copy of the claim that was released.
    assert_eq!(released(Timestamp(0), own).verdict, Verdict::Stale);

    // `fail_on_running` runs a completed operation again, and one that has left a tombstone.
    let again = Claim { strategy: OnDuplicate::FailOnRunning, ..sent_at(Timestamp(0)) };
    let replied = make::completed(own, NOW.minus(s(60)));
    let expired = Completed { expires: NOW.minus(s(1)), gone: NOW.plus(s(1)), ..replied.clone() };
    for state in [State::Completed(replied), State::Completed(expired.clone())] {
        assert!(matches!(tried(Some(state), again.clone()).verdict, Verdict::Granted(..)));
    }
    let gone = Completed { gone: NOW, ..expired };
    assert_eq!(tried(Some(State::Completed(gone)), again).verdict, Verdict::OutsideWindow);
    // `retry` runs a doubt again.
    let retry = Claim { on_in_doubt: OnInDoubt::Retry, ..sent_at(Timestamp(0)) };
    let doubt = State::InDoubt(make::doubt(own, NOW.minus(s(60))));
    assert!(matches!(tried(Some(doubt), retry).verdict, Verdict::Granted(..)));
}

#[test]
fn what_is_known_under_another_credential_is_told_so_rather_than_that_it_is_old() {
    let at = |first_sent, credential_change| {
        let claim = Claim { credential_change, ..sent_at(first_sent) };
        step(None, OtherCredential::Live, Event::Claim(claim), NOW).verdict
    };
    for first_sent in [Timestamp(0), NOW] {
        assert_eq!(at(first_sent, CredentialChange::Refuse), Verdict::CredentialChanged);
    }
    assert_eq!(at(Timestamp(0), CredentialChange::Forward), Verdict::OutsideWindow);
    assert!(matches!(at(NOW, CredentialChange::Forward), Verdict::Granted(..)));
}

#[test]
fn what_is_too_old_or_too_early_is_told_so() {
    for (verdict, code, status) in [
        (Verdict::OutsideWindow, Code::OutsideWindow, 412),
        (Verdict::AheadOfTime, Code::KeyInvalid, 400),
    ] {
        let Answer::Problem(problem, told) = duplicate::<(), ()>(verdict, None) else {
            panic!("it is not refused")
        };
        assert_eq!(
            (problem.code, problem.status, problem.retryable, told),
            (code, status, false, None)
        );
    }
}

/// Everything that is known of a key, and for how long.
fn terms() -> impl Strategy<Value = (Durations, Duration)> {
    let minutes = |least: u64, most: u64| (least..=most).prop_map(|minutes| s(60 * minutes));
    let part = prop_oneof![Just(100), 0..=100_u32];
    (minutes(1, 40), minutes(0, 20), minutes(1, 90), part).prop_filter_map(
        "as the check holds it",
        |(ttl, tombstone, doubt_ttl, part)| {
            let (least, most) = (s(600), (ttl + tombstone).min(doubt_ttl));
            let span = least + most.checked_sub(least)? * part / 100;
            let durations = Durations { lease: s(75), ttl, tombstone, doubt_ttl };
            (span > least).then_some((durations, span))
        },
    )
}

/// What comes next: how long after the last, and to an edge of the terms or not.
fn moments() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
    vec((0..8_u8, 0..5_u8, 0..4_000_000_u64), 2..24)
}

proptest! {
    #![proptest_config(cases(3_000))]

    /// The promise of the dialect, which no client with a key alone can be made: however late a retry comes, and whatever
    /// is forgotten by then, the operation is granted once, unless it was released.
    #[test]
    fn an_operation_is_granted_once_for_ever(
        (durations, span) in terms(),
        ahead in prop_oneof![Just(0_i64), Just(300_000), Just(-300_000), -300_000..=300_000_i64],
        moments in moments(),
        reason in arbitrary::reason(),
    ) {
        // The first try, by the Ledger's clock; its client's may be five minutes off.
        let began = NOW;
        let first_sent = Timestamp(began.0.checked_add_signed(ahead).unwrap());
        let window = Some(Window { first_sent, span });
        let (mut now, mut stored, mut grants) = (began, None::<Record>, 0);
        for (what, edge, after) in moments {
            now = match edge {
                0 | 1 => now,
                2 => now.plus(Duration::from_millis(after)),
                3 => now.max(first_sent.plus(span).minus(AHEAD)),
                _ => now.max(began.plus(durations.ttl + durations.tombstone)),
            };
            let number = lease(1 + what % 4);
            let event = match what {
                0..=4 => Event::Claim(Claim { durations, window, ..make::claim(number) }),
                5 => Event::Doubt(lease(1), reason),
                _ => Event::Settle(owner(stored.as_ref()), make::reply(201, 4)),
            };
            let Step { change, .. } = step(stored.clone(), OtherCredential::None, event, now);
            match change {
                Change::Keep => {}
                Change::Delete => stored = None,
                Change::Insert(record) => {
                    grants += 1;
                    stored = Some(record);
                }
                Change::Update(record) | Change::Complete(record) => stored = Some(record),
            }
        }
        prop_assert!(grants <= 1, "granted {grants} times");
    }
}

fn owner(stored: Option<&Record>) -> oncegate::lifecycle::record::Lease {
    match stored.map(|record| &record.state) {
        Some(State::Running(running)) => running.lease,
        Some(State::InDoubt(doubt)) => doubt.lease.unwrap_or(lease(0)),
        _ => lease(0),
    }
}

#[test]
fn the_reason_of_a_doubt_does_not_shorten_it() {
    // A claim whose lease lapses is known as long as any doubt: longer than the window may be.
    let running = State::Running(make::running(lease(1), NOW));
    for later in [s(75), days(90) + s(74), days(180)] {
        let at = NOW.plus(later);
        let claim = Claim {
            window: Some(Window { first_sent: NOW, span: days(90) }),
            ..make::claim(lease(9))
        };
        let step = step(
            Some(make::record(running.clone())),
            OtherCredential::None,
            Event::Claim(claim),
            at,
        );
        assert_eq!(step.change, Change::Keep, "{later:?}: {:?}", step.verdict);
        let known = matches!(
            step.verdict,
            Verdict::InDoubt { reason: Reason::LeaseOver, .. } | Verdict::Expired
        );
        assert!(known, "{later:?}: {:?}", step.verdict);
    }
}

// ---- its knob --------------------------------------------------------------------------------------------------------

#[test]
fn a_window_is_no_longer_than_what_is_kept_and_longer_than_clocks_are_apart() {
    let with = |more: Value| {
        let mut table = json!({ "key": { "from": ["header:Idempotency-Key", "repeatability"] } });
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Policy::parse(&vars([("ROUTES", json!([table]))])).map_err(|wrongs| {
            wrongs
                .iter()
                .map(|wrong| format!("{}: {}", wrong.knob, wrong.why))
                .collect::<Vec<_>>()
                .join("\n")
        })
    };
    for (more, word) in [
        (json!({ "window": "25h" }), "at most ttl and tombstone"),
        (json!({ "window": "24h1s" }), "at most ttl and tombstone"),
        (json!({ "window": "24h", "ttl": "23h", "tombstone": "59m" }), "at most ttl and tombstone"),
        (json!({ "window": "24h", "doubt_ttl": "23h" }), "at most doubt_ttl"),
        (json!({ "doubt_ttl": "23h" }), "at most doubt_ttl"),
        (json!({ "window": "10m" }), "longer than 10 minutes"),
        (json!({ "window": "0s" }), "longer than 10 minutes"),
        // Without a window of its own, and so of the ttl.
        (json!({ "ttl": "10m" }), "longer than 10 minutes"),
    ] {
        let why = with(more.clone()).unwrap_err();
        assert!(why.starts_with("ROUTES[0].window: ") && why.contains(word), "{more}: {why}");
    }
    for sound in [
        json!({}),
        json!({ "window": "24h" }),
        json!({ "window": "601s" }),
        json!({ "window": "30h", "tombstone": "6h" }),
        json!({ "window": "90d", "ttl": "90d" }),
    ] {
        assert_eq!(with(sound.clone()).err(), None, "{sound}");
    }
    // Where nothing looks at it, it is a mistake.
    let lone = Policy::parse(&vars([("ROUTES", json!([{ "window": "1h" }]))])).unwrap_err();
    assert_eq!(
        lone.iter().map(|wrong| wrong.knob.as_str()).collect::<Vec<_>>(),
        ["ROUTES[0].window"]
    );
}

#[test]
fn the_dialect_cannot_be_part_of_a_template() {
    let routes = json!([route(&json!(["template:a-{repeatability}"]))]);
    let wrongs = Policy::parse(&vars([("ROUTES", routes)])).unwrap_err();
    assert!(wrongs[0].why.contains("repeatability"), "{wrongs:?}");
}

#[test]
fn the_window_is_published_where_it_is_looked_at() {
    let routes = json!([
        { "name": "a", "path": "/a", "key": { "from": ["repeatability"] } },
        { "name": "b", "path": "/b", "key": { "from": ["repeatability"] }, "window": "90m" },
        { "name": "c", "path": "/c" },
    ]);
    let document = published(&Policy::parse(&vars([("ROUTES", routes)])).unwrap());
    let document: Value = serde_json::from_str(&document).unwrap();
    let of = |n: usize| &document["routes"][n];
    assert_eq!(
        [&of(0)["window"], &of(1)["window"], &of(2)["window"]],
        [&json!("P1D"), &json!("PT1H30M"), &Value::Null]
    );
    assert_eq!(of(0)["key"]["from"], json!(["repeatability"]));
}
