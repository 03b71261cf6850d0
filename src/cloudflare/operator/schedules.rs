//! Runs a slot of a schedule for an operator.

use wasm_bindgen::JsValue;

use super::{Operator, Reply, unavailable};
use crate::admission::{Admission, Guarded, Head, admit};
use crate::cloudflare::clock::now;
use crate::cloudflare::error::Error;
use crate::cloudflare::headers::HeaderLines;
use crate::cloudflare::job::Done;
use crate::cloudflare::{bindings, env, job, jwks};
use crate::config::Policy;
use crate::job::schedule::RunLine;
use crate::operator::answer::{ApiResponse, ran, schedules};
use crate::operator::page;
use crate::operator::query::{OperatorQuery, OperatorResult};
use crate::operator::run::{RunRequest, Slot};
use crate::operator::schedules::{Ran, list};
use crate::operator::search::RerunEntry;
use crate::problem::{Code, Problem};
use crate::request::digest::hex;
use crate::request::path::Address;
use crate::time::Timestamp;

impl Operator<'_> {
    /// The schedules.
    pub(super) fn schedules(&self, session: Option<&str>) -> Result<Reply, Problem> {
        let listed = list(self.policy()?, now());
        let context = self.wants_page().then(|| self.context(session, Vec::new()));
        schedules(&listed, context.as_ref()).map(|content| Reply::Content(200, content))
    }

    /// Runs a slot, or answers it from its record.
    pub(super) async fn run(
        &self,
        asked: &RunRequest,
        session: Option<&str>,
    ) -> Result<Reply, Problem> {
        let policy = self.policy()?;
        let slot = asked.slot(policy, now())?;
        let request = job::request(self.env, &slot.request, JsValue::NULL)
            .map_err(|error| not_made(&error))?;
        let admitted = self.admitted(policy, &request).await;
        let key_id = admitted.as_ref().ok().map(|guarded| guarded.id);
        let context = || self.wants_page().then(|| self.context(session, Vec::new()));
        if slot.is_outside_window {
            let guarded = admitted?;
            if !self.is_known(policy, &guarded).await? {
                if !asked.rerun {
                    return match context() {
                        Some(context) => {
                            let page = page::outside_window(&context, &slot);
                            let status = Code::OutsideWindow.status();
                            Ok(Reply::Content(status, ApiResponse::Page(page)))
                        }
                        None => Err(slot.outside_window()),
                    };
                }
                self.note_rerun(policy, &slot, &guarded).await?;
            }
        }
        let strategy = slot.schedule.on_duplicate;
        let done = (self.put_through)(request, strategy).await.map_err(|error| failed(&error))?;
        let Done { status, outcome, next } = done;
        let ran_slot = Ran { slot, key_id, outcome: outcome.unwrap_or("failed"), status, next };
        self.log_run(&ran_slot);
        ran(&ran_slot, context().as_ref()).map(|content| Reply::Content(200, content))
    }

    /// The request as admission sees it, which names its record before it is made.
    async fn admitted(
        &self,
        policy: &Policy,
        request: &web_sys::Request,
    ) -> Result<Guarded, Problem> {
        let headers = HeaderLines::of(&request.headers());
        let header = |name: &str| headers.get(name).map(str::to_owned);
        let not_guarded = || {
            let detail = "No route guards the schedule's request, so it was not made.";
            Problem::new(Code::NotGuarded, detail)
        };
        let address = Address::parse(&request.url()).ok_or_else(not_guarded)?;
        let method = request.method();
        let head = Head { method: &method, address: &address, header: &header };
        let admission = match admit(policy, &head) {
            Admission::Verify(unproven) => {
                let proof = jwks::verify(policy.trust.as_deref(), &unproven.token).await;
                unproven.prove(&head, proof)
            }
            admission => admission,
        };
        match admission {
            Admission::Guard(guarded) => Ok(guarded.under(env::log_key(self.env).as_deref())),
            Admission::Refuse(problem, _) => Err(problem),
            _ => Err(not_guarded()),
        }
    }

    /// Whether the slot has a record: then that answers, however old the slot is.
    async fn is_known(&self, policy: &Policy, guarded: &Guarded) -> Result<bool, Problem> {
        match self.ask_one(policy, guarded.id, OperatorQuery::Key).await? {
            OperatorResult::Records(_, found) => {
                Ok(found.iter().any(|found| found.key == guarded.id))
            }
            _ => Err(unavailable("a shard answers another question")),
        }
    }

    /// Writes down that the slot is run although nobody knows whether it was run before. This is written first: a run that
    /// nobody can look up is worse than a row whose run failed.
    async fn note_rerun(
        &self,
        policy: &Policy,
        slot: &Slot,
        guarded: &Guarded,
    ) -> Result<(), Problem> {
        let address = Address::parse(&slot.request.url);
        let rerun = RerunEntry {
            at: Timestamp(0),
            key: guarded.id,
            by: self.auth.token_id(),
            schedule: slot.schedule.name.clone(),
            scheduled_time: slot.at,
            route: guarded.route.name.clone(),
            method: slot.request.method.clone(),
            path: address.map(|address| address.target.path).unwrap_or_default(),
            correlation_id: guarded.correlation_id.clone(),
        };
        let written = self.ask_one(policy, guarded.id, OperatorQuery::Rerun(rerun)).await;
        written.map(drop).map_err(|problem| {
            let detail = format!("The slot was not run. {}", problem.detail);
            Problem { detail, ..problem }
        })
    }

    /// The line that a slot which its trigger runs ends in, and who ran this one.
    fn log_run(&self, ran: &Ran) {
        let line = RunLine {
            schedule: &ran.slot.schedule.name,
            scheduled_time: ran.slot.at,
            operator: Some(hex(&self.auth.token_id())),
            outcome: ran.outcome,
            status: Some(ran.status),
            tries: 1,
            why: ran.next.why(),
        };
        let report = if line.why.is_none() { bindings::log } else { bindings::log_error };
        report(&line.to_text());
    }
}

/// The request could not be made.
fn not_made(error: &Error) -> Problem {
    let code = match error {
        Error::NoSecret(_) => Code::Misconfigured,
        _ => Code::StoreUnavailable,
    };
    Problem::new(code, format!("The slot was not run: {error}."))
}

/// The request was made, and the filter has failed.
fn failed(error: &Error) -> Problem {
    let detail = format!(
        "The filter failed while the slot was run: {error}. Run it again: its key is the same, so what was executed is not executed twice."
    );
    Problem::new(Code::StoreUnavailable, detail)
}
