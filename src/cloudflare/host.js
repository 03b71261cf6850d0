// How Rust's tasks are polled, and what Rust calls of the platform in one crossing where calls of its own would be many.
// Decides nothing.

import * as rust from "./rust.js";

/** Counts the starts of the program. What belongs to an earlier one is not called back. */
export let instance = 0;

/** The text and JSON vars of a deployment, as JSON. A binding is an object of a class of its own, or has methods; bindings are left out. */
export function vars(env) {
  const isPlain = (value) => Object.getPrototypeOf(value) === Object.prototype && !Object.values(value).some((member) => typeof member === "function");
  const isVar = (value) => Object(value) !== value || Array.isArray(value) || isPlain(value);
  return JSON.stringify(Object.fromEntries(Object.entries(env).filter(([, value]) => isVar(value))));
}

/** The id of an object that is never made: each namespace has its own. */
export function storeId(ledger) {
  try {
    return ledger.idFromName("none").toString();
  } catch {
    return "";
  }
}

/** What rejects the answers that are still to come. */
const unanswered = new Set();

/** The scopes of `tasks.rs` that wait: id → token and timer. */
const scopes = new Map();

/** The program has started, or has started anew because of a trap, which leaves memory that cannot be trusted. */
export function started() {
  instance++;
  scopes.clear();
  for (const reject of unanswered) reject(new Error("the program has started anew"));
  unanswered.clear();
}

// The microtask line. `spawn_local` of wasm-bindgen-futures calls `queueMicrotask` for each turn of its queue, and
// workerd's own wraps its argument anew each time, which took a fifth of the CPU of a request (measured). A promise
// that is settled does the same for nothing. All polls of Rust's tasks pass here, so a fault is caught here: the task
// that it happened in has been dropped when it arrives, and the rest of the queue is run in another turn.
const settledPromise = Promise.resolve();
let queue, turn;
globalThis.queueMicrotask = (task) => {
  // Rust passes the same function for as long as it does not start anew.
  if (task !== queue) {
    const born = instance;
    queue = task;
    turn = () => {
      if (born !== instance) return;
      try {
        task();
      } catch (error) {
        failed(error);
        // The tasks behind it in the queue are still to be polled.
        settledPromise.then(turn);
      }
    };
  }
  settledPromise.then(turn);
};

function enter(into, ...values) {
  try {
    into(...values);
  } catch (error) {
    failed(error);
  }
}

/** Logs what has come out of Rust. After a trap Rust starts anew; after all else it goes on. */
function failed(error) {
  const born = instance;
  try {
    rust.start_anew_if_trapped();
  } catch {
    rust.__wbg_reset_state();
  }
  if (born !== instance) console.error("the program has started anew:", error);
  // A panic has been logged, and its text may quote what must not be.
  else if (error?.name !== "PanicError") console.error(`uncaught: ${error?.message ?? error}`);
}

/** The promise that Rust answers an event by. It is rejected where Rust starts anew, and would never settle it. */
export function answered(begin) {
  return new Promise((resolve, reject) => {
    unanswered.add(reject);
    const settle = (by) => (value) => {
      unanswered.delete(reject);
      by(value);
    };
    try {
      begin().then(settle(resolve), settle(reject));
    } catch (error) {
      settle(reject)(error);
      failed(error);
    }
  });
}

// The context of an event may end before what its tasks wait for has come: nothing is called back then, and they would
// stay for ever. So each callback holds a token of its scope (`held`, which nobody reads); when the last callback is
// collected, so is the token, and the tasks are dropped.

const gone = new FinalizationRegistry(({ born, scope, token }) => {
  if (born !== instance || scopes.get(scope)?.token !== token) return;
  scopes.delete(scope);
  enter(rust.abort_tasks, scope);
});

function recorded(scope) {
  let record = scopes.get(scope);
  if (record === undefined) scopes.set(scope, (record = { token: undefined, timer: undefined, due: 0 }));
  return record;
}

