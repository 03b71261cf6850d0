//! The operators' page: results as HTML, for a browser without JavaScript.
//!
//! Every function takes data and returns a whole document. Text is escaped where it is put in; the one
//! thing that is not is the style sheet, which is a constant. No attribute carries a style or a script,
//! nothing is loaded, and every form but the log-in carries the session's form token: the page works
//! under [`policy`].

mod audit;
mod confirm;
mod explain;
mod html;
mod list;
mod plots;
mod record;
mod time;
mod timeline;

use crate::operator::page::html::html;
use crate::operator::search::FoundRecord;
use crate::operator::statistics::Statistics;
use crate::request::digest::hex;
use crate::request::key::KeyId;
use crate::time::Timestamp;

pub use audit::audit;
pub use confirm::{confirm, decided, refused};
pub use list::{key, records};
pub use record::record;

/// What every page of a session is made with.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Admits the style sheet; random, and the same as in [`policy`].
    pub nonce: String,
    /// Binds a form to its session.
    pub form_token: String,
    /// The query of the request, as it came: a search fills its form again and goes on with its cursor.
    pub query: Option<String>,
    /// The Ledger's present, or this Worker's: what "ago" is counted from.
    pub now: Timestamp,
}

/// The Content-Security-Policy of every page here: its own style sheet and forms, and nothing else.
#[must_use]
pub fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// The page that asks for the token; `wrong` says why it asks again.
#[must_use]
pub fn log_in(nonce: &str, wrong: Option<&str>) -> String {
    document(nonce, "Log in", &|to| {
        html! { to;
            header { p class="brand" { "Oncegate" } }
            main id="main" class="narrow" {
                h1 { "Log in" }
                @if let Some(wrong) = wrong { p class="warn" role="alert" { (wrong) } }
                form method="post" action="/.oncegate/login" {
                    // A password is kept under a name, and there is but one operator here.
                    input name="username" value="operator" autocomplete="username" hidden;
                    label for="token" { "Operators' token" }
                    input id="token" name="token" type="password" autocomplete="current-password"
                        required autofocus;
                    p class="quiet" {
                        "The secret " code { "ADMIN_TOKEN" } " of this deployment. You stay logged in for an hour."
                    }
                    button class="main" { "Log in" }
                }
            }
        }
    })
}

/// The first page: search, doubts, the latest records (at most [`LISTED`] of each, newest first), the
/// numbers of the last hours (`stats`: by hour, in any order).
#[must_use]
pub fn overview(
    frame: &Frame,
    in_doubt: &[FoundRecord],
    latest: &[FoundRecord],
    stats: &[(u64, Statistics)],
) -> String {
    let doubts = in_doubt.len();
    let more = if doubts < usize::from(LISTED) { "" } else { "+" };
    let title = match doubts {
        0 => "Overview".to_owned(),
        _ => format!("{doubts}{more} in doubt"),
    };
    session_page(frame, NavItem::Overview, &title, &|to| {
        html! { to;
            h1 class="unseen" { "Overview" }
            (list::search(to))
            section aria-labelledby="doubts" {
                h2 id="doubts" {
                    "In doubt"
                    @if doubts > 0 { " " span class="count" { (doubts) (more) } }
                }
                @if doubts == 0 {
                    p { "Nothing is in doubt: of every operation here it is known what became of it." }
                } @else {
                    p class="quiet" {
                        "Nobody knows whether the origin executed these. Their retries get 409 until somebody finds out and says so."
                    }
                    (list::rows(to, frame.now, in_doubt))
                    @if !more.is_empty() {
                        p { a href="/.oncegate/records?state=in_doubt" { "All that are in doubt" } }
                    }
                }
            }
            section aria-labelledby="latest" {
                h2 id="latest" { "Latest" }
                @if latest.is_empty() {
                    p { "No record yet. The first request with a key on a guarded route makes one." }
                } @else {
                    (list::rows(to, frame.now, latest))
                    p { a href="/.oncegate/records" { "All records" } }
                }
            }
            (plots::section(to, frame.now, stats))
        }
    })
}

/// What writes a part of a page.
type Part<'a> = &'a dyn Fn(&mut String);

/// Where in the navigation a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NavItem {
    Overview,
    InDoubt,
    Records,
    Audit,
    Elsewhere,
}

const NAVIGATION: [(NavItem, &str, &str); 4] = [
    (NavItem::Overview, "/.oncegate/", "Overview"),
    (NavItem::InDoubt, "/.oncegate/records?state=in_doubt", "In doubt"),
    (NavItem::Records, "/.oncegate/records", "Records"),
    (NavItem::Audit, "/.oncegate/audit", "Decisions"),
];

/// A page of a session.
fn session_page(frame: &Frame, here: NavItem, title: &str, content: Part) -> String {
    document(&frame.nonce, title, &|to| {
        html! { to;
            a class="skip" href="#main" { "Skip to the content" }
            header {
                p class="brand" { "Oncegate" }
                nav aria-label="Operators" {
                    @for (place, href, name) in NAVIGATION {
                        a href=(href) aria-current=[(place == here).then_some("page")] { (name) }
                    }
                }
                form method="post" action="/.oncegate/logout" {
                    (form_token(to, frame))
                    button { "Log out" }
                }
            }
            main id="main" { (content(to)) }
            footer { p class="quiet" { "As of " (time::at(to, frame.now)) ". Reload to see more." } }
        }
    })
}

fn document(nonce: &str, title: &str, body: Part) -> String {
    let mut page = String::new();
    let to = &mut page;
    html! { to;
        (to.push_str("<!DOCTYPE html>"))
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                // Without one, browsers ask the origin for /favicon.ico.
                link rel="icon" href="data:,";
                title { (title) " · Oncegate" }
                style nonce=(nonce) { (to.push_str(STYLE)) }
            }
            body { (body(to)) }
        }
    }
    page
}

fn form_token(to: &mut String, frame: &Frame) {
    html! { to; input type="hidden" name="form_token" value=(frame.form_token); }
}

/// The address of a record's page.
fn address(to: &mut String, key: KeyId) {
    to.push_str("/.oncegate/records/");
    to.push_str(&hex(&key.0));
}

/// Records in each list of the overview.
pub const LISTED: u16 = 10;
const STYLE: &str = include_str!("style.css");
