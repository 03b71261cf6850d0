//! The life of one key: every transition of every record lives here, in [`step`].
//!
//! ```text
//!            claim                    settle(lease)
//!   absent ─────────▶ running(lease) ───────────────▶ completed ──ttl──▶ expired ──tombstone──▶ absent
//!     ▲                 │       │ doubt, or lease over     ▲
//!     └──release────────┘       ▼                          │
//!       (back to what       in doubt(lease) ──late settle──┘
//!        the claim found)       └──doubt_ttl──▶ closed (answers 410)
//! ```
//!
//! `step` is pure and total: it takes the record as stored, one event and the Ledger's clock, and says
//! what to write and what to answer. Time passing needs no write: a lapsed lease, a passed `ttl` are
//! *read* ([`Record::at`]), so a crashed Worker costs nothing and a late alarm harms nothing.
//!
//! Invariants: a lease is granted only where none is live; a settle, release or doubt changes a record
//! only under the record's own lease; a record in doubt is never granted again unless its policy says
//! `retry`, and then only once the doubtful lease is over.

use crate::digest::Parts;
use crate::fingerprint::{Differs, Fingerprint, Kin};
use crate::reply::{Kept, Reply};

/// Milliseconds: an instant on the Ledger's clock (since the Unix epoch), or a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// This instant moved on by a span; saturates.
    #[must_use]
    pub fn plus(self, span: Millis) -> Millis {
        Millis(self.0.saturating_add(span.0))
    }

    /// The span since an earlier instant; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// Random token of one claim. It fences: once granted, only its holder can settle or release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease(pub [u8; 16]);

impl Lease {
    /// Another token, as unguessable as this one, for when this one may not be used again.
    #[must_use]
    pub fn next(self) -> Self {
        Self(Parts::of("next lease").part(self.0).half())
    }
}

/// What does not change over a record's life; what an operator searches by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What a retry must match.
    pub fingerprint: Fingerprint,
    /// The operation, whoever asks for it.
    pub kin: Kin,
    /// Name of the route that guarded the first request.
    pub route: String,
    /// Method of the first request.
    pub method: String,
    /// Normalised path of the first request, cut to a bounded length.
    pub path: String,
    /// Correlation id of the first request.
    pub correlation_id: String,
    /// When the first claim was granted.
    pub created: Millis,
}

/// How long things last, as the claim's route has it; all spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a grant lasts: the route's `timeout` and room to settle.
    pub lease: Millis,
    /// How long a stored reply is kept.
    pub ttl: Millis,
    /// How long key id and fingerprint outlive the reply.
    pub tombstone: Millis,
    /// How long a record at least stays in doubt.
    pub doubt_ttl: Millis,
}

/// The state of one key id, as stored. Nothing here has a default: unreadable is never "absent".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Identity.
    pub about: About,
    /// Where in its life it is.
    pub state: State,
}

/// Where in its life a record is. `Expired` and `Closed` are only ever read, never written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A Worker holds the lease and may be talking to the origin.
    Running(Running),
    /// The reply is stored.
    Completed(Completed),
    /// Whether the origin executed the operation is not known.
    InDoubt(Doubt),
    /// The reply's `ttl` has passed; its tombstone has not.
    Expired(Completed),
    /// In doubt for longer than `doubt_ttl`: no longer answered as a doubt, never executed again.
    Closed(Doubt),
}

/// One run of the operation at the origin, over all its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Names the run: the lease of its first attempt.
    pub id: Lease,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// In which spelling its first attempt brought the key: later ones go on in the same.
    pub form: Form,
}

/// The two spellings of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As Stripe's clients send it, or from another source than the Idempotency-Key header.
    Bare,
    /// As a structured-field string.
    Quoted,
}

/// A granted claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Who may settle or release.
    pub lease: Lease,
    /// Run and attempt.
    pub run: Run,
    /// When it was granted.
    pub since: Millis,
    /// When the lease is over.
    pub until: Millis,
    /// Spans for what follows.
    pub terms: Terms,
    /// What a release puts back.
    pub before: Before,
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// No record.
    Nothing,
    /// A stored reply (strategy `fail_on_running`). Its body is still stored beside the record.
    Replied(Completed),
    /// A doubt (policy `retry`).
    Doubted(Doubt),
}

