//! The numbers that a step gives: how long to wait, when to come again, when things end.

use std::time::Duration;

use oncegate::lifecycle::event::{Claim, Event, Strategy, Verdict};
use oncegate::lifecycle::record::{
    Completed, Doubt, Durations, Previous, Record, Running, State, SweepAction,
};
use oncegate::lifecycle::reply::Kept;
use oncegate::lifecycle::step::{Change, OtherCredential, step};
use oncegate::time::Timestamp;

use crate::make::{self, days, instant, lease, s};

const OWN: u8 = 1;
const SINCE: Timestamp = instant(1000);

fn running_for(lease_span: Duration) -> Record {
    let until = SINCE.plus(lease_span);
    make::record(State::Running(Running { until, ..make::running(lease(OWN), SINCE) }))
}

/// When the claim is so old, out of so much lease: Retry-After in seconds.
#[test]
fn retry_after_is_the_age_of_the_claim_and_never_past_its_lease() {
    let rows = [
        // age ms, lease ms, seconds
        (0, 75_000, 1),
        (1, 75_000, 1),
        (1_000, 75_000, 1),
        (1_001, 75_000, 2),
        (2_000, 75_000, 2),
        (10_000, 75_000, 10),
        (37_000, 75_000, 37),
        // Half of the lease is over: from here on its end comes first.
        (37_500, 75_000, 37),
        (37_501, 75_000, 37),
        (38_001, 75_000, 36),
        (70_000, 75_000, 5),
        (73_000, 75_000, 2),
        (73_001, 75_000, 1),
        // Less than a second is left: no smaller number can be said.
        (74_001, 75_000, 1),
        (74_999, 75_000, 1),
        (0, 1, 1),
    ];
    for (age, span, expected) in rows {
        let now = SINCE.plus(Duration::from_millis(age));
        let record = running_for(Duration::from_millis(span));
        let fingerprint = record.metadata.fingerprint;
        let hasty = Claim { wait: Duration::from_millis(0), ..make::claim(lease(9)) };
        let failing = Claim { strategy: Strategy::Fail, ..make::claim(lease(9)) };
        for event in [Event::Look(fingerprint, s(0)), Event::Claim(hasty), Event::Claim(failing)] {
            let verdict = step(Some(record.clone()), OtherCredential::None, event, now).verdict;
            let expected = Verdict::InFlight { retry_after_s: expected, status: None };
            assert_eq!(verdict, expected, "{age} ms into a lease of {span} ms");
        }
    }
}

/// A clock that went back is no reason for nonsense.
#[test]
fn a_claim_from_the_future_says_to_come_again_in_a_second() {
    let record = running_for(s(75));
    let fingerprint = record.metadata.fingerprint;
    let verdict =
        step(Some(record), OtherCredential::None, Event::Look(fingerprint, s(0)), instant(500))
            .verdict;
    assert_eq!(verdict, Verdict::InFlight { retry_after_s: 1, status: None });
}

#[test]
fn a_join_lasts_as_long_as_it_likes_but_not_beyond_the_lease() {
    let rows = [
        // age ms, wait ms, joins until this age
        (0, 1, 1),
        (0, 10_000, 10_000),
        (60_000, 10_000, 70_000),
        (65_000, 10_000, 75_000),
        (65_001, 10_000, 75_000),
        (74_999, 10_000, 75_000),
        (0, u64::MAX, 75_000),
    ];
    for (age, wait, until) in rows {
        let claim = Claim { wait: Duration::from_millis(wait), ..make::claim(lease(9)) };
        let now = SINCE.plus(Duration::from_millis(age));
        let stored = Some(running_for(s(75)));
        let verdict = step(stored, OtherCredential::None, Event::Claim(claim), now).verdict;
        assert_eq!(
            verdict,
            Verdict::Join(SINCE.plus(Duration::from_millis(until))),
            "{wait} ms at {age} ms"
        );
    }
}

#[test]
fn a_grant_lasts_for_the_lease_of_its_own_terms_and_is_made_now() {
    let durations = Durations { lease: Duration::from_millis(7), ..make::durations() };
    let claim = Claim { durations, ..make::claim(lease(2)) };
    let Change::Insert(record) =
        step(None, OtherCredential::None, Event::Claim(claim), instant(5)).change
    else {
        panic!("a first claim is granted");
    };
    assert_eq!(record.metadata.created, instant(5));
    let State::Running(running) = record.state else { panic!("a granted claim runs") };
    assert_eq!(
        (running.since, running.until, running.durations),
        (instant(5), Timestamp(5_007), durations)
    );
}

