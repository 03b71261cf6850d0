//! Host tests: the core without Cloudflare, in seconds: `cargo test --no-default-features`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics fails, and that is its job"
)]
#![allow(clippy::too_many_lines, reason = "a table is as long as it has rows")]

// What tests are made of.
mod arbitrary; // any value of the core's types
mod make; // one value of each, built in one place
mod world; // requests, a Ledger and an origin that move when they are told to

// One module per subject.
mod admission; // what is guarded, by which key
mod bearer; // what an access token proves
mod corpus; // whatever the fuzzer found
mod cors; // what a page may read
mod decision; // what a Ledger does with an event
mod digest; // digests, scope, fingerprint: what is the same request, and whose
mod encoding; // messages and rows
mod filter; // the story of one request
mod forward; // headers on their way to the origin
mod golden; // their bytes
mod job; // schedules and queues
mod key; // header, key, key id, shard
mod life; // the life of one key
mod log;
mod loops; // what the log says of a request
mod operator; // the operators' part
mod outcome; // what the origin said
mod page; // what an operator sees
mod policy; // knobs, vars, matching
mod problem; // refusals, and the headers of answers
mod prove; // every interleaving, and a judge
mod released; // claims that come too late
mod repeatability; // the dialect of OASIS Repeatable Requests
mod reply; // what is kept
mod simulate; // hours of faults from a seed
mod source; // where keys are taken from; JSON bodies
mod status; // answers before a call is done
mod target; // paths and addresses
mod time; // instants and spans as text
