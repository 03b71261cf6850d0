//! Writes down what became of each guarded request: a line for the log, a point for the metrics.

use std::cell::Cell;
use std::time::Duration;

use js_sys::Array;
use wasm_bindgen::{JsCast as _, JsValue};
use worker::Env;

use super::clock::now;
use super::{bindings, env};
use crate::filter::Reached;
use crate::lifecycle::record::Execution;
use crate::log::{Entry, LogKeys, Times};
use crate::time::Timestamp;

/// The course of one request, as its story notes it on the way.
pub(super) struct Timing {
    started: Timestamp,
    /// How far it has come, for whoever must answer where it breaks off.
    pub(super) reached: Cell<Reached>,
    attempt: Cell<Option<u32>>,
    ledger: Spent,
    origin: Spent,
}

impl Timing {
    /// It begins now.
    pub(super) fn new() -> Self {
        Self {
            started: now(),
            reached: Cell::new(Reached::NoClaim),
            attempt: Cell::default(),
            ledger: Spent::none(),
            origin: Spent::none(),
        }
    }

    /// A call of the Ledger begins; it takes until this is dropped, which it is where the call is given up.
    pub(super) fn asking(&self) -> Span<'_> {
        self.ledger.begin()
    }

    /// The request goes to the origin, which takes until this is dropped.
    pub(super) fn forwarding(&self, run: Execution) -> Span<'_> {
        self.attempt.set(Some(run.attempt));
        self.origin.begin()
    }

    /// Which attempt it was, where it was granted one.
    pub(super) fn attempt(&self) -> Option<u32> {
        self.attempt.get()
    }

    /// Where the time went, up to now.
    pub(super) fn times(&self) -> Times {
        let now = now();
        let (ledger, origin) = (self.ledger.until(now), self.origin.until(now));
        Times { total: now.since(self.started), ledger, origin }
    }
}

/// Time spent on one thing, which is done once at a time.
struct Spent {
    before: Cell<Duration>,
    /// When the span began that has not ended: a caller who is answered 504 has waited for an origin that
    /// is still being waited for.
    since: Cell<Option<Timestamp>>,
}

impl Spent {
    fn none() -> Self {
        Self { before: Cell::new(Duration::from_millis(0)), since: Cell::new(None) }
    }

    fn begin(&self) -> Span<'_> {
        self.since.set(Some(now()));
        Span(self)
    }

    fn until(&self, now: Timestamp) -> Duration {
        let open = self.since.get().map_or(Duration::ZERO, |since| now.since(since));
        self.before.get().saturating_add(open)
    }
}

/// A span of time, until it is dropped.
pub(super) struct Span<'a>(&'a Spent);

impl Drop for Span<'_> {
    fn drop(&mut self) {
        self.0.before.set(self.0.until(now()));
        self.0.since.set(None);
    }
}

/// Writes a line, and a data point where there is an Analytics Engine dataset bound as METRICS.
pub(super) fn write(env: &Env, keys: LogKeys, entry: &Entry<'_>) {
    bindings::log(&entry.line(keys, env::log_key(env).as_deref()));
    let metrics = bindings::metrics(env);
    if !metrics.is_object() {
        return;
    }
    let texts: Array = entry.blobs().iter().map(|text| JsValue::from_str(text)).collect();
    let numbers: Array = entry.doubles().iter().map(|number| JsValue::from_f64(*number)).collect();
    let index = Array::of1(&JsValue::from_str(entry.route));
    let point = bindings::object(&[
        ("indexes", index.into()),
        ("blobs", texts.into()),
        ("doubles", numbers.into()),
    ]);
    let written = metrics.unchecked_into::<bindings::Dataset>().write_data_point(&point);
    if let Err(error) = written {
        bindings::warn(&format!("METRICS takes no data point: {}", bindings::text(&error)));
    }
}
