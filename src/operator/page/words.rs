//! What a state means, what a retry gets in it, and what a decision would do: in words for somebody who
//! was woken up by it.

use maud::{Markup, html};

use crate::operator::desk::Action;
use crate::operator::inquiry::{Found, Stage};
use crate::operator::page::time::{at_and_ago, span};
use crate::operator::view::completed;
use crate::problem::Code;
use crate::record::{Before, Completed, Doubt, Millis, Running, State};
use crate::reply::Kept;

/// The state as a mark: its name, and a colour that only repeats it.
pub(super) fn stage(stage: Stage) -> Markup {
    html! { span class={ "stage " (stage.as_str()) } { (name(stage)) } }
}

/// Where a record comes from, in a line.
pub(super) fn origin(found: &Found, now: Millis) -> Markup {
    let about = &found.record.about;
    html! {
        p class="quiet" {
            (about.route) " · " code { (about.correlation_id) } " · " (at_and_ago(about.created, now))
        }
    }
}

/// The state's name in a sentence.
pub(super) fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::InDoubt => "in doubt",
        other => other.as_str(),
    }
}

/// What the same request gets if it comes now, in two words: status and code.
pub(super) fn hears(state: &State) -> (u16, &'static str) {
    let code = match state {
        State::Completed(Completed { reply, .. }) if reply.body != Kept::StatusOnly => {
            return (reply.status, "replayed");
        }
        State::Completed(_) => Code::ReplyNotStored,
        State::Running(_) => Code::InFlight,
        State::InDoubt(_) => Code::OutcomeUnknown,
        State::Expired(_) | State::Closed(_) => Code::KeyExpired,
    };
    (code.status(), code.as_str())
}

/// What the state means.
pub(super) fn meaning(state: &State, now: Millis) -> Markup {
    match state {
        State::Running(running) => html! {
            "A request has claimed the key and may be talking to the origin. Its lease lasts until "
            (at_and_ago(running.until, now)) "; if there is no outcome by then, the record is in doubt."
            (found_before(running))
        },
        State::Completed(Completed { reply, .. }) => match reply.body {
            Kept::Whole { .. } => html! {
                "The operation has its outcome: it was answered with " b { (reply.status) }
                ", and that answer is stored."
            },
            Kept::StatusOnly => html! {
                "The operation was executed and answered with " b { (reply.status) }
                ", but the answer was too large or a stream, so its body was not kept."
            },
        },
        State::InDoubt(doubt) if now < doubt.until => html! {
            "The first caller has not got the whole answer, but the call may still be under way. If its answer arrives before "
            (at_and_ago(doubt.until, now)) ", it settles the record."
        },
        State::InDoubt(doubt) => html! {
            "The request was sent to the origin and no whole answer came back, or one that says nothing. "
            "It may have been executed, or not: nobody here knows. It stays so until somebody says what happened, or "
            (at_and_ago(doubt.closes, now)) "."
        },
        State::Expired(completed) => html! {
            "The operation was executed and answered with " b { (completed.reply.status) }
            ". The answer was kept for its time and is gone; that the key was used is remembered until "
            (at_and_ago(completed.gone, now)) "."
        },
        State::Closed(doubt) => html! {
            "It was in doubt for longer than the route's " code { "doubt_ttl" }
            " and nobody said what happened. It is not executed again, and remembered until "
            (at_and_ago(doubt.gone, now)) "."
        },
    }
}

fn found_before(running: &Running) -> Markup {
    match &running.before {
        Before::Nothing => html! {},
        Before::Replied(old) => html! {
            " It runs again by its strategy: there was a stored answer, " b { (old.reply.status) } "."
        },
        Before::Doubted(_) => html! {
            " It is a new attempt of an operation that was in doubt."
        },
    }
}

/// What a retry gets now, and why: for each kind of retry a line.
pub(super) fn retries(state: &State, now: Millis) -> Vec<(&'static str, Markup)> {
    let (status, code) = hears(state);
    let answer = html! { b { (status) " " code { (code) } } };
    let same = match state {
        State::Running(_) => html! {
            "waits for the running one and gets its answer; if that takes longer than the route's "
            code { "wait" } ", " (answer) " with Retry-After. Sending it on would execute it twice."
        },
        State::Completed(Completed { reply, expires, .. }) => match reply.body {
            Kept::Whole { bytes } => html! {
                b { (status) } ": the stored answer, the same " (bytes) " bytes every time, with "
                code { "Idempotent-Replayed: true" } ", until " (at_and_ago(*expires, now)) "."
            },
            Kept::StatusOnly => html! {
                (answer) ", because there is no body to send again. It names the original status, "
                (reply.status) "; the result has to be looked up at the origin."
            },
        },
        State::InDoubt(_) => html! {
            (answer) ", every time, because sending it on could execute it a second time. "
            "Only a route with " code { "on_in_doubt = \"retry\"" } " sends it on once the lease is over, and one with "
            code { "\"probe\"" } " asks the origin first."
        },
        State::Expired(_) => html! {
            (answer) ", because it was executed before and the answer is no longer there."
        },
        State::Closed(_) => html! {
            (answer) ", because it may have been executed and is not to be executed twice."
        },
    };
    let mut lines = vec![("The same request", same)];
    if completed(state).is_some_and(|_| Stage::of(state) == Stage::Completed) {
        lines.push((
            "The same, with X-On-Conflict: FAIL",
            html! { b { "409 " code { (Code::AlreadyExecuted.as_str()) } } ": its client asked for that." },
        ));
    }
    lines.push((
        "Another request with this key",
        html! {
            b { "422 " code { (Code::KeyReused.as_str()) } }
            ": another body, query or header than the first one that counts on the route."
        },
    ));
    lines
}

