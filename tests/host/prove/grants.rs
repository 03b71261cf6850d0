//! How the judge follows a claim: granted, executed, settled, released, swept.

use std::rc::Rc;

use oncegate::lifecycle::ended_leases::DELIVERY_MAX;
use oncegate::lifecycle::event::{OnInDoubt, Strategy, Verdict};
use oncegate::lifecycle::outcome::Failure;
use oncegate::lifecycle::record::{Execution, Lease, Reason};
use oncegate::request::key::KeyId;
use oncegate::time::millis;

use super::judge::Judge;
use super::life::{Hold, Life, Ms, Phase, Token, View};
use super::requests::{Grant, OpenRequest, OriginAnswer, other_credential};
use super::rules::{Rule, Violation, broken};
use crate::world::{OriginResponse, Story};

impl Judge {
    pub(super) fn granted(
        &mut self,
        story: Story,
        Lease(lease): Lease,
        run: Execution,
        address: Option<Token>,
    ) -> Result<(), Violation> {
        let now = self.now;
        let request = self.requests[&story].clone();
        if self.ended.get(&lease).is_some_and(|at| now - at <= millis(DELIVERY_MAX)) {
            return broken(Rule::EndedIsGone, format!("{story} is granted a lease that was ended"));
        }
        let same_print = |life: &Life| life.print == request.claim.metadata.fingerprint.0;
        let again = request.claim.strategy == Strategy::FailOnRunning;
        let mut hold = Hold::new(lease, now, &request.claim.durations);
        let life = self.lives.get(&request.key_id).cloned().unwrap_or_default();
        match life.at(now) {
            // The answer to its first call was lost.
            Phase::Running(hold) if hold.lease == lease => {
                return if address == life.secret {
                    Ok(())
                } else {
                    broken(
                        Rule::OneAddress,
                        format!("{story} is granted its claim again, elsewhere"),
                    )
                };
            }
            Phase::Free => {}
            found @ Phase::Stored(_) if again && same_print(&life) => hold.found = found,
            Phase::Doubt(doubt)
                if request.claim.on_in_doubt == OnInDoubt::Retry
                    && doubt.hold.until <= now
                    && now < doubt.closes
                    && same_print(&life) =>
            {
                hold.run = doubt.hold.run;
                hold.attempt = doubt.hold.attempt + 1;
                hold.found = Phase::Doubt(doubt);
            }
            found => {
                let why = format!("{story} is granted what is {}", word(&found));
                return broken(Rule::GrantedOnce, why);
            }
        }
        let fresh = matches!(hold.found, Phase::Free);
        if fresh && other_credential(&self.lives, &request, now) {
            let why = format!("{story} is granted what is live under another credential");
            return broken(Rule::NothingCrosses, why);
        }
        if (run.id.0, run.attempt) != (hold.run, hold.attempt) {
            let why = format!("attempt {} of its run, but {} is next", run.attempt, hold.attempt);
            return broken(Rule::GrantedOnce, why);
        }
        // A key keeps the address that it has, until it is forgotten; another request takes its own.
        let claimed = request.claim.metadata.status.map(|status| status.secret.0);
        let secret = life.address(now).filter(|_| same_print(&life)).or(claimed);
        if address != secret {
            return broken(Rule::OneAddress, format!("{story} is granted, with another address"));
        }
        let print = request.claim.metadata.fingerprint.0;
        self.addresses.extend(secret.map(|secret| (request.key_id, print, secret)));
        let (run, attempt, until) = (hold.run, hold.attempt, hold.until);
        let (executed, released, troubles) = (OriginAnswer::NotYet, false, self.troubles);
        let grant = Grant { story, run, attempt, until, troubles, executed, released };
        self.earlier.extend(self.grants.insert(lease, grant));
        if let Some(open) = self.open.get_mut(&story) {
            open.lease = Some(lease);
        }
        let life = self.lives.entry(request.key_id).or_default();
        life.print = request.claim.metadata.fingerprint.0;
        life.operation = request.claim.metadata.operation.0;
        life.phase = Phase::Running(Rc::new(hold));
        life.secret = secret;
        life.released = None;
        self.changed(request.key_id);
        Ok(())
    }

