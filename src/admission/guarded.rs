//! A guarded request: its claim, and what its client is told.

use super::{Guarded, Head, PATH_CHARS_KEPT, caller, scope_parts};
use crate::config::route::Doubtful;
use crate::lifecycle::event::{Claim, CredentialChange, OnInDoubt, Window};
use crate::lifecycle::lease::StatusSecret;
use crate::lifecycle::record::{Lease, Metadata, StatusKey};
use crate::log::LogKey;
use crate::problem::{Code, Problem};
use crate::request::fingerprint::Fingerprint;
use crate::time::Timestamp;

impl Guarded {
    /// What the client is told instead of a problem: one whose token was refused should renew it and come again, whatever
    /// credential the first try had. OAuth clients do that at a 401 by themselves (RFC 6750 section 3.1).
    #[must_use]
    pub fn told(&self, problem: Problem) -> Problem {
        match self.refusal {
            Some(refusal) if problem.code == Code::CredentialChanged => {
                let detail = format!(
                    "The access token was refused: {refusal}. The same request was sent under this key with another credential, so it was not forwarded. Renew the token, and send the request again with the same key."
                );
                Problem::new(Code::CredentialRefused, detail)
                    .because(format!("the bearer token was refused: {refusal}"))
            }
            // As Azure's services answer it.
            _ if self.speaks_repeatability() && problem.code == Code::KeyReused => {
                problem.with_status(400)
            }
            _ => problem,
        }
    }

    /// The same of what enforcing would have answered, for the log.
    #[must_use]
    pub fn would(&self, would: &'static str) -> &'static str {
        let is_told = self.refusal.is_some() && would == Code::CredentialChanged.as_str();
        if is_told { Code::CredentialRefused.as_str() } else { would }
    }

    /// The same with a derived correlation id made under the operators' secret, where there is one.
    #[must_use]
    pub fn under(mut self, log_key: Option<&LogKey>) -> Self {
        if let Some(log_key) = log_key.filter(|_| !self.sends_correlation_id) {
            self.correlation_id = log_key.correlation_id(&self.id, &self.route.name);
        }
        self
    }

    /// Whether it speaks the dialect of OASIS Repeatable Requests.
    #[must_use]
    pub fn speaks_repeatability(&self) -> bool {
        self.first_sent.is_some()
    }

    fn status_key(&self, lease: Lease) -> StatusKey {
        let secret = StatusSecret::of(lease);
        let credential = self.route.status_credential.then(|| secret.seal(self.credential));
        StatusKey { secret, credential }
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
                &scope_parts(route, self.speaks_repeatability()),
                route.mode,
                &fingerprint,
            ),
            route: route.name.clone(),
            method: head.method.to_owned(),
            path: target.path.chars().take(PATH_CHARS_KEPT).collect(),
            correlation_id: self.correlation_id.clone(),
            created: Timestamp(0),
            status: route.has_status_address().then(|| self.status_key(lease)),
        };
        Claim {
            lease,
            metadata,
            strategy: self.strategy,
            on_in_doubt: match route.on_in_doubt {
                Doubtful::Retry => OnInDoubt::Retry,
                Doubtful::Hold | Doubtful::Probe => OnInDoubt::Hold,
            },
            // An expired token must not run again what was done under the one before it.
            credential_change: match self.refusal {
                Some(_) => CredentialChange::Refuse,
                None => route.credential_change,
            },
            durations: route.durations(),
            wait: self.wait,
            spelling: self.spelling,
            asker: self.asker,
            window: self
                .first_sent
                .zip(route.repeatability_window())
                .map(|(first_sent, span)| Window { first_sent, span }),
        }
    }
}
