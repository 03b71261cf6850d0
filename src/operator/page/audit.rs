//! The page of the decisions that operators made.

use maud::{Markup, html};

use crate::operator::page::time::{at, at_and_ago};
use crate::operator::page::{NavItem, PageContext, explain, record_path, session_page};
use crate::operator::search::{AuditEntry, Audited, RERUN, RerunEntry, StateKind};
use crate::request::digest::hex;
use crate::time::Timestamp;

/// A page of decisions, newest first; `next` is the cursor of the page after this one.
#[must_use]
pub fn audit(context: &PageContext, decisions: &[Audited], next: Option<&str>) -> String {
    let content = html! {
        h1 { "Decisions" }
        @if decisions.is_empty() {
            p { "Nobody has decided anything yet." }
        } @else {
            ul.rows {
                @for decision in decisions {
                    @match decision {
                        Audited::Decision(decision) => (item(context.now, decision)),
                        Audited::Rerun(rerun) => (rerun_item(context.now, rerun)),
                    }
                }
            }
        }
        @if let Some(cursor) = next {
            p { a href={ "/.oncegate/audit?cursor=" (cursor) } rel="next" { "Older ones" } }
        }
    };
    session_page(context, NavItem::Audit, "Decisions", &content)
}

/// Decisions one under the other, each a link to its record.
pub(super) fn rows(now: Timestamp, decisions: &[AuditEntry]) -> Markup {
    html! {
        ul.rows {
            @for decision in decisions { (item(now, decision)) }
        }
    }
}

fn item(now: Timestamp, decision: &AuditEntry) -> Markup {
    html! { li { a href=(record_path(decision.key)) { (row(now, decision)) } } }
}

fn rerun_item(now: Timestamp, rerun: &RerunEntry) -> Markup {
    html! {
        li {
            a href=(record_path(rerun.key)) {
                span.stage { (RERUN) }
                span.what { (rerun.method) " " (rerun.path) }
                span.hears { (rerun.schedule) " of " (at(rerun.scheduled_time)) }
                span.quiet {
                    (at_and_ago(rerun.at, now)) " · by token " code { (hex(&rerun.by)) }
                    " · " (rerun.route) " · " code { (rerun.correlation_id) }
                }
            }
        }
    }
}

fn row(now: Timestamp, decision: &AuditEntry) -> Markup {
    let (before, metadata) = (&decision.before, &decision.before.metadata);
    let after = match &decision.after {
        Some(after) => explain::state_name(StateKind::of(&after.state)),
        None => "gone",
    };
    html! {
        span.stage { (decision.action) }
        span.what { (metadata.method) " " (metadata.path) }
        span.hears { (explain::state_name(StateKind::of(&before.state))) " → " (after) }
        span.quiet {
            (at_and_ago(decision.at, now)) " · by token " code { (hex(&decision.by)) }
            " · " (metadata.route) " · " code { (metadata.correlation_id) }
        }
    }
}
