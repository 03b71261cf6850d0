//! What a browser's page may read (Fetch standard, section 3.2): answers of the filter's own, and stored replies, which
//! were made for another request.
//!
//! A stored grant is replayed to the Origin that it names and to no other; one by `*` is for all, and never of
//! credentials. What the route's `cors` says comes before it.

use crate::answer::Marks;

/// The page that a request comes from, and what the route says of it.
#[derive(Clone, Debug)]
pub struct Cors {
    /// Its Origin.
    origin: Option<String>,
    grant: Grant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    None,
    /// By `*`.
    ToAll,
    /// By its name.
    ToIt,
}

impl Cors {
    /// Of a request with this Origin, on a route with this `cors`.
    #[must_use]
    pub fn new(allowed: &[String], origin: Option<String>) -> Self {
        let names = |wanted: &str| allowed.iter().any(|name| name == wanted);
        let grant = match origin.as_deref() {
            Some(origin) if names(origin) => Grant::ToIt,
            Some(_) if names("*") => Grant::ToAll,
            Some(_) | None => Grant::None,
        };
        Self { origin, grant }
    }

    /// The headers that are added to problems and replays. What a stored reply exposes stays exposed.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let Some(origin) = self.origin.as_ref().filter(|_| self.grant != Grant::None) else {
            return Vec::new();
        };
        let mut marks = vec![("access-control-allow-origin", origin.clone())];
        if self.grant == Grant::ToIt {
            marks.push(("access-control-allow-credentials", "true".to_owned()));
        }
        marks.extend(self.exposed());
        marks.push(("vary", "Origin".to_owned()));
        marks
    }

    /// The headers that are added to the origin's own answers: the grant is the origin's.
    #[must_use]
    pub fn exposed(&self) -> Marks {
        if self.grant == Grant::None {
            return Vec::new();
        }
        vec![("access-control-expose-headers", EXPOSED.to_owned())]
    }

    /// Whether a header of a stored reply is replayed to this page; the others are all of that reply.
    #[must_use]
    pub fn replays(&self, name: &str, stored: &[(String, String)]) -> bool {
        let granted = |to: &str| {
            let is_grant = |(name, value): &&(String, String)| {
                name == "access-control-allow-origin" && value == to
            };
            stored.iter().any(|header| is_grant(&header))
        };
        let is_its_own = self.origin.as_deref().is_some_and(granted);
        match name {
            "access-control-allow-origin" => {
                self.grant == Grant::None && (is_its_own || granted("*"))
            }
            // Every page without an Origin of its own says `null`.
            "access-control-allow-credentials" => {
                self.grant != Grant::ToIt && is_its_own && !granted("null")
            }
            _ => true,
        }
    }
}

/// The filter's own headers, and those without which its answers are not understood.
const EXPOSED: &str = "Idempotent-Replayed, Idempotency-Status, Idempotency-Expires, X-Correlation-Id, X-Should-Retry, Stripe-Should-Retry, Retry-After, Location, Repeatability-Result";
