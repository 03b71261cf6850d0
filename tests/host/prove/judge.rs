//! Reads a history, event by event, and says which promise of the contract it breaks, if any.
//!
//! The judge sees no record and no future of the product: only what was sent, asked, executed and answered, and
//! when.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::ended_leases::DELIVERY_MAX;
use oncegate::lifecycle::event::Verdict;
use oncegate::lifecycle::record::Reason;
use oncegate::protocol::LedgerAnswer;
use oncegate::request::key::KeyId;
use oncegate::time::{Timestamp, millis};

use super::answers;
use super::life::{Life, Ms, Phase, Token, View};
use super::requests::{Grant, OpenRequest, Sent};
use super::rules::{Rule, Violation, broken};
use crate::world::{Cause, Event, Kind, Story};

#[derive(Clone, Default)]
pub(crate) struct Judge {
    pub(super) now: Ms,
    pub(super) lives: BTreeMap<KeyId, Life>,
    /// All requests, answered or not. What a Runner does is done for the request that was handed over to it.
    pub(super) requests: BTreeMap<Story, Sent>,
    pub(super) open: BTreeMap<Story, OpenRequest>,
    pub(super) grants: BTreeMap<Token, Grant>,
    /// Grants of leases that were granted for another attempt since: a Ledger that has lost its memory does that.
    pub(super) earlier: Vec<Grant>,
    /// Leases that were settled or released, for as long as the Ledger has to remember them.
    pub(super) ended: BTreeMap<Token, Ms>,
    /// The requests that wait in the Ledger.
    waiting: BTreeSet<Story>,
    /// Which request each Runner runs.
    pub(super) runners: BTreeMap<Story, Story>,
    /// The status addresses that were ever told, each with its key and fingerprint.
    pub(super) addresses: BTreeSet<(KeyId, [u8; 32], Token)>,
    /// What the probes of each request were answered.
    pub(super) probed: BTreeMap<Story, Vec<(u16, Vec<u8>)>>,
    /// Faults so far.
    pub(super) troubles: u32,
    /// Time that passed although something else could have happened.
    pub(super) delayed: Ms,
}

impl Judge {
    /// Judges the next event.
    pub(crate) fn hear(&mut self, at: Timestamp, event: &Event) -> Result<(), Violation> {
        self.pass(at.0)?;
        match event {
            Event::Sent { story, request } => self.sent(*story, request),
            Event::Asked { story, asked, answer, absent } => {
                if let Some(LedgerAnswer::Verdict(verdict)) = answer {
                    self.asked(*story, asked, verdict)?;
                }
                if *absent {
                    self.trouble();
                } else if answer.is_none() {
                    self.waits(*story)?;
                }
            }
            Event::Woken { answer: LedgerAnswer::Verdict(Verdict::Granted(..)), story } => {
                return broken(
                    Rule::WakesGrantNothing,
                    format!("a wake granted a lease to {story}"),
                );
            }
            Event::TakenOver { story, from } => {
                self.requests.insert(*story, self.requests[from].clone());
                self.runners.insert(*story, *from);
            }
            Event::Calls { story, kind } => {
                if let Kind::Forward(run) = &**kind {
                    return self.begins(*story, *run);
                }
            }
            Event::Executed { story, run, said } => return self.executed(*story, *run, said),
            Event::Probed { story, said } => {
                if let Ok(response) = said {
                    let said = (response.facts.status, response.body.clone());
                    self.probed.entry(*story).or_default().push(said);
                }
            }
            Event::Failed { story, why: Cause::NeverSent, .. } => {
                let asked_by = self.asked_by(*story);
                if let Some(open) = self.open.get_mut(&asked_by) {
                    open.refused = true;
                }
            }
            Event::Failed {
                story, why: Cause::Lost | Cause::Overloaded | Cause::Refused, ..
            } => {
                self.waiting.remove(story);
                self.trouble();
            }
            Event::Crashed { story } => {
                self.waiting.remove(story);
                self.open.remove(story);
                self.trouble();
            }
            Event::Left { story } => {
                self.open.remove(story);
            }
            Event::Reset => {
                self.ended.clear();
                self.waiting.clear();
                self.trouble();
            }
            Event::Delayed { from } => {
                self.delayed += millis(at.since(*from));
                self.trouble();
            }
            Event::Swept { left } => return self.swept(left),
            Event::Answered { story, answer } => {
                let Some(open) = self.open.remove(story) else { return Ok(()) };
                let grant = open.lease.and_then(|lease| self.grants.get(&lease));
                let troubled = open.troubled || grant.is_some_and(|g| g.troubles < self.troubles);
                answers::check(answer, &open, grant, &self.lives, troubled, self.now)?;
                return self.in_time(*story, &open);
            }
            Event::Quiet => {
                if let Some(story) = self.open.keys().next() {
                    return broken(Rule::Answered, format!("{story} is never answered"));
                }
            }
            Event::Woken { story, .. } => {
                self.waiting.remove(story);
            }
            Event::Hears { .. } => {}
        }
        Ok(())
    }

