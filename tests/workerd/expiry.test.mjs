// Contract 1.5 and its knobs: what is left of a key after its ttl (tombstones), strategies where a tombstone or a
// release comes into play, and routes that are off.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, until } from "./harness.mjs";

const ALICE = { Authorization: "Bearer alice" };
const BOB = { Authorization: "Bearer bob" };
const choose = (strategy) => ({ "X-On-Conflict": strategy });

describe("after the ttl", { concurrency: true, timeout: 60_000 }, () => {
  const post = (name, more) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, ttl: "1s", client_strategies: ["return_existing", "fail", "fail_on_running"], ...more });
  const on = stage({
    routes: [
      post("grave", { tombstone: "2s" }),
      post("long", { tombstone: "1h" }),
      post("fail", { tombstone: "1h", on_duplicate: "fail" }),
      post("again", { tombstone: "1h", on_duplicate: "fail_on_running" }),
      post("bare", {}),
    ],
  });
  function operation(prefix) {
    const it = { path: freshPath(`/${prefix}`), key: freshKey() };
    return { ...it, count: () => on.origin.count(it.path), send: (spec = {}) => on.worker.send({ ...it, ...spec }), answers: (answer) => on.origin.on(it.path, answer) };
  }
  const other = { body: "another body" };
  /** Resolves once the reply of `it` is no longer replayed; looks without being able to run it again. */
  const gone = (it, first, spec) => until(async () => {
    const response = await it.send({ ...spec, headers: { ...choose("FAIL"), ...spec?.headers } });
    if (response.status !== 409) return response;
    isProblem(response, "already-executed");
    assert.ok(Date.now() < Date.parse(first.get("Idempotency-Expires")) + 2_000, "a reply that outlives its ttl");
  });

  test("with a tombstone a late retry is told so and nothing runs again; then the key is free", async () => {
    const it = operation("grave");
    const first = await it.send();
    isExecuted(first);
    const expires = Date.parse(first.get("Idempotency-Expires"));
    isProblem(await gone(it, first), "key-expired");
    assert.ok(Date.now() >= expires - 1_000, "sooner than the ttl"); // the header counts whole seconds
    const seen = [];
    const later = await until(async () => {
      const response = await it.send();
      seen.push(response.status);
      if (response.status === 410) return void isProblem(response, "key-expired");
      return response;
    });
    isExecuted(later);
    assert.ok(Date.now() >= expires + 1_000, "sooner than the tombstone's end");
    assert.equal(it.count(), 2);
    assert.ok(seen.includes(410), String(seen));
    isReplay(await it.send(), later);
  });
  test("with a tombstone another body is still another request", async () => {
    const it = operation("long");
    const first = await it.send();
    isProblem(await gone(it, first), "key-expired");
    for (const strategy of ["RETURN_EXISTING", "FAIL"]) isProblem(await it.send({ ...other, headers: choose(strategy) }), "key-reused");
    isProblem(await it.send({ path: `${it.path}?a=1` }), "key-reused");
    isProblem(await it.send(), "key-expired");
    assert.equal(it.count(), 1);
  });
  for (const prefix of ["long", "fail"]) {
    test(`return_existing and fail are told the same of a tombstone (/${prefix})`, async () => {
      const it = operation(prefix);
      const first = await it.send();
      await gone(it, first);
      for (const headers of [{}, choose("FAIL"), choose("RETURN_EXISTING")]) isProblem(await it.send({ headers }), "key-expired");
      assert.equal(it.count(), 1);
    });
  }
  test("fail_on_running finds nothing where there is a tombstone: it is forwarded, and its reply is the key's", async () => {
    const it = operation("again");
    const first = await it.send();
    await gone(it, first);
    const second = await it.send();
    isExecuted(second);
    assert.notEqual(second.text, first.text);
    isReplay(await it.send({ headers: choose("RETURN_EXISTING") }), second);
    assert.equal(it.count(), 2);
  });
  test("fail_on_running with another body is another request under a tombstone too", async () => {
    const it = operation("again");
    const first = await it.send();
    await gone(it, first);
    isProblem(await it.send(other), "key-reused");
    assert.equal(it.count(), 1);
  });
  test("without a tombstone the key is free after its ttl, with another body too", async () => {
    const it = operation("bare");
    const first = await it.send();
    await until(async () => (await it.send(other)).status !== 422);
    const second = await it.send(other);
    isReplay(second, second);
    assert.notEqual(second.text, first.text);
    assert.equal(it.count(), 2);
  });
  test("a credential that changed while only the tombstone is left does not charge twice", async () => {
    const it = operation("long");
    const first = await it.send({ headers: ALICE });
    isExecuted(first);
    isProblem(await gone(it, first, { headers: ALICE }), "key-expired");
    const response = await it.send({ headers: BOB });
    assert.equal(it.count(), 1, `forwarded again: ${response.status}`);
    assert.ok([409, 410].includes(response.status));
  });
  test("a key in doubt outlives ttl and tombstone", async () => {
    const it = operation("grave");
    it.answers({ status: 504 });
    isUnknown(await it.send(), 504);
    const began = Date.now();
    await until(async () => (isProblem(await it.send(), "outcome-unknown"), Date.now() - began > 3_500), { every: 500 });
    assert.equal(it.count(), 1);
  });
  test("a released key leaves no tombstone", async () => {
    const it = operation("long");
    it.answers((_, n) => ({ status: n < 3 ? 429 : 201, body: String(n) }));
    isReleased(await it.send(), 429);
    isReleased(await it.send(other), 429);
    isExecuted(await it.send());
    assert.equal(it.count(), 3);
  });
  test("what runs again while the old reply expires is the key's new reply", async () => {
    const it = operation("again");
    const { opened, open } = gate();
    it.answers(async (_, n) => (n === 2 && (await opened), { status: 201, body: `run ${n}` }));
    const first = await it.send();
    const second = it.send();
    await on.origin.reached(it.path, 2);
    const expired = Date.parse(first.get("Idempotency-Expires")) + 1_000;
    await until(async () => (isProblem(await it.send({ headers: choose("FAIL") }), "in-flight"), Date.now() > expired));
    open();
    isExecuted(await second);
    const replay = await it.send({ headers: choose("RETURN_EXISTING") });
    isReplay(replay, await second);
    assert.equal(replay.text, "run 2");
  });
  test("where running again is released after the old reply has expired, the tombstone is back", async () => {
    const it = operation("again");
    const { opened, open } = gate();
    it.answers(async (_, n) => (n === 2 && (await opened), { status: n === 2 ? 429 : 201, body: `run ${n}` }));
    const first = await it.send();
    const second = it.send();
    await on.origin.reached(it.path, 2);
    const expired = Date.parse(first.get("Idempotency-Expires")) + 1_000;
    await until(() => Date.now() > expired);
    open();
    isReleased(await second, 429);
    isProblem(await it.send({ headers: choose("RETURN_EXISTING") }), "key-expired");
    assert.equal(it.count(), 2);
  });
});

