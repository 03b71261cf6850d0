//! What a state means, what a retry gets in it, and what a decision would do: in words for somebody who
//! was woken up by it.

use maud::{Markup, html};

use crate::lifecycle::record::{Completed, Doubt, Previous, Reason, Running, State};
use crate::lifecycle::reply::Kept;
use crate::operator::api::Action;
use crate::operator::decide::live_until;
use crate::operator::documents::UnavailableShard;
use crate::operator::page::PageContext;
use crate::operator::page::time::at_and_ago;
use crate::operator::search::{FoundRecord, StateKind};
use crate::problem::Code;
use crate::time::Timestamp;

/// The state as a badge: its name, and a colour that only repeats the name.
pub(super) fn state_badge(state: StateKind) -> Markup {
    html! { span.stage.(state.as_str()) { (state_name(state)) } }
}

/// A record's route, correlation id and age in one line.
pub(super) fn record_line(found: &FoundRecord, now: Timestamp) -> Markup {
    let metadata = &found.record.metadata;
    html! {
        p.quiet {
            (metadata.route) " · " code { (metadata.correlation_id) } " · "
            (at_and_ago(metadata.created, now))
        }
    }
}

/// The shards whose records and numbers are missing from a page, if there are any.
pub(super) fn unavailable_shards(shards: &[UnavailableShard]) -> Markup {
    html! {
        @if !shards.is_empty() {
            div.warn role="alert" {
                p { "Some shards could not be asked. What they hold is missing on this page." }
                ul {
                    @for UnavailableShard { shard, why } in shards.iter().take(SHARDS_NAMED) {
                        li { "Shard " (shard) ": " (why) }
                    }
                }
                @if shards.len() > SHARDS_NAMED {
                    p { "And " (shards.len() - SHARDS_NAMED) " more shards." }
                }
            }
        }
    }
}

/// The text where no record in doubt was found.
pub(super) fn nothing_in_doubt(context: &PageContext) -> &'static str {
    if context.unavailable.is_empty() {
        "Nothing is in doubt: of every operation here it is known what became of it."
    } else {
        "Nothing is in doubt in the shards that answered."
    }
}

/// The state's name in a sentence.
pub(super) fn state_name(state: StateKind) -> &'static str {
    match state {
        StateKind::InDoubt => "in doubt",
        other => other.as_str(),
    }
}

/// What the same request gets if it is sent now: status and code.
pub(super) fn retry_answer(state: &State) -> (u16, &'static str) {
    let code = match state {
        State::Completed(Completed { reply, .. }) if reply.body != Kept::StatusOnly => {
            return (reply.status, "replayed");
        }
        State::Completed(_) => Code::ReplyNotStored,
        State::Running(_) => Code::InFlight,
        State::InDoubt(_) => Code::OutcomeUnknown,
        State::Expired(_) | State::Closed(_) => Code::KeyExpired,
        State::Released(_) => return (200, "executed"),
    };
    (code.status(), code.as_str())
}

/// A text as markup: what is in backticks is code, and an instant replaces `@`.
pub(super) fn prose(text: &str, at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 {
                code { (part) }
            } @else if let (Some((before, after)), Some(at)) = (part.split_once('@'), at) {
                (before) (at_and_ago(at, now)) (after)
            } @else {
                (part)
            }
        }
    }
}

/// Why a record is in doubt, as a sentence.
pub(super) fn reason(reason: Reason) -> Markup {
    let text = match reason {
        Reason::Timeout => "The origin gave no whole answer within the route's `timeout`.",
        Reason::ConnectionLost => "The connection to the origin was lost before an answer began.",
        Reason::Truncated => "The origin broke its answer off.",
        Reason::Status(status) => {
            return html! { "The origin answered " b { (status) } ", which says nothing about the operation." };
        }
        Reason::LeaseOver => {
            "The request was sent to the origin, and the Worker that sent it never said what became of it."
        }
        Reason::NotHttp => "The origin answered with a status that is not HTTP.",
    };
    prose(text, None, Timestamp(0))
}

