//! Nobody knows whether the origin executed it: `hold`, `retry`, `probe`.

use std::time::Duration;

use oncegate::config::route::{Doubtful, Route};
use oncegate::filter::StreamEnd;
use oncegate::lifecycle::event::Strategy;
use oncegate::lifecycle::outcome::{Facts, Failure, Outcome};
use oncegate::lifecycle::record::Reason;
use oncegate::request::key::KeyId;

use super::{after, by, request, slow, the_key};
use crate::make::{self, days, instant, lease, ms_before, s};
use crate::world::{Choice, NEVER, Scripted, Story, World, response, stream};

fn route(on_in_doubt: Doubtful) -> Route {
    Route { on_in_doubt, ..make::route() }
}

/// A world in which the first request was executed (or not) and its answer was lost.
fn doubtful() -> World {
    let mut world = World::new();
    world.origin([(s(1), Err(Failure::Lost))]);
    world.send(request(1));
    world.run();
    assert_eq!(world.record(the_key()), "in doubt");
    world
}

fn ask(world: &mut World, route: &Route, lease: u8) -> Story {
    let story = world.send(by(route, lease));
    world.run();
    story
}

#[test]
fn a_held_doubt_is_never_forwarded_and_answers_410_when_it_is_closed() {
    let mut world = doubtful();
    let hold = route(Doubtful::Hold);
    // Its Worker has ended its lease with the doubt, at second 1001.
    let closes = instant(1001).plus(days(90));
    for (lease, at, said) in [
        (2, instant(1075), "409 outcome-unknown"),
        (3, instant(1075).plus(days(2)), "409 outcome-unknown"),
        (4, ms_before(closes), "409 outcome-unknown"),
        (5, closes, "410 key-expired"),
        (6, closes.plus(days(89)), "410 key-expired"),
    ] {
        let pause = at.since(world.now());
        world.run_for(pause);
        world.take(Choice::Sweep);
        let story = ask(&mut world, &hold, lease);
        assert_eq!(world.said(story), said, "at {}", at.0);
    }
    assert_eq!(world.executed().len(), 1);
}

