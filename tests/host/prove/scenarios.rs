//! The scenarios that are explored: requests under one key, the rules of their route, and what the origin does.

use std::time::Duration;

use oncegate::config::route::{Doubtful, Route};
use oncegate::filter::{GuardedRequest, StreamEnd};
use oncegate::lifecycle::event::{Claim, CredentialChange, Strategy};
use oncegate::lifecycle::outcome::Failure;
use oncegate::request::key::KeyId;

use super::runners;
use crate::filter::{by, preferring};
use crate::make::{self, days, s};
use crate::world::{Mutant, Scripted, World, response, stream};

/// Requests and an origin.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) route: Route,
    /// The requests, in the order in which they are sent.
    pub(crate) requests: Vec<GuardedRequest>,
    pub(crate) origin: Vec<Scripted>,
    pub(crate) probes: Vec<Scripted>,
    /// A first request of the same key is sent before, and nothing goes wrong with it; the scenario begins so
    /// long after it.
    pub(crate) after: Option<Duration>,
    pub(crate) mutant: Option<Mutant>,
}

impl Scenario {
    /// So many requests of the default route, and an origin that answers 201 after a second.
    pub(crate) fn new(name: &'static str, requests: u8) -> Self {
        let paid = |n| (s(1), Ok(response(201, &format!("paid {n}"))));
        Self {
            name,
            route: make::route(),
            requests: Vec::new(),
            origin: (1..=5).map(paid).collect(),
            probes: Vec::new(),
            after: None,
            mutant: None,
        }
        .requests(requests)
    }

    pub(crate) fn route(mut self, change: impl FnOnce(&mut Route)) -> Self {
        change(&mut self.route);
        let count = self.requests.len();
        self.requests(u8::try_from(count).unwrap())
    }

    fn requests(mut self, count: u8) -> Self {
        self.requests = (1..=count).map(|lease| by(&self.route, lease)).collect();
        self
    }

    /// What the origin does first.
    pub(crate) fn origin(mut self, first: &[Scripted]) -> Self {
        self.origin.splice(..first.len(), first.iter().cloned());
        self
    }

    pub(crate) fn probes(mut self, said: &Scripted) -> Self {
        self.probes = vec![said.clone(); 8];
        self
    }

    pub(crate) fn after(mut self, span: Duration) -> Self {
        self.after = Some(span);
        self
    }

    pub(crate) fn request(mut self, at: usize, change: impl FnOnce(&mut GuardedRequest)) -> Self {
        change(&mut self.requests[at]);
        self
    }

    /// The client of a request prefers `respond-async`, and waits for so long.
    pub(crate) fn prefers(self, at: usize, wait: Duration) -> Self {
        self.request(at, |request| *request = preferring(request.clone(), wait))
    }

    /// Whether another order of its requests would only exchange their names.
    pub(crate) fn is_alike(&self) -> bool {
        let kind = |request: &GuardedRequest| (request.responds_async, request.claim.wait);
        self.requests.iter().all(|request| kind(request) == kind(&self.requests[0]))
    }

    pub(crate) fn reversed(mut self) -> Self {
        self.requests.reverse();
        self
    }

    pub(crate) fn mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// One more try of the first request.
    pub(crate) fn retry(&self, number: u8) -> GuardedRequest {
        let lease = make::lease(0xd0 + number);
        let mut retry = self.requests[0].clone();
        retry.claim.metadata.status = retry.claim.metadata.status.map(|_| make::status_key(lease));
        GuardedRequest { claim: Claim { lease, ..retry.claim }, ..retry }
    }

    pub(crate) fn world(&self) -> World {
        let mut world = World::with(self.mutant);
        world.origin(self.origin.iter().cloned());
        world.probes(self.probes.iter().cloned());
        if let Some(span) = self.after {
            world.send(self.retry(0));
            world.run();
            world.run_for(span);
        }
        world
    }
}

