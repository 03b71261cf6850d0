//! Which route guards a request: method and path → the most specific route.

use std::rc::Rc;

use crate::config::pattern::Pattern;
use crate::config::route::Route;
use crate::config::{Misconfigured, wrong};

/// All routes, with the patterns of their paths.
#[derive(Debug)]
pub struct Routes {
    list: Vec<Rc<Route>>,
    patterns: Vec<(Pattern, Rc<Route>)>,
}

impl Routes {
    /// Takes the paths apart. `places` says for each route where it is configured.
    ///
    /// # Errors
    /// Paths that are no patterns, and routes of which one can never match since another takes the same
    /// methods and path.
    pub fn new(list: Vec<Rc<Route>>, places: &[String]) -> Result<Self, Vec<Misconfigured>> {
        let mut patterns: Vec<(Pattern, Rc<Route>)> = Vec::new();
        let mut wrongs = Vec::new();
        for (route, place) in list.iter().zip(places) {
            let path = |why: &str| wrong(&format!("{place}.path"), why);
            match Pattern::parse(&route.path) {
                Err(why) => wrongs.push(path(&format!("is no path pattern: {why}"))),
                Ok(pattern) => match taken(&patterns, &pattern, route) {
                    Some((method, with)) => wrongs.push(path(&format!(
                        "is taken: a route for {method} {with} comes first, so this one could never match"
                    ))),
                    None => patterns.push((pattern, Rc::clone(route))),
                },
            }
        }
        // A catch-all takes at least one character; "everything below /x/" includes /x/ itself, unless
        // a route names that: of two equal ones the first is found.
        for route in &list {
            let parent = route.path.split_once("{*").map(|(parent, _)| Pattern::parse(parent));
            patterns.extend(parent.and_then(Result::ok).map(|parent| (parent, Rc::clone(route))));
        }
        if wrongs.is_empty() { Ok(Self { list, patterns }) } else { Err(wrongs) }
    }

    /// The route that guards a request, if any: of several that match, the one whose path is spelled out
    /// the furthest, and then the one without a catch-all. Safe methods are never guarded (RFC 9110
    /// section 9.2.1): they have no effect that a retry could repeat.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Option<Rc<Route>> {
        if is_safe(method) {
            return None;
        }
        match (self.closest(false, method, path), self.closest(true, method, path)) {
            (Some(plain), Some(rest)) if spelled_out(rest) > spelled_out(plain) => Some(rest),
            (plain, rest) => plain.or(rest),
        }
        .cloned()
    }

    fn closest(&self, open: bool, method: &str, path: &str) -> Option<&Rc<Route>> {
        let mut closest: Option<&(Pattern, Rc<Route>)> = None;
        for known in &self.patterns {
            let (pattern, route) = known;
            if pattern.is_open() == open
                && route.methods.iter().any(|own| own == method)
                && closest.is_none_or(|(closest, _)| pattern.closer_than(closest))
                && pattern.matches(path)
            {
                closest = Some(known);
            }
        }
        closest.map(|(_, route)| route)
    }

    /// All routes in the order in which they were configured.
    #[must_use]
    pub fn all(&self) -> &[Rc<Route>] {
        &self.list
    }
}

/// A method for which another route takes these paths, and how that one spells them.
fn taken<'a>(
    patterns: &'a [(Pattern, Rc<Route>)],
    pattern: &Pattern,
    route: &'a Route,
) -> Option<(&'a str, &'a str)> {
    patterns.iter().filter(|(known, _)| known == pattern).find_map(|(_, other)| {
        let method = route.methods.iter().find(|method| other.methods.contains(method))?;
        Some((method.as_str(), other.path.as_str()))
    })
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
