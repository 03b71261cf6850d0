//! The page of one record: its state, what a retry gets, what can be decided about it.

use maud::{Markup, html};

use crate::lifecycle::record::Completed;
use crate::lifecycle::reply::Kept;
use crate::operator::decide::{lease_of, live_until};
use crate::operator::documents::body_path;
use crate::operator::page::time::{at_and_ago, times};
use crate::operator::page::{
    NavItem, PageContext, audit, explain, record_path, session_page, timeline,
};
use crate::operator::search::{AuditEntry, FoundRecord, StateKind};
use crate::operator::stored_reply::{StoredBody, StoredReply};
use crate::request::digest::hex;
use crate::time::Timestamp;

/// A record, with the decisions about it, newest first; `reply` is its stored reply, if its body was asked
/// for.
#[must_use]
pub fn record(
    context: &PageContext,
    found: &FoundRecord,
    reply: Option<&StoredReply>,
    decisions: &[AuditEntry],
) -> String {
    let (now, state, metadata) = (context.now, &found.record.state, &found.record.metadata);
    let kind = StateKind::of(state);
    let title = format!("{} {}: {}", metadata.method, metadata.path, explain::state_name(kind));
    let content = html! {
        h1 { (explain::state_badge(kind)) " " code { (metadata.method) " " (metadata.path) } }
        (explain::record_line(found, now))
        p {
            @if let Some(doubt) = state.doubt() { (explain::reason(doubt.reason)) " " }
            (explain::meaning(state, now))
        }
        section aria-labelledby="retry" {
            h2 #retry { "What a retry gets now" }
            dl.retry {
                @for retry in explain::retries(state, now) {
                    div {
                        dt { (retry.who) }
                        dd {
                            b { (retry.answer.0) " " code { (retry.answer.1) } } " "
                            (explain::prose(retry.why, retry.at, now))
                        }
                    }
                }
            }
        }
        (decision_links(found, now))
        section aria-labelledby="life" {
            h2 #life { "Its life" }
            (timeline::timeline(found, now))
        }
        section aria-labelledby="facts" {
            h2 #facts { "Record" }
            (facts(found, now))
        }
        @if let Some(completed) = state.completed() { (stored_answer(completed, found, reply)) }
        @if !decisions.is_empty() {
            section aria-labelledby="decisions" {
                h2 #decisions { "Decisions" }
                (audit::rows(now, decisions))
            }
        }
    };
    session_page(context, NavItem::Elsewhere, &title, &content)
}

fn decision_links(found: &FoundRecord, now: Timestamp) -> Markup {
    let state = &found.record.state;
    let path = record_path(found.key);
    html! {
        @if let Some(until) = live_until(state, now) {
            p.note {
                "Nothing can be decided before " (at_and_ago(until, now))
                ": a request may be under way until then. Reload this page after that."
            }
        } @else if state.doubt().is_some() {
            section.decide aria-labelledby="decide" {
                h2 #decide { "What happened at the origin?" }
                p { "Look it up in the origin's books, by the correlation id or what the request was for. Then say what you found; the next page tells what will happen before anything does." }
                ul {
                    @for action in explain::actions(state, now) {
                        li {
                            a.button href={ (path) "/" (action.as_str()) } { (explain::button(*action)) }
                            " " span { (explain::condition(*action)) }
                        }
                    }
                }
            }
        } @else {
            p {
                @for action in explain::actions(state, now) {
                    a.button href={ (path) "/" (action.as_str()) } { (explain::button(*action)) }
                }
            }
        }
    }
}

/// Everything that the record says, under the same names as in the JSON document.
fn facts(found: &FoundRecord, now: Timestamp) -> Markup {
    let (metadata, state) = (&found.record.metadata, &found.record.state);
    let completed = state.completed();
    html! {
        dl.facts {
            div { dt { "Correlation id" } dd { code { (metadata.correlation_id) } } }
            div { dt { "Route" } dd { code { (metadata.route) } } }
            div { dt { "Method and path" } dd { code { (metadata.method) " " (metadata.path) } } }
            @if let Some(doubt) = state.doubt() {
                div { dt { "Reason" } dd { code { (doubt.reason) } } }
            }
            div { dt { "Attempts" } dd { code { (state.attempts()) } } }
            div { dt { "Key id" } dd { code { (hex(&found.key.0)) } } }
            div { dt { "Lease" } dd { code { (hex(&lease_of(state).0)) } } }
            @for (name, at) in [
                ("Created", Some(metadata.created)),
                ("Lease until", state.lease_until()),
                ("Settled", completed.map(|completed| completed.settled)),
                ("Expires", completed.map(|completed| completed.expires)),
                ("Closes", state.doubt().map(|doubt| doubt.closes)),
            ] {
                @if let Some(at) = at { div { dt { (name) } dd { (at_and_ago(at, now)) } } }
            }
        }
    }
}

fn stored_answer(
    completed: &Completed,
    found: &FoundRecord,
    stored: Option<&StoredReply>,
) -> Markup {
    let reply = &completed.reply;
    let can_be_shown = StateKind::of(&found.record.state) == StateKind::Completed
        && matches!(reply.body, Kept::Whole { bytes } if bytes > 0);
    html! {
        section aria-labelledby="answer" {
            h2 #answer { "Stored answer" }
            p {
                b { (reply.status) } ", "
                @match reply.body {
                    Kept::Whole { bytes } => { (bytes) " bytes" },
                    Kept::StatusOnly => "body not kept",
                }
                ", sent again " (times(found.replays)) ", as far as counted"
            }
            @if !reply.headers.is_empty() {
                pre { @for (name, value) in &reply.headers { (name) ": " (value) "\n" } }
            }
            @match stored.map(|stored| &stored.body) {
                Some(StoredBody::Text(body)) if !body.is_empty() => (shown_body(body)),
                Some(StoredBody::Base64(body)) => {
                    p.quiet { "The body is no text; this is its base64." }
                    (shown_body(body))
                }
                Some(StoredBody::LeftOut) => {
                    p { "The body is too large to be shown here." }
                    p { a.button href=(body_path(found.key)) { "Download the body" } }
                }
                _ if can_be_shown => {
                    p { a.button href={ (record_path(found.key)) "?body=1#answer" } { "Show the body" } }
                }
                _ => {}
            }
        }
    }
}

fn shown_body(body: &str) -> Markup {
    html! {
        // An HTML parser drops the first line end of a pre.
        pre { "\n" (beginning(body)) }
        @if body.len() > BODY_SHOWN { p.quiet { "The first 64 KiB of it." } }
    }
}

/// As much of a text as is shown, cut at the end of a character (which has at most 4 bytes).
fn beginning(text: &str) -> &str {
    (0..4).find_map(|less| text.get(..BODY_SHOWN - less)).unwrap_or(text)
}

/// Bytes of a body that are shown.
const BODY_SHOWN: usize = 64 * 1024;