/// What the state means.
pub(super) fn meaning(state: &State, now: Timestamp) -> Markup {
    let (text, at) = match state {
        State::Running(Running { until, previous, .. }) => {
            let text = match previous {
                Previous::Nothing => RUNNING,
                Previous::Replied(_) => RUNNING_AGAIN,
                Previous::Doubted(_) => RUNNING_IN_DOUBT,
            };
            (text, Some(*until))
        }
        State::Completed(Completed { reply, .. }) => match reply.body {
            Kept::Whole { .. } => {
                ("The operation has its outcome: it was answered, and the answer is stored.", None)
            }
            Kept::StatusOnly => (
                "The operation was executed and answered, but the answer was too large or a stream, so its body was not kept.",
                None,
            ),
        },
        State::InDoubt(doubt) if now < doubt.until => (
            "The call is still read. If its answer arrives before @, it settles the record.",
            Some(doubt.until),
        ),
        State::InDoubt(doubt) => (
            "It may have been executed, or not: nobody here knows. It stays so until somebody says what happened, or @.",
            Some(doubt.closes),
        ),
        State::Expired(completed) => (
            "The operation was executed. Its answer was kept for its time and is gone; that the key was used is remembered until @.",
            Some(completed.gone),
        ),
        State::Closed(doubt) => (
            "It was in doubt for longer than the route's `doubt_ttl` and nobody said what happened. It is not executed again, and remembered until @.",
            Some(doubt.gone),
        ),
        State::Released(released) => (
            "The operation was released: nothing happened, or the route says that it may be run again. What the origin answered is kept until @ for whoever has the status address.",
            Some(released.until),
        ),
    };
    prose(text, at, now)
}

const RUNNING: &str = "A request has claimed the key and may be talking to the origin. Its lease lasts until @; if there is no outcome by then, the record is in doubt.";
const RUNNING_AGAIN: &str = "A request runs the operation again, as its strategy says, over a stored answer. Its lease lasts until @; if there is no outcome by then, the record is in doubt.";
const RUNNING_IN_DOUBT: &str = "A new attempt of an operation that was in doubt may be talking to the origin. Its lease lasts until @; if there is no outcome by then, the record is in doubt again.";

