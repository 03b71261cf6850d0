//! The numbers of the last hours, as small plots: for each route one per kind, on a scale of its own, so
//! that a single doubt shows beside a thousand executions.

use crate::operator::page::html::html;
use crate::operator::statistics::{Counter, Counts, Statistics, hour_of, hour_start};
use crate::time::{Timestamp, rfc3339};

/// What is plotted: a name, the class that colours it, what it adds up.
type Kind = (&'static str, &'static str, fn(Counter) -> bool);

const PLOTS: [Kind; 4] = [
    ("executed", "executed", |count| count == Counter::Executed),
    ("replayed, joined", "replayed", |count| matches!(count, Counter::Replayed | Counter::Joined)),
    ("conflicts", "conflicts", |count| count.code().is_some()),
    ("in doubt", "doubts", |count| count == Counter::InDoubt),
];

/// The section of the first page.
pub(super) fn section(to: &mut String, now: Timestamp, stats: &[(u64, Statistics)]) {
    let last = hour_of(now);
    let first = last.saturating_sub(HOURS - 1);
    let mut all = Statistics::default();
    for (_, tally) in stats.iter().filter(|(at, _)| (first..=last).contains(at)) {
        all.merge(tally);
    }
    html! { to;
        section aria-labelledby="stats" {
            h2 id="stats" { "Last 24 hours, by route" }
            @if all.routes.is_empty() { p { "Nothing was counted in the last 24 hours." } }
            @for (route, counts) in &all.routes {
                @let by_hour = by_hour(stats, route, first, last);
                h3 { code { (route) } }
                div class="plots" {
                    @for kind in &PLOTS { (plot(to, *kind, first, &by_hour)) }
                }
                (conflicts(to, counts))
            }
            @if !all.routes.is_empty() {
                p class="quiet" {
                    "A bar is an hour (UTC), the last one still running; each plot has its own scale. "
                    "Counted in memory: what a restart swallows is missing."
                }
            }
        }
    }
}

/// A route's numbers hour by hour, hours without any included.
fn by_hour(stats: &[(u64, Statistics)], route: &str, first: u64, last: u64) -> Vec<Counts> {
    let of_hour = |at: u64| {
        let mut sum = Counts::default();
        let tallies = stats.iter().filter(|(hour, _)| *hour == at);
        let routes = tallies.flat_map(|(_, tally)| &tally.routes);
        for (_, counts) in routes.filter(|(name, _)| name == route) {
            for (to, more) in sum.iter_mut().zip(counts) {
                *to = to.saturating_add(*more);
            }
        }
        sum
    };
    let mut hours = Vec::new();
    for hour in first..=last {
        hours.push(of_hour(hour));
    }
    hours
}

fn total(counts: &Counts, belongs: fn(Counter) -> bool) -> u64 {
    let mut sum: u64 = 0;
    for (count, more) in Counter::ALL.into_iter().zip(counts) {
        if belongs(count) {
            sum = sum.saturating_add(*more);
        }
    }
    sum
}

fn plot(to: &mut String, (name, class, belongs): Kind, first: u64, by_hour: &[Counts]) {
    let (mut bars, mut sum, mut most, mut peak) = (Vec::new(), 0_u64, 0, first);
    for (hour, counts) in (first..).zip(by_hour) {
        let bar = total(counts, belongs);
        if bar > most {
            (most, peak) = (bar, hour);
        }
        sum = sum.saturating_add(bar);
        bars.push(bar);
    }
    let label = match most {
        0 => format!("{name}: none in any hour"),
        _ => format!(
            "{name}: {sum} in {} hours, most in the hour from {}: {most}",
            bars.len(),
            clock(peak)
        ),
    };
    html! { to;
        figure class=[(sum == 0).then_some("none")] {
            figcaption { b { (sum) } " " (name) }
            svg class=(class) viewBox={ "0 0 " (bars.len() * 5) " " (HEIGHT) } role="img" aria-label=(label) {
                @for ((at, bar), x) in (first..).zip(&bars).zip((0_u64..).step_by(5)) {
                    @let height = height(*bar, most);
                    rect x=(x) y=(HEIGHT - height) width="4" height=(height) {
                        @if *bar > 0 { title { (clock(at)) " " (bar) } }
                    }
                }
            }
            @if most > 0 { small { "most " (most) ", " (clock(peak)) } }
        }
    }
}

/// An hour without any is a line, and one is never lost beside many.
fn height(bar: u64, most: u64) -> u64 {
    match bar {
        0 => 1,
        _ => (bar.saturating_mul(HEIGHT) / most.max(1)).clamp(3, HEIGHT),
    }
}

/// The hour of a day: 14:00.
fn clock(hour: u64) -> String {
    rfc3339(hour_start(hour)).get(11..16).unwrap_or_default().to_owned()
}

/// What was refused, by code.
fn conflicts(to: &mut String, counts: &Counts) {
    let mut codes = Vec::new();
    for (count, number) in Counter::ALL.into_iter().zip(counts) {
        if let (Some(code), 1..) = (count.code(), number) {
            codes.push((number, code));
        }
    }
    html! { to;
        @if !codes.is_empty() {
            p class="quiet" {
                "Conflicts: "
                @for (place, (number, code)) in codes.iter().enumerate() {
                    @if place > 0 { ", " }
                    (number) " × " (code.status()) " " (code.as_str())
                }
            }
        }
    }
}

const HOURS: u64 = 24;
const HEIGHT: u64 = 30;
