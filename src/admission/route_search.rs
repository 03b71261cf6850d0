//! Which route a request asks for: by its path, and by its method or the one that a header names instead.

use std::rc::Rc;

use super::Head;
use crate::config::route::Route;
use crate::config::values::Mode;
use crate::config::{Policy, Unmatched};
use crate::request::method::is_safe;

/// Which route is asked, if any.
pub(super) enum Matched {
    /// None: the method is safe.
    Safe,
    /// It is a safe method which a header makes another one of, which this route guards.
    Disguised(Rc<Route>, String),
    Route(Rc<Route>),
    None,
}

/// Many frameworks take a POST for the method that a header names, some do so with a GET. So the route of that method is
/// asked first.
pub(super) fn matched(policy: &Policy, head: &Head<'_>) -> Matched {
    let path = &head.address.target.compared;
    let is_post = head.method == "POST";
    if !is_post && !is_safe(head.method) {
        return policy.routes.find(head.method, path).map_or(Matched::None, Matched::Route);
    }
    let (mut asks_for_unsafe, mut other) = (false, None);
    for method in overriding_methods(head) {
        asks_for_unsafe |= !is_safe(&method);
        let route = policy.routes.find(&method, path).filter(|route| route.mode != Mode::Off);
        other = other.or(route.map(|route| (route, method)));
    }
    match other {
        Some((route, _)) if is_post => Matched::Route(route),
        Some((route, method)) => Matched::Disguised(route, method),
        None if is_post => policy.routes.find("POST", path).map_or(Matched::None, Matched::Route),
        None if asks_for_unsafe && policy.unmatched == Unmatched::Refuse => Matched::None,
        None => Matched::Safe,
    }
}

/// The methods that headers name instead of the request's own, in capitals, as frameworks read them.
fn overriding_methods(head: &Head<'_>) -> impl Iterator<Item = String> {
    let fields = METHOD_OVERRIDES.into_iter().filter_map(|name| (head.header)(name));
    let methods = |field: String| {
        field.split(',').map(|method| method.trim().to_ascii_uppercase()).collect::<Vec<_>>()
    };
    fields.flat_map(methods)
}

/// What frameworks take the method from.
const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method-override", "x-http-method", "x-method-override"];
