//! Oncegate: an idempotency filter at the edge. A retried request is executed once and answered from
//! the record.
//!
//! ```text
//! client ─▶ Worker ──claim──▶ Ledger (a Durable Object per shard: arbitrates, stores, never calls out)
//!              │ granted
//!              ├──forward──▶ origin
//!              └──settle───▶ Ledger      then the client is answered; every retry is replayed
//! ```
//!
//! Reading order: [`filter`] is the story of one request, [`life`] that of one key, [`outcome`]
//! what an origin's answer means. [`admission`] says what is guarded, [`key`], [`scope`] and
//! [`fingerprint`] what makes two requests the same; [`policy`] holds every knob. [`ask`] is the
//! conversation of Worker and Ledger, [`wire`] its bytes; [`operator`] what operators see and decide,
//! [`journal`] what the log says. All of that is pure: no clock, no I/O, no
//! Cloudflare type. Only `edge` knows the platform.

// Of the pages: a macro goes through their elements one by one.
#![recursion_limit = "512"]

pub mod admission;
pub mod answer;
pub mod ask;
pub mod digest;
pub mod filter;
pub mod fingerprint;
pub mod item;
pub mod journal;
pub mod json;
pub mod key;
pub mod knob;
pub mod life;
pub mod operator;
pub mod outcome;
pub mod pattern;
pub mod policy;
pub mod problem;
pub mod publish;
pub mod query;
pub mod record;
pub mod released;
pub mod reply;
pub mod route;
pub mod routes;
pub mod scope;
pub mod shadow;
pub mod source;
pub mod target;
pub mod time;
pub mod wire;

#[cfg(feature = "edge")]
mod edge;
