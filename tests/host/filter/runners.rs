//! A claim that is handed over to a Runner: the client is answered before the call is done.

use std::time::Duration;

use oncegate::config::route::{Doubtful, RespondAsync, Route};
use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::{How, Replay, Verdict};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::RELEASED_KEPT;
use oncegate::lifecycle::reply::Kept;

use super::{after, by, preferring, slow, the_key};
use crate::make::{self, lease, s};
use crate::world::{Answer, Choice, Story, World, response};

fn route() -> Route {
    Route { respond_async: RespondAsync::Allow, ..make::route() }
}

/// A request whose client prefers `respond-async`.
fn hasty(lease: u8) -> GuardedRequest {
    preferring(by(&route(), lease), s(0))
}

/// What is told at the address of the claim with this lease.
fn told(world: &World, by: u8) -> Option<Verdict> {
    world.status(the_key(), &StatusSecret::of(lease(by))).map(|(_, verdict, _)| verdict)
}

fn reply_told(world: &World, by: u8) -> (How, u16, String) {
    let (_, verdict, body) = world.status(the_key(), &StatusSecret::of(lease(by))).unwrap();
    let Verdict::Replay(Replay { how, reply, .. }) = verdict else { panic!("{verdict:?}") };
    (how, reply.status, String::from_utf8(body).unwrap())
}

fn address(world: &World, story: Story) -> StatusSecret {
    let Some(Answer::Accepted(accepted)) = world.answer(story) else {
        panic!("{}", world.said(story))
    };
    accepted.status
}

/// A request whose hand-over has not arrived yet.
fn on_its_way(world: &mut World, request: GuardedRequest) -> Story {
    let story = world.send(request);
    while !world.is_handing_over(story) {
        assert!(world.step(), "it hands nothing over");
    }
    story
}

