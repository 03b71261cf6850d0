//! Which route guards a request: method and path → the most specific route.

use std::collections::BTreeMap;
use std::rc::Rc;

use matchit::{InsertError, Router};

use crate::policy::{Misconfigured, wrong};
use crate::route::Route;

/// All routes, with one matcher per method.
#[derive(Debug)]
pub struct Routes {
    list: Vec<Rc<Route>>,
    by_method: BTreeMap<String, Router<usize>>,
}

impl Routes {
    /// Builds the matchers. `places` says for each route where it is configured.
    ///
    /// # Errors
    /// Paths that are no patterns, and routes of which one can never match since another takes the same
    /// methods and path.
    pub fn new(list: Vec<Route>, places: &[String]) -> Result<Self, Vec<Misconfigured>> {
        let mut by_method: BTreeMap<String, Router<usize>> = BTreeMap::new();
        let mut wrongs = Vec::new();
        for (index, (route, place)) in list.iter().zip(places).enumerate() {
            for method in &route.methods {
                let router = by_method.entry(method.clone()).or_default();
                if let Err(error) = router.insert(&route.path, index) {
                    let why = match error {
                        InsertError::Conflict { with } => format!(
                            "is taken: a route for {method} {with} comes first, so this one could never match"
                        ),
                        error => format!("is no path pattern: {error}"),
                    };
                    wrongs.push(wrong(format!("{place}.path"), why));
                }
            }
        }
        // A catch-all takes at least one character; "everything below /x/" includes /x/ itself, unless
        // a route names that. So these come last and a conflict is no error.
        for (index, route) in list.iter().enumerate() {
            if let Some((parent, _)) = route.path.split_once("{*") {
                for method in &route.methods {
                    let _ = by_method.entry(method.clone()).or_default().insert(parent, index);
                }
            }
        }
        if !wrongs.is_empty() {
            return Err(wrongs);
        }
        Ok(Self { list: list.into_iter().map(Rc::new).collect(), by_method })
    }

    /// The route that guards a request, if any. Safe methods are never guarded (RFC 9110 section
    /// 9.2.1): they have no effect that a retry could repeat.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Option<Rc<Route>> {
        if is_safe(method) {
            return None;
        }
        let matched = self.by_method.get(method)?.at(path).ok()?;
        self.list.get(*matched.value).cloned()
    }

    /// All routes in the order in which they were configured.
    #[must_use]
    pub fn all(&self) -> &[Rc<Route>] {
        &self.list
    }
}

/// GET, HEAD, OPTIONS, TRACE.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