function tokenOf(scope) {
  const record = recorded(scope);
  const known = record.token?.deref();
  if (known !== undefined) return known;
  const fresh = {};
  record.token = new WeakRef(fresh);
  gone.register(fresh, { born: instance, scope, token: record.token });
  return fresh;
}

/** A scope has ended. */
export function ended(scope) {
  // Its timer would keep the context.
  clearTimeout(scopes.get(scope)?.timer);
  scopes.delete(scope);
}

function settle(born, id, isFulfilled, value) {
  if (born === instance) enter(rust.settled, id, isFulfilled, value);
}

/** Calls `settled` with this id when a promise is settled. */
export function wait(promise, id, scope) {
  const born = instance;
  const held = tokenOf(scope);
  promise.then(
    (value) => settle(born, id, true, value, held),
    (error) => settle(born, id, false, error, held),
  );
}

/** Calls `elapsed` when so many milliseconds are over, at `due`, or before: a scope has one timer at a time. */
export function arm(scope, ms, due) {
  const record = recorded(scope);
  if (record.timer !== undefined) {
    if (record.due <= due) return;
    clearTimeout(record.timer);
  }
  const born = instance;
  const held = tokenOf(scope);
  record.due = due;
  record.timer = setTimeout(() => {
    record.timer = undefined;
    if (born === instance) enter(rust.elapsed, scope, held);
  }, ms);
}

/** Headers as one text: a name, a line end, its value, a line end, and so on. */
export function lines(headers) {
  let lines = "";
  for (const [name, value] of headers) lines += `${name}\n${value}\n`;
  return lines;
}

let names = "";
let named = [];

/** The same of these headers alone. They are mostly the same names as the last time, and mostly absent. */
export function someLines(headers, wanted) {
  if (wanted !== names) [names, named] = [wanted, wanted.split("\n")];
  let lines = "";
  for (const name of named) {
    const value = headers.get(name);
    if (value !== null) lines += `${name}\n${value}\n`;
  }
  return lines;
}

// A message between Worker and Ledger is one array of bytes: the head that Rust wrote, then the body. The runtime sends the
// whole buffer of an array, not what the array shows of it, so a message has a buffer of its own.

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

/** A request that the filter makes itself. */
export const request = (address, init) => new Request(address, init);

/** Puts a message aside. */
export const send = (queue, message) => queue.send(JSON.parse(message));

/** The body of a queue's message: text, bytes, or JSON text of any other value. */
export function messageBody({ body }) {
  if (typeof body === "string") return ["text/plain;charset=utf-8", body];
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return ["application/octet-stream", body];
  const text = JSON.stringify(body);
  return text === undefined ? undefined : ["application/json", text];
}

/** How often a message has been delivered, this time included. `worker` has no name for it. */
export const attempts = (message) => message.attempts ?? 1;

/** Head and body of the message that a request carries. */
export const opened = async (request) => parted(await bytes(request));

/** The objects of a jurisdiction; undefined in local runtimes, which have none and say it in these words (workerd,
    src/workerd/api/actor.c++). What throws otherwise is a mistake: objects elsewhere would break a law. */
export function in_jurisdiction(namespace, name) {
  try {
    return namespace.jurisdiction(name);
  } catch (error) {
    if (/not implemented in workerd/.test(error?.message)) return undefined;
    throw error;
  }
}

/** Calls a Ledger. Resolves to head and body of its answer; the body is undefined where there is none.
    The stub is made anew each time: after an exception it is broken (developers.cloudflare.com,
    durable-objects/best-practices/error-handling). Its name is part of the stored data. */
export async function ask(ledger, shard, hint, head, body, small) {
  const message = joined(head, body);
  const stub = ledger.getByName(`shard-${shard}`, hint === undefined ? undefined : { locationHint: hint });
  // A call by RPC takes less of the runtime's time than a request. But of a large message the Ledger is told the length
  // first, and reads it when there is room. It is sent as bytes, not as a stream, so that the runtime can send it again by
  // itself (developers.cloudflare.com, durable-objects/best-practices/automatic-retries).
  const isLarge = body !== undefined && body.byteLength > small;
  const answer = isLarge
    ? await bytes(await stub.fetch(`https://ledger/${body.byteLength}`, { method: "PUT", body: message }))
    : await stub.hear(message);
  if (answer instanceof Uint8Array) return parted(answer);
  if (!Array.isArray(answer)) throw new TypeError("the Ledger's answer is no message");
  return answer;
}