    /// Time passes. Each state that a record goes through by itself meanwhile could have been answered.
    pub(super) fn pass(&mut self, to: Ms) -> Result<(), Violation> {
        if self.now < to {
            self.all_are_woken()?;
        }
        while self.now < to {
            let keys = self.open.values().map(|open| open.request.key_id);
            let marks = keys.filter_map(|key| self.lives.get(&key)?.next(self.now));
            self.now = marks.min().map_or(to, |mark| mark.min(to));
            let Self { open, lives, now, .. } = self;
            for open in open.values_mut() {
                open.look(lives, *now);
            }
        }
        Ok(())
    }

    /// Whoever waits for a claim is woken as soon as the claim ends.
    fn all_are_woken(&self) -> Result<(), Violation> {
        let ended = |story: &&Story| {
            let life = self.lives.get(&self.requests[story].key_id);
            !life.is_some_and(Life::is_waited_for)
        };
        match self.waiting.iter().find(ended) {
            Some(story) => broken(Rule::Waits, format!("{story} waits on, and for nothing")),
            None => Ok(()),
        }
    }

    /// A caller begins to wait, which only a live lease is good for.
    fn waits(&mut self, story: Story) -> Result<(), Violation> {
        self.waiting.insert(story);
        let life = self.lives.get(&self.requests[&story].key_id);
        match life.map_or(View::Free, |life| life.view(self.now)) {
            View::Doubt | View::Closed => {
                broken(Rule::Waits, format!("{story} begins to wait, and for nothing"))
            }
            _ => Ok(()),
        }
    }

    fn trouble(&mut self) {
        self.troubles += 1;
        for open in self.open.values_mut() {
            open.troubled = true;
        }
    }

    fn sent(&mut self, story: Story, request: &Rc<GuardedRequest>) {
        let mut open = OpenRequest {
            request: Sent(Rc::clone(request)),
            sent: self.now,
            delayed: self.delayed,
            troubled: false,
            views: Vec::new(),
            other_credential: false,
            addresses: Vec::new(),
            lease: None,
            refused: false,
        };
        open.look(&self.lives, self.now);
        self.requests.insert(story, open.request.clone());
        self.open.insert(story, open);
    }

    pub(super) fn end(&mut self, lease: Token) {
        let now = self.now;
        self.ended.retain(|_, at| now - *at <= millis(DELIVERY_MAX));
        self.ended.insert(lease, now);
    }

    /// The record of a key has changed: every open request under it may be answered so.
    pub(super) fn changed(&mut self, key: KeyId) {
        let Self { open, lives, now, .. } = self;
        let same_key = |open: &&mut OpenRequest| open.request.key_id.key_half() == key.key_half();
        for open in open.values_mut().filter(same_key) {
            open.look(lives, *now);
        }
    }

