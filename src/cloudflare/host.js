// What Rust calls of the platform in one go, where its own calls would cross over many times, and how its tasks
// are woken. Decides nothing.
//
// Whatever goes into Rust is caught, and told to `broke`: a panic or an exception that nobody announced ends the task
// that was being polled, and nothing else.

import * as rust from "./rust.js";

/** Counts up when the program has to start anew; what belongs to an earlier one is not called back. */
export let instance = 0;
let last = 0;
/** The requests that are under way: id → how many promises were given away for it, what settles them, its token, its timer. */
const requests = new Map();
const RECORD = { open: 0, resolve: undefined, reject: undefined, held: undefined, token: undefined, timer: undefined, due: 0 };

/** The text and JSON vars of a deployment, as JSON. A binding is an object of a class of its own, or has methods; bindings are left out. */
export function vars(env) {
  const isPlain = (value) => Object.getPrototypeOf(value) === Object.prototype && !Object.values(value).some((member) => typeof member === "function");
  const isVar = (value) => Object(value) !== value || Array.isArray(value) || isPlain(value);
  return JSON.stringify(Object.fromEntries(Object.entries(env).filter(([, value]) => isVar(value))));
}

/** The answer to a request: a promise that Rust settles by `answer` or `refuse` under the id that `begin` gets. */
export function promised(begin) {
  const request = ++last;
  const promise = new Promise((resolve, reject) => requests.set(request, { ...RECORD, open: 1, resolve, reject }));
  try {
    begin(request);
  } catch (error) {
    broke(error);
  }
  return promise;
}

export function answer(request, value) {
  requests.get(request)?.resolve(value);
  close(request);
}

export function refuse(request, error) {
  requests.get(request)?.reject(error);
  close(request);
}

/** Keeps a request's context alive until it is released as often. */
export function hold(request, context) {
  const record = recorded(request);
  context.waitUntil(new Promise((resolve) => (record.held ??= []).push(resolve)));
  record.open++;
}

export function release(request) {
  requests.get(request)?.held?.pop()?.();
  close(request);
}

function close(request) {
  const record = requests.get(request);
  if (record === undefined || --record.open > 0) return;
  requests.delete(request);
  // It would keep the context.
  if (record.timer !== undefined) clearTimeout(record.timer);
}

function settle(born, index, serial, kept, value) {
  if (born !== instance) return;
  try {
    rust.settled(index, serial, kept, value);
  } catch (error) {
    broke(error);
  }
}

function enter(into, request) {
  try {
    into(request);
  } catch (error) {
    broke(error);
  }
}

/** More tasks than are ever woken at once (a Ledger's 1,000 waiters) and may break off one after the other. */
const AT_ONCE = 2_000;

/** Rust has thrown. What is its own goes on; after a trap its memory cannot be trusted, and it starts anew. */
function broke(error) {
  for (let tries = 0; tries < AT_ONCE && !(error instanceof WebAssembly.RuntimeError); tries++) {
    try {
      return rust.broke(error);
    } catch (another) {
      error = another;
    }
  }
  console.error("the program starts anew:", error);
  instance++;
  rust.__wbg_reset_state();
  const lost = [...requests.values()];
  requests.clear();
  for (const { reject, held } of lost) {
    reject?.(new Error("the program has started anew"));
    // Or the runtime would keep their contexts for 30 s more.
    for (const free of held ?? []) free();
  }
}

// A request's context may end before what it waits for has come: nothing is called back then, and its tasks would
// stay for ever. So each callback holds a token of its request (`held`, which nobody reads); when the last one is
// collected, so are the tasks.

const gone = new FinalizationRegistry(({ born, request, token }) => {
  if (born !== instance || requests.get(request)?.token !== token) return;
  requests.delete(request);
  enter(rust.forget, request);
});

function tokenOf(request) {
  const record = recorded(request);
  const known = record.token?.deref();
  if (known !== undefined) return known;
  const fresh = {};
  record.token = new WeakRef(fresh);
  gone.register(fresh, { born: instance, request, token: record.token });
  return fresh;
}

function recorded(request) {
  let record = requests.get(request);
  if (record === undefined) requests.set(request, (record = { ...RECORD }));
  return record;
}

/** Wakes the place `index` when a promise is settled. */
export function wait(promise, index, serial, request) {
  const born = instance;
  const held = tokenOf(request);
  promise.then(
    (value) => settle(born, index, serial, true, value, held),
    (error) => settle(born, index, serial, false, error, held),
  );
}

/** Calls `elapsed` when so many milliseconds are over, at `due`, or before: a request has one timer at a time. */
export function arm(request, ms, due) {
  const record = recorded(request);
  if (record.timer !== undefined) {
    if (record.due <= due) return;
    clearTimeout(record.timer);
  }
  const born = instance;
  const held = tokenOf(request);
  record.due = due;
  record.timer = setTimeout(() => {
    record.timer = undefined;
    if (born === instance) enter(rust.elapsed, request, held);
  }, ms);
}

