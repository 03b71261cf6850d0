//! Every knob of a route once: name, default, meaning, parser.
//!
//! A knob's default is text that goes through the same parser as a configured value, so the table
//! cannot promise what the parser does not take. README and the published policy are held to it by
//! tests.

use std::time::Duration;

use crate::config::values::{self, Wrong};
use crate::lifecycle::event::{CredentialChange, Strategy};
use crate::lifecycle::outcome;
use crate::lifecycle::record::Durations;
use crate::lifecycle::reply::Adjusted;
use crate::request::credential::CredentialPart;
use crate::request::fingerprint;
use crate::request::json::Json;
use crate::request::key_source::Source;
use crate::request::scope::ScopePart;

/// The rules of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Names it in records and logs.
    pub name: String,
    /// Methods that it guards, upper case.
    pub methods: Vec<String>,
    /// Its path: `{name}` is one segment, `{*rest}` the rest.
    pub path: String,
    /// Whether it enforces, watches, or is off.
    pub mode: Mode,
    /// The sender whose habits were taken as defaults.
    pub preset: Option<Sender>,
    /// Where the key is taken from, tried in this order.
    pub key_from: Vec<Source>,
    /// Whether a request without a key is refused.
    pub key_required: bool,
    /// What keeps equal keys apart.
    pub scope: Vec<ScopePart>,
    /// Where callers carry who they are.
    pub credential: Vec<CredentialPart>,
    /// What happens to the same operation under another credential.
    pub credential_change: CredentialChange,
    /// What a retry must match.
    pub fingerprint: fingerprint::Rule,
    /// What a duplicate gets.
    pub on_duplicate: Strategy,
    /// What a client may choose with `X-On-Conflict`.
    pub client_strategies: Vec<Strategy>,
    /// How long a duplicate waits for the running one.
    pub wait: Duration,
    /// How long the origin may take, to the last body byte.
    pub timeout: Duration,
    /// What the origin's answer means.
    pub outcome: outcome::Rule,
    /// What happens to a record in doubt when a duplicate comes.
    pub on_in_doubt: Doubtful,
    /// Path to ask the origin what became of a key; `{key}` is the key.
    pub probe: Option<String>,
    /// How long after the lease's end a 404 of the probe means that nothing happened.
    pub probe_after: Duration,
    /// How long a stored reply is kept.
    pub ttl: Duration,
    /// How long key id and fingerprint outlive the reply.
    pub tombstone: Duration,
    /// How long a record at least stays in doubt.
    pub doubt_ttl: Duration,
    /// Bytes of reply body that are kept at most.
    pub reply_max: u64,
    /// Headers of the reply that are kept against, or not in spite of, the rule.
    pub reply: Adjusted,
    /// Bytes of request body that are accepted at most.
    pub request_max: u64,
    /// In which form the key goes on to the origin.
    pub forward_key: ForwardKey,
    /// Browser origins that may read replays and problems.
    pub cors: Vec<String>,
    /// Whether it appears in the published policy.
    pub publish: bool,
}

/// Whether a route enforces its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Enforce,
    /// Everything is forwarded as if unguarded; the log says what enforcing would answer.
    Shadow,
    /// Everything is forwarded.
    Off,
}

/// What happens to a record in doubt when a duplicate comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubtful {
    /// Nothing; the duplicate hears so.
    Hold,
    /// It is forwarded again: for origins that are idempotent themselves.
    Retry,
    /// The origin is asked.
    Probe,
}

/// In which form the key goes on to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardKey {
    /// As received.
    Same,
    /// A key of the run's own: the same on every attempt, different per route and per run.
    Derived,
    /// Not at all.
    None,
}

/// Senders of webhooks whose habits are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// `stripe-webhook`: the event's id in the body.
    Stripe,
    /// `github-webhook`: X-GitHub-Delivery.
    GitHub,
    /// `shopify-webhook`: X-Shopify-Webhook-Id.
    Shopify,
    /// `standard-webhooks`: webhook-id.
    Standard,
    /// `svix`: svix-id.
    Svix,
}

/// One knob of a route: its only definition.
#[derive(Debug)]
pub struct Knob {
    /// Dotted name: `key.required`.
    pub name: &'static str,
    /// The default, as JSON (and as TOML, where it is no table).
    pub default: &'static str,
    /// What it does, in one line: for people, so the Worker is spared it.
    #[cfg(not(target_family = "wasm"))]
    pub doc: &'static str,
    /// Reads a value into the route.
    pub(crate) set: fn(&mut Route, &Json) -> Result<(), Wrong>,
}

macro_rules! knob {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+ = $parse:expr) => {
        Knob {
            name: $name,
            default: $default,
            #[cfg(not(target_family = "wasm"))]
            doc: $doc,
            set: |route, value| {
                route.$($field).+ = $parse(value)?;
                Ok(())
            },
        }
    };
}

