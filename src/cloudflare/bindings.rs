//! JavaScript calls of the platform. Each is bound with `catch`: a throw that crosses Wasm unannounced
//! ends its task without an answer. What can be done in one crossing is (`host.js`).

use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use web_sys::{Headers, Request, Response};
use worker::Env;

#[wasm_bindgen(raw_module = "./host.js")]
extern "C" {
    /// The program has started: what belongs to an earlier start is answered, and forgotten.
    pub(crate) fn started();
    /// Calls `settled(id, ..)` once the promise is settled.
    pub(crate) fn wait(promise: Promise, id: u32, scope: u32);
    /// Calls `elapsed(scope)` after so many ms, which is at `due`, or before.
    pub(crate) fn arm(scope: u32, ms: f64, due: f64);
    /// Forgets the scope and its timer.
    pub(crate) fn ended(scope: u32);

    /// All headers: a name, a line end, its value, a line end, and so on.
    pub(crate) fn lines(headers: &Headers) -> String;
    /// Calls a Ledger with a message of head and body; resolves to both of its answer, whose body is bytes,
    /// a stream, or undefined.
    pub(crate) fn ask(
        ledger: &Namespace,
        shard: u16,
        location_hint: Option<&str>,
        head: &[u8],
        body: Option<&Uint8Array>,
    ) -> Promise;
    /// Head and body of a message.
    pub(crate) fn opened(request: &Request) -> Promise;
    /// A Ledger's answer.
    pub(crate) fn told(head: &[u8], body: Option<&Uint8Array>) -> JsValue;
    /// The same where its body is a stream.
    pub(crate) fn streamed(head: &[u8], body: &JsValue) -> JsValue;
    /// The text and JSON vars of a deployment, as JSON. Bindings are left out.
    #[wasm_bindgen(catch)]
    pub(crate) fn vars(env: &Env) -> Result<String, JsValue>;
    /// All bytes of a request or a response.
    pub(crate) fn bytes(from: &JsValue) -> Promise;
    /// Sends a request on; resolves to a response, its headers as lines, and its body where it is at most
    /// `easy` bytes.
    pub(crate) fn forward(
        origin: Option<&Fetcher>,
        address: &str,
        method: &str,
        headers: &Headers,
        body: &JsValue,
        easy: u32,
    ) -> Promise;
    /// Hands a request on.
    #[wasm_bindgen(catch)]
    pub(crate) fn pass(
        origin: Option<&Fetcher>,
        address: Option<&str>,
        init: &JsValue,
    ) -> Result<Promise, JsValue>;
    /// Its response, or what is said where there is none.
    #[wasm_bindgen(js_name = orUnreachable)]
    pub(crate) fn or_unreachable(response: &Promise) -> Promise;
    #[wasm_bindgen(js_name = isSendable)]
    pub(crate) fn is_sendable(
        address: &str,
        method: &str,
        headers: &Headers,
        has_body: bool,
    ) -> bool;
    /// A copy of headers with changes: `=name`, `+name` or `-name` and a value, each a line.
    #[wasm_bindgen(catch)]
    pub(crate) fn changed(headers: &Headers, changes: &str) -> Result<Headers, JsValue>;
    /// A response with such headers.
    #[wasm_bindgen(catch)]
    pub(crate) fn respond(
        status: u16,
        headers: Option<&Headers>,
        changes: &str,
        body: &JsValue,
    ) -> Result<Response, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    pub(crate) fn log(line: &str);
    #[wasm_bindgen(js_namespace = console)]
    pub(crate) fn warn(line: &str);
    #[wasm_bindgen(js_namespace = console)]
    pub(crate) fn error(line: &str);
    /// What a deployment has bound, by names that are known. `worker::Env` finds bindings by name and compares the
    /// names of their classes, which a request need not pay for.
    type Bound;
    #[wasm_bindgen(method, getter, js_name = LEDGER)]
    fn ledger(this: &Bound) -> Namespace;
    #[wasm_bindgen(method, getter, js_name = ORIGIN)]
    fn origin(this: &Bound) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = METRICS)]
    fn metrics(this: &Bound) -> JsValue;

    /// Base64 of a text whose characters stand for bytes.
    #[wasm_bindgen(catch)]
    pub(crate) fn btoa(bytes: &str) -> Result<String, JsValue>;

    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), JsValue>;

    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"])]
    pub(crate) fn digest(algorithm: &str, data: &Uint8Array) -> Result<Promise, JsValue>;

    /// Anything with a `fetch` method: a service binding or an object's stub.
    pub(crate) type Fetcher;

    /// An Analytics Engine dataset.
    pub(crate) type Dataset;
    #[wasm_bindgen(method, catch, js_name = writeDataPoint)]
    pub(crate) fn write_data_point(this: &Dataset, point: &JsValue) -> Result<(), JsValue>;

    /// A Durable Object namespace.
    pub(crate) type Namespace;
    /// `new Response(…)`, which throws on a status outside 200 to 599.
    #[wasm_bindgen(js_name = Response)]
    pub(crate) type NewResponse;
    #[wasm_bindgen(catch, constructor, js_class = "Response")]
    pub(crate) fn new(body: &JsValue, init: &JsValue) -> Result<NewResponse, JsValue>;

    /// A stream's reader.
    pub(crate) type Reader;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn read(this: &Reader) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = releaseLock)]
    pub(crate) fn release_lock(this: &Reader) -> Result<(), JsValue>;

    pub(crate) type Readable;
    #[wasm_bindgen(method, catch, js_name = getReader)]
    pub(crate) fn get_reader(this: &Readable) -> Result<Reader, JsValue>;
    #[wasm_bindgen(method, catch, js_name = pipeTo)]
    pub(crate) fn pipe_to(this: &Readable, to: &JsValue) -> Result<Promise, JsValue>;

    /// Cloudflare's byte-for-byte pipe of a known length.
    #[wasm_bindgen(extends = IdentityTransformStream)]
    pub(crate) type FixedLengthStream;
    #[wasm_bindgen(catch, constructor)]
    pub(crate) fn new(bytes: u64) -> Result<FixedLengthStream, JsValue>;

    /// Cloudflare's byte-for-byte pipe.
    pub(crate) type IdentityTransformStream;
    #[wasm_bindgen(catch, constructor)]
    pub(crate) fn new() -> Result<IdentityTransformStream, JsValue>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn readable(this: &IdentityTransformStream) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn writable(this: &IdentityTransformStream) -> Writable;

    pub(crate) type Writable;
    #[wasm_bindgen(method, catch, js_name = getWriter)]
    pub(crate) fn get_writer(this: &Writable) -> Result<Writer, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn close(this: &Writable) -> Result<Promise, JsValue>;

    pub(crate) type Writer;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn write(this: &Writer, chunk: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = releaseLock)]
    pub(crate) fn release_lock(this: &Writer) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn close(this: &Writer) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(crate) fn abort(this: &Writer, why: &JsValue) -> Result<Promise, JsValue>;

    /// What `worker::Storage` does not offer.
    pub(crate) type SyncStorage;
    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    pub(crate) fn transaction_sync(
        this: &SyncStorage,
        work: &mut dyn FnMut() -> Result<(), JsValue>,
    ) -> Result<JsValue, JsValue>;
}

/// The Ledgers.
pub(crate) fn ledger(env: &Env) -> Namespace {
    env.unchecked_ref::<Bound>().ledger()
}

/// What is bound as ORIGIN: a text, a service, or nothing.
pub(crate) fn origin(env: &Env) -> JsValue {
    env.unchecked_ref::<Bound>().origin()
}

/// What is bound as METRICS.
pub(crate) fn metrics(env: &Env) -> JsValue {
    env.unchecked_ref::<Bound>().metrics()
}

/// A property, or `undefined` where there is none or reading it throws.
pub(crate) fn get(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// A plain object of these members.
pub(crate) fn object(members: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in members {
        // Cannot fail on a fresh plain object.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object
}

/// What an exception says, for an operator.
pub(crate) fn text(error: &JsValue) -> String {
    match get(error, "message").as_string() {
        Some(message) => message,
        None => error.as_string().unwrap_or_else(|| "an exception without a message".to_owned()),
    }
}

/// Whether a binding is something to call `fetch` on.
pub(crate) fn is_fetcher(value: &JsValue) -> bool {
    value.is_object() && get(value, "fetch").is_function()
}