/// A settled claim. The body is stored beside the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The lease that settled it: a settle whose answer was lost may come twice.
    pub lease: Lease,
    /// Run and attempt that gave the reply.
    pub run: Run,
    /// The stored reply.
    pub reply: Reply,
    /// When it was settled.
    pub settled: Millis,
    /// When the reply is no longer replayed.
    pub expires: Millis,
    /// When its tombstone ends and the row may go.
    pub gone: Millis,
}

/// A claim whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Whose late settle or release still counts; none once that attempt was released.
    pub lease: Option<Lease>,
    /// Run and the latest attempt.
    pub run: Run,
    /// When the doubtful lease is over: until then its Worker may still be at it.
    pub until: Millis,
    /// Spans for what follows.
    pub terms: Terms,
    /// When the doubt is closed.
    pub closes: Millis,
    /// When the closed record may go.
    pub gone: Millis,
    /// An earlier attempt of this run is in doubt too, so releasing the latest leaves the doubt.
    pub earlier: bool,
    /// The old reply that the run found, if any. Its body is still stored beside the record.
    pub base: Option<Completed>,
}

/// What a duplicate wants (Conductor's three strategies).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Wait for the running one, replay the stored reply.
    ReturnExisting,
    /// Refuse every duplicate.
    Fail,
    /// Refuse a duplicate only while one is running; run again once it has completed.
    FailOnRunning,
}

/// What happens to a record in doubt when a duplicate comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInDoubt {
    /// Nothing: the duplicate hears that the outcome is unknown.
    Hold,
    /// The duplicate is forwarded once the doubtful lease is over (idempotent origins only).
    Retry,
}

/// Whether the shard still holds a record of the same operation under another credential, be it only a
/// tombstone: running the operation for this one could be the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kindred {
    /// No, or the route does not care.
    None,
    /// Yes.
    Live,
}

/// A request to be the one that forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Random token; repeated with every repetition of the same claim.
    pub lease: Lease,
    /// Identity, if the claim makes a new record (`created` is set here).
    pub about: About,
    /// What the duplicate wants.
    pub strategy: Strategy,
    /// What the route says of doubts.
    pub on_in_doubt: OnInDoubt,
    /// Spans of the route.
    pub terms: Terms,
    /// How long the caller is willing to wait for a running claim.
    pub wait: Millis,
    /// The spelling in which the caller brought the key.
    pub form: Form,
}

/// What can happen to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Take the right to forward.
    Claim(Claim, Kindred),
    /// End a claim with the reply to keep.
    Settle(Lease, Reply),
    /// End a claim knowing, or told by policy, that running again is right.
    Release(Lease),
    /// Say that a claim's outcome cannot be known.
    Doubt(Lease),
    /// Read without claiming: what would a duplicate with this fingerprint hear?
    Look(Fingerprint),
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward: the lease is yours.
    Granted(Run),
    /// Wait until then for the running claim, then claim again.
    Join(Millis),
    /// A claim is running; come again after so many seconds.
    InFlight {
        /// The claim's age so far, at least 1 s, never past the lease's end.
        retry_after_s: u64,
    },
    /// Send the stored reply (its body is stored beside the record).
    Replay(Completed),
    /// The operation has been executed.
    AlreadyExecuted,
    /// The outcome is not known.
    InDoubt {
        /// The doubtful lease, for whoever resolves it.
        lease: Option<Lease>,
        /// For how long that lease has been over; none while it is not.
        over_for: Option<Millis>,
    },
    /// The reply is gone; the operation is not run again.
    Expired,
    /// The key was used for another request, which differs in this.
    KeyReused(Differs),
    /// The operation is recorded under another credential.
    CredentialChanged,
    /// The settle, release or doubt counts. After a settle: when the reply expires.
    Kept(Option<Millis>),
    /// The lease is not, or no longer, this record's: nothing was changed.
    Stale,
    /// There is no record (only to a look).
    Absent,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// This record in place of whatever is there, without a body.
    Insert(Record),
    /// This record; a stored body stays as it is.
    Update(Record),
    /// This record with the body that came with the event, in place of any other.
    Complete(Record),
    /// No record and no body any more.
    Delete,
}

/// The whole outcome of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to write.
    pub change: Change,
    /// What to answer.
    pub verdict: Verdict,
}