/// All knobs of a route, in the order of the documentation.
pub static KNOBS: [Knob; 34] = [
    knob!(
        "name",
        r#""default""#,
        "Names the route in records and logs; without it `route-1`, `route-2` …",
        name = values::name
    ),
    knob!(
        "methods",
        r#"["POST", "PATCH"]"#,
        "Methods it guards. GET, HEAD, OPTIONS and TRACE are never guarded.",
        methods = values::methods
    ),
    knob!(
        "path",
        r#""/{*rest}""#,
        "Path it guards; `{name}` is one segment, `{*rest}` the rest. The most specific path wins.",
        path = values::path
    ),
    knob!(
        "mode",
        r#""enforce""#,
        "`enforce`; `shadow` forwards everything and logs what enforcing would answer; `off`.",
        mode = values::mode
    ),
    knob!(
        "preset",
        "null",
        "A webhook sender's habits as defaults: `stripe-webhook`, `github-webhook`, `shopify-webhook`, `standard-webhooks`, `svix`.",
        preset = values::sender
    ),
    knob!(
        "key.from",
        r#"["header:Idempotency-Key"]"#,
        "Where the key is taken from, in order: `header:NAME`, `query:NAME`, `body:/pointer`, `template:…`.",
        key_from = values::sources
    ),
    knob!(
        "key.required",
        "false",
        "Refuse a request without a key (400); else it passes through unguarded.",
        key_required = values::switch
    ),
    knob!(
        "scope",
        r#"["host", "method", "path", "credential"]"#,
        "What keeps equal keys apart; also `route`, `header:NAME`. Changing it makes known keys unknown.",
        scope = values::scope
    ),
    knob!(
        "credential",
        r#"["header:Authorization", "header:X-Api-Key"]"#,
        "Where callers carry who they are: `header:NAME`, `cookie:NAME`; if none is there, all cookies.",
        credential = values::credential
    ),
    knob!(
        "credential_change",
        r#""refuse""#,
        "The same operation under another credential: `refuse` (409) or `forward`, which runs it again.",
        credential_change = values::credential_change
    ),
    knob!(
        "fingerprint.body",
        r#""raw""#,
        "What of the body a retry must match: `raw`, `json` (RFC 8785), `none`, or a list of JSON pointers.",
        fingerprint.body = values::body_rule
    ),
    knob!(
        "fingerprint.query",
        "true",
        "Whether a retry must match the query.",
        fingerprint.query = values::switch
    ),
    knob!(
        "fingerprint.headers",
        "[]",
        "Further headers that a retry must match.",
        fingerprint.headers = values::header_names
    ),
    knob!(
        "on_duplicate",
        r#""return_existing""#,
        "What a duplicate gets: `return_existing`, `fail`, or `fail_on_running`, which runs a completed operation again.",
        on_duplicate = values::strategy
    ),
    knob!(
        "client_strategies",
        r#"["return_existing", "fail"]"#,
        "What a client may choose with `X-On-Conflict`.",
        client_strategies = values::strategies
    ),
    knob!(
        "wait",
        r#""10s""#,
        "How long a duplicate waits for the running one; `0s` never.",
        wait = |value| values::span(value, 0, 10 * MINUTE)
    ),
    knob!(
        "timeout",
        r#""60s""#,
        "How long the origin may take, to the last body byte. The lease is this and 15 s.",
        timeout = |value| values::span(value, 1, 60 * MINUTE)
    ),
    knob!(
        "outcome.preset",
        r#""standard""#,
        "What the origin's answer means: `standard`, `strict` (as Stripe), `success-only`, which runs a failed operation again.",
        outcome.preset = values::outcome_preset
    ),
    knob!(
        "outcome.store",
        "[]",
        "Statuses whose replies are stored whatever the preset says.",
        outcome.store = values::status_list
    ),
    knob!(
        "outcome.release",
        "[]",
        "Statuses that free the key whatever the preset says: a retry runs again.",
        outcome.release = values::status_list
    ),
    knob!(
        "outcome.in_doubt",
        "[]",
        "Statuses that leave the outcome unknown whatever the preset says.",
        outcome.in_doubt = values::status_list
    ),
    knob!(
        "on_in_doubt",
        r#""hold""#,
        "A duplicate of an unknown outcome: `hold`, `probe` (asks the origin), or `retry`, which may run it twice.",
        on_in_doubt = values::doubtful
    ),
    knob!(
        "probe",
        "null",
        "Path at the origin that tells what became of a key: `/v1/payments/by-key/{key}`.",
        probe = values::probe
    ),
    knob!(
        "probe_after",
        r#""60s""#,
        "How long after the lease's end a 404 of the probe frees the key.",
        probe_after = |value| values::span(value, 0, 30 * DAY)
    ),
    knob!(
        "ttl",
        r#""24h""#,
        "How long a stored reply is replayed. After it and the tombstone the key is free again.",
        ttl = |value| values::span(value, 1, 3660 * DAY)
    ),
    knob!(
        "tombstone",
        r#""0s""#,
        "How long after `ttl` a late retry gets 410 and not a second charge.",
        tombstone = |value| values::span(value, 0, 3660 * DAY)
    ),
    knob!(
        "doubt_ttl",
        r#""90d""#,
        "How long a record stays in doubt; then its key answers 410.",
        doubt_ttl = |value| values::span(value, 1, 3660 * DAY)
    ),
    knob!(
        "reply.max",
        r#""8MiB""#,
        "Reply bodies above it reach the first caller but are not kept.",
        reply_max = values::size
    ),
    knob!(
        "reply.drop",
        "[]",
        "Reply headers that are not kept although they would be.",
        reply.drop = values::header_names
    ),
    knob!(
        "reply.keep",
        "[]",
        "Reply headers that are kept although they would not be.",
        reply.keep = values::kept_names
    ),
    knob!(
        "request.max",
        r#""8MiB""#,
        "Request bodies above it are refused (413).",
        request_max = values::size
    ),
    knob!(
        "forward_key",
        r#""same""#,
        "The key that the origin gets: `same` as received, `derived` (one per run), `none`.",
        forward_key = values::forward_key
    ),
    knob!(
        "cors",
        "[]",
        "Browser origins that may read replays, problems and the headers of the filter.",
        cors = values::cors
    ),
    knob!(
        "publish",
        "true",
        "Whether the route appears in the published policy.",
        publish = values::switch
    ),
];

