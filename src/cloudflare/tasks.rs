//! Runs the futures of requests, and keeps what goes wrong in one from the others.
//!
//! A task is polled in the very callback that wakes it, not in a microtask of its own (a third of the
//! runtime's time for a request, measured). Every poll is called from JavaScript that catches whatever
//! comes out (`host.js`): there a panic and an exception are the same, while Rust by itself catches
//! panics only, and a task that an exception went through would never end.
//!
//! Tasks that are woken by one another belong to one request, or live in one Ledger: the platform allows
//! I/O in the context of its own request only.

mod pause;

use std::cell::{Cell, RefCell};
use std::panic::{PanicHookInfo, set_hook};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use js_sys::Promise;
use slab::Slab;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use self::pause::Timer;
pub(super) use self::pause::pause;
use super::bindings;

/// The work broke off in the middle. What it held has been dropped.
pub(super) struct BrokeOff;

/// The request that a task belongs to, as `host.js` counts them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Request(pub(super) u32);

/// A place among others, and who has it: a place is taken again.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    index: usize,
    serial: u32,
}

struct Task {
    serial: u32,
    request: Request,
    waker: Waker,
    /// None while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// What is left to do where it breaks off.
    broken: Box<dyn FnOnce()>,
}

/// A promise or a span of time that is waited for.
struct Awaited {
    serial: u32,
    waker: Waker,
    settled: Option<Result<JsValue, JsValue>>,
}

/// All that there is of it in this instance of the program.
#[derive(Default)]
struct Tasks {
    all: RefCell<Slab<Task>>,
    /// Those that are to be polled.
    ready: RefCell<Vec<Place>>,
    awaited: RefCell<Slab<Awaited>>,
    timers: RefCell<Vec<Timer>>,
    polled: Cell<Option<(Place, Request)>>,
    serial: Cell<u32>,
}

fn tasks() -> Rc<Tasks> {
    thread_local! {
        static TASKS: Rc<Tasks> = Rc::default();
    }
    TASKS.with(Rc::clone)
}

/// Does `work` in a task of its own, at once as far as it goes, and then `end`. What breaks off in it ends
/// nothing else.
pub(super) fn spawn<T: 'static>(
    request: Request,
    work: impl Future<Output = T> + 'static,
    end: impl FnOnce(Result<T, BrokeOff>) + 'static,
) {
    let end = Rc::new(Cell::new(Some(end)));
    let broken = end.clone();
    let future = Box::pin(async move {
        let done = work.await;
        if let Some(end) = end.take() {
            end(Ok(done));
        }
    });
    let broken = Box::new(move || {
        if let Some(end) = broken.take() {
            end(Err(BrokeOff));
        }
    });
    start(request, future, broken);
}

/// What is the same for every kind of work, once.
fn start(request: Request, future: Pin<Box<dyn Future<Output = ()>>>, broken: Box<dyn FnOnce()>) {
    log_panics();
    let tasks = tasks();
    let serial = tasks.serial();
    let place = {
        let mut all = tasks.all.borrow_mut();
        let entry = all.vacant_entry();
        let place = Place { index: entry.key(), serial };
        let waker = Waker::from(Arc::new(Woken(place)));
        entry.insert(Task { serial, request, waker, future: Some(future), broken });
        place
    };
    wake(place);
}

/// Does `work` beside whatever else there is to do for this request, alone.
pub(super) fn aside(request: Request, work: impl Future<Output = ()> + 'static) {
    // There is nobody to tell but the log.
    spawn(request, work, |_| ());
}

/// A request's context, as the platform has it.
#[derive(Clone)]
pub(super) struct RequestContext {
    pub(super) request: Request,
    pub(super) context: bindings::Context,
}

impl RequestContext {
    /// Does `work` in a task of its own that goes on after the answer and where the client hangs up: the
    /// runtime is told to keep the context, which it does for at most 30 s
    /// (developers.cloudflare.com, workers/runtime-apis/context).
    pub(super) fn afterwards<T: 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
        end: impl FnOnce(Result<T, BrokeOff>) + 'static,
    ) -> Result<(), JsValue> {
        let request = self.request;
        bindings::hold(request.0, &self.context)?;
        spawn(request, work, move |done| {
            end(done);
            bindings::release(request.0);
        });
        Ok(())
    }
}

/// Waits for a promise, which must be kept by nobody meanwhile: it holds its request's token, and a task that
/// keeps its own promise is never forgotten.
pub(super) fn wait(promise: Promise) -> Wait {
    let (place, request) = awaited();
    bindings::wait(promise, index(place), place.serial, request.0);
    Wait(place)
}

/// What a promise comes to. Dropped before, it is not waited for any more.
pub(super) struct Wait(Place);

