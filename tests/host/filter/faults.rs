//! The Ledger is out of reach, or loses answers, or refuses.

use std::time::Duration;

use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::Event;
use oncegate::protocol::VERSION;

use super::{after, at_the_origin, request, slow, the_key};
use crate::make::{instant, lease, s};
use crate::world::{Choice, Story, World, response};

/// The question arrives; the answer does not.
fn lose_the_answer(world: &mut World, story: Story) {
    let call = world.asking(story);
    world.take(Choice::Arrive(call));
    world.take(Choice::Lose(call));
}

#[test]
fn a_claim_whose_answer_was_lost_is_granted_again_and_forwarded_once() {
    let mut world = World::new();
    let first = world.send(request(1));
    lose_the_answer(&mut world, first);
    assert_eq!((world.record(the_key()), world.executed().len()), ("running", 0));
    world.run();
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
    assert_eq!(world.executed().len(), 1);
    assert_eq!(world.executed()[0].run.id, lease(1));
}

#[test]
fn a_settle_whose_answer_was_lost_is_kept_again() {
    for times in 1..=5 {
        let mut world = World::new();
        let first = at_the_origin(&mut world, request(1));
        world.take(Choice::Answer(world.forwarding(first)));
        for _ in 0..times {
            lose_the_answer(&mut world, first);
            assert_eq!(world.said(first), "no answer");
            while !world.is_asking(first) {
                assert!(world.step());
            }
        }
        world.run();
        assert_eq!(world.said(first), r#"201 executed "paid 1""#, "lost {times} times");
        assert_eq!(world.record(the_key()), "completed");
    }
}

#[test]
fn a_release_whose_answer_was_lost_is_a_release() {
    let mut world = World::new();
    world.origin([after(s(0), response(404, "no"))]);
    let first = at_the_origin(&mut world, request(1));
    world.take(Choice::Answer(world.forwarding(first)));
    lose_the_answer(&mut world, first);
    world.run();
    assert_eq!(world.said(first), r#"404 released "no""#);
    assert_eq!(world.record(the_key()), "nothing");
}

#[test]
fn a_ledger_out_of_reach_means_that_nothing_is_forwarded() {
    let mut world = World::new();
    let first = world.send(request(1));
    for _ in 0..3 {
        assert_eq!(world.said(first), "no answer");
        world.take(Choice::Lose(world.asking(first)));
        while world.said(first) == "no answer" && !world.is_asking(first) {
            assert!(world.step());
        }
    }
    assert_eq!(world.said(first), "503 store-unavailable, again in 1 s");
    assert!(world.now().since(instant(1000)) < s(1), "three tries, close together");
    world.run();
    assert!(world.is_over(first));
    assert_eq!(world.executed(), []);
    assert!(world.log()[0].starts_with("store-unavailable"), "{:?}", world.log());
    let retry = world.send(request(2));
    world.run();
    assert_eq!(world.said(retry), r#"201 executed "paid 1""#);
}

#[test]
fn a_claim_that_may_have_been_granted_to_a_refused_caller_is_given_back() {
    let mut world = World::new();
    let first = world.send(request(1));
    for _ in 0..3 {
        lose_the_answer(&mut world, first);
        while world.said(first) == "no answer" && !world.is_asking(first) {
            assert!(world.step());
        }
    }
    assert_eq!(world.said(first), "503 store-unavailable, again in 1 s");
    assert_eq!(world.record(the_key()), "running");
    world.run_for(s(1));
    assert_eq!(world.record(the_key()), "nothing", "released in the background");
    let retry = world.send(request(2));
    world.run();
    assert_eq!(world.said(retry), r#"201 executed "paid 1""#);
    assert_eq!(world.executed().len(), 1);
}

/// The first call was given up as lost, and comes late all the same.
#[test]
fn a_claim_that_arrives_after_its_caller_was_refused_is_given_back() {
    let mut world = World::new();
    let first = world.send(request(1));
    let late = world.asking(first);
    world.hold(late);
    // It hangs until it is given up; the next two fail at once.
    world.run_for(s(15));
    for _ in 0..2 {
        while !world.is_asking(first) {
            assert!(world.step());
        }
        world.take(Choice::Lose(world.asking(first)));
        world.run_for(Duration::from_millis(100));
    }
    assert_eq!(world.said(first), "503 store-unavailable, again in 1 s");
    world.take(Choice::Arrive(late));
    assert_eq!(world.record(the_key()), "running");
    world.run();
    assert_eq!((world.record(the_key()), world.executed().len()), ("nothing", 0));
}

#[test]
fn an_overloaded_ledger_is_not_asked_again_for_a_claim() {
    let mut world = World::new();
    let first = world.send(request(1));
    world.take(Choice::Overload(world.asking(first)));
    assert_eq!(world.said(first), "503 store-unavailable, again in 1 s");
    assert_eq!(world.now(), instant(1000));
    world.run();
    assert!(world.is_over(first));
    assert_eq!((world.record(the_key()), world.executed().len()), ("nothing", 0));
}

#[test]
fn an_overloaded_ledger_after_a_lost_claim_is_given_back_what_it_granted() {
    let mut world = World::new();
    let first = world.send(request(1));
    lose_the_answer(&mut world, first);
    while !world.is_asking(first) {
        assert!(world.step());
    }
    world.take(Choice::Overload(world.asking(first)));
    assert_eq!(world.said(first), "503 store-unavailable, again in 1 s");
    assert_eq!(world.record(the_key()), "running");
    world.run();
    assert_eq!(world.record(the_key()), "nothing");
}

#[test]
fn a_ledger_that_fails_after_a_lost_claim_is_given_back_what_it_granted() {
    let mut world = World::new();
    let first = world.send(request(1));
    lose_the_answer(&mut world, first);
    world.ledger(|ledger| ledger.broken = Some("disk full".to_owned()));
    world.run_for(Duration::from_millis(60));
    assert_eq!(world.said(first), "503 store-unavailable, again in 1 s");
    world.ledger(|ledger| ledger.broken = None);
    assert_eq!(world.record(the_key()), "running");
    world.run();
    assert_eq!((world.record(the_key()), world.executed().len()), ("nothing", 0));
    assert!(world.log()[0].contains("disk full"), "{:?}", world.log());
}

#[test]
fn a_settle_that_cannot_be_stored_leaves_a_doubt_and_the_caller_hears_the_origin() {
    let mut world = World::new();
    world.origin([slow()]);
    let first = world.send(request(1));
    while !world.is_forwarding(first) {
        world.step();
    }
    world.ledger(|ledger| ledger.broken = Some("disk full".to_owned()));
    // A second at the origin, then six tries with 50 + 100 + 200 + 400 + 800 ms between them, and no pause
    // after the last.
    world.run_for(instant(1002).plus(Duration::from_millis(550)).since(world.now()));
    assert_eq!(world.said(first), r#"201 unknown "paid 1""#);
    world.run();
    assert_eq!(world.log().len(), 1);
    world.ledger(|ledger| ledger.broken = None);
    assert_eq!(world.record(the_key()), "running");
    world.run_for(s(75));
    assert_eq!(world.record(the_key()), "in doubt");
    let retry = world.send(request(2));
    world.run();
    assert_eq!(world.said(retry), "409 outcome-unknown");
    assert_eq!(world.executed().len(), 1);
}

#[test]
fn a_settle_is_tried_again_where_the_ledger_is_overloaded() {
    let mut world = World::new();
    let first = at_the_origin(&mut world, request(1));
    world.take(Choice::Answer(world.forwarding(first)));
    world.take(Choice::Overload(world.asking(first)));
    world.run();
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
}

#[test]
fn a_ledger_that_hangs_is_one_out_of_reach() {
    let mut world = World::new();
    let first = world.send(request(1));
    while world.said(first) == "no answer" {
        if world.is_asking(first) {
            let call = world.asking(first);
            world.hold(call);
        }
        assert!(world.step(), "it hangs with it");
    }
    assert_eq!(world.said(first), "503 store-unavailable, again in 1 s");
    assert!(world.now().since(instant(1000)) < s(30), "{}", world.now().0);
    assert_eq!(world.executed(), []);
}

#[test]
fn more_waiters_than_a_ledger_has_room_for_are_told_when_to_come_again() {
    let mut world = World::new();
    world.ledger(|ledger| ledger.waiters_max = 2);
    world.origin([slow()]);
    let first = world.send(request(1));
    world.run_for(Duration::from_millis(0));
    let duplicates = [2, 3, 4].map(|lease| world.send(request(lease)));
    world.run();
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
    let said = duplicates.map(|duplicate| world.said(duplicate));
    assert_eq!(said[..2], [r#"201 joined "paid 1""#, r#"201 joined "paid 1""#]);
    assert_eq!(said[2], "409 in-flight, again in 1 s");
}

#[test]
fn a_ledger_that_speaks_no_version_of_ours_is_asked_nothing_more() {
    for version in [0, VERSION + 1, u8::MAX] {
        let mut world = World::new();
        world.ledger(|ledger| ledger.version = version);
        let first = world.send(request(1));
        world.run();
        assert_eq!(world.said(first), "503 store-unavailable, again in 1 s", "{version}");
        assert!(world.is_over(first));
        assert_eq!((world.record(the_key()), world.executed().len()), ("nothing", 0));
    }
}

#[test]
fn another_number_of_shards_is_refused_and_the_log_says_what_to_do() {
    let mut world = World::new();
    world.ledger(|ledger| ledger.shards = 64);
    let first = world.send(request(1));
    world.run();
    assert_eq!(world.said(first), "503 store-unavailable, again in 1 s");
    assert_eq!((world.record(the_key()), world.executed().len()), ("nothing", 0));
    let log = world.log().join("\n");
    assert!(log.contains("SHARDS = 64") && log.contains("set it back"), "{log}");
}

#[test]
fn one_whose_lease_has_moved_on_is_answered_as_a_duplicate() {
    use oncegate::lifecycle::event::{Claim, OnInDoubt};
    let retry = |number| {
        let request = request(number);
        GuardedRequest {
            claim: Claim { on_in_doubt: OnInDoubt::Retry, ..request.claim.clone() },
            ..request
        }
    };
    let mut world = World::new();
    let first = at_the_origin(&mut world, retry(1));
    let call = world.forwarding(first);
    world.hold(call);
    world.run_for(s(59));
    world.take(Choice::Answer(call));
    // The settle hangs while the lease runs out and another try executes.
    let settle = world.asking(first);
    assert!(matches!(world.event(first), Event::Settle(..)));
    world.hold(settle);
    world.run_for(s(4));
    world.run_for(Duration::from_millis(0));
    while world.record(the_key()) == "running" {
        if world.is_asking(first) {
            let call = world.asking(first);
            world.hold(call);
        }
        assert!(world.step());
    }
    let second = world.send(retry(2));
    while world.said(second) == "no answer" {
        assert!(world.step());
    }
    assert_eq!(world.said(second), r#"201 executed "paid 2""#);
    world.take(Choice::Arrive(settle));
    assert_eq!(world.record(the_key()), "completed");
    let third = world.send(request(3));
    world.run();
    assert_eq!(world.said(third), r#"201 replayed "paid 2""#, "a slow ghost overwrites nothing");
}