    /// The request that a story serves: its own, or that of a Runner's.
    pub(super) fn asked_by(&self, story: Story) -> Story {
        self.runners.get(&story).copied().unwrap_or(story)
    }

    /// A call of the origin begins.
    pub(super) fn begins(&self, story: Story, run: Execution) -> Result<(), Violation> {
        let asked_by = self.asked_by(story);
        let its = |grant: &&Grant| {
            grant.story == asked_by && (grant.run, grant.attempt) == (run.id.0, run.attempt)
        };
        match self.grants.values().chain(&self.earlier).filter(its).max_by_key(|grant| grant.until)
        {
            Some(grant) if grant.until <= self.now => {
                broken(Rule::BegunInTime, format!("{story} forwards under a lease that is over"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn executed(
        &mut self,
        story: Story,
        run: Execution,
        said: &Result<OriginResponse, Failure>,
    ) -> Result<(), Violation> {
        let asked_by = self.asked_by(story);
        let its = |grant: &&mut Grant| {
            grant.story == asked_by && (grant.run, grant.attempt) == (run.id.0, run.attempt)
        };
        let rule = Rule::ExecutedOncePerGrant;
        let Some(grant) = self
            .grants
            .values_mut()
            .chain(&mut self.earlier)
            .filter(its)
            .max_by_key(|grant| grant.until)
        else {
            return broken(rule, format!("{story} is executed without a grant"));
        };
        if grant.executed != OriginAnswer::NotYet {
            return broken(rule, format!("{story} is executed twice under one grant"));
        }
        if grant.released {
            return broken(rule, format!("{story} is executed under a lease that was released"));
        }
        grant.executed = match said {
            Ok(response) => OriginAnswer::Answer(response.facts.status, response.body.clone()),
            Err(_) => OriginAnswer::Nothing,
        };
        Ok(())
    }

    pub(super) fn settled(
        &mut self,
        story: Story,
        key: KeyId,
        lease: Token,
        (status, body): (u16, &[u8]),
        expires: Ms,
    ) -> Result<(), Violation> {
        let now = self.now;
        self.end(lease);
        let life = self.lives.entry(key).or_default();
        let Some(hold) = life.held(lease, now) else {
            return match life.at(now) {
                Phase::Stored(stored) if stored.lease == lease && stored.expires == expires => {
                    Ok(())
                }
                found => {
                    let why =
                        format!("{story} settles with a lease that is not it: {}", word(&found));
                    broken(Rule::HolderEnds, why)
                }
            };
        };
        let said = self.grants.get(&lease).and_then(Grant::answer);
        let probed = self.probed.get(&story).map_or(&[][..], Vec::as_slice);
        let is_said = said == Some((status, body))
            || probed.iter().any(|said| *said == (200, body.to_owned()) && status == 200);
        if !is_said {
            return broken(Rule::StoredAsSaid, "what is stored the origin has not said");
        }
        life.settle(&hold, status, body.to_owned(), now);
        if expires != now + hold.ttl {
            return broken(Rule::StoredAsSaid, "it is not kept for its ttl");
        }
        self.changed(key);
        Ok(())
    }

    pub(super) fn released(
        &mut self,
        story: Story,
        key: KeyId,
        lease: Token,
        told: Option<&(u16, Vec<u8>)>,
    ) -> Result<(), Violation> {
        let now = self.now;
        let life = self.lives.entry(key).or_default();
        let Some(hold) = life.held(lease, now) else {
            // The same release again.
            if self.grants.get(&lease).is_some_and(|grant| grant.released)
                && matches!(life.view(now), View::Released(_))
            {
                return Ok(());
            }
            let why =
                format!("{story} releases with a lease that is not its: {}", word(&life.at(now)));
            return broken(Rule::HolderEnds, why);
        };
        let probed = self.probed.get(&story).map_or(&[][..], Vec::as_slice);
        let probe_after = millis(self.requests[&story].route.probe_after);
        let found_nothing = probed.iter().any(|(status, _)| *status == 404);
        let by_probe = found_nothing && now >= hold.until + probe_after;
        let Some(grant) = self.grants.get_mut(&lease) else {
            return broken(Rule::HolderEnds, "a release of what was never granted");
        };
        let has_cause = match &grant.executed {
            OriginAnswer::NotYet => true,
            OriginAnswer::Answer(status, _) => Meaning::of(*status) == Meaning::Release,
            OriginAnswer::Nothing => false,
        };
        if !has_cause && !by_probe {
            let why = format!("{story} releases what the origin may have done");
            return broken(Rule::ReleasedForCause, why);
        }
        let answer = grant.answer().map(|(status, body)| (status, body.to_owned()));
        if told.is_some() && told != answer.as_ref() {
            return broken(Rule::StoredAsSaid, "what is told of it the origin has not said");
        }
        grant.released = true;
        life.release(told, now);
        self.changed(key);
        Ok(())
    }

    /// The origin broke off a body that was streamed.
    pub(super) fn broken_off(
        &mut self,
        key: KeyId,
        Lease(lease): Lease,
        verdict: &Verdict,
    ) -> Result<(), Violation> {
        let now = self.now;
        let life = self.lives.entry(key).or_default();
        let is_its = match life.at(now) {
            Phase::Stored(stored) => {
                stored.lease == lease && stored.body.is_empty() && now < stored.expires
            }
            _ => life.held(lease, now).is_some(),
        };
        match (is_its, verdict) {
            (false, Verdict::Stale) => return Ok(()),
            (true, Verdict::Kept(_)) => {}
            _ => return broken(Rule::HolderEnds, "a stream breaks off, and that is not kept"),
        }
        if let Phase::Stored(_) = life.at(now) {
            let Some(Grant { story, run, attempt, .. }) = self.grants.get(&lease) else {
                return broken(Rule::HolderEnds, "what was never granted breaks off");
            };
            let durations = &self.requests[story].claim.durations;
            let hold = Hold { run: *run, attempt: *attempt, ..Hold::new(lease, now, durations) };
            life.break_off(hold, now);
        } else {
            life.doubt(Reason::Truncated, now);
        }
        self.changed(key);
        Ok(())
    }

    /// A settle, release or doubt is refused.
    pub(super) fn refused(&self, key: KeyId, lease: Token) -> Result<(), Violation> {
        let held = self.lives.get(&key).and_then(|life| life.held(lease, self.now));
        match held {
            Some(_) => broken(Rule::HolderEnds, "the holder of the lease is refused"),
            None => Ok(()),
        }
    }

    pub(super) fn swept(&self, left: &[KeyId]) -> Result<(), Violation> {
        let is_over =
            |key: &&KeyId| self.lives.get(key).is_none_or(|life| life.view(self.now) == View::Free);
        match left.iter().find(is_over) {
            Some(_) => broken(Rule::NothingLeft, "a row is left after its end and a sweep"),
            None => Ok(()),
        }
    }

    pub(super) fn in_time(&self, story: Story, open: &OpenRequest) -> Result<(), Violation> {
        let took = (self.now - open.sent).saturating_sub(self.delayed - open.delayed);
        let route = &open.request.route;
        // Four times: three claims that wait and whose answers are lost, then a probe. Then the origin's time
        // and six tries to end the claim.
        let (wait, timeout) = (millis(route.wait), millis(route.timeout));
        let at_most = 4 * (3 * (wait + 5_000) + timeout) + timeout + 40_000;
        if took > at_most {
            return broken(Rule::Answered, format!("{story} is answered after {took} ms"));
        }
        Ok(())
    }
}

/// What an answer means by the standard table (contract 1.6).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Store,
    Release,
    InDoubt,
}

impl Meaning {
    pub(super) fn of(status: u16) -> Self {
        match status {
            402 => Self::Store,
            400..=499 | 511 | 521 | 523 | 525 | 526 | 530 => Self::Release,
            502 | 503 | 504 | 520 | 522 | 524 => Self::InDoubt,
            _ => Self::Store,
        }
    }
}

fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Free => "free",
        Phase::Running(_) => "running",
        Phase::Stored(_) => "stored",
        Phase::Doubt(_) => "in doubt",
    }
}