impl Future for Wait {
    type Output = Result<JsValue, JsValue>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let tasks = tasks();
        let mut all = tasks.awaited.borrow_mut();
        match all.get_mut(self.0.index) {
            Some(awaited) if awaited.serial == self.0.serial => match awaited.settled.take() {
                Some(settled) => {
                    all.remove(self.0.index);
                    Poll::Ready(settled)
                }
                None => {
                    awaited.waker.clone_from(context.waker());
                    Poll::Pending
                }
            },
            // Polled once more after its end.
            _ => Poll::Pending,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let tasks = tasks();
        let mut all = tasks.awaited.borrow_mut();
        if all.get(self.0.index).is_some_and(|awaited| awaited.serial == self.0.serial) {
            all.remove(self.0.index);
        }
    }
}

fn awaited() -> (Place, Request) {
    let tasks = tasks();
    let request = tasks.polled.get().map_or(Request(0), |(_, request)| request);
    let serial = tasks.serial();
    let waker = Waker::noop().clone();
    let index = tasks.awaited.borrow_mut().insert(Awaited { serial, waker, settled: None });
    (Place { index, serial }, request)
}

/// Places are far fewer than 2^32.
fn index(place: Place) -> u32 {
    u32::try_from(place.index).unwrap_or(u32::MAX)
}

impl Tasks {
    fn serial(&self) -> u32 {
        self.serial.set(self.serial.get().wrapping_add(1));
        self.serial.get()
    }

    /// The next one that is to be polled.
    fn next(&self) -> Option<Place> {
        let mut ready = self.ready.borrow_mut();
        (!ready.is_empty()).then(|| ready.remove(0))
    }
}

struct Woken(Place);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        wake(self.0);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        wake(self.0);
    }
}

fn wake(place: Place) {
    let tasks = tasks();
    tasks.ready.borrow_mut().push(place);
    // Within a poll: the outermost goes on with it afterwards, when nothing is borrowed.
    if tasks.polled.get().is_none() {
        run(&tasks);
    }
}

fn run(tasks: &Tasks) {
    while let Some(place) = tasks.next() {
        poll(tasks, place);
    }
}

fn poll(tasks: &Tasks, place: Place) {
    let taken = {
        let mut all = tasks.all.borrow_mut();
        let task = all.get_mut(place.index).filter(|task| task.serial == place.serial);
        task.and_then(|task| Some((task.future.take()?, task.waker.clone(), task.request)))
    };
    let Some((mut future, waker, request)) = taken else { return };
    tasks.polled.set(Some((place, request)));
    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
    let mut future = Some(future);
    let done = {
        let mut all = tasks.all.borrow_mut();
        if polled.is_ready() {
            remove(&mut all, place)
        } else {
            let task = all.get_mut(place.index).filter(|task| task.serial == place.serial);
            if let Some(task) = task {
                task.future = future.take();
            }
            None
        }
    };
    // What it held goes while it still counts as being polled: that may wake others.
    drop((future, done));
    tasks.polled.set(None);
}

fn remove(tasks: &mut Slab<Task>, place: Place) -> Option<Task> {
    let is_it = tasks.get(place.index).is_some_and(|task| task.serial == place.serial);
    is_it.then(|| tasks.remove(place.index))
}

/// A promise was settled.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn settled(index: usize, serial: u32, kept: bool, value: JsValue) {
    settle(Place { index, serial }, if kept { Ok(value) } else { Err(value) });
}

fn settle(place: Place, settled: Result<JsValue, JsValue>) {
    let waker = {
        let tasks = tasks();
        let mut all = tasks.awaited.borrow_mut();
        let awaited = all.get_mut(place.index).filter(|awaited| awaited.serial == place.serial);
        awaited.map(|awaited| {
            awaited.settled = Some(settled);
            std::mem::replace(&mut awaited.waker, Waker::noop().clone())
        })
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// An exception or a panic has come out of the task that was being polled.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn broke(error: &JsValue) {
    // A panic has been logged, and its text may quote what must not be.
    if bindings::get(error, "name").as_string().as_deref() != Some("PanicError") {
        bindings::error(&format!("uncaught: {}", bindings::text(error)));
    }
    let tasks = tasks();
    let broken =
        tasks.polled.get().and_then(|(place, _)| remove(&mut tasks.all.borrow_mut(), place));
    if let Some(task) = broken {
        // It still counts as being polled: what is woken or started by this comes after it, so that a fault in
        // there does not cut it short.
        (task.broken)();
    }
    tasks.polled.set(None);
    run(&tasks);
}

/// A request's context has ended: nothing will ever wake its tasks.
#[wasm_bindgen]
#[expect(unreachable_pub, reason = "JavaScript calls it")]
pub fn forget(request: u32) {
    let tasks = tasks();
    let gone: Vec<Task> = {
        let mut all = tasks.all.borrow_mut();
        let of_it = all.iter().filter(|(_, task)| task.request == Request(request));
        let indices: Vec<usize> = of_it.map(|(index, _)| index).collect();
        indices.into_iter().map(|index| all.remove(index)).collect()
    };
    drop(gone);
}

/// Logs every panic by its place, in this instance of the program.
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
        Some(at) => bindings::error(&format!("{message}, at {}:{}", at.file(), at.line())),
        None => bindings::error(message),
    }
}
