//! The clients: each has an operation under a key of its own and retries until it knows the outcome.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use oncegate::answer::{Answer as Answered, Status};
use oncegate::config::route::{Doubtful, RespondAsync, Route};
use oncegate::lifecycle::event::Strategy;
use oncegate::lifecycle::record::Lease;
use oncegate::problem::Code;
use oncegate::request::key::KeyId;
use oncegate::time::{Timestamp, millis};

use super::rng::Rng;
use crate::filter::{by, preferring};
use crate::make::{self, days, instant, s};
use crate::world::{Answer, Event, Story, World};

pub(super) struct Clients {
    routes: Vec<Route>,
    all: Vec<Client>,
    /// Which client tries next, and when.
    tries: BinaryHeap<Reverse<(u64, usize)>>,
    stories: BTreeMap<Story, usize>,
    /// Which request each Runner runs.
    runners: BTreeMap<Story, Story>,
    sent: u64,
}

struct Client {
    key: KeyId,
    route: usize,
    tries: u32,
}

impl Clients {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let routes = routes();
        let mut clients = Vec::new();
        let mut tries = BinaryHeap::new();
        for number in 0..CLIENTS {
            let route = usize::try_from(rng.below(routes.len() as u64)).unwrap();
            clients.push(Client { key: make::key_id(&format!("k{number}")), route, tries: 0 });
            tries.push(Reverse((instant(1000).0 + rng.below(millis(BUSY)), number)));
        }
        let (stories, runners) = (BTreeMap::new(), BTreeMap::new());
        Self { routes, all: clients, tries, stories, runners, sent: 0 }
    }

    pub(super) fn next_try(&self) -> Option<Timestamp> {
        self.tries.peek().map(|Reverse((at, _))| Timestamp(*at))
    }

    pub(super) fn key(&self, story: Story) -> KeyId {
        let asked_by = self.runners.get(&story).unwrap_or(&story);
        self.all[self.stories[asked_by]].key
    }

    /// The client whose turn it is sends its request.
    pub(super) fn send(&mut self, world: &mut World, rng: &mut Rng) {
        let Some(Reverse((at, number))) = self.tries.pop() else { return };
        let client = &mut self.all[number];
        client.tries += 1;
        self.sent += 1;
        let mut lease = [0; 16];
        lease[..8].copy_from_slice(&self.sent.to_le_bytes());
        let mut request = by(&self.routes[client.route], 0);
        request.key_id = client.key;
        request.claim.lease = Lease(lease);
        request.claim.metadata.status =
            request.claim.metadata.status.map(|_| make::status_key(Lease(lease)));
        if request.route.respond_async == RespondAsync::Allow && rng.per_mille(600) {
            request = preferring(request, s(rng.below(3)));
        }
        if rng.per_mille(5) {
            request.claim.metadata.fingerprint = make::fingerprint(2);
        }
        // Known before it is sent: it may be answered at once.
        let story = world.next_story();
        self.stories.insert(story, number);
        world.send(request);
        // Some clients are impatient and send everything twice.
        if client.tries < TRIES && rng.per_mille(100) {
            client.tries += 1;
            self.tries.push(Reverse((at + rng.below(3000), number)));
        }
    }

    /// A client decides by its answer whether it tries again.
    pub(super) fn hear(&mut self, at: Timestamp, event: &Event, rng: &mut Rng) {
        let (story, pause) = match event {
            Event::TakenOver { story, from } => {
                self.runners.insert(*story, *from);
                return;
            }
            // A Runner has no client.
            Event::Crashed { story } if self.runners.contains_key(story) => return,
            Event::Answered { story, answer } => (*story, pause_after(answer)),
            // The connection is gone.
            Event::Crashed { story } | Event::Left { story } => (*story, Some(s(1))),
            _ => return,
        };
        let number = self.stories[&story];
        let client = &mut self.all[number];
        let pause = match pause {
            Some(pause) if client.tries < TRIES => {
                let doubled = millis(pause) << client.tries.min(6);
                doubled / 2 + rng.below(doubled)
            }
            // The client is done; some come back much later.
            _ if client.tries < TRIES && rng.per_mille(150) => rng.below(millis(days(2))),
            _ => return,
        };
        self.tries.push(Reverse((at.0 + pause, number)));
    }
}

/// How long a client waits before its second try, if there is to be one.
fn pause_after(answer: &Answer) -> Option<Duration> {
    match answer {
        Answered::Problem(problem, _) => match problem.code {
            Code::InFlight | Code::StoreUnavailable | Code::OriginUnreachable => {
                problem.retry_after_s.map(s)
            }
            Code::OutcomeUnknown => Some(s(20)),
            _ => None,
        },
        Answered::OriginResponse(_, Status::Released | Status::Unknown, _) => Some(s(1)),
        Answered::Accepted(accepted) => Some(s(accepted.retry_after_s)),
        Answered::OriginResponse(..) | Answered::Stored(..) => None,
    }
}

fn routes() -> Vec<Route> {
    let route = make::route;
    let probe = Some("/{key}".to_owned());
    vec![
        route(),
        route(),
        Route { wait: Duration::from_millis(0), ttl: s(3600), ..route() },
        Route { on_duplicate: Strategy::Fail, ..route() },
        Route { on_duplicate: Strategy::FailOnRunning, ..route() },
        Route { on_in_doubt: Doubtful::Retry, ttl: s(7200), ..route() },
        Route { on_in_doubt: Doubtful::Retry, on_duplicate: Strategy::FailOnRunning, ..route() },
        Route { on_in_doubt: Doubtful::Probe, probe, ..route() },
        Route { ttl: s(1800), tombstone: s(7200), ..route() },
        Route { timeout: s(5), wait: s(30), ..route() },
        Route { respond_async: RespondAsync::Allow, ..route() },
        Route { respond_async: RespondAsync::Always, wait: s(2), ttl: s(3600), ..route() },
        Route {
            respond_async: RespondAsync::Allow,
            on_in_doubt: Doubtful::Retry,
            on_duplicate: Strategy::FailOnRunning,
            timeout: s(5),
            ..route()
        },
    ]
}

const CLIENTS: usize = 1000;
/// All clients begin within this span.
const BUSY: Duration = s(1800);
const TRIES: u32 = 10;