#[test]
fn a_client_that_does_not_wait_is_told_that_its_call_runs_and_where_its_reply_will_be() {
    let mut world = World::new();
    world.origin([slow()]);
    let first = world.send(hasty(1));
    world.run_for(s(0));
    assert_eq!(world.said(first), "202 running, again in 1 s");
    assert_eq!(address(&world, first), StatusSecret::of(lease(1)));
    assert_eq!(world.record(the_key()), "running");
    assert!(matches!(told(&world, 1), Some(Verdict::InFlight { .. })));
    // Every duplicate is told the same address, and one that waits waits.
    let (hurries, waits) = (world.send(hasty(2)), world.send(by(&route(), 3)));
    world.run_for(s(0));
    assert_eq!(address(&world, hurries), StatusSecret::of(lease(1)));
    assert_eq!(world.said(waits), "no answer");
    world.run();
    assert_eq!(world.said(waits), r#"201 joined "paid 1""#);
    assert_eq!(reply_told(&world, 1), (How::Replayed, 201, "paid 1".to_owned()));
    assert_eq!(told(&world, 2), None, "it never had an address of its own");
    assert_eq!(world.executed().len(), 1);
    assert!(world.log().is_empty(), "{:?}", world.log());
}

#[test]
fn a_client_that_waits_for_a_while_gets_the_reply_where_it_is_there_in_time() {
    for (takes, wait, said) in [
        (1, 5, r#"201 executed "paid 1""#),
        (5, 5, r#"201 executed "paid 1""#),
        (6, 5, "202 running, again in 1 s"),
    ] {
        let mut world = World::new();
        world.origin([after(s(takes), response(201, "paid 1"))]);
        let first = world.send(preferring(by(&route(), 1), s(wait)));
        world.run_for(s(wait));
        assert_eq!(world.said(first), said, "{takes} s");
        world.run();
        assert_eq!(reply_told(&world, 1), (How::Replayed, 201, "paid 1".to_owned()));
        assert_eq!(world.executed().len(), 1);
    }
}

#[test]
fn what_was_released_is_told_for_ten_minutes_and_the_key_is_free() {
    let mut world = World::new();
    world.origin([after(s(1), response(429, "too many")), after(s(1), response(201, "paid"))]);
    world.send(hasty(1));
    world.run();
    assert_eq!(world.record(the_key()), "released");
    assert_eq!(reply_told(&world, 1), (How::Released, 429, "too many".to_owned()));
    let released = world.now();
    // A client that waits is answered with it, as released.
    let again = world.send(preferring(by(&route(), 2), s(5)));
    world.run();
    assert_eq!(world.said(again), r#"201 executed "paid""#);
    assert_eq!(reply_told(&world, 1), (How::Replayed, 201, "paid".to_owned()));
    assert_eq!(told(&world, 2), None, "the key has kept its address");
    // And where nobody comes again it is forgotten.
    let mut world = World::new();
    world.origin([after(s(1), response(429, "too many"))]);
    let waits = world.send(preferring(by(&route(), 1), s(5)));
    world.run();
    assert_eq!(world.said(waits), r#"429 released "too many""#);
    world.run_for(RELEASED_KEPT.saturating_sub(Duration::from_millis(1)));
    assert_eq!(reply_told(&world, 1).0, How::Released);
    world.run_for(Duration::from_millis(1));
    assert_eq!(told(&world, 1), None);
    assert_eq!(world.record(the_key()), "nothing");
    world.take(Choice::Sweep);
    assert_eq!(world.records().count(), 0);
    assert_eq!(released, make::instant(1001));
}

#[test]
fn a_large_answer_that_was_released_is_kept_without_its_body() {
    for (bytes, kept) in [(65_536, true), (65_537, false)] {
        let mut world = World::new();
        world.origin([after(s(1), response(404, &"x".repeat(bytes)))]);
        world.send(hasty(1));
        world.run();
        let (_, verdict, body) = world.status(the_key(), &StatusSecret::of(lease(1))).unwrap();
        let Verdict::Replay(Replay { reply, how: How::Released, .. }) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(reply.body != Kept::StatusOnly, kept);
        assert_eq!(body.len(), if kept { bytes } else { 0 });
    }
}

/// The answer to a hand-over may be lost though a Runner has the lease: another one could run it a second time.
#[test]
fn a_lease_is_handed_over_once_whatever_comes_of_it() {
    // Lost on its way back: the Runner makes the call.
    let mut world = World::new();
    world.origin([slow()]);
    let first = on_its_way(&mut world, hasty(1));
    let call = world.handing_over(first);
    world.take(Choice::Arrive(call));
    world.take(Choice::Lose(call));
    world.run();
    assert_eq!(world.said(first), "202 running, again in 1 s");
    assert_eq!(reply_told(&world, 1), (How::Replayed, 201, "paid 1".to_owned()));
    assert_eq!(world.executed().len(), 1);
    assert_eq!(world.log(), ["it is not known whether a Runner has the request: lost"]);
    // Lost on its way out: nobody makes it, and the lease decides.
    let mut world = World::new();
    let first = on_its_way(&mut world, hasty(1));
    world.take(Choice::Lose(world.handing_over(first)));
    world.run();
    assert_eq!(world.said(first), "202 running, again in 1 s");
    assert!(matches!(told(&world, 1), Some(Verdict::InFlight { .. })));
    world.run_for(s(75));
    assert!(matches!(told(&world, 1), Some(Verdict::InDoubt { .. })));
    let again = world.send(hasty(2));
    world.run();
    assert_eq!(world.said(again), "409 outcome-unknown");
    assert_eq!(world.executed().len(), 0);
}

#[test]
fn a_lease_that_no_runner_takes_is_released_at_once() {
    for fault in [Choice::Overload, Choice::Refuse] {
        let mut world = World::new();
        let first = on_its_way(&mut world, hasty(1));
        world.take(fault(world.handing_over(first)));
        world.run();
        assert!(world.said(first).starts_with("503 store-unavailable, again in "));
        assert_eq!(world.record(the_key()), "released");
        assert_eq!(told(&world, 1), Some(Verdict::Released));
        let again = world.send(preferring(by(&route(), 2), s(5)));
        world.run();
        assert_eq!(world.said(again), r#"201 executed "paid 1""#);
        assert_eq!(world.executed().len(), 1);
    }
}

/// The lease is lost with whoever has it, before, during and after the call: that is a doubt, never a second run.
#[test]
fn a_runner_that_dies_leaves_a_doubt() {
    for (when, executions) in [("before", 0), ("during", 1), ("after", 1)] {
        let mut world = World::new();
        world.origin([slow()]);
        let first = on_its_way(&mut world, hasty(1));
        world.take(Choice::Arrive(world.handing_over(first)));
        let runner = Story(1);
        if when != "before" {
            world.take(Choice::Arrive(world.forwarding(runner)));
        }
        while when == "after" && !world.is_asking(runner) {
            assert!(world.step(), "it settles nothing");
        }
        world.take(Choice::Crash(runner));
        world.run_for(s(75));
        assert_eq!(world.said(first), "202 running, again in 1 s");
        assert!(matches!(told(&world, 1), Some(Verdict::InDoubt { .. })), "{when}");
        let again = world.send(hasty(2));
        world.run();
        assert_eq!(world.said(again), "409 outcome-unknown", "{when}");
        assert_eq!(world.executed().len(), executions, "{when}");
    }
}

/// The answer to its first claim was lost, and that lease was over when it asked again: it has claimed with another one.
#[test]
fn the_lease_that_was_granted_is_the_one_that_is_handed_over() {
    let mut world = World::new();
    world.origin([slow()]);
    let first = world.send(hasty(1));
    world.take(Choice::Arrive(world.asking(first)));
    world.take(Choice::Lose(world.asking(first)));
    world.delay_to(make::instant(1075));
    world.run();
    assert_eq!(world.said(first), "202 running, again in 1 s");
    assert_eq!(reply_told(&world, 1), (How::Replayed, 201, "paid 1".to_owned()));
    assert_eq!(world.executed().len(), 1);
}

/// On a route that retries, its lease may be somebody else's by then.
#[test]
fn a_runner_that_is_reached_late_sends_nothing() {
    let route = Route { on_in_doubt: Doubtful::Retry, timeout: s(5), ..route() };
    let mut world = World::new();
    let first = on_its_way(&mut world, preferring(by(&route, 1), s(0)));
    let call = world.handing_over(first);
    world.hold(call);
    // Its Worker gives up; then its lease is over, and the next one is granted.
    world.run_for(s(20));
    assert_eq!(world.said(first), "202 running, again in 1 s");
    world.origin([after(s(4), response(201, "paid"))]);
    world.send(preferring(by(&route, 2), s(0)));
    world.run_for(s(1));
    assert_eq!(world.executed().len(), 1);
    world.take(Choice::Arrive(call));
    world.run();
    assert_eq!(world.executed().len(), 1, "it began all the same");
    assert_eq!(reply_told(&world, 1), (How::Replayed, 201, "paid".to_owned()));
}

#[test]
fn a_worker_that_dies_after_its_hand_over_changes_nothing() {
    let mut world = World::new();
    world.origin([slow()]);
    let first = on_its_way(&mut world, hasty(1));
    let call = world.handing_over(first);
    world.take(Choice::Crash(first));
    world.take(Choice::Arrive(call));
    world.run();
    assert_eq!(world.said(first), "no answer");
    assert_eq!(reply_told(&world, 1), (How::Replayed, 201, "paid 1".to_owned()));
    assert_eq!(world.executed().len(), 1);
}

/// What the origin did not get is told as that, to the client that waits and at the address.
#[test]
fn a_call_that_was_never_sent_is_told_as_released() {
    let mut world = World::new();
    let first = on_its_way(&mut world, preferring(by(&route(), 1), s(5)));
    world.take(Choice::Arrive(world.handing_over(first)));
    world.take(Choice::Refuse(world.forwarding(Story(1))));
    world.run();
    assert!(
        world.said(first).starts_with("502 origin-unreachable, again in "),
        "{}",
        world.said(first)
    );
    assert_eq!(told(&world, 1), Some(Verdict::Released));
    assert_eq!(world.executed().len(), 0);
}

/// A key that was first used where nobody is answered asynchronously has no address until a claim brings one.
#[test]
fn a_key_gets_an_address_with_the_first_claim_that_has_one() {
    let rerun = oncegate::lifecycle::event::Strategy::FailOnRunning;
    let mut world = World::new();
    world.send(by(&make::route(), 1));
    world.run();
    assert_eq!(told(&world, 1), None);
    let route = Route { on_duplicate: rerun, ..route() };
    let again = world.send(preferring(by(&route, 2), s(0)));
    world.run();
    assert_eq!(address(&world, again), StatusSecret::of(lease(2)));
    assert_eq!(reply_told(&world, 2), (How::Replayed, 201, "paid 2".to_owned()));
    let third = world.send(preferring(by(&route, 3), s(0)));
    world.run();
    assert_eq!(address(&world, third), StatusSecret::of(lease(2)));
}
