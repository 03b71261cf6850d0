//! What is counted.

use oncegate::encoding::{read_row, write_row};
use oncegate::lifecycle::event::{Claim, Event, Strategy, Window};
use oncegate::lifecycle::record::{Reason, State};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::lifecycle::step::{OtherCredential, step};
use oncegate::operator::statistics::{
    COUNTERS, Counter, REPLAY_KEYS_MAX, ROUTES_MAX, Statistics, count_of, hour_of, hour_start,
};
use oncegate::time::Timestamp;

use crate::make::{claim, completed, doubt, instant, key_id, lease, record, reply, running, s};

#[test]
fn every_end_of_a_request_is_counted_by_its_name() {
    let (now, other) = (instant(2000), lease(9));
    let in_flight = || Some(record(State::Running(running(lease(1), now))));
    let settled = || Some(record(State::Completed(completed(lease(1), now))));
    let doubtful = || Some(record(State::InDoubt(doubt(lease(1), instant(1)))));
    let claims = |claim: Claim| Event::Claim(claim);
    let with = |strategy| Claim { strategy, ..claim(other) };
    let mut foreign = claim(other);
    foreign.metadata.fingerprint = crate::make::fingerprint(0xee);
    let large = Reply { body: Kept::StatusOnly, ..reply(200, 0) };
    let mut too_large = completed(lease(1), now);
    too_large.reply = large;
    for (stored, event, expected) in [
        (None, claims(claim(other)), None),
        (in_flight(), claims(claim(other)), Some("waits")),
        (in_flight(), claims(with(Strategy::Fail)), Some("in-flight")),
        (in_flight(), Event::Settle(lease(1), reply(201, 4)), Some("executed")),
        (in_flight(), Event::Settle(lease(2), reply(201, 4)), None),
        (in_flight(), Event::Release(lease(1), None), Some("released")),
        (in_flight(), Event::Doubt(lease(1), Reason::Timeout), Some("in_doubt")),
        (settled(), claims(claim(other)), Some("replayed")),
        (settled(), claims(with(Strategy::Fail)), Some("already-executed")),
        (settled(), claims(foreign), Some("key-reused")),
        (Some(record(State::Completed(too_large))), claims(claim(other)), Some("reply-not-stored")),
        (doubtful(), claims(claim(other)), Some("outcome-unknown")),
    ] {
        let step = step(stored, OtherCredential::None, event.clone(), now);
        assert_eq!(Counter::of(&step).map(Counter::name), expected, "{event:?}");
    }
    let refused = step(None, OtherCredential::Live, claims(claim(other)), now);
    assert_eq!(Counter::of(&refused).map(Counter::name), Some("credential-changed"));
    let window = Some(Window { first_sent: Timestamp(0), span: s(3600) });
    let late = Event::Claim(Claim { window, ..claim(other) });
    let refused = step(None, OtherCredential::None, late, now.plus(s(3600)));
    assert_eq!(Counter::of(&refused).map(Counter::name), Some("outside-window"));
}

#[test]
fn numbers_are_kept_as_they_are() {
    let mut statistics = Statistics::default();
    for (more, count) in (1..).zip(Counter::ALL) {
        statistics.add("charge", count, more);
        statistics.add("refund", count, 100 * more);
    }
    statistics.replayed(key_id("a"));
    statistics.replayed(key_id("a"));
    let read = read_row::<Statistics>(&write_row(&statistics)).unwrap();
    assert_eq!(read, statistics);
    assert_eq!(read.replays_of(key_id("a")), 2);
    assert_eq!(read.replays_of(key_id("b")), 0);
    for (more, count) in (1..).zip(Counter::ALL) {
        assert_eq!(count_of(&read.routes[0].1, count), more, "{}", count.name());
    }
}

#[test]
fn numbers_add_up() {
    let mut sum = Statistics::default();
    let mut one = Statistics::default();
    one.add("charge", Counter::Executed, 2);
    one.replayed(key_id("a"));
    sum.merge(&one);
    sum.merge(&one);
    assert_eq!(count_of(&sum.routes[0].1, Counter::Executed), 4);
    assert_eq!(sum.replays_of(key_id("a")), 2);
}

#[test]
fn no_client_and_no_configuration_makes_the_numbers_grow_without_bound() {
    let mut statistics = Statistics::default();
    for n in 0..REPLAY_KEYS_MAX + 10 {
        statistics.replayed(key_id(&format!("key-{n}")));
        statistics.add(&format!("route-{n}"), Counter::Executed, 1);
    }
    assert_eq!((statistics.replays.len(), statistics.routes.len()), (REPLAY_KEYS_MAX, ROUTES_MAX));
    assert!(write_row(&statistics).len() < 30_000 + ROUTES_MAX * (COUNTERS * 8 + 20));
}

#[test]
fn an_hour_is_named_by_when_it_began() {
    let at = Timestamp(1_763_733_599_999);
    assert_eq!(hour_of(at), hour_of(Timestamp(at.0 - 3_599_999)));
    assert_eq!(hour_of(Timestamp(at.0 + 1)), hour_of(at) + 1);
    assert_eq!(hour_start(hour_of(at)), Timestamp(at.0 - 3_599_999));
}
