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
    Completed, Doubt, Execution, Lease, Metadata, Previous, Reason, Record, Running, State,
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
    pub(super) fn meets(&self, table: &str) {
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
                self.holds(rows[*at].verdict, &step.verdict, &case, now, &place);
                assert_eq!(step.change, self.change(rows[*at].change, &case, now), "{place}");
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

    fn holds(&self, word: &str, verdict: &Verdict, case: &Case, now: Timestamp, place: &str) {
        let expected = match word {
            // The numbers in these verdicts have tables of their own.
            "join" => return assert!(matches!(verdict, Verdict::Join(_)), "{place}: {verdict:?}"),
            "in flight" => {
                return assert!(
                    matches!(verdict, Verdict::InFlight { .. }),
                    "{place}: {verdict:?}"
                );
            }
            "granted: first" => Verdict::Granted(make::run(case.lease, 1), None),
            "granted: the same" => Verdict::Granted(self.run, None),
            "granted: next attempt" => Verdict::Granted(self.next_attempt(), None),
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
            "absent" => Verdict::Absent,
            _ => panic!("no verdict is called {word}"),
        };
        assert_eq!(verdict, &expected, "{place}");
    }

    fn change(&self, word: &str, case: &Case, now: Timestamp) -> Change {
        let metadata = || self.record.as_ref().unwrap().metadata.clone();
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
            "running over reply" => update(metadata(), running(first, Previous::Replied(reply()))),
            "running over tombstone" => {
                update(made_now(), running(first, Previous::Replied(reply())))
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
            _ => panic!("no change is called {word}"),
        }
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
            ("doubt", Event::Doubt(lease, Reason::Timeout)),
            ("lost", Event::Doubt(lease, Reason::ConnectionLost)),
            ("break", Event::BreakOff(lease, make::durations())),
        ] {
            cases.push(Case { event, other_credential, lease, words: vec![word, whose] });
        }
        cases.extend(every_claim(whose, lease));
    }
    for (word, number) in FINGERPRINTS {
        let event = Event::Look(make::fingerprint(number), s(0));
        cases.push(Case { event, other_credential, lease: NEW, words: vec!["look", word] });
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
                for (waits, wait) in [("waits", s(10)), ("hurries", Duration::from_millis(0))] {
                    for (operation, other_credential, credential_change) in [
                        ("alone", OtherCredential::None, CredentialChange::Refuse),
                        ("alone", OtherCredential::Live, CredentialChange::Forward),
                        ("elsewhere", OtherCredential::Live, CredentialChange::Refuse),
                    ] {
                        let fingerprinted =
                            Metadata { fingerprint: make::fingerprint(number), ..metadata() };
                        let claim = Claim {
                            metadata: fingerprinted,
                            strategy: wish,
                            on_in_doubt,
                            credential_change,
                            wait,
                            ..make::claim(lease)
                        };
                        let event = Event::Claim(claim);
                        let words =
                            vec!["claim", whose, fingerprint, strategy, doubts, waits, operation];
                        cases.push(Case { event, other_credential, lease, words });
                    }
                }
            }
        }
    }
    cases
}

const FINGERPRINTS: [(&str, u8); 2] = [("same", 0xf1), ("other", 0xf2)];

/// When the record's own claim was granted, or settled.
pub(super) const START: Timestamp = instant(1000);
