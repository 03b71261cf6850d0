//! Runs the tables of [`super::tables`]: gives a record every event, one millisecond before, at and after each
//! of its deadlines, and compares the step with the one row of the table that matches the case.
//!
//! Nothing is decided here. This module knows what the words of a row mean; which word stands where is written
//! in the tables.

use std::time::Duration;

use oncegate::lifecycle::event::{
    Claim, CredentialChange, Event, How, OnInDoubt, Replay, Strategy, Verdict,
};
use oncegate::lifecycle::record::{
    Completed, Doubt, Execution, Lease, Metadata, Previous, RELEASED_KEPT, Reason, Record,
    Released, Running, State, StatusKey,
};
use oncegate::lifecycle::step::{Change, OtherCredential, step};
use oncegate::time::Timestamp;

use crate::make::{self, days, instant, metadata, ms_after, ms_before, s};

/// The record's own lease; of a completed record, the lease that settled it.
pub(super) const OWN: Lease = Lease([1; 16]);
/// The lease of the earlier record that a running claim or a doubt found.
pub(super) const OLD: Lease = Lease([2; 16]);
/// A lease that the record has never seen.
const NEW: Lease = Lease([3; 16]);

/// A record, its deadlines by name, and what the words of its table mean.
pub(super) struct Subject {
    pub(super) record: Option<Record>,
    pub(super) deadlines: Vec<(&'static str, Timestamp)>,
    /// `reply`: the reply that it replays or found.
    pub(super) reply: Option<Completed>,
    /// `doubt`: how it reads once its lease is over.
    pub(super) doubt: Option<Doubt>,
    /// `earlier doubt`: the doubt that a retry found.
    pub(super) earlier: Option<Doubt>,
    pub(super) run: Execution,
}

/// One event and the words that rows match it by.
struct Case {
    event: Event,
    other_credential: OtherCredential,
    lease: Lease,
    words: Vec<&'static str>,
}

struct Row<'a> {
    text: &'a str,
    when: (Option<Timestamp>, Option<Timestamp>),
    event: Vec<&'a str>,
    verdict: &'a str,
    change: &'a str,
}

impl Subject {
    /// Every cell of the record against its table: `when | event | verdict | change`.
    ///
    /// `a..b` is the time from deadline `a` on, before deadline `b`. An event is a list of words that
    /// all have to hold: `a/b` is one of them, `!a` all but that one; what is not said may be anything.
    ///
    /// Once without a status address, and once with one, under which a release leaves what it was told in place of
    /// nothing.
    pub(super) fn meets(mut self, table: &str) {
        let has_address = self.address().is_some();
        if !has_address {
            self.meets_all(table);
        }
        if let Some(record) = &mut self.record {
            record.metadata.status = Some(make::status_key(OWN));
            self.meets_all(&if has_address {
                table.to_owned()
            } else {
                table.replace("| delete", "| released")
            });
        }
    }

    fn meets_all(&self, table: &str) {
        let rows: Vec<Row> = table.trim().lines().map(|line| self.row(line)).collect();
        let mut used = vec![false; rows.len()];
        for now in self.instants() {
            for case in every_event() {
                let place = format!("at {} ms: {}", now.0, case.words.join(" "));
                let matching: Vec<_> =
                    (0..rows.len()).filter(|at| rows[*at].speaks_of(now, &case)).collect();
                let [at] = matching.as_slice() else {
                    let texts: Vec<_> = matching.iter().map(|at| rows[*at].text).collect();
                    panic!("{place}: not one row but {texts:#?}");
                };
                used[*at] = true;
                let step =
                    step(self.record.clone(), case.other_credential, case.event.clone(), now);
                let place = format!("{place}\n  by the row {}", rows[*at].text);
                let change = self.change(rows[*at].change, &case, now);
                self.holds(rows[*at].verdict, &step.verdict, &case, &change, now, &place);
                assert_eq!(step.change, change, "{place}");
            }
        }
        for (row, used) in rows.iter().zip(used) {
            assert!(used, "no case for the row {}", row.text);
        }
    }

