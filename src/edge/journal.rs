//! Writes down what became of each guarded request: a line for the log, a point for the metrics.

use std::cell::Cell;

use js_sys::Array;
use wasm_bindgen::{JsCast as _, JsValue};

use super::exchange::now;
use super::js;
use crate::filter::Reached;
use crate::journal::{Entry, LogKeys, Times};
use crate::record::{Millis, Run};

/// The course of one request, as its story notes it on the way.
pub(super) struct Course {
    started: Millis,
    /// How far it has come, for whoever must answer where it breaks off.
    pub(super) reached: Cell<Reached>,
    attempt: Cell<Option<u32>>,
    ledger: Cell<Millis>,
    origin: Cell<Millis>,
}

impl Course {
    /// It begins now.
    pub(super) fn new() -> Self {
        let none = Cell::new(Millis(0));
        Self {
            started: now(),
            reached: Cell::new(Reached::NoClaim),
            attempt: Cell::default(),
            ledger: none.clone(),
            origin: none,
        }
    }

    /// A call of the Ledger begins; it takes until this is dropped, which it is where the call is given up.
    pub(super) fn asking(&self) -> Span<'_> {
        Span { began: now(), sum: &self.ledger }
    }

    /// The request goes to the origin, which takes until this is dropped.
    pub(super) fn forwarding(&self, run: Run) -> Span<'_> {
        self.attempt.set(Some(run.attempt));
        Span { began: now(), sum: &self.origin }
    }

    /// Which attempt it was, where it was granted one.
    pub(super) fn attempt(&self) -> Option<u32> {
        self.attempt.get()
    }

    /// Where the time went, up to now.
    pub(super) fn times(&self) -> Times {
        let (ledger, origin) = (self.ledger.get(), self.origin.get());
        Times { total: now().since(self.started), ledger, origin }
    }
}

/// A span of time that is added to a sum when it ends.
pub(super) struct Span<'a> {
    began: Millis,
    sum: &'a Cell<Millis>,
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        self.sum.set(self.sum.get().plus(now().since(self.began)));
    }
}

/// Writes a line, and a data point where there is an Analytics Engine dataset bound as METRICS.
pub(super) fn write(env: &JsValue, keys: LogKeys, entry: &Entry<'_>) {
    worker::console_log!("{}", entry.line(keys));
    let metrics = js::get(env, "METRICS");
    if !metrics.is_object() {
        return;
    }
    let texts: Array = entry.blobs().iter().map(|text| JsValue::from_str(text)).collect();
    let numbers: Array = entry.doubles().iter().map(|number| JsValue::from_f64(*number)).collect();
    let index = Array::of1(&JsValue::from_str(entry.route));
    let point = js::object(&[
        ("indexes", index.into()),
        ("blobs", texts.into()),
        ("doubles", numbers.into()),
    ]);
    let written = metrics.unchecked_into::<js::Dataset>().write_data_point(&point);
    if let Err(error) = written {
        worker::console_warn!("METRICS takes no data point: {}", js::text(&error));
    }
}
