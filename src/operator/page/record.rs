//! The page of one record: where it is in its life, what that means for a retry, what can be done.

use crate::lifecycle::record::{Completed, State};
use crate::lifecycle::reply::Kept;
use crate::operator::decide::lease_of;
use crate::operator::documents::{StoredReply, completed, doubt};
use crate::operator::page::html::html;
use crate::operator::page::time::{at_and_ago, times};
use crate::operator::page::{Frame, NavItem, address, audit, explain, session_page, timeline};
use crate::operator::search::{AuditEntry, FoundRecord, StateKind};
use crate::request::digest::hex;
use crate::time::Timestamp;

/// A record; with the stored reply, if its body was asked for, and the decisions about it, newest
/// first.
#[must_use]
pub fn record(
    frame: &Frame,
    found: &FoundRecord,
    reply: Option<&StoredReply>,
    decisions: &[AuditEntry],
) -> String {
    let (now, state) = (frame.now, &found.record.state);
    let metadata = &found.record.metadata;
    let title =
        format!("{} {}: {}", metadata.method, metadata.path, explain::name(StateKind::of(state)));
    session_page(frame, NavItem::Elsewhere, &title, &|to| {
        html! { to;
            h1 { (explain::stage(to, StateKind::of(state))) " " code { (metadata.method) " " (metadata.path) } }
            (explain::origin(to, found, now))
            p { (explain::meaning(to, state, now)) }
            section aria-labelledby="retry" {
                h2 id="retry" { "What a retry gets now" }
                dl class="retry" {
                    @for retry in explain::retries(state) {
                        div {
                            dt { (retry.who) }
                            dd {
                                b { (retry.hears.0) " " code { (retry.hears.1) } } " "
                                (explain::prose(to, retry.why, retry.at, now))
                            }
                        }
                    }
                }
            }
            (decide(to, found, now))
            section aria-labelledby="life" {
                h2 id="life" { "Its life" }
                (timeline::timeline(to, found, now))
            }
            section aria-labelledby="facts" {
                h2 id="facts" { "Record" }
                dl class="facts" {
                    (facts(to, found, now))
            }
        }
        @if let Some(completed) = completed(state) { (answer(to, completed, found, reply)) }
            @if !decisions.is_empty() {
                section aria-labelledby="decisions" {
                    h2 id="decisions" { "Decisions" }
                    (audit::rows(to, now, decisions))
                }
            }
        }
    })
}

fn decide(to: &mut String, found: &FoundRecord, now: Timestamp) {
    let state = &found.record.state;
    let actions = explain::actions(state, now);
    html! { to;
        @if let Some(until) = explain::live_until(state, now) {
            p class="note" {
                "Nothing can be decided before " (at_and_ago(to, until, now))
                ": a request may be under way until then. Reload this page after that."
            }
        } @else if doubt(state).is_some() {
            section class="decide" aria-labelledby="decide" {
                h2 id="decide" { "What happened at the origin?" }
                p { "Look it up in the origin's books, by the correlation id or what the request was for. Then say what you found; the next page tells what will happen before anything does." }
                ul {
                    @for action in actions.iter() {
                        li {
                            a class="button" href={ (address(to, found.key)) "/" (action.as_str()) } { (explain::button(*action)) }
                            " " span { (explain::condition(*action)) }
                        }
                    }
                }
            }
        } @else {
            p {
                @for action in actions.iter() {
                    a class="button" href={ (address(to, found.key)) "/" (action.as_str()) } { (explain::button(*action)) }
                }
            }
        }
    }
}

/// All that is known of it, name by name as in the JSON.
fn facts(to: &mut String, found: &FoundRecord, now: Timestamp) {
    let (metadata, state) = (&found.record.metadata, &found.record.state);
    let (attempts, lease_until) = match state {
        State::Running(running) => (running.run.attempt, Some(running.until)),
        State::Completed(completed) | State::Expired(completed) => (completed.run.attempt, None),
        State::InDoubt(doubt) | State::Closed(doubt) => (doubt.run.attempt, Some(doubt.until)),
    };
    let completed = completed(state);
    html! { to;
        div { dt { "Correlation id" } dd { code { (metadata.correlation_id) } } }
        div { dt { "Route" } dd { code { (metadata.route) } } }
        div { dt { "Method and path" } dd { code { (metadata.method) " " (metadata.path) } } }
        div { dt { "Attempts" } dd { code { (attempts) } } }
        div { dt { "Key id" } dd { code { (hex(&found.key.0)) } } }
        div { dt { "Lease" } dd { code { (hex(&lease_of(state).0)) } } }
        @for (name, at) in [
            ("Created", Some(metadata.created)),
            ("Lease until", lease_until),
            ("Settled", completed.map(|completed| completed.settled)),
            ("Expires", completed.map(|completed| completed.expires)),
            ("Closes", doubt(state).map(|doubt| doubt.closes)),
        ] {
            @if let Some(at) = at { div { dt { (name) } dd { (at_and_ago(to, at, now)) } } }
        }
    }
}

fn answer(to: &mut String, completed: &Completed, found: &FoundRecord, read: Option<&StoredReply>) {
    let reply = &completed.reply;
    let shown = read.filter(|read| !read.body.is_empty());
    let is_there = StateKind::of(&found.record.state) == StateKind::Completed;
    html! { to;
        section aria-labelledby="answer" {
            h2 id="answer" { "Stored answer" }
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
            @if let Some(StoredReply { body, is_base64, .. }) = shown {
                @if *is_base64 { p class="quiet" { "The body is no text; this is its base64." } }
                // A parser drops the first line end.
                pre { "\n" (beginning(body)) }
                @if body.len() > SHOWN { p class="quiet" { "The first 64 KiB of it." } }
            } @else if is_there && matches!(reply.body, Kept::Whole { bytes } if bytes > 0) {
                p { a class="button" href={ (address(to, found.key)) "?body=1#answer" } { "Show the body" } }
            }
        }
    }
}

/// As much of a text as is shown, up to the end of a character.
fn beginning(text: &str) -> &str {
    (0..4).find_map(|less| text.get(..SHOWN - less)).unwrap_or(text)
}

/// Bytes of a body that are shown.
const SHOWN: usize = 64 * 1024;
