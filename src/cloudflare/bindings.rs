//! The calls of JavaScript that neither `worker` nor `web-sys` has. Each that may throw is bound with `catch`: an exception
//! that is not ends the task that made the call. What belongs together is done in one crossing, in `host.js`.

use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use web_sys::{Headers, ReadableStream, Request, Response, WritableStream};
use worker::Env;

#[wasm_bindgen(raw_module = "./host.js")]
extern "C" {
    /// Says that the program has started. What belongs to an earlier start is rejected and forgotten.
    pub(crate) fn started();
    /// Calls `settled(id, ..)` once the promise is settled.
    pub(crate) fn wait(promise: Promise, id: u32, scope: u32);
    /// Calls `elapsed(scope)` after so many ms, which is at `due`, or earlier.
    pub(crate) fn arm(scope: u32, ms: f64, due: f64);
    /// Forgets the scope and its timer.
    pub(crate) fn ended(scope: u32);

    /// The same of these headers alone, whose names a line end separates.
    #[wasm_bindgen(js_name = someLines)]
    pub(crate) fn some_lines(headers: &Headers, names: &str) -> String;
    /// Headers as one text: a name, a line end, its value, a line end, and so on.
    pub(crate) fn lines(headers: &Headers) -> String;
    /// The objects of a jurisdiction; none where the runtime is a local one.
    #[wasm_bindgen(catch)]
    pub(crate) fn in_jurisdiction(
        ledgers: &Namespace,
        name: &str,
    ) -> Result<Option<Namespace>, JsValue>;
    /// Calls a Ledger with a message of head and body, by RPC if the body is at most `small`. Resolves to head and body
    /// of the answer; the body is bytes, a stream, or undefined.
    pub(crate) fn ask(
        ledger: &Namespace,
        shard: u16,
        location_hint: Option<&str>,
        head: &[u8],
        body: Option<&Uint8Array>,
        small: u32,
    ) -> Promise;
    /// Hands a request over to a new Runner, in one call: the head of a message, the headers for the origin, the body. Resolves to
    /// the Runner's answer.
    #[wasm_bindgen(js_name = handOver)]
    pub(crate) fn hand_over(
        runners: &Namespace,
        location_hint: Option<&str>,
        head: &[u8],
        headers: &Headers,
        body: Option<&Uint8Array>,
        small: u32,
    ) -> Promise;
    /// A request that the filter makes itself.
    #[wasm_bindgen(catch)]
    pub(crate) fn request(address: &str, init: &JsValue) -> Result<Request, JsValue>;
    /// Sends a message, which is JSON text, to a queue.
    #[wasm_bindgen(catch)]
    pub(crate) fn send(queue: &JsValue, message: &str) -> Result<Promise, JsValue>;
    /// Content type and body of a queue's message; undefined where its body is no text, no bytes, and no JSON.
    #[wasm_bindgen(catch, js_name = messageBody)]
    pub(crate) fn message_body(message: &JsValue) -> Result<JsValue, JsValue>;
    /// How often a queue's message has been delivered, this time included.
    pub(crate) fn attempts(message: &JsValue) -> u32;
    /// Resolves to head and body of the message that a request carries.
    pub(crate) fn opened(request: &Request) -> Promise;
    /// A Ledger's answer: a message.
    pub(crate) fn told(head: &[u8], body: Option<&Uint8Array>) -> JsValue;
    /// A Ledger's answer whose body is a stream.
    pub(crate) fn streamed(head: &[u8], body: &JsValue) -> JsValue;
    /// What tells the store of this deployment from others.
    #[wasm_bindgen(js_name = storeId)]
    pub(crate) fn store_id(ledger: &Namespace) -> String;
    /// The text and JSON vars of a deployment, as JSON. Bindings are left out.
    #[wasm_bindgen(catch)]
    pub(crate) fn vars(env: &Env) -> Result<String, JsValue>;
    /// Resolves to all bytes of a request or a response.
    pub(crate) fn bytes(from: &JsValue) -> Promise;
    /// Resolves to the text of a JWK Set and its Cache-Control; rejected if it is larger than `max` or takes longer than
    /// `ms`, and for any answer but 200.
    #[wasm_bindgen(js_name = fetchKeys)]
    pub(crate) fn fetch_keys(address: &str, max: u32, ms: u32) -> Promise;
    /// Resolves to the key of a JWK, for verifying only.
    #[wasm_bindgen(js_name = importKey)]
    pub(crate) fn import_key(jwk: &str, is_rsa: bool) -> Promise;
    /// Resolves to whether a signature is that key's.
    #[wasm_bindgen(js_name = verifies)]
    pub(crate) fn verifies(key: &JsValue, signature: &[u8], signed: &[u8]) -> Promise;
    /// Forwards a request. Resolves to the response, its headers as lines, and its body where it is at most `small` and
    /// its type is none of `streams`.
    pub(crate) fn forward(
        origin: Option<&Fetcher>,
        address: &str,
        method: &str,
        headers: &Headers,
        body: &JsValue,
        small: u32,
        streams: &str,
    ) -> Promise;
    /// Decodes a body (`gzip` or `deflate`). Resolves to its bytes, or to undefined where they are more than `max`.
    pub(crate) fn decoded(bytes: &Uint8Array, format: &str, max: u32) -> Promise;
    /// Pipes a body on. Resolves to whether it was the origin that broke it off; rejects where its reader has left.
    #[wasm_bindgen(js_name = pipedOn)]
    pub(crate) fn piped_on(from: &ReadableStream, to: &WritableStream) -> Promise;
    /// Passes a request through, with changes to its headers.
    pub(crate) fn pass(
        origin: Option<&Fetcher>,
        address: &str,
        init: &JsValue,
        changes: &str,
    ) -> Promise;
    /// Reads the rest of the body of a request or a response and drops it: at most so many bytes, for so many ms.
    pub(crate) fn drained(from: &JsValue, bytes: u32, ms: u32) -> Promise;
    /// Reads a stream to its end and drops it; cancels it after so many ms. Rejects where it breaks off.
    #[wasm_bindgen(js_name = readToEnd)]
    pub(crate) fn read_to_end(stream: &ReadableStream, ms: u32) -> Promise;
    /// Resolves to the response, or to what `unreachable` makes of an exception.
    #[wasm_bindgen(js_name = orUnreachable)]
    pub(crate) fn or_unreachable(response: &Promise) -> Promise;
    /// Whether such a request can be built.
    #[wasm_bindgen(js_name = isSendable)]
    pub(crate) fn is_sendable(
        address: &str,
        method: &str,
        headers: &Headers,
        has_body: bool,
    ) -> bool;
    /// A copy of headers, with changes: `+name`, `=name` or `-name` and a value, each a line.
    #[wasm_bindgen(catch)]
    pub(crate) fn changed(headers: &Headers, changes: &str) -> Result<Headers, JsValue>;
    /// A response with a copy of headers, with changes.
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
    #[wasm_bindgen(js_namespace = console, js_name = warn)]
    pub(crate) fn log_warning(line: &str);
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    pub(crate) fn log_error(line: &str);
    /// The bindings whose names are known. `worker::Env` gets them by name and compares the names of their classes
    /// (`EnvBinding`), which takes more crossings than a request should pay for.
    type Bound;
    #[wasm_bindgen(method, getter, js_name = LEDGER)]
    fn ledger(this: &Bound) -> Namespace;
    #[wasm_bindgen(method, getter, js_name = RUNNER)]
    fn runner(this: &Bound) -> JsValue;
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

    /// A Durable Object namespace.
    #[derive(Clone)]
    pub(crate) type Namespace;

    /// A pipe that keeps nothing: a write ends when all of it has been read. Of a known length
    /// (developers.cloudflare.com, workers/runtime-apis/streams/transformstream).
    #[wasm_bindgen(extends = IdentityTransformStream)]
    pub(crate) type FixedLengthStream;
    #[wasm_bindgen(catch, constructor)]
    pub(crate) fn new(bytes: u64) -> Result<FixedLengthStream, JsValue>;

    /// The same of a length that is not known.
    pub(crate) type IdentityTransformStream;
    #[wasm_bindgen(catch, constructor)]
    pub(crate) fn new() -> Result<IdentityTransformStream, JsValue>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn readable(this: &IdentityTransformStream) -> ReadableStream;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn writable(this: &IdentityTransformStream) -> WritableStream;

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

/// What is bound as RUNNER: the Runners, or nothing.
pub(crate) fn runners(env: &Env) -> JsValue {
    env.unchecked_ref::<Bound>().runner()
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
