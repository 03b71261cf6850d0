//! What must hold of any input, one module per subject. The fuzzer looks for inputs of which it does not;
//! `npm test` plays those of `corpus/` (`tests/host/corpus.rs` includes this file).
//!
//! Each `check` panics where a property does not hold, and takes any bytes.

pub mod config;
pub mod json;
pub mod key;
pub mod life;
pub mod row;
pub mod scope;
pub mod source;
pub mod target;
pub mod wire;

/// A check.
pub type Check = fn(&[u8]);

/// Every check by the name of its folder in `corpus/`.
pub const CHECKS: [(&str, Check); 9] = [
    ("config", config::check),
    ("json", json::check),
    ("key", key::check),
    ("life", life::check),
    ("row", row::check),
    ("scope", scope::check),
    ("source", source::check),
    ("target", target::check),
    ("wire", wire::check),
];

/// The body of a fuzz target. 64 MiB are thousands of times what the largest input may cost.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[global_allocator]
        static BOUNDED: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, 64 << 20);
        libfuzzer_sys::fuzz_target!(|data: &[u8]| oncegate_fuzz::$name::check(data));
    };
}
