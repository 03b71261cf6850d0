//! What a request is: its key, whose it is, and what makes another one the same.

pub mod digest;
pub mod fingerprint;
pub mod json;
pub mod key;
pub mod key_source;
pub mod path;
pub mod scope;
