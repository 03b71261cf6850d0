//! The scenarios in which a claim is handed over to a Runner, because its client does not wait for the reply.

use oncegate::config::route::{Doubtful, RespondAsync, Route};
use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::Strategy;
use oncegate::lifecycle::outcome::Failure;
use oncegate::request::key::KeyId;

use super::scenarios::Scenario;
use crate::make::{self, s};
use crate::world::response;

/// Each with the number of faults in `npm test`, and in the nightly run; in both orders, where its requests differ.
pub(super) fn all() -> Vec<(Scenario, u32, u32)> {
    let unknown = || (s(1), Err(Failure::Lost));
    let says = |status: u16| (s(1), Ok(response(status, &format!("said {status}"))));
    let again = |route: &mut Route| route.on_duplicate = Strategy::FailOnRunning;
    let allow = |route: &mut Route| route.respond_async = RespondAsync::Allow;
    let always = |route: &mut Route| route.respond_async = RespondAsync::Always;
    // Its lease ends while a hand-over may still be under way.
    let hasty = |route: &mut Route| {
        (route.respond_async, route.on_in_doubt) = (RespondAsync::Allow, Doubtful::Retry);
        route.timeout = s(5);
    };
    let other_print =
        |request: &mut GuardedRequest| request.claim.metadata.fingerprint = make::fingerprint(2);
    let other_scope =
        |request: &mut GuardedRequest| request.key_id = KeyId::new(&make::key("k"), [2; 16]);
    let scenarios = vec![
        (Scenario::new("async", 2).route(allow).prefers(0, s(0)).prefers(1, s(0)), 1, 2),
        (Scenario::new("async, and one that waits", 2).route(allow).prefers(0, s(0)), 1, 2),
        (
            Scenario::new("async, with a wait", 2).route(allow).prefers(0, s(5)).prefers(1, s(0)),
            1,
            2,
        ),
        (
            Scenario::new("async, always", 2)
                .route(always)
                .origin(&[(s(30), Ok(response(201, "slow")))]),
            1,
            2,
        ),
        (
            Scenario::new("async, released", 2).route(allow).prefers(0, s(0)).origin(&[says(429)]),
            1,
            2,
        ),
        (
            Scenario::new("async, released, with a wait", 2)
                .route(allow)
                .prefers(0, s(5))
                .prefers(1, s(5))
                .origin(&[says(429)]),
            1,
            2,
        ),
        (
            Scenario::new("async, in doubt", 2).route(allow).prefers(0, s(5)).origin(&[unknown()]),
            1,
            2,
        ),
        (
            Scenario::new("async, an answer after the timeout", 2)
                .route(allow)
                .prefers(0, s(0))
                .origin(&[(s(70), Ok(response(201, "late")))]),
            1,
            2,
        ),
        (Scenario::new("async, retry", 2).route(hasty).prefers(0, s(0)).prefers(1, s(0)), 1, 2),
        (
            Scenario::new("async, retry: in doubt", 2)
                .route(hasty)
                .prefers(0, s(0))
                .origin(&[unknown()]),
            1,
            2,
        ),
        (
            Scenario::new("async, fail on running", 2).route(allow).route(again).prefers(0, s(0)),
            1,
            2,
        ),
        (
            Scenario::new("async, fail on running, released", 2)
                .route(allow)
                .route(again)
                .prefers(0, s(0))
                .prefers(1, s(0))
                .origin(&[(s(1), Ok(response(201, "paid 1"))), says(429)]),
            1,
            2,
        ),
        (
            Scenario::new("async, two fingerprints, released", 2)
                .route(allow)
                .prefers(0, s(0))
                .prefers(1, s(0))
                .request(1, other_print)
                .origin(&[says(429)]),
            1,
            2,
        ),
        (
            Scenario::new("async, two credentials, released", 2)
                .route(allow)
                .prefers(0, s(0))
                .request(1, other_scope)
                .origin(&[says(429)]),
            1,
            2,
        ),
    ];
    let both_orders = scenarios.into_iter().flat_map(|(scenario, by_day, by_night)| {
        let reversed = (!scenario.is_alike()).then(|| scenario.clone().reversed());
        [scenario].into_iter().chain(reversed).map(move |scenario| (scenario, by_day, by_night))
    });
    both_orders.collect()
}
