//! What a request is: its key, its caller, and what makes another request its retry.

pub mod bearer;
pub mod credential;
pub mod digest;
pub mod fingerprint;
pub mod header;
pub mod json;
pub mod key;
pub mod key_source;
pub mod method;
pub mod path;
pub mod prefer;
pub mod repeatability;
pub mod scope;
pub mod status_token;
