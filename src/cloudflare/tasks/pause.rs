//! Spans of time that are waited for.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Scope, Wait, settle};
use crate::cloudflare::bindings;
use crate::cloudflare::world::{now, to_js};
use crate::filter::CALL_PATIENCE;
use crate::time::Timestamp;

/// The end of a span of time that is waited for.
pub(super) struct Timer {
    due: Timestamp,
    wait: u32,
}

/// Lets time pass.
pub(in crate::cloudflare) fn pause(span: Duration) -> Pause {
    let (wait, scope) = (Wait::new(), Scope::current());
    let due = now().plus(span);
    scope.timers.borrow_mut().push(Timer { due, wait: wait.id });
    scope.arm(span, due);
    Pause { wait, scope }
}

/// A span of time. Dropped before its end, nobody waits for it any more.
pub(in crate::cloudflare) struct Pause {
    wait: Wait,
    scope: Rc<Scope>,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.wait.poll_unpin(context).map(|_| ())
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.scope.timers.borrow_mut().retain(|timer| timer.wait != self.wait.id);
    }
}

impl Scope {
    /// Sees to it that [`elapsed`] is called at `due` at the latest. A scope has one timer of the platform's at
    /// a time, for as long as it lasts: setting and clearing one for every span is a twentieth of a request's
    /// time. So none is set for later than [`TICK`]: one that was set for a long span would have to give way
    /// to a shorter one.
    fn arm(&self, span: Duration, due: Timestamp) {
        let early = span.saturating_sub(TICK);
        let ms = span.saturating_sub(early).as_secs_f64() * 1000.0;
        bindings::arm(self.id, ms, to_js(due.minus(early)));
    }
}

/// `host.js` says that a scope's timer has fired.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn elapsed(scope: u32) {
    let Some(scope) = Scope::find(scope) else { return };
    let now = now();
    let mut timers = scope.timers.borrow_mut();
    for timer in timers.extract_if(.., |timer| timer.due <= now) {
        settle(timer.wait, Ok(JsValue::UNDEFINED));
    }
    if let Some(next) = timers.iter().map(|timer| timer.due).min() {
        scope.arm(next.since(now), next);
    }
}

/// As long as a call of a Ledger may take: most requests are over before.
const TICK: Duration = CALL_PATIENCE;
