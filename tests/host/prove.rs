//! Every interleaving of a few requests with a few faults, held to the contract by a judge that looks
//! at the history alone.

mod every;
mod explorer;
mod grants;
mod histories;
mod judge;
mod life;
mod planted;
mod scenarios;
mod truth;

pub(crate) use self::judge::{Judge, Violation};
