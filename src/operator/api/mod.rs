//! The operators' API: what a request asks for. Method, path, query and body are read here and nowhere else.

pub mod cursor;
mod decision;
mod parameters;

pub use decision::{DecisionRequest, Draft, read_form, read_json};

use parameters::Parameters;

use crate::admission::own_path;
use crate::operator::run::RunRequest;
use crate::operator::search::{Position, Search};
use crate::problem::{Code, Problem};
use crate::request::key::{Key, KeyId};
use crate::time::Timestamp;

/// Where every path of the operators' API begins.
pub const ROOT: &str = "/.oncegate/";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiRequest {
    /// The first page: records in doubt, latest records, statistics.
    Overview,
    /// The records of a key in every scope.
    Key {
        /// The key.
        key: Key,
        /// Whether the stored bodies are asked for too.
        with_body: bool,
    },
    /// A page of records.
    Records {
        /// Which records.
        search: Search,
        /// The digest of the search's parameters, for its [`cursor`].
        digest: String,
    },
    /// One record.
    Record {
        /// Its key id.
        key: KeyId,
        /// Whether the stored body is asked for too.
        with_body: bool,
    },
    /// The stored body of a record, as it is.
    Body(KeyId),
    /// The page that says what a decision would do, and asks for it.
    Confirm {
        /// The record.
        key: KeyId,
        /// The decision.
        action: Action,
        /// Why the form was refused that was sent before, and what was in it.
        refused: Option<(Problem, Draft)>,
    },
    /// Make a decision.
    Decide(DecisionRequest),
    /// Make the decision that the request's body describes.
    DecideByBody,
    /// The numbers of the last hours.
    Stats,
    /// A page of decisions.
    Audit {
        /// Where the page before this one ended.
        after: Option<Position>,
        /// At most so many.
        limit: u16,
    },
    /// The schedules.
    Schedules,
    /// Run a slot of a schedule.
    Run(RunRequest),
    /// Open a session; the request's body holds the token.
    LogIn,
    /// End the session.
    LogOut,
}

/// The decisions by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The operation was executed.
    Complete,
    /// The operation was not executed.
    Release,
    /// It is not known yet.
    Hold,
    /// Forget the record.
    Purge,
}

impl ApiRequest {
    /// Whether the stored body of the record with this key id is asked for.
    #[must_use]
    pub fn wants_body_of(&self, found: KeyId) -> bool {
        match self {
            Self::Key { with_body, .. } => *with_body,
            Self::Record { key, with_body } => *with_body && *key == found,
            _ => false,
        }
    }
}

impl Action {
    /// The action of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Complete, Self::Release, Self::Hold, Self::Purge]
            .into_iter()
            .find(|action| action.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Release => "release",
            Self::Hold => "hold",
            Self::Purge => "purge",
        }
    }
}

/// Reads method, path (as it is compared) and query of a request under [`ROOT`].
///
/// # Errors
/// What is wrong with the request.
pub fn read(
    method: &str,
    path: &str,
    query: Option<&str>,
    now: Timestamp,
) -> Result<ApiRequest, Problem> {
    let parameters = Parameters::parse(query)?;
    let alone = |request| parameters.allow(&[]).map(|()| request);
    let path = own_path(path).unwrap_or_default().trim_start_matches('/');
    let (request, methods) = match path.split('/').collect::<Vec<_>>().as_slice() {
        [""] => (alone(ApiRequest::Overview), "GET"),
        ["keys"] => (parameters.key(), "GET"),
        ["records"] => (parameters.records(now), "GET"),
        ["records", id] if method == "DELETE" => (parameters.purge(id), "GET, DELETE"),
        ["records", id] => (parameters.record(id), "GET, DELETE"),
        ["records", id, "body"] => (parameters.body(id), "GET"),
        ["records", id, action] => (parameters.confirm(id, action), "GET"),
        ["resolve"] => (alone(ApiRequest::DecideByBody), "POST"),
        ["stats"] => (alone(ApiRequest::Stats), "GET"),
        ["audit"] => (parameters.audit(), "GET"),
        ["schedules"] => (alone(ApiRequest::Schedules), "GET"),
        ["schedules", name, "run"] => (parameters.run(name), "POST"),
        ["login"] => (alone(ApiRequest::LogIn), "POST"),
        ["logout"] => (alone(ApiRequest::LogOut), "POST"),
        _ => return Err(Problem::new(Code::NotFound, "Nothing is here. Begin at /.oncegate/.")),
    };
    let method = if method == "HEAD" { "GET" } else { method };
    if !methods.split(", ").any(|allowed| allowed == method) {
        let problem = Problem::new(Code::MethodNotAllowed, format!("Use {methods} here."));
        return Err(Problem { allow: Some(methods), ..problem });
    }
    request
}

/// Whether a query carries a token, which would stay in histories and logs.
#[must_use]
pub fn carries_token(query: Option<&str>) -> bool {
    let names = ["token", "access_token", "admin_token", "authorization"];
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()))
}
