//! Which requests are guarded: route, key, strategy and patience are settled here, before any body is
//! read and before any Ledger is called.

use std::rc::Rc;

use crate::ask::CredentialChange;
use crate::digest::hex;
use crate::fingerprint::Fingerprint;
use crate::key::{Key, KeyId, KeyInvalid};
use crate::policy::{Policy, Route};
use crate::problem::{Code, Problem};
use crate::record::{About, Claim, Lease, Millis, OnInDoubt, Strategy};
use crate::scope::{Caller, credential};
use crate::target::Address;

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
    /// A path of the filter's own that nothing answers: 404, never forwarded.
    Hidden,
    /// It is refused. Nothing is stored, nothing is forwarded.
    Refuse(Problem),
    /// It is guarded.
    Guard(Guarded),
}

/// A guarded request.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// Its rules.
    pub route: Rc<Route>,
    /// Its record.
    pub key: KeyId,
    /// The client's correlation id, or one derived from the key id.
    pub correlation_id: String,
    /// What it wants if it is a duplicate.
    pub strategy: Strategy,
    /// How long it is willing to wait for a running claim.
    pub wait: Millis,
}

/// Decides what becomes of a request.
#[must_use]
pub fn admit(policy: &Policy, head: &Head<'_>) -> Admission {
    if is_own(&head.address.target.path) {
        return Admission::Hidden;
    }
    let Some(route) = policy.routes.find(head.method, &head.address.target.path) else {
        return Admission::Pass;
    };
    let key = match (head.header)("idempotency-key").map(|field| Key::parse(&field)) {
        Some(Ok(key)) => key,
        Some(Err(KeyInvalid(why))) => {
            let detail = format!(
                "The Idempotency-Key cannot be used: {why}. Send 1 to 255 characters, such as a UUID."
            );
            return Admission::Refuse(Problem::new(Code::KeyInvalid, detail));
        }
        None if route.key_required => {
            let detail = "This operation requires an Idempotency-Key header. Send a new one, such as a UUID, with each new operation, and the same one with each retry of it.";
            return Admission::Refuse(Problem::new(Code::KeyMissing, detail));
        }
        None => return Admission::Pass,
    };
    match strategy(&route, (head.header)("x-on-conflict").as_deref()) {
        Ok(strategy) => Admission::Guard(guard(route, &key, strategy, head)),
        Err(problem) => Admission::Refuse(problem),
    }
}

impl Guarded {
    /// The claim of this request, its body known by its SHA-256.
    #[must_use]
    pub fn claim(
        &self,
        head: &Head<'_>,
        body: &[u8; 32],
        lease: Lease,
    ) -> (Claim, CredentialChange) {
        let route = &self.route;
        let fingerprint = Fingerprint::of(head.method, &head.address.target, body, head.header);
        let about = About {
            fingerprint,
            kin: caller(head).kin(&route.name, &fingerprint),
            route: route.name.clone(),
            method: head.method.to_owned(),
            path: head.address.target.path.chars().take(PATH_CHARS_KEPT).collect(),
            correlation_id: self.correlation_id.clone(),
            created: Millis(0),
        };
        let claim = Claim {
            lease,
            about,
            strategy: self.strategy,
            on_in_doubt: OnInDoubt::Hold,
            terms: route.terms(),
            wait: self.wait,
        };
        (claim, CredentialChange::Refuse)
    }
}

/// The correlation id to answer with where there is no key to derive one from.
#[must_use]
pub fn correlation_id(head: &Head<'_>, random: Lease) -> String {
    client_correlation_id(head).unwrap_or_else(|| hex(&random.0))
}

fn guard(route: Rc<Route>, key: &Key, strategy: Strategy, head: &Head<'_>) -> Guarded {
    let key = KeyId::new(key, caller(head).scope());
    let preferred = (head.header)("prefer").and_then(|field| preferred_wait(&field));
    Guarded {
        key,
        correlation_id: client_correlation_id(head).unwrap_or_else(|| key.correlation_id()),
        strategy,
        wait: preferred.map_or(route.wait, |wait| wait.min(route.wait)),
        route,
    }
}

fn caller<'a>(head: &Head<'a>) -> Caller<'a> {
    Caller {
        host: &head.address.host,
        method: head.method,
        path: &head.address.target.path,
        credential: credential(head.header),
    }
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

fn strategy_name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::ReturnExisting => "RETURN_EXISTING",
        Strategy::Fail => "FAIL",
        Strategy::FailOnRunning => "FAIL_ON_RUNNING",
    }
}

/// The filter's own paths; `/.oncegateway` is not one of them.
fn is_own(path: &str) -> bool {
    path.strip_prefix("/.oncegate").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn client_correlation_id(head: &Head<'_>) -> Option<String> {
    (head.header)("x-correlation-id")
        .filter(|id| (1..=255).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
}

/// `Prefer: wait=N` in seconds (RFC 7240 section 4.3); the first one counts (section 2).
fn preferred_wait(field: &str) -> Option<Millis> {
    field
        .split(',')
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse::<u64>().ok())
        .map(|seconds| Millis(seconds.saturating_mul(1000)))
}

/// Enough to recognise an endpoint in a list; a URL may be 16 KB.
const PATH_CHARS_KEPT: usize = 512;
