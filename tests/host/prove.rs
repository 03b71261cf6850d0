//! Explores every interleaving of a few requests with a few faults. A judge that sees nothing but the history
//! holds each to the contract.

mod answers;
mod events;
mod exploration;
mod explorer;
mod grants;
mod histories;
mod judge;
mod life;
mod mutants;
mod polls;
mod requests;
mod retries;
mod rules;
mod runners;
mod scenarios;
mod search_state;

pub(crate) use self::judge::Judge;
pub(crate) use self::rules::Violation;
