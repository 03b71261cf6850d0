//! Requests that the filter makes itself: when a schedule fires ([`schedule`]), and for each message of a queue
//! ([`queue`]). Both go through the same filter as a client's request, with an Idempotency-Key that a template
//! makes ([`template`], [`request`]); [`answered`] says what follows from the answer.

pub mod answered;
pub mod cron;
pub mod queue;
pub mod request;
pub mod schedule;
pub mod template;
