//! Corners: an answer is lost, a call comes late, and what was settled must not come undone.

use std::time::Duration;

use oncegate::config::route::{Doubtful, Route};
use oncegate::lifecycle::event::{Claim, Strategy};

use super::{after, at_the_origin, by, request, the_key, with_strategy};
use crate::make::{self, s};
use crate::world::{Answer, Choice, Story, World, response};

/// Its release arrives; the answer to that does not.
fn lose_the_release(world: &mut World, story: Story) {
    world.take(Choice::Answer(world.forwarding(story)));
    let release = world.asking(story);
    world.take(Choice::Arrive(release));
    world.take(Choice::Lose(release));
}

/// Contract 1.6: what is released still reaches the first caller as the origin sent it.
#[test]
fn a_released_rerun_whose_release_was_said_twice_is_answered_as_the_origin_sent_it() {
    let mut world = World::new();
    world.origin([after(s(0), response(201, "old")), after(s(0), response(429, "busy"))]);
    world.send(request(1));
    world.run();
    let rerun = at_the_origin(&mut world, with_strategy(Strategy::FailOnRunning, 2));
    lose_the_release(&mut world, rerun);
    world.run();
    assert_eq!(world.said(rerun), r#"429 released "busy""#);
}

#[test]
fn a_released_retry_whose_release_was_said_twice_is_answered_as_the_origin_sent_it() {
    let mut world = World::new();
    world.origin([after(s(0), response(502, "")), after(s(0), response(429, "busy"))]);
    world.send(request(1));
    world.run_for(s(75));
    let route = Route { on_in_doubt: Doubtful::Retry, ..make::route() };
    let retry = at_the_origin(&mut world, by(&route, 2));
    lose_the_release(&mut world, retry);
    world.run();
    assert_eq!(world.said(retry), r#"429 released "busy""#);
}

/// Contract 1.9: `Idempotency-Status: released` is said where the key is free; here it will be in doubt.
#[test]
fn a_request_that_was_never_handed_over_is_not_called_released_while_its_claim_stands() {
    let mut world = World::new();
    let first = world.send(request(1));
    while !world.is_forwarding(first) {
        world.step();
    }
    world.ledger(|ledger| ledger.broken = Some("disk full".to_owned()));
    world.take(Choice::Refuse(world.forwarding(first)));
    world.run();
    world.ledger(|ledger| ledger.broken = None);
    assert_eq!(world.record(the_key()), "running");
    let Some(Answer::Problem(_, status)) = world.answer(first) else { panic!("refused") };
    assert_ne!(*status, Some(oncegate::answer::Status::Released));
}

/// Contract 1.5: a Worker that gives up on a claim it may have been granted keeps trying to release it.
/// Here the caller has an answer, and a call that was given up as lost is still on its way.
#[test]
fn a_late_copy_of_a_claim_whose_caller_was_answered_does_not_end_in_doubt() {
    let mut world = World::new();
    world.origin([after(s(20), response(429, "busy"))]);
    world.send(request(1));
    world.run_for(Duration::from_millis(0));
    let second = world.send(request(2));
    let late = world.asking(second);
    world.hold(late);
    world.run_for(s(16));
    assert_eq!(world.said(second), "409 in-flight, again in 16 s");
    world.run_for(s(4));
    assert_eq!(world.record(the_key()), "nothing", "the first one was released");
    world.take(Choice::Arrive(late));
    world.run_for(s(100));
    assert_ne!(world.record(the_key()), "in doubt", "nobody has forwarded anything");
}

/// A tombstone is there so that a late retry gets 410, not a second charge: no other request, even one
/// that may rerun, takes its place.
#[test]
fn a_tombstone_survives_another_request() {
    let mut world = World::new();
    let route = Route { tombstone: make::days(6), ..make::route() };
    let rerun = Route { on_duplicate: Strategy::FailOnRunning, ..route.clone() };
    world.send(by(&route, 1));
    world.run();
    world.run_for(make::days(1));
    world.take(Choice::Sweep);
    let mut other = by(&rerun, 2);
    let metadata = oncegate::lifecycle::record::Metadata {
        fingerprint: make::fingerprint(2),
        ..make::metadata()
    };
    other.claim = Claim { metadata, ..other.claim };
    let other = world.send(other);
    world.run();
    assert_eq!(world.said(other), "422 key-reused");
    let late = world.send(by(&route, 3));
    world.run();
    assert_eq!(world.said(late), "410 key-expired");
}

#[test]
fn a_tombstone_is_put_back_by_a_rerun_that_was_released() {
    let mut world = World::new();
    let route = Route { tombstone: make::days(6), ..make::route() };
    let rerun = Route { on_duplicate: Strategy::FailOnRunning, ..route.clone() };
    world.origin([after(s(0), response(201, "old")), after(s(0), response(429, "busy"))]);
    world.send(by(&route, 1));
    world.run();
    world.run_for(make::days(1));
    for sweep in [false, true] {
        if sweep {
            world.take(Choice::Sweep);
            world.origin([after(s(0), response(429, "busy"))]);
        }
        let released = world.send(by(&rerun, 2 + u8::from(sweep)));
        world.run();
        assert_eq!(world.said(released), r#"429 released "busy""#);
        let late = world.send(by(&route, 4 + u8::from(sweep)));
        world.run();
        assert_eq!(world.said(late), "410 key-expired");
    }
}

/// Contract 1.7: the next duplicate claims again. Nobody holds a lease then, so nothing is waited for.
#[test]
fn a_doubt_that_nobody_works_at_any_more_may_be_retried_at_once() {
    let mut world = World::new();
    let route = Route { on_in_doubt: Doubtful::Retry, ..make::route() };
    world.origin([after(s(0), response(502, "")), after(s(61), response(429, "busy"))]);
    world.send(request(1));
    world.run_for(s(75));
    // In doubt after its timeout, then released by its late answer, 14 s before its lease is over.
    let second = world.send(by(&route, 2));
    world.run_for(s(62));
    assert_eq!(world.said(second), "504 outcome-unknown");
    let third = world.send(by(&route, 3));
    world.run();
    assert_eq!(world.said(third), r#"201 executed "paid 3""#);
}