impl Route {
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

    /// A route with every knob at its default.
    ///
    /// # Errors
    /// A default is not what its own parser takes; a test holds that none is.
    pub fn with_defaults() -> Result<Self, Wrong> {
        let mut route = Self::blank();
        for knob in &KNOBS {
            if knob.default != "null" {
                let value = Json::parse(knob.default).map_err(|e| Wrong(e.to_string()))?;
                (knob.set)(&mut route, &value)?;
            }
        }
        Ok(route)
    }

    /// Takes a sender's habits as defaults: redeliveries differ in small ways, come again after any
    /// answer but 2xx, and go to receivers that must bear at-least-once delivery anyway.
    pub(crate) fn take_habits(&mut self, sender: Sender) {
        self.preset = Some(sender);
        self.key_from = sender.key().into_iter().collect();
        self.outcome.preset = outcome::Preset::SuccessOnly;
        self.fingerprint.body = fingerprint::BodyRule::None;
        self.on_in_doubt = Doubtful::Retry;
        self.ttl = Duration::from_millis(7 * DAY);
    }

    fn blank() -> Self {
        Self {
            name: String::new(),
            methods: Vec::new(),
            path: String::new(),
            mode: Mode::Enforce,
            preset: None,
            key_from: Vec::new(),
            key_required: false,
            scope: Vec::new(),
            credential: Vec::new(),
            credential_change: CredentialChange::Refuse,
            fingerprint: fingerprint::Rule {
                body: fingerprint::BodyRule::Raw,
                query: true,
                headers: Vec::new(),
            },
            on_duplicate: Strategy::ReturnExisting,
            client_strategies: Vec::new(),
            wait: Duration::from_millis(0),
            timeout: Duration::from_millis(0),
            outcome: outcome::Rule {
                preset: outcome::Preset::Standard,
                store: Vec::new(),
                release: Vec::new(),
                in_doubt: Vec::new(),
            },
            on_in_doubt: Doubtful::Hold,
            probe: None,
            probe_after: Duration::from_millis(0),
            ttl: Duration::from_millis(0),
            tombstone: Duration::from_millis(0),
            doubt_ttl: Duration::from_millis(0),
            reply_max: 0,
            reply: Adjusted::default(),
            request_max: 0,
            forward_key: ForwardKey::Same,
            cors: Vec::new(),
            publish: true,
        }
    }
}

impl Sender {
    /// Where it puts the id that it repeats on every redelivery.
    fn key(self) -> Option<Source> {
        let source = match self {
            Self::Stripe => "body:/id",
            Self::GitHub => "header:X-GitHub-Delivery",
            Self::Shopify => "header:X-Shopify-Webhook-Id",
            Self::Standard => "header:webhook-id",
            Self::Svix => "header:svix-id",
        };
        Source::parse(source).ok()
    }
}

/// Time beyond the route's `timeout` for the settle and its retries, and for reading on.
pub const SETTLE_ROOM: Duration = Duration::from_secs(15);
/// One minute in milliseconds.
const MINUTE: u64 = 60_000;
/// One day in milliseconds.
pub(crate) const DAY: u64 = 24 * 60 * MINUTE;
