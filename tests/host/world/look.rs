//! What a test can see of a world.

use std::hash::{DefaultHasher, Hash, Hasher};

use oncegate::lifecycle::event::{Event, Verdict};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::Record;
use oncegate::protocol::Question;
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;

use super::calls::Calling;
use super::ledger::Ledger;
use super::messages;
use super::story::{Role, Target};
use super::{Answer, Call, Executed, Story, World};

impl World {
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn executed(&self) -> Vec<Executed> {
        self.executed.clone()
    }

    pub(crate) fn answer(&self, Story(at): Story) -> Option<&Answer> {
        self.workers[at].answer.as_deref()
    }

    pub(crate) fn is_over(&self, Story(at): Story) -> bool {
        self.workers[at].over
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.clone()
    }

    /// Hands the Ledger to a test, to look into it or to break it.
    pub(crate) fn ledger<T>(&mut self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.ledger)
    }

    /// How many answers are left in the script of the origin, and in that of its probes.
    pub(crate) fn scripted(&self) -> [usize; 2] {
        [self.script.len(), self.probes.len()]
    }

    /// Every record as it is stored.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.ledger.records()
    }

    /// Whether the alarm has something to do.
    pub(crate) fn is_due(&self) -> bool {
        self.ledger.is_due(self.now)
    }

    /// Whether a restart of the Ledger would make it forget anything.
    pub(crate) fn remembers(&self) -> bool {
        self.ledger.remembers(self.now)
    }

    /// Whether a call hands a lease over to a Runner.
    pub(crate) fn hands_over(&self, call: Call) -> bool {
        let is = |calling: &Calling| matches!(calling.what, Target::Runner(..));
        self.calls.iter().any(|calling| calling.id == call && is(calling))
    }

    /// The call of a Runner that a request is waiting for.
    pub(crate) fn handing_over(&self, story: Story) -> Call {
        let runner = |what: &Target| matches!(what, Target::Runner(..));
        self.under_way(story, runner).expect("it hands nothing over").id
    }

    pub(crate) fn is_handing_over(&self, story: Story) -> bool {
        self.under_way(story, |what| matches!(what, Target::Runner(..))).is_some()
    }

    /// What is told at the status address with this secret, with the key id that it was found under.
    pub(crate) fn status(
        &self,
        key: KeyId,
        secret: &StatusSecret,
    ) -> Option<(KeyId, Verdict, Vec<u8>)> {
        self.ledger.status(key, secret, self.now)
    }

    /// Whether the answer to a call is wanted.
    pub(crate) fn waits(&self, call: Call) -> bool {
        self.calls.iter().any(|calling| calling.id == call && calling.wanted)
    }

    fn under_way(&self, story: Story, is: fn(&Target) -> bool) -> Option<&Calling> {
        let mut calls = self.calls.iter().rev();
        calls.find(|calling| calling.id.story == story && calling.wanted && is(&calling.what))
    }

    /// The call of the Ledger that a request is waiting for.
    pub(crate) fn asking(&self, story: Story) -> Call {
        self.under_way(story, |what| matches!(what, Target::Ledger(_))).expect("it asks nothing").id
    }

    /// The call of the origin that a request is waiting for.
    pub(crate) fn forwarding(&self, story: Story) -> Call {
        let forward = |what: &Target| matches!(what, Target::Forward(..));
        self.under_way(story, forward).expect("it is not at the origin").id
    }

    pub(crate) fn is_asking(&self, story: Story) -> bool {
        self.under_way(story, |what| matches!(what, Target::Ledger(_))).is_some()
    }

    pub(crate) fn is_forwarding(&self, story: Story) -> bool {
        self.under_way(story, |what| matches!(what, Target::Forward(..))).is_some()
    }

    /// The event that a request is running the Ledger of.
    pub(crate) fn event(&self, story: Story) -> Event {
        let is = |what: &Target| matches!(what, Target::Ledger(_));
        let Some(Calling { what: Target::Ledger(question), .. }) = self.under_way(story, is) else {
            panic!("it asks nothing")
        };
        match messages::request(question).0.question {
            Question::Event(event) => event,
            other => panic!("{other:?} is no event"),
        }
    }

    /// A digest of everything that a request depends on which comes when nothing is under way.
    pub(crate) fn ledger_digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.now.0, self.script.len(), self.probes.len(), self.executed.len()).hash(&mut hasher);
        self.ledger.digest(self.now, &mut hasher);
        hasher.finish()
    }

    /// A digest of everything that the next events depend on.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.ledger_digest().hash(&mut hasher);
        for worker in &self.workers {
            (worker.over, worker.news.digest(), worker.arrival.at.0).hash(&mut hasher);
            if let Role::Runner { from, run, sent } = worker.arrival.role {
                let lease = worker.arrival.request.claim.lease;
                (from, lease.0, run.id.0, run.attempt, sent.0).hash(&mut hasher);
            }
        }
        // A waiter whose answer is not wanted changes nothing when it is woken.
        let response =
            |calling: &&Calling| calling.wanted || !calling.is_waiting() || self.mutant.is_some();
        let mut calls: Vec<_> = self.calls.iter().filter(response).collect();
        calls.sort_by_key(|calling| (calling.id.story, calling.id.number, calling.wanted));
        calls.hash(&mut hasher);
        hasher.finish()
    }
}
