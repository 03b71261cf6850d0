//! The life of one key as a program: three bytes an event (what, whose, after how long), and an auditor who
//! knows nothing of records and judges by what was asked and answered.

use std::time::Duration;

use oncegate::encoding::{read_row, write_row};
use oncegate::lifecycle::event::{
    Asker, Claim, CredentialChange, Event, OnInDoubt, Strategy, Verdict,
};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::{
    Durations, KeySpelling, Lease, Metadata, Reason, Record, StatusKey,
};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::lifecycle::step::{Change, OtherCredential, Step, step};
use oncegate::request::fingerprint::{Fingerprint, OperationId};
use oncegate::time::Timestamp;

use super::row::is_stored;

/// Any bytes. The first says how long things last, and whether the route has status addresses.
pub fn check(data: &[u8]) {
    let [spans, program @ ..] = data else { return };
    let (durations, has_address) = (durations(*spans), spans & 0x10 != 0);
    let (mut row, mut now, mut auditor) =
        (None::<Vec<u8>>, Timestamp(1_000_000), Auditor::default());
    for [what, whose, after] in program.as_chunks::<3>().0 {
        now = now.plus(span(*after));
        let stored = row.as_deref().map(read_row::<Record>);
        assert!(stored.as_ref().is_none_or(Result::is_ok), "what was written is read");
        let stored = stored.and_then(Result::ok);
        let (event, other_credential) = event(*what, *whose, durations, has_address);
        let found = stored.clone().and_then(|record| record.at(now));
        if found.is_none() {
            auditor.address = None;
        }
        let gone = found.is_none_or(|record| !record.is_live());
        let Step { change, verdict } = step(stored, other_credential, event.clone(), now);
        auditor.hear(&event, &verdict, gone, now);
        apply(&mut row, change);
    }
}

fn apply(row: &mut Option<Vec<u8>>, change: Change) {
    let written: Record = match change {
        Change::Keep => return,
        Change::Delete => return *row = None,
        Change::Insert(record) | Change::Update(record) | Change::Complete(record) => record,
    };
    is_stored(&written);
    *row = Some(write_row(&written));
}

/// What was granted, and what has become of it.
#[derive(Default)]
struct Auditor {
    /// Grants that have not been settled or released, and when their leases are over. Several where a
    /// doubt was run again: released, that leaves the doubt with its own lease.
    granted: Vec<(Lease, Timestamp)>,
    /// Whose settles were kept: one whose answer was lost may come again, and is told the same.
    settled: Vec<Lease>,
    /// Who released it last: a release whose answer was lost may come again, and a late copy of the claim too.
    released: Option<Lease>,
    /// Whether the operation may have been executed by what this key knows.
    executed: bool,
    /// The request that has the status address with this secret.
    address: Option<(Fingerprint, StatusSecret)>,
}

impl Auditor {
    fn hear(&mut self, event: &Event, verdict: &Verdict, gone: bool, now: Timestamp) {
        if gone {
            // Released, or everything that was promised of it is over.
            let Self { released, address, .. } = *self;
            *self = Self { released, address, ..Self::default() };
        }
        match (event, verdict) {
            (Event::Claim(claim), Verdict::Granted(run, secret)) => {
                // The same claim again, whatever its request: only a fuzzer sends another one under a lease.
                if !self.holds(claim.lease) {
                    self.is_addressed(claim.metadata.fingerprint, *secret);
                }
                self.grant(claim, run.attempt, now);
            }
            (Event::Claim(claim), Verdict::InFlight { status, .. }) => {
                self.is_addressed(claim.metadata.fingerprint, *status);
            }
            (Event::Claim(claim), Verdict::Stale) => assert_eq!(self.released, Some(claim.lease)),
            (Event::Claim(_), Verdict::Kept(_) | Verdict::Released | Verdict::Absent) => {
                panic!("a claim is told {verdict:?}");
            }
            (Event::Settle(lease, _), Verdict::Kept(expires)) => {
                assert!(expires.is_some());
                let again = self.settled.contains(lease);
                assert!(again || self.holds(*lease), "settled by {lease:?}");
                if self.holds(*lease) {
                    self.settled.push(*lease);
                    self.granted.clear();
                }
            }
            (Event::Release(lease, _), Verdict::Kept(_)) => {
                let again = self.released == Some(*lease);
                assert!(again || self.holds(*lease), "released by {lease:?}");
                self.released = Some(*lease);
                self.granted.retain(|(holder, _)| holder != lease);
            }
            // What is not read on has ended its lease.
            (Event::Doubt(lease, reason), Verdict::Kept(_)) if *reason != Reason::Timeout => {
                assert!(self.holds(*lease), "doubted by {lease:?}");
                self.ends_lease(*lease, now);
            }
            (Event::BreakOff(lease, _), Verdict::Kept(_)) => {
                if self.settled.contains(lease) {
                    self.settled.retain(|settled| settled != lease);
                    self.granted.push((*lease, now));
                }
                assert!(self.holds(*lease), "broken off by {lease:?}");
                self.ends_lease(*lease, now);
            }
            _ => {}
        }
    }

