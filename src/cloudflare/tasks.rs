//! Runs the work of the platform's events on `spawn_local`, so that a fault ends the task that it happened
//! in and nothing else.
//!
//! A *scope* is all that one event (a fetch, a call of the Ledger, an alarm) has under way: its tasks, the
//! promises that they wait for, its timer. The runtime may end an event's context at any time, mostly when
//! the client hangs up. It then calls nothing back, and the tasks of that event would stay in memory for
//! ever (`JsFuture` leaks them). So `host.js` notices when all callbacks of a scope have been collected
//! as garbage, and calls [`abort_tasks`], which aborts the tasks.
//!
//! A panic and an exception of JavaScript unwind the task's stack alike, and drop what the task owned: also
//! the sender of its result, by which whoever waits for the result learns that there is none. `host.js`
//! catches what leaves the poll. A trap and an exhausted stack cannot be caught in Wasm and drop nothing:
//! after those the program starts anew.
//!
//! Tasks that wake one another belong to one event, or to one Ledger: the platform allows I/O only in the
//! context that it was begun in (developers.cloudflare.com, workers/runtime-apis/context).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{PanicHookInfo, set_hook};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Once;
use std::task::{Context, Poll};

use futures_channel::oneshot::{self, Receiver, Sender};
use futures_util::FutureExt as _;
use futures_util::future::{AbortHandle, Abortable};
use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;

use super::bindings;
use super::error::Error;

/// What one event of the platform has under way.
struct Scope {
    /// Its name in JavaScript.
    id: u32,
    tasks: RefCell<Vec<AbortHandle>>,
}

pub(super) type Settled = Result<JsValue, Error>;

thread_local! {
    static SCOPES: RefCell<BTreeMap<u32, Weak<Scope>>> = const { RefCell::new(BTreeMap::new()) };
    /// The scope of the task that is being polled.
    static CURRENT: RefCell<Option<Rc<Scope>>> = const { RefCell::new(None) };
    /// The promises and spans of time that tasks wait for.
    static AWAITED: RefCell<BTreeMap<u32, Sender<Settled>>> = const { RefCell::new(BTreeMap::new()) };
    static LAST_ID: Cell<u32> = const { Cell::new(0) };
}

/// An id that is not in use, and never 0, which is no scope's: after 2^32 of them the first ones have long been given
/// back.
fn next_id() -> u32 {
    LAST_ID.set(LAST_ID.get().checked_add(1).unwrap_or(1));
    LAST_ID.get()
}

/// Does an event's work in a scope of its own. Returns `None` if the platform ended the event's context; then nobody is
/// left to answer.
pub(super) async fn scoped<T>(work: impl Future<Output = T> + 'static) -> Option<T> {
    Scope::new().run(work).await
}

/// Does `work` in a task of its own, in the scope of the task that calls this. The result is canceled if a
/// fault or the end of the context ended the task. The work goes on where nobody waits for its result.
pub(super) fn spawn<T: 'static>(work: impl Future<Output = T> + 'static) -> Receiver<T> {
    let (sender, result) = oneshot::channel();
    let task = async move {
        let _ = sender.send(work.await);
    };
    spawn_local(Scope::current().run(task).map(drop));
    result
}

/// Keeps the event's context until `work` is done, after the answer too and where the client hangs up: for at
/// most 30 s (developers.cloudflare.com, workers/runtime-apis/context). A fault in `work` would hold the
/// context for the full 30 s, so spawn whatever can fail.
pub(super) fn wait_until<T: 'static>(
    context: &worker::Context,
    work: impl Future<Output = T> + 'static,
) {
    context.wait_until(Scope::current().run(work).map(drop));
}

/// The id of the scope of the task that calls this; 0 outside of a task, which is no scope's.
pub(super) fn current_scope() -> u32 {
    CURRENT.with_borrow(|scope| scope.as_ref().map_or(0, |scope| scope.id))
}

impl Scope {
    fn new() -> Rc<Self> {
        log_panics();
        let id = next_id();
        let scope = Rc::new(Self { id, tasks: RefCell::default() });
        SCOPES.with_borrow_mut(|scopes| scopes.insert(id, Rc::downgrade(&scope)));
        scope
    }

