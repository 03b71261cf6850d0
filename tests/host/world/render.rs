//! Answers and records in a few words, so that a test reads like the log of an operator.

use oncegate::answer::{Answer, Status};
use oncegate::key::KeyId;
use oncegate::record::State;

use super::{Story, World};

impl World {
    /// `201 executed "paid 1"`, `409 in-flight, again in 3 s`; `no answer` while there is none.
    pub(crate) fn said(&self, story: Story) -> String {
        match self.answer(story) {
            None => "no answer".to_owned(),
            Some(Answer::Heard(heard, status, _)) => told(heard.facts.status, *status, &heard.body),
            Some(Answer::Stored(replay)) => {
                told(replay.reply.status, replay.how.into(), &replay.body)
            }
            Some(Answer::Problem(problem, _)) => {
                let again = problem.retry_after_s;
                let again = again.map_or(String::new(), |s| format!(", again in {s} s"));
                format!("{} {}{again}", problem.status, problem.code.as_str())
            }
        }
    }

    /// `nothing`, `running`, `completed`, `expired`, `in doubt`, `closed`.
    pub(crate) fn record(&self, key: KeyId) -> &'static str {
        let now = self.now();
        match self.ledger(|ledger| ledger.record(key, now)).map(|record| record.state) {
            None => "nothing",
            Some(State::Running(_)) => "running",
            Some(State::Completed(_)) => "completed",
            Some(State::Expired(_)) => "expired",
            Some(State::InDoubt(_)) => "in doubt",
            Some(State::Closed(_)) => "closed",
        }
    }
}

fn told(status: u16, what: Status, body: &[u8]) -> String {
    format!("{status} {} {:?}", what.as_str(), String::from_utf8_lossy(body))
}