    fn instants(&self) -> Vec<Timestamp> {
        let mut instants = vec![START];
        for (_, deadline) in &self.deadlines {
            instants.extend([ms_before(*deadline), *deadline, ms_after(*deadline)]);
        }
        // Before it there is no record.
        instants.retain(|at| *at >= START);
        instants
    }

    fn row<'a>(&self, text: &'a str) -> Row<'a> {
        let columns: Vec<_> = text.split('|').map(str::trim).collect();
        let [when, event, verdict, change] = columns[..] else {
            panic!("not four columns: {text}")
        };
        let (from, to) = when.split_once("..").unwrap_or_else(|| panic!("no span: {text}"));
        let when = (self.deadline(from), self.deadline(to));
        Row { text, when, event: event.split_whitespace().collect(), verdict, change }
    }

    fn deadline(&self, name: &str) -> Option<Timestamp> {
        let found = self.deadlines.iter().find(|(known, _)| *known == name);
        assert!(name.is_empty() || found.is_some(), "no deadline {name}");
        found.map(|(_, at)| *at)
    }

    fn holds(
        &self,
        word: &str,
        verdict: &Verdict,
        case: &Case,
        change: &Change,
        now: Timestamp,
        place: &str,
    ) {
        // Whoever is granted a claim is told the address that its record has from now on.
        let secret = match change {
            Change::Insert(record) | Change::Update(record) => record.metadata.status,
            _ => self.address(),
        };
        let secret = secret.map(|status| status.secret);
        let expected = match word {
            // The numbers in these verdicts have tables of their own.
            "join" => return assert!(matches!(verdict, Verdict::Join(_)), "{place}: {verdict:?}"),
            "in flight" => {
                return assert!(
                    matches!(verdict, Verdict::InFlight { status, .. } if *status == secret),
                    "{place}: {verdict:?}"
                );
            }
            "granted: first" => Verdict::Granted(make::run(case.lease, 1), secret),
            "granted: the same" => Verdict::Granted(self.run, secret),
            "granted: next attempt" => Verdict::Granted(self.next_attempt(), secret),
            "replay" => Verdict::Replay(Replay::of(self.reply.as_ref().unwrap(), How::Replayed)),
            "executed" => Verdict::AlreadyExecuted,
            "in doubt" => {
                let doubt = self.doubt.as_ref().unwrap();
                let over_for = now.since(doubt.until);
                Verdict::InDoubt { lease: doubt.lease, over_for, reason: doubt.reason }
            }
            "still read" => {
                return assert!(
                    matches!(verdict, Verdict::StillRead { .. }),
                    "{place}: {verdict:?}"
                );
            }
            "expired" => Verdict::Expired,
            "key reused" => Verdict::KeyReused(oncegate::request::fingerprint::Mismatch(0b11_1111)),
            "credential changed" => Verdict::CredentialChanged,
            "kept" => Verdict::Kept(None),
            "kept for ttl" => Verdict::Kept(Some(now.plus(make::durations().ttl))),
            "kept as it was" => Verdict::Kept(Some(self.reply.as_ref().unwrap().expires)),
            "stale" => Verdict::Stale,
            "not sent" => Verdict::Released,
            "released reply" => {
                let Some(State::Released(released)) = self.record.as_ref().map(|it| &it.state)
                else {
                    panic!("it is not released")
                };
                let (expires, how) = (released.until, How::Released);
                Verdict::Replay(Replay { reply: released.reply.clone().unwrap(), expires, how })
            }
            "absent" => Verdict::Absent,
            _ => panic!("no verdict is called {word}"),
        };
        assert_eq!(verdict, &expected, "{place}");
    }

    fn change(&self, word: &str, case: &Case, now: Timestamp) -> Change {
        let found = || self.record.as_ref().unwrap().metadata.clone();
        // A record that has no address yet gets that of the claim, if its route has one.
        let metadata = || {
            let status = found().status.or(case.status());
            Metadata { status, ..found() }
        };
        let made_now = || Metadata { created: now, ..case.metadata() };
        let reply = || self.reply.clone().unwrap();
        let doubt = || self.doubt.clone().unwrap();
        let first = make::run(case.lease, 1);
        let update = |metadata, state| Change::Update(Record { metadata, state });
        let running = |run, previous| {
            State::Running(Running { run, previous, ..make::running(case.lease, now) })
        };
        match word {
            "nothing" => Change::Keep,
            "insert running" => Change::Insert(Record {
                metadata: made_now(),
                state: running(first, Previous::Nothing),
            }),
            "insert running, same address" => Change::Insert(Record {
                metadata: Metadata { status: self.address(), ..made_now() },
                state: running(first, Previous::Nothing),
            }),
            "running over reply" => update(metadata(), running(first, Previous::Replied(reply()))),
            "running over tombstone" => {
                let metadata = Metadata { status: metadata().status, ..made_now() };
                update(metadata, running(first, Previous::Replied(reply())))
            }
            "running over doubt" => {
                update(metadata(), running(self.next_attempt(), Previous::Doubted(doubt())))
            }
            "the new reply" => {
                let Event::Settle(_, reply) = &case.event else {
                    panic!("only a settle brings one")
                };
                let new = Completed {
                    run: self.run,
                    reply: reply.clone(),
                    ..make::completed(case.lease, now)
                };
                Change::Complete(Record { metadata: metadata(), state: State::Completed(new) })
            }
            // Once the old reply has expired, the address tells of the release.
            "the old reply or what is told" if self.address().is_none() || now < reply().gone => {
                self.change("the old reply", case, now)
            }
            "the old reply or what is told" => self.change("released", case, now),
            "the old reply" => update(metadata(), State::Completed(reply())),
            "doubt" => update(metadata(), State::InDoubt(doubt())),
            "timed out" => {
                let reason = Reason::Timeout;
                update(metadata(), State::InDoubt(Doubt { reason, ..doubt() }))
            }
            "lost" => {
                update(metadata(), State::InDoubt(ended(doubt(), Reason::ConnectionLost, now)))
            }
            "broken off" => {
                update(metadata(), State::InDoubt(ended(doubt(), Reason::Truncated, now)))
            }
            "earlier doubt" => update(metadata(), State::InDoubt(self.earlier.clone().unwrap())),
            // Its lease is over as of now.
            "doubt of nobody" => {
                let until = doubt().until.min(now);
                let reason = doubt().earlier.unwrap();
                update(metadata(), State::InDoubt(Doubt { lease: None, reason, until, ..doubt() }))
            }
            "delete" => Change::Delete,
            "released" => {
                let Event::Release(lease, reply) = &case.event else {
                    panic!("only a release tells of one")
                };
                let (lease, reply) = (*lease, reply.clone());
                let until = now.plus(RELEASED_KEPT);
                let released = Released { lease, run: self.run, reply, since: now, until };
                Change::Complete(Record { metadata: found(), state: State::Released(released) })
            }
            _ => panic!("no change is called {word}"),
        }
    }

    fn address(&self) -> Option<StatusKey> {
        self.record.as_ref().and_then(|record| record.metadata.status)
    }

    fn next_attempt(&self) -> Execution {
        Execution { attempt: self.run.attempt + 1, ..self.run }
    }
}