    fn asked(&mut self, story: Story, asked: &Kind, verdict: &Verdict) -> Result<(), Violation> {
        let now = self.now;
        let Some(key) = self.requests.get(&story).map(|request| request.key_id) else {
            return Ok(());
        };
        let life = self.lives.entry(key).or_default();
        match (asked, verdict) {
            (Kind::Claim { lease, .. }, Verdict::Granted(run, address)) => {
                return self.granted(story, *lease, *run, address.map(|secret| secret.0));
            }
            (Kind::Claim { .. } | Kind::Look, Verdict::InFlight { retry_after_s, status }) => {
                if status.map(|secret| secret.0) != life.address(now) {
                    return broken(Rule::OneAddress, "told in flight, with another address");
                }
                let Phase::Running(hold) = life.at(now) else {
                    return broken(Rule::TrueAnswer, "told in flight, but nothing is");
                };
                let at_most = ((hold.until - now) / 1000).max(1);
                if *retry_after_s < 1 || *retry_after_s > at_most {
                    let why = format!("Retry-After {retry_after_s}, but 1 to {at_most} is true");
                    return broken(Rule::RetryAfter, why);
                }
            }
            (Kind::Claim { .. } | Kind::Look, Verdict::StillRead { retry_after_s }) => {
                let Phase::Doubt(doubt) = life.at(now) else {
                    return broken(Rule::TrueAnswer, "told in doubt, but nothing is");
                };
                let left = doubt.hold.until.saturating_sub(now).div_ceil(1000);
                if *retry_after_s != left || left == 0 {
                    let why = format!("Retry-After {retry_after_s}, but {left} is true");
                    return broken(Rule::RetryAfter, why);
                }
            }
            (Kind::Claim { .. }, Verdict::InDoubt { reason, .. }) => {
                if let Phase::Doubt(doubt) = life.at(now)
                    && doubt.said.unwrap_or(Reason::LeaseOver) != *reason
                {
                    return broken(Rule::TrueAnswer, format!("{reason} is not why"));
                }
                if let Phase::Doubt(doubt) = life.at(now)
                    && doubt.said.is_none()
                    && self.grants[&doubt.hold.lease].troubles == self.troubles
                {
                    return broken(Rule::DoubtedForCause, "nothing failed since its grant");
                }
            }
            (Kind::Settle { lease, status, body }, Verdict::Kept(Some(expires))) => {
                return self.settled(story, key, lease.0, (*status, body), expires.0);
            }
            (Kind::Release(lease, told), verdict @ (Verdict::Kept(_) | Verdict::Stale)) => {
                self.end(lease.0);
                return if *verdict == Verdict::Stale {
                    self.refused(key, lease.0)
                } else {
                    self.released(story, key, lease.0, told.as_ref())
                };
            }
            (Kind::BreakOff(lease), verdict) => return self.broken_off(key, *lease, verdict),
            (Kind::Doubt(lease, reason), Verdict::Kept(_)) => {
                if life.held(lease.0, now).is_none() {
                    return broken(Rule::HolderEnds, "a doubt counts under another's lease");
                }
                life.doubt(*reason, now);
                self.changed(key);
            }
            (Kind::Settle { lease, .. } | Kind::Doubt(lease, _), Verdict::Stale) => {
                return self.refused(key, lease.0);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Hash for Judge {
    /// Hashes everything that a later judgement depends on, and no more. The requests are told by their numbers.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.lives.hash(hasher);
        (&self.probed, &self.waiting, &self.addresses).hash(hasher);
        for (story, open) in &self.open {
            (story, open.sent, self.delayed - open.delayed, open.troubled).hash(hasher);
            (open.other_credential, open.lease, open.refused, &open.addresses).hash(hasher);
            // A set, whose order is that of the views' own digests.
            let digest = |view: &([u8; 32], View)| {
                let mut hasher = DefaultHasher::new();
                view.hash(&mut hasher);
                hasher.finish()
            };
            let mut views: Vec<_> = open.views.iter().map(digest).collect();
            views.sort_unstable();
            views.hash(hasher);
        }
        let earlier = self.earlier.iter().map(|grant| (&[0; 16], grant));
        for (lease, grant) in self.grants.iter().chain(earlier) {
            let Grant { story, run, attempt, until, troubles, executed, released } = grant;
            (lease, story, run, attempt, until, executed, released).hash(hasher);
            (*troubles == self.troubles).hash(hasher);
        }
        let late = self.ended.iter().filter(|(_, at)| self.now - **at <= millis(DELIVERY_MAX));
        late.for_each(|back| back.hash(hasher));
    }
}
