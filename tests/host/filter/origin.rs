//! What the origin does: every outcome, and no answer at all.

use std::time::Duration;

use oncegate::config::route::Route;
use oncegate::lifecycle::event::{Event, Strategy};
use oncegate::lifecycle::outcome::{Facts, Failure};

use super::{after, at_the_origin, by, request, the_key};
use crate::make::{self, instant, s};
use crate::world::{Choice, NEVER, OriginResponse, World, response};

#[test]
fn an_answer_is_stored_or_frees_the_key_or_leaves_a_doubt_and_reaches_the_first_caller() {
    let leads_back = Facts { leads_back: true, ..Facts::of(307) };
    let released = Facts { origin_outcome: Some("release".to_owned()), ..Facts::of(200) };
    let rows = [
        // what the origin says, what its caller hears, what is stored, what the next one hears
        (response(200, "ok"), r#"200 executed "ok""#, "completed", r#"200 replayed "ok""#),
        (response(303, ""), r#"303 executed """#, "completed", r#"303 replayed """#),
        (response(402, "no"), r#"402 executed "no""#, "completed", r#"402 replayed "no""#),
        (response(500, "ouch"), r#"500 executed "ouch""#, "completed", r#"500 replayed "ouch""#),
        (response(404, "no"), r#"404 released "no""#, "nothing", r#"201 executed "paid 2""#),
        (response(429, "no"), r#"429 released "no""#, "nothing", r#"201 executed "paid 2""#),
        (
            OriginResponse { facts: leads_back, ..response(307, "there") },
            r#"307 released "there""#,
            "nothing",
            r#"201 executed "paid 2""#,
        ),
        (
            OriginResponse { facts: released, ..response(200, "dry run") },
            r#"200 released "dry run""#,
            "nothing",
            r#"201 executed "paid 2""#,
        ),
        (response(502, "gw"), r#"502 unknown "gw""#, "in doubt", "409 outcome-unknown"),
        (response(503, "gw"), r#"503 unknown "gw""#, "in doubt", "409 outcome-unknown"),
        (response(524, "gw"), r#"524 unknown "gw""#, "in doubt", "409 outcome-unknown"),
        // It cannot be sent on.
        (response(600, ""), "502 outcome-unknown", "in doubt", "409 outcome-unknown"),
        (response(101, ""), "502 outcome-unknown", "in doubt", "409 outcome-unknown"),
    ];
    for (says, first_hears, stored, next_hears) in rows {
        let mut world = World::new();
        world.origin([after(s(1), says)]);
        let first = world.send(request(1));
        world.run();
        assert_eq!(world.said(first), first_hears);
        assert_eq!(world.record(the_key()), stored, "{first_hears}");
        let next = world.send(request(2));
        world.run();
        assert_eq!(world.said(next), next_hears);
    }
}

#[test]
fn a_request_that_was_never_handed_over_frees_the_key() {
    let mut world = World::new();
    let first = world.send(request(1));
    while !world.is_forwarding(first) {
        assert!(world.step());
    }
    world.take(Choice::Refuse(world.forwarding(first)));
    world.run();
    assert_eq!(world.said(first), "502 origin-unreachable, again in 1 s");
    assert_eq!((world.record(the_key()), world.executed().len()), ("nothing", 0));
    let retry = world.send(request(2));
    world.run();
    assert_eq!(world.said(retry), r#"201 executed "paid 1""#);
}

#[test]
fn a_connection_that_fails_leaves_a_doubt_whether_or_not_the_origin_ran() {
    for ran in [false, true] {
        let mut world = World::new();
        let first = world.send(request(1));
        while !world.is_forwarding(first) {
            assert!(world.step());
        }
        let call = world.forwarding(first);
        if ran {
            world.take(Choice::Arrive(call));
        }
        world.take(Choice::Lose(call));
        world.run();
        assert_eq!(world.said(first), "502 outcome-unknown");
        assert_eq!(world.record(the_key()), "in doubt");
        let retry = world.send(request(2));
        world.run();
        assert_eq!(world.said(retry), "409 outcome-unknown");
        assert_eq!(world.executed().len(), usize::from(ran));
    }
}

#[test]
fn an_origin_that_fails_in_its_answer_leaves_a_doubt() {
    let mut world = World::new();
    world.origin([(s(1), Err(Failure::Lost))]);
    let first = world.send(request(1));
    world.run();
    assert_eq!(world.said(first), "502 outcome-unknown");
    assert_eq!(world.record(the_key()), "in doubt");
}

#[test]
fn after_the_timeout_the_ledger_hears_of_the_doubt_before_the_caller_does() {
    let mut world = World::new();
    world.origin([after(s(70), response(201, "late"))]);
    let first = world.send(request(1));
    world.run_for(s(60).checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!((world.said(first).as_str(), world.record(the_key())), ("no answer", "running"));
    world.take(Choice::Pass);
    assert_eq!(world.now(), instant(1060));
    while world.record(the_key()) == "running" {
        assert_eq!(world.said(first), "no answer");
        assert!(world.step());
    }
    assert_eq!((world.said(first).as_str(), world.record(the_key())), ("no answer", "in doubt"));
    world.run_for(Duration::from_millis(0));
    assert_eq!(world.said(first), "504 outcome-unknown");
    let meanwhile = world.send(request(2));
    let fails = world.send(by(&Route { on_duplicate: Strategy::Fail, ..make::route() }, 4));
    world.run_for(Duration::from_millis(0));
    assert_eq!(world.said(fails), "409 outcome-unknown, again in 15 s");
    assert_eq!(world.said(meanwhile), "no answer", "it waits");
    // The call was not aborted: its answer closes the record.
    world.run_for(s(10));
    assert_eq!(world.said(meanwhile), r#"201 joined "late""#);
    assert_eq!(world.record(the_key()), "completed");
    let later = world.send(request(3));
    world.run();
    assert_eq!(world.said(later), r#"201 replayed "late""#);
    assert_eq!(world.executed().len(), 1);
}

#[test]
fn after_the_timeout_an_answer_that_means_nothing_happened_frees_the_key() {
    let mut world = World::new();
    world.origin([after(s(61), response(409, "conflict"))]);
    let first = world.send(request(1));
    world.run();
    assert_eq!(world.said(first), "504 outcome-unknown");
    assert_eq!(world.record(the_key()), "nothing");
}

#[test]
fn an_answer_is_read_for_until_the_lease_ends_and_no_longer() {
    for (span, stored) in [(s(74), "completed"), (s(76), "in doubt"), (NEVER, "in doubt")] {
        let mut world = World::new();
        world.origin([after(span, response(201, "late"))]);
        let first = world.send(request(1));
        world.run();
        assert!(world.is_over(first));
        assert!(world.now() <= instant(1076), "{}", world.now().0);
        assert_eq!(world.record(the_key()), stored);
    }
}

#[test]
fn those_who_wait_for_a_doubt_hear_of_it_at_once() {
    let mut world = World::new();
    world.origin([(s(3), Err(Failure::Lost))]);
    world.send(request(1));
    world.run_for(Duration::from_millis(0));
    let duplicates = [2, 3, 4].map(|lease| world.send(request(lease)));
    world.run_for(s(3));
    for duplicate in duplicates {
        assert_eq!(world.said(duplicate), "409 outcome-unknown");
    }
}

#[test]
fn a_client_that_hangs_up_loses_nothing() {
    for steps in 0..20 {
        let mut world = World::new();
        let first = world.send(request(1));
        for _ in 0..steps {
            world.step();
        }
        world.take(Choice::Leave(first));
        world.run();
        assert!(world.is_over(first));
        assert_eq!(world.record(the_key()), "completed", "after {steps} steps");
        let retry = world.send(request(2));
        world.run();
        assert_eq!(world.said(retry), r#"201 replayed "paid 1""#);
    }
}

#[test]
fn the_settle_carries_the_body_and_what_is_kept_of_the_reply() {
    let mut world = World::new();
    let first = at_the_origin(&mut world, request(1));
    let call = world.forwarding(first);
    world.take(Choice::Answer(call));
    let Event::Settle(lease, reply) = world.event(first) else { panic!("it settles") };
    assert_eq!((lease, reply.status), (crate::make::lease(1), 201));
}