#[test]
fn a_late_settle_is_kept_for_the_ttl_and_tombstone_of_its_claim() {
    let durations = Durations { ttl: s(40), tombstone: s(20), ..make::durations() };
    let doubt = Doubt { durations, ..make::doubt(lease(OWN), SINCE) };
    let stored = Some(make::record(State::InDoubt(doubt)));
    let settle = Event::Settle(lease(OWN), make::reply(200, 0));
    let step = step(stored, OtherCredential::None, settle, instant(2000));
    assert_eq!(step.verdict, Verdict::Kept(Some(instant(2040))));
    let Change::Complete(Record { state: State::Completed(completed), .. }) = step.change else {
        panic!("a late settle counts");
    };
    let Completed { settled, expires, gone, .. } = completed;
    assert_eq!((settled, expires, gone), (instant(2000), instant(2040), instant(2060)));
}

#[test]
fn a_doubt_lasts_its_ttl_from_the_end_of_the_lease_and_then_answers_410_for_90_days_or_more() {
    let at = |doubt_ttl, tombstone, previous| {
        let durations = Durations { doubt_ttl, tombstone, ..make::durations() };
        let running = Running { durations, previous, ..make::running(lease(OWN), SINCE) };
        let record = make::record(State::Running(running));
        let gone = record.gone();
        let Some(Record { state: State::InDoubt(doubt), .. }) = record.at(instant(1075)) else {
            panic!("a lapsed lease is a doubt");
        };
        assert_eq!(doubt.gone, gone, "the sweep compares what the record reads as");
        (doubt.closes, doubt.gone)
    };
    let end = |span: Duration| instant(1075).plus(span);
    let day = s(24 * 60 * 60);
    assert_eq!(
        at(days(90), Duration::from_millis(0), Previous::Nothing),
        (end(days(90)), end(days(180)))
    );
    assert_eq!(at(day, Duration::from_millis(0), Previous::Nothing), (end(day), end(days(91))));
    assert_eq!(at(day, days(365), Previous::Nothing), (end(day), end(days(366))));
    // A retry whose route now has a shorter `doubt_ttl` does not shorten the doubt that it found.
    let earlier = Previous::Doubted(make::doubt(lease(2), instant(900)));
    let closes = instant(900).plus(days(90));
    assert_eq!(at(day, Duration::from_millis(0), earlier), (closes, closes.plus(days(90))));
}

#[test]
fn attempts_count_up_and_stop_at_the_largest_number() {
    for (attempt, next) in [(1, 2), (2, 3), (u32::MAX, u32::MAX)] {
        let doubt = Doubt { run: make::run(lease(OWN), attempt), ..make::doubt(lease(OWN), SINCE) };
        let claim = Claim {
            on_in_doubt: oncegate::lifecycle::event::OnInDoubt::Retry,
            ..make::claim(lease(9))
        };
        let stored = Some(make::record(State::InDoubt(doubt)));
        let verdict = step(stored, OtherCredential::None, Event::Claim(claim), SINCE).verdict;
        assert_eq!(verdict, Verdict::Granted(make::run(lease(OWN), next), None));
    }
}

#[test]
fn a_row_is_deleted_when_it_is_gone_and_loses_its_reply_when_its_tombstone_begins() {
    let completed = make::completed(lease(OWN), SINCE);
    let with_tombstone = Completed { gone: completed.expires.plus(days(7)), ..completed.clone() };
    let (expires, gone) = (with_tombstone.expires, with_tombstone.gone);
    let tombstone = Some(SweepAction::Tombstone(expires));
    let doubt = make::doubt(lease(OWN), SINCE);
    for (state, due) in [
        (State::Completed(completed), SweepAction::Delete(expires)),
        (State::Completed(with_tombstone.clone()), SweepAction::Tombstone(expires)),
        (State::InDoubt(doubt.clone()), SweepAction::Delete(doubt.gone)),
    ] {
        assert_eq!(make::record(state).due(), due);
    }
    let record = make::record(State::Completed(with_tombstone));
    assert_eq!(Some(record.due()), tombstone);
    assert_eq!(
        record.clone().into_tombstone(Timestamp(expires.0 - 1)),
        None,
        "it is still replayed"
    );
    assert_eq!(record.clone().into_tombstone(gone), None, "nothing is left of it");
    let left = record.clone().into_tombstone(expires).unwrap();
    assert_eq!(left.due(), SweepAction::Delete(gone), "the sweep has done its work");
    assert_eq!((left.metadata.clone(), left.gone()), (record.metadata, gone));
    let State::Completed(left) = left.state else { panic!("it is stored as it came") };
    assert_eq!((left.reply.headers.len(), left.reply.body), (0, Kept::StatusOnly));
}
