//! Every interleaving of a few requests with a few faults, held to the contract by a judge that looks
//! at the history alone.

mod answers;
mod events;
mod exploration;
mod explorer;
mod grants;
mod histories;
mod judge;
mod life;
mod mutants;
mod requests;
mod retries;
mod rules;
mod scenarios;
mod search_state;

pub(crate) use self::judge::Judge;
pub(crate) use self::rules::Violation;