/// A doubt that ends its lease now; where it was no doubt before, it closes that much sooner.
fn ended(doubt: Doubt, reason: Reason, now: Timestamp) -> Doubt {
    if doubt.reason == Reason::Timeout {
        return Doubt { reason, until: now, ..doubt };
    }
    let closes = now.plus(doubt.durations.doubt_ttl);
    Doubt { reason, until: now, closes, gone: closes.plus(days(90)), ..doubt }
}

impl Row<'_> {
    fn speaks_of(&self, now: Timestamp, case: &Case) -> bool {
        let (from, to) = self.when;
        let in_time = from.is_none_or(|from| from <= now) && to.is_none_or(|to| now < to);
        in_time
            && self.event.iter().all(|pattern| match pattern.strip_prefix('!') {
                Some(word) => !case.words.contains(&word),
                None => pattern.split('/').any(|word| case.words.contains(&word)),
            })
    }
}

impl Case {
    fn metadata(&self) -> Metadata {
        let Event::Claim(claim) = &self.event else { panic!("only a claim brings one") };
        claim.metadata.clone()
    }

    fn status(&self) -> Option<StatusKey> {
        match &self.event {
            Event::Claim(claim) => claim.metadata.status,
            _ => None,
        }
    }
}

/// Each kind of event with each lease; a claim with each of its rules too.
fn every_event() -> Vec<Case> {
    let other_credential = OtherCredential::None;
    let mut cases = Vec::new();
    for (whose, lease) in [("own", OWN), ("old", OLD), ("new", NEW)] {
        let reply = make::reply(202, 9);
        for (word, event) in [
            ("settle", Event::Settle(lease, reply)),
            ("release", Event::Release(lease, None)),
            ("release", Event::Release(lease, Some(make::reply(429, 4)))),
            ("doubt", Event::Doubt(lease, Reason::Timeout)),
            ("lost", Event::Doubt(lease, Reason::ConnectionLost)),
            ("break", Event::BreakOff(lease, make::durations())),
        ] {
            cases.push(Case { event, other_credential, lease, words: vec![word, whose] });
        }
        cases.extend(every_claim(whose, lease));
    }
    for (word, number) in FINGERPRINTS {
        for (waits, wait) in WAITS {
            let event = Event::Look(make::fingerprint(number), wait);
            let words = vec!["look", word, waits];
            cases.push(Case { event, other_credential, lease: NEW, words });
        }
    }
    cases
}

