//! What the judge remembers of a request and of a grant.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::CredentialChange;
use oncegate::request::key::KeyId;

use super::life::{Life, Ms, Token, View};
use crate::world::Story;

/// A request that has no answer yet.
#[derive(Clone)]
pub(crate) struct OpenRequest {
    pub(super) request: Sent,
    pub(super) sent: Ms,
    pub(super) delayed: Ms,
    pub(super) troubled: bool,
    /// How its key could be seen since the request was sent, each time with the fingerprint of the record.
    pub(super) views: Vec<([u8; 32], View)>,
    /// The same operation was live under another credential meanwhile.
    pub(super) other_credential: bool,
    /// The status addresses that its key had since then, under its fingerprint.
    pub(super) addresses: Vec<Token>,
    /// The lease that it was granted last.
    pub(super) lease: Option<Token>,
    /// Its Worker was told that the request was never handed over.
    pub(super) refused: bool,
}

/// A request that was sent.
#[derive(Clone)]
pub(crate) struct Sent(pub(super) Rc<GuardedRequest>);

impl Deref for Sent {
    type Target = GuardedRequest;
    fn deref(&self) -> &GuardedRequest {
        &self.0
    }
}

#[derive(Clone)]
pub(crate) struct Grant {
    pub(super) story: Story,
    pub(super) run: Token,
    pub(super) attempt: u32,
    pub(super) until: Ms,
    pub(super) troubles: u32,
    pub(super) executed: OriginAnswer,
    pub(super) released: bool,
}

/// The origin's answer to the request of a grant.
#[derive(Clone, Hash, PartialEq, Eq)]
pub(crate) enum OriginAnswer {
    NotYet,
    Answer(u16, Vec<u8>),
    /// It executed the request and gave no answer.
    Nothing,
}

impl Grant {
    pub(super) fn answer(&self) -> Option<(u16, &[u8])> {
        match &self.executed {
            OriginAnswer::Answer(status, body) => Some((*status, body)),
            OriginAnswer::NotYet | OriginAnswer::Nothing => None,
        }
    }
}

impl OpenRequest {
    /// Notes how its key can be seen now.
    pub(super) fn look(&mut self, lives: &BTreeMap<KeyId, Life>, now: Ms) {
        let key = self.request.key_id;
        let life = lives.get(&key);
        let view = life.map_or(View::Free, |life| life.view(now));
        let seen_print = life.map_or([0; 32], |life| life.print);
        let seen = (seen_print, view);
        if !self.views.contains(&seen) {
            self.views.push(seen);
        }
        let same_print = seen_print == self.request.claim.metadata.fingerprint.0;
        if let Some(address) = life.and_then(|life| life.address(now))
            && same_print
            && !self.addresses.contains(&address)
        {
            self.addresses.push(address);
        }
        self.other_credential |= other_credential(lives, &self.request, now);
    }
}

/// Whether the same operation is live under another credential.
pub(super) fn other_credential(
    lives: &BTreeMap<KeyId, Life>,
    request: &GuardedRequest,
    now: Ms,
) -> bool {
    let [mut first, mut last] = [request.key_id; 2];
    first.0[16..].fill(0);
    last.0[16..].fill(0xff);
    let live = |(key, life): (&KeyId, &Life)| {
        *key != request.key_id
            && life.operation == request.claim.metadata.operation.0
            && !life.view(now).is_free()
    };
    request.route.credential_change == CredentialChange::Refuse
        && lives.range(first..=last).any(live)
}
