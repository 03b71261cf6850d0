//! The pictures: a record's life, and the plots.

use oncegate::lifecycle::record::{Completed, State};
use oncegate::operator::page;
use oncegate::operator::search::FoundRecord;
use oncegate::operator::statistics::{Counter, Statistics, hour_of};

use super::reading::{Tag, hides, read, says};
use super::{NOW, ago, context, found, states};
use crate::make::{completed, days, lease, s};

fn svgs(html: &str) -> Vec<Vec<Tag>> {
    let mut svgs = Vec::new();
    for tag in read(html).0 {
        match tag.name.as_str() {
            "svg" => svgs.push(vec![tag]),
            "rect" | "circle" | "line" | "path" => svgs.last_mut().unwrap().push(tag),
            _ => {}
        }
    }
    svgs
}

fn number(tag: &Tag, name: &str) -> u64 {
    tag.get(name).unwrap().parse().unwrap()
}

#[test]
fn a_life_is_told_in_order_and_now_lies_between_what_was_and_what_will_be() {
    for (name, found) in states() {
        let page = page::record(&context(), &found, None, &[]);
        let (_, list) = page.split_once("<ol class=\"life\">").unwrap();
        let (list, _) = list.split_once("</ol>").unwrap();
        let times: Vec<&str> = list.split("datetime=\"").skip(1).map(|rest| &rest[..24]).collect();
        assert!(times.len() >= 2 && times.is_sorted(), "{name}: {times:?}");

        let svgs = svgs(&page);
        let [picture] = svgs.as_slice() else { panic!("{name}: {} pictures", svgs.len()) };
        let circles: Vec<_> = picture.iter().filter(|tag| tag.name == "circle").collect();
        assert_eq!(circles.len(), list.matches("<li").count(), "{name}");
        let places: Vec<_> = circles.iter().map(|circle| number(circle, "cx")).collect();
        assert!(places.is_sorted() && *places.last().unwrap() < 360, "{name}: {places:?}");
        let ahead: Vec<_> = circles.iter().map(|circle| circle.get("class").is_some()).collect();
        assert!(ahead.is_sorted(), "{name}: {ahead:?}");
        let later = times.iter().filter(|time| **time > "2026-11-22T02:39:25.433Z").count();
        assert_eq!(ahead.iter().filter(|ahead| **ahead).count(), later, "{name}");
        let now = picture.iter().find(|tag| tag.name == "path").unwrap();
        let now: u64 = now.get("d").unwrap()[1..].split(' ').next().unwrap().parse().unwrap();
        for (place, ahead) in places.iter().zip(&ahead) {
            assert_eq!(*place > now, *ahead, "{name}: now at {now}, {places:?}");
        }
        assert!(picture[0].get("aria-label").unwrap().contains("claimed, forwarded, "), "{name}");
    }
}

#[test]
fn the_life_of_a_stored_answer_has_every_event() {
    let gone = NOW.plus(days(8));
    let kept = Completed { gone, ..completed(lease(7), ago(s(3599))) };
    let page = page::record(&context(), &found(State::Completed(kept.clone())), None, &[]);
    let (_, list) = page.split_once("<ol class=\"life\">").unwrap();
    let (list, _) = list.split_once("</ol>").unwrap();
    let names = list.split("<b>").skip(1).filter_map(|rest| rest.split('<').next());
    let names: Vec<_> = names.collect();
    assert_eq!(names, ["claimed", "forwarded", "settled", "replayed", "expires", "forgotten"]);
    says(&page, "replayed: 3 times");
    let once = FoundRecord { replays: 1, ..found(State::Completed(kept)) };
    says(&page::record(&context(), &once, None, &[]), "replayed: once");
    says(&page, "forwarded: attempt 1");
    says(&page, "(+1000 ms)");
}

#[test]
fn a_plot_has_a_bar_for_each_of_the_last_24_hours() {
    let last = hour_of(NOW);
    let statistics = |counts: &[(Counter, u64)]| {
        let mut statistics = Statistics::default();
        for (count, more) in counts {
            statistics.add("charge", *count, *more);
        }
        statistics
    };
    let stats = [
        // Too old to be plotted, and would be the highest.
        (last - 24, statistics(&[(Counter::Executed, 9_000), (Counter::KeyExpired, 1)])),
        (
            last - 23,
            statistics(&[
                (Counter::Executed, 100),
                (Counter::KeyReused, 2),
                (Counter::InFlight, 3),
            ]),
        ),
        (
            last,
            statistics(&[(Counter::Executed, 1_000), (Counter::Replayed, 4), (Counter::Joined, 5)]),
        ),
        // Another shard's.
        (
            last,
            statistics(&[
                (Counter::Executed, 1_000),
                (Counter::InDoubt, 1),
                (Counter::Released, 8),
            ]),
        ),
    ];
    let page = page::overview(&context(), &[], &[], &stats);
    let svgs = svgs(&page);
    assert_eq!(svgs.len(), 4);
    let heights = |plot: usize| -> Vec<u64> {
        svgs[plot][1..].iter().map(|bar| number(bar, "height")).collect()
    };
    for plot in 0..4 {
        assert_eq!(heights(plot).len(), 24);
    }
    // Each on a scale of its own; a small hour is seen beside a large one.
    let executed = heights(0);
    assert_eq!((executed[0], executed[1], executed[23]), (3, 1, 30));
    assert_eq!(heights(3)[23], 30);
    for words in ["2100 executed", "9 replayed, joined", "5 conflicts", "1 in doubt"] {
        says(&page, words);
    }
    says(&page, "Conflicts: 2 × 422 key-reused, 3 × 409 in-flight");
    hides(&page, "key-expired");
    let label = svgs[0][0].get("aria-label").unwrap();
    assert_eq!(label, "executed: 2100 in 24 hours, most in the hour from 02:00: 2000");
}
