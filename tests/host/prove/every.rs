//! The scenarios, explored.

use std::time::Instant;

use super::explorer::explore;
use super::scenarios::all;

#[test]
fn no_interleaving_breaks_a_promise() {
    let only = std::env::var("ONLY").ok();
    let extra: Option<u32> = std::env::var("F").ok().and_then(|f| f.parse().ok());
    for (scenario, faults, _) in all() {
        if only.as_ref().is_some_and(|only| !scenario.name.contains(only.as_str())) {
            continue;
        }
        let since = Instant::now();
        let found = explore(&scenario, extra.unwrap_or(faults));
        println!("{}: {} states, {} ends, {:?}", scenario.name, found.states, found.ends, since.elapsed());
        if let Some((_, script)) = found.violation {
            println!("{}", script.join("\n"));
        }
    }
}
