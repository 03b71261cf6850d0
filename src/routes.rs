//! Which route guards a request: method and path → the most specific route.

use std::collections::BTreeMap;
use std::rc::Rc;

use matchit::{InsertError, Router};

use crate::policy::{Misconfigured, wrong};
use crate::route::Route;

/// All routes, with two matchers per method.
#[derive(Debug)]
pub struct Routes {
    list: Vec<Rc<Route>>,
    by_method: BTreeMap<String, Matchers>,
}

/// Paths with and without a catch-all apart: one matcher does not take `/x/{id}` beside `/x/{*rest}`.
#[derive(Debug, Default)]
struct Matchers {
    plain: Router<usize>,
    catch_all: Router<usize>,
}

impl Routes {
    /// Builds the matchers. `places` says for each route where it is configured.
    ///
    /// # Errors
    /// Paths that are no patterns, and routes of which one can never match since another takes the same
    /// methods and path.
    pub fn new(list: Vec<Route>, places: &[String]) -> Result<Self, Vec<Misconfigured>> {
        let mut by_method: BTreeMap<String, Matchers> = BTreeMap::new();
        let mut wrongs = Vec::new();
        for (index, (route, place)) in list.iter().zip(places).enumerate() {
            let taken = route.methods.iter().find_map(|method| {
                let matchers = by_method.entry(method.clone()).or_default();
                matchers.insert(&route.path, index).err().map(|error| (method, error))
            });
            if let Some((method, error)) = taken {
                wrongs.push(wrong(format!("{place}.path"), why(method, &error)));
            }
        }
        // A catch-all takes at least one character; "everything below /x/" includes /x/ itself, unless
        // a route names that. So these come last and a conflict is no error.
        for (index, route) in list.iter().enumerate() {
            if let Some((parent, _)) = route.path.split_once("{*") {
                for method in &route.methods {
                    let _ =
                        by_method.entry(method.clone()).or_default().plain.insert(parent, index);
                }
            }
        }
        if !wrongs.is_empty() {
            return Err(wrongs);
        }
        Ok(Self { list: list.into_iter().map(Rc::new).collect(), by_method })
    }

    /// The route that guards a request, if any: of several that match, the one whose path is spelled out
    /// the furthest, and then the one without a catch-all. Safe methods are never guarded (RFC 9110
    /// section 9.2.1): they have no effect that a retry could repeat.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Option<Rc<Route>> {
        if is_safe(method) {
            return None;
        }
        let matchers = self.by_method.get(method)?;
        let route = |router: &Router<usize>| self.list.get(*router.at(path).ok()?.value);
        let (plain, catch_all) = (route(&matchers.plain), route(&matchers.catch_all));
        match (plain, catch_all) {
            (Some(plain), Some(rest)) if spelled_out(rest) > spelled_out(plain) => Some(rest),
            (plain, rest) => plain.or(rest),
        }
        .cloned()
    }

    /// All routes in the order in which they were configured.
    #[must_use]
    pub fn all(&self) -> &[Rc<Route>] {
        &self.list
    }
}

impl Matchers {
    fn insert(&mut self, path: &str, index: usize) -> Result<(), InsertError> {
        let router = if path.contains("{*") { &mut self.catch_all } else { &mut self.plain };
        router.insert(path, index)
    }
}

fn why(method: &str, error: &InsertError) -> String {
    match error {
        InsertError::Conflict { with } => format!(
            "is taken: a route for {method} {with} comes first, so this one could never match"
        ),
        error => format!("is no path pattern: {error}"),
    }
}

/// How many characters come before the first parameter.
fn spelled_out(route: &Route) -> usize {
    route.path.find('{').unwrap_or(route.path.len())
}

/// GET, HEAD, OPTIONS, TRACE.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