describe("a route that is off", { timeout: 60_000 }, () => {
  const on = stage({
    routes: [
      { name: "off", methods: ["POST"], path: "/off/{*rest}", mode: "off", key: { from: ["body:/id"], required: true }, request: { max: 10 }, client_strategies: [] },
      { name: "all", methods: ["POST"], path: "/{*rest}", key: { required: true } },
    ],
  });
  test("passes everything untouched, as often as it comes, whatever its other knobs say", async () => {
    const path = freshPath("/off");
    const specs = [{ key: "a" }, { key: "a" }, { key: "not, a; key" }, {}, { body: "x".repeat(10_000) }, { body: '{"id":"a"}' }, { body: '{"id":"a"}' }, { headers: { "X-On-Conflict": "NEVER", "Idempotency-Attempt": "9" } }];
    for (const [n, spec] of specs.entries()) {
      const response = await on.worker.send({ path, ...spec });
      assert.equal(response.status, 201);
      for (const name of ["Idempotency-Status", "Idempotent-Replayed", "X-Correlation-Id"]) assert.equal(response.get(name), null);
      const seen = on.origin.executions(path)[n];
      assert.equal(seen.get("X-Correlation-Id"), null);
      assert.equal(seen.get("Idempotency-Attempt"), spec.headers ? "9" : null);
    }
    assert.equal(on.origin.count(path), specs.length);
  });
  test("is not taken over by a less specific route", async () => {
    assert.equal((await on.worker.send({ path: freshPath("/off") })).status, 201);
    isProblem(await on.worker.send({ path: freshPath("/on") }), "key-missing");
  });
});
