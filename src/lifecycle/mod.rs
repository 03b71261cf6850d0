//! The life of one key: what is recorded of it, every transition, and what an origin's answer means.

pub mod condition;
pub mod ended_leases;
pub mod event;
pub mod lease;
pub mod ledger;
pub mod outcome;
pub mod record;
pub mod redirect;
pub mod reply;
pub mod step;
