//! A row as it lies on the disk, whoever wrote it: if it can be read, every event at every instant that
//! matters leads to a row that can be read, and to nothing that a lease or a doubt forbids.

use std::time::Duration;

use oncegate::encoding::{read_row, write_row};
use oncegate::lifecycle::event::{
    Asker, Claim, CredentialChange, Event, OnInDoubt, Strategy, Verdict,
};
use oncegate::lifecycle::record::{
    Completed, Doubt, KeySpelling, Lease, Reason, Record, State, SweepAction,
};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::lifecycle::step::{Change, OtherCredential, Step, step};
use oncegate::request::fingerprint::Fingerprint;
use oncegate::time::Timestamp;

/// Any bytes.
pub fn check(data: &[u8]) {
    let Ok(record) = read_row::<Record>(data) else { return };
    for now in instants(&record) {
        is_swept(&record, now);
        for event in events(&record) {
            happens(&record, &event, now);
        }
    }
}

/// Around every instant that is written in the record.
fn instants(record: &Record) -> Vec<Timestamp> {
    let completed = |completed: &Completed| vec![completed.expires, completed.gone];
    let doubt = |doubt: &Doubt| vec![doubt.until, doubt.closes, doubt.gone];
    let mut instants = match &record.state {
        State::Running(running) => vec![running.until, record.gone()],
        State::Completed(it) | State::Expired(it) => completed(it),
        State::InDoubt(it) | State::Closed(it) => doubt(it),
        State::Released(it) => vec![it.until],
    };
    instants = instants
        .into_iter()
        .flat_map(|at| [at.0.saturating_sub(1), at.0, at.0.saturating_add(1)])
        .chain([0, u64::MAX])
        .map(Timestamp)
        .collect();
    instants.sort_unstable();
    instants.dedup();
    instants
}

fn is_swept(record: &Record, now: Timestamp) {
    let (SweepAction::Delete(due) | SweepAction::Tombstone(due)) = record.due();
    if record.due() == SweepAction::Delete(due) && is_in_order(record) {
        // Whoever asks after the row has gone hears what it would have said: nothing.
        assert!(now < due || record.clone().at(now).is_none(), "swept while it counts, at {now:?}");
    }
    if let Some(tombstone) = record.clone().into_tombstone(now) {
        is_stored(&tombstone);
        assert_eq!(tombstone.due(), SweepAction::Delete(record.gone()));
        let fingerprint = |record: Record| record.at(now).map(|record| record.metadata.fingerprint);
        assert_eq!(fingerprint(tombstone), fingerprint(record.clone()));
    }
}

/// A reply expires before its tombstone goes; every row that is written says so.
fn is_in_order(record: &Record) -> bool {
    match &record.state {
        State::Completed(it) | State::Expired(it) => it.expires <= it.gone,
        State::InDoubt(it) | State::Closed(it) => it.closes <= it.gone,
        State::Running(_) | State::Released(_) => true,
    }
}

pub(crate) fn is_stored(record: &Record) {
    assert!(!matches!(record.state, State::Expired(_) | State::Closed(_)), "{record:?}");
    assert_eq!(read_row::<Record>(&write_row(record)).as_ref(), Ok(record));
}

