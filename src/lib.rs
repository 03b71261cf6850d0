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
//! Reading order: [`filter`] is the story of one request, [`lifecycle::step`] that of one key,
//! [`lifecycle::outcome`] what an origin's answer means. [`admission`] says what is guarded, [`request`] what
//! makes two requests the same; [`config`] holds every knob. [`protocol`] is the conversation of Worker and
//! Ledger, [`encoding`] its bytes and those of rows; [`operator`] what operators see and decide, [`mod@log`] what the log says. All of
//! that is pure: no clock, no I/O, no Cloudflare type. Only `cloudflare` knows the platform.

pub mod admission;
pub mod answer;
#[cfg(feature = "check")]
pub mod check;
pub mod config;
pub mod cors;
pub mod encoding;
pub mod filter;
pub mod forward;
pub mod job;
pub mod lifecycle;
pub mod log;
pub mod operator;
pub mod problem;
pub mod protocol;
pub mod request;
pub mod shadow;
pub mod time;

#[cfg(feature = "cloudflare")]
mod cloudflare;
