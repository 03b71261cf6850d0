//! The decisions that were made.

use crate::operator::page::html::html;
use crate::operator::page::time::at_and_ago;
use crate::operator::page::{Frame, NavItem, address, explain, session_page};
use crate::operator::search::{AuditEntry, StateKind};
use crate::request::digest::hex;
use crate::time::Timestamp;

/// A page of decisions, newest first; `next` is the cursor of the page after this one.
#[must_use]
pub fn audit(frame: &Frame, decisions: &[AuditEntry], next: Option<&str>) -> String {
    session_page(frame, NavItem::Audit, "Decisions", &|to| {
        html! { to;
            h1 { "Decisions" }
            @if decisions.is_empty() {
                p { "Nobody has decided anything yet." }
            } @else {
                (rows(to, frame.now, decisions))
            }
            @if let Some(cursor) = next {
                p { a href={ "/.oncegate/audit?cursor=" (cursor) } rel="next" { "Older ones" } }
            }
        }
    })
}

/// Decisions one under the other, each a link to its record.
pub(super) fn rows(to: &mut String, now: Timestamp, decisions: &[AuditEntry]) {
    html! { to;
        ul class="rows" {
            @for decision in decisions {
                @let before = &decision.before;
                li { a href=(address(to, decision.key)) {
                    span class="stage" { (decision.action) }
                    span class="what" { (before.metadata.method) " " (before.metadata.path) }
                    span class="hears" {
                        (explain::name(StateKind::of(&before.state))) " → "
                        @match &decision.after {
                            Some(after) => (explain::name(StateKind::of(&after.state))),
                            None => "gone",
                        }
                    }
                    span class="quiet" {
                        (at_and_ago(to, decision.at, now)) " · by token " code { (hex(&decision.by)) }
                        " · " (before.metadata.route) " · " code { (before.metadata.correlation_id) }
                    }
                } }
            }
        }
    }
}