/** Hands a request over to a Runner that nobody has called yet. It is called once: a repetition could reach another object
    while the first one makes the call. (The runtime repeats a call by itself only where the object refuses what it has
    received already: developers.cloudflare.com, durable-objects/best-practices/automatic-retries.) A large body is a stream,
    which the Runner reads when it has room for it. */
export async function handOver(runners, hint, head, headers, body, small) {
  // No name: the check that a name is used nowhere else in the world would take time (durable-objects/api/namespace).
  const stub = runners.get(runners.newUniqueId(), hint === undefined ? undefined : { locationHint: hint });
  const isLarge = body !== undefined && body.byteLength > small;
  return stub.take(head.slice(), headers, isLarge ? new Response(body).body : body?.slice());
}

/** A Ledger's answer: a message. */
export const told = joined;

/** A Ledger's answer whose body is a stream. */
export const streamed = (head, body) => [head.slice(), body];

/** All bytes of a request or a response. */
export async function bytes(from) {
  return new Uint8Array(await from.arrayBuffer());
}

/** Fetches a JWK Set. Resolves to its text and its Cache-Control. What it is redirected to is not the server that is trusted. */
export async function fetchKeys(address, max, ms) {
  const headers = { Accept: "application/jwk-set+json, application/json" };
  const response = await fetch(address, { headers, redirect: "manual", signal: AbortSignal.timeout(ms) });
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`it answered with status ${response.status}`);
  }
  const parts = [];
  let size = 0;
  for await (const part of response.body) {
    size += part.byteLength;
    if (size > max) throw new Error(`its answer is larger than ${max} bytes`);
    parts.push(part);
  }
  return [await new Blob(parts).text(), response.headers.get("cache-control") ?? undefined];
}

/** Imports the public key of a JWK, for verifying only. */
export async function importKey(jwk, isRsa) {
  const algorithm = isRsa ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" } : { name: "ECDSA", namedCurve: "P-256" };
  return crypto.subtle.importKey("jwk", JSON.parse(jwk), algorithm, false, ["verify"]);
}

/** Whether a signature is that key's. The arrays show Rust's memory, which may change after this turn. */
export async function verifies(key, signature, signed) {
  return crypto.subtle.verify({ name: key.algorithm.name, hash: "SHA-256" }, key, signature.slice(), signed.slice());
}

/** Forwards a request to the origin. Resolves to the response, its headers as lines, and its body, which is read here
    where it is known to be at most `small` bytes and its media type is none of `streams` (as far as their beginnings tell:
    Rust looks again). */
export async function forward(origin, address, method, headers, body, small, streams) {
  const response = await (origin ?? globalThis).fetch(address, {
    method,
    headers,
    body,
    // A redirect is a reply; following it would send the body twice.
    redirect: "manual",
    // A GET is a probe, since none is guarded. No cache may answer it.
    cache: method === "GET" ? "no-store" : undefined,
    // Bodies that are compressed with gzip or br come as they are. This works in the options of `fetch` only: it is lost
    // where a Request is made from another one (workerd, src/workerd/api/http.c++).
    encodeResponseBody: "manual",
  });
  const told = response.headers;
  const length = told.get("content-length");
  const isSmall =
    // Beside a Transfer-Encoding a length says nothing (RFC 9112 section 6.3).
    length !== null && +length <= small && !told.has("transfer-encoding") && !NO_BODY.has(response.status) && !mayStream(told.get("content-type"), streams);
  // Null where it broke off: an answer had begun, which is another reason for a doubt than a lost connection.
  return [response, lines(told), isSmall ? await bytes(response).catch(() => null) : undefined];
}

function mayStream(type, streams) {
  const name = type?.trim().toLowerCase() ?? "";
  return name !== "" && streams !== "" && streams.split(" ").some((stream) => name.startsWith(stream.replace("*", "")));
}

