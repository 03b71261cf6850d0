//! Request methods.

/// GET, HEAD, OPTIONS, TRACE (RFC 9110 section 9.2.1): they have no effect that a retry could repeat.
#[must_use]
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