/// The answer to one kind of retry.
pub(super) struct Retry {
    /// Which request this is.
    pub(super) who: &'static str,
    /// Status and code of its answer.
    pub(super) answer: (u16, &'static str),
    /// Why it gets this answer; a text for [`prose`].
    pub(super) why: &'static str,
    /// The instant that the text mentions.
    pub(super) at: Option<Timestamp>,
}

/// What each kind of retry gets now, and why.
pub(super) fn retries(state: &State, now: Timestamp) -> Vec<Retry> {
    let (why, at) = match state {
        State::Running(_) => (
            "with Retry-After, after waiting as long as the route's `wait` for the running one; if that ends before, its answer. Sending it on would execute it twice.",
            None,
        ),
        State::Completed(Completed { reply, expires, .. }) => match reply.body {
            Kept::Whole { .. } => (
                "with `Idempotent-Replayed: true`: the stored answer, the same bytes every time, until @.",
                Some(*expires),
            ),
            Kept::StatusOnly => (
                "because there is no body to send again. It names the original status; the result has to be looked up at the origin.",
                None,
            ),
        },
        State::InDoubt(doubt) if now < doubt.until => (
            "with Retry-After, after waiting as long as the route's `wait` for the call that is still read; if its answer comes before, that answer.",
            None,
        ),
        State::InDoubt(_) => (
            "every time, because sending it on could execute it a second time. Only a route with `on_in_doubt = \"retry\"` sends it on once the lease is over, and one with `\"probe\"` asks the origin first.",
            None,
        ),
        State::Expired(_) => {
            ("because it was executed before and the answer is no longer there.", None)
        }
        State::Closed(_) => {
            ("because it may have been executed and is not to be executed twice.", None)
        }
        State::Released(_) => ("because the key is free: it is sent on.", None),
    };
    let problem = |code: Code| (code.status(), code.as_str());
    let mut retries = vec![Retry { who: "The same request", answer: retry_answer(state), why, at }];
    if StateKind::of(state) == StateKind::Completed {
        retries.push(Retry {
            who: "The same, with X-On-Conflict: FAIL",
            answer: problem(Code::AlreadyExecuted),
            why: "because its client asked for that.",
            at: None,
        });
    }
    retries.push(Retry {
        who: "Another request with this key",
        answer: problem(Code::KeyReused),
        why: "for another body, query or header than the first one, as far as they count on the route.",
        at: None,
    });
    retries
}

/// The label of the link that leads to a decision.
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

/// The label of the button that makes the decision.
pub(super) fn submit_label(action: Action) -> &'static str {
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

/// What a decision does to the record and to the customer. The last line, in bold, is the risk, if there
/// is one.
pub(super) fn consequences(action: Action, state: &State, now: Timestamp) -> Markup {
    let doubt = state.doubt();
    let closes = |doubt: &Doubt| now.plus(doubt.durations.doubt_ttl).max(doubt.closes);
    let (lines, at, risk): (&[&str], _, _) = match (action, doubt) {
        (Action::Complete, Some(doubt)) => (&COMPLETE, Some(now.plus(doubt.durations.ttl)), None),
        (Action::Release, Some(Doubt { base: Some(_), .. })) => (
            &["The answer that was stored before this run is put back, and retries get it again."],
            None,
            None,
        ),
        (Action::Release, _) => (
            &["The record is deleted. The next retry is forwarded to the origin and executed."],
            None,
            Some(RISK_TWICE),
        ),
        (Action::Hold, Some(doubt)) => (&HOLD, Some(closes(doubt)), None),
        (Action::Purge, Some(_)) => (
            &[
                "The record is deleted. The next request with this key is forwarded to the origin and executed, whatever it says.",
            ],
            None,
            Some(RISK_TWICE),
        ),
        (Action::Purge, None) => (
            &["The record and its stored answer are deleted. They cannot be brought back."],
            None,
            Some(RISK_AGAIN),
        ),
        (Action::Complete | Action::Hold, None) => (&[], None, None),
    };
    html! {
        ul.will {
            @for line in lines { li { (prose(line, at, now)) } }
            @if let Some(risk) = risk { li { b { (risk) } } }
        }
    }
}

const COMPLETE: [&str; 3] = [
    "From now on every retry gets exactly the answer below, until @.",
    "Nothing is sent to the origin, and the operation is not executed again.",
    "An answer of the first try that arrives later is not stored.",
];
const HOLD: [&str; 2] = [
    "The record is in doubt until @; after that retries get 410.",
    "Until then every retry gets 409 `outcome-unknown`, as now.",
];
const RISK_TWICE: &str =
    "If it did go through the first time, it is then executed twice: a payment is charged twice.";
const RISK_AGAIN: &str = "It was executed before. The next retry is forwarded and executed a second time: a payment is charged twice.";

/// What a decision did; `is_kept`: the record still exists.
pub(super) fn done(action: &str, is_kept: bool) -> &'static str {
    match (action, is_kept) {
        ("complete", _) => "Completed. The next retry gets exactly the answer that you gave.",
        ("hold", _) => "Held. It stays in doubt, and retries go on getting 409 outcome-unknown.",
        ("release", true) => "Released. Retries get the answer again that was stored before.",
        ("release", false) => "Released. The next retry is forwarded to the origin and executed.",
        _ => "Purged. The record is gone; the next request with its key is forwarded.",
    }
}

/// What can be decided about a record now.
pub(super) fn actions(state: &State, now: Timestamp) -> &'static [Action] {
    match StateKind::of(state) {
        _ if live_until(state, now).is_some() => &[],
        StateKind::InDoubt | StateKind::Closed => {
            &[Action::Complete, Action::Release, Action::Hold, Action::Purge]
        }
        StateKind::Completed | StateKind::Expired | StateKind::Released => &[Action::Purge],
        StateKind::Running => &[],
    }
}

/// Unavailable shards that a page names.
const SHARDS_NAMED: usize = 10;
