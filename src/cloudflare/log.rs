//! Logs each guarded request: one line, and one data point for the metrics.

use std::cell::Cell;
use std::time::Duration;

use wasm_bindgen::JsCast as _;
use worker::{AnalyticsEngineDataPointBuilder, AnalyticsEngineDataset, Env};

use super::clock::now;
use super::origin::OriginResponse;
use super::{bindings, env};
use crate::answer::{Answer, Status};
use crate::filter::Reached;
use crate::lifecycle::record::Execution;
use crate::log::{Entry, LogKeys, Times};
use crate::problem::Problem;
use crate::time::Timestamp;

/// Writes a line, and a data point where an Analytics Engine dataset is bound as METRICS.
pub(super) fn write(env: &Env, keys: LogKeys, entry: &Entry<'_>) {
    bindings::log(&entry.line(keys, env::log_key(env).as_deref()));
    let metrics = bindings::metrics(env);
    if !metrics.is_object() {
        return;
    }
    let mut point =
        AnalyticsEngineDataPointBuilder::new().indexes([entry.route.unwrap_or_default()]);
    for blob in entry.blobs() {
        point = point.add_blob(blob);
    }
    for double in entry.doubles() {
        point = point.add_double(double);
    }
    let dataset: AnalyticsEngineDataset = metrics.unchecked_into();
    if let Err(error) = dataset.write_data_point(&point.build()) {
        bindings::warn(&format!("METRICS takes no data point: {error}"));
    }
}

/// How a request ended, as the log says it.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) status: u16,
    pub(super) why: Option<String>,
}

impl Outcome {
    pub(super) fn of(problem: &Problem) -> Self {
        let why = problem.why.clone().unwrap_or_else(|| problem.code.title().to_owned());
        let (name, status) = problem.logged();
        Self { name, status, why: Some(why) }
    }

    pub(super) fn of_answer<B>(answer: &Answer<OriginResponse, B>) -> Self {
        match answer {
            Answer::Problem(problem, _) => Self::of(problem),
            Answer::OriginResponse(response, status, _) => {
                Self::of_origin_response(response.status, *status)
            }
            Answer::Accepted(_) => Self { name: Status::Running.as_str(), status: 202, why: None },
            Answer::Stored(replay, _) => {
                let name = Status::from(replay.how).as_str();
                Self { name, status: replay.reply.status, why: None }
            }
        }
    }

    fn of_origin_response(answered: u16, status: Status) -> Self {
        let why = match status {
            Status::Released => Some(format!("the origin answered {answered}: released")),
            Status::Unknown => {
                Some(format!("status {answered}: It is not known whether the origin executed it."))
            }
            Status::Executed | Status::Replayed | Status::Joined | Status::Running => None,
        };
        Self { name: status.as_str(), status: answered, why }
    }
}

/// How far one request has come, and how long each part of it took.
pub(super) struct Timing {
    started: Timestamp,
    /// How far it has come: what is answered where a fault ends it depends on that.
    pub(super) reached: Cell<Reached>,
    attempt: Cell<Option<u32>>,
    ledger: Stopwatch,
    origin: Stopwatch,
}

impl Timing {
    /// It begins now.
    pub(super) fn new() -> Self {
        Self {
            started: now(),
            reached: Cell::new(Reached::NoClaim),
            attempt: Cell::default(),
            ledger: Stopwatch::default(),
            origin: Stopwatch::default(),
        }
    }

    /// A call of the Ledger begins. It ends when this is dropped, which it is where the call is given up.
    pub(super) fn ledger_call(&self) -> Lap<'_> {
        self.ledger.start()
    }

    /// The request is forwarded to the origin. That ends when this is dropped.
    pub(super) fn forwarding(&self, execution: Execution) -> Lap<'_> {
        self.attempted(execution);
        self.origin.start()
    }

    /// The request is forwarded, by this instance or by a Runner.
    pub(super) fn attempted(&self, execution: Execution) {
        self.attempt.set(Some(execution.attempt));
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

/// Sums up the time that is spent on one thing, which is done once at a time.
#[derive(Default)]
struct Stopwatch {
    sum: Cell<Duration>,
    /// When the lap began that has not ended: a caller who is answered 504 has waited for an origin that is still being
    /// waited for.
    since: Cell<Option<Timestamp>>,
}

impl Stopwatch {
    fn start(&self) -> Lap<'_> {
        self.since.set(Some(now()));
        Lap(self)
    }

    fn until(&self, now: Timestamp) -> Duration {
        let open = self.since.get().map_or(Duration::ZERO, |since| now.since(since));
        self.sum.get().saturating_add(open)
    }
}

/// One lap of a stopwatch, until it is dropped.
pub(super) struct Lap<'a>(&'a Stopwatch);

impl Drop for Lap<'_> {
    fn drop(&mut self) {
        self.0.sum.set(self.0.until(now()));
        self.0.since.set(None);
    }
}
