//! Which requests are guarded: route, key, strategy and patience are settled here, before any Ledger is
//! called, and before any body is read unless the key lies in it.

use std::rc::Rc;
use std::time::Duration;

use crate::config::route::{Doubtful, Route};
use crate::config::values::Mode;
use crate::config::{Policy, Unmatched};
use crate::lifecycle::event::{Claim, OnInDoubt, Strategy};
use crate::lifecycle::record::{KeySpelling, Lease, Metadata};
use crate::log::LogKey;
use crate::problem::{Code, Problem};
use crate::request::credential::credential;
use crate::request::digest::hex;
use crate::request::fingerprint::Fingerprint;
use crate::request::header::{is_undecodable, media_type};
use crate::request::key::{Key, KeyId, KeyInvalid};
use crate::request::key_source::{Parts, Source, Value};
use crate::request::method::is_safe;
use crate::request::path::Address;
use crate::request::scope::{Caller, ScopePart};
use crate::time::Timestamp;

/// A request without its body.
pub struct Head<'a> {
    /// Method as it came; case matters.
    pub method: &'a str,
    /// What was asked for, the path in its normal form.
    pub address: &'a Address,
    /// Looks a header up by lower-case name; repeated lines are joined by a comma.
    pub header: &'a dyn Fn(&str) -> Option<String>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Admission {
    /// It is not guarded: hand it on untouched.
    Pass,
    /// The same, but it has a key, and no route looks at it: the log says so.
    PassUnmatched,
    /// No route matches it, and what none matches is refused.
    NotGuarded(Problem),
    /// Its key would lie in its body, which cannot be read: hand it on untouched, and let the log say why it is not guarded.
    PassUnread(Rc<Route>, String),
    /// A path of the filter's own that nothing answers: 404, never forwarded.
    Hidden,
    /// It asks for the published policy.
    Publish,
    /// Whether it is guarded is told by its body: read it and ask again.
    Read(Rc<Route>),
    /// It is refused. Nothing is stored, nothing is forwarded.
    Refuse(Problem, Rc<Route>),
    /// It is guarded.
    Guard(Guarded),
}

/// A guarded request.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// Its rules.
    pub route: Rc<Route>,
    /// What names its operation.
    pub key: Key,
    /// Its record.
    pub id: KeyId,
    /// The spelling in which the key came.
    pub spelling: KeySpelling,
    /// The client's correlation id, or one derived from the key.
    pub correlation_id: String,
    /// Whether it is the client's.
    sends_correlation_id: bool,
    /// Digest of what the caller proves itself with.
    credential: [u8; 16],
    /// What it wants if it is a duplicate.
    pub strategy: Strategy,
    /// How long it is willing to wait for a running claim.
    pub wait: Duration,
}

/// Decides what becomes of a request.
#[must_use]
pub fn admit(policy: &Policy, head: &Head<'_>) -> Admission {
    let path = &head.address.target.compared;
    if is_own(path) {
        return Admission::Hidden;
    }
    if matches!(head.method, "GET" | "HEAD") && path.eq_ignore_ascii_case(PUBLISHED_AT) {
        return Admission::Publish;
    }
    match matched(policy, head) {
        Matched::Safe => Admission::Pass,
        Matched::Disguised(route, method) => {
            let detail = format!(
                "A {} changes nothing, and a header asks to take it for a {method}, which is guarded here. Send a {method} or a POST.",
                head.method
            );
            Admission::Refuse(Problem::new(Code::KeyInvalid, detail), route)
        }
        Matched::Route(route) if route.mode == Mode::Off => Admission::Pass,
        Matched::Route(route) => consider(route, head, None),
        Matched::None if policy.unmatched == Unmatched::Refuse => {
            let detail = "No operation of this method and path is offered here. Look into /.well-known/idempotency for those that are.";
            Admission::NotGuarded(Problem::new(Code::NotGuarded, detail))
        }
        Matched::None if (head.header)(KEY_HEADER).is_some() => Admission::PassUnmatched,
        Matched::None => Admission::Pass,
    }
}

