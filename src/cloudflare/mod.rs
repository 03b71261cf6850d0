//! The only place that knows Cloudflare.
//!
//! `entry.js` is what the platform calls, `host.js` what is called of it in one go; [`task`] runs the
//! futures of requests, each alone. [`worker`] is the fetch event, [`respond`] builds its responses;
//! [`exchange`] is the world of one guarded request ([`crate::filter::World`]), [`origin`] calls the origin
//! and reads its answer, [`body`] buffers bodies within the instance's limit. [`ledger`] is the Durable
//! Object, [`store`] its rows, [`parked`] those who wait in it, [`places`] bounds what it holds,
//! [`outgoing`] is how large replies leave it. [`operator`] lets operators in and asks the Ledgers for
//! them; [`journal`] writes down what became of each request; [`vars`] reads the configuration; [`js`] are
//! the JavaScript calls, all of which may throw and say so; [`faults`] lets the tests see what a fault
//! leaves behind.

mod bindings;
mod body_buffer;
mod body_reader;
mod body_stream;
mod byte_budget;
mod clock;
mod env;
mod error;
mod faults;
mod headers;
mod ledger;
mod ledger_stub;
mod log;
mod operator;
mod origin;
mod response;
mod stepped_writer;
mod tasks;
mod worker;
mod world;

/// Bodies up to this take no room of the Ledger's: a thousand of them at once, each a copy, are 16 MB.
/// (`host.js` has it too, and `store` in its SQL.)
const SMALL: u32 = 16 * 1024;