#[test]
fn a_retried_doubt_is_forwarded_again_at_once_where_no_call_goes_on_as_the_next_attempt() {
    let mut world = doubtful();
    let retry = route(Doubtful::Retry);
    // The call is over, and so is its lease: nothing is waited for.
    assert_eq!(world.now(), instant(1001));
    world.origin([slow()]);
    let later = world.send(by(&retry, 3));
    world.run_for(Duration::from_millis(0));
    let joins = world.send(by(&retry, 4));
    world.run();
    assert_eq!(world.said(later), r#"201 executed "paid 1""#);
    assert_eq!(world.said(joins), r#"201 joined "paid 1""#);
    let runs: Vec<_> = world.executed().iter().map(|executed| executed.run).collect();
    assert_eq!(runs, [make::run(lease(1), 1), make::run(lease(1), 2)]);
}

#[test]
fn a_retry_that_is_released_puts_the_doubt_back() {
    let mut world = doubtful();
    world.run_for(s(75));
    world.origin([after(s(0), response(429, "busy"))]);
    let retried = ask(&mut world, &route(Doubtful::Retry), 2);
    assert_eq!(world.said(retried), r#"429 released "busy""#);
    assert_eq!(world.record(the_key()), "in doubt");
    let held = ask(&mut world, &route(Doubtful::Hold), 3);
    assert_eq!(world.said(held), "409 outcome-unknown");
}

fn probing() -> Route {
    let probe = Some("/v1/payments/by-key/{key}".to_owned());
    Route { probe, ..route(Doubtful::Probe) }
}

#[test]
fn a_probe_resolves_a_doubt_by_what_the_origin_says() {
    let rows: &[(Scripted, u64, &str, &str)] = &[
        // what the probe hears, how long after the lease's end, what the duplicate hears, what is stored
        (after(s(0), response(200, "found")), 0, r#"200 replayed "found""#, "completed"),
        (after(s(0), response(200, "found")), 60, r#"200 replayed "found""#, "completed"),
        (after(s(0), response(404, "")), 60, r#"201 executed "paid 2""#, "completed"),
        (after(s(0), response(404, "")), 3600, r#"201 executed "paid 2""#, "completed"),
        // Too early: it may still be on its way.
        (after(s(0), response(404, "")), 59, "409 outcome-unknown", "in doubt"),
        (after(s(0), response(404, "")), 0, "409 outcome-unknown", "in doubt"),
        // Anything else says nothing.
        (after(s(0), response(201, "found")), 3600, "409 outcome-unknown", "in doubt"),
        (after(s(0), response(204, "")), 3600, "409 outcome-unknown", "in doubt"),
        (after(s(0), response(302, "")), 3600, "409 outcome-unknown", "in doubt"),
        (after(s(0), response(401, "")), 3600, "409 outcome-unknown", "in doubt"),
        (after(s(0), response(410, "")), 3600, "409 outcome-unknown", "in doubt"),
        (after(s(0), response(500, "")), 3600, "409 outcome-unknown", "in doubt"),
        ((s(0), Err(Failure::Lost)), 3600, "409 outcome-unknown", "in doubt"),
        ((s(0), Err(Failure::NeverSent)), 3600, "409 outcome-unknown", "in doubt"),
        (after(s(61), response(200, "late")), 3600, "409 outcome-unknown", "in doubt"),
    ];
    for (probe, seconds, said, stored) in rows {
        let mut world = doubtful();
        let pause = instant(1001 + seconds).since(world.now());
        world.run_for(pause);
        world.probes([probe.clone()]);
        let duplicate = ask(&mut world, &probing(), 2);
        assert_eq!(&world.said(duplicate), said, "{probe:?} after {seconds} s");
        assert_eq!(&world.record(the_key()), stored, "{probe:?} after {seconds} s");
    }
}

/// What the answer to a probe says beside its status, for a doubt whose lease has been over for an hour.
#[test]
fn a_probe_is_answered_by_no_cache_and_judged_by_the_rules_of_the_route() {
    let said = |status, change: &dyn Fn(&mut Facts)| {
        let mut response = response(status, "said");
        change(&mut response.facts);
        after(s(0), response)
    };
    let (found, still, again) =
        (r#"200 replayed "said""#, "409 outcome-unknown", r#"201 executed "paid 2""#);
    let rows: [(Scripted, &str); 9] = [
        (said(200, &|facts| facts.is_cached = true), still),
        (said(404, &|facts| facts.is_cached = true), still),
        (said(404, &|facts| facts.is_absent = false), still),
        (said(200, &|facts| facts.when = Some(Outcome::InDoubt)), still),
        (said(200, &|facts| facts.when = Some(Outcome::Store)), found),
        (said(200, &|facts| facts.when = Some(Outcome::Release)), again),
        (said(404, &|facts| facts.when = Some(Outcome::InDoubt)), still),
        (said(500, &|facts| facts.when = Some(Outcome::Store)), still),
        (said(200, &|facts| facts.origin_outcome = Some("in-doubt".to_owned())), still),
    ];
    for (probe, expected) in rows {
        let mut world = doubtful();
        world.run_for(s(3600));
        world.probes([probe.clone()]);
        let duplicate = ask(&mut world, &probing(), 2);
        assert_eq!(world.said(duplicate), expected, "{probe:?}");
    }
    // A release by a rule takes the same patience as a 404.
    let mut world = doubtful();
    world.probes([said(200, &|facts| facts.when = Some(Outcome::Release))]);
    let early = ask(&mut world, &probing(), 2);
    assert_eq!(world.said(early), still);
}

#[test]
fn a_probe_may_find_the_answer_before_its_404_would_count() {
    let mut world = doubtful();
    world.probes([after(s(0), response(404, "")), after(s(0), response(200, "found"))]);
    let early = ask(&mut world, &probing(), 2);
    assert_eq!(world.said(early), "409 outcome-unknown");
    let found = ask(&mut world, &probing(), 3);
    assert_eq!(world.said(found), r#"200 replayed "found""#);
}

#[test]
fn of_two_probes_that_both_hear_404_one_forwards_and_the_other_waits() {
    let mut world = doubtful();
    world.run_for(s(200));
    let not_found = || after(s(1), response(404, ""));
    world.probes([not_found(), not_found()]);
    world.origin([after(s(2), response(201, "paid once"))]);
    let [one, other] = [2, 3].map(|lease| world.send(by(&probing(), lease)));
    world.run();
    let mut said = [world.said(one), world.said(other)];
    said.sort();
    assert_eq!(said, [r#"201 executed "paid once""#, r#"201 joined "paid once""#]);
    assert_eq!(world.executed().len(), 2);
}

/// The slower probe asked before the record moved on; its 404 is about another run.
#[test]
fn a_probe_that_comes_late_releases_nothing_of_the_next_run() {
    let mut world = doubtful();
    world.run_for(s(200));
    world.probes([after(s(1), response(404, "")), after(s(5), response(404, ""))]);
    world.origin([(s(1), Err(Failure::Lost))]);
    let fast = world.send(by(&probing(), 2));
    let slow = world.send(by(&probing(), 3));
    world.run();
    assert_eq!(world.said(fast), "502 outcome-unknown");
    assert_eq!(world.said(slow), "409 outcome-unknown");
    assert_eq!(world.record(the_key()), "in doubt");
    assert_eq!(world.executed().len(), 2);
}

#[test]
fn a_doubtful_request_that_settles_late_is_no_doubt_any_more() {
    let mut world = World::new();
    world.origin([after(s(70), response(201, "late"))]);
    world.send(request(1));
    world.run_for(s(65));
    let joins = world.send(by(&route(Doubtful::Retry), 2));
    world.run();
    assert_eq!(world.said(joins), r#"201 joined "late""#);
    let after = ask(&mut world, &route(Doubtful::Retry), 3);
    assert_eq!(world.said(after), r#"201 replayed "late""#);
}

/// `timeout` and the lease live: the answer may come, so nobody forwards, probes or despairs before.
#[test]
fn a_duplicate_waits_for_a_call_that_is_still_read() {
    let impatient = Route { wait: s(3), ..route(Doubtful::Hold) };
    let fail = Route { on_duplicate: Strategy::Fail, ..route(Doubtful::Retry) };
    let rerun = Route { on_duplicate: Strategy::FailOnRunning, ..route(Doubtful::Retry) };
    let mut world = World::new();
    world.origin([after(s(74), response(201, "late"))]);
    world.send(request(1));
    world.run_for(s(66));
    let waits = [impatient, fail, rerun, probing()];
    let [impatient, fail, rerun, probing] =
        [0, 1, 2, 3].map(|n: u8| world.send(by(&waits[usize::from(n)], 10 + n)));
    world.run();
    // The lease ends at second 75, after the wait of 3 s.
    assert_eq!(world.said(impatient), "409 outcome-unknown, again in 6 s");
    for refused in [fail, rerun] {
        assert_eq!(world.said(refused), "409 outcome-unknown, again in 9 s");
    }
    assert_eq!(world.said(probing), r#"201 joined "late""#);
    assert_eq!(world.executed().len(), 1);
}

#[test]
fn a_call_that_is_still_read_may_end_in_another_doubt_and_then_nobody_waits_any_more() {
    let mut world = World::new();
    world.origin([(s(70), Err(Failure::Truncated))]);
    world.send(request(1));
    world.run_for(s(66));
    let waits = world.send(by(&route(Doubtful::Retry), 2));
    world.run();
    // At second 70, and not when the lease would have ended.
    assert_eq!(world.said(waits), r#"201 executed "paid 2""#);
    assert_eq!(world.executed()[1].at, instant(1070));
}

/// How a first request is sent.
type Start<'a> = &'a dyn Fn(&mut World);

/// Why a record is in doubt, as it is kept.
#[test]
fn a_record_in_doubt_says_why() {
    let crash = |world: &mut World| {
        let first = world.send(request(1));
        world.run_for(Duration::from_millis(0));
        world.take(Choice::Crash(first));
    };
    let send = |world: &mut World| {
        world.send(request(1));
    };
    let rows: [(Scripted, Start, Reason); 7] = [
        (after(s(70), response(200, "")), &crash, Reason::LeaseOver),
        ((NEVER, Err(Failure::Lost)), &send, Reason::Timeout),
        ((s(1), Err(Failure::Lost)), &send, Reason::ConnectionLost),
        ((s(1), Err(Failure::Truncated)), &send, Reason::Truncated),
        (after(s(1), response(503, "")), &send, Reason::Status(503)),
        (after(s(1), response(999, "")), &send, Reason::NotHttp),
        // It timed out first; then there was more to say.
        (after(s(70), response(502, "")), &send, Reason::Status(502)),
    ];
    for (origin, start, reason) in rows {
        let mut world = World::new();
        world.origin([origin]);
        start(&mut world);
        world.run_for(s(80));
        let now = world.now();
        let record = world.ledger(|ledger| ledger.record(the_key(), now)).unwrap();
        assert_eq!(record.state.doubt().map(|doubt| doubt.reason), Some(reason));
    }
}

#[test]
fn a_stream_is_settled_at_its_head_and_in_doubt_where_the_origin_breaks_it_off() {
    for (end, while_it_lasts, then) in [
        (StreamEnd::Over, "409 reply-not-stored", "409 reply-not-stored"),
        (StreamEnd::BrokenOff, "409 reply-not-stored", "409 outcome-unknown"),
    ] {
        let mut world = World::new();
        world.origin([after(s(1), stream(s(600), end))]);
        let first = world.send(request(1));
        world.run_for(s(2));
        assert_eq!(world.said(first), r#"200 executed """#);
        let early = world.send(request(2));
        world.run_for(s(400));
        assert_eq!(world.said(early), while_it_lasts, "no timeout counts past the head");
        world.run();
        let later = ask(&mut world, &route(Doubtful::Hold), 3);
        assert_eq!(world.said(later), then);
        // Under `retry` its lease is over too.
        let again = ask(&mut world, &route(Doubtful::Retry), 4);
        let retried = end == StreamEnd::BrokenOff;
        assert_eq!(world.executed().len(), if retried { 2 } else { 1 }, "{}", world.said(again));
    }
}

#[test]
fn what_shadow_mode_would_have_answered_and_what_it_learns() {
    let mut world = World::new();
    let other = KeyId::new(&make::key("other"), [0; 16]);
    let said = |world: &mut World, scripted: Scripted, request| {
        world.origin([scripted]);
        let previous = world.log().len();
        world.shadow(request);
        world.run();
        world.log()[previous..].join("; ")
    };
    let quick = |status| after(s(0), response(status, ""));
    assert_eq!(said(&mut world, quick(201), request(1)), "executed");
    assert_eq!(said(&mut world, quick(201), request(2)), "replayed");
    assert_eq!(world.record(the_key()), "completed");
    let on_other = |lease| oncegate::filter::GuardedRequest { key_id: other, ..request(lease) };
    assert_eq!(said(&mut world, quick(404), on_other(3)), "executed");
    assert_eq!(world.record(other), "nothing");
    assert_eq!(said(&mut world, (s(0), Err(Failure::Lost)), on_other(4)), "executed");
    assert_eq!(said(&mut world, quick(200), on_other(5)), "outcome-unknown");
    assert_eq!(world.record(other), "in doubt");
    world.ledger(|ledger| ledger.broken = Some("disk full".to_owned()));
    assert_eq!(said(&mut world, quick(200), on_other(6)), "store-unavailable");
    assert_eq!(world.executed().len(), 6, "everything is forwarded");
}
