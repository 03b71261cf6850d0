//! Every knob of a route: a field with its meaning, its default (in `impl Default`) and its type.
//!
//! `serde` reads a route from a table of `ROUTES`. A dotted knob of the documentation is a field of a
//! group: `key.required` is `key = { required = true }`. The groups `fingerprint` and `outcome` stand
//! beside the code that follows them. Tests hold the table of knobs in README.md to these fields,
//! their defaults and their comments.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::preset::WebhookSender;
use crate::config::read::{Misconfigured, read};
use crate::config::values::{self, DAY, MINUTE, Mode};
use crate::lifecycle::condition::Condition;
use crate::lifecycle::event::{CredentialChange, Strategy};
use crate::lifecycle::outcome;
use crate::lifecycle::record::Durations;
use crate::lifecycle::reply::StreamedTypes;
use crate::request::credential::CredentialPart;
use crate::request::fingerprint::{self, BodyRule};
use crate::request::header::header_names;
use crate::request::json::Pointer;
use crate::request::key_source::Source;
use crate::request::repeatability::CLOCKS_APART;
use crate::request::scope::ScopePart;

/// The rules of one route.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Names the route in records and logs; without it `route-1`, `route-2` …
    #[serde(deserialize_with = "values::name")]
    pub name: String,
    /// Methods it guards. GET, HEAD, OPTIONS and TRACE are never guarded.
    #[serde(deserialize_with = "values::methods")]
    pub methods: Vec<String>,
    /// Path it guards; `{name}` is one segment, `{*rest}` the rest. The most specific path wins, segment by
    /// segment from the left.
    #[serde(deserialize_with = "values::path")]
    pub path: String,
    /// `enforce`; `shadow` forwards everything and logs what enforcing would answer; `off`.
    pub mode: Mode,
    /// A webhook sender's habits as defaults: `stripe-webhook`, `github-webhook`, `shopify-webhook`,
    /// `standard-webhooks`, `svix`.
    pub preset: Option<WebhookSender>,
    /// Where a request's key comes from.
    #[serde(deserialize_with = "values::table")]
    pub key: KeyRule,
    /// What keeps equal keys apart; also `route`, `header:NAME`. Changing it makes known keys unknown.
    pub scope: Vec<ScopePart>,
    /// Where callers carry who they are: `header:NAME`, `cookie:NAME`, `jwt:/claim`; if none is there, all cookies.
    pub credential: Vec<CredentialPart>,
    /// The same operation under another credential: `refuse` (409) or `forward`, which runs it again.
    pub credential_change: CredentialChange,
    /// What a retry must match.
    #[serde(deserialize_with = "values::table")]
    pub fingerprint: fingerprint::Rule,
    /// What a duplicate gets: `return_existing`, `fail`, or `fail_on_running`, which runs a completed
    /// operation again.
    pub on_duplicate: Strategy,
    /// What a client may choose with `X-On-Conflict`.
    pub client_strategies: Vec<Strategy>,
    /// How long a duplicate waits for the running one; `0s` never.
    #[serde(deserialize_with = "values::span::<0, { 10 * MINUTE }, _>")]
    pub wait: Duration,
    /// Whether a request is answered before it is done: `never`; `allow` where its client asks by `Prefer: respond-async`;
    /// `always`. Then 202 names the address that will have the reply.
    #[serde(rename = "async")]
    pub respond_async: RespondAsync,
    /// Whether that address asks for the request's credential.
    pub status_credential: bool,
    /// How long the origin may take, to the last body byte, of a stream to its head. The lease is this and
    /// 15 s.
    #[serde(deserialize_with = "values::span::<1, { 60 * MINUTE }, _>")]
    pub timeout: Duration,
    /// What the origin's answer means.
    #[serde(deserialize_with = "values::table")]
    pub outcome: outcome::Rule,
    /// A duplicate of an unknown outcome: `hold`, `probe` (asks the origin), or `retry`, which may run it
    /// twice.
    pub on_in_doubt: Doubtful,
    /// Path at the origin that tells what became of a key: `/v1/payments/by-key/{key}`.
    #[serde(deserialize_with = "values::probe")]
    pub probe: Option<String>,
    /// What a 404 of the probe must say to free the key: `{ body = "/code", is = "not_found" }`.
    pub probe_absent: Option<Condition>,
    /// How long after the lease's end a 404 of the probe frees the key.
    #[serde(deserialize_with = "values::span::<0, { 30 * DAY }, _>")]
    pub probe_after: Duration,
    /// How long a stored reply is replayed. After it and the tombstone the key is free again.
    #[serde(deserialize_with = "values::span::<1, { 3660 * DAY }, _>")]
    pub ttl: Duration,
    /// In the dialect `repeatability`: how long after it was first sent an unknown request is taken for a new one; without it
    /// `ttl`.
    #[serde(deserialize_with = "values::some_span::<0, { 3660 * DAY }, _>")]
    pub window: Option<Duration>,
    /// How long after `ttl` a late retry gets 410 and not a second charge.
    #[serde(deserialize_with = "values::span::<0, { 3660 * DAY }, _>")]
    pub tombstone: Duration,
    /// How long a record stays in doubt; then its key answers 410.
    #[serde(deserialize_with = "values::span::<1, { 3660 * DAY }, _>")]
    pub doubt_ttl: Duration,
    /// What is kept of a reply.
    #[serde(deserialize_with = "values::table")]
    pub reply: ReplyRule,
    /// What is accepted of a request.
    #[serde(deserialize_with = "values::table")]
    pub request: RequestRule,
    /// The key that the origin gets: `same` as received, `derived` (one per run), `none`.
    pub forward_key: ForwardKey,
    /// Browser origins that may read replays, problems and the headers of the filter.
    #[serde(deserialize_with = "values::cors")]
    pub cors: Vec<String>,
    /// Whether the route appears in the published policy.
    pub publish: bool,
}