/// The one function that decides. Total: every record, every event, every time.
#[must_use]
pub fn step(stored: Option<Record>, event: Event, now: Millis) -> Step {
    let found = stored.and_then(|record| record.at(now));
    match event {
        Event::Claim(claim, kindred) => on_claim(found, &claim, kindred, now),
        Event::Settle(lease, reply) => on_settle(found, lease, reply, now),
        Event::Release(lease) => on_release(found, lease, now),
        Event::Doubt(lease) => on_doubt(found, lease),
        Event::Look(fingerprint) => keep(look(found, fingerprint, now)),
    }
}

impl Record {
    /// The record as it is at an instant, time having passed since it was written; `None` once it is
    /// gone. A lapsed lease reads as a doubt, a passed `ttl` as expired.
    #[must_use]
    pub fn at(self, now: Millis) -> Option<Self> {
        let state = match self.state {
            State::Running(running) if now < running.until => State::Running(running),
            State::Running(running) => doubt_at(running.into_doubt(), now)?,
            State::Completed(completed) | State::Expired(completed) => {
                completed_at(completed, now)?
            }
            State::InDoubt(doubt) | State::Closed(doubt) => doubt_at(doubt, now)?,
        };
        Some(Self { state, ..self })
    }

    /// When the row may be deleted if nothing else happens to it: what the sweep compares.
    #[must_use]
    pub fn gone(&self) -> Millis {
        match &self.state {
            State::Running(running) => running.gone(),
            State::Completed(completed) | State::Expired(completed) => completed.gone,
            State::InDoubt(doubt) | State::Closed(doubt) => doubt.gone,
        }
    }

    /// The reply whose body is stored beside the record, if there is one.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        let completed = match &self.state {
            State::Completed(completed) | State::Expired(completed) => Some(completed),
            State::Running(Running { before: Before::Replied(completed), .. }) => Some(completed),
            State::Running(Running { before: Before::Doubted(doubt), .. })
            | State::InDoubt(doubt)
            | State::Closed(doubt) => doubt.base.as_ref(),
            State::Running(Running { before: Before::Nothing, .. }) => None,
        };
        completed.map(|completed| &completed.reply)
    }

    /// Leaves the headers of its reply out, for whoever only looks.
    pub fn without_headers(&mut self) {
        if let State::Completed(completed) | State::Expired(completed) = &mut self.state {
            completed.reply.headers = Vec::new();
        }
    }

    /// When the sweep has something to do with the row, if nothing else happens to it: delete it, or,
    /// where a tombstone is due before that, take the reply out of it.
    #[must_use]
    pub fn due(&self) -> Due {
        match &self.state {
            State::Completed(completed) if completed.leaves_tombstone() => {
                Due::Tombstone(completed.expires)
            }
            _ => Due::Delete(self.gone()),
        }
    }

    /// What the sweep writes when a tombstone is due: key id and fingerprint stay, the reply goes.
    #[must_use]
    pub fn into_tombstone(self, now: Millis) -> Option<Self> {
        let Self { about, state } = self.at(now)?;
        let State::Expired(completed) = state else { return None };
        let reply = Reply { headers: Vec::new(), body: Kept::StatusOnly, ..completed.reply };
        Some(Self { about, state: State::Completed(Completed { reply, ..completed }) })
    }
}

/// What the sweep will do, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Delete the row.
    Delete(Millis),
    /// Take the reply out of it.
    Tombstone(Millis),
}

impl Completed {
    fn leaves_tombstone(&self) -> bool {
        let is_one = self.reply.headers.is_empty() && self.reply.body == Kept::StatusOnly;
        self.gone > self.expires && !is_one
    }
}

impl Running {
    /// The doubt that this claim becomes when its lease lapses or its Worker does not know.
    fn into_doubt(self) -> Doubt {
        let (earlier, base, at_least) = match self.before {
            Before::Nothing => (false, None, Millis(0)),
            Before::Replied(completed) => (false, Some(completed), Millis(0)),
            Before::Doubted(doubt) => (true, doubt.base, doubt.closes),
        };
        // Not shortened by a retry: an earlier doubt lasts at least its own `doubt_ttl`.
        let closes = self.until.plus(self.terms.doubt_ttl).max(at_least);
        Doubt {
            lease: Some(self.lease),
            run: self.run,
            until: self.until,
            terms: self.terms,
            closes,
            gone: closes.plus(self.terms.tombstone.max(CLOSED_KEPT)),
            earlier,
            base,
        }
    }