/// Which route is asked, if any.
enum Matched {
    /// None: the method is safe.
    Safe,
    /// It is a safe method which a header makes another one of, which this route guards.
    Disguised(Rc<Route>, String),
    Route(Rc<Route>),
    None,
}

/// Many frameworks take a POST for the method that a header names, some do so with a GET. So the route of that method is
/// asked first.
fn matched(policy: &Policy, head: &Head<'_>) -> Matched {
    let path = &head.address.target.compared;
    let is_post = head.method == "POST";
    if !is_post && !is_safe(head.method) {
        return policy.routes.find(head.method, path).map_or(Matched::None, Matched::Route);
    }
    let (mut asks_for_unsafe, mut other) = (false, None);
    for method in overriding_methods(head) {
        asks_for_unsafe |= !is_safe(&method);
        let route = policy.routes.find(&method, path).filter(|route| route.mode != Mode::Off);
        other = other.or(route.map(|route| (route, method)));
    }
    match other {
        Some((route, _)) if is_post => Matched::Route(route),
        Some((route, method)) => Matched::Disguised(route, method),
        None if is_post => policy.routes.find("POST", path).map_or(Matched::None, Matched::Route),
        None if asks_for_unsafe && policy.unmatched == Unmatched::Refuse => Matched::None,
        None => Matched::Safe,
    }
}

/// The methods that headers name instead of the request's own, in capitals, as frameworks read them.
fn overriding_methods(head: &Head<'_>) -> impl Iterator<Item = String> {
    let fields = METHOD_OVERRIDES.into_iter().filter_map(|name| (head.header)(name));
    let methods = |field: String| {
        field.split(',').map(|method| method.trim().to_ascii_uppercase()).collect::<Vec<_>>()
    };
    fields.flat_map(methods)
}

/// Decides by the rules of one route, with the body once it has been read.
#[must_use]
pub fn consider(route: Rc<Route>, head: &Head<'_>, body: Option<&[u8]>) -> Admission {
    let (key, spelling) = match find_key(&route, head, body) {
        Sought::Found(key, spelling) => (key, spelling),
        Sought::NeedsBody => return Admission::Read(route),
        Sought::Invalid(KeyInvalid(why)) => {
            let detail = format!(
                "The idempotency key cannot be used: {why}. Send 1 to 255 characters, such as a UUID."
            );
            return Admission::Refuse(Problem::new(Code::KeyInvalid, detail), route);
        }
        Sought::Missing(unreadable) if route.key.required => {
            let problem = key_missing(unreadable);
            return Admission::Refuse(problem, route);
        }
        Sought::Missing(Some(why)) => return Admission::PassUnread(route, why),
        Sought::Missing(None) => return Admission::Pass,
    };
    let credential = match credential(&route.credential, head.header) {
        Ok(credential) => credential,
        Err(undecodable) => {
            let detail = undecodable.detail();
            return Admission::Refuse(Problem::new(Code::KeyInvalid, detail), route);
        }
    };
    if let Some(name) = undecodable(&route, head) {
        let detail = format!(
            "The header {name} holds bytes that are not UTF-8, so that requests could not be told apart. Encode its value, for example with percent-encoding."
        );
        return Admission::Refuse(Problem::new(Code::KeyInvalid, detail), route);
    }
    match strategy(&route, (head.header)("x-on-conflict").as_deref()) {
        Ok(strategy) => Admission::Guard(guard(route, key, spelling, strategy, credential, head)),
        Err(problem) => Admission::Refuse(problem, route),
    }
}

impl Guarded {
    /// The same with a derived correlation id made under the operators' secret, where there is one.
    #[must_use]
    pub fn under(mut self, log_key: Option<&LogKey>) -> Self {
        if let Some(log_key) = log_key.filter(|_| !self.sends_correlation_id) {
            self.correlation_id = log_key.correlation_id(&self.id, &self.route.name);
        }
        self
    }

