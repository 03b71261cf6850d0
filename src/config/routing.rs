//! Which route guards a request: its method and path, by `matchit`.
//!
//! Of several routes that match, the most specific one counts, segment by segment from the left: text
//! before a parameter, a parameter before the rest. `/x/{*rest}` also takes `/x`, since paths are compared without a slash
//! at their end.

use std::collections::BTreeMap;
use std::rc::Rc;

use matchit::{InsertError, Router};

use crate::config::read::Misconfigured;
use crate::config::route::Route;
use crate::request::method::is_safe;

/// All routes, ready for matching.
#[derive(Debug, Default)]
pub struct Routes {
    all: Vec<Rc<Route>>,
    /// By method. `matchit` refuses `/{id}` beside `/{*rest}`, so the paths that end in a catch-all have
    /// a router for each number of segments, and all other paths have router 0.
    routers: BTreeMap<String, BTreeMap<usize, Router<Rc<Route>>>>,
}

impl Routes {
    /// Takes the routes, each with its place in the vars.
    ///
    /// # Errors
    /// Paths that are no patterns, and routes that can never match since an earlier one takes the same
    /// method and path.
    pub fn new(routes: Vec<(String, Rc<Route>)>) -> Result<Self, Vec<Misconfigured>> {
        let mut built = Self::default();
        let mut mistakes = Vec::new();
        for (place, route) in routes {
            if let Err(why) = built.insert(&route) {
                mistakes.push(Misconfigured::new(format!("{place}.path"), why));
            }
            built.all.push(route);
        }
        for route in &built.all {
            if let Some((parent, _)) = route.path.split_once("/{*") {
                let parent = if parent.is_empty() { "/" } else { parent };
                for method in &route.methods {
                    let router = built.routers.entry(method.clone()).or_default().entry(0);
                    // A conflict means that a route of its own names the parent.
                    let _ = router.or_default().insert(parent, Rc::clone(route));
                }
            }
        }
        if mistakes.is_empty() { Ok(built) } else { Err(mistakes) }
    }

    /// The first route of this name. Routes that answer asynchronously have one of their own.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Rc<Route>> {
        self.all.iter().find(|route| route.name == name)
    }

    fn insert(&mut self, route: &Rc<Route>) -> Result<(), String> {
        let path = &route.path;
        let depth = if path.contains("/{*") { path.split('/').count() } else { 0 };
        for method in &route.methods {
            let router = self.routers.entry(method.clone()).or_default().entry(depth);
            match router.or_default().insert(path, Rc::clone(route)) {
                Ok(()) => {}
                Err(InsertError::Conflict { with }) => {
                    return Err(format!(
                        "is taken: a route for {method} {with} comes first, so this one could never match"
                    ));
                }
                Err(other) => {
                    return Err(format!("is \"{path}\", but is no path pattern: {other}"));
                }
            }
        }
        match path.split('/').find(|segment| is_partly_a_parameter(segment)) {
            Some(segment) => Err(format!(
                "is \"{path}\", but a parameter is a whole segment, as in /files/{{name}}: write {{name}} for \"{segment}\", and let the origin look at the rest of it"
            )),
            None => Ok(()),
        }
    }

    /// The route that guards a request, if any; the path is given as it is compared. Safe methods are never guarded (RFC 9110 section 9.2.1):
    /// they have no effect that a retry could repeat.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Option<Rc<Route>> {
        if is_safe(method) {
            return None;
        }
        let routers = self.routers.get(method)?.values();
        let found = routers.filter_map(|router| router.at(path).ok()).map(|found| found.value);
        found.max_by(|one, other| specificity(&one.path).cmp(specificity(&other.path))).cloned()
    }

    /// All routes in the order in which they were configured.
    #[must_use]
    pub fn all(&self) -> &[Rc<Route>] {
        &self.all
    }
}

fn specificity(path: &str) -> impl Iterator<Item = u8> {
    path.split('/').map(|segment| match segment {
        rest if rest.starts_with("{*") => 0,
        parameter if parameter.starts_with('{') => 1,
        _ => 2,
    })
}

/// `img-{n}.png`. `matchit` has taken the pattern, so its braces are sound.
fn is_partly_a_parameter(segment: &str) -> bool {
    segment.contains('{') && !(segment.starts_with('{') && segment.ends_with('}'))
}
