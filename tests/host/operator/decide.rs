//! Decisions: only on a record without a live lease, only as the operator saw it, and never twice.

use oncegate::lifecycle::event::{Event, Verdict};
use oncegate::lifecycle::record::{Doubt, Execution, Lease, Reason, Record, State};
use oncegate::lifecycle::step::{Change, OtherCredential, step};
use oncegate::operator::decide::{Decided, Decision, DecisionResult, decide, lease_of};
use oncegate::time::Timestamp;
use proptest::prelude::*;

use crate::arbitrary;
use crate::make::{
    self, cases, claim, completed, days, doubt, instant, lease, record, reply, running, s,
};

/// When the lease of [`doubtful`] ended.
const OVER: Timestamp = instant(1000);

fn doubtful() -> Record {
    record(State::InDoubt(doubt(lease(1), OVER)))
}

fn decided(record: Record, named: u8, decision: Decision, now: Timestamp) -> Decided {
    decide(Some(record), Some(lease(named)), decision, now)
}

fn complete() -> Decision {
    Decision::Complete(reply(201, 4))
}

fn written(change: Change) -> Option<Record> {
    match change {
        Change::Insert(record) | Change::Update(record) | Change::Complete(record) => Some(record),
        Change::Keep | Change::Delete => None,
    }
}

#[test]
fn a_doubt_that_is_resolved_as_completed_is_replayed_to_the_next_retry() {
    let now = OVER.plus(s(5));
    let Decided { change, result } = decided(doubtful(), 1, complete(), now);
    assert_eq!(result, DecisionResult::Done);
    assert!(matches!(change, Change::Complete(_)), "its body is the one that came with it");
    let retry = step(written(change), OtherCredential::None, Event::Claim(claim(lease(9))), now);
    let Verdict::Replay(replay) = retry.verdict else { panic!("{:?}", retry.verdict) };
    assert_eq!(replay.reply, reply(201, 4));
    assert_eq!(replay.expires, now.plus(make::durations().ttl));
}

#[test]
fn a_doubt_that_is_released_is_as_if_it_had_never_been() {
    let now = OVER.plus(s(5));
    assert_eq!(decided(doubtful(), 1, Decision::Release, now).change, Change::Delete);
    // Also where several attempts are in doubt: the decision is about all of them.
    let attempts = Doubt { earlier: Some(Reason::Timeout), ..doubt(lease(1), OVER) };
    let record = record(State::InDoubt(attempts));
    assert_eq!(decided(record, 1, Decision::Release, now).change, Change::Delete);
}

#[test]
fn a_release_brings_the_old_reply_back() {
    let old = completed(lease(7), instant(10));
    let doubt = Doubt { base: Some(old.clone()), ..doubt(lease(1), OVER) };
    let released = decided(record(State::InDoubt(doubt)), 1, Decision::Release, OVER);
    assert_eq!(written(released.change).unwrap().state, State::Completed(old));
}

#[test]
fn a_doubt_that_is_held_stays_in_doubt_for_another_doubt_ttl() {
    let now = OVER.plus(days(89));
    let held = written(decided(doubtful(), 1, Decision::Hold, now).change).unwrap();
    let State::InDoubt(doubt) = &held.state else { panic!("{:?}", held.state) };
    assert_eq!((doubt.closes, doubt.lease), (now.plus(days(90)), Some(lease(1))));
    assert!(doubt.gone >= doubt.closes.plus(days(90)));
}

#[test]
fn a_closed_doubt_can_still_be_resolved() {
    let now = OVER.plus(days(100));
    for decision in [complete(), Decision::Release, Decision::Hold] {
        assert_eq!(decided(doubtful(), 1, decision, now).result, DecisionResult::Done);
    }
}

#[test]
fn a_lease_that_is_live_refuses_every_decision_until_it_is_over() {
    let now = instant(500);
    let run = running(lease(1), now);
    let until = run.until;
    let in_doubt_early = record(State::InDoubt(doubt(lease(1), until)));
    for record in [record(State::Running(run)), in_doubt_early] {
        for decision in [complete(), Decision::Release, Decision::Hold, Decision::Purge] {
            for named in [Some(lease(1)), Some(lease(2)), None] {
                let early = decide(Some(record.clone()), named, decision.clone(), now);
                let refused =
                    Decided { change: Change::Keep, result: DecisionResult::LeaseLive(until) };
                assert_eq!(early, refused, "{decision:?}");
            }
            let late = decided(record.clone(), 1, decision.clone(), until);
            assert_eq!(late.result, DecisionResult::Done, "{decision:?}");
        }
    }
}

