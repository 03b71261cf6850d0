//! What holds over any sequence of events, whatever the clock does: the life of one key, lived at random.

use std::time::Duration;

use oncegate::encoding::{read_row, write_row};
use oncegate::lifecycle::event::{Claim, Event, How, OnInDoubt, Verdict};
use oncegate::lifecycle::record::{
    Completed, Durations, Lease, Metadata, RELEASED_KEPT, Reason, Record, State, StatusKey,
};
use oncegate::lifecycle::step::{Change, OtherCredential, Step, step};
use oncegate::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary;
use crate::make::{self, cases, days, instant, s};

/// One event of a life and what came of it.
struct Moment {
    now: Timestamp,
    event: Event,
    /// What was stored, as it read at this moment.
    found: Option<Record>,
    /// What is stored now, as it reads at this moment.
    left: Option<Record>,
    step: Step,
}

impl Moment {
    fn claim(&self) -> Option<&Claim> {
        match &self.event {
            Event::Claim(claim) => Some(claim),
            _ => None,
        }
    }

    fn is_granted(&self) -> bool {
        matches!(self.step.verdict, Verdict::Granted(..))
    }

    fn is_kept(&self) -> bool {
        matches!(self.step.verdict, Verdict::Kept(_))
    }

    /// The lease that an event other than a claim names.
    fn ends(&self) -> Option<Lease> {
        match &self.event {
            Event::Settle(lease, _)
            | Event::Release(lease, _)
            | Event::Doubt(lease, _)
            | Event::BreakOff(lease, _) => Some(*lease),
            Event::Claim(_) | Event::Look(..) => None,
        }
    }
}

/// Time passes, then an event comes; whether the operation is live under another credential by then.
type Happening = (Duration, OtherCredential, Event);

/// Lives through it all; what is stored goes through its bytes each time.
fn live(life: Vec<Happening>, mut watch: impl FnMut(&Moment)) {
    let mut now = instant(1000);
    let mut stored: Option<Record> = None;
    for (span, other_credential, event) in life {
        now = now.plus(span);
        let found = stored.clone().and_then(|record| record.at(now));
        let step = step(stored.clone(), other_credential, event.clone(), now);
        stored = match &step.change {
            Change::Keep => stored,
            Change::Delete => None,
            Change::Insert(record) | Change::Update(record) | Change::Complete(record) => {
                Some(read_row(&write_row(record)).unwrap())
            }
        };
        if let Some(record) = &stored {
            let reads = record.clone().at(now).is_some();
            assert!(!reads || now < record.gone(), "the sweep would take what still answers");
        }
        let left = stored.clone().and_then(|record| record.at(now));
        watch(&Moment { now, event, found, left, step });
    }
}

fn life() -> impl Strategy<Value = Vec<Happening>> {
    vec((span(), other_credential(), event()), 1..40)
}

/// Around the lease, the `ttl`, the tombstone and the `doubt_ttl` of [`terms`], or none at all.
fn span() -> impl Strategy<Value = Duration> {
    let deadline = prop_oneof![Just(s(10)), Just(s(60)), Just(s(30)), Just(s(100)), Just(days(90))];
    let near = (deadline, 0..3_u64).prop_map(|(span, off)| {
        (span + Duration::from_millis(off)).checked_sub(Duration::from_millis(1)).unwrap()
    });
    prop_oneof![6 => Just(s(0)), 4 => (0..12_000_u64).prop_map(Duration::from_millis), 2 => near]
}

fn durations() -> impl Strategy<Value = Durations> {
    prop_oneof![Just(s(0)), Just(s(30))].prop_map(|tombstone| Durations {
        lease: s(10),
        ttl: s(60),
        tombstone,
        doubt_ttl: s(100),
    })
}

fn other_credential() -> impl Strategy<Value = OtherCredential> {
    prop_oneof![7 => Just(OtherCredential::None), 1 => Just(OtherCredential::Live)]
}

