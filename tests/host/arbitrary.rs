//! Any value of the core's types, for property tests; built on [`crate::make`].

use oncegate::lifecycle::record::{
    About, Before, Completed, Doubt, Form, Lease, Millis, Record, Run, Running, State, Terms,
};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::lifecycle::step::{Claim, OnInDoubt, Strategy as OnDuplicate};
use oncegate::protocol::{Ask, CredentialChange, How, Replay, Told};
use oncegate::request::fingerprint::{Differs, Fingerprint, Kin};
use oncegate::request::key::KeyId;
use oncegate::wire::Addressed;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::make;

/// Instants and spans of every size, the ends of the range among them.
pub(crate) fn millis() -> BoxedStrategy<Millis> {
    let edge = prop_oneof![Just(0), Just(1), Just(u64::MAX - 1), Just(u64::MAX)];
    prop_oneof![edge, 0..10_000_u64, any::<u64>()].prop_map(Millis).boxed()
}

/// A few tokens, so that equal ones meet.
pub(crate) fn lease() -> BoxedStrategy<Lease> {
    (1..5_u8).prop_map(make::lease).boxed()
}

pub(crate) fn fingerprint() -> BoxedStrategy<Fingerprint> {
    any::<[u8; 32]>().prop_map(Fingerprint).boxed()
}

pub(crate) fn strategy() -> BoxedStrategy<OnDuplicate> {
    use OnDuplicate::{Fail, FailOnRunning, ReturnExisting};
    prop_oneof![Just(ReturnExisting), Just(Fail), Just(FailOnRunning)].boxed()
}

pub(crate) fn on_in_doubt() -> BoxedStrategy<OnInDoubt> {
    prop_oneof![Just(OnInDoubt::Hold), Just(OnInDoubt::Retry)].boxed()
}

fn text() -> BoxedStrategy<String> {
    vec(any::<char>(), 0..12).prop_map(String::from_iter).boxed()
}

fn run() -> BoxedStrategy<Run> {
    (lease(), any::<u32>(), form())
        .prop_map(|(id, attempt, form)| Run { form, ..make::run(id, attempt) })
        .boxed()
}

fn form() -> BoxedStrategy<Form> {
    prop_oneof![Just(Form::Bare), Just(Form::Quoted)].boxed()
}

pub(crate) fn terms() -> BoxedStrategy<Terms> {
    [millis(), millis(), millis(), millis()]
        .prop_map(|[lease, ttl, tombstone, doubt_ttl]| Terms { lease, ttl, tombstone, doubt_ttl })
        .boxed()
}

pub(crate) fn reply() -> BoxedStrategy<Reply> {
    let body =
        prop_oneof![any::<u64>().prop_map(|bytes| Kept::Whole { bytes }), Just(Kept::StatusOnly)];
    (any::<u16>(), vec((text(), text()), 0..4), body)
        .prop_map(|(status, headers, body)| Reply { status, headers, body })
        .boxed()
}

/// Without `created`, which does not travel in a question.
pub(crate) fn about() -> BoxedStrategy<About> {
    let texts = [text(), text(), text(), text()];
    (fingerprint(), any::<[u8; 16]>(), texts)
        .prop_map(|(fingerprint, kin, texts)| {
            let [route, method, path, correlation_id] = texts;
            let kin = Kin(kin);
            About { fingerprint, kin, route, method, path, correlation_id, ..make::about() }
        })
        .boxed()
}

pub(crate) fn claim() -> BoxedStrategy<Claim> {
    (lease(), about(), strategy(), on_in_doubt(), terms(), millis(), form())
        .prop_map(|(lease, about, strategy, on_in_doubt, terms, wait, form)| Claim {
            form,
            about,
            strategy,
            on_in_doubt,
            terms,
            wait,
            ..make::claim(lease)
        })
        .boxed()
}

fn completed() -> BoxedStrategy<Completed> {
    (lease(), run(), reply(), [millis(), millis(), millis()])
        .prop_map(|(lease, run, reply, [settled, expires, gone])| Completed {
            run,
            reply,
            expires,
            gone,
            ..make::completed(lease, settled)
        })
        .boxed()
}

fn doubt() -> BoxedStrategy<Doubt> {
    let instants = [millis(), millis(), millis()];
    (option::of(lease()), run(), instants, terms(), any::<bool>(), option::of(completed()))
        .prop_map(|(lease, run, [until, closes, gone], terms, earlier, base)| Doubt {
            lease,
            run,
            terms,
            closes,
            gone,
            earlier,
            base,
            ..make::doubt(make::lease(1), until)
        })
        .boxed()
}

fn running() -> BoxedStrategy<Running> {
    let before = prop_oneof![
        Just(Before::Nothing),
        completed().prop_map(Before::Replied),
        doubt().prop_map(Before::Doubted)
    ];
    (lease(), run(), [millis(), millis()], terms(), before)
        .prop_map(|(lease, run, [since, until], terms, before)| Running {
            run,
            until,
            terms,
            before,
            ..make::running(lease, since)
        })
        .boxed()
}

/// Any record that is ever written, sensible or not.
pub(crate) fn record() -> BoxedStrategy<Record> {
    let state = prop_oneof![
        running().prop_map(State::Running),
        completed().prop_map(State::Completed),
        doubt().prop_map(State::InDoubt)
    ];
    (about(), millis(), state)
        .prop_map(|(about, created, state)| Record { about: About { created, ..about }, state })
        .boxed()
}

pub(crate) fn addressed() -> BoxedStrategy<Addressed> {
    let change = prop_oneof![Just(CredentialChange::Refuse), Just(CredentialChange::Forward)];
    let ask = prop_oneof![
        4 => (claim(), change).prop_map(|(claim, change)| Ask::Claim(claim, change)),
        2 => (lease(), reply()).prop_map(|(lease, reply)| Ask::Settle(lease, reply)),
        1 => lease().prop_map(Ask::Release),
        1 => lease().prop_map(Ask::Doubt),
        1 => fingerprint().prop_map(Ask::Look),
        1 => Just(Ask::Shards),
    ];
    (any::<[u8; 32]>(), any::<u16>(), ask)
        .prop_map(|(key, shards, ask)| Addressed {
            key: KeyId(key),
            shards,
            ..make::addressed(ask)
        })
        .boxed()
}

pub(crate) fn told() -> BoxedStrategy<Told<()>> {
    let how = prop_oneof![Just(How::Replayed), Just(How::Joined)];
    prop_oneof![
        run().prop_map(Told::Granted),
        Just(Told::Again),
        any::<u64>().prop_map(|retry_after_s| Told::InFlight { retry_after_s }),
        (reply(), millis(), how).prop_map(|(reply, expires, how)| {
            Told::Replay(Replay { reply, expires, how, ..make::replay(()) })
        }),
        Just(Told::AlreadyExecuted),
        (option::of(lease()), option::of(millis()))
            .prop_map(|(lease, over_for)| Told::InDoubt { lease, over_for }),
        Just(Told::Expired),
        any::<u8>().prop_map(|bits| Told::KeyReused(Differs(bits))),
        Just(Told::CredentialChanged),
        option::of(millis()).prop_map(Told::Kept),
        Just(Told::Stale),
        Just(Told::Absent),
        Just(Told::Crowded),
        any::<u16>().prop_map(Told::OtherShards),
        text().prop_map(Told::Failed),
        any::<u8>().prop_map(Told::UnknownVersion),
    ]
    .boxed()
}
