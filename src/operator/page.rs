//! Pages (stub).
#![allow(missing_docs, unused, clippy::all, clippy::pedantic)]
use crate::key::KeyId;
use crate::operator::desk::Action;
use crate::operator::inquiry::{Audited, Found, Search};
use crate::operator::refusal::Refusal;
use crate::operator::tally::Tally;
use crate::record::Millis;
#[derive(Debug)]
pub struct Frame {
    pub nonce: String,
    pub form_token: String,
    pub now: Millis,
}
pub fn log_in(nonce: &str, wrong: Option<&str>) -> String {
    String::new()
}
pub fn overview(f: &Frame, d: &[Found], l: &[Found], s: &[(u64, Tally)]) -> String {
    String::new()
}
pub fn key(f: &Frame, key: &str, found: &[Found]) -> String {
    String::new()
}
pub fn records(f: &Frame, s: &Search, found: &[Found], c: Option<&str>) -> String {
    String::new()
}
pub fn record(f: &Frame, found: &Found) -> String {
    String::new()
}
pub fn confirm(f: &Frame, found: &Found, a: Action) -> String {
    String::new()
}
pub fn decided(f: &Frame, k: KeyId, a: &str, stays: bool) -> String {
    String::new()
}
pub fn refused(f: &Frame, r: &Refusal) -> String {
    String::new()
}
pub fn audit(f: &Frame, d: &[Audited], c: Option<&str>) -> String {
    String::new()
}
pub fn policy(nonce: &str) -> String {
    String::new()
}
