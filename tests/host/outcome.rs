//! `outcome`: every status against the table of the promise, written as ranges.

use oncegate::lifecycle::outcome::Outcome::{self, InDoubt, Release, Store};
use oncegate::lifecycle::outcome::{Facts, Preset, Rule};

use crate::make::route;

/// One letter per preset: standard, strict, success-only; Store, Release, in Doubt. Each status once.
const TABLE: [(u16, u16, When, &str); 30] = [
    (0, 199, Always, "DDD"),
    (200, 299, Always, "SSS"),
    (300, 399, Always, "SSR"),
    (400, 400, Always, "RSR"),
    (401, 401, Always, "RRR"),
    (402, 402, Always, "SSR"),
    (403, 403, Always, "RRR"),
    (404, 406, Always, "RSR"),
    (407, 409, Always, "RRR"),
    (410, 424, Always, "RSR"),
    (425, 425, Always, "RRR"),
    (426, 428, Always, "RSR"),
    (429, 429, Always, "RRR"),
    (430, 499, Always, "RSR"),
    (500, 501, Always, "SSR"),
    (502, 502, Always, "DDD"),
    (503, 503, WithRetryAfter, "RRR"),
    (503, 503, WithoutRetryAfter, "DDD"),
    (504, 504, Always, "DDD"),
    (505, 519, Always, "SSR"),
    (520, 520, Always, "DDD"),
    (521, 521, Always, "RRR"),
    (522, 522, Always, "DDD"),
    (523, 523, Always, "RRR"),
    (524, 524, Always, "DDD"),
    (525, 526, Always, "RRR"),
    (527, 529, Always, "SSR"),
    (530, 530, Always, "RRR"),
    (531, 599, Always, "SSR"),
    (600, 999, Always, "DDD"),
];

#[derive(Clone, Copy, PartialEq)]
enum When {
    Always,
    WithRetryAfter,
    WithoutRetryAfter,
}
use When::{Always, WithRetryAfter, WithoutRetryAfter};

fn rule(preset: Preset) -> Rule {
    Rule { preset, ..route().outcome }
}

fn facts(status: u16, has_retry_after: bool, origin_outcome: Option<&str>) -> Facts {
    Facts { status, has_retry_after, origin_outcome: origin_outcome.map(str::to_owned) }
}

fn outcome(letter: char) -> Outcome {
    match letter {
        'S' => Store,
        'R' => Release,
        'D' => InDoubt,
        _ => panic!("no outcome is called {letter}"),
    }
}

fn expected(status: u16, says_when: bool) -> &'static str {
    let speaks = |when| match when {
        Always => true,
        WithRetryAfter => says_when,
        WithoutRetryAfter => !says_when,
    };
    let rows =
        TABLE.iter().filter(|(from, to, when, _)| (*from..=*to).contains(&status) && speaks(*when));
    let rows: Vec<_> = rows.map(|(.., letters)| *letters).collect();
    let [letters] = rows[..] else { panic!("{} rows for {status}", rows.len()) };
    letters
}

#[test]
fn every_status_means_what_the_table_says() {
    for status in 0..=999 {
        for says_when in [false, true] {
            let letters = expected(status, says_when);
            for (preset, letter) in [Preset::Standard, Preset::Strict, Preset::SuccessOnly]
                .into_iter()
                .zip(letters.chars())
            {
                let judged = rule(preset).judge(&facts(status, says_when, None));
                let place = format!("{status} {preset:?}, Retry-After {says_when}");
                assert_eq!(judged, outcome(letter), "{place}");
            }
        }
    }
    assert_eq!(rule(Preset::Standard).judge(&facts(u16::MAX, true, None)), InDoubt);
}

#[test]
fn a_route_follows_the_standard_table_unless_it_says_otherwise() {
    assert_eq!(route().outcome, rule(Preset::Standard));
}

#[test]
fn a_status_that_a_list_names_means_what_the_list_says() {
    let lists = Rule {
        store: vec![402, 404, 503],
        release: vec![200, 500],
        in_doubt: vec![201, 429],
        ..rule(Preset::SuccessOnly)
    };
    for (status, expected) in [
        (402, Store),
        (404, Store),
        (503, Store),
        (200, Release),
        (500, Release),
        (201, InDoubt),
        (429, InDoubt),
        // Not named: as the preset has it.
        (202, Store),
        (405, Release),
        (502, InDoubt),
    ] {
        for says_when in [false, true] {
            assert_eq!(lists.judge(&facts(status, says_when, None)), expected, "{status}");
        }
    }
}

#[test]
fn the_origins_own_word_counts_more_than_any_table() {
    let lists = Rule { store: vec![500], ..rule(Preset::Standard) };
    for (status, said, expected) in [
        (200, "release", Release),
        (200, "in-doubt", InDoubt),
        (500, "release", Release),
        (404, "store", Store),
        (503, "store", Store),
        (502, " release ", Release),
        // A word that means nothing changes nothing.
        (200, "", Store),
        (200, "RELEASE", Store),
        (200, "in_doubt", Store),
        (404, "keep", Release),
        (500, "store, release", Store),
        // No word makes a reply of what cannot be sent.
        (0, "store", InDoubt),
        (199, "release", InDoubt),
        (600, "store", InDoubt),
    ] {
        let judged = lists.judge(&facts(status, false, Some(said)));
        assert_eq!(judged, expected, "{status} {said:?}");
    }
}
