// Contract 1.7: what becomes of an unknown outcome with time. A lease lasts the route's timeout and 15 s, so these
// tests wait for it, all at once. What a probe does at once is in probe.test.mjs.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, start, startOrigin, until } from "./harness.mjs";

const LEASE_MS = 2_000 + 15_000;
const ALICE = { Authorization: "Bearer alice" };
const choose = (strategy) => ({ "X-On-Conflict": strategy });
const route = (name, more) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, timeout: "2s", client_strategies: ["return_existing", "fail", "fail_on_running"], ...more });
const ROUTES = [
  route("retry", { on_in_doubt: "retry" }),
  route("derived", { on_in_doubt: "retry", forward_key: "derived", key: { from: ["header:Idempotency-Key", "header:X-Job"] } }),
  route("hold", { on_in_doubt: "hold" }),
  route("closing", { on_in_doubt: "hold", doubt_ttl: "1s" }),
  route("probe", { on_in_doubt: "probe", probe: "/by-key/{key}", probe_after: "2s" }),
  route("patient", { on_in_doubt: "probe", probe: "/by-key/{key}" }),
];

describe("an unknown outcome", { concurrency: true, timeout: 90_000 }, () => {
  const on = stage({ routes: ROUTES });

  /** A key whose first run leaves the outcome unknown, and whose later ones answer this. */
  async function inDoubt(prefix, { later = 201, first = { status: 502 }, ...spec } = {}) {
    const it = { path: freshPath(`/${prefix}`), key: freshKey(), ...spec };
    const answers = [first, ...[later].flat()].map((answer) => (typeof answer === "number" ? { status: answer } : answer));
    on.origin.on(it.path, (_, n) => ({ body: `run ${n}`, ...answers[Math.min(n, answers.length) - 1] }));
    const began = Date.now();
    const response = await on.worker.send(it);
    if (first.silent) isProblem(response, "outcome-unknown", 504);
    else isUnknown(response, first.status);
    return {
      ...it, began,
      // The claim was made before.
      answered: Date.now(),
      count: () => on.origin.count(it.path),
      seen: (name) => on.origin.executions(it.path).map((execution) => execution.get(name)),
      send: (more = {}) => on.worker.send({ ...it, ...more }),
    };
  }
  /** Sends duplicates until one is answered otherwise than with the doubt; resolves to that answer. */
  const resolved = (it, more, ms = 25_000) => until(async () => {
    const response = await it.send(more);
    if (response.status !== 409) return response;
    isProblem(response, "outcome-unknown");
  }, { ms, every: 200 });
  const leaseIsOver = (it, more = 0) => until(() => Date.now() > it.answered + LEASE_MS + more, { ms: 40_000, every: 100 });

  for (const [what, first, from] of [["that the origin did not tell is run again by a duplicate at once", { status: 502 }, 0], ["after the timeout is run again by a duplicate, but only once its lease is over", { silent: true }, LEASE_MS]]) {
    test(`retry: a doubt ${what}`, async () => {
      const it = await inDoubt("retry", { first });
      const done = await resolved(it);
      const took = Date.now() - it.began;
      assert.ok(took >= from && took < from + 4_000, `${took} ms`);
      isExecuted(done);
      assert.equal(done.text, "run 2");
      isReplay(await it.send(), done);
      assert.deepEqual(it.seen("Idempotency-Attempt"), ["1", "2"]);
      assert.equal(new Set(it.seen("X-Correlation-Id")).size, 1);
      assert.equal(on.origin.executions(it.path)[1].body.toString(), '{"amount":10}');
    });
  }
  test("retry: nothing runs again by itself", async () => {
    const it = await inDoubt("retry");
    await leaseIsOver(it, 2_000);
    assert.equal(it.count(), 1);
  });
  for (const [what, form, other] of [["quoted", (key) => `"${key}"`, (key) => key], ["bare", (key) => key, (key) => `"${key}"`]]) {
    test(`retry: the origin gets the key in the ${what} form in which it came first`, async () => {
      const key = freshKey();
      const it = await inDoubt("retry", { key: form(key) });
      isExecuted(await resolved(it, { key: other(key) }));
      assert.deepEqual(it.seen("Idempotency-Key"), [form(key), form(key)]);
    });
  }
  test("retry: of many duplicates at once one is run, the others get its reply", async () => {
    const { opened, open } = gate();
    const it = await inDoubt("retry");
    await leaseIsOver(it);
    on.origin.on(it.path, async () => (await opened, { status: 201, body: "once" }));
    const sent = Array.from({ length: 8 }, () => it.send());
    await on.origin.reached(it.path, 2);
    open();
    const answers = await Promise.all(sent);
    const done = answers.find((response) => response.get("Idempotency-Status") === "executed");
    isExecuted(done);
    for (const response of answers) if (response !== done) isReplay(response, done, /^(joined|replayed)$/);
    assert.equal(it.count(), 2);
  });
  test("retry: another body is key-reused and another credential is refused, before and after the lease's end", async () => {
    const it = await inDoubt("retry");
    const look = async () => {
      isProblem(await it.send({ body: "other" }), "key-reused");
      isProblem(await it.send({ headers: ALICE }), "credential-changed");
      assert.equal(it.count(), 1);
    };
    await look();
    await leaseIsOver(it);
    await look();
  });
  test("retry: a release of the attempt puts the doubt back, and the next duplicate is run", async () => {
    const it = await inDoubt("retry", { later: [429, { status: 503, headers: [["Retry-After", "1"]] }, 201] });
    for (const status of [429, 503]) {
      const response = await resolved(it);
      assert.equal(response.status, status);
      assert.notEqual(response.get("Idempotency-Status"), "executed");
      isProblem(await it.send({ body: "other" }), "key-reused");
      isProblem(await it.send({ headers: ALICE }), "credential-changed");
    }
    const done = await resolved(it);
    isExecuted(done);
    isReplay(await it.send(), done);
    assert.equal(it.count(), 4);
    assert.equal(it.seen("Idempotency-Attempt")[0], "1");
    for (const attempt of it.seen("Idempotency-Attempt").slice(1)) assert.ok(Number(attempt) >= 2, attempt);
  });
  test("retry: an attempt whose outcome is unknown again is a doubt with a lease of its own", async () => {
    const it = await inDoubt("retry", { later: [504, 201] });
    isUnknown(await resolved(it), 504);
    isExecuted(await it.send());
    assert.deepEqual(it.seen("Idempotency-Attempt"), ["1", "2", "3"]);
  });

  test("derived: the origin gets the same key of its own on every attempt, and another for another key", async () => {
    const [it, byHeader] = await Promise.all([inDoubt("derived", { later: [429, 201] }), inDoubt("derived", { key: undefined, headers: { "X-Job": freshKey() } })]);
    assert.equal((await resolved(it)).status, 429);
    isExecuted(await resolved(it));
    isExecuted(await resolved(byHeader));
    const keys = it.seen("Idempotency-Key");
    assert.equal(keys.length, 3);
    assert.equal(new Set(keys).size, 1, String(keys));
    assert.match(keys[0], /^[!-~]{16,255}$/);
    assert.ok(!keys[0].includes(it.key));
    const others = byHeader.seen("X-Job");
    assert.equal(others[0], others[1]);
    assert.deepEqual(byHeader.seen("Idempotency-Key"), others);
    assert.notEqual(others[0], keys[0]);
  });
  test("derived: the key is the same even where the runtime died in between, and a dead runtime's claim is a doubt", async () => {
    const origin = await startOrigin();
    const worker = await start({ origin, routes: ROUTES });
    try {
      const it = { path: freshPath("/derived"), key: `"${freshKey()}"` };
      origin.on(it.path, (_, n) => (n === 1 ? { silent: true } : { status: 201, body: "at last" }));
      const began = Date.now();
      worker.send(it).catch(() => {});
      await origin.reached(it.path);
      await worker.kill();
      await worker.restart();
      isProblem(await worker.send({ ...it, headers: choose("FAIL") }), Date.now() - began < 15_000 ? "in-flight" : "outcome-unknown");
      const done = await until(async () => {
        const response = await worker.send(it);
        return response.status === 201 && response;
      }, { ms: 30_000, every: 200 });
      assert.ok(Date.now() - began >= LEASE_MS);
      isExecuted(done);
      const [one, two] = origin.executions(it.path);
      assert.deepEqual([one.get("Idempotency-Attempt"), two.get("Idempotency-Attempt")], ["1", "2"]);
      assert.equal(one.get("Idempotency-Key"), two.get("Idempotency-Key"));
    } finally {
      await worker.stop();
      origin.close();
    }
  });

  test("hold: a doubt is held after its lease too, whatever the strategy", async () => {
    const it = await inDoubt("hold");
    await leaseIsOver(it, 2_000);
    for (const headers of [{}, choose("FAIL"), choose("FAIL_ON_RUNNING")]) isProblem(await it.send({ headers }), "outcome-unknown");
    assert.equal(it.count(), 1);
  });
  test("hold: after doubt_ttl the key answers 410 and is never free", async () => {
    const it = await inDoubt("closing");
    const closed = await resolved(it);
    const took = Date.now() - it.began;
    isProblem(closed, "key-expired");
    // The call is over, and its lease with it.
    assert.ok(took >= 1_000 && took < 6_000, `${took} ms`);
    for (const headers of [{}, choose("FAIL"), choose("FAIL_ON_RUNNING")]) isProblem(await it.send({ headers }), "key-expired");
    isProblem(await it.send({ body: "other" }), "key-reused");
    assert.equal(it.count(), 1);
  });
  test("probe: a 404 frees the key only once probe_after has passed since the lease's end; then the duplicate is run", async () => {
    const it = await inDoubt("probe");
    on.origin.on(`/by-key/${it.key}`, { status: 404 });
    const done = await resolved(it);
    const took = Date.now() - it.began;
    assert.ok(took >= 2_000 && took < 6_000, `${took} ms`);
    isExecuted(done);
    isReplay(await it.send(), done);
    assert.equal(it.count(), 2);
    assert.ok(on.origin.count(`/by-key/${it.key}`) > 3, "each duplicate asks");
  });
  test("probe: of many duplicates that learn of a 404 together one is run", async () => {
    const it = await inDoubt("probe");
    await leaseIsOver(it, 2_000);
    const { opened, open } = gate();
    on.origin.on(`/by-key/${it.key}`, async () => (await opened, { status: 404 }));
    const sent = Array.from({ length: 5 }, () => it.send());
    await on.origin.reached(`/by-key/${it.key}`, 5);
    open();
    const answers = await Promise.all(sent);
    const done = answers.find((response) => response.get("Idempotency-Status") === "executed");
    isExecuted(done);
    for (const response of answers) if (response !== done) isReplay(response, done, /^(joined|replayed)$/);
    assert.equal(it.count(), 2);
  });
  test("probe: a 404 frees nothing for 60 s where probe_after is not set, and a 200 still settles", async () => {
    const it = await inDoubt("patient");
    on.origin.on(`/by-key/${it.key}`, { status: 404 });
    await leaseIsOver(it, 3_000);
    isProblem(await it.send(), "outcome-unknown");
    on.origin.on(`/by-key/${it.key}`, { status: 200, body: "it was paid" });
    const reply = await it.send();
    isReplay(reply, reply);
    assert.equal(reply.text, "it was paid");
    assert.equal(it.count(), 1);
  });
});
