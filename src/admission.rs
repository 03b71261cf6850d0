//! Which requests are guarded: route, key, strategy and patience are settled here, before any Ledger is
//! called, and before any body is read unless the key lies in it.

mod guarded;
mod key_search;

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

pub use self::key_search::speaks_repeatability;
use self::key_search::{Sought, find_key, key_missing};
use crate::config::route::{RespondAsync, Route};
use crate::config::values::Mode;
use crate::config::{Policy, Unmatched};
use crate::lifecycle::event::{Asker, Strategy};
use crate::lifecycle::record::{KeySpelling, Lease};
use crate::problem::{Code, Problem};
use crate::request::bearer::{NotKnownNow, Proof, Refusal, Unverified};
use crate::request::credential::{CredentialPart, credential};
use crate::request::digest::hex;
use crate::request::header::{is_undecodable, media_type};
use crate::request::json::Pointer;
use crate::request::key::{Key, KeyId, KeyInvalid};
use crate::request::method::is_safe;
use crate::request::path::Address;
use crate::request::prefer::Preferences;
use crate::request::repeatability::CLIENT_ID;
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
    /// It is guarded, and its bearer token says who calls: verify that, and go on with [`Unproven::prove`].
    Verify(Unproven),
    /// It is guarded.
    Guard(Guarded),
}

/// A request that is guarded, but whose caller is not known yet.
#[derive(Debug)]
pub struct Unproven {
    /// Its bearer token.
    pub token: Unverified,
    request: Named,
}

/// A request that has a key.
#[derive(Debug)]
struct Named {
    route: Rc<Route>,
    key: Key,
    spelling: KeySpelling,
    strategy: Strategy,
    first_sent: Option<Timestamp>,
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
    /// Why its bearer token is not believed, where it is not.
    refusal: Option<Refusal>,
    /// What it wants if it is a duplicate.
    pub strategy: Strategy,
    /// How long it is willing to wait for a running claim.
    pub wait: Duration,
    /// Who makes the request.
    pub asker: Asker,
    /// Whether it is answered that it runs where the reply is not there by then.
    pub responds_async: bool,
    /// When its operation was first sent, by its client's clock, where it speaks the dialect of OASIS.
    first_sent: Option<Timestamp>,
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
    let (key, spelling, first_sent) = match find_key(&route, head, body) {
        Sought::Found(key, spelling, first_sent) => (key, spelling, first_sent),
        Sought::NeedsBody => return Admission::Read(route),
        Sought::Invalid(KeyInvalid(why), advice) => {
            let detail = format!("The idempotency key cannot be used: {why}. {advice}");
            return Admission::Refuse(Problem::new(Code::KeyInvalid, detail), route);
        }
        Sought::Missing(unreadable) if route.key.required => {
            let problem = key_missing(unreadable);
            return Admission::Refuse(problem, route);
        }
        Sought::Missing(Some(why)) => return Admission::PassUnread(route, why),
        Sought::Missing(None) => return Admission::Pass,
    };
    let parts = scope_parts(&route, first_sent.is_some());
    if let Some(name) = undecodable(&route, &parts, head) {
        let detail = format!(
            "The header {name} holds bytes that are not UTF-8, so that requests could not be told apart. Encode its value, for example with percent-encoding."
        );
        return Admission::Refuse(Problem::new(Code::KeyInvalid, detail), route);
    }
    let strategy = match strategy(&route, (head.header)("x-on-conflict").as_deref()) {
        Ok(strategy) => strategy,
        Err(problem) => return Admission::Refuse(problem, route),
    };
    let token = token(&route, head);
    let request = Named { route, key, spelling, strategy, first_sent };
    match token {
        Some(token) => Admission::Verify(Unproven { token, request }),
        None => guard(request, &Proof::Opaque, head),
    }
}

/// The bearer token that says who calls, where the route names a claim of it.
pub(crate) fn token(route: &Route, head: &Head<'_>) -> Option<Unverified> {
    let claims = route.credential.iter().filter_map(|part| match part {
        CredentialPart::Jwt(pointer) => Some(pointer),
        CredentialPart::Header(_) | CredentialPart::Cookie(_) => None,
    });
    let claims: Vec<&Pointer> = claims.collect();
    if claims.is_empty() {
        None
    } else {
        Unverified::read((head.header)("authorization")?, &claims)
    }
}

impl Unproven {
    /// Its rules.
    #[must_use]
    pub fn route(&self) -> &Rc<Route> {
        &self.request.route
    }

    /// Goes on with what the token proves.
    #[must_use]
    pub fn prove(self, head: &Head<'_>, proof: Result<Proof, NotKnownNow>) -> Admission {
        match proof {
            Ok(proof) => guard(self.request, &proof, head),
            Err(unknown) => Admission::Refuse(unverifiable(unknown), self.request.route),
        }
    }
}

