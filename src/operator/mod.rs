//! What an operator may ask and decide (contract part 2), without the platform.
//!
//! ```text
//! request ─▶ auth (who asks?) ─▶ api (what is asked?) ─▶ query ─▶ every Ledger it concerns
//!                                                            │
//!            page (HTML) or documents (JSON) ◀── result ◀────────┘
//! ```
//!
//! Reads never change a record. What changes one is a [`decide::Decision`], and every decision leaves
//! an [`search::AuditEntry`] row.

pub mod answer;
pub mod api;
pub mod auth;
pub mod decide;
pub mod documents;
pub mod page;
pub mod search;
pub mod statistics;
