//! The one place where test values are built whole: everyone else says what differs
//! (`Claim { strategy: Strategy::Fail, ..claim(2) }`), so that a new field is added here alone.

use std::rc::Rc;
use std::time::Duration;

use oncegate::config::Vars;
use oncegate::config::route::Route;
use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::{Asker, Claim, CredentialChange, OnInDoubt, Strategy};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::{
    Completed, Doubt, Durations, Execution, KeySpelling, Lease, Metadata, Previous, Reason, Record,
    Running, State, StatusKey,
};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::request::fingerprint::{Fingerprint, OperationId};
use oncegate::request::key::{Key, KeyId};
use oncegate::request::path::Address;
use oncegate::time::Timestamp;
use proptest::test_runner::Config;

/// Seconds.
pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many seconds after the epoch.
pub(crate) const fn instant(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1000)
}

/// Days.
pub(crate) const fn days(days: u64) -> Duration {
    s(days * 24 * 60 * 60)
}

pub(crate) fn ms_before(instant: Timestamp) -> Timestamp {
    Timestamp(instant.0 - 1)
}

pub(crate) fn ms_after(instant: Timestamp) -> Timestamp {
    Timestamp(instant.0 + 1)
}

/// A token that is recognised in a failure: its number, sixteen times.
pub(crate) fn lease(number: u8) -> Lease {
    Lease([number; 16])
}

pub(crate) fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint([number; 32])
}

pub(crate) fn operation(number: u8) -> OperationId {
    OperationId([number; 16])
}

pub(crate) fn metadata() -> Metadata {
    Metadata {
        fingerprint: fingerprint(0xf1),
        operation: operation(0xc1),
        route: "charge".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/payments".to_owned(),
        correlation_id: "c-1".to_owned(),
        created: Timestamp(0),
        status: None,
    }
}

/// What a claim with this lease brings, where its route answers asynchronously.
pub(crate) fn status_key(lease: Lease) -> StatusKey {
    StatusKey { secret: StatusSecret::of(lease), credential: Some(lease.0) }
}

/// `timeout` 60 s and 15 s to settle; the contract's other defaults.
pub(crate) fn durations() -> Durations {
    Durations {
        lease: s(75),
        ttl: days(1),
        tombstone: Duration::from_millis(0),
        doubt_ttl: days(90),
    }
}

pub(crate) fn run(id: Lease, attempt: u32) -> Execution {
    Execution { id, attempt, spelling: KeySpelling::Bare }
}

pub(crate) fn reply(status: u16, body_bytes: u64) -> Reply {
    Reply {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Kept::Whole { bytes: body_bytes },
    }
}

/// Granted to `lease` at `since`, as a first run.
pub(crate) fn running(lease: Lease, since: Timestamp) -> Running {
    let durations = durations();
    Running {
        lease,
        run: run(lease, 1),
        since,
        until: since.plus(durations.lease),
        durations,
        previous: Previous::Nothing,
    }
}

/// Settled by `lease` at `settled`, without a tombstone.
pub(crate) fn completed(lease: Lease, settled: Timestamp) -> Completed {
    let expires = settled.plus(durations().ttl);
    let run = run(lease, 1);
    Completed { lease, run, reply: reply(201, 4), settled, expires, gone: expires }
}

/// In doubt since `lease` ran out at `until`.
pub(crate) fn doubt(lease: Lease, until: Timestamp) -> Doubt {
    let durations = durations();
    let closes = until.plus(durations.doubt_ttl);
    Doubt {
        lease: Some(lease),
        run: run(lease, 1),
        reason: Reason::LeaseOver,
        since: until.minus(durations.lease),
        until,
        durations,
        closes,
        gone: closes.plus(days(90)),
        earlier: None,
        base: None,
    }
}

pub(crate) fn record(state: State) -> Record {
    Record { metadata: metadata(), state }
}

/// A duplicate that matches [`about`], with the contract's default rules.
pub(crate) fn claim(lease: Lease) -> Claim {
    Claim {
        lease,
        metadata: metadata(),
        strategy: Strategy::ReturnExisting,
        on_in_doubt: OnInDoubt::Hold,
        credential_change: CredentialChange::Refuse,
        durations: durations(),
        wait: s(10),
        spelling: KeySpelling::Bare,
        asker: Asker::Client,
        window: None,
    }
}

pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub(crate) fn key_id(text: &str) -> KeyId {
    KeyId::new(&key(text), [0x5c; 16])
}

pub(crate) fn request(key: &str, claim: Claim) -> GuardedRequest {
    GuardedRequest { key_id: key_id(key), claim, route: Rc::new(route()), responds_async: false }
}

/// The route that is there without configuration.
pub(crate) fn route() -> Route {
    Route::default()
}

/// How many shards the tests' requests believe in.
pub(crate) const SHARDS: u16 = 16;

/// These vars, and no binding.
pub(crate) fn vars(values: impl IntoIterator<Item = (&'static str, serde_json::Value)>) -> Vars {
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Vars { values, binds_runner: true, ..Vars::default() }
}

pub(crate) fn address(url: &str) -> Address {
    Address::parse(url).unwrap()
}

/// Headers by lower-case name, as the core looks them up.
pub(crate) fn headers(lines: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let lines: Vec<(String, String)> =
        lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    move |name| lines.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
}

/// So many random cases (or `PROPTEST_CASES`). A failure prints its smallest case, which then becomes a
/// test by name; no file of seeds is kept.
pub(crate) fn cases(cases: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    Config { failure_persistence: None, ..Config::with_cases(cases) }
}

/// Whether the large form of a test is wanted.
pub(crate) fn is_night() -> bool {
    std::env::var("ONCEGATE_NIGHTLY").is_ok_and(|value| value == "1")
}