/// Where a request's key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRule {
    /// Where the key is taken from, in order: `header:NAME`, `query:NAME`, `body:/pointer`, `form:NAME`,
    /// `template:…`, `repeatability`.
    pub from: Vec<Source>,
    /// Refuse a request without a key (400); else it passes through unguarded.
    pub required: bool,
}

/// What is kept of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplyRule {
    /// Reply bodies above it reach the first caller but are not kept.
    #[serde(deserialize_with = "values::size")]
    pub max: u64,
    /// Media types of replies that are streamed and not kept; `*` at the end stands for any rest.
    pub stream: StreamedTypes,
    /// Reply headers that are not kept although they would be.
    #[serde(deserialize_with = "header_names")]
    pub drop: Vec<String>,
    /// Reply headers that are kept although they would not be.
    #[serde(deserialize_with = "values::kept_names")]
    pub keep: Vec<String>,
}

/// What is accepted of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestRule {
    /// Request bodies above it are refused (413).
    #[serde(deserialize_with = "values::size")]
    pub max: u64,
}

/// What happens to a record in doubt when a duplicate comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doubtful {
    /// Nothing; the duplicate is told that the outcome is unknown.
    Hold,
    /// The request is forwarded again: for origins that are idempotent themselves.
    Retry,
    /// The origin is asked.
    Probe,
}

/// Whether a request is answered before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RespondAsync {
    /// No; the preference is ignored.
    Never,
    /// Where its client prefers that.
    Allow,
    /// Whatever its client prefers.
    Always,
}

/// In which form the key goes on to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardKey {
    /// As received.
    Same,
    /// A key of the run's own: the same on every attempt, different per route and per run.
    Derived,
    /// Not at all.
    None,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            methods: vec!["POST".to_owned(), "PATCH".to_owned()],
            path: "/{*rest}".to_owned(),
            mode: Mode::Enforce,
            preset: None,
            key: KeyRule::default(),
            scope: vec![ScopePart::Host, ScopePart::Method, ScopePart::Path, ScopePart::Credential],
            credential: vec![
                CredentialPart::Header("authorization".to_owned()),
                CredentialPart::Header("x-api-key".to_owned()),
            ],
            credential_change: CredentialChange::Refuse,
            fingerprint: fingerprint::Rule::default(),
            on_duplicate: Strategy::ReturnExisting,
            client_strategies: vec![Strategy::ReturnExisting, Strategy::Fail],
            wait: Duration::from_secs(10),
            respond_async: RespondAsync::Never,
            status_credential: true,
            timeout: Duration::from_mins(1),
            outcome: outcome::Rule::default(),
            on_in_doubt: Doubtful::Hold,
            probe: None,
            probe_absent: None,
            probe_after: Duration::from_mins(1),
            ttl: Duration::from_hours(24),
            window: None,
            tombstone: Duration::ZERO,
            doubt_ttl: Duration::from_hours(90 * 24),
            reply: ReplyRule::default(),
            request: RequestRule::default(),
            forward_key: ForwardKey::Same,
            cors: Vec::new(),
            publish: true,
        }
    }
}

