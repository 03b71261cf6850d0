//! A Worker stops at any of its awaits, and never runs again.

use std::time::Duration;

use oncegate::config::route::{Doubtful, Route};
use oncegate::lifecycle::event::Strategy;
use oncegate::lifecycle::outcome::Failure;

use super::{after, by, request, slow, the_key, with_strategy};
use crate::make::{self, days, instant, s};
use crate::world::{Choice, World, response};

/// Runs a request for so many steps and stops its Worker; false if it was over by then.
fn stopped_after(steps: usize, world: &mut World) -> bool {
    let first = world.send(request(1));
    for _ in 0..steps {
        world.step();
    }
    let over = world.is_over(first);
    world.take(Choice::Crash(first));
    !over
}

#[test]
fn a_worker_that_stops_anywhere_never_leads_to_a_second_execution() {
    let mut steps = 0;
    loop {
        let mut world = World::new();
        world.origin([slow()]);
        let stopped = stopped_after(steps, &mut world);
        let was = world.record(the_key());
        // Another one at once, one that comes when the lease is over, and one after that.
        let mut said = Vec::new();
        for (lease, pause) in [(2, s(0)), (3, s(75)), (4, s(60))] {
            world.run_for(pause);
            let retry = world.send(request(lease));
            world.run();
            said.push(world.said(retry));
        }
        let executed = world.executed().len();
        assert!(executed <= 1, "{executed} executions, stopped after {steps} steps");
        match was {
            // It had not claimed: the next one does.
            "nothing" => {
                let once = [r#"201 executed "paid 1""#, r#"201 replayed "paid 1""#];
                assert_eq!(said[..2], once);
            }
            // Nobody knows, and nobody is told otherwise.
            "running" => {
                assert!(said[0].starts_with("409 in-flight"), "{}", said[0]);
                assert_eq!(said[1..], ["409 outcome-unknown", "409 outcome-unknown"]);
                assert_eq!(world.record(the_key()), "in doubt");
            }
            "completed" => assert_eq!(said[0], r#"201 replayed "paid 1""#),
            other => panic!("after {steps} steps it is {other}"),
        }
        if !stopped {
            return assert!(steps > 5, "only {steps} places to stop at");
        }
        steps += 1;
    }
}

#[test]
fn those_who_wait_for_a_worker_that_stopped_are_answered_when_its_lease_is_over() {
    let mut world = World::new();
    stopped_after(2, &mut world);
    assert_eq!(world.record(the_key()), "running");
    world.run_for(s(70));
    let duplicate = world.send(request(2));
    world.run();
    assert_eq!(world.said(duplicate), "409 outcome-unknown");
    assert_eq!(world.now(), instant(1075), "neither sooner nor later");
}

/// The claim was on its way when its Worker stopped: it is granted to nobody.
#[test]
fn a_claim_of_one_who_has_left_ends_in_doubt_and_executes_nothing() {
    let mut world = World::new();
    let first = world.send(request(1));
    let claim = world.asking(first);
    world.take(Choice::Crash(first));
    world.take(Choice::Arrive(claim));
    assert_eq!(world.record(the_key()), "running");
    world.run_for(s(75));
    let retry = world.send(request(2));
    world.run();
    assert_eq!(world.said(retry), "409 outcome-unknown");
    assert_eq!(world.executed(), []);
}

#[test]
fn a_worker_that_stops_while_it_waits_takes_nothing_with_it() {
    let mut world = World::new();
    world.origin([after(s(2), response(429, "")), slow()]);
    world.send(request(1));
    world.run_for(Duration::from_millis(0));
    let [gone, patient] = [2, 3].map(|lease| world.send(request(lease)));
    world.run_for(s(1));
    world.take(Choice::Crash(gone));
    world.run();
    assert_eq!(world.said(patient), r#"201 executed "paid 1""#);
    assert_eq!(world.said(gone), "no answer");
}

#[test]
fn a_ledger_that_is_started_anew_forgets_who_waits_and_they_ask_again() {
    let mut world = World::new();
    world.origin([slow()]);
    let first = world.send(request(1));
    world.run_for(Duration::from_millis(0));
    let duplicates = [2, 3].map(|lease| world.send(request(lease)));
    world.run_for(Duration::from_millis(500));
    assert_eq!(world.ledger(|ledger| ledger.waiters()), 2);
    world.take(Choice::Reset);
    assert_eq!(world.ledger(|ledger| ledger.waiters()), 0);
    world.run();
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
    for duplicate in duplicates {
        assert_eq!(world.said(duplicate), r#"201 joined "paid 1""#);
    }
    assert_eq!(world.executed().len(), 1);
}

#[test]
fn the_alarm_takes_no_row_that_still_answers() {
    let mut world = World::new();
    let first = world.send(request(1));
    while world.step() {
        world.take(Choice::Sweep);
    }
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
    world.run_for(days(1).checked_sub(Duration::from_millis(1)).unwrap());
    world.take(Choice::Sweep);
    assert_eq!(world.record(the_key()), "completed");
    world.run_for(Duration::from_millis(1));
    world.take(Choice::Sweep);
    assert_eq!(world.ledger(|ledger| ledger.key_ids().count()), 0);
}

/// Found by the explorer: the copy was granted to nobody, and hid the reply behind a doubt.
#[test]
fn a_late_copy_of_a_settled_claim_takes_nothing_from_the_run_after_it() {
    let mut world = World::new();
    let again = |lease| with_strategy(Strategy::FailOnRunning, lease);
    let first = world.send(again(1));
    let copy = world.asking(first);
    world.take(Choice::Lose(copy));
    world.run();
    let second = world.send(again(2));
    world.run();
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
    assert_eq!(world.said(second), r#"201 executed "paid 2""#);
    world.take(Choice::Arrive(copy));
    let third = world.send(request(3));
    world.run();
    assert_eq!(world.said(third), r#"201 replayed "paid 2""#);
}

/// Granted, it would hold the key for a lease that nobody has.
#[test]
fn a_late_copy_of_a_claim_whose_attempt_was_retried_is_not_granted() {
    let route = Route { on_in_doubt: Doubtful::Retry, ..make::route() };
    let mut world = World::new();
    world.origin([(s(1), Err(Failure::Lost)), (s(1), Err(Failure::Lost))]);
    let first = world.send(by(&route, 1));
    world.take(Choice::Lose(world.asking(first)));
    world.run();
    assert_eq!(world.said(first), "502 outcome-unknown");
    world.send(by(&route, 2));
    world.run();
    let copy = world.astray().next().expect("the first claim may still arrive");
    world.take(copy);
    assert_eq!(world.record(the_key()), "in doubt");
    let third = world.send(by(&route, 3));
    world.run();
    assert_eq!(world.said(third), r#"201 executed "paid 3""#);
}
