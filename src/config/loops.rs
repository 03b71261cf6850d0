//! A filter whose origin leads back to itself: it would forward one request for ever. What it forwards carries an entry
//! of its own in `CDN-Loop` (RFC 8586 section 2), and a request that brings that entry is refused.
//!
//! An entry names the configuration, so that two filters may stand in a row, and the operation, so that an origin may
//! call back on another path:
//!
//! ```text
//! CDN-Loop: oncegate-3f0c9a5e1b7d2468; op=9b1c02d47e5f6a83
//! ```

use crate::answer::Marks;
use crate::config::Vars;
use crate::request::digest::{Parts, hex};

/// Names a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopId(String);

impl LoopId {
    /// The id of a configuration: of where requests go, of the routes, and of the store. Of the other vars some are
    /// secrets.
    #[must_use]
    pub fn of(vars: &Vars, store: &str) -> Self {
        let counts = |name: &str| name == "ORIGIN" || name.starts_with("ROUTES");
        let binds = if vars.binds_origin { "binding" } else { "" };
        let parts = Parts::of("loop id").part(store).part(binds);
        let named = vars.values.iter().filter(|(name, _)| counts(name));
        let whole =
            named.fold(parts, |parts, (name, value)| parts.part(name).part(value.to_string()));
        Self(format!("oncegate-{}", short(whole)))
    }

    /// The entry for a request; the path as it is compared.
    #[must_use]
    pub fn entry(&self, method: &str, path: &str) -> String {
        let operation = Parts::of("loop operation").part(method).part(path);
        format!("{}; op={}", self.0, short(operation))
    }
}

/// The headers that carry an entry, to be added to what is forwarded. Cloudflare counts loops in `CDN-Loop` by itself
/// and does not say what it leaves of another's entries (developers.cloudflare.com, fundamentals/reference/http-headers),
/// so what came through Cloudflare, which its `Cf-Ray` tells, carries the entry in a header of our own too.
#[must_use]
pub fn loop_marks(entry: &str, header: &dyn Fn(&str) -> Option<String>) -> Marks {
    let mut marks = vec![("cdn-loop", entry.to_owned())];
    if header("cf-ray").is_some() {
        marks.push((OWN_HEADER, entry.to_owned()));
    }
    marks
}

/// Whether a request brings this entry: it has been here before.
#[must_use]
pub fn has_been_here(entry: &str, header: &dyn Fn(&str) -> Option<String>) -> bool {
    let tight = |text: &str| text.replace([' ', '\t'], "");
    let brings = |field: String| field.split(',').any(|known| tight(known) == tight(entry));
    ["cdn-loop", OWN_HEADER].into_iter().filter_map(header).any(brings)
}

/// 64 bits: two configurations or operations of one deployment do not share them by chance.
fn short(parts: Parts) -> String {
    hex(parts.half().split_at(8).0)
}

const OWN_HEADER: &str = "oncegate-loop";