    fn gone(&self) -> Millis {
        self.clone().into_doubt().gone
    }
}

fn completed_at(completed: Completed, now: Millis) -> Option<State> {
    if now < completed.expires {
        return Some(State::Completed(completed));
    }
    (now < completed.gone).then_some(State::Expired(completed))
}

fn doubt_at(doubt: Doubt, now: Millis) -> Option<State> {
    if now < doubt.closes {
        return Some(State::InDoubt(doubt));
    }
    (now < doubt.gone).then_some(State::Closed(doubt))
}

fn on_claim(found: Option<Record>, claim: &Claim, kindred: Kindred, now: Millis) -> Step {
    let Some(record) = found else {
        return grant_anew(claim, kindred, now, Before::Nothing);
    };
    let same = record.about.fingerprint == claim.about.fingerprint;
    match record.state {
        // The same claim again: its first answer was lost.
        State::Running(running) if running.lease == claim.lease => {
            keep(Verdict::Granted(running.run))
        }
        _ if !same => {
            let differs = record.about.fingerprint.differs(&claim.about.fingerprint);
            keep(Verdict::KeyReused(differs))
        }
        // As none; a release puts the tombstone back.
        State::Expired(completed) if claim.strategy == Strategy::FailOnRunning => {
            grant_anew(claim, kindred, now, Before::Replied(completed))
        }
        // A late copy of a claim that has ended: its caller is served, or gone. Granting it again would
        // put a lease that nobody holds over a settled reply.
        State::Completed(completed) if completed.lease == claim.lease => {
            keep(Verdict::Replay(completed))
        }
        State::InDoubt(doubt) if doubt.lease == Some(claim.lease) => keep(in_doubt(&doubt, now)),
        State::Running(running) => keep(wait_or_refuse(&running, claim, now)),
        State::Completed(completed) => match claim.strategy {
            Strategy::ReturnExisting => keep(Verdict::Replay(completed)),
            Strategy::Fail => keep(Verdict::AlreadyExecuted),
            Strategy::FailOnRunning => {
                let run = Run { id: claim.lease, attempt: 1, form: claim.form };
                grant(record.about, claim, run, Before::Replied(completed), now)
            }
        },
        State::InDoubt(doubt) => match claim.on_in_doubt {
            // Two leases are never live at once: the doubtful Worker may still be reading.
            OnInDoubt::Retry if now >= doubt.until => {
                let run = Run { attempt: doubt.run.attempt.saturating_add(1), ..doubt.run };
                grant(record.about, claim, run, Before::Doubted(doubt), now)
            }
            OnInDoubt::Retry | OnInDoubt::Hold => keep(in_doubt(&doubt, now)),
        },
        State::Expired(_) | State::Closed(_) => keep(Verdict::Expired),
    }
}

fn wait_or_refuse(running: &Running, claim: &Claim, now: Millis) -> Verdict {
    match claim.strategy {
        Strategy::ReturnExisting if claim.wait > Millis(0) => {
            Verdict::Join(now.plus(claim.wait).min(running.until))
        }
        Strategy::ReturnExisting | Strategy::Fail | Strategy::FailOnRunning => {
            in_flight(running, now)
        }
    }
}

/// Coming again when the claim is twice as old halves the error each time (an exponential back-off
/// that needs no state); never past the lease's end, when the answer changes anyway.
fn in_flight(running: &Running, now: Millis) -> Verdict {
    let age_s = now.since(running.since).0.div_ceil(1000);
    let left_s = running.until.since(now).0 / 1000;
    Verdict::InFlight { retry_after_s: age_s.min(left_s).max(1) }
}

fn in_doubt(doubt: &Doubt, now: Millis) -> Verdict {
    let over_for = (now >= doubt.until).then(|| now.since(doubt.until));
    Verdict::InDoubt { lease: doubt.lease, over_for }
}

/// A first run: refused where the same operation is live under another credential.
fn grant_anew(claim: &Claim, kindred: Kindred, now: Millis, before: Before) -> Step {
    if kindred == Kindred::Live {
        return keep(Verdict::CredentialChanged);
    }
    let about = About { created: now, ..claim.about.clone() };
    let run = Run { id: claim.lease, attempt: 1, form: claim.form };
    grant(about, claim, run, before, now)
}

