//! What an operator may ask and decide (contract part 2), without the platform.
//!
//! ```text
//! request ─▶ door (who asks?) ─▶ desk (what is asked?) ─▶ inquiry ─▶ every Ledger it concerns
//!                                                            │
//!            page (HTML) or view (JSON) ◀── finding ◀────────┘
//! ```
//!
//! Reads never change a record. What changes one is a [`decide::Decision`], and every decision leaves
//! an [`inquiry::Audited`] row.

pub mod answer;
pub mod decide;
pub mod desk;
pub mod door;
pub mod inquiry;
pub mod page;
pub mod refusal;
pub mod tally;
pub mod view;