/** Decodes a body (`gzip` or `deflate`). Resolves to its bytes, or to undefined where they are more than `max`. */
export async function decoded(bytes, format, max) {
  const { readable, writable } = new DecompressionStream(format);
  const [reader, writer] = [readable.getReader(), writable.getWriter()];
  const parts = [];
  let length = 0;
  // A few bytes may decode to a thousand times as many. So they go in bit by bit, and no further where too many came out.
  const written = (async () => {
    for (let at = 0; at < bytes.byteLength && length <= max; at += STEP) {
      await writer.write(bytes.subarray(at, at + STEP));
      // A write ends when all of it has been decoded, whether or not anybody has read that.
      if (at + STEP < bytes.byteLength) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    if (length <= max) await writer.close();
  })();
  written.catch(() => {});
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.byteLength;
    if (length > max) {
      reader.cancel().catch(() => {});
      writer.abort().catch(() => {});
      return undefined;
    }
  }
  await written;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

const STEP = 4096;

/** Pipes a body on. Resolves to true where the origin broke it off, to false where all of it came; rejects where its reader
    has left. */
export async function pipedOn(from, to) {
  try {
    await from.pipeTo(to, { preventCancel: true });
    return false;
  } catch (error) {
    // A pipe fails in the same way on both of its sides. A source that broke off is broken; one whose reader has left is
    // not, and the origin need not go on.
    const reader = from.getReader();
    const isBroken = await Promise.race([reader.closed.then(() => false, () => true), new Promise((resolve) => setTimeout(resolve, 0, false))]);
    if (isBroken) return true;
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

/** Passes a request through, with changes to its headers. `init` is the request itself, where nothing of it was read. */
export async function pass(origin, address, init, changes) {
  const request = new Request(address, init);
  change(request.headers, changes);
  return (origin ?? globalThis).fetch(request);
}

/** Reads the rest of the body of a request or a response and drops it: at most so many bytes, for so many ms. */
export async function drained({ body }, bytes, ms) {
  const reader = body?.getReader();
  let timer;
  const over = new Promise((resolve) => (timer = setTimeout(resolve, ms, { done: true })));
  try {
    for (let left = bytes; reader && left > 0; ) {
      const { done, value } = await Promise.race([reader.read(), over]);
      if (done) return;
      left -= value.byteLength;
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Reads a stream to its end and drops it; cancels it after so many ms. Rejects where it breaks off. */
export async function readToEnd(stream, ms) {
  // A pipe that is aborted goes on waiting for the next bytes, and a read that is cancelled is rejected (both seen in workerd
  // 1.20261117).
  const reader = stream.getReader();
  let isGivenUp = false;
  const timer = setTimeout(() => {
    isGivenUp = true;
    reader.cancel().catch(() => {});
  }, ms);
  try {
    while (!(await reader.read()).done);
  } catch (error) {
    if (!isGivenUp) throw error;
  } finally {
    clearTimeout(timer);
  }
}

export const orUnreachable = (promise) => promise.catch(rust.unreachable);

// A Response of these takes no body (Fetch standard, section 2.2.3, "null body status").
const NO_BODY = new Set([101, 204, 205, 304]);

/** Whether such a request could have been sent: where it could not, building it throws. */
export function isSendable(address, method, headers, hasBody) {
  try {
    return new Request(address, { method, headers, body: hasBody ? "" : null, redirect: "manual" }) !== null;
  } catch {
    return false;
  }
}

/** Changes headers by lines: `+name` adds a line, `=name` replaces all, `-name` deletes them; after each comes a value. */
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

/** A copy of headers, with changes. */
export function changed(headers, changes) {
  const copy = new Headers(headers);
  change(copy, changes);
  return copy;
}

/** A response with a copy of headers, with changes. Its body goes out as it is: what Content-Encoding says is done. */
export function respond(status, headers, changes, body) {
  const response = new Response(body, { status, headers, encodeBody: "manual" });
  // The response copies the headers it is given, so its own are changed: changing a copy of ours would copy them twice.
  change(response.headers, changes);
  return response;
}
