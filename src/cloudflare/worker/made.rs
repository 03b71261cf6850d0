//! A request that the filter makes itself: it is served like a client's.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::{JsCast as _, JsValue};
use worker::{Context, Env};

use super::{FetchEvent, Via};
use crate::cloudflare::error::Error;
use crate::cloudflare::job::{Done, done};
use crate::cloudflare::operator::PutThrough;
use crate::cloudflare::tasks::wait;

impl FetchEvent {
    /// Puts a request through the filter, and says what follows from the answer.
    pub(in crate::cloudflare) async fn made(
        request: web_sys::Request,
        env: Env,
        context: Context,
        via: Via,
    ) -> Result<Done, Error> {
        let event = Rc::new(Self::new(request, env, context, via));
        let answer = wait(Promise::resolve(&event.clone().served().await?)).await?;
        Ok(done(&answer.unchecked_into(), || event.outcome()).await)
    }

    /// Puts requests of schedules through the filter, within this event.
    pub(super) fn put_through(&self) -> Box<PutThrough> {
        let (env, context) = (self.env.clone(), JsValue::from(self.context.as_ref()));
        Box::new(move |request, strategy| {
            let context = Context::new(context.clone().unchecked_into());
            Box::pin(Self::made(request, env.clone(), context, Via::Operator(strategy)))
        })
    }
}