fn grant(about: About, claim: &Claim, run: Run, before: Before, now: Millis) -> Step {
    let fresh = before == Before::Nothing;
    let state = State::Running(Running {
        lease: claim.lease,
        run,
        since: now,
        until: now.plus(claim.terms.lease),
        terms: claim.terms,
        before,
    });
    let record = Record { about, state };
    let change = if fresh { Change::Insert(record) } else { Change::Update(record) };
    Step { change, verdict: Verdict::Granted(run) }
}

fn on_settle(found: Option<Record>, lease: Lease, reply: Reply, now: Millis) -> Step {
    let Some(Record { about, state }) = found else {
        return keep(Verdict::Stale);
    };
    let (run, ttl, tombstone) = match state {
        State::Running(running) if running.lease == lease => {
            (running.run, running.terms.ttl, running.terms.tombstone)
        }
        State::InDoubt(doubt) if doubt.lease == Some(lease) => {
            (doubt.run, doubt.terms.ttl, doubt.terms.tombstone)
        }
        // The same settle again: its first answer was lost.
        State::Completed(completed) if completed.lease == lease => {
            return keep(Verdict::Kept(Some(completed.expires)));
        }
        State::Running(_)
        | State::Completed(_)
        | State::InDoubt(_)
        | State::Expired(_)
        | State::Closed(_) => {
            return keep(Verdict::Stale);
        }
    };
    let expires = now.plus(ttl);
    let gone = expires.plus(tombstone);
    let completed = Completed { lease, run, reply, settled: now, expires, gone };
    let change = Change::Complete(Record { about, state: State::Completed(completed) });
    Step { change, verdict: Verdict::Kept(Some(expires)) }
}

fn on_release(found: Option<Record>, lease: Lease, now: Millis) -> Step {
    let Some(Record { about, state }) = found else {
        return keep(Verdict::Stale);
    };
    let before = match state {
        State::Running(running) if running.lease == lease => running.before,
        State::InDoubt(doubt) if doubt.lease == Some(lease) => doubt.released(now),
        State::Running(_)
        | State::Completed(_)
        | State::InDoubt(_)
        | State::Expired(_)
        | State::Closed(_) => {
            return keep(Verdict::Stale);
        }
    };
    let change = match before {
        Before::Nothing => Change::Delete,
        Before::Replied(completed) => {
            Change::Update(Record { about, state: State::Completed(completed) })
        }
        Before::Doubted(doubt) => Change::Update(Record { about, state: State::InDoubt(doubt) }),
    };
    Step { change, verdict: Verdict::Kept(None) }
}

impl Doubt {
    /// What is left when its latest attempt turns out not to have happened.
    fn released(self, now: Millis) -> Before {
        if self.earlier {
            // Nobody is at it any more: the leases of earlier attempts were over when this one began.
            return Before::Doubted(Self { lease: None, until: self.until.min(now), ..self });
        }
        self.base.map_or(Before::Nothing, Before::Replied)
    }
}

fn on_doubt(found: Option<Record>, lease: Lease) -> Step {
    match found {
        Some(Record { about, state: State::Running(running) }) if running.lease == lease => {
            let state = State::InDoubt(running.into_doubt());
            Step { change: Change::Update(Record { about, state }), verdict: Verdict::Kept(None) }
        }
        Some(Record { state: State::InDoubt(doubt), .. }) if doubt.lease == Some(lease) => {
            keep(Verdict::Kept(None))
        }
        Some(_) | None => keep(Verdict::Stale),
    }
}

fn look(found: Option<Record>, fingerprint: Fingerprint, now: Millis) -> Verdict {
    match found {
        None => Verdict::Absent,
        Some(record) if record.about.fingerprint != fingerprint => {
            Verdict::KeyReused(record.about.fingerprint.differs(&fingerprint))
        }
        Some(record) => match record.state {
            State::Running(running) => in_flight(&running, now),
            State::Completed(completed) => Verdict::Replay(completed),
            State::InDoubt(doubt) => in_doubt(&doubt, now),
            State::Expired(_) | State::Closed(_) => Verdict::Expired,
        },
    }
}

fn keep(verdict: Verdict) -> Step {
    Step { change: Change::Keep, verdict }
}

/// How long a closed doubt goes on to answer 410 at the least: 90 days. Nobody ever learnt whether the
/// origin executed it, so forgetting it early would be the one way in which a doubt runs again.
pub const CLOSED_KEPT: Millis = Millis(90 * 24 * 60 * 60 * 1000);
