//! The scenarios, explored: no interleaving breaks a promise.
//!
//! `ONCEGATE_NIGHTLY=1` takes the large budgets: 3 requests with 2 faults, 2 with 3. `SCENARIO=retry` explores only those
//! that have this in their names.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::explorer::{endings, explore};
use super::scenarios::{Scenario, all};
use crate::make::is_night;

#[test]
fn no_interleaving_breaks_a_promise() {
    let next = AtomicUsize::new(0);
    let sums = Mutex::new((0, 0, 0));
    let work = || {
        let scenarios = wanted();
        while let Some((scenario, faults)) = take(&scenarios, &next) {
            let found = explore(scenario, faults);
            let mut sums = sums.lock().unwrap();
            sums.0 += found.states;
            sums.1 += found.ends;
            if let Some((broken, script)) = found.violation {
                sums.2 += 1;
                println!("{}, {faults} faults: {broken:?}\n{}\n", scenario.name, script.join("\n"));
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(work);
        }
    });
    let (states, ends, violations) = *sums.lock().unwrap();
    println!(
        r#"figures: {{"part":"interleavings","scenarios":{},"states":{states},"ends":{ends},"violations":{violations}}}"#,
        wanted().len(),
    );
    assert_eq!(violations, 0, "the histories are printed above");
}

/// The orders of steps that the explorer leaves out lead to no other ending.
#[test]
fn one_order_of_steps_that_come_to_the_same_is_enough() {
    let by_day = ["default, 2", "retry: late", "probe: 404", "two scopes", "async, with a wait"];
    for (scenario, ..) in all() {
        if scenario.requests.len() == 2 && (is_night() || by_day.contains(&scenario.name)) {
            let [mut every, mut one] = endings(&scenario, 1);
            if !scenario.is_alike() {
                let [more, of_one] = endings(&scenario.clone().reversed(), 1);
                every.extend(more);
                one.extend(of_one);
            }
            assert!(every.len() > 10, "{}: {every:?}", scenario.name);
            assert_eq!(every, one, "{}", scenario.name);
        }
    }
}

fn wanted() -> Vec<(Scenario, u32, u32)> {
    let name = std::env::var("SCENARIO").unwrap_or_default();
    let mut scenarios = all();
    scenarios.retain(|(scenario, ..)| scenario.name.contains(&name));
    scenarios
}

/// The next scenario, and the faults that it is explored with.
fn take<'a>(
    scenarios: &'a [(Scenario, u32, u32)],
    next: &AtomicUsize,
) -> Option<(&'a Scenario, u32)> {
    let (scenario, by_day, by_night) = scenarios.get(next.fetch_add(1, Ordering::Relaxed))?;
    Some((scenario, if is_night() { *by_night } else { *by_day }))
}