/// The name of a decision on a button.
pub(super) fn button(action: Action) -> &'static str {
    match action {
        Action::Complete => "Complete: it was executed",
        Action::Release => "Release: it was not",
        Action::Hold => "Hold: not known yet",
        Action::Purge => "Purge: forget it",
    }
}

/// The heading of the page that asks for a decision.
pub(super) fn question(action: Action) -> &'static str {
    match action {
        Action::Complete => "Complete it with the origin's answer?",
        Action::Release => "Release the key?",
        Action::Hold => "Keep it in doubt?",
        Action::Purge => "Forget the record?",
    }
}

/// The button that decides.
pub(super) fn deed(action: Action) -> &'static str {
    match action {
        Action::Complete => "Complete: store this answer",
        Action::Release => "Release: let the next retry be executed",
        Action::Hold => "Hold: keep it in doubt",
        Action::Purge => "Purge: forget the record",
    }
}

/// When a decision is the right one.
pub(super) fn condition(action: Action) -> &'static str {
    match action {
        Action::Complete => "Right if the origin's books show that it was executed.",
        Action::Release => "Right only if the origin's books show that it was not executed.",
        Action::Hold => "Right while nobody can tell. It changes nothing for the customer.",
        Action::Purge => "For records that should not be there at all. It is rarely what you want.",
    }
}

/// What a decision about a record will do: to the record, to the customer.
pub(super) fn consequences(action: Action, state: &State, now: Millis) -> Vec<Markup> {
    let doubt = crate::operator::view::doubt(state);
    match (action, doubt) {
        (Action::Complete, Some(doubt)) => vec![
            html! { "From now on every retry gets exactly the answer below, for " (span(doubt.terms.ttl)) "." },
            html! { "Nothing is sent to the origin, and the operation is not executed again." },
            html! { "An answer of the first try that arrives later is not stored." },
        ],
        (Action::Release, Some(Doubt { base: Some(old), .. })) => vec![
            html! { "The answer that was stored before this run, " b { (old.reply.status) } ", is put back, and retries get it again." },
        ],
        (Action::Release, _) => vec![
            html! { "The record is deleted. The next retry is forwarded to the origin and executed." },
            html! { b { "If it did go through the first time, it is then executed twice: a payment is charged twice." } },
        ],
        (Action::Hold, Some(doubt)) => {
            let closes = now.plus(doubt.terms.doubt_ttl).max(doubt.closes);
            vec![
                html! { "The record is in doubt until " (at_and_ago(closes, now)) "; after that retries get 410." },
                html! { "Until then every retry gets 409 " code { "outcome-unknown" } ", as now." },
            ]
        }
        (Action::Purge, Some(_)) => vec![
            html! { "The record is deleted. The next request with this key is forwarded to the origin and executed, whatever it says." },
            html! { b { "If it did go through the first time, it is then executed twice: a payment is charged twice." } },
        ],
        (Action::Purge, None) => vec![
            html! { "The record and its stored answer are deleted. They cannot be brought back." },
            html! { b { "It was executed before. The next retry is forwarded and executed a second time: a payment is charged twice." } },
        ],
        (Action::Complete | Action::Hold, None) => Vec::new(),
    }
}

/// What has been done.
pub(super) fn done(action: Action) -> &'static str {
    match action {
        Action::Complete => "Completed. The next retry gets exactly the answer that you gave.",
        Action::Release => {
            "Released. The next retry is forwarded to the origin, or gets the older answer if there was one."
        }
        Action::Hold => "Held. It stays in doubt, and retries go on getting 409 outcome-unknown.",
        Action::Purge => "Purged. The record is gone; the next request with its key is forwarded.",
    }
}

/// Until when a Worker may still be at it, so that nothing can be decided.
pub(super) fn live_until(state: &State, now: Millis) -> Option<Millis> {
    let until = match state {
        State::Running(running) => Some(running.until),
        State::InDoubt(doubt) | State::Closed(doubt) => Some(doubt.until),
        State::Completed(_) | State::Expired(_) => None,
    };
    until.filter(|until| now < *until)
}

/// What can be decided about a record now.
pub(super) fn actions(state: &State, now: Millis) -> &'static [Action] {
    match Stage::of(state) {
        _ if live_until(state, now).is_some() => &[],
        Stage::InDoubt | Stage::Closed => {
            &[Action::Complete, Action::Release, Action::Hold, Action::Purge]
        }
        Stage::Completed | Stage::Expired => &[Action::Purge],
        Stage::Running => &[],
    }
}
