//! The filter's own addresses: everything under `/.oncegate`.

use crate::request::path::Address;

/// The filter's own paths, in any letter case and as they are compared; `/.oncegateway` is not one of them.
#[must_use]
pub fn is_own(path: &str) -> bool {
    own_path(path).is_some()
}

/// What follows `/.oncegate` in a path of the filter's own.
#[must_use]
pub fn own_path(path: &str) -> Option<&str> {
    let (first, rest) = path.split_at_checked(OWN.len())?;
    let is_own = first.eq_ignore_ascii_case(OWN) && (rest.is_empty() || rest.starts_with('/'));
    is_own.then_some(rest)
}

/// The token in the path of a status address.
#[must_use]
pub fn status_token(path: &str) -> Option<&str> {
    let (first, token) = own_path(path)?.split_at_checked(STATUS.len())?;
    first.eq_ignore_ascii_case(STATUS).then_some(token)
}

/// The absolute address that tells what became of a key, for whoever sent a request to `requested`.
#[must_use]
pub fn status_address(requested: &Address, token: &str) -> String {
    format!("{}://{}{OWN}{STATUS}{token}", requested.scheme, requested.host)
}

const OWN: &str = "/.oncegate";
const STATUS: &str = "/status/";