fn event() -> impl Strategy<Value = Event> {
    let rarely = |likely: u8, rare: u8| prop_oneof![7 => Just(likely), 1 => Just(rare)];
    let metadata = (rarely(0xf1, 0xf2), any::<bool>()).prop_map(|(number, has_address)| Metadata {
        fingerprint: make::fingerprint(number),
        // Its secret is set below, by the lease.
        status: has_address.then(|| make::status_key(make::lease(0))),
        ..make::metadata()
    });
    let wishes = (arbitrary::strategy(), arbitrary::on_in_doubt(), 0..20_000_u64);
    let claim = (arbitrary::lease(), metadata, wishes, durations()).prop_map(
        |(lease, mut metadata, (strategy, on_in_doubt, wait), durations)| {
            metadata.status = metadata.status.map(|_| make::status_key(lease));
            let wait = Duration::from_millis(wait);
            let claim =
                Claim { metadata, strategy, on_in_doubt, durations, wait, ..make::claim(lease) };
            Event::Claim(claim)
        },
    );
    let reply = (200..600_u16, 0..9_u64).prop_map(|(status, bytes)| make::reply(status, bytes));
    prop_oneof![
        5 => claim,
        2 => (arbitrary::lease(), reply.clone()).prop_map(|(lease, reply)| Event::Settle(lease, reply)),
        2 => (arbitrary::lease(), proptest::option::of(reply.clone())).prop_map(|(lease, reply)| Event::Release(lease, reply)),
        1 => (arbitrary::lease(), arbitrary::reason()).prop_map(|(lease, reason)| Event::Doubt(lease, reason)),
        1 => (arbitrary::lease(), durations()).prop_map(|(lease, durations)| Event::BreakOff(lease, durations)),
        1 => (rarely(0xf1, 0xf2), 0..20_000_u64).prop_map(|(number, wait)| Event::Look(make::fingerprint(number), Duration::from_millis(wait))),
    ]
}

/// The lease whose holder may end the claim or has ended it.
fn owner(record: Option<&Record>) -> Option<Lease> {
    match &record?.state {
        State::Running(running) => Some(running.lease),
        State::Completed(completed) => Some(completed.lease),
        State::Released(released) => Some(released.lease),
        State::InDoubt(doubt) => doubt.lease,
        State::Expired(_) | State::Closed(_) => None,
    }
}

