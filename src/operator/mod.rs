//! What operators may ask and decide, without the platform.
//!
//! ```text
//! request ──▶ auth ──▶ api ──▶ queries ──▶ every Ledger that they concern
//!                                               │
//! page (HTML) or document (JSON) ◀── results ◀──┘
//! ```
//!
//! Reading never changes a record. Only a [`decide::Decision`] does, and each leaves an
//! [`search::AuditEntry`].

pub mod answer;
pub mod api;
pub mod auth;
pub mod decide;
pub mod documents;
pub mod page;
pub mod query;
pub mod run;
pub mod schedules;
pub mod search;
pub mod statistics;
pub mod stored_reply;
