//! Whatever happens next: requests, faults and time in any order, then a good day to the end.

use oncegate::config::route::{Doubtful, Route};
use oncegate::lifecycle::event::Strategy as OnDuplicate;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{after, at_the_origin, by, request, the_key, with_strategy};
use crate::arbitrary;
use crate::make::{self, cases, s};
use crate::world::{Choice, Story, World, response};

/// What is chosen: whether a fault may be, and which of the choices there are.
type Pick = (bool, u16);

fn picks(most: usize) -> impl Strategy<Value = Vec<Pick>> {
    vec((prop::bool::weighted(0.15), any::<u16>()), 0..most)
}

/// Takes one of the choices there are, for each pick; then lets everything end. Whoever is still there
/// has an answer then.
fn live(world: &mut World, picks: &[Pick], stories: &mut Vec<Story>, requests: &[Route]) {
    let mut lost = Vec::new();
    for (fault, pick) in picks {
        let mut choices = world.choices();
        choices.retain(|choice| *fault || !choice.is_fault());
        match choices.get(usize::from(*pick) % (choices.len() + 1)) {
            Some(choice) => {
                if let Choice::Crash(story) | Choice::Leave(story) = choice {
                    lost.push(*story);
                }
                world.take(*choice);
            }
            None if stories.len() < requests.len() => {
                let lease = u8::try_from(stories.len()).unwrap() + 1;
                stories.push(world.send(by(&requests[stories.len()], lease)));
            }
            None => {}
        }
    }
    world.run();
    for story in stories {
        assert!(world.is_over(*story), "nobody works for ever");
        assert!(lost.contains(story) || world.answer(*story).is_some(), "everybody is answered");
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// The standard table and `hold`: nothing but a release frees the key, and nothing here releases
    /// what has been executed.
    #[test]
    fn the_origin_executes_a_key_once_whatever_happens(picks in picks(80)) {
        let mut world = World::new();
        let mut stories = Vec::new();
        live(&mut world, &picks, &mut stories, &vec![make::route(); 4]);
        prop_assert!(world.executed().len() <= 1);
        for story in &stories {
            let said = world.said(*story);
            // Whoever hears a body hears the one.
            prop_assert!(!said.contains("paid") || said.ends_with(r#""paid 1""#), "{}", said);
        }
        // Much later, one more: it is told what is known, or is the first.
        world.run_for(s(1000));
        let last = world.send(request(9));
        world.run();
        prop_assert!(world.executed().len() <= 1);
        let said = world.said(last);
        let known = [r#"201 replayed "paid 1""#, "409 outcome-unknown", r#"201 executed "paid 1""#];
        prop_assert!(known.contains(&said.as_str()), "{}", said);
        prop_assert!(["completed", "in doubt"].contains(&world.record(the_key())));
    }

    /// Rules that let an operation run again, and an origin that answers this and that: everybody is
    /// answered, and whatever is replayed an execution has said.
    #[test]
    fn whatever_the_rules_everybody_is_answered_with_what_was_said(
        picks in picks(100),
        requests in vec((arbitrary::strategy(), 0..3_u8), 5),
        script in vec((0..80_u64, select(vec![201, 200, 500, 429, 404, 502])), 0..6),
        probes in vec(select(vec![200, 404, 500]), 0..6),
    ) {
        let mut world = World::new();
        world.origin(script.iter().enumerate().map(|(at, (seconds, status))| {
            after(s(*seconds), response(*status, &format!("said {at}")))
        }));
        world.probes(probes.iter().map(|status| after(s(1), response(*status, "found"))));
        let requests: Vec<_> = requests
            .into_iter()
            .map(|(on_duplicate, doubtful)| {
                let on_in_doubt = [Doubtful::Hold, Doubtful::Retry, Doubtful::Probe][usize::from(doubtful)];
                let probe = Some("/{key}".to_owned());
                Route { on_duplicate, on_in_doubt, probe, ..make::route() }
            })
            .collect();
        let mut stories = Vec::new();
        live(&mut world, &picks, &mut stories, &requests);
        let replays = stories.iter().map(|story| world.said(*story));
        for said in replays.filter(|said| said.contains("replayed") || said.contains("joined")) {
            let known = ["said", "paid", "found"].iter().any(|word| said.contains(word));
            prop_assert!(known, "{}", said);
            let released = ["429", "404", "502"].iter().any(|status| said.starts_with(status));
            prop_assert!(!released, "{}", said);
        }
    }

    /// An answer that says so is stored: every later one is the same.
    #[test]
    fn what_a_client_has_seen_is_what_every_retry_gets(picks in picks(60)) {
        let mut world = World::new();
        let mut stories = Vec::new();
        live(&mut world, &picks, &mut stories, &vec![make::route(); 3]);
        let seen = stories.iter().any(|story| {
            let said = world.said(*story);
            ["executed", "replayed", "joined"].iter().any(|word| said.contains(word))
        });
        let retry = world.send(request(9));
        world.run();
        if seen {
            prop_assert_eq!(world.said(retry), r#"201 replayed "paid 1""#);
        }
    }
}

#[test]
fn the_choices_of_a_world_are_all_that_can_happen_in_it() {
    let mut world = World::new();
    let first = at_the_origin(&mut world, request(1));
    let call = world.forwarding(first);
    let choices = world.choices();
    for choice in [
        Choice::Answer(call),
        Choice::Lose(call),
        Choice::Crash(first),
        Choice::Leave(first),
        Choice::Pass,
        Choice::Reset,
        Choice::Sweep,
    ] {
        assert!(choices.contains(&choice), "{choice:?}");
    }
    world.take(Choice::Crash(first));
    assert_eq!(world.choices(), [Choice::Leave(first), Choice::Reset, Choice::Sweep]);
}

#[test]
fn a_fail_on_running_duplicate_runs_again_only_what_has_completed() {
    let mut world = World::new();
    at_the_origin(&mut world, request(1));
    let early = world.send(with_strategy(OnDuplicate::FailOnRunning, 2));
    world.run();
    let late = world.send(with_strategy(OnDuplicate::FailOnRunning, 3));
    world.run();
    assert!(world.said(early).starts_with("409 in-flight"));
    assert_eq!(world.said(late), r#"201 executed "paid 2""#);
}