fn address(record: Option<&Record>) -> Option<StatusKey> {
    record?.metadata.status
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn two_leases_are_never_live_at_once(life in life()) {
        let mut alive: Vec<(Lease, Timestamp)> = Vec::new();
        live(life, |moment| {
            alive.retain(|(_, until)| moment.now < *until);
            if moment.is_kept() && !matches!(moment.event, Event::Doubt(_, Reason::Timeout)) {
                alive.retain(|(lease, _)| Some(*lease) != moment.ends());
            }
            if let (true, Some(claim)) = (moment.is_granted(), moment.claim()) {
                if moment.step.change == Change::Keep {
                    assert_eq!(alive.iter().map(|(lease, _)| *lease).collect::<Vec<_>>(), [claim.lease]);
                } else {
                    assert_eq!(alive, [], "granted {:?}", claim.lease);
                    alive.push((claim.lease, moment.now.plus(claim.durations.lease)));
                }
            }
        });
    }

    #[test]
    fn a_lease_that_is_not_the_records_own_changes_nothing(life in life()) {
        live(life, |moment| {
            if moment.ends().is_some_and(|lease| owner(moment.found.as_ref()) != Some(lease)) {
                assert_eq!(moment.step, Step { change: Change::Keep, verdict: Verdict::Stale });
            }
        });
    }

    #[test]
    fn a_settle_is_kept_for_its_whole_ttl_and_means_the_same_when_it_is_repeated(life in life()) {
        live(life, |moment| {
            let (Event::Settle(lease, reply), Verdict::Kept(expires)) =
                (&moment.event, &moment.step.verdict) else { return };
            let Some(Record { state: State::Completed(completed), .. }) = &moment.left else {
                panic!("a settle leaves a reply");
            };
            assert_eq!(Some(completed.expires), *expires);
            assert_eq!(&completed.lease, lease);
            if moment.step.change != Change::Keep {
                assert_eq!(completed.expires, moment.now.plus(s(60)));
                assert_eq!(&completed.reply, reply);
            }
            let again = step(moment.left.clone(), OtherCredential::None, moment.event.clone(), moment.now);
            assert_eq!(again, Step { change: Change::Keep, verdict: Verdict::Kept(*expires) });
        });
    }

    #[test]
    fn a_release_puts_back_what_its_claim_found(life in life()) {
        // One upon the other: a retry over a doubt, over a rerun.
        let mut previous: Vec<Option<Record>> = Vec::new();
        live(life, |moment| {
            match &moment.event {
                Event::Claim(_) if moment.is_granted() && moment.step.change != Change::Keep => {
                    previous.push(moment.found.clone());
                }
                Event::Release(..) if moment.is_kept() => {
                    let again = moment.found.as_ref().is_some_and(|record| !record.is_live());
                    let found = if again { None } else { previous.pop().flatten() };
                    let found = found.and_then(|record| record.at(moment.now));
                    let now = moment.left.as_ref();
                    match (moment.found.as_ref().map(|record| &record.state), &found) {
                        // An earlier attempt's doubt stays, whoever doubted last.
                        (Some(State::InDoubt(doubt)), _) if doubt.earlier.is_some() => {
                            let left = now.map(|record| &record.state);
                            assert!(matches!(left, Some(State::InDoubt(left)) if left.lease.is_none()));
                        }
                        // What of a tombstone comes back has a test of its own, below.
                        (_, Some(Record { state: State::Expired(_), .. })) => {}
                        // The same release again.
                        (Some(State::Released(_)), _) => assert_eq!(moment.left, moment.found),
                        // Where the key has an address, what it was told stays for a while, and nothing else.
                        (Some(_), None | Some(Record { state: State::Released(_), .. }))
                            if address(moment.found.as_ref()).is_some() =>
                        {
                            let released = now.expect("it is told of");
                            assert!(!released.is_live());
                            assert_eq!(owner(now), moment.ends());
                            assert_eq!(released.gone(), moment.now.plus(RELEASED_KEPT));
                        }
                        (Some(_), Some(Record { state: State::Released(_), .. })) => {
                            assert_eq!(now, None);
                        }
                        // A claim may have given an address to what it found.
                        (_, found) => {
                            let state = |record: &Record| record.state.clone();
                            assert_eq!(now.map(state), found.as_ref().map(state));
                        }
                    }
                }
                _ => {}
            }
        });
    }

    /// Every claim of a key has the same address for as long as its record is remembered, a released one too.
    #[test]
    fn a_key_keeps_its_address(life in life()) {
        let mut known = None;
        live(life, |moment| {
            let print = |record: &Record| record.metadata.fingerprint;
            let before = moment.found.as_ref();
            if before.is_none() || before.map(print) != moment.left.as_ref().map(print) {
                known = None;
            }
            let left = address(moment.left.as_ref());
            if known.is_some() && moment.left.is_some() {
                assert_eq!(left, known);
            }
            known = left;
            match moment.step.verdict {
                Verdict::Granted(_, status) | Verdict::InFlight { status, .. } => {
                    assert_eq!(status, left.map(|status| status.secret));
                }
                _ => {}
            }
        });
    }

    /// What was released is told as that, never to whoever asks for another request, and never for long.
    #[test]
    fn what_was_released_is_told_as_released_only(life in life()) {
        let mut until = Timestamp(0);
        live(life, |moment| {
            if matches!(moment.event, Event::Release(..)) && moment.step.change != Change::Keep {
                until = moment.now.plus(RELEASED_KEPT);
            }
            let is_released = moment.found.as_ref().is_some_and(|record| !record.is_live());
            assert!(!is_released || moment.now < until);
            match &moment.step.verdict {
                Verdict::Released => assert!(is_released),
                Verdict::Replay(replay) => {
                    assert_eq!(replay.how == How::Released, is_released);
                    assert!(!is_released || matches!(moment.event, Event::Look(..)));
                }
                _ => {}
            }
        });
    }

    #[test]
    fn retry_after_is_at_least_a_second_and_ends_with_the_lease(life in life()) {
        live(life, |moment| {
            let until = match &moment.found {
                Some(Record { state: State::Running(running), .. }) => running.until,
                Some(Record { state: State::InDoubt(doubt), .. }) => doubt.until,
                _ => Timestamp(0),
            };
            match moment.step.verdict {
                // The first instant at which it is over.
                Verdict::StillRead { retry_after_s } => {
                    assert!(moment.now.plus(s(retry_after_s)) >= until && moment.now.plus(s(retry_after_s - 1)) < until);
                }
                Verdict::InFlight { retry_after_s: 1, .. } => assert!(moment.now < until),
                Verdict::InFlight { retry_after_s, .. } => {
                    assert!(retry_after_s > 1 && moment.now.plus(s(retry_after_s)) <= until);
                }
                Verdict::Join(end) => assert!(moment.now < end && end <= until),
                _ => {}
            }
        });
    }

    #[test]
    fn a_doubt_is_never_run_again_where_it_is_held(life in life()) {
        live(life, |moment| {
            let doubtful = moment.found.as_ref().is_some_and(|record| {
                matches!(record.state, State::InDoubt(_) | State::Closed(_))
            });
            let held = moment.claim().is_some_and(|claim| claim.on_in_doubt == OnInDoubt::Hold);
            assert!(!(doubtful && held && moment.is_granted()));
        });
    }

    #[test]
    fn nothing_is_replayed_once_it_has_expired_nor_to_another_request(life in life()) {
        live(life, |moment| {
            let Verdict::Replay(replay) = &moment.step.verdict else { return };
            assert!(moment.now < replay.expires);
            let asked = match &moment.event {
                Event::Claim(claim) => claim.metadata.fingerprint,
                Event::Look(fingerprint, _) => *fingerprint,
                _ => panic!("nobody asked for a replay"),
            };
            assert_eq!(moment.found.as_ref().map(|record| record.metadata.fingerprint), Some(asked));
        });
    }

    #[test]
    fn a_look_and_a_refusal_change_nothing(life in life()) {
        live(life, |moment| {
            if !moment.is_granted() && !moment.is_kept() {
                assert_eq!(moment.step.change, Change::Keep);
            }
            if matches!(moment.event, Event::Look(..)) {
                assert!(!moment.is_granted() && !moment.is_kept());
            }
        });
    }

    #[test]
    fn a_running_claim_is_never_forgotten_before_its_doubt_has_closed(life in life()) {
        live(life, |moment| {
            if let Some(Record { state: State::Running(running), .. }) = &moment.left {
                let closed = running.until.plus(running.durations.doubt_ttl);
                assert!(moment.left.as_ref().map(Record::gone) >= Some(closed.plus(days(90))));
            }
        });
    }

    /// The sweep may come whenever it likes: what it has taken out of a row nobody would have been told.
    #[test]
    fn a_tombstone_answers_as_the_expired_record_did(event in event(), late in 0..40_u64) {
        let completed = make::completed(make::lease(1), instant(1000));
        let gone = completed.expires.plus(s(30));
        let completed = Completed { gone, ..completed };
        let record = make::record(State::Completed(completed.clone()));
        let now = completed.expires.plus(s(late));
        if let Some(tombstone) = record.clone().into_tombstone(completed.expires.plus(s(late / 2))) {
            let [previous, after] = [record, tombstone].map(|stored| step(Some(stored), OtherCredential::None, event.clone(), now));
            prop_assert_eq!(previous.verdict, after.verdict);
            prop_assert_eq!(std::mem::discriminant(&previous.change), std::mem::discriminant(&after.change));
        }
    }

    #[test]
    fn reading_a_record_twice_reads_the_same(record in arbitrary::record(), first in arbitrary::instant(), more in arbitrary::span()) {
        let then = first.plus(more);
        prop_assert_eq!(record.clone().at(first).and_then(|read| read.at(then)), record.at(then));
    }

    #[test]
    fn a_step_never_fails_whatever_is_stored_and_whatever_the_clock_says(
        record in proptest::option::of(arbitrary::record()),
        event in arbitrary::event(),
        other_credential in other_credential(),
        now in arbitrary::instant(),
    ) {
        let _ = record.as_ref().map(Record::gone);
        let _ = step(record, other_credential, event, now);
    }
}
