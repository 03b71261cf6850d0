//! Tests of the judge: histories written by hand, good ones and bad ones.

use std::rc::Rc;

use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::{Claim, Strategy, Verdict};
use oncegate::lifecycle::record::Reason;
use oncegate::problem::Code;
use oncegate::protocol::LedgerAnswer;

use super::events::{
    History, ask, at, claim, done, executed, first, granted, paid, refused, released, replayed,
    run, running, sent, sent_as, settled,
};
use super::judge::Judge;
use super::rules::Rule;
use crate::filter::by;
use crate::make::{self, days, instant, s};
use crate::world::{Cause, Event, Kind, Story, response};

fn verdict(history: &History) -> Option<Rule> {
    let mut judge = Judge::default();
    let broken = history.iter().find_map(|(at, event)| judge.hear(*at, event).err());
    broken.map(|broken| broken.rule)
}

#[test]
fn a_history_that_keeps_the_promises_passes() {
    let lost = |n: u8| Event::Failed {
        story: Story(n.into()),
        kind: Rc::new(Kind::Look),
        why: Cause::Lost,
    };
    let woken = Event::Woken { story: Story(2), answer: LedgerAnswer::ClaimAgain };
    let late = instant(1001).plus(days(1));
    let histories: Vec<(&str, History)> = vec![
        ("executed once", done()),
        (
            "replayed",
            [done(), at(instant(2000), [sent(2), replayed(2, "paid"), Event::Quiet])].concat(),
        ),
        ("again when it has expired", [done(), at(late, [sent(2), granted(2), paid(2)])].concat()),
        (
            "joined",
            [
                running(),
                at(instant(1000), [sent(2), claim(2, None)]),
                at(
                    instant(1001),
                    [
                        settled(1, 1, "paid", instant(1001)),
                        woken,
                        first(1, "paid"),
                        replayed(2, "paid"),
                    ],
                ),
            ]
            .concat(),
        ),
        (
            "in flight when its wait is over",
            [
                running(),
                at(instant(1000), [sent(2)]),
                at(instant(1010), [refused(2, Code::InFlight)]),
            ]
            .concat(),
        ),
        (
            "in doubt when the lease is over",
            [
                running(),
                at(instant(1000), [Event::Crashed { story: Story(1) }]),
                at(instant(1075), [sent(2), refused(2, Code::OutcomeUnknown)]),
            ]
            .concat(),
        ),
        (
            "unavailable where something failed",
            at(instant(1000), [sent(1), lost(1), refused(1, Code::StoreUnavailable)]),
        ),
        (
            "released, and free",
            [
                at(
                    instant(1000),
                    [sent(1), granted(1), executed(1, response(429, "busy")), released(1, 1)],
                ),
                at(instant(1000), [sent(2), granted(2), paid(2)]),
            ]
            .concat(),
        ),
        ("swept", [done(), at(late, [Event::Swept { left: Vec::new() }])].concat()),
    ];
    for (name, history) in histories {
        assert_eq!(verdict(&history), None, "{name}");
    }
}

