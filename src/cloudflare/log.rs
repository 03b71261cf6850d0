//! Logs each guarded request: one line, and one data point for the metrics.

use wasm_bindgen::JsCast as _;
use worker::{AnalyticsEngineDataPointBuilder, AnalyticsEngineDataset, Env};

use super::origin::OriginResponse;
use super::{bindings, env};
use crate::answer::{Answer, Status};
use crate::log::{Entry, LogKeys};
use crate::problem::Problem;

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
        bindings::log_warning(&format!("METRICS takes no data point: {error}"));
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
