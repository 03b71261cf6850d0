//! Redirects that only spell the address in another way.

use crate::request::path::Address;

/// Whether a Location is this very address but for scheme, host, letter case or slashes. A 307 or 308 to such a place
/// was sent before anything was done: many origins canonicalise so. (One to elsewhere is an outcome: frameworks send it
/// after the work.)
#[must_use]
pub fn leads_back(address: &Address, location: &str) -> bool {
    let location = location.trim();
    let (scheme, host, path) = (&address.scheme, &address.host, &address.target.path);
    let absolute = match location.split(['/', '?', '#']).next() {
        Some(scheme) if scheme.ends_with(':') => location.to_owned(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with(['/', '\\']) => format!("{scheme}://{host}{location}"),
        // RFC 3986 section 5.2.2: without a path, the path is the same; without a query too, the query.
        _ if location.starts_with('?') => format!("{scheme}://{host}{path}{location}"),
        _ if location.is_empty() || location.starts_with('#') => return true,
        _ => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{host}{folder}/{location}")
        }
    };
    let Some(led) = Address::parse(&absolute) else { return false };
    let (led, own) = (&led.target, &address.target);
    let query = |query: &Option<String>| query.clone().unwrap_or_default();
    led.compared.eq_ignore_ascii_case(&own.compared)
        && query(&led.query).eq_ignore_ascii_case(&query(&own.query))
}
