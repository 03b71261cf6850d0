//! The Ledger's decision over rows that cannot all be read. What it decides where they can be is explored in
//! `prove`.

use oncegate::lifecycle::ended_leases::EndedLeases;
use oncegate::lifecycle::event::{Claim, CredentialChange, Event, Verdict};
use oncegate::lifecycle::ledger::{self, Decision, Found, Row, Rows};
use oncegate::lifecycle::record::{Record, State};
use oncegate::lifecycle::step::Change;
use oncegate::request::fingerprint::OperationId;
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;

use crate::make::{self, instant, key_id, lease, record};

const NOW: Timestamp = instant(2000);

#[derive(Debug, PartialEq)]
struct Broken;

/// One key's row, and what is found of the same operation under other credentials.
#[derive(Default)]
struct OneKey {
    own: Option<Record>,
    others: Vec<Result<Record, ()>>,
    cannot_write: bool,
    written: Vec<Change>,
}

impl Rows for OneKey {
    type Error = Broken;
    type Body = ();

    fn find(&self, _: KeyId) -> Result<Option<Row<()>>, Broken> {
        Ok(self.own.clone().map(|record| Row { record, body: () }))
    }

    fn find_with_body(&self, key_id: KeyId) -> Result<Option<Row<()>>, Broken> {
        self.find(key_id)
    }

    fn find_for_claim(
        &self,
        key_id: KeyId,
        operation: Option<OperationId>,
        _: Timestamp,
    ) -> Result<Found<Self>, Broken> {
        let others = self.others.iter().filter(|_| operation.is_some());
        let others = others.map(|other| other.clone().map_err(|()| Broken)).collect();
        Ok(Found { own: self.find(key_id)?, others })
    }

    fn apply(&mut self, _: KeyId, _: Option<&Row<()>>, change: &Change) -> Result<(), Broken> {
        if self.cannot_write {
            return Err(Broken);
        }
        self.written.push(change.clone());
        Ok(())
    }
}

fn decide(rows: &mut OneKey, event: Event) -> Result<Decision<()>, Broken> {
    ledger::decide(rows, &mut EndedLeases::default(), key_id("k"), event, NOW)
}

fn settled() -> Record {
    record(State::Completed(make::completed(lease(1), instant(1999))))
}

#[test]
fn an_unreadable_record_of_the_operation_stands_in_the_way_of_a_first_execution_only() {
    let claim = || Event::Claim(make::claim(lease(9)));
    let unreadable = || OneKey { others: vec![Err(())], ..OneKey::default() };
    assert_eq!(decide(&mut unreadable(), claim()).map(|it| it.step.verdict), Err(Broken));
    let replayed = decide(&mut OneKey { own: Some(settled()), ..unreadable() }, claim()).unwrap();
    assert!(matches!(replayed.step.verdict, Verdict::Replay(_)));
    assert_eq!(replayed.route.as_deref(), Some("charge"));
    let forwards = Claim { credential_change: CredentialChange::Forward, ..make::claim(lease(9)) };
    let granted = decide(&mut unreadable(), Event::Claim(forwards)).unwrap();
    assert!(matches!(granted.step.verdict, Verdict::Granted(..)));
}

#[test]
fn a_readable_record_of_the_operation_refuses_a_first_execution() {
    let mut rows = OneKey { others: vec![Ok(settled())], ..OneKey::default() };
    let refused = decide(&mut rows, Event::Claim(make::claim(lease(9)))).unwrap();
    assert_eq!(refused.step.verdict, Verdict::CredentialChanged);
    assert_eq!(rows.written, [Change::Keep]);
}

#[test]
fn what_cannot_be_written_is_not_answered() {
    let mut rows = OneKey { cannot_write: true, ..OneKey::default() };
    assert!(decide(&mut rows, Event::Claim(make::claim(lease(9)))).is_err());
}

#[test]
fn a_copy_of_a_claim_that_has_ended_is_stale_and_writes_nothing() {
    let (mut rows, mut ended) = (OneKey::default(), EndedLeases::default());
    let mut happen = |rows: &mut OneKey, event| {
        ledger::decide(rows, &mut ended, key_id("k"), event, NOW).unwrap().step.verdict
    };
    assert_eq!(happen(&mut rows, Event::Release(lease(9), None)), Verdict::Stale);
    assert_eq!(happen(&mut rows, Event::Claim(make::claim(lease(9)))), Verdict::Stale);
    assert_eq!(rows.written, [Change::Keep], "the release was looked up, the claim was not");
}

#[test]
fn a_look_is_not_counted() {
    let mut rows = OneKey { own: Some(settled()), ..OneKey::default() };
    let look = Event::Look(settled().metadata.fingerprint, make::s(0));
    let looked = decide(&mut rows, look).unwrap();
    assert!(matches!(looked.step.verdict, Verdict::Replay(_)));
    assert_eq!((looked.route, looked.step.change), (None, Change::Keep));
}
