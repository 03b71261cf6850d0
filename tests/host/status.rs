//! The token of a status address, what a client prefers, and what is kept of an answer that was released.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use oncegate::admission::{status_address, status_token};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::{Completed, Doubt, Lease, Metadata, Released, Running, State};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::request::prefer::Preferences;
use oncegate::request::status_token::StatusToken;
use proptest::prelude::*;

use crate::make::{self, address, cases, key_id, s};

fn token() -> StatusToken {
    StatusToken::new(&key_id("k"), StatusSecret([0xa5; 16]))
}

#[test]
fn a_token_is_read_as_it_was_written_and_tells_nothing_of_the_scope() {
    let text = token().to_text();
    assert_eq!(text.len(), 44);
    assert_eq!(StatusToken::parse(&text), Some(token()));
    assert_eq!(token().key.key_half(), key_id("k").key_half());
    let elsewhere = oncegate::request::key::KeyId::new(&make::key("k"), [9; 16]);
    assert_eq!(StatusToken::new(&elsewhere, StatusSecret([0xa5; 16])).to_text(), text);
    // The shard is that of the key, whatever the scope.
    assert_eq!(token().key.shard(16), key_id("k").shard(16));
}

#[test]
fn what_is_no_token_of_this_version_is_none() {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token().to_text()).unwrap();
    let written = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let mut other_version = bytes.clone();
    other_version[0] = 2;
    let mut no_version = bytes.clone();
    no_version[0] = 0;
    let text = token().to_text();
    for (what, text) in [
        ("nothing", String::new()),
        ("a short one", written(&bytes[..32])),
        ("a long one", written(&[&bytes[..], &[0]].concat())),
        ("one of another version", written(&other_version)),
        ("one of no version", written(&no_version)),
        ("half of one", text[..22].to_owned()),
        ("one with another after it", text.repeat(2)),
        ("one with a slash", format!("{text}/")),
        ("one with a space", format!("{text} ")),
        ("one in quotes", format!("\"{text}\"")),
        ("no base64", "!".repeat(44)),
        ("no ASCII", "é".repeat(22)),
        ("padding", format!("{text}=")),
        ("padding of a whole group", format!("{text}====")),
        ("padding within", format!("{}=", &text[..43])),
    ] {
        assert_eq!(StatusToken::parse(&text), None, "{what}: {text}");
    }
    // The alphabet of addresses, and no other: two spellings of one token would be two addresses.
    let all_bits = StatusToken::new(&key_id("k"), StatusSecret([0xff; 16])).to_text();
    let bits = BASE64_URL_SAFE_NO_PAD.decode(&all_bits).unwrap();
    assert_ne!(BASE64_STANDARD_NO_PAD.encode(&bits), all_bits);
    assert_eq!(StatusToken::parse(&BASE64_STANDARD_NO_PAD.encode(&bits)), None);
    assert_eq!(BASE64_URL_SAFE.encode(&bits), all_bits, "33 bytes need no padding");
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn each_token_has_one_spelling(text in "[A-Za-z0-9_=/+-]{0,50}", secret in any::<[u8; 16]>()) {
        if let Some(token) = StatusToken::parse(&text) {
            prop_assert_eq!(token.to_text(), text);
        }
        let token = StatusToken::new(&key_id("k"), StatusSecret(secret));
        prop_assert_eq!(StatusToken::parse(&token.to_text()), Some(token));
    }
}

#[test]
fn a_secret_is_that_of_its_lease_and_shows_neither_it_nor_a_credential() {
    let secret = StatusSecret::of(make::lease(1));
    assert_eq!(secret, StatusSecret::of(make::lease(1)));
    assert_ne!(secret, StatusSecret::of(make::lease(2)));
    assert_ne!(secret.0, make::lease(1).0);
    assert!(secret.is(&secret) && !secret.is(&StatusSecret([0; 16])));
    // Another lease in a row never gives the secret away.
    assert_ne!(secret.0, make::lease(1).next().0);
    let seal = secret.seal([7; 16]);
    assert_eq!(seal, secret.seal([7; 16]));
    assert_ne!(seal, secret.seal([8; 16]));
    assert_ne!(seal, [7; 16]);
    assert_ne!(seal, StatusSecret::of(make::lease(2)).seal([7; 16]), "equal ones would show");
    let Lease(bytes) = make::lease(0xab);
    assert_eq!(format!("{:?}", StatusSecret(bytes)), "StatusSecret(..)");
}

#[test]
fn a_status_address_is_read_as_it_is_told() {
    let text = token().to_text();
    let requested = address("https://shop.example/v1/payments?x=1");
    let told = status_address(&requested, &text);
    assert_eq!(told, format!("https://shop.example/.oncegate/status/{text}"));
    assert_eq!(status_token(&address(&told).target.path), Some(text.as_str()));
    for (path, token) in [
        ("/.OnceGate/Status/x", Some("x")),
        ("//.oncegate//status/x", None),
        ("/.oncegate/status/", Some("")),
        ("/.oncegate/status", None),
        ("/.oncegate/statusx", None),
        ("/.oncegate/stat", None),
        ("/status/x", None),
        ("/v1/.oncegate/status/x", None),
    ] {
        assert_eq!(status_token(path), token, "{path}");
    }
}

