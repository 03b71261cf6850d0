//! Before a decision: what will happen. After it: what has.

use crate::operator::api::{Action, Draft};
use crate::operator::decide::lease_of;
use crate::operator::page::html::html;
use crate::operator::page::time::at_and_ago;
use crate::operator::page::{Frame, NavItem, address, explain, form_token, session_page};
use crate::operator::refusal::Refusal;
use crate::operator::search::{FoundRecord, StateKind};
use crate::request::digest::hex;
use crate::request::key::KeyId;
use crate::time::Timestamp;

/// The page that says what a decision would do and asks for it. `refused`: why the decision was not
/// taken as it was sent, and what was in the form.
#[must_use]
pub fn confirm(
    frame: &Frame,
    found: &FoundRecord,
    action: Action,
    refused: Option<&(Refusal, Draft)>,
) -> String {
    let (state, metadata) = (&found.record.state, &found.record.metadata);
    let possible = explain::actions(state, frame.now).contains(&action);
    session_page(frame, NavItem::Elsewhere, explain::question(action), &|to| {
        html! { to;
            h1 { (explain::question(action)) }
            p { (explain::stage(to, StateKind::of(state))) " " code { (metadata.method) " " (metadata.path) } }
            (explain::origin(to, found, frame.now))
            @if let Some((refusal, _)) = refused { p class="warn" role="alert" { (refusal.detail) } }
            @if possible {
                h2 { "What will happen" }
                (explain::consequences(to, action, state, frame.now))
                p { (explain::condition(action)) }
                (form(to, frame, found, action, refused.map(|(_, draft)| draft)))
            } @else {
                (impossible(to, found, frame.now))
            }
        }
    })
}

fn form(
    to: &mut String,
    frame: &Frame,
    found: &FoundRecord,
    action: Action,
    draft: Option<&Draft>,
) {
    html! { to;
        form method="post" action="/.oncegate/resolve" {
            (form_token(to, frame))
            input type="hidden" name="key_id" value=(hex(&found.key.0));
            input type="hidden" name="lease" value=(hex(&lease_of(&found.record.state).0));
            input type="hidden" name="action" value=(action.as_str());
            @if action == Action::Complete { (answer(to, draft)) }
            p class="deed" {
                button class={ "main" @if matches!(action, Action::Release | Action::Purge) { " risky" } } { (explain::deed(action)) }
                a class="button" href=(address(to, found.key)) { "Cancel" }
            }
            p class="quiet" { "The decision is kept, with the time and the token that made it, under Decisions." }
        }
    }
}

fn answer(to: &mut String, draft: Option<&Draft>) {
    let [status, headers, body] = match draft {
        Some(Draft { status, headers, body }) => [&**status, headers, body],
        None => ["201", "Content-Type: application/json", ""],
    };
    html! { to;
        fieldset {
            legend { "The origin's answer" }
            p class="quiet" { "What the origin answered, or would have: the next retry gets it byte by byte." }
            label for="status" { "Status" }
            input id="status" name="status" type="number" min="200" max="599" required value=(status);
            label for="headers" { "Headers, one " code { "Name: value" } " a line" }
            textarea id="headers" name="headers" rows="3" spellcheck="false" { "\n" (headers) }
            label for="body" { "Body" }
            textarea id="body" name="body" rows="8" spellcheck="false" { "\n" (body) }
        }
    }
}

fn impossible(to: &mut String, found: &FoundRecord, now: Timestamp) {
    html! { to;
        p class="note" {
            @match explain::live_until(&found.record.state, now) {
                Some(until) => {
                    "That cannot be decided before " (at_and_ago(to, until, now))
                    ": a request may be under way until then."
                },
                None => "There is nothing left to decide here: only what is in doubt is resolved.",
            }
        }
        p { a class="button" href=(address(to, found.key)) { "Back to the record" } }
    }
}

/// A decision was carried out; `stays`: there is a record still.
#[must_use]
pub fn decided(frame: &Frame, key: KeyId, action: &str, stays: bool) -> String {
    session_page(frame, NavItem::Elsewhere, "Done", &|to| {
        html! { to;
            h1 { "Done" }
            p class="note" role="status" { (explain::done(action, stays)) }
            p {
                @if stays { a class="button" href=(address(to, key)) { "See the record" } }
                a class="button" href="/.oncegate/records?state=in_doubt" { "What else is in doubt" }
                a class="button" href="/.oncegate/audit" { "Decisions" }
            }
        }
    })
}

/// Something was refused.
#[must_use]
pub fn refused(frame: &Frame, refusal: &Refusal) -> String {
    session_page(frame, NavItem::Elsewhere, refusal.title(), &|to| {
        html! { to;
            h1 { (refusal.title()) }
            p class="warn" role="alert" { (refusal.detail) }
            p {
                @if let Some(key) = refusal.key { a class="button" href=(address(to, key)) { "See the record" } }
                a class="button" href="/.oncegate/records?state=in_doubt" { "What is in doubt" }
                a class="button" href="/.oncegate/" { "Overview" }
            }
        }
    })
}
