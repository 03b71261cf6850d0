//! Lists of records, and the forms that ask for one.

use crate::operator::page::html::html;
use crate::operator::page::time::{ago, at_and_ago};
use crate::operator::page::{Frame, Place, address, within, words};
use crate::operator::search::{Found, Stage};
use crate::time::Timestamp;

/// What a search asked for, as it was typed: it fills the form again and goes on with the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    correlation_id: String,
    state: String,
    route: String,
    since: String,
    limit: String,
}

impl Asked {
    fn of(query: Option<&str>) -> Self {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let field = match &*name {
                "correlation_id" => &mut asked.correlation_id,
                "state" => &mut asked.state,
                "route" => &mut asked.route,
                "since" => &mut asked.since,
                "limit" => &mut asked.limit,
                _ => continue,
            };
            *field = value.into_owned();
        }
        asked
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
    fn next(&self, cursor: &str) -> String {
        let mut address = "/.oncegate/records?".to_owned();
        for (name, value) in self.fields().into_iter().filter(|(_, value)| !value.is_empty()) {
            address.extend([name, "="]);
            address.extend(form_urlencoded::byte_serialize(value.as_bytes()));
            address.push('&');
        }
        address + "cursor=" + cursor
    }

    fn place(&self) -> Place {
        let rest = [&self.correlation_id, &self.route, &self.since];
        match self.state.as_str() {
            "" => Place::Records,
            "in_doubt" if rest.iter().all(|text| text.is_empty()) => Place::InDoubt,
            _ => Place::Elsewhere,
        }
    }
}

/// What a search has found; `next` is the cursor of the page after this one, if there is one.
#[must_use]
pub fn records(frame: &Frame, found: &[Found], next: Option<&str>) -> String {
    let asked = &Asked::of(frame.query.as_deref());
    let place = asked.place();
    let title = match place {
        Place::InDoubt => "In doubt",
        _ => "Records",
    };
    within(frame, place, title, &|to| {
        html! { to;
            h1 { (title) }
            (filter(to, asked))
            @if found.is_empty() {
                (nothing(to, asked))
            } @else {
                (rows(to, frame.now, found))
            }
            @if let Some(cursor) = next {
                p { a href=(asked.next(cursor)) rel="next" { "Older ones" } }
            }
        }
    })
}

/// The records of a key in every scope.
#[must_use]
pub fn key(frame: &Frame, key: &str, found: &[Found]) -> String {
    within(frame, Place::Elsewhere, "Key", &|to| {
        html! { to;
            h1 { "Key " code { (key) } }
            (by_key(to, key))
            @if found.is_empty() {
                p { "There is no record of this key. Either no request came with it, or the key was given back (the origin refused before it did anything, or it was released), or its time is over." }
                p { "Keys are compared byte by byte, without the quotes around them. " a href="/.oncegate/records" { "Look through the latest records" } " if you are not sure how it was spelled." }
            } @else {
                @if found.len() > 1 {
                    p class="quiet" { "The same key is another one for each route, host, path and credential, as the route's scope says." }
                }
                (rows(to, frame.now, found))
            }
        }
    })
}

/// The two ways to find an operation.
pub(super) fn search(to: &mut String) {
    html! { to;
        search class="pair" {
            form method="get" action="/.oncegate/records" {
                label for="correlation_id" { "Correlation id" }
                span class="field" { (text(to, "correlation_id", "")) button class="main" { "Find" } }
            }
            (by_key(to, ""))
        }
    }
}

fn by_key(to: &mut String, key: &str) {
    html! { to;
        form method="get" action="/.oncegate/keys" {
            label for="key" { "Key" }
            span class="field" {
                input id="key" name="key" type="search" value=(key) required maxlength="255"
                    autocomplete="off" autocapitalize="none" spellcheck="false";
                button class="main" { "Find" }
            }
        }
    }
}

fn filter(to: &mut String, asked: &Asked) {
    html! { to;
        search {
            form method="get" action="/.oncegate/records" class="filter" {
                p { label for="correlation_id" { "Correlation id" } (text(to, "correlation_id", &asked.correlation_id)) }
                p {
                    label for="state" { "State" }
                    select id="state" name="state" {
                        option value="" { "any" }
                        @for stage in Stage::ALL {
                            option value=(stage.as_str()) selected[asked.state == stage.as_str()] { (words::name(stage)) }
                        }
                    }
                }
                p { label for="route" { "Route" } (text(to, "route", &asked.route)) }
                p { label for="since" { "Since (such as 2h)" } (text(to, "since", &asked.since)) }
                button class="main" { "Find" }
            }
        }
    }
}

fn text(to: &mut String, name: &str, value: &str) {
    html! { to;
        input id=(name) name=(name) type="search" value=(value)
            autocomplete="off" autocapitalize="none" spellcheck="false";
    }
}

fn nothing(to: &mut String, asked: &Asked) {
    html! { to;
        @if *asked == Asked::default() {
            p { "No record yet. The first request with a key on a guarded route makes one." }
        } @else if asked.place() == Place::InDoubt {
            p { "Nothing is in doubt: of every operation here it is known what became of it." }
        } @else {
            p { "No record is like that. " a href="/.oncegate/records" { "Show all records" } "." }
            @if !asked.correlation_id.is_empty() {
                p { "A record carries the correlation id of its first request, whole and with the same case: it is the " code { "X-Correlation-Id" } " of every answer. A key that was given back leaves no record." }
            }
        }
    }
}

/// Records one under the other, each a link to its page.
pub(super) fn rows(to: &mut String, now: Timestamp, found: &[Found]) {
    html! { to;
        ul class="rows" {
            @for one in found { li { a href=(address(to, one.key)) { (row(to, now, one)) } } }
        }
    }
}

fn row(to: &mut String, now: Timestamp, found: &Found) {
    let (metadata, state) = (&found.record.metadata, &found.record.state);
    let (status, code) = words::hears(state);
    html! { to;
        (words::stage(to, Stage::of(state)))
        span class="what" { (metadata.method) " " (metadata.path) }
        span class="hears" { "retry: " b { (status) } " " (code) }
        span class="quiet" {
            (metadata.route) " · " code { (metadata.correlation_id) } " · " (at_and_ago(to, metadata.created, now))
            @if let Some(until) = words::live_until(state, now) { " · lease over " (ago(to, until, now)) }
        }
    }
}
