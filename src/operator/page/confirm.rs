//! Before a decision: what it will do. After it: what it did.

use maud::{Markup, html};

use crate::operator::api::{Action, Draft};
use crate::operator::decide::{lease_of, live_until};
use crate::operator::page::time::at_and_ago;
use crate::operator::page::{NavItem, PageContext, csrf_field, explain, record_path, session_page};
use crate::operator::search::{FoundRecord, StateKind};
use crate::problem::Problem;
use crate::request::digest::hex;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// The page that says what a decision would do and asks for it. `refused`: why the decision was refused as
/// it was sent, and what was in the form.
#[must_use]
pub fn confirm(
    context: &PageContext,
    found: &FoundRecord,
    action: Action,
    refused: Option<&(Problem, Draft)>,
) -> String {
    let (now, state, metadata) = (context.now, &found.record.state, &found.record.metadata);
    let is_possible = explain::actions(state, now).contains(&action);
    let question = explain::question(action);
    let content = html! {
        h1 { (question) }
        p {
            (explain::state_badge(StateKind::of(state))) " "
            code { (metadata.method) " " (metadata.path) }
        }
        (explain::record_line(found, now))
        @if let Some((problem, _)) = refused { p.warn role="alert" { (problem.detail) } }
        @if is_possible {
            h2 { "What will happen" }
            (explain::consequences(action, state, now))
            p { (explain::condition(action)) }
            (form(context, found, action, refused.map(|(_, draft)| draft)))
        } @else {
            (impossible(found, now))
        }
    };
    session_page(context, NavItem::Elsewhere, question, &content)
}

fn form(
    context: &PageContext,
    found: &FoundRecord,
    action: Action,
    draft: Option<&Draft>,
) -> Markup {
    let is_risky = matches!(action, Action::Release | Action::Purge);
    html! {
        form method="post" action="/.oncegate/resolve" {
            (csrf_field(context))
            input type="hidden" name="key_id" value=(hex(&found.key.0));
            input type="hidden" name="lease" value=(hex(&lease_of(&found.record.state).0));
            input type="hidden" name="action" value=(action.as_str());
            @if action == Action::Complete { (reply_fields(draft)) }
            p.deed {
                button.main.risky[is_risky] { (explain::submit_label(action)) }
                a.button href=(record_path(found.key)) { "Cancel" }
            }
            p.quiet { "The decision is kept, with the time and the token that made it, under Decisions." }
        }
    }
}

fn reply_fields(draft: Option<&Draft>) -> Markup {
    let [status, headers, body] = match draft {
        Some(Draft { status, headers, body }) => [&**status, headers, body],
        None => ["201", "Content-Type: application/json", ""],
    };
    html! {
        fieldset {
            legend { "The origin's answer" }
            p.quiet { "What the origin answered, or would have: the next retry gets it byte by byte." }
            label for="status" { "Status" }
            input #status name="status" type="number" min="200" max="599" required value=(status);
            label for="headers" { "Headers, one " code { "Name: value" } " a line" }
            // An HTML parser drops the first line end of a textarea.
            textarea #headers name="headers" rows="3" spellcheck="false" { "\n" (headers) }
            label for="body" { "Body" }
            textarea #body name="body" rows="8" spellcheck="false" { "\n" (body) }
        }
    }
}

fn impossible(found: &FoundRecord, now: Timestamp) -> Markup {
    html! {
        p.note {
            @if let Some(until) = live_until(&found.record.state, now) {
                "That cannot be decided before " (at_and_ago(until, now))
                ": a request may be under way until then."
            } @else {
                "There is nothing left to decide here: only what is in doubt is resolved."
            }
        }
        p { a.button href=(record_path(found.key)) { "Back to the record" } }
    }
}

/// A decision was carried out; `is_kept`: the record still exists.
#[must_use]
pub fn decided(context: &PageContext, key: KeyId, action: &str, is_kept: bool) -> String {
    let content = html! {
        h1 { "Done" }
        p.note role="status" { (explain::done(action, is_kept)) }
        p {
            @if is_kept { a.button href=(record_path(key)) { "See the record" } }
            a.button href="/.oncegate/records?state=in_doubt" { "What else is in doubt" }
            a.button href="/.oncegate/audit" { "Decisions" }
        }
    };
    session_page(context, NavItem::Elsewhere, "Done", &content)
}

/// A request was refused.
#[must_use]
pub fn refused(context: &PageContext, problem: &Problem) -> String {
    let content = html! {
        h1 { (problem.code.title()) }
        p.warn role="alert" { (problem.detail) }
        p {
            @if let Some(key) = &problem.record { a.button href=(record_path(**key)) { "See the record" } }
            a.button href="/.oncegate/records?state=in_doubt" { "What is in doubt" }
            a.button href="/.oncegate/" { "Overview" }
        }
    };
    session_page(context, NavItem::Elsewhere, problem.code.title(), &content)
}
