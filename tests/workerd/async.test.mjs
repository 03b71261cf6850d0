// Contract part 3: a request whose client does not wait for it, and the address that tells what became of it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProblem } from "./expect.mjs";
import { gate, operation, stage, through, until } from "./harness.mjs";

const ASYNC = { Prefer: "respond-async" };
const LATER = "/v1/later";
const route = (name, more = {}) => ({ name, path: `/v1/${name}/{*rest}`, methods: ["POST"], async: "allow", timeout: "20s", wait: "5s", ...more });
const routes = [
  route("later"),
  route("always", { async: "always", wait: "0s" }),
  route("open", { status_credential: false }),
  route("short", { timeout: "1s" }),
  route("small", { reply: { max: 100 } }),
  route("never", { async: "never" }),
];

/** The answer is that the operation runs; returns the path of its status address. */
function isRunning(response) {
  assert.equal(response.status, 202, response.text.slice(0, 300));
  const location = new URL(response.get("Location"));
  assert.match(location.pathname, /^\/\.oncegate\/status\/[\w-]{44}$/);
  assert.match(response.get("Retry-After"), /^[1-9]\d*$/);
  assert.equal(response.get("Preference-Applied"), "respond-async");
  assert.equal(response.get("Vary"), "Prefer");
  assert.equal(response.get("Idempotency-Status"), "running");
  assert.match(response.get("Cache-Control"), /\bno-store\b/);
  assert.match(response.get("Content-Type"), /^application\/json/);
  assert.deepEqual(response.json, { status: "running", location: location.href, correlation_id: response.get("X-Correlation-Id") });
  return location.pathname;
}

const headers = { Authorization: "Bearer alice", "Content-Type": "application/json" };

describe("async", { concurrency: 8, timeout: 60_000 }, () => {
  const on = stage({ routes });
  const poll = (path, more = {}) => on.worker.send({ method: "GET", path, headers, ...more });
  const ended = (path) => until(async () => {
    const response = await poll(path);
    return response.status === 202 && response.get("Idempotency-Status") === "running" ? null : response;
  });

  test("202 with an address; running until the reply is there, then the very answer, marked replayed; one execution", async () => {
    const it = operation(on, LATER);
    const held = gate();
    it.answers(async () => {
      await held.opened;
      return { status: 201, headers: [["Content-Type", "text/plain"], ["X-Paid", "yes"]], body: "paid" };
    });
    const sent = { headers: { ...headers, ...ASYNC } };
    const path = isRunning(await it.send(sent));
    await it.reached();
    assert.equal(isRunning(await poll(path)), path);
    // Every duplicate is told the same address, and waits for nothing.
    assert.equal(isRunning(await it.send(sent)), path);
    held.open();
    const reply = await ended(path);
    assert.deepEqual([reply.status, reply.text, reply.get("X-Paid")], [201, "paid", "yes"]);
    assert.equal(reply.get("Idempotency-Status"), "replayed");
    assert.equal(reply.get("Idempotent-Replayed"), "true");
    const again = await it.send({ headers });
    assert.deepEqual([again.status, again.text, again.get("Idempotency-Status")], [201, "paid", "replayed"]);
    const head = await poll(path, { method: "HEAD" });
    assert.deepEqual([head.status, head.text], [201, ""]);
    assert.equal(it.count(), 1);
  });
  test("the reply itself, where it is there in time", async () => {
    const it = operation(on, LATER);
    const reply = await it.send({ headers: { ...headers, Prefer: "respond-async, wait=5" } });
    assert.equal(reply.status, 201);
    assert.equal(reply.get("Idempotency-Status"), "executed");
    assert.equal(reply.get("Idempotent-Replayed"), null);
    assert.equal(it.count(), 1);
  });
});