#[test]
fn what_has_moved_on_is_not_decided_about() {
    let now = OVER.plus(s(5));
    let settled = record(State::Completed(completed(lease(1), now)));
    for decision in [complete(), Decision::Release, Decision::Hold] {
        assert_eq!(
            decided(settled.clone(), 1, decision.clone(), now).result,
            DecisionResult::MovedOn
        );
        assert_eq!(decided(doubtful(), 2, decision.clone(), now).result, DecisionResult::MovedOn);
        let unnamed = decide(Some(doubtful()), None, decision.clone(), now);
        assert_eq!(unnamed.result, DecisionResult::MovedOn, "a resolve names a lease");
        assert_eq!(decide(None, Some(lease(1)), decision, now).result, DecisionResult::Absent);
    }
    assert_eq!(decided(settled.clone(), 2, Decision::Purge, now).result, DecisionResult::MovedOn);
    assert_eq!(decided(settled, 1, Decision::Purge, now).change, Change::Delete);
}

#[test]
fn a_settle_that_comes_after_the_decision_changes_nothing() {
    let now = OVER.plus(s(5));
    let resolved = written(decided(doubtful(), 1, complete(), now).change);
    let late = step(resolved, OtherCredential::None, Event::Settle(lease(1), reply(500, 9)), now);
    assert_eq!((late.change, late.verdict), (Change::Keep, Verdict::Stale));
}

#[test]
fn a_doubt_without_a_lease_is_named_by_its_run() {
    let run = Execution { id: lease(5), ..make::run(lease(5), 2) };
    let doubt = Doubt { lease: None, run, ..doubt(lease(1), OVER) };
    let record = record(State::InDoubt(doubt));
    assert_eq!(lease_of(&record.state), lease(5));
    assert_eq!(decided(record, 5, Decision::Release, OVER).result, DecisionResult::Done);
}

proptest! {
    #![proptest_config(cases(500))]

    /// Of two people who decide at once about the same record one succeeds.
    #[test]
    fn of_two_decisions_about_one_sight_at_most_one_is_carried_out(
        record in arbitrary::record(),
        now in arbitrary::instant(),
        first in 0..3_usize,
        second in 0..3_usize,
    ) {
        let decisions = [complete(), Decision::Release, Decision::Purge];
        let Some(seen) = record.clone().at(now).map(|record| lease_of(&record.state)) else { return Ok(()) };
        let one = decide(Some(record), Some(seen), decisions[first].clone(), now);
        let after = written(one.change);
        // What a release brings back is an older reply, whose lease was another.
        let is_older = !matches!(&after, Some(Record { state: State::Completed(old), .. }) if old.lease == seen);
        if one.result == DecisionResult::Done && is_older {
            let two = decide(after, Some(seen), decisions[second].clone(), now);
            prop_assert_ne!(two.result, DecisionResult::Done);
        }
    }

    /// A refused decision changes nothing, and one that is carried out changes the record.
    #[test]
    fn a_refusal_writes_nothing(
        record in proptest::option::of(arbitrary::record()),
        named in proptest::option::of(arbitrary::lease()),
        now in arbitrary::instant(),
    ) {
        for decision in [complete(), Decision::Release, Decision::Hold, Decision::Purge] {
            let Decided { change, result } = decide(record.clone(), named, decision, now);
            prop_assert_eq!(result == DecisionResult::Done, change != Change::Keep);
        }
    }
}

#[test]
fn every_state_names_a_lease() {
    let named: Vec<Lease> = [
        State::Running(running(lease(1), instant(1))),
        State::Completed(completed(lease(2), instant(1))),
        State::InDoubt(doubt(lease(3), instant(1))),
    ]
    .iter()
    .map(lease_of)
    .collect();
    assert_eq!(named, [lease(1), lease(2), lease(3)]);
}
