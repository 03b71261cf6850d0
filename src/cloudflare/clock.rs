//! The clock: what time it is, and spans of time that tasks wait for.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use js_sys::Date;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::bindings;
use super::tasks::{Wait, current_scope, end_wait};
use crate::filter::CALL_PATIENCE;
use crate::time::Timestamp;

/// The time. It stands still between two I/O operations, so that nobody can measure how long code takes
/// (developers.cloudflare.com, workers/reference/security-model).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole milliseconds since 1970"
)]
pub(super) fn now() -> Timestamp {
    Timestamp(Date::now() as u64)
}

/// An instant as JavaScript has it.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay below 2^53")]
pub(super) fn to_js(at: Timestamp) -> f64 {
    at.0 as f64
}

thread_local! {
    /// What is waited for: the scope that waits, when its time is up, and the id of the [`Wait`].
    static TIMERS: RefCell<BTreeSet<(u32, Timestamp, u32)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Lets time pass.
pub(super) fn pause(span: Duration) -> Pause {
    let (scope, due, wait) = (current_scope(), now().plus(span), Wait::new());
    TIMERS.with_borrow_mut(|timers| timers.insert((scope, due, wait.id())));
    arm(scope, span, due);
    Pause { scope, due, wait }
}

/// A span of time. Where it is dropped before its end, nothing happens at its end.
pub(super) struct Pause {
    scope: u32,
    due: Timestamp,
    wait: Wait,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.wait.poll_unpin(context).map(|_| ())
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let timer = (self.scope, self.due, self.wait.id());
        TIMERS.with_borrow_mut(|timers| timers.remove(&timer));
    }
}

/// Sees to it that [`elapsed`] is called at `due` at the latest. A scope has one timer of the platform's at a
/// time, for as long as it lasts: setting and clearing one for every span is a twentieth of a request's CPU time
/// (measured). So none is set for later than [`TICK`]: one that was set for a long span would have to be cleared for
/// a shorter one.
fn arm(scope: u32, span: Duration, due: Timestamp) {
    let early = span.saturating_sub(TICK);
    let ms = span.saturating_sub(early).as_secs_f64() * 1000.0;
    bindings::arm(scope, ms, to_js(due.minus(early)));
}

/// `host.js` says that a scope's timer has fired.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn elapsed(scope: u32) {
    let now = now();
    while let Some((due, wait)) = first(scope) {
        if due > now {
            return arm(scope, due.since(now), due);
        }
        TIMERS.with_borrow_mut(|timers| timers.remove(&(scope, due, wait)));
        end_wait(wait, Ok(JsValue::UNDEFINED));
    }
}

/// The first timer of a scope.
fn first(scope: u32) -> Option<(Timestamp, u32)> {
    TIMERS.with_borrow(|timers| {
        let (of, due, wait) = *timers.range((scope, Timestamp(0), 0)..).next()?;
        (of == scope).then_some((due, wait))
    })
}

/// As long as a call of a Ledger may take: most requests are over before.
const TICK: Duration = CALL_PATIENCE;
