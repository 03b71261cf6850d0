// Contract 1.10 and 1.5: a Ledger out of reach, failing or lying refuses the request; nothing is ever forwarded
// unguarded, and what is lost between Worker and Ledger never runs anything twice.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay } from "./expect.mjs";
import { freshKey, freshPath, start, startOrigin, until } from "./harness.mjs";

const FAIL = { "Content-Type": "application/json", "X-On-Conflict": "FAIL" };

/** Oncegate with a Ledger that obeys, and one operation on it. */
async function through(check) {
  const origin = await startOrigin();
  const worker = await start({ origin, shards: 1, ledger: "faulty" });
  const path = freshPath();
  const key = freshKey();
  const it = { path, send: (spec = {}) => worker.send({ path, key, ...spec }), count: () => origin.count(path) };
  try {
    // The first touch of an object may take calls of its own.
    isExecuted(await worker.send({ path: "/first", key: freshKey() }));
    await check(it, worker, origin);
  } finally {
    await worker.stop();
    origin.close();
  }
}

describe("a Ledger", { concurrency: 8, timeout: 90_000 }, () => {
  for (const [what, behaviour] of Object.entries({
    "that fails": "throw",
    "that is overloaded": "overload",
    "that answers garbage": "garbage",
    "that answers nothing": "empty",
    "that answers with what is no message": "strange",
    "that never answers": "hang",
  })) {
    test(`${what} refuses the request as store-unavailable, and the origin never sees it`, () =>
      through(async (it, worker, origin) => {
        await worker.ledger(behaviour);
        isProblem(await it.send(), "store-unavailable");
        assert.equal(it.count(), 0);
        // What is not guarded does not need it.
        assert.equal((await worker.send({ path: it.path })).status, 201);
        assert.equal((await worker.send({ method: "GET", path: it.path })).status, 201);
        await worker.ledger("pass");
        const first = await until(async () => {
          const response = await it.send({ headers: FAIL, body: '{"amount":10}' });
          if (response.status === 201) return response;
          isProblem(response, response.json.code === "in-flight" ? "in-flight" : "store-unavailable");
        }, { ms: 30_000, every: 250 });
        isExecuted(first);
        isReplay(await it.send(), first);
        assert.equal(origin.executions(it.path).filter((e) => e.get("Idempotency-Key")).length, 1);
      }));
  }
  test("whose answer to a claim is lost is asked again: executed once", () =>
    through(async (it, worker) => {
      await worker.ledger("lose*1,pass");
      const first = await it.send();
      isExecuted(first);
      isReplay(await it.send(), first);
      assert.equal(it.count(), 1);
    }));
  test("whose answers to a claim are all lost leaves the key free soon after, long before the lease's end", () =>
    through(async (it, worker) => {
      await worker.ledger("lose");
      isProblem(await it.send(), "store-unavailable");
      assert.equal(it.count(), 0);
      await worker.ledger("pass");
      const began = Date.now();
      const first = await until(async () => {
        const response = await it.send({ headers: FAIL, body: '{"amount":10}' });
        if (response.status === 201) return response;
        isProblem(response, "in-flight");
      }, { ms: 40_000, every: 250 });
      isExecuted(first);
      assert.ok(Date.now() - began < 40_000, "the lease lasts 75 s");
      assert.equal(it.count(), 1);
    }));
  for (const [what, behaviour] of Object.entries({
    "whose answer to a settle is lost": "pass*1,lose*1,pass",
    "that fails a settle once": "pass*1,throw*1,pass",
    "that answers a settle with garbage once": "pass*1,garbage*1,pass",
  })) {
    test(`${what} is asked again, and the reply is kept`, () =>
      through(async (it, worker) => {
        await worker.ledger(behaviour);
        const first = await it.send();
        isExecuted(first);
        isReplay(await it.send(), first);
        assert.equal(it.count(), 1);
      }));
  }
  for (const [what, behaviour] of Object.entries({ "is lost": "pass*1,lose*1,pass", "fails once": "pass*1,throw*1,pass" })) {
    test(`where a release ${what}, it is repeated and the key is free`, () =>
      through(async (it, worker, origin) => {
        origin.on(it.path, (_, n) => ({ status: n === 1 ? 429 : 201, body: String(n) }));
        await worker.ledger(behaviour);
        isReleased(await it.send(), 429);
        isExecuted(await it.send());
        assert.equal(it.count(), 2);
      }));
  }
  test("is called twice for a first-seen key, once for every duplicate, and never for what is not guarded", () =>
    through(async (it, worker) => {
      const calls = async (spec) => {
        await worker.ledger("pass");
        const response = await it.send(spec);
        return [response.status, (await worker.ledger("pass")).calls];
      };
      assert.deepEqual(await calls(), [201, 2]);
      assert.deepEqual(await calls(), [201, 1]);
      assert.deepEqual(await calls({ headers: FAIL, body: '{"amount":10}' }), [409, 1]);
      assert.deepEqual(await calls({ body: "other" }), [422, 1]);
      assert.deepEqual(await calls({ key: undefined }), [201, 0]);
      assert.deepEqual(await calls({ method: "GET" }), [201, 0]);
      assert.deepEqual(await calls({ key: "not, a key" }), [400, 0]);
    }));
});
