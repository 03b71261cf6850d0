//! The operators' pages: results as HTML, for a browser without JavaScript.
//!
//! Every public function takes data and returns a whole document. `maud` escapes every text; the style
//! sheet, which is a constant, is the only thing that is inserted unescaped. No attribute holds a style or
//! a script, nothing is loaded from elsewhere, and every form but the log-in carries the session's CSRF
//! token: the pages work under [`content_security_policy`].

mod audit;
mod confirm;
mod explain;
mod list;
mod plots;
mod record;
mod schedules;
mod time;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::operator::documents::UnavailableShard;
use crate::operator::search::FoundRecord;
use crate::operator::statistics::Statistics;
use crate::request::digest::hex;
use crate::request::key::KeyId;
use crate::time::Timestamp;

pub use audit::audit;
pub use confirm::{confirm, decided, refused};
pub use list::{key, records};
pub use record::record;
pub use schedules::{outside_window, ran, schedules};

/// What every page of a session needs.
#[derive(Clone, Debug)]
pub struct PageContext {
    /// Permits the style sheet; random, and the same as in [`content_security_policy`].
    pub nonce: String,
    /// Ties a form to its session.
    pub csrf_token: String,
    /// The query of the request as it came: the search form is filled in from it, and the link to the next
    /// page repeats it.
    pub query: Option<String>,
    /// The present, which "3 min ago" is relative to.
    pub now: Timestamp,
    /// The shards whose records and numbers are missing from the page.
    pub unavailable: Vec<UnavailableShard>,
    /// Whether the navigation leads to schedules.
    pub has_schedules: bool,
}

/// The Content-Security-Policy of every page: its own style sheet and forms, and nothing else.
#[must_use]
pub fn content_security_policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// The page that asks for the token; `error` says why it asks again.
#[must_use]
pub fn log_in(nonce: &str, error: Option<&str>) -> String {
    let body = html! {
        header { p.brand { "Oncegate" } }
        main #main.narrow {
            h1 { "Log in" }
            @if let Some(error) = error { p.warn role="alert" { (error) } }
            form method="post" action="/.oncegate/login" {
                // A password manager stores a password under a user name; there is only one operator.
                input name="username" value="operator" autocomplete="username" hidden;
                label for="token" { "Operators' token" }
                input #token name="token" type="password" autocomplete="current-password" required autofocus;
                p.quiet {
                    "The secret " code { "ADMIN_TOKEN" } " of this deployment. You stay logged in for an hour."
                }
                button.main { "Log in" }
            }
        }
    };
    document(nonce, "Log in", &body)
}

/// The first page: search, records in doubt, the latest records (at most [`LISTED`] of each, newest
/// first), the numbers of the last hours (`stats`: by hour, in any order).
#[must_use]
pub fn overview(
    context: &PageContext,
    in_doubt: &[FoundRecord],
    latest: &[FoundRecord],
    stats: &[(u64, Statistics)],
) -> String {
    let doubts = in_doubt.len();
    let has_more = doubts >= usize::from(LISTED);
    let more = if has_more { "+" } else { "" };
    let title = match doubts {
        0 => "Overview".to_owned(),
        _ => format!("{doubts}{more} in doubt"),
    };
    let content = html! {
        h1.unseen { "Overview" }
        (list::search_forms())
        section aria-labelledby="doubts" {
            h2 #doubts {
                "In doubt"
                @if doubts > 0 { " " span.count { (doubts) (more) } }
            }
            @if doubts == 0 {
                p { (explain::nothing_in_doubt(context)) }
            } @else {
                p.quiet {
                    "Nobody knows whether the origin executed these. Their retries get 409 until somebody finds out and says so."
                }
                (list::rows(context.now, in_doubt))
                @if has_more {
                    p { a href="/.oncegate/records?state=in_doubt" { "All that are in doubt" } }
                }
            }
        }
        section aria-labelledby="latest" {
            h2 #latest { "Latest" }
            @if latest.is_empty() {
                p { "No record yet. The first request with a key on a guarded route makes one." }
            } @else {
                (list::rows(context.now, latest))
                p { a href="/.oncegate/records" { "All records" } }
            }
        }
        (plots::section(context.now, stats))
    };
    session_page(context, NavItem::Overview, &title, &content)
}

/// The entries of the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NavItem {
    Overview,
    InDoubt,
    Records,
    Schedules,
    Audit,
    /// A page that has no entry of its own.
    Elsewhere,
}

const NAVIGATION: [(NavItem, &str, &str); 5] = [
    (NavItem::Overview, "/.oncegate/", "Overview"),
    (NavItem::InDoubt, "/.oncegate/records?state=in_doubt", "In doubt"),
    (NavItem::Records, "/.oncegate/records", "Records"),
    (NavItem::Schedules, "/.oncegate/schedules", "Schedules"),
    (NavItem::Audit, "/.oncegate/audit", "Decisions"),
];

/// A page for an operator who has logged in: navigation, content, footer.
fn session_page(context: &PageContext, current: NavItem, title: &str, content: &Markup) -> String {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header {
            p.brand { "Oncegate" }
            nav aria-label="Operators" {
                @for (item, href, name) in NAVIGATION {
                    @if item != NavItem::Schedules || context.has_schedules {
                        a href=(href) aria-current=[(item == current).then_some("page")] { (name) }
                    }
                }
            }
            form method="post" action="/.oncegate/logout" {
                (csrf_field(context))
                button { "Log out" }
            }
        }
        main #main {
            (explain::unavailable_shards(&context.unavailable))
            (content)
        }
        footer { p.quiet { "As of " (time::at(context.now)) ". Reload to see more." } }
    };
    document(&context.nonce, title, &body)
}

fn document(nonce: &str, title: &str, body: &Markup) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                // Without an icon, browsers ask the origin for /favicon.ico.
                link rel="icon" href="data:,";
                title { (title) " · Oncegate" }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    document.into_string()
}

fn csrf_field(context: &PageContext) -> Markup {
    html! { input type="hidden" name="form_token" value=(context.csrf_token); }
}

/// The address of a record's page.
fn record_path(key: KeyId) -> String {
    format!("/.oncegate/records/{}", hex(&key.0))
}

/// Records in each list of the overview.
pub const LISTED: u16 = 10;
const STYLE: &str = include_str!("style.css");
