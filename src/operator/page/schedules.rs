//! The schedules, the form that runs a slot by hand, and what came of it.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::job::answered::Next;
use crate::lifecycle::event::Strategy;
use crate::operator::page::time::at_and_ago;
use crate::operator::page::{NavItem, PageContext, csrf_field, record_path, session_page};
use crate::operator::run::Slot;
use crate::operator::schedules::{ListedSchedule, Ran};
use crate::problem::Code;
use crate::time::{Timestamp, rfc3339};

/// Every schedule, each with the form that runs a slot of it.
#[must_use]
pub fn schedules(context: &PageContext, listed: &[ListedSchedule]) -> String {
    let content = html! {
        h1 { "Schedules" }
        @if listed.is_empty() {
            p { "No schedule is configured." }
        } @else {
            p { "A cron trigger runs each slot. Here you run one by hand: the latest, or one that was missed. A slot that was run is answered from its record, and not executed again." }
            @for (n, listed) in listed.iter().enumerate() { (schedule(context, n, listed)) }
        }
    };
    session_page(context, NavItem::Schedules, "Schedules", &content)
}

fn schedule(context: &PageContext, n: usize, listed: &ListedSchedule) -> Markup {
    let ListedSchedule { schedule, route, latest, known_since } = listed;
    let (title, slot) = (format!("schedule-{n}"), format!("slot-{n}"));
    let strategy = schedule.on_duplicate.or(route.as_ref().map(|route| route.on_duplicate));
    html! {
        section aria-labelledby=(title) {
            h2 id=(title) { (schedule.name) }
            dl.facts {
                div { dt { "Cron, in UTC" } dd { code { (schedule.cron) } } }
                div { dt { "Request" } dd { code { (schedule.request.method) " " (schedule.request.url.as_str()) } } }
                div { dt { "Key" } dd { code { (schedule.key.as_str()) } } }
                @if let Some(route) = route { div { dt { "Route" } dd { code { (route.name) } } } }
                div { dt { "Latest slot" } dd { (at_and_ago(*latest, context.now)) } }
                @if let Some(since) = known_since {
                    div { dt { "Slots are known since" } dd { (at_and_ago(*since, context.now)) } }
                }
            }
            @if strategy == Some(Strategy::FailOnRunning) {
                p.note { "This schedule has " code { "fail_on_running" } ": each run executes it, also of a slot that was run before, unless one is under way." }
            }
            form method="post" action=(run_path(&schedule.name)) {
                (csrf_field(context))
                label for=(slot) { "Slot, in UTC" }
                span.field {
                    input id=(slot) name="scheduled_time" type="datetime-local" required
                        value=(to_the_minute(*latest)) max=(to_the_minute(context.now));
                    button.main { "Run this slot" }
                }
            }
        }
    }
}

/// A slot was run, or was found to have been run.
#[must_use]
pub fn ran(context: &PageContext, ran: &Ran) -> String {
    let slot = &ran.slot;
    let title = match (&ran.next, ran.outcome) {
        (Next::Done, "executed") => "Executed",
        (Next::Done, _) => "Executed before",
        (Next::Retry(_), _) => "Not executed yet",
        (Next::InDoubt(_), _) => "In doubt",
        (Next::Refused(_), _) => "Not done",
    };
    let content = html! {
        h1 { (title) }
        (slot_line(slot, context.now))
        p.note role="status" {
            @match &ran.next {
                Next::Done if ran.outcome == "executed" => {
                    "The origin has executed it now and answered " (ran.status) "."
                }
                Next::Done => "It was executed before, so nothing was done now.",
                Next::Retry(after) => {
                    "Nothing happened, or is known yet to have happened (" code { (ran.status) " " (ran.outcome) } "). Run it again in " (after.as_secs()) " s: its key is the same."
                }
                Next::InDoubt(_) => "Nobody knows whether the origin executed it. Find out, and decide on the page of its record.",
                Next::Refused(why) => {
                    "Running it again would be answered the same: " code { (why) } "."
                }
            }
        }
        p {
            @if let Some(key) = ran.key_id.filter(|_| has_record(ran)) {
                a.button href=(record_path(key)) { "See the record" }
            }
            a.button href="/.oncegate/schedules" { "Schedules" }
        }
    };
    session_page(context, NavItem::Schedules, title, &content)
}

/// A slot is too old to be told from one that never ran: asks whether to run it all the same.
#[must_use]
pub fn outside_window(context: &PageContext, slot: &Slot) -> String {
    let title = "Was this slot run before?";
    let content = html! {
        h1 { (title) }
        (slot_line(slot, context.now))
        p.warn role="alert" { (slot.why_unknown()) }
        h2 { "What will happen" }
        ul.will {
            li { "The origin gets the request. If the slot was run before, all that the job does is done a second time." }
            li { "From then on it has a record again, and running it once more is answered from that." }
        }
        p { "Look at what the job leaves behind. Run it only if there is nothing." }
        form method="post" action=(run_path(&slot.schedule.name)) {
            (csrf_field(context))
            input type="hidden" name="scheduled_time" value=(rfc3339(slot.at));
            input type="hidden" name="rerun" value="true";
            p.deed {
                button.main.risky { "Run it: it was not run" }
                a.button href="/.oncegate/schedules" { "Cancel" }
            }
            p.quiet { "This is kept, with the time and the token that did it, under Decisions." }
        }
    };
    session_page(context, NavItem::Schedules, title, &content)
}

fn slot_line(slot: &Slot, now: Timestamp) -> Markup {
    html! {
        p { (slot.schedule.name) ", " (at_and_ago(slot.at, now)) }
        p.quiet { (slot.request.method) " " (slot.request.url) " · " code { (slot.key()) } }
    }
}

/// Whether its key has a record: what was released, or never reached a Ledger, has none.
fn has_record(ran: &Ran) -> bool {
    let codes = [
        Code::AlreadyExecuted,
        Code::InFlight,
        Code::KeyExpired,
        Code::KeyReused,
        Code::OutcomeUnknown,
        Code::ReplyNotStored,
    ];
    matches!(ran.outcome, "executed" | "replayed" | "joined" | "unknown" | "running")
        || codes.iter().any(|code| code.as_str() == ran.outcome)
}

fn run_path(schedule: &str) -> String {
    format!("/.oncegate/schedules/{}/run", utf8_percent_encode(schedule, NON_ALPHANUMERIC))
}

/// As `datetime-local` has it (HTML Standard, "Local dates and times").
fn to_the_minute(at: Timestamp) -> String {
    rfc3339(at).get(.."2026-11-28T02:00".len()).unwrap_or_default().to_owned()
}