/** Headers as lines: a name, its value, and so on. Repeated ones come joined by a comma, Set-Cookie apart. */
export function lines(headers) {
  let lines = "";
  for (const [name, value] of headers) lines += `${name}\n${value}\n`;
  return lines;
}

// A message between Worker and Ledger is one piece: the head that the codec wrote, then the body. It goes by RPC, which
// takes the runtime less than a request with a body and its response. What is sent is the whole buffer of an array, not
// what the array shows of it.

/** Bodies up to this take no room of the Ledger's: a thousand of them at once, each a copy, are 16 MB. (`edge/mod.rs`
    has it too, and the SQL of `store`.) */
const SMALL = 16 * 1024;

function joined(head, body) {
  if (body === undefined) return head.slice();
  const message = new Uint8Array(head.byteLength + body.byteLength);
  message.set(head);
  message.set(body, head.byteLength);
  return message;
}

/** Head and body of a message. */
export function parted(message) {
  const { buffer, byteOffset, byteLength } = message;
  const end = byteLength < 5 ? byteLength : 5 + new DataView(buffer, byteOffset, byteLength).getUint32(1, true);
  return [message.subarray(0, end), end < byteLength ? message.subarray(end) : undefined];
}

/** The same of a request, once it has been read. */
export const opened = async (request) => parted(await bytes(request));

/** Calls a Ledger; resolves to head and body of its answer, the body being undefined where it has none. The stub is
    made anew each time: after an exception it is broken (developers.cloudflare.com,
    durable-objects/best-practices/error-handling). Its name is part of the stored data. */
export async function ask(ledger, shard, hint, head, body) {
  const message = joined(head, body);
  const stub = ledger.getByName(`shard-${shard}`, hint === undefined ? undefined : { locationHint: hint });
  // The Ledger is told the length of a large one first, and reads it when there is room. Bytes and not a stream: only
  // those can the runtime send again by itself (developers.cloudflare.com, durable-objects/best-practices/automatic-retries).
  const isLarge = body !== undefined && body.byteLength > SMALL;
  const answer = isLarge
    ? await bytes(await stub.fetch(`https://ledger/${body.byteLength}`, { method: "PUT", body: message }))
    : await stub.hear(message);
  if (answer instanceof Uint8Array) return parted(answer);
  if (!Array.isArray(answer)) throw new TypeError("the Ledger's answer is no message");
  return answer;
}

/** A Ledger's answer. */
export const answered = joined;

/** The same where its body is a stream. */
export const streamed = (head, body) => [head.slice(), body];

/** All bytes of a request or response. */
export async function bytes(from) {
  return new Uint8Array(await from.arrayBuffer());
}

/** Sends a request to the origin, following nothing: that would send a body twice. Resolves to the response, its
    headers as lines, and its body where that is known to be at most `easy` bytes. */
export async function forward(origin, address, method, headers, body, easy) {
  const response = await (origin ?? globalThis).fetch(address, {
    method,
    headers,
    body,
    redirect: "manual",
    // It counts here only (lost when a Request is wrapped again): with it gzip and br bodies come as they are.
    encodeResponseBody: "manual",
  });
  const told = response.headers;
  const length = told.get("content-length");
  const isEasy =
    // Beside a Transfer-Encoding a length says nothing (RFC 9112 section 6.3).
    length !== null && +length <= easy && !told.has("transfer-encoding") && !NO_BODY.has(response.status) && !/^\s*text\/event-stream\b/i.test(told.get("content-type") ?? "");
  return [response, lines(told), isEasy ? await bytes(response) : undefined];
}

/** Hands a request on as it is; `init` is the request itself where nothing of it was touched. */
export function pass(origin, address, init) {
  return (origin ?? globalThis).fetch(address ?? init, address === undefined ? undefined : init);
}

export const orUnreachable = (promise) => promise.catch(rust.unreachable);

const NO_BODY = new Set([101, 204, 205, 304]);

/** Whether such a request could have been sent: building it throws where it could not. */
export function isSendable(address, method, headers, hasBody) {
  try {
    return new Request(address, { method, headers, body: hasBody ? "" : null, redirect: "manual" }) !== null;
  } catch {
    return false;
  }
}

/** Changes headers by lines: `+name` (one more), `=name` (instead) or `-name`, each with its value. */
function change(headers, changes) {
  const each = changes.split("\n");
  for (let at = 0; at + 1 < each.length; at += 2) {
    const [change, value] = [each[at], each[at + 1]];
    const name = change.slice(1);
    if (change[0] === "=") headers.set(name, value);
    else if (change[0] === "+") headers.append(name, value);
    else headers.delete(name);
  }
}

/** A copy of headers with such changes. */
export function changed(headers, changes) {
  const copy = new Headers(headers);
  change(copy, changes);
  return copy;
}

/** A response whose body goes out as it is: whatever Content-Encoding says has been done. */
export function respond(status, headers, changes, body) {
  const response = new Response(body, { status, headers, encodeBody: "manual" });
  // Its own: a copy made before would be copied once more.
  change(response.headers, changes);
  return response;
}
