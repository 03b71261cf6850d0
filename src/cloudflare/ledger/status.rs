//! What is known at a status address. Nothing is written, and nothing is counted.

use super::replies::Next;
use super::{Answer, Shard};
use crate::cloudflare::clock::now;
use crate::cloudflare::error::Error;
use crate::lifecycle::event::Verdict;
use crate::lifecycle::lease::StatusSecret;
use crate::lifecycle::step;
use crate::protocol::{KnownStatus, LedgerAnswer};
use crate::request::key::KeyId;

impl Shard {
    /// Of the key with this half and secret, in whichever scope.
    pub(super) async fn status(
        &self,
        key_id: KeyId,
        secret: &StatusSecret,
    ) -> Result<Answer, Error> {
        let absent = Ok((LedgerAnswer::Verdict(Verdict::Absent), None));
        let Some((key_id, row)) = self.store()?.find_status(key_id, secret)? else {
            return absent;
        };
        let now = now();
        let Some(record) = row.record.clone().at(now) else { return absent };
        let metadata = record.metadata.clone();
        let next = match step::status(record, now) {
            Verdict::Replay(replay) => self.replay(key_id, replay, &row, None)?,
            verdict => Next::Answer((LedgerAnswer::Verdict(verdict), None)),
        };
        let (answer, body) = match next {
            Next::Answer(answer) => answer,
            Next::Queue(reply) => self.queue(key_id, reply).await?,
            Next::Wait(..) => return absent,
        };
        let answer = match answer {
            LedgerAnswer::Verdict(verdict) => LedgerAnswer::Status(KnownStatus {
                route: metadata.route,
                correlation_id: metadata.correlation_id,
                credential: metadata.status.and_then(|status| status.credential),
                verdict,
            }),
            other => other,
        };
        Ok((answer, body))
    }
}
