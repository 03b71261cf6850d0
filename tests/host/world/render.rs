//! Answers and records in a few words, so that a test reads like an operator's log.

use oncegate::lifecycle::record::State;
use oncegate::request::key::KeyId;

use super::history::answer_words;
use super::{Story, World};

impl World {
    /// `201 executed "paid 1"`, `409 in-flight, again in 3 s`; `no answer` while there is none.
    pub(crate) fn said(&self, story: Story) -> String {
        self.answer(story).map_or("no answer".to_owned(), answer_words)
    }

    /// How everything ended: the answers, in no particular order, and how often the origin executed.
    pub(crate) fn ending(&self) -> String {
        let mut said: Vec<_> = (0..self.workers.len()).map(|at| self.said(Story(at))).collect();
        said.sort();
        format!("{}; executed {} times", said.join("; "), self.executed.len())
    }

    /// `nothing`, `running`, `completed`, `expired`, `in doubt`, `closed`, `released`.
    pub(crate) fn record(&self, key: KeyId) -> &'static str {
        let now = self.now();
        match self.ledger.record(key, now).map(|record| record.state) {
            None => "nothing",
            Some(State::Running(_)) => "running",
            Some(State::Completed(_)) => "completed",
            Some(State::Expired(_)) => "expired",
            Some(State::InDoubt(_)) => "in doubt",
            Some(State::Closed(_)) => "closed",
            Some(State::Released(_)) => "released",
        }
    }
}
