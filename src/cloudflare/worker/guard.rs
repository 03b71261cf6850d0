//! A guarded request: reads its body, runs the filter for it, answers with what comes of that, and logs it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot::{self, Canceled};

use super::request_body::{RequestBody, digest};
use super::{FetchEvent, random_token};
use crate::admission::{Guarded, Head, status_address};
use crate::answer::Answer;
use crate::cloudflare::body_buffer::BufferedBody;
use crate::cloudflare::error::Error;
use crate::cloudflare::guarded_call::GuardedCall;
use crate::cloudflare::headers::HeaderChanges;
use crate::cloudflare::ledger_stub::{LedgerBody, LedgerClient};
use crate::cloudflare::log::{self, Outcome};
use crate::cloudflare::origin::OriginResponse;
use crate::cloudflare::response::{Client, Response};
use crate::cloudflare::tasks::{spawn, wait_until};
use crate::cloudflare::world::{ForRunner, RequestWorld};
use crate::cloudflare::{env, faults, origin};
use crate::config::route::Route;
use crate::config::{Origin, Policy};
use crate::filter::{GuardedRequest, clear_up, filter};
use crate::forward;
use crate::log::Entry;
use crate::request::status_token::StatusToken;

impl FetchEvent {
    pub(super) async fn guard(
        &self,
        policy: &Rc<Policy>,
        guarded: Guarded,
        head: &Head<'_>,
        body: RequestBody,
    ) -> Result<Response, Error> {
        let client = self.client.get_or_init(|| Client::of(&guarded, head));
        let log = |guarded: &Guarded, outcome| {
            let (route, id) = (&guarded.route, &guarded.correlation_id);
            self.log(policy, Some(route), Some(guarded), id, head, outcome);
        };
        let body = match self.whole_body(body, &guarded.route).await {
            Ok(body) => body,
            Err((problem, _)) => {
                log(&guarded, Outcome::of(&problem));
                return client.problem(&problem, None);
            }
        };
        let digest = digest(body.as_ref(), &guarded.route).await?;
        faults::here("read");
        let guarded = Rc::new(guarded);
        let (world, request) = self.world(policy, guarded.clone(), head, &digest, body)?;
        let answer = self.filter(world, request).await.map(|answer| match answer {
            Answer::Problem(problem, status) => Answer::Problem(guarded.told(problem), status),
            answer => answer,
        });
        log(
            &guarded,
            match &answer {
                Ok(answer) => Outcome::of_answer(answer),
                Err(Canceled) => Outcome::of(&self.progress.reached.get().aborted().0),
            },
        );
        match answer {
            Ok(Answer::Problem(problem, status)) => client.problem(&problem, status),
            Ok(Answer::OriginResponse(response, status, expires)) => {
                faults::here("heard");
                client.origin_response(response, status, expires, &self.context)
            }
            Ok(Answer::Stored(replay, body)) => client.replay(&replay, body),
            Ok(Answer::Accepted(accepted)) => {
                let token = StatusToken::new(&guarded.id, accepted.status).to_text();
                client.accepted(&accepted, &status_address(head.address, &token))
            }
            Err(Canceled) => self.aborted(),
        }
    }

    /// Runs the filter in a task that goes on after the answer: where the client hangs up the reply is stored all the
    /// same. Where a fault ends the task, what it may have claimed is given back.
    async fn filter(
        &self,
        world: RequestWorld,
        request: GuardedRequest,
    ) -> Result<Answer<OriginResponse, LedgerBody>, Canceled> {
        let (world, key) = (Rc::new(world), request.key_id);
        let (sender, answer) = oneshot::channel();
        let filtering = world.clone();
        let filtered = spawn(async move {
            filter(&*filtering, request, |answer| {
                // Where nobody is there to be answered the work goes on.
                let _ = sender.send(answer);
            })
            .await;
        });
        // The context is held before anything is claimed: after a disconnect it would be too late.
        wait_until(&self.context, async move {
            if let Err(Canceled) = filtered.await {
                let reached = world.call.progress.reached.get();
                let _ = spawn(async move { clear_up(&*world, &key, reached).await }).await;
            }
        });
        answer.await
    }

    /// What the filter needs for a request.
    pub(super) fn world(
        &self,
        policy: &Rc<Policy>,
        guarded: Rc<Guarded>,
        head: &Head<'_>,
        digest: &[u8; 32],
        body: Option<BufferedBody>,
    ) -> Result<(RequestWorld, GuardedRequest), Error> {
        let claim = guarded.claim(head, digest, random_token()?);
        let request = GuardedRequest {
            key_id: guarded.id,
            claim,
            route: guarded.route.clone(),
            responds_async: guarded.responds_async,
        };
        let for_runner = if guarded.responds_async {
            Some(ForRunner {
                runners: env::runners(&self.env)?,
                url: self.request.url(),
                traceparent: traceparent(head),
            })
        } else {
            None
        };
        let mut changes =
            HeaderChanges::of(&forward::changes(head.header, &policy.origin, head.address));
        changes.append_all(&self.loop_marks(head));
        let call = GuardedCall {
            ledger: LedgerClient { ledgers: env::ledgers(&self.env)?, policy: policy.clone() },
            route: guarded.route.clone(),
            origin_binding: matches!(policy.origin, Origin::Binding).then(|| self.origin_binding()),
            origin_address: origin::address(&policy.origin, head.address),
            requested_address: head.address.clone(),
            method: head.method.to_owned(),
            body: RefCell::new(body),
            stream_end: Cell::new(None),
            progress: self.progress.clone(),
        };
        let headers = self.request.headers();
        Ok((RequestWorld { call, for_runner, guarded, headers, changes }, request))
    }

    pub(super) fn log(
        &self,
        policy: &Policy,
        route: Option<&Route>,
        guarded: Option<&Guarded>,
        correlation_id: &str,
        head: &Head<'_>,
        Outcome { name, status, why }: Outcome,
    ) {
        self.outcome.set(Some(name));
        let entry = Entry {
            via: self.via.name(),
            route: route.map(|route| route.name.as_str()),
            method: head.method,
            key: guarded.map(|guarded| &guarded.key),
            correlation_id,
            traceparent: traceparent(head),
            shard: guarded.map(|guarded| guarded.id.shard(policy.shards)),
            attempt: self.progress.attempt(),
            outcome: name,
            status,
            why,
            times: self.progress.times(),
        };
        log::write(&self.env, policy.log_keys, &entry);
    }
}

/// 55 characters (W3C Trace Context section 3.2); what is much longer is something else.
pub(super) fn traceparent(head: &Head<'_>) -> Option<String> {
    (head.header)("traceparent").filter(|trace| trace.len() <= 128)
}