/// It is not known now who calls.
pub(crate) fn unverifiable(NotKnownNow(retry_after): NotKnownNow) -> Problem {
    let detail = "The keys that verify the access token cannot be fetched now, so it is not known who calls, and nothing was forwarded. Send the request again, unchanged, after Retry-After.";
    Problem::new(Code::CredentialUnverifiable, detail)
        .retry_after(retry_after.as_secs().max(1))
        .because("the key server (JWKS) has not answered")
}

/// The correlation id to answer with where there is no key to derive one from.
#[must_use]
pub fn correlation_id(head: &Head<'_>, random: Lease) -> String {
    client_correlation_id(head).unwrap_or_else(|| hex(&random.0))
}

fn guard(request: Named, proof: &Proof, head: &Head<'_>) -> Admission {
    let Named { route, key, spelling, strategy, first_sent } = request;
    let credential = match credential(&route.credential, proof, head.header) {
        Ok(credential) => credential,
        Err(undecodable) => {
            let problem = Problem::new(Code::KeyInvalid, undecodable.detail());
            return Admission::Refuse(problem, route);
        }
    };
    let parts = scope_parts(&route, first_sent.is_some());
    let scope = caller(&route, head, credential).scope(&parts, route.mode);
    let id = KeyId::new(&key, scope);
    let prefer = (head.header)("prefer").map(|field| Preferences::read(&field)).unwrap_or_default();
    let responds_async = match route.respond_async {
        RespondAsync::Never => false,
        RespondAsync::Allow => prefer.respond_async,
        RespondAsync::Always => true,
    };
    // Who rather hears that the work has begun, and names no time, does not wait at all.
    let asked = prefer.wait.or((responds_async && prefer.respond_async).then_some(Duration::ZERO));
    Admission::Guard(Guarded {
        key,
        id,
        spelling,
        correlation_id: client_correlation_id(head)
            .unwrap_or_else(|| id.correlation_id(&route.name)),
        sends_correlation_id: client_correlation_id(head).is_some(),
        credential,
        refusal: match proof {
            Proof::Refused(refusal) => Some(*refusal),
            Proof::Opaque | Proof::Verified(_) => None,
        },
        strategy,
        wait: asked.map_or(route.wait, |wait| wait.min(route.wait)),
        asker: Asker::Client,
        responds_async,
        first_sent,
        route,
    })
}

/// What keeps equal keys apart. In the dialect of OASIS an id means something to the client that made it only.
fn scope_parts(route: &Route, speaks_repeatability: bool) -> Cow<'_, [ScopePart]> {
    if !speaks_repeatability {
        return Cow::Borrowed(&route.scope);
    }
    let client = ScopePart::Header(CLIENT_ID.to_owned());
    Cow::Owned(route.scope.iter().cloned().chain([client]).collect())
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
fn undecodable<'a>(route: &'a Route, scope: &'a [ScopePart], head: &Head<'_>) -> Option<&'a str> {
    let mut names = scope.iter().filter_map(ScopePart::header).chain(route.fingerprint.headers());
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

/// The token in the path of a status address.
#[must_use]
pub fn status_token(path: &str) -> Option<&str> {
    let (first, token) = own_path(path)?.split_at_checked(STATUS.len())?;
    first.eq_ignore_ascii_case(STATUS).then_some(token)
}

/// The absolute address that tells what became of a key, for whoever sent a request to `requested`.
#[must_use]
pub fn status_address(requested: &Address, token: &str) -> String {
    format!("{}://{}{OWN}{STATUS}{token}", requested.scheme, requested.host)
}

/// The correlation id that the client sent, if it can be one.
#[must_use]
pub fn client_correlation_id(head: &Head<'_>) -> Option<String> {
    (head.header)("x-correlation-id")
        .filter(|id| (1..=255).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
}

/// The header of the IETF draft, in lower case.
pub const KEY_HEADER: &str = "idempotency-key";
/// Where the policy is published; problem types are fragments of it.
pub const PUBLISHED_AT: &str = "/.well-known/idempotency";
const OWN: &str = "/.oncegate";
const STATUS: &str = "/status/";
/// The headers that tell what becomes of a request which no route matches by its own method and path: whether it has
/// been here before ([`crate::config::loops`]), means another method, or has a key.
pub const TELLING_HEADERS: [&str; 7] = [
    "cdn-loop",
    "oncegate-loop",
    "cf-ray",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    KEY_HEADER,
];
/// What frameworks take the method from.
const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method-override", "x-http-method", "x-method-override"];
/// Enough to recognise an endpoint in a list; a URL may be 16 KB.
const PATH_CHARS_KEPT: usize = 512;