    /// A key keeps its status address until it is forgotten, or another request has taken it.
    fn is_addressed(&mut self, print: Fingerprint, secret: Option<StatusSecret>) {
        if let Some((known, address)) = self.address
            && known == print
        {
            assert_eq!(secret, Some(address), "another address");
        }
        self.address = secret.map(|secret| (print, secret));
    }

    fn grant(&mut self, claim: &Claim, attempt: u32, now: Timestamp) {
        let live = |(_, until): &&(Lease, Timestamp)| now < *until;
        if let Some((holder, _)) = self.granted.iter().find(live) {
            assert_eq!(*holder, claim.lease, "two leases are live");
            return;
        }
        let again = claim.strategy == Strategy::FailOnRunning
            || claim.on_in_doubt == OnInDoubt::Retry && attempt > 1;
        assert!(again || !self.executed, "executed again by itself: {claim:?}");
        self.granted.push((claim.lease, now.plus(claim.durations.lease)));
        self.executed = true;
    }

    fn ends_lease(&mut self, lease: Lease, now: Timestamp) {
        for (holder, until) in &mut self.granted {
            if *holder == lease {
                *until = now.min(*until);
            }
        }
    }

    fn holds(&self, lease: Lease) -> bool {
        self.granted.iter().any(|(holder, _)| *holder == lease)
    }
}

fn durations(bits: u8) -> Durations {
    let of = |bit: u8, short, long| {
        Duration::from_millis(if bits >> bit & 1 == 0 { short } else { long })
    };
    Durations {
        lease: of(0, 10_000, 75_000),
        ttl: of(1, 1_000, 100_000),
        tombstone: of(2, 0, 50_000),
        doubt_ttl: of(3, 5_000, u64::MAX),
    }
}

/// From nothing to years, and the ends of leases and ttls.
fn span(byte: u8) -> Duration {
    let unit = [0, 1, 999, 1_000, 10_000, 75_000, 100_000, 1 << 36][usize::from(byte >> 5)];
    Duration::from_millis(unit * u64::from(byte & 0x1f))
}

fn event(what: u8, whose: u8, durations: Durations, has_address: bool) -> (Event, OtherCredential) {
    let lease = Lease([whose & 3; 16]);
    let fingerprint = Fingerprint([whose >> 7; 32]);
    let kept = if whose & 0x40 == 0 { Kept::Whole { bytes: 3 } } else { Kept::StatusOnly };
    let status = 200 + u16::from(whose >> 2 & 0xf);
    let other_credential =
        if what & 0xc0 == 0xc0 { OtherCredential::Live } else { OtherCredential::None };
    let event = match what % 8 {
        0..=3 => {
            let strategy = match what >> 3 & 3 {
                0 | 1 => Strategy::ReturnExisting,
                2 => Strategy::Fail,
                _ => Strategy::FailOnRunning,
            };
            let on_in_doubt = if what & 0x20 == 0 { OnInDoubt::Hold } else { OnInDoubt::Retry };
            let credential_change = CredentialChange::Refuse;
            let wait = Duration::from_millis(if what & 0x40 == 0 { 0 } else { 10_000 });
            let spelling = if whose & 0x20 == 0 { KeySpelling::Bare } else { KeySpelling::Quoted };
            let has_address = has_address && whose & 4 == 0;
            let secret = StatusSecret::of(lease);
            let status = has_address.then_some(StatusKey { secret, credential: None });
            let metadata = Metadata { status, ..metadata(fingerprint) };
            Event::Claim(Claim {
                lease,
                metadata,
                strategy,
                on_in_doubt,
                credential_change,
                durations,
                wait,
                spelling,
                asker: Asker::Client,
                window: None,
            })
        }
        4 => Event::Settle(lease, Reply { status, headers: Vec::new(), body: kept }),
        5 => Event::Release(lease, Some(Reply { status, headers: Vec::new(), body: kept })),
        6 if what & 8 == 0 => Event::Doubt(lease, Reason::Timeout),
        6 => Event::Doubt(lease, Reason::ConnectionLost),
        _ if what & 8 == 0 => {
            Event::Look(fingerprint, Duration::from_millis(u64::from(what) * 100))
        }
        _ => Event::BreakOff(lease, durations),
    };
    (event, other_credential)
}

fn metadata(fingerprint: Fingerprint) -> Metadata {
    Metadata {
        fingerprint,
        operation: OperationId([0xc1; 16]),
        route: "charge".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/payments".to_owned(),
        correlation_id: "c-1".to_owned(),
        created: Timestamp(0),
        status: None,
    }
}
