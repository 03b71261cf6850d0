//! The numbers of the last 24 hours as small plots. Each route has one plot per kind of number, each with
//! a scale of its own, so that a single doubt shows beside a thousand executions.

use maud::{Markup, html};

use crate::operator::statistics::{Counter, Counts, Statistics, hour_of, hour_start};
use crate::time::{Timestamp, rfc3339};

/// A plot: its name, its CSS class, and the counters that it adds up.
type Plot = (&'static str, &'static str, fn(Counter) -> bool);

const PLOTS: [Plot; 4] = [
    ("executed", "executed", |counter| counter == Counter::Executed),
    ("replayed, joined", "replayed", |counter| {
        matches!(counter, Counter::Replayed | Counter::Joined)
    }),
    ("conflicts", "conflicts", |counter| counter.code().is_some()),
    ("in doubt", "doubts", |counter| counter == Counter::InDoubt),
];

/// The section of the first page.
pub(super) fn section(now: Timestamp, stats: &[(u64, Statistics)]) -> Markup {
    let last = hour_of(now);
    let first = last.saturating_sub(HOURS - 1);
    let mut total = Statistics::default();
    for (_, statistics) in stats.iter().filter(|(hour, _)| (first..=last).contains(hour)) {
        total.merge(statistics);
    }
    html! {
        section aria-labelledby="stats" {
            h2 #stats { "Last 24 hours, by route" }
            @if total.routes.is_empty() { p { "Nothing was counted in the last 24 hours." } }
            @for (route, counts) in &total.routes {
                @let by_hour = by_hour(stats, route, first, last);
                h3 { code { (route) } }
                div.plots {
                    @for plot in PLOTS { (figure(plot, first, &by_hour)) }
                }
                (conflicts(counts))
            }
            @if !total.routes.is_empty() {
                p.quiet {
                    "A bar is an hour (UTC), the last one still running; each plot has its own scale. "
                    "Counted in memory: what a restart swallows is missing."
                }
            }
        }
    }
}

/// The counts of a route for each hour, including hours in which nothing was counted.
fn by_hour(stats: &[(u64, Statistics)], route: &str, first: u64, last: u64) -> Vec<Counts> {
    let of_hour = |hour: u64| {
        let mut sum = Counts::default();
        let of_hour = stats.iter().filter(|(known, _)| *known == hour);
        let routes = of_hour.flat_map(|(_, statistics)| &statistics.routes);
        for (_, counts) in routes.filter(|(name, _)| name == route) {
            for (to, more) in sum.iter_mut().zip(counts) {
                *to = to.saturating_add(*more);
            }
        }
        sum
    };
    (first..=last).map(of_hour).collect()
}

fn total(counts: &Counts, belongs: fn(Counter) -> bool) -> u64 {
    let counters = Counter::ALL.into_iter().zip(counts);
    let counted = counters.filter(|(counter, _)| belongs(*counter));
    counted.fold(0, |sum, (_, more)| sum.saturating_add(*more))
}

fn figure((name, class, belongs): Plot, first: u64, by_hour: &[Counts]) -> Markup {
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
            time_of_day(peak)
        ),
    };
    html! {
        figure class=[(sum == 0).then_some("none")] {
            figcaption { b { (sum) } " " (name) }
            svg.(class) viewBox={ "0 0 " (bars.len() * 5) " " (HEIGHT) } role="img" aria-label=(label) {
                @for ((hour, bar), x) in (first..).zip(&bars).zip((0_u64..).step_by(5)) {
                    @let height = height(*bar, most);
                    rect x=(x) y=(HEIGHT - height) width="4" height=(height) {
                        @if *bar > 0 { title { (time_of_day(hour)) " " (bar) } }
                    }
                }
            }
            @if most > 0 { small { "most " (most) ", " (time_of_day(peak)) } }
        }
    }
}

/// An empty hour is a line of 1, and any other bar at least 3, so that it is seen beside a large one.
fn height(bar: u64, most: u64) -> u64 {
    match bar {
        0 => 1,
        _ => (bar.saturating_mul(HEIGHT) / most.max(1)).clamp(3, HEIGHT),
    }
}

/// When an hour began: "14:00".
fn time_of_day(hour: u64) -> String {
    rfc3339(hour_start(hour)).get(11..16).unwrap_or_default().to_owned()
}

/// How many requests were refused, by code.
fn conflicts(counts: &Counts) -> Markup {
    let mut codes = Vec::new();
    for (counter, number) in Counter::ALL.into_iter().zip(counts) {
        if let (Some(code), 1..) = (counter.code(), number) {
            codes.push(format!("{number} × {} {}", code.status(), code.as_str()));
        }
    }
    html! {
        @if !codes.is_empty() { p.quiet { "Conflicts: " (codes.join(", ")) } }
    }
}

const HOURS: u64 = 24;
const HEIGHT: u64 = 30;
