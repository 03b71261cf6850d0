//! Lists of records, and the forms that search for them.

use maud::{Markup, html};

use crate::operator::decide::live_until;
use crate::operator::page::time::{ago, at_and_ago};
use crate::operator::page::{NavItem, PageContext, explain, record_path, session_page};
use crate::operator::search::{FoundRecord, StateKind};
use crate::time::Timestamp;

/// The fields of the search form as they were typed: they fill the form in again, and the link to the next
/// page repeats them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SearchForm {
    correlation_id: String,
    state: String,
    route: String,
    since: String,
    limit: String,
}

impl SearchForm {
    fn read(query: Option<&str>) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let field = match &*name {
                "correlation_id" => &mut form.correlation_id,
                "state" => &mut form.state,
                "route" => &mut form.route,
                "since" => &mut form.since,
                "limit" => &mut form.limit,
                _ => continue,
            };
            *field = value.into_owned();
        }
        form
    }

    fn fields(&self) -> [(&'static str, &str); 5] {
        [
            ("correlation_id", &self.correlation_id),
            ("state", &self.state),
            ("route", &self.route),
            ("since", &self.since),
            ("limit", &self.limit),
        ]
    }

    /// The address of the page that a cursor begins.
    fn next_page(&self, cursor: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.fields().into_iter().filter(|(_, value)| !value.is_empty()));
        format!("/.oncegate/records?{}", query.append_pair("cursor", cursor).finish())
    }

    fn nav_item(&self) -> NavItem {
        let rest = [&self.correlation_id, &self.route, &self.since];
        match self.state.as_str() {
            "" => NavItem::Records,
            "in_doubt" if rest.iter().all(|text| text.is_empty()) => NavItem::InDoubt,
            _ => NavItem::Elsewhere,
        }
    }
}

/// The result of a search; `next` is the cursor of the page after this one, if there is one.
#[must_use]
pub fn records(context: &PageContext, found: &[FoundRecord], next: Option<&str>) -> String {
    let form = &SearchForm::read(context.query.as_deref());
    let nav_item = form.nav_item();
    let title = match nav_item {
        NavItem::InDoubt => "In doubt",
        _ => "Records",
    };
    let content = html! {
        h1 { (title) }
        (filter_form(form))
        @if found.is_empty() {
            (nothing_found(context, form))
        } @else {
            (rows(context.now, found))
        }
        @if let Some(cursor) = next {
            p { a href=(form.next_page(cursor)) rel="next" { "Older ones" } }
        }
    };
    session_page(context, nav_item, title, &content)
}

/// The records of a key in every scope.
#[must_use]
pub fn key(context: &PageContext, key: &str, found: &[FoundRecord]) -> String {
    let content = html! {
        h1 { "Key " code { (key) } }
        (key_form(key))
        @if found.is_empty() {
            p { "There is no record of this key. Either no request came with it, or the key was given back (the origin refused before it did anything, or it was released), or its time is over." }
            p { "Keys are compared byte by byte, without the quotes around them. " a href="/.oncegate/records" { "Look through the latest records" } " if you are not sure how it was spelled." }
        } @else {
            @if found.len() > 1 {
                p.quiet { "The same key is another one for each route, host, path and credential, as the route's scope says." }
            }
            (rows(context.now, found))
        }
    };
    session_page(context, NavItem::Elsewhere, "Key", &content)
}

/// The two ways to find an operation: by its correlation id, and by its key.
pub(super) fn search_forms() -> Markup {
    html! {
        search.pair {
            form method="get" action="/.oncegate/records" {
                label for="correlation_id" { "Correlation id" }
                span.field { (search_field("correlation_id", "")) button.main { "Find" } }
            }
            (key_form(""))
        }
    }
}

fn key_form(key: &str) -> Markup {
    html! {
        form method="get" action="/.oncegate/keys" {
            label for="key" { "Key" }
            span.field {
                input #key name="key" type="search" value=(key) required maxlength="255"
                    autocomplete="off" autocapitalize="none" spellcheck="false";
                button.main { "Find" }
            }
        }
    }
}

fn filter_form(form: &SearchForm) -> Markup {
    html! {
        search {
            form.filter method="get" action="/.oncegate/records" {
                p {
                    label for="correlation_id" { "Correlation id" }
                    (search_field("correlation_id", &form.correlation_id))
                }
                p {
                    label for="state" { "State" }
                    select #state name="state" {
                        option value="" { "any" }
                        @for state in StateKind::ALL {
                            option value=(state.as_str()) selected[form.state == state.as_str()] {
                                (explain::state_name(state))
                            }
                        }
                    }
                }
                p { label for="route" { "Route" } (search_field("route", &form.route)) }
                p { label for="since" { "Since (such as 2h)" } (search_field("since", &form.since)) }
                button.main { "Find" }
            }
        }
    }
}

fn search_field(name: &str, value: &str) -> Markup {
    html! {
        input id=(name) name=(name) type="search" value=(value)
            autocomplete="off" autocapitalize="none" spellcheck="false";
    }
}

fn nothing_found(context: &PageContext, form: &SearchForm) -> Markup {
    html! {
        @if *form == SearchForm::default() {
            p { "No record yet. The first request with a key on a guarded route makes one." }
        } @else if form.nav_item() == NavItem::InDoubt {
            p { (explain::nothing_in_doubt(context)) }
        } @else {
            p { "No record is like that. " a href="/.oncegate/records" { "Show all records" } "." }
            @if !form.correlation_id.is_empty() {
                p { "A record carries the correlation id of its first request, whole and with the same case: it is the " code { "X-Correlation-Id" } " of every answer. A key that was given back leaves no record." }
            }
        }
    }
}

/// Records one under the other, each a link to its page.
pub(super) fn rows(now: Timestamp, found: &[FoundRecord]) -> Markup {
    html! {
        ul.rows {
            @for found in found { li { a href=(record_path(found.key)) { (row(now, found)) } } }
        }
    }
}

fn row(now: Timestamp, found: &FoundRecord) -> Markup {
    let (metadata, state) = (&found.record.metadata, &found.record.state);
    let (status, code) = explain::retry_answer(state);
    html! {
        (explain::state_badge(StateKind::of(state)))
        span.what { (metadata.method) " " (metadata.path) }
        span.hears { "retry: " b { (status) } " " (code) }
        span.quiet {
            (metadata.route) " · " code { (metadata.correlation_id) } " · " (at_and_ago(metadata.created, now))
            @if let Some(doubt) = state.doubt() { " · " code { (doubt.reason) } }
            @if let Some(until) = live_until(state, now) { " · lease over " (ago(until, now)) }
        }
    }
}