fn every_claim(whose: &'static str, lease: Lease) -> Vec<Case> {
    let mut cases = Vec::new();
    for (fingerprint, number) in FINGERPRINTS {
        for (strategy, wish) in [
            ("existing", Strategy::ReturnExisting),
            ("fail", Strategy::Fail),
            ("rerun", Strategy::FailOnRunning),
        ] {
            for (doubts, on_in_doubt) in [("hold", OnInDoubt::Hold), ("retry", OnInDoubt::Retry)] {
                for (waits, wait) in WAITS {
                    for (operation, other_credential, credential_change) in [
                        ("alone", OtherCredential::None, CredentialChange::Refuse),
                        ("alone", OtherCredential::Live, CredentialChange::Forward),
                        ("elsewhere", OtherCredential::Live, CredentialChange::Refuse),
                    ] {
                        for status in [None, Some(make::status_key(lease))] {
                            let fingerprint_of = make::fingerprint(number);
                            let claim = Claim {
                                metadata: Metadata {
                                    fingerprint: fingerprint_of,
                                    status,
                                    ..metadata()
                                },
                                strategy: wish,
                                on_in_doubt,
                                credential_change,
                                wait,
                                ..make::claim(lease)
                            };
                            let event = Event::Claim(claim);
                            let words = vec![
                                "claim",
                                whose,
                                fingerprint,
                                strategy,
                                doubts,
                                waits,
                                operation,
                            ];
                            cases.push(Case { event, other_credential, lease, words });
                        }
                    }
                }
            }
        }
    }
    cases
}

const WAITS: [(&str, Duration); 2] = [("waits", s(10)), ("hurries", s(0))];
const FINGERPRINTS: [(&str, u8); 2] = [("same", 0xf1), ("other", 0xf2)];

/// When the record's own claim was granted, or settled.
pub(super) const START: Timestamp = instant(1000);
