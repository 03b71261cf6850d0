//! `filter`: the story of one request, told in a world whose every move is chosen.

mod corners;
mod crashes;
mod doubts;
mod faults;
mod life;
mod origin;
mod runners;
mod schedules;

use std::rc::Rc;
use std::time::Duration;

use oncegate::config::route::{Doubtful, RespondAsync, Route};
use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::{Claim, OnInDoubt, Strategy};
use oncegate::request::key::KeyId;

use crate::make;
use crate::world::{Choice, OriginResponse, Scripted, Story, World, response};

/// The key of every test that needs one only.
fn the_key() -> KeyId {
    make::key_id("k")
}

/// A try of the same request, with a lease of its own.
fn request(lease: u8) -> GuardedRequest {
    by(&make::route(), lease)
}

/// The same under the rules of a route.
pub(crate) fn by(route: &Route, lease: u8) -> GuardedRequest {
    let mut claim = Claim {
        strategy: route.on_duplicate,
        on_in_doubt: match route.on_in_doubt {
            Doubtful::Retry => OnInDoubt::Retry,
            Doubtful::Hold | Doubtful::Probe => OnInDoubt::Hold,
        },
        credential_change: route.credential_change,
        durations: route.durations(),
        wait: route.wait,
        ..make::claim(make::lease(lease))
    };
    claim.metadata.status = route.has_status_address().then(|| make::status_key(claim.lease));
    let responds_async = route.respond_async == RespondAsync::Always;
    GuardedRequest { route: Rc::new(route.clone()), responds_async, ..make::request("k", claim) }
}

/// Its client prefers `respond-async`, and waits for so long.
pub(crate) fn preferring(mut request: GuardedRequest, wait: Duration) -> GuardedRequest {
    request.responds_async = true;
    request.claim.wait = wait;
    request
}

fn with_strategy(strategy: Strategy, lease: u8) -> GuardedRequest {
    by(&Route { on_duplicate: strategy, ..make::route() }, lease)
}

/// The origin answers after so long.
fn after(span: Duration, response: OriginResponse) -> Scripted {
    (span, Ok(response))
}

/// A call of the origin that takes a second.
fn slow() -> Scripted {
    after(make::s(1), response(201, "paid 1"))
}

/// A request that is at the origin, which will say nothing before the driver says so.
fn at_the_origin(world: &mut World, request: GuardedRequest) -> Story {
    let story = world.send(request);
    while !world.is_forwarding(story) {
        assert!(world.step(), "it never reaches the origin");
    }
    let call = world.forwarding(story);
    world.take(Choice::Arrive(call));
    story
}
