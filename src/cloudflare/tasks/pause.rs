//! Spans of time that are waited for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{Place, Request, Wait, awaited, settle, tasks};
use crate::cloudflare::bindings;
use crate::cloudflare::world::{now, to_js};
use crate::filter::CALL_PATIENCE;
use crate::time::Timestamp;

/// The end of a span of time that is waited for.
pub(super) struct Timer {
    request: Request,
    due: Timestamp,
    place: Place,
}

/// Lets time pass.
pub(in crate::cloudflare) fn pause(span: Duration) -> Pause {
    let (place, request) = awaited();
    let due = now().plus(span);
    tasks().timers.borrow_mut().push(Timer { request, due, place });
    arm(request, span, due);
    Pause(Wait(place))
}

/// A span of time. Dropped before its end, nobody waits for it any more.
pub(in crate::cloudflare) struct Pause(Wait);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(|_| ())
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        tasks().timers.borrow_mut().retain(|timer| timer.place != self.0.0);
    }
}

/// Sees to it that the request is called at `due` at the latest. It has one timer of the platform's at a time,
/// for as long as it lasts: setting and clearing one for every span is a twentieth of a request's time. So none is
/// set for later than [`TICK`]: one that was set for a long span would have to give way to a shorter one.
fn arm(request: Request, span: Duration, due: Timestamp) {
    let early = span.saturating_sub(TICK);
    bindings::arm(
        request.0,
        span.saturating_sub(early).as_secs_f64() * 1000.0,
        to_js(due.minus(early)),
    );
}

/// The request's timer has fired.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn elapsed(request: u32) {
    let request = Request(request);
    let now = now();
    let (due, next) = {
        let tasks = tasks();
        let mut timers = tasks.timers.borrow_mut();
        let first = timers.iter().position(|timer| timer.request == request && timer.due <= now);
        // One at a time, the next one in a call of its own: it comes even if this one breaks off.
        let due = first.map(|at| timers.remove(at).place);
        let left = timers.iter().filter(|timer| timer.request == request);
        (due, left.map(|timer| timer.due).min())
    };
    if let Some(next) = next {
        arm(request, next.since(now), next);
    }
    if let Some(due) = due {
        settle(due, Ok(JsValue::UNDEFINED));
    }
}

/// As long as a call of a Ledger may take: most requests are over before.
const TICK: Duration = CALL_PATIENCE;
