//! The only place that knows Cloudflare.
//!
//! [`worker`] is the fetch event, [`respond`] builds its responses; [`exchange`] is the world of one guarded request
//! ([`crate::filter::World`]); [`origin`] calls the origin and reads its answer; [`body`] buffers bodies
//! within the instance's limit; [`ledger`] is the Durable Object, [`store`] its rows, [`parked`] those
//! who wait in it, [`places`] bounds what it holds, [`outgoing`] is how large replies leave it; [`operator`] lets
//! operators in and asks the Ledgers for them; [`vars`] reads the configuration; [`js`] are the JavaScript calls, all of which may throw and say so; [`alone`] keeps what goes wrong in one request from the others, and [`faults`] lets the tests see it;
//! [`journal`] writes down what became of each request.

mod alone;
mod body;
mod exchange;
mod faults;
mod journal;
mod js;
mod ledger;
mod operator;
mod origin;
mod outgoing;
mod parked;
mod places;
mod respond;
mod store;
mod vars;
mod worker;
