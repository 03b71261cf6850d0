//! Knobs of a route that are sound each and make no sense together.

use super::route::{Doubtful, ForwardKey, RUNNER_MAX, Route};
use crate::request::credential::CredentialPart;
use crate::request::fingerprint::BodyRule;
use crate::request::json::Pointer;
use crate::request::repeatability::CLOCKS_APART;
use crate::request::scope::ScopePart;

impl Route {
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
    pub(super) fn contradictions(&self) -> Vec<(&'static str, &'static str)> {
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
