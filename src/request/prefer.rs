//! What a client prefers: the header `Prefer` (RFC 7240).

use std::time::Duration;

/// The preferences that the filter knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// `wait=N`, in seconds (section 4.3): how long the client waits for an answer.
    pub wait: Option<Duration>,
    /// `respond-async` (section 4.1): it rather hears that the work has begun than waits for its end.
    pub respond_async: bool,
}

impl Preferences {
    /// Reads the header. Of two preferences of one name the first counts (section 2), and names are compared whatever their
    /// case. There may be space around `=`: a structured field (`sfv`) would refuse or read all otherwise.
    #[must_use]
    pub fn read(field: &str) -> Self {
        let preferences = field.split(',').filter_map(|preference| preference.split(';').next());
        let mut named = preferences.map(|text| {
            let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
            (name.trim(), value.map(|value| value.trim().trim_matches('"')))
        });
        let respond_async =
            named.clone().any(|(name, _)| name.eq_ignore_ascii_case("respond-async"));
        let wait = named
            .find_map(|(name, value)| value.filter(|_| name.eq_ignore_ascii_case("wait")))
            .and_then(|value| value.parse().ok())
            .map(Duration::from_secs);
        Self { wait, respond_async }
    }
}

/// What is left of the header for the origin, where the filter does what the client prefers: an origin that knows
/// `respond-async` too would answer that it has begun, and that would be stored as the operation's reply.
#[must_use]
pub fn without_async(field: &str) -> String {
    let is_ours = |preference: &&str| {
        let name = preference.split([';', '=']).next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("respond-async") || name.eq_ignore_ascii_case("wait")
    };
    let kept: Vec<_> = field.split(',').filter(|preference| !is_ours(preference)).collect();
    kept.join(",").trim().to_owned()
}
