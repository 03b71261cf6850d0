//! A good day: executed once, replayed, joined, refused.

use std::time::Duration;

use oncegate::config::route::Route;
use oncegate::lifecycle::event::{Claim, Event, Strategy};
use oncegate::lifecycle::record::Metadata;
use oncegate::lifecycle::reply::Kept;

use super::{after, at_the_origin, by, request, slow, the_key, with_strategy};
use crate::make::{self, days, ms_before, s};
use crate::world::{Answer, Choice, OriginResponse, World, response};

#[test]
fn the_first_request_is_executed_and_its_reply_replayed() {
    let mut world = World::new();
    let first = world.send(request(1));
    world.run();
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
    assert_eq!(world.record(the_key()), "completed");
    for again in [2, 3] {
        let retry = world.send(request(again));
        world.run();
        assert_eq!(world.said(retry), r#"201 replayed "paid 1""#);
    }
    assert_eq!(world.executed().len(), 1);
    assert!(world.log().is_empty(), "{:?}", world.log());
}

#[test]
fn the_reply_is_stored_before_it_is_sent() {
    let mut world = World::new();
    let first = world.send(request(1));
    while !matches!(world.said(first).as_str(), r#"201 executed "paid 1""#) {
        assert_eq!(world.said(first), "no answer");
        assert!(world.step());
    }
    assert_eq!(world.record(the_key()), "completed");
}

#[test]
fn a_reply_says_until_when_it_is_replayed_and_is_until_then() {
    let mut world = World::new();
    let first = world.send(request(1));
    world.run();
    let Some(Answer::OriginResponse(_, _, Some(expires))) = world.answer(first) else {
        panic!("executed")
    };
    let expires = *expires;
    assert_eq!(expires, world.now().plus(days(1)));
    world.run_for(ms_before(expires).since(world.now()));
    let retry = world.send(request(2));
    world.run();
    assert_eq!(world.said(retry), r#"201 replayed "paid 1""#);
    let Some(Answer::Stored(replay, _)) = world.answer(retry) else { panic!("replayed") };
    assert_eq!(replay.expires, expires);
    world.run_for(Duration::from_millis(1));
    let late = world.send(request(3));
    world.run();
    assert_eq!(world.said(late), r#"201 executed "paid 2""#);
}

#[test]
fn a_tombstone_answers_410_and_not_a_second_charge() {
    let mut world = World::new();
    let route = Route { tombstone: days(6), ..make::route() };
    world.send(by(&route, 1));
    world.run();
    world.run_for(days(1));
    let late = world.send(by(&route, 2));
    world.run();
    assert_eq!(world.said(late), "410 key-expired");
    world.run_for(days(6));
    let much_later = world.send(by(&route, 3));
    world.run();
    assert_eq!(world.said(much_later), r#"201 executed "paid 2""#);
}

#[test]
fn duplicates_of_a_running_request_wait_for_its_reply() {
    let mut world = World::new();
    world.origin([slow()]);
    let first = at_the_origin(&mut world, request(1));
    let duplicates: Vec<_> = (2..42).map(|lease| world.send(request(lease))).collect();
    world.run_for(Duration::from_millis(0));
    assert_eq!(world.ledger(|ledger| ledger.waiters()), 40);
    world.run();
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
    for duplicate in duplicates {
        assert_eq!(world.said(duplicate), r#"201 joined "paid 1""#);
        assert!(world.is_over(duplicate));
    }
    assert_eq!(world.executed().len(), 1);
}

#[test]
fn a_duplicate_waits_no_longer_than_it_likes_and_is_told_when_to_come_again() {
    let mut world = World::new();
    world.origin([after(s(30), response(201, "paid 1"))]);
    world.send(request(1));
    world.run_for(s(3));
    let duplicate = world.send(request(2));
    world.run_for(s(10).checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(world.said(duplicate), "no answer");
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.said(duplicate), "409 in-flight, again in 13 s");
    let hasty = world.send(by(&Route { wait: Duration::from_millis(0), ..make::route() }, 3));
    world.run_for(Duration::from_millis(0));
    assert_eq!(world.said(hasty), "409 in-flight, again in 13 s");
    world.run_for(s(17));
    let retry = world.send(request(4));
    world.run();
    assert_eq!(world.said(retry), r#"201 replayed "paid 1""#);
}

#[test]
fn a_release_wakes_those_who_wait_and_one_of_them_forwards() {
    let mut world = World::new();
    world.origin([after(s(1), response(429, "later")), slow()]);
    let first = world.send(request(1));
    world.run_for(Duration::from_millis(0));
    let duplicates: Vec<_> = (2..12).map(|lease| world.send(request(lease))).collect();
    world.run();
    assert_eq!(world.said(first), r#"429 released "later""#);
    let mut said: Vec<_> = duplicates.iter().map(|duplicate| world.said(*duplicate)).collect();
    said.sort();
    assert_eq!(said[0], r#"201 executed "paid 1""#);
    assert!(said[1..].iter().all(|said| said == r#"201 joined "paid 1""#), "{said:?}");
    assert_eq!(world.executed().len(), 2);
}

#[test]
fn whoever_is_woken_waits_for_what_is_left_of_its_patience_only() {
    let mut world = World::new();
    world.origin([after(s(6), response(429, "")), after(s(6), response(429, "")), slow()]);
    world.send(request(1));
    world.run_for(Duration::from_millis(0));
    let [second, third] = [2, 3].map(|lease| world.send(request(lease)));
    world.run_for(s(6));
    assert_eq!(world.executed().len(), 2);
    assert!(world.is_forwarding(second));
    let Event::Claim(claim) = world.event(third) else { panic!("it claims again") };
    assert_eq!(claim.wait, s(4));
    world.run_for(s(4));
    assert_eq!(world.said(third), "409 in-flight, again in 4 s");
}

#[test]
fn another_request_under_the_same_key_is_refused_in_every_state() {
    let mut world = World::new();
    let other = |lease| {
        let metadata = Metadata { fingerprint: make::fingerprint(0xf2), ..make::metadata() };
        let request = request(lease);
        oncegate::filter::GuardedRequest {
            claim: Claim { metadata, ..request.claim.clone() },
            ..request
        }
    };
    let first = at_the_origin(&mut world, request(1));
    let while_running = world.send(other(2));
    world.run_for(Duration::from_millis(0));
    assert_eq!(world.said(while_running), "422 key-reused");
    world.run();
    assert_eq!(world.said(first), r#"201 executed "paid 1""#);
    let once_completed = world.send(other(3));
    world.run();
    assert_eq!(world.said(once_completed), "422 key-reused");
    assert_eq!(world.executed().len(), 1);
}

#[test]
fn each_strategy_has_an_answer_for_a_running_and_for_a_completed_request() {
    for (strategy, running, completed) in [
        (Strategy::ReturnExisting, "no answer", r#"201 replayed "paid 1""#),
        (Strategy::Fail, "409 in-flight, again in 1 s", "409 already-executed"),
        (Strategy::FailOnRunning, "409 in-flight, again in 1 s", r#"201 executed "paid 2""#),
    ] {
        let mut world = World::new();
        let first = at_the_origin(&mut world, request(1));
        let call = world.forwarding(first);
        world.hold(call);
        let early = world.send(with_strategy(strategy, 2));
        world.run_for(s(1));
        assert_eq!(world.said(early), running, "{strategy:?}");
        world.take(Choice::Answer(call));
        world.run();
        let late = world.send(with_strategy(strategy, 3));
        world.run();
        assert_eq!(world.said(late), completed, "{strategy:?}");
    }
}

#[test]
fn a_rerun_replaces_the_reply_and_a_released_rerun_puts_it_back() {
    let mut world = World::new();
    world.origin([
        after(s(0), response(201, "first")),
        after(s(0), response(429, "busy")),
        after(s(0), response(201, "second")),
    ]);
    let mut said = |request| {
        let story = world.send(request);
        world.run();
        world.said(story)
    };
    let again = |lease| with_strategy(Strategy::FailOnRunning, lease);
    assert_eq!(said(request(1)), r#"201 executed "first""#);
    assert_eq!(said(again(2)), r#"429 released "busy""#);
    assert_eq!(said(request(3)), r#"201 replayed "first""#);
    assert_eq!(said(again(4)), r#"201 executed "second""#);
    assert_eq!(said(request(5)), r#"201 replayed "second""#);
}

#[test]
fn a_reply_that_was_not_kept_is_sent_once_and_never_executed_again() {
    let mut world = World::new();
    let streamed = OriginResponse { kept: Kept::StatusOnly, ..response(200, "a long one") };
    world.origin([after(s(0), streamed)]);
    let first = world.send(request(1));
    world.run();
    assert_eq!(world.said(first), r#"200 executed "a long one""#);
    let retry = world.send(request(2));
    world.run();
    assert_eq!(world.said(retry), "409 reply-not-stored");
    let Some(Answer::Problem(problem, _)) = world.answer(retry) else { panic!("refused") };
    assert_eq!(problem.original_status, Some(200));
    assert_eq!(world.executed().len(), 1);
}

#[test]
fn the_same_operation_under_another_credential_is_neither_replayed_nor_forwarded() {
    use oncegate::lifecycle::event::CredentialChange;
    use oncegate::request::key::KeyId;
    for (change, said) in [
        (CredentialChange::Refuse, "409 credential-changed"),
        (CredentialChange::Forward, r#"201 executed "paid 2""#),
    ] {
        let mut world = World::new();
        world.send(request(1));
        world.run();
        let route = Route { credential_change: change, ..make::route() };
        let mut other = by(&route, 2);
        other.key_id = KeyId::new(&make::key("k"), [9; 16]);
        let other = world.send(other);
        world.run();
        assert_eq!(world.said(other), said);
    }
}
