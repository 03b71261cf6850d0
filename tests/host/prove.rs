//! Every interleaving of a few requests with a few faults, held to the contract by a judge that looks
//! at the history alone.

mod epilogue;
mod every;
mod explorer;
mod grants;
mod histories;
mod judge;
mod life;
mod open;
mod place;
mod planted;
mod rules;
mod scenarios;
mod truth;
mod written;

pub(crate) use self::judge::Judge;
pub(crate) use self::rules::Violation;
