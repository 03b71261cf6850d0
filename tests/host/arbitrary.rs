//! Any value of the core's types, for property tests; built on [`crate::make`].

use std::time::Duration;

use oncegate::lifecycle::event::{
    Asker, Claim, CredentialChange, Event, How, OnInDoubt, Replay, Strategy as OnDuplicate,
    Verdict, Window,
};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::{
    Completed, Doubt, Durations, Execution, KeySpelling, Lease, Metadata, Previous, Reason, Record,
    Released, Running, State, StatusKey,
};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::protocol::{KnownStatus, LedgerAnswer, LedgerRequest, Question};
use oncegate::request::fingerprint::{Fingerprint, Mismatch, OperationId};
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::make;

/// Instants of every size, the ends of the range among them.
pub(crate) fn instant() -> BoxedStrategy<Timestamp> {
    millis().prop_map(Timestamp).boxed()
}

/// Spans of every size, likewise.
pub(crate) fn span() -> BoxedStrategy<Duration> {
    millis().prop_map(Duration::from_millis).boxed()
}

fn millis() -> BoxedStrategy<u64> {
    let edge = prop_oneof![Just(0), Just(1), Just(u64::MAX - 1), Just(u64::MAX)];
    prop_oneof![edge, 0..10_000_u64, any::<u64>()].boxed()
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

fn run() -> BoxedStrategy<Execution> {
    (lease(), any::<u32>(), spelling())
        .prop_map(|(id, attempt, spelling)| Execution { spelling, ..make::run(id, attempt) })
        .boxed()
}

fn spelling() -> BoxedStrategy<KeySpelling> {
    prop_oneof![Just(KeySpelling::Bare), Just(KeySpelling::Quoted)].boxed()
}

pub(crate) fn durations() -> BoxedStrategy<Durations> {
    [span(), span(), span(), span()]
        .prop_map(|[lease, ttl, tombstone, doubt_ttl]| Durations {
            lease,
            ttl,
            tombstone,
            doubt_ttl,
        })
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
pub(crate) fn metadata() -> BoxedStrategy<Metadata> {
    let texts = [text(), text(), text(), text()];
    (fingerprint(), any::<[u8; 16]>(), texts, option::of(status_key()))
        .prop_map(|(fingerprint, operation, texts, status)| {
            let [route, method, path, correlation_id] = texts;
            let operation = OperationId(operation);
            Metadata {
                fingerprint,
                operation,
                route,
                method,
                path,
                correlation_id,
                status,
                ..make::metadata()
            }
        })
        .boxed()
}

fn status_secret() -> BoxedStrategy<StatusSecret> {
    any::<[u8; 16]>().prop_map(StatusSecret).boxed()
}

fn status_key() -> BoxedStrategy<StatusKey> {
    (status_secret(), option::of(any::<[u8; 16]>()))
        .prop_map(|(secret, credential)| StatusKey { secret, credential })
        .boxed()
}

pub(crate) fn claim() -> BoxedStrategy<Claim> {
    let change = prop_oneof![Just(CredentialChange::Refuse), Just(CredentialChange::Forward)];
    let asker = prop_oneof![Just(Asker::Client), Just(Asker::Schedule), Just(Asker::Queue)];
    let rules = (strategy(), on_in_doubt(), change, asker);
    (lease(), metadata(), rules, durations(), span(), spelling(), option::of(window()))
        .prop_map(|(lease, metadata, rules, durations, wait, spelling, window)| {
            let (strategy, on_in_doubt, credential_change, asker) = rules;
            Claim {
                lease,
                metadata,
                strategy,
                on_in_doubt,
                credential_change,
                durations,
                wait,
                spelling,
                asker,
                window,
            }
        })
        .boxed()
}

fn window() -> BoxedStrategy<Window> {
    (instant(), span()).prop_map(|(first_sent, span)| Window { first_sent, span }).boxed()
}

fn completed() -> BoxedStrategy<Completed> {
    (lease(), run(), reply(), [instant(), instant(), instant()])
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
    let instants = [instant(), instant(), instant()];
    let reasons = (reason(), option::of(reason()));
    (option::of(lease()), run(), instants, durations(), reasons, option::of(completed()))
        .prop_map(|(lease, run, [until, closes, gone], durations, (reason, earlier), base)| Doubt {
            lease,
            run,
            reason,
            durations,
            closes,
            gone,
            earlier,
            base,
            ..make::doubt(make::lease(1), until)
        })
        .boxed()
}

pub(crate) fn reason() -> BoxedStrategy<Reason> {
    prop_oneof![
        2 => Just(Reason::Timeout),
        1 => Just(Reason::ConnectionLost),
        1 => Just(Reason::Truncated),
        1 => any::<u16>().prop_map(Reason::Status),
        1 => Just(Reason::LeaseOver),
        1 => Just(Reason::NotHttp),
    ]
    .boxed()
}

fn running() -> BoxedStrategy<Running> {
    let previous = prop_oneof![
        Just(Previous::Nothing),
        completed().prop_map(Previous::Replied),
        doubt().prop_map(Previous::Doubted)
    ];
    (lease(), run(), [instant(), instant()], durations(), previous)
        .prop_map(|(lease, run, [since, until], durations, previous)| Running {
            run,
            until,
            durations,
            previous,
            ..make::running(lease, since)
        })
        .boxed()
}

fn released() -> BoxedStrategy<Released> {
    (lease(), run(), option::of(reply()), [instant(), instant()])
        .prop_map(|(lease, run, reply, [since, until])| Released {
            lease,
            run,
            reply,
            since,
            until,
        })
        .boxed()
}

/// Any record that is ever written, sensible or not.
pub(crate) fn record() -> BoxedStrategy<Record> {
    let state = prop_oneof![
        running().prop_map(State::Running),
        completed().prop_map(State::Completed),
        doubt().prop_map(State::InDoubt),
        released().prop_map(State::Released),
    ];
    (metadata(), instant(), state)
        .prop_map(|(metadata, created, state)| Record {
            metadata: Metadata { created, ..metadata },
            state,
        })
        .boxed()
}

pub(crate) fn event() -> BoxedStrategy<Event> {
    prop_oneof![
        4 => claim().prop_map(Event::Claim),
        2 => (lease(), reply()).prop_map(|(lease, reply)| Event::Settle(lease, reply)),
        1 => (lease(), option::of(reply())).prop_map(|(lease, reply)| Event::Release(lease, reply)),
        1 => (lease(), reason()).prop_map(|(lease, reason)| Event::Doubt(lease, reason)),
        1 => (lease(), durations()).prop_map(|(lease, durations)| Event::BreakOff(lease, durations)),
        1 => (fingerprint(), span()).prop_map(|(fingerprint, wait)| Event::Look(fingerprint, wait)),
    ]
    .boxed()
}

pub(crate) fn request() -> BoxedStrategy<LedgerRequest> {
    let question = prop_oneof![
        8 => event().prop_map(Question::Event),
        1 => Just(Question::Shards),
        1 => status_secret().prop_map(Question::Status),
    ];
    (any::<[u8; 32]>(), any::<u16>(), question)
        .prop_map(|(key_id, shards, question)| LedgerRequest {
            key_id: KeyId(key_id),
            shards,
            question,
        })
        .boxed()
}

fn verdict() -> BoxedStrategy<Verdict> {
    let how = prop_oneof![
        Just(How::Replayed),
        Just(How::Joined),
        Just(How::Executed),
        Just(How::Released)
    ];
    let replay = (reply(), instant(), how)
        .prop_map(|(reply, expires, how)| Verdict::Replay(Replay { reply, expires, how }));
    prop_oneof![
        (run(), option::of(status_secret()))
            .prop_map(|(run, status)| Verdict::Granted(run, status)),
        (any::<u64>(), option::of(status_secret()))
            .prop_map(|(retry_after_s, status)| Verdict::InFlight { retry_after_s, status }),
        replay,
        Just(Verdict::AlreadyExecuted),
        (option::of(lease()), span(), reason())
            .prop_map(|(lease, over_for, reason)| Verdict::InDoubt { lease, over_for, reason }),
        any::<u64>().prop_map(|retry_after_s| Verdict::StillRead { retry_after_s }),
        Just(Verdict::Expired),
        any::<u8>().prop_map(|bits| Verdict::KeyReused(Mismatch(bits))),
        Just(Verdict::CredentialChanged),
        option::of(instant()).prop_map(Verdict::Kept),
        Just(Verdict::Stale),
        Just(Verdict::Released),
        Just(Verdict::Absent),
        Just(Verdict::OutsideWindow),
        Just(Verdict::AheadOfTime),
    ]
    .boxed()
}

fn known_status() -> BoxedStrategy<KnownStatus> {
    (text(), text(), option::of(any::<[u8; 16]>()), verdict())
        .prop_map(|(route, correlation_id, credential, verdict)| KnownStatus {
            route,
            correlation_id,
            credential,
            verdict,
        })
        .boxed()
}

pub(crate) fn answer() -> BoxedStrategy<LedgerAnswer> {
    prop_oneof![
        9 => verdict().prop_map(LedgerAnswer::Verdict),
        1 => Just(LedgerAnswer::ClaimAgain),
        1 => Just(LedgerAnswer::Crowded),
        1 => Just(LedgerAnswer::SameShards),
        1 => any::<u16>().prop_map(LedgerAnswer::OtherShards),
        1 => text().prop_map(LedgerAnswer::Failed),
        1 => any::<u8>().prop_map(LedgerAnswer::UnknownVersion),
        1 => known_status().prop_map(LedgerAnswer::Status),
    ]
    .boxed()
}