/// Each with the number of faults in `npm test`, and in the nightly run.
pub(crate) fn all() -> Vec<(Scenario, u32, u32)> {
    let new = Scenario::new;
    let unknown = (s(1), Err(Failure::Lost));
    let says = |status: u16| (s(1), Ok(response(status, &format!("said {status}"))));
    let late = (s(70), Ok(response(201, "late")));
    let lost_late = (s(65), Err(Failure::Lost));
    let busy_late = (s(65), Ok(response(503, "busy")));
    let breaks = (s(1), Ok(stream(s(3), StreamEnd::BrokenOff)));
    let never = (crate::world::NEVER, Err(Failure::Lost));
    let fail = |route: &mut Route| route.on_duplicate = Strategy::Fail;
    let again = |route: &mut Route| route.on_duplicate = Strategy::FailOnRunning;
    let retry = |route: &mut Route| route.on_in_doubt = Doubtful::Retry;
    let probe = |route: &mut Route| {
        route.on_in_doubt = Doubtful::Probe;
        route.probe = Some("/{key}".to_owned());
    };
    let other_print =
        |request: &mut GuardedRequest| request.claim.metadata.fingerprint = make::fingerprint(2);
    let other_scope =
        |request: &mut GuardedRequest| request.key_id = KeyId::new(&make::key("k"), [2; 16]);
    let other_caller =
        |change: CredentialChange| move |route: &mut Route| route.credential_change = change;
    let mut scenarios = vec![
        (new("default, 2", 2), 2, 3),
        (new("default, 3", 3), 1, 2),
        (new("default, 3: released, 429", 3).origin(&[says(429)]), 1, 2),
        (new("default: in doubt, 502", 2).origin(&[says(502)]), 1, 2),
        (new("default: in doubt, connection lost", 2).origin(std::slice::from_ref(&unknown)), 1, 2),
        (new("default: an answer after the timeout", 2).origin(std::slice::from_ref(&late)), 1, 2),
        (
            new("default: a refusal after the timeout", 2)
                .origin(&[(s(70), Ok(response(404, "late")))]),
            1,
            2,
        ),
        (new("default: no answer ever", 2).origin(&[never]), 1, 2),
        (new("fail", 3).route(fail), 1, 2),
        (new("fail on running", 3).route(again), 1, 1),
        (
            new("fail on running, then 429", 2)
                .route(again)
                .origin(&[says(201), says(429)])
                .after(s(9)),
            1,
            2,
        ),
        (
            new("fail on running, then in doubt", 2)
                .route(again)
                .origin(&[says(201), unknown.clone()])
                .after(s(9)),
            1,
            2,
        ),
        (new("wait 0", 3).route(|route| route.wait = Duration::from_millis(0)), 1, 2),
        (
            new("retry: in doubt, then 201", 2)
                .route(retry)
                .origin(std::slice::from_ref(&unknown))
                .after(s(74)),
            1,
            2,
        ),
        (
            new("retry: in doubt, then 429", 2)
                .route(retry)
                .origin(&[unknown.clone(), says(429)])
                .after(s(75)),
            1,
            2,
        ),
        (new("retry: late", 2).route(retry).origin(std::slice::from_ref(&late)), 1, 2),
        (new("probe: late", 2).route(probe).origin(&[late]).probes(&says(404)), 1, 2),
        (new("fail: lost after the timeout", 2).route(fail).origin(&[lost_late]), 1, 2),
        (new("retry: 503 after the timeout", 2).route(retry).origin(&[busy_late]), 1, 2),
        (new("a stream", 2).origin(&[(s(1), Ok(stream(s(100), StreamEnd::Over)))]), 1, 2),
        (new("a stream that breaks off", 2).origin(std::slice::from_ref(&breaks)), 1, 2),
        (
            new("retry: in doubt, then a stream that breaks off", 2)
                .route(retry)
                .origin(&[unknown.clone(), breaks])
                .after(s(75)),
            1,
            2,
        ),
        (
            new("probe: 404", 2)
                .route(probe)
                .origin(std::slice::from_ref(&unknown))
                .probes(&says(404))
                .after(s(140)),
            1,
            2,
        ),
        (
            new("probe: 404, but too early", 2)
                .route(probe)
                .origin(std::slice::from_ref(&unknown))
                .probes(&says(404))
                .after(s(80)),
            1,
            2,
        ),
        (
            new("probe: 200", 2)
                .route(probe)
                .origin(std::slice::from_ref(&unknown))
                .probes(&says(200))
                .after(s(9)),
            1,
            2,
        ),
        (
            new("probe: 500", 2).route(probe).origin(&[unknown]).probes(&says(500)).after(s(140)),
            1,
            2,
        ),
        (new("two fingerprints", 2).request(1, other_print), 1, 2),
        (new("two fingerprints, released", 2).request(1, other_print).origin(&[says(429)]), 1, 2),
        (
            new("two scopes", 2)
                .route(other_caller(CredentialChange::Forward))
                .request(1, other_scope),
            1,
            2,
        ),
        (new("two credentials", 2).request(1, other_scope), 1, 2),
        (new("tombstone", 2).route(|route| route.tombstone = days(1)), 1, 2),
        (
            new("tombstone, fail on running", 2)
                .route(again)
                .route(|route| route.tombstone = days(1)),
            1,
            2,
        ),
    ];
    scenarios.extend(runners::all());
    scenarios
}