#[test]
fn what_a_client_prefers_is_read_in_any_order_and_case() {
    let seconds = |wait: u64| Some(s(wait));
    for (field, wait, respond_async) in [
        ("", None, false),
        ("respond-async", None, true),
        ("Respond-Async", None, true),
        (" respond-async ", None, true),
        ("respond-async, wait=10", seconds(10), true),
        ("wait=10, respond-async", seconds(10), true),
        ("wait=10,respond-async", seconds(10), true),
        ("WAIT = 10 , RESPOND-ASYNC", seconds(10), true),
        ("respond-async; wait=10", None, true),
        ("return=minimal, respond-async, handling=lenient", None, true),
        // The first of a name counts.
        ("wait=1, wait=2, respond-async, respond-async", seconds(1), true),
        ("wait=soon, wait=2", None, false),
        ("wait=\"7\", respond-async", seconds(7), true),
        ("wait=7; priority=5, respond-async; x=y", seconds(7), true),
        ("wait, respond-async", None, true),
        // RFC 7240 section 2: a preference may have a value, an empty one is none.
        ("respond-async=\"\"", None, true),
        ("wait=", None, false),
        ("wait=-1", None, false),
        ("wait=1.5", None, false),
        ("wait=18446744073709551616", None, false),
        ("respond-asynchronously", None, false),
        ("no-respond-async", None, false),
        ("respond async", None, false),
        (",,;=;,", None, false),
        ("\"respond-async\"", None, false),
        ("x=respond-async", None, false),
    ] {
        assert_eq!(Preferences::read(field), Preferences { wait, respond_async }, "{field:?}");
    }
}

#[test]
fn what_is_kept_of_a_released_answer_is_small() {
    let header = |name: &str| (name.to_owned(), "x".to_owned());
    let headers: Vec<_> =
        ["content-type", "content-language", "etag", "retry-after", "x-request-id"]
            .map(header)
            .into();
    let whole =
        |bytes| Reply { status: 429, headers: headers.clone(), body: Kept::Whole { bytes } };
    for bytes in [0, 1, 65_536] {
        assert_eq!(whole(bytes).released(), whole(bytes), "{bytes}");
    }
    let status_only = || Reply { body: Kept::StatusOnly, ..whole(0) };
    for reply in [whole(65_537), whole(u64::MAX), status_only()] {
        let kept = reply.released();
        assert_eq!((kept.status, kept.body), (429, Kept::StatusOnly));
        // Nothing that describes a body which is not there.
        let names: Vec<_> = kept.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["retry-after", "x-request-id"]);
    }
}

/// Duplicates and the status address say the same, and neither changes anything.
#[test]
fn a_status_address_tells_what_a_duplicate_would_be_told() {
    use oncegate::lifecycle::event::{Claim, Event, How, Replay, Verdict};
    use oncegate::lifecycle::step::{OtherCredential, status, step};
    let (own, now) = (make::lease(1), make::instant(1010));
    let secret = StatusSecret::of(own);
    let metadata = Metadata {
        status: Some(oncegate::lifecycle::record::StatusKey { secret, credential: None }),
        ..make::metadata()
    };
    let record = |state| oncegate::lifecycle::record::Record { metadata: metadata.clone(), state };
    let granted = make::instant(1000);
    let running = make::running(own, granted);
    let completed = make::completed(own, granted);
    let gone = completed.expires.plus(s(60));
    let tombstone = Completed { expires: make::instant(1005), gone, ..completed.clone() };
    let still_read = Doubt {
        reason: oncegate::lifecycle::record::Reason::Timeout,
        ..make::doubt(own, make::instant(1075))
    };
    let doubt = make::doubt(own, make::instant(1005));
    let closed = Doubt { closes: make::instant(1006), ..doubt.clone() };
    let over_reply = Running {
        previous: oncegate::lifecycle::record::Previous::Replied(completed.clone()),
        ..running.clone()
    };
    let in_flight = Verdict::InFlight { retry_after_s: 10, status: Some(secret) };
    for (state, told) in [
        (State::Running(running.clone()), in_flight.clone()),
        // The old reply is not that of this call.
        (State::Running(over_reply), in_flight),
        (
            State::Completed(completed.clone()),
            Verdict::Replay(Replay::of(&completed, How::Replayed)),
        ),
        (State::Completed(tombstone), Verdict::Expired),
        (State::InDoubt(still_read), Verdict::StillRead { retry_after_s: 65 }),
        (
            State::InDoubt(doubt.clone()),
            Verdict::InDoubt { lease: doubt.lease, over_for: s(5), reason: doubt.reason },
        ),
        (State::InDoubt(closed), Verdict::Expired),
    ] {
        let record = record(state);
        let read = record.clone().at(now).unwrap();
        assert_eq!(status(read, now), told, "{record:?}");
        let claim = Claim { wait: s(0), ..make::claim(make::lease(9)) };
        let duplicate =
            step(Some(record.clone()), OtherCredential::None, Event::Claim(claim), now).verdict;
        assert_eq!(duplicate, told, "{record:?}");
    }
    let reply = make::reply(429, 4);
    let until = make::instant(1600);
    let released = |reply| {
        let run = make::run(own, 1);
        record(State::Released(Released { lease: own, run, reply, since: granted, until }))
    };
    let told = Verdict::Replay(Replay { reply: reply.clone(), expires: until, how: How::Released });
    assert_eq!(status(released(Some(reply)), now), told);
    assert_eq!(status(released(None), now), Verdict::Released);
    assert_eq!(released(None).at(until), None, "and after ten minutes nothing");
    assert_eq!(until, granted.plus(Duration::from_mins(10)));
}