    /// The claim of this request; `body` is the body's digest by the route's rule.
    #[must_use]
    pub fn claim(&self, head: &Head<'_>, body: &[u8; 32], lease: Lease) -> Claim {
        let route = &self.route;
        let target = &head.address.target;
        let fingerprint =
            Fingerprint::of(&route.fingerprint, head.method, target, body, head.header);
        let metadata = Metadata {
            fingerprint,
            operation: caller(route, head, self.credential).operation(
                &route.scope,
                route.mode,
                &fingerprint,
            ),
            route: route.name.clone(),
            method: head.method.to_owned(),
            path: target.path.chars().take(PATH_CHARS_KEPT).collect(),
            correlation_id: self.correlation_id.clone(),
            created: Timestamp(0),
        };
        Claim {
            lease,
            metadata,
            strategy: self.strategy,
            on_in_doubt: match route.on_in_doubt {
                Doubtful::Retry => OnInDoubt::Retry,
                Doubtful::Hold | Doubtful::Probe => OnInDoubt::Hold,
            },
            credential_change: route.credential_change,
            durations: route.durations(),
            wait: self.wait,
            spelling: self.spelling,
        }
    }
}

/// The correlation id to answer with where there is no key to derive one from.
#[must_use]
pub fn correlation_id(head: &Head<'_>, random: Lease) -> String {
    client_correlation_id(head).unwrap_or_else(|| hex(&random.0))
}

enum Sought {
    Found(Key, KeySpelling),
    /// None of the sources has one; why the body could not be read for them, if that is so.
    Missing(Option<String>),
    NeedsBody,
    Invalid(KeyInvalid),
}

fn find_key(route: &Route, head: &Head<'_>, body: Option<&[u8]>) -> Sought {
    let parts = Parts { header: head.header, query: head.address.target.query.as_deref(), body };
    for source in &route.key.from {
        match source.value(parts) {
            Value::Missing => {}
            Value::NeedsBody => return Sought::NeedsBody,
            Value::Duplicate => return Sought::Invalid(KeyInvalid("it is there more than once")),
            Value::Found(value) => return parsed(source, value),
        }
    }
    Sought::Missing(unreadable(&route.key.from, parts))
}

/// Why none of the sources in the body can be read. Nothing, where one of them can: then the body has no key.
fn unreadable(sources: &[Source], parts: Parts<'_>) -> Option<String> {
    let mut in_body = sources.iter().filter(|source| source.is_in_body());
    let first = in_body.next()?.unreadable(parts)?;
    in_body.all(|source| source.unreadable(parts).is_some()).then_some(first)
}

fn key_missing(unreadable: Option<String>) -> Problem {
    match unreadable {
        None => Problem::new(
            Code::KeyMissing,
            "This operation requires an idempotency key. Send a new one, such as a UUID, with each new operation, and the same one with each retry of it.",
        ),
        Some(why) => {
            let detail = format!(
                "The idempotency key of this operation is taken from the request's body, which cannot be read: {why}. Send the body in a form that can be read."
            );
            Problem::new(Code::KeyMissing, detail)
                .because(format!("the body cannot be read: {why}"))
        }
    }
}

/// The Idempotency-Key header has a grammar of its own; a value from anywhere else is taken as it is.
fn parsed(source: &Source, value: String) -> Sought {
    let (key, spelling) = if source.header() == Some(KEY_HEADER) {
        let quoted = value.trim_start().starts_with('"');
        (Key::parse(&value), if quoted { KeySpelling::Quoted } else { KeySpelling::Bare })
    } else {
        (Key::plain(value), KeySpelling::Bare)
    };
    key.map_or_else(Sought::Invalid, |key| Sought::Found(key, spelling))
}

fn guard(
    route: Rc<Route>,
    key: Key,
    spelling: KeySpelling,
    strategy: Strategy,
    credential: [u8; 16],
    head: &Head<'_>,
) -> Guarded {
    let scope = caller(&route, head, credential).scope(&route.scope, route.mode);
    let id = KeyId::new(&key, scope);
    let preferred = (head.header)("prefer").and_then(|field| preferred_wait(&field));
    Guarded {
        key,
        id,
        spelling,
        correlation_id: client_correlation_id(head)
            .unwrap_or_else(|| id.correlation_id(&route.name)),
        sends_correlation_id: client_correlation_id(head).is_some(),
        credential,
        strategy,
        wait: preferred.map_or(route.wait, |wait| wait.min(route.wait)),
        route,
    }
}

