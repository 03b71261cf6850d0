//! What a Ledger does with one event: find the rows, decide, write. [`decide`] is that block, for whatever
//! keeps the rows: a shard's database, or the memory of a test.
//!
//! The block is synchronous. Nothing may be awaited between reading the row and writing it, so that no other
//! event comes between the two.

use crate::lifecycle::ended_leases::EndedLeases;
use crate::lifecycle::event::{CredentialChange, Event, Verdict};
use crate::lifecycle::record::{Completed, Lease, Previous, Record, State};
use crate::lifecycle::step::{Change, OtherCredential, Step, step};
use crate::request::fingerprint::OperationId;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// The rows of one shard.
pub trait Rows {
    /// Why a row cannot be read or written. An unreadable row is an error, never an absent one.
    type Error;
    /// What a stored reply's body is found by.
    type Body;

    /// The row of a key id; its body need not be at hand.
    ///
    /// # Errors
    /// The row cannot be read.
    fn find(&self, key_id: KeyId) -> Result<Option<Row<Self::Body>>, Self::Error>;

    /// The row of a key id with its body.
    ///
    /// # Errors
    /// The row cannot be read.
    fn find_with_body(&self, key_id: KeyId) -> Result<Option<Row<Self::Body>>, Self::Error>;

    /// The row of a key id with its body and, if an operation is given, all records of this operation
    /// under the key's other key ids that may be live.
    ///
    /// # Errors
    /// The key id's own row cannot be read.
    fn find_for_claim(
        &self,
        key_id: KeyId,
        operation: Option<OperationId>,
        now: Timestamp,
    ) -> Result<Found<Self>, Self::Error>;

    /// Writes a change: all of it, or nothing. `found` is the row that was found.
    ///
    /// # Errors
    /// Nothing was written.
    fn apply(
        &mut self,
        key_id: KeyId,
        found: Option<&Row<Self::Body>>,
        change: &Change,
    ) -> Result<(), Self::Error>;
}

/// A row that was found.
#[derive(Clone, Debug)]
pub struct Row<B> {
    /// What it records.
    pub record: Record,
    /// The body of its reply, if it has one.
    pub body: B,
}

/// What a claim finds.
pub struct Found<R: Rows + ?Sized> {
    /// The key id's own row.
    pub own: Option<Row<R::Body>>,
    /// The records of the same operation under other key ids, each as far as it can be read.
    pub others: Vec<Result<Record, R::Error>>,
}

/// What an event led to. Everything is written already.
#[derive(Clone, Debug)]
pub struct Decision<B> {
    /// What to answer, and what was written.
    pub step: Step,
    /// The row as it was found; a replayed body is found by it.
    pub found: Option<Row<B>>,
    /// The route for which the event counts; none for a look, which does not count.
    pub route: Option<String>,
}

/// Decides about an event and writes what follows.
///
/// # Errors
/// A row cannot be read or written. Nothing was changed.
pub fn decide<R: Rows>(
    rows: &mut R,
    ended: &mut EndedLeases,
    key_id: KeyId,
    event: Event,
    now: Timestamp,
) -> Result<Decision<R::Body>, R::Error> {
    let mut other_credential = OtherCredential::None;
    let mut route = None;
    let found = match &event {
        // A copy of a claim that was on its way while its lease was released or settled: no Worker would
        // act on the grant, and the key would end in doubt.
        Event::Claim(claim) if ended.has(claim.lease, now) => return Ok(Decision::stale()),
        Event::Claim(claim) => {
            let refuses = claim.credential_change == CredentialChange::Refuse;
            let operation = refuses.then_some(claim.metadata.operation);
            let Found { own, others } = rows.find_for_claim(key_id, operation, now)?;
            other_credential = live_among::<R>(others, own.as_ref(), now)?;
            route = Some(claim.metadata.route.clone());
            own
        }
        Event::Settle(lease, _) | Event::Release(lease, _) => {
            ended.remember(*lease, now);
            rows.find(key_id)?
        }
        Event::Doubt(..) | Event::BreakOff(..) => rows.find(key_id)?,
        Event::Look(..) => rows.find_with_body(key_id)?,
    };
    let counts = !matches!(event, Event::Look(..));
    let stored = found.as_ref().map(|row| row.record.clone());
    let step = step(stored, other_credential, event, now);
    rows.apply(key_id, found.as_ref(), &step.change)?;
    if let Some(lease) = superseded(&step.change) {
        ended.remember(lease, now);
    }
    let stored = || found.as_ref().map(|row| row.record.metadata.route.clone());
    let route = route.or_else(stored).filter(|_| counts);
    Ok(Decision { step, found, route })
}

/// The doubtful lease that a grant has taken the place of (policy `retry`): a late copy of its claim is another attempt of
/// nobody's, once that grant has ended in doubt too.
fn superseded(change: &Change) -> Option<Lease> {
    let Change::Update(Record { state: State::Running(running), .. }) = change else { return None };
    match &running.previous {
        Previous::Doubted(doubt) => doubt.lease,
        Previous::Nothing | Previous::Replied(_) => None,
    }
}

impl<B> Decision<B> {
    fn stale() -> Self {
        let step = Step { change: Change::Keep, verdict: Verdict::Stale };
        Self { step, found: None, route: None }
    }
}

/// Whether the operation is live under another credential. A record of it that cannot be read may well be
/// live: that is an error, unless the key id's own reply, claim or doubt decides what is answered.
fn live_among<R: Rows>(
    others: Vec<Result<Record, R::Error>>,
    own: Option<&Row<R::Body>>,
    now: Timestamp,
) -> Result<OtherCredential, R::Error> {
    let own = own.and_then(|own| own.record.clone().at(now)).map(|own| own.state);
    let own_decides = own.is_some_and(|own| !matches!(own, State::Expired(_) | State::Released(_)));
    let mut found = OtherCredential::None;
    for other in others {
        match other {
            Ok(other) => {
                if other.at(now).is_some_and(|other| other.is_live()) {
                    found = OtherCredential::Live;
                }
            }
            Err(error) if !own_decides => return Err(error),
            Err(_) => {}
        }
    }
    Ok(found)
}

/// What those are told who wait for a key's running claim, after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake<'a> {
    /// Nothing: the change ends no claim.
    Nobody,
    /// To claim again. A wake grants nothing: the right to forward goes only to a caller who asks afresh
    /// and so is still there.
    ClaimAgain,
    /// This reply.
    Reply(&'a Completed),
}

impl Change {
    /// Whatever ends a claim wakes those who wait for it; a grant ends none.
    #[must_use]
    pub fn wake(&self) -> Wake<'_> {
        match self {
            Self::Keep | Self::Insert(_) => Wake::Nobody,
            Self::Complete(Record { state: State::Completed(completed), .. }) => {
                Wake::Reply(completed)
            }
            Self::Update(_) | Self::Complete(_) | Self::Delete => Wake::ClaimAgain,
        }
    }
}