    fn current() -> Rc<Self> {
        CURRENT.with_borrow(Option::clone).unwrap_or_else(Self::new)
    }

    fn find(id: u32) -> Option<Rc<Self>> {
        SCOPES.with_borrow(|scopes| scopes.get(&id).and_then(Weak::upgrade))
    }

    /// Does `work` as a part of this scope; gives it up when the context has ended.
    fn run<T>(
        self: Rc<Self>,
        work: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = Option<T>> {
        let (handle, registration) = AbortHandle::new_pair();
        self.tasks.borrow_mut().push(handle);
        // Boxed, so that this is compiled once for each kind of result, and not once for each task.
        let mut work: Pin<Box<dyn Future<Output = T>>> = Box::pin(work);
        let polled = async move {
            poll_fn(|context| {
                let _until_polled = Polled::new(self.clone());
                work.as_mut().poll(context)
            })
            .await
        };
        Abortable::new(polled, registration).map(Result::ok)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        SCOPES.with_borrow_mut(|scopes| scopes.remove(&self.id));
        bindings::ended(self.id);
    }
}

/// Makes a scope the current one, until this is dropped.
struct Polled(Option<Rc<Scope>>);

impl Polled {
    fn new(scope: Rc<Scope>) -> Self {
        Self(CURRENT.replace(Some(scope)))
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Waits for a promise. The promise must not be kept meanwhile: its callbacks hold the token of the scope, and
/// a task that kept its own promise would never be forgotten.
pub(super) fn wait(promise: Promise) -> Wait {
    let wait = Wait::new();
    bindings::wait(promise, wait.id, current_scope());
    wait
}

/// What a promise comes to. Dropped before, it is not waited for any more.
pub(super) struct Wait {
    id: u32,
    settled: Receiver<Settled>,
}

impl Wait {
    /// Waits until [`end_wait`] is called with its id.
    pub(super) fn new() -> Self {
        let (sender, settled) = oneshot::channel();
        let id = next_id();
        AWAITED.with_borrow_mut(|awaited| awaited.insert(id, sender));
        Self { id, settled }
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }
}

impl Future for Wait {
    type Output = Settled;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
        // Nothing but `end_wait` takes the sender while this is there, and that sends.
        self.settled.poll_unpin(context).map(|settled| settled.unwrap_or(Err(Error::ContextEnded)))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        AWAITED.with_borrow_mut(|awaited| awaited.remove(&self.id));
    }
}

/// Ends a [`Wait`], if it is still waited.
pub(super) fn end_wait(id: u32, settled: Settled) {
    if let Some(sender) = AWAITED.with_borrow_mut(|awaited| awaited.remove(&id)) {
        let _ = sender.send(settled);
    }
}

/// `host.js` says that a promise was settled.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn settled(id: u32, is_fulfilled: bool, value: JsValue) {
    end_wait(id, if is_fulfilled { Ok(value) } else { Err(Error::Thrown(value)) });
}

/// `host.js` says that a scope's context has ended: nothing will ever wake its tasks.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn abort_tasks(scope: u32) {
    if let Some(scope) = Scope::find(scope) {
        for task in scope.tasks.take() {
            task.abort();
        }
    }
}

/// Does nothing, but any call starts the program anew where the last one ended in a trap: the glue of wasm-bindgen
/// does, as the `worker` crate asks it to (`set_on_abort` in its `init.rs`).
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn start_anew_if_trapped() {}

/// Logs every panic by its place. The hook of the `worker` crate prints the message, which may quote a key or a
/// body if it was put together while running; a constant one cannot. That hook is set when the program starts,
/// after `#[event(start)]`, so ours is set with the first event: nothing panics before.
fn log_panics() {
    fn log(panic: &PanicHookInfo) {
        let message = panic.payload().downcast_ref::<&str>().copied().unwrap_or("panic");
        match panic.location() {
            Some(at) => bindings::log_error(&format!("{message}, at {}:{}", at.file(), at.line())),
            None => bindings::log_error(message),
        }
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| set_hook(Box::new(log)));
}