fn caller<'a>(route: &'a Route, head: &Head<'a>, credential: [u8; 16]) -> Caller<'a> {
    Caller {
        scheme: &head.address.scheme,
        host: &head.address.host,
        method: head.method,
        path: &head.address.target.compared,
        route: &route.name,
        credential,
        header: head.header,
    }
}

/// The first header of the scope or the fingerprint that holds bytes that are not UTF-8.
fn undecodable<'a>(route: &'a Route, head: &Head<'_>) -> Option<&'a str> {
    let mut names =
        route.scope.iter().filter_map(ScopePart::header).chain(route.fingerprint.headers());
    names.find(|name| (head.header)(name).is_some_and(|value| is_undecodable(&value))).or_else(
        || {
            // Of the content type only the media type counts.
            let media_type = media_type(&(head.header)("content-type")?);
            is_undecodable(&media_type).then_some("content-type")
        },
    )
}

fn strategy(route: &Route, asked: Option<&str>) -> Result<Strategy, Problem> {
    let Some(asked) = asked else { return Ok(route.on_duplicate) };
    let named = match asked.trim() {
        "RETURN_EXISTING" => Some(Strategy::ReturnExisting),
        "FAIL" => Some(Strategy::Fail),
        "FAIL_ON_RUNNING" => Some(Strategy::FailOnRunning),
        _ => None,
    };
    named.filter(|strategy| route.client_strategies.contains(strategy)).ok_or_else(|| {
        let allowed: Vec<_> = route.client_strategies.iter().map(|strategy| strategy_name(*strategy)).collect();
        let detail = match allowed.as_slice() {
            [] => "This operation does not let clients choose with X-On-Conflict. Leave the header out.".to_owned(),
            some => format!("X-On-Conflict must be one of {}. Correct it, or leave it out.", some.join(", ")),
        };
        Problem::new(Code::StrategyInvalid, detail)
    })
}

/// A strategy as clients write it.
#[must_use]
pub fn strategy_name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::ReturnExisting => "RETURN_EXISTING",
        Strategy::Fail => "FAIL",
        Strategy::FailOnRunning => "FAIL_ON_RUNNING",
    }
}

/// The filter's own paths, in any letter case and as they are compared; `/.oncegateway` is not one of them.
#[must_use]
pub fn is_own(path: &str) -> bool {
    own_path(path).is_some()
}

/// What follows `/.oncegate` in a path of the filter's own.
#[must_use]
pub fn own_path(path: &str) -> Option<&str> {
    let (first, rest) = path.split_at_checked(OWN.len())?;
    let is_own = first.eq_ignore_ascii_case(OWN) && (rest.is_empty() || rest.starts_with('/'));
    is_own.then_some(rest)
}

/// The correlation id that the client sent, if it can be one.
#[must_use]
pub fn client_correlation_id(head: &Head<'_>) -> Option<String> {
    (head.header)("x-correlation-id")
        .filter(|id| (1..=255).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
}

/// `Prefer: wait=N` in seconds (RFC 7240 section 4.3). The first one counts (section 2), names are compared whatever
/// their case, and there may be space around `=`: a structured field (`sfv`) would refuse or read all three otherwise.
fn preferred_wait(field: &str) -> Option<Duration> {
    field
        .split(',')
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse::<u64>().ok())
        .map(Duration::from_secs)
}

/// The header of the IETF draft, in lower case.
pub const KEY_HEADER: &str = "idempotency-key";
/// Where the policy is published; problem types are fragments of it.
pub const PUBLISHED_AT: &str = "/.well-known/idempotency";
const OWN: &str = "/.oncegate";
/// What frameworks take the method from.
const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method-override", "x-http-method", "x-method-override"];
/// Enough to recognise an endpoint in a list; a URL may be 16 KB.
const PATH_CHARS_KEPT: usize = 512;