/// A claim of each kind, and each end of a claim, by the record's own lease and by another.
fn events(record: &Record) -> Vec<Event> {
    let own = match &record.state {
        State::Running(running) => Some(running.lease),
        State::Completed(completed) | State::Expired(completed) => Some(completed.lease),
        State::InDoubt(doubt) | State::Closed(doubt) => doubt.lease,
        State::Released(released) => Some(released.lease),
    };
    let foreign = Lease([0xfe; 16]).next();
    let reply = Reply { status: 201, headers: Vec::new(), body: Kept::Whole { bytes: 1 } };
    let mut events = Vec::new();
    let Fingerprint(mut other) = record.metadata.fingerprint;
    other[0] ^= 1;
    for fingerprint in [record.metadata.fingerprint, Fingerprint(other)] {
        events.extend([0, 10].map(|wait| Event::Look(fingerprint, Duration::from_secs(wait))));
        for lease in own.into_iter().chain([foreign]) {
            for strategy in [Strategy::ReturnExisting, Strategy::Fail, Strategy::FailOnRunning] {
                for on_in_doubt in [OnInDoubt::Hold, OnInDoubt::Retry] {
                    let mut metadata = record.metadata.clone();
                    metadata.fingerprint = fingerprint;
                    let claim = Claim { lease, metadata, strategy, on_in_doubt, ..claim(record) };
                    events.push(Event::Claim(claim));
                }
            }
        }
    }
    for lease in own.into_iter().chain([foreign]) {
        let ends = [
            Event::Settle(lease, reply.clone()),
            Event::Release(lease, None),
            Event::Release(lease, Some(reply.clone())),
        ];
        let doubts = [Reason::Timeout, Reason::Truncated].map(|reason| Event::Doubt(lease, reason));
        let break_off = Event::BreakOff(lease, claim(record).durations);
        events.extend(ends.into_iter().chain(doubts).chain([break_off]));
    }
    events
}

fn claim(record: &Record) -> Claim {
    let span = Duration::from_secs(1);
    let durations = oncegate::lifecycle::record::Durations {
        lease: span,
        ttl: span,
        tombstone: Duration::from_millis(0),
        doubt_ttl: span,
    };
    Claim {
        lease: Lease([0; 16]),
        metadata: record.metadata.clone(),
        strategy: Strategy::Fail,
        on_in_doubt: OnInDoubt::Hold,
        credential_change: CredentialChange::Refuse,
        durations,
        wait: span,
        spelling: KeySpelling::Bare,
        asker: Asker::Client,
        window: None,
    }
}

fn happens(record: &Record, event: &Event, now: Timestamp) {
    let Step { change, verdict } =
        step(Some(record.clone()), OtherCredential::None, event.clone(), now);
    match &change {
        Change::Insert(written) | Change::Update(written) | Change::Complete(written) => {
            is_stored(written);
        }
        Change::Keep | Change::Delete => {}
    }
    let found = record.clone().at(now);
    let context = || format!("{event:?} at {now:?} on {record:?}");
    match (event, found.map(|found| found.state)) {
        (_, None) => {}
        (Event::Look(..), _) => assert_eq!(change, Change::Keep, "{}", context()),
        (Event::Claim(claim), Some(state)) => {
            let granted = matches!(verdict, Verdict::Granted(..));
            let same = claim.metadata.fingerprint == record.metadata.fingerprint;
            let may = match state {
                State::Running(running) => running.lease == claim.lease,
                State::Completed(_) | State::Expired(_) => {
                    same && claim.strategy == Strategy::FailOnRunning
                }
                State::InDoubt(doubt) => {
                    same && claim.on_in_doubt == OnInDoubt::Retry && now >= doubt.until
                }
                State::Closed(_) => false,
                // A late copy of the claim that was released is not granted: nobody would act on it.
                State::Released(released) => released.lease != claim.lease,
            };
            assert!(may || !granted, "{}", context());
            assert!(granted || change == Change::Keep, "{}", context());
        }
        (
            Event::Settle(lease, _)
            | Event::Release(lease, _)
            | Event::Doubt(lease, _)
            | Event::BreakOff(lease, _),
            Some(state),
        ) => {
            let holds = match state {
                State::Running(running) => running.lease == *lease,
                State::InDoubt(doubt) => doubt.lease == Some(*lease),
                // Only the head of it was stored: it may break off yet.
                State::Completed(completed) => {
                    completed.lease == *lease
                        && completed.reply.body == Kept::StatusOnly
                        && matches!(event, Event::BreakOff(..))
                }
                State::Expired(_) | State::Closed(_) | State::Released(_) => false,
            };
            assert!(holds || change == Change::Keep, "{}", context());
        }
    }
}