impl Default for KeyRule {
    fn default() -> Self {
        Self { from: vec![Source::Header("idempotency-key".to_owned())], required: false }
    }
}

impl Default for ReplyRule {
    fn default() -> Self {
        Self {
            max: 8 * 1024 * 1024,
            stream: StreamedTypes::default(),
            drop: Vec::new(),
            keep: Vec::new(),
        }
    }
}

impl Default for RequestRule {
    fn default() -> Self {
        Self { max: 8 * 1024 * 1024 }
    }
}

impl Route {
    /// Reads the table at `place`, the route of that number: its own knobs lie over its preset's, and
    /// those over the defaults.
    pub(super) fn read(
        place: &str,
        table: &Map<String, Value>,
        number: usize,
    ) -> Result<Self, Vec<Misconfigured>> {
        let mut knobs = Map::new();
        knobs.insert("name".to_owned(), Value::String(format!("route-{number}")));
        if let Some(Ok(sender)) = table.get("preset").map(WebhookSender::deserialize) {
            lay_over(&mut knobs, &sender.habits());
        }
        lay_over(&mut knobs, table);
        read_except_as_json(&mut knobs);
        let names_streams = knobs.get("reply").is_some_and(|reply| reply.get("stream").is_some());
        let route: Self = read(place, knobs)?;
        let streams = (names_streams && route.respond_async == RespondAsync::Always)
            .then_some(("reply.stream", "names replies to be streamed, but async is always, and an asynchronous call streams nothing"));
        let contradictions: Vec<_> = route
            .contradictions()
            .into_iter()
            .chain(streams)
            .map(|(knob, why)| Misconfigured::new(format!("{place}.{knob}"), why))
            .collect();
        if contradictions.is_empty() { Ok(route) } else { Err(contradictions) }
    }

    /// The route's spans as the Ledger is told them.
    #[must_use]
    pub fn durations(&self) -> Durations {
        Durations {
            lease: self.timeout.saturating_add(SETTLE_ROOM),
            ttl: self.ttl,
            tombstone: self.tombstone,
            doubt_ttl: self.doubt_ttl,
        }
    }

    /// Whether its keys have a status address.
    #[must_use]
    pub fn has_status_address(&self) -> bool {
        self.respond_async != RespondAsync::Never
    }

    /// The same for a call that nobody waits for: it streams nothing, so what it is answered is read to its end.
    #[must_use]
    pub fn without_streams(&self) -> Self {
        let reply = ReplyRule { stream: StreamedTypes::none(), ..self.reply.clone() };
        Self { reply, ..self.clone() }
    }

    /// How old an unknown request may be that says when it was first sent; none where the route does not look at that.
    #[must_use]
    pub fn repeatability_window(&self) -> Option<Duration> {
        let is_source = self.key.from.contains(&Source::Repeatability);
        is_source.then_some(self.window.unwrap_or(self.ttl))
    }

    /// A key that is forgotten within its window would be taken for a new one.
    fn window_contradiction(&self) -> Option<(&'static str, &'static str)> {
        let Some(window) = self.repeatability_window() else {
            return self.window.map(|_| ("window", "says how old a request of the dialect may be, but key.from does not name repeatability"));
        };
        if window > self.ttl.saturating_add(self.tombstone) {
            Some(("window", "is longer than a key is known: at most ttl and tombstone together"))
        } else if window > self.doubt_ttl {
            Some(("window", "is longer than a doubt is known: at most doubt_ttl"))
        } else if window <= CLOCKS_APART.saturating_mul(2) {
            Some((
                "window",
                "must be longer than 10 minutes (without it, ttl must be): clocks may be 5 minutes apart",
            ))
        } else {
            None
        }
    }

