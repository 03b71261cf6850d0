//! Polls of status addresses. A poll changes nothing, so every address that was ever told is polled after every step:
//! no order of polls and events is left out.

use oncegate::lifecycle::event::{How, Replay, Verdict};
use oncegate::lifecycle::lease::StatusSecret;
use oncegate::lifecycle::record::Reason;
use oncegate::request::key::KeyId;

use super::judge::Judge;
use super::life::{Doubt, Ms, Phase, View};
use super::rules::{Rule, Violation, broken};
use crate::world::World;

impl Judge {
    /// Polls every address of a key, or of all.
    pub(crate) fn poll(&mut self, world: &World, of: Option<KeyId>) -> Result<(), Violation> {
        if self.addresses.is_empty() {
            return Ok(());
        }
        self.pass(world.now().0)?;
        let [first, last] = of.map_or([[0; 32], [0xff; 32]].map(KeyId), |key| [key; 2]);
        let of_key =
            self.addresses.range((first, [0; 32], [0; 16])..=(last, [0xff; 32], [0xff; 16]));
        for (key, print, secret) in of_key {
            let life = &self.lives[key];
            let told = world.status(*key, &StatusSecret(*secret));
            let has_it = life.print == *print && life.address(self.now) == Some(*secret);
            match told {
                None if has_it => return broken(Rule::StatusTold, "its address is forgotten"),
                None => {}
                Some(_) if !has_it => {
                    return broken(
                        Rule::StatusTold,
                        "an address that is forgotten tells something",
                    );
                }
                Some((found, ..)) if found != *key => {
                    return broken(Rule::NothingCrosses, "an address tells of another key");
                }
                Some((_, verdict, body)) => {
                    let phase = life.at(self.now);
                    if !is_true(&life.view(self.now), &phase, &verdict, &body, *secret, self.now) {
                        let why = format!("told {verdict:?}");
                        return broken(Rule::StatusTold, why);
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_true(
    view: &View,
    phase: &Phase,
    verdict: &Verdict,
    body: &[u8],
    secret: [u8; 16],
    now: Ms,
) -> bool {
    match (view, verdict) {
        (View::Running, Verdict::InFlight { retry_after_s, status }) => {
            let Phase::Running(hold) = phase else { return false };
            let at_most = ((hold.until - now) / 1000).max(1);
            status.map(|told| told.0) == Some(secret) && (1..=at_most).contains(retry_after_s)
        }
        (View::Stored(stored), Verdict::Replay(Replay { reply, expires, how })) => {
            *how == How::Replayed
                && (reply.status, body) == (stored.status, &stored.body)
                && expires.0 == stored.expires
        }
        (View::Released(released), Verdict::Replay(Replay { reply, expires, how })) => {
            *how == How::Released
                && released.told == Some((reply.status, body.to_owned()))
                && expires.0 == released.until
        }
        (View::Released(released), Verdict::Released) => released.told.is_none(),
        (View::StillRead, Verdict::StillRead { .. })
        | (View::Expired | View::Closed, Verdict::Expired) => true,
        (View::Doubt, Verdict::InDoubt { reason, .. }) => {
            matches!(phase, Phase::Doubt(doubt) if why(doubt) == *reason)
        }
        _ => false,
    }
}

fn why(doubt: &Doubt) -> Reason {
    doubt.said.unwrap_or(Reason::LeaseOver)
}
