//! A panic stays alone: what goes wrong in one request ends that request and no other.
//!
//! The build unwinds panics, so that the instance and all it holds live on; here they are caught, and
//! with them any exception that a JavaScript call throws without having said so.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, set_hook};
use std::pin::pin;
use std::task::Poll;

use futures_util::future::poll_fn;
use wasm_bindgen_futures::spawn_local;
use worker::Context;

use super::js;

/// The work broke off in the middle. What it held has been dropped.
pub(super) struct BrokeOff;

/// Does `work` so that a panic or an exception in it ends nothing else. The log says where it was.
pub(super) async fn alone<T>(work: impl Future<Output = T>) -> Result<T, BrokeOff> {
    log_panics();
    let mut work = pin!(work);
    poll_fn(move |context| {
        let mut polled = Poll::Pending;
        // By way of JavaScript, where a panic and an exception are the same and can be caught: Rust by
        // itself catches panics only, and a task that an exception went through never ends.
        let mut poll = AssertUnwindSafe(|| polled = work.as_mut().poll(context));
        let attempted = js::attempt(&mut move || (*poll)());
        match attempted {
            Ok(()) => polled.map(Ok),
            Err(error) => {
                // A panic has been logged, and its text may quote what must not be.
                if js::get(&error, "name").as_string().as_deref() != Some("PanicError") {
                    worker::console_error!("uncaught: {}", js::text(&error));
                }
                Poll::Ready(Err(BrokeOff))
            }
        }
    })
    .await
}

/// Goes on with `work` after the answer, alone.
pub(super) fn afterwards(context: &Context, work: impl Future<Output = ()> + 'static) {
    context.wait_until(async move {
        // There is nobody to tell but the log.
        let _ = alone(work).await;
    });
}

/// Does `work` beside whatever else there is to do, alone.
pub(super) fn aside(work: impl Future<Output = ()> + 'static) {
    spawn_local(async move {
        // There is nobody to tell but the log.
        let _ = alone(work).await;
    });
}

/// Logs every panic by its place, in this instance of the program, instead of what the crate's own hook
/// would print.
fn log_panics() {
    thread_local! {
        static HOOKED: Cell<bool> = const { Cell::new(false) };
    }
    if !HOOKED.replace(true) {
        set_hook(Box::new(log));
    }
}

/// A message that was put together while running may quote a key or a body; a constant one cannot.
fn log(panic: &PanicHookInfo) {
    let message = panic.payload().downcast_ref::<&str>().copied().unwrap_or("panic");
    match panic.location() {
        Some(at) => worker::console_error!("{message}, at {}:{}", at.file(), at.line()),
        None => worker::console_error!("{message}"),
    }
}
