//! The only part that knows Cloudflare.
//!
//! The platform calls `entry.js`, which calls [`worker`] (the fetch event) or [`ledger`] (the Durable Object).
//!
//! - A guarded request: [`worker`] reads its body ([`body_reader`], within the bounds of [`body_buffer`]) and runs
//!   [`crate::filter`] on it. [`world`] is what the filter needs of the outside, with [`guarded_call`]: [`ledger_stub`] calls a Ledger,
//!   [`origin`] the origin. [`response`] builds what the client gets, [`log`] the line that is written.
//! - What both sides use: [`tasks`] runs work and waits for promises, [`clock`] is the time, [`bindings`] and `host.js`
//!   are the calls of JavaScript, [`headers`] how headers cross over, [`error`] what goes wrong. [`body_stream`] and
//!   [`stepped_writer`] send bodies on while they are read. [`byte_budget`] bounds what a Ledger holds in memory.
//! - [`runner`] makes the call of a request whose client does not wait for it, in a Durable Object of its own.
//! - [`jobs`] makes requests itself, for schedules and for messages of queues.
//! - [`jwks`] verifies access tokens, where a route names a claim of them.
//! - [`operator`] is the API of operators, [`env`] reads the configuration, [`faults`] is for tests.

/// Up to so many bytes a body is not large: it is sent in one message, read in one call, and not counted in a Ledger's byte
/// budget. A thousand of them at once, each a copy, are 16 MB. It is a macro so that the SQL can have it too.
macro_rules! small {
    () => {
        16384
    };
}
const SMALL: u32 = small!();

mod bindings;
mod body_buffer;
mod body_reader;
mod body_stream;
mod byte_budget;
mod clock;
mod env;
mod error;
mod faults;
mod guarded_call;
mod headers;
mod job;
mod jobs;
mod jwks;
mod ledger;
mod ledger_stub;
mod log;
mod operator;
mod origin;
mod progress;
mod response;
mod runner;
mod stepped_writer;
mod tasks;
mod worker;
mod world;