#[test]
fn a_history_that_breaks_a_promise_is_told_which() {
    let other = |n: u8| {
        let mut request = by(&make::route(), n);
        request.claim.metadata.fingerprint = make::fingerprint(2);
        sent_as(n, request)
    };
    let fails = |n: u8| {
        let request = by(&make::route(), n);
        sent_as(
            n,
            GuardedRequest {
                claim: Claim { strategy: Strategy::Fail, ..request.claim },
                ..request
            },
        )
    };
    let in_flight = |n: u8, seconds| {
        let wait = Kind::Claim { lease: make::lease(n), wait: s(0) };
        ask(n.into(), wait, Some(Verdict::InFlight { retry_after_s: seconds, status: None }))
    };
    let reason = Reason::LeaseOver;
    let in_doubt = |n| claim(n, Some(Verdict::InDoubt { lease: None, over_for: s(0), reason }));
    let stale = |n: u8| {
        let kind = Kind::Doubt(make::lease(n), Reason::Timeout);
        ask(n.into(), kind, Some(Verdict::Stale))
    };
    let later = |events: Vec<Event>| at(instant(2000), events);
    let key = make::key_id("k");
    let histories: Vec<(&str, Rule, History)> = vec![
        (
            "granted while it runs",
            Rule::GrantedOnce,
            [running(), at(instant(1001), [sent(2), granted(2)])].concat(),
        ),
        (
            "granted when it is stored",
            Rule::GrantedOnce,
            [done(), later(vec![sent(2), granted(2)])].concat(),
        ),
        (
            "granted while in doubt",
            Rule::GrantedOnce,
            [running(), later(vec![sent(2), granted(2)])].concat(),
        ),
        (
            "granted by a wake",
            Rule::WakesGrantNothing,
            [
                running(),
                at(
                    instant(1000),
                    [Event::Woken {
                        story: Story(1),
                        answer: LedgerAnswer::Verdict(Verdict::Granted(run(1), None)),
                    }],
                ),
            ]
            .concat(),
        ),
        (
            "granted after its settle",
            Rule::EndedIsGone,
            [done(), at(instant(1002), [granted(1)])].concat(),
        ),
        (
            "executed without a grant",
            Rule::ExecutedOncePerGrant,
            at(instant(1000), [sent(1), paid(1)]),
        ),
        (
            "executed twice",
            Rule::ExecutedOncePerGrant,
            [running(), at(instant(1001), [paid(1)])].concat(),
        ),
        (
            "executed under a released lease",
            Rule::ExecutedOncePerGrant,
            at(instant(1000), [sent(1), granted(1), released(1, 1), paid(1)]),
        ),
        (
            "settled by another",
            Rule::HolderEnds,
            [running(), at(instant(1001), [sent(2), settled(2, 2, "paid", instant(1001))])]
                .concat(),
        ),
        (
            "the holder is refused",
            Rule::HolderEnds,
            [running(), at(instant(1001), [stale(1)])].concat(),
        ),
        (
            "stored otherwise",
            Rule::StoredAsSaid,
            [running(), at(instant(1001), [settled(1, 1, "free", instant(1001))])].concat(),
        ),
        (
            "stored for too short",
            Rule::StoredAsSaid,
            [running(), at(instant(1001), [settled(1, 1, "paid", instant(900))])].concat(),
        ),
        (
            "released after 201",
            Rule::ReleasedForCause,
            [running(), at(instant(1001), [released(1, 1)])].concat(),
        ),
        (
            "in doubt for nothing",
            Rule::DoubtedForCause,
            [running(), at(instant(1075), [sent(2), in_doubt(2)])].concat(),
        ),
        (
            "in doubt, but stored",
            Rule::TrueAnswer,
            [done(), later(vec![sent(2), refused(2, Code::OutcomeUnknown)])].concat(),
        ),
        (
            "gone, but stored",
            Rule::TrueAnswer,
            [done(), later(vec![sent(2), refused(2, Code::KeyExpired)])].concat(),
        ),
        (
            "reused, but the same",
            Rule::TrueAnswer,
            [done(), later(vec![sent(2), refused(2, Code::KeyReused)])].concat(),
        ),
        (
            "executed, but running",
            Rule::TrueAnswer,
            [running(), at(instant(1001), [fails(2), refused(2, Code::AlreadyExecuted)])].concat(),
        ),
        (
            "unavailable for nothing",
            Rule::TrueAnswer,
            at(instant(1000), [sent(1), refused(1, Code::StoreUnavailable)]),
        ),
        (
            "replayed when it has expired",
            Rule::TrueAnswer,
            [done(), at(instant(1001).plus(days(1)), [sent(2), replayed(2, "paid")])].concat(),
        ),
        (
            "other bytes",
            Rule::SameBytes,
            [done(), later(vec![sent(2), replayed(2, "free")])].concat(),
        ),
        (
            "another answer than the origin's",
            Rule::SameBytes,
            [
                running(),
                at(instant(1001), [settled(1, 1, "paid", instant(1001)), first(1, "free")]),
            ]
            .concat(),
        ),
        (
            "to another fingerprint",
            Rule::NothingCrosses,
            [done(), later(vec![other(2), replayed(2, "paid")])].concat(),
        ),
        (
            "answered before it is stored",
            Rule::StoredBeforeSent,
            [running(), at(instant(1001), [first(1, "paid")])].concat(),
        ),
        ("no answer", Rule::Answered, [running(), at(instant(1001), [Event::Quiet])].concat()),
        (
            "no answer for an hour",
            Rule::Answered,
            [done(), at(instant(1001), [sent(2)]), at(instant(5000), [replayed(2, "paid")])]
                .concat(),
        ),
        (
            "in flight although it would wait",
            Rule::Waits,
            [running(), at(instant(1001), [sent(2), refused(2, Code::InFlight)])].concat(),
        ),
        (
            "waits and is not woken",
            Rule::Waits,
            [
                running(),
                at(instant(1000), [sent(2), claim(2, None)]),
                at(instant(1001), [settled(1, 1, "paid", instant(1001))]),
                at(instant(1002), [Event::Quiet]),
            ]
            .concat(),
        ),
        (
            "Retry-After past the lease",
            Rule::RetryAfter,
            [running(), at(instant(1070), [fails(2), in_flight(2, 6)])].concat(),
        ),
        (
            "Retry-After of nothing",
            Rule::RetryAfter,
            [running(), at(instant(1001), [fails(2), in_flight(2, 0)])].concat(),
        ),
        (
            "a row after its end",
            Rule::NothingLeft,
            [done(), at(instant(1001).plus(days(1)), [Event::Swept { left: vec![key] }])].concat(),
        ),
    ];
    for (name, rule, history) in histories {
        assert_eq!(verdict(&history), Some(rule), "{name}");
    }
}