    /// Knobs that are sound each and make no sense together.
    fn contradictions(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        let (doubtful, forwarded) = (self.on_in_doubt, self.forward_key);
        if self.key.from.is_empty() {
            found.push(if self.key.required {
                ("key.required", "asks for a key, but key.from names no source for one")
            } else {
                ("key.from", "names no source, so nothing is guarded: use mode = \"off\" for that")
            });
        }
        if doubtful == Doubtful::Probe && self.probe.is_none() {
            found.push(("on_in_doubt", "is probe, but probe names no path to ask at"));
        }
        if doubtful == Doubtful::Probe && forwarded != ForwardKey::Same {
            found.push(("on_in_doubt", "is probe, which asks by the client's key, but forward_key keeps that key from the origin"));
        }
        if doubtful == Doubtful::Retry && forwarded == ForwardKey::None {
            found.push(("on_in_doubt", "is retry, which only an origin that sees the same key can bear, but forward_key is none"));
        }
        if self.has_status_address() && self.timeout > RUNNER_MAX {
            found.push(("timeout", "is longer than the 14 minutes that an asynchronous call may last, for which its object is kept"));
        }
        found.extend(self.window_contradiction());
        let names_claim = self.credential.iter().any(|part| matches!(part, CredentialPart::Jwt(_)));
        let is_authorization = |name: &str| name == "authorization";
        if names_claim
            && self.credential.contains(&CredentialPart::Header("authorization".to_owned()))
        {
            found.push(("credential", "names a claim of the token (jwt:…) and the whole Authorization, which a renewed token changes: leave header:Authorization out"));
        }
        if names_claim && self.scope.iter().filter_map(ScopePart::header).any(is_authorization) {
            found.push(("scope", "names Authorization, which a renewed token changes, but credential names a claim of the token (jwt:…)"));
        }
        if names_claim && self.fingerprint.headers.iter().any(|name| is_authorization(name)) {
            found.push(("fingerprint.headers", "names Authorization, which a renewed token changes, but credential names a claim of the token (jwt:…)"));
        }
        if self.probe_absent.is_some() && self.probe.is_none() {
            found.push((
                "probe_absent",
                "says what an answer means, but probe names no path to ask at",
            ));
        }
        if self.outcome.rules_repeat() {
            found.push((
                "outcome.when",
                "asks the same of one status twice; only the first would count",
            ));
        }
        let fingerprint = &self.fingerprint;
        if !fingerprint.except.is_empty() && fingerprint.body != BodyRule::Json {
            found.push(("fingerprint.except", "leaves members out of a JSON body, but fingerprint.body compares something else: set it to json, or leave it out"));
        }
        if fingerprint.except.iter().any(Pointer::has_mark) {
            found.push((
                "fingerprint.except",
                "needs no ? at the end of a pointer: what is left out may be absent anyway",
            ));
        }
        if fingerprint.body.names_twice() {
            found.push(("fingerprint.body", "names one member twice"));
        }
        if self.outcome.lists_overlap() {
            found.push(("outcome", "names one status in two of its lists"));
        }
        found
    }
}

/// Where members are left out of the body and nothing says how the rest is compared, it is compared as JSON: no other
/// rule has members.
fn read_except_as_json(knobs: &mut Map<String, Value>) {
    if let Some(Value::Object(fingerprint)) = knobs.get_mut("fingerprint")
        && fingerprint.contains_key("except")
    {
        fingerprint.entry("body").or_insert_with(|| Value::String("json".to_owned()));
    }
}

/// Lays a table over another: what the upper one says counts, group by group. A knob may be written as
/// the documentation writes it: `"key.required" = true`.
fn lay_over(below: &mut Map<String, Value>, above: &Map<String, Value>) {
    for (name, value) in above {
        match (name.split_once('.'), below.get_mut(name), value) {
            (Some((group, knob)), ..) => {
                let knob = Map::from_iter([(knob.to_owned(), value.clone())]);
                lay_over(below, &Map::from_iter([(group.to_owned(), Value::Object(knob))]));
            }
            (None, Some(Value::Object(below)), Value::Object(above)) => lay_over(below, above),
            (None, ..) => {
                below.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A Durable Object is kept for 15 minutes while nobody is connected to it (developers.cloudflare.com,
/// changelog/durable-objects/2026-10-01-pending-io-keep-alive); the settle needs some of them.
const RUNNER_MAX: Duration = Duration::from_mins(14);
/// Time beyond the route's `timeout` for the settle and its retries, and for reading on.
pub const SETTLE_ROOM: Duration = Duration::from_secs(15);
