// Contract 1.5: what a duplicate gets, by the state of the record and the strategy, and how a record ends.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, until } from "./harness.mjs";

const STRATEGIES = ["return_existing", "fail", "fail_on_running"];
const choose = (strategy) => ({ "X-On-Conflict": strategy.toUpperCase() });

describe("the life of a key", { concurrency: 16, timeout: 60_000 }, () => {
  const post = { methods: ["POST"] };
  const routes = [
    ...STRATEGIES.map((on_duplicate) => ({ ...post, name: on_duplicate, path: `/${on_duplicate}/{*rest}`, on_duplicate, wait: "0s" })),
    { ...post, name: "any", path: "/any/{*rest}", client_strategies: STRATEGIES, wait: "0s" },
    { ...post, name: "none", path: "/none/{*rest}", client_strategies: [] },
    { ...post, name: "brief", path: "/brief/{*rest}", ttl: "2s" },
    { ...post, name: "hasty", path: "/hasty/{*rest}", timeout: "1s", client_strategies: STRATEGIES },
    { ...post, name: "usual", path: "/{*rest}" },
  ];
  const on = stage({ routes });

  /** A key of its own on a path of its own, and how to send it. */
  function operation(prefix) {
    const path = freshPath(prefix);
    const key = freshKey();
    return {
      path,
      key,
      count: () => on.origin.count(path),
      answers: (answer) => on.origin.on(path, answer),
      send: (spec = {}) => on.worker.send({ path, key, ...spec }),
      otherBody: (spec = {}) => on.worker.send({ path, key, body: '{"amount":999}', headers: { "Content-Type": "application/json" }, ...spec }),
    };
  }
  /** Runs `duplicate` while the first request is at the origin; then lets the first one end. */
  async function whileRunning(prefix, duplicate) {
    const it = operation(prefix);
    const { opened, open } = gate();
    it.answers(async () => (await opened, { status: 201, body: "paid" }));
    const first = it.send();
    await on.origin.reached(it.path);
    await duplicate(it);
    assert.equal(it.count(), 1);
    open();
    isExecuted(await first);
  }

  // Each strategy is the route's own once, and chosen by the client once.
  for (const [how, prefix, headers] of [
    ...STRATEGIES.map((strategy) => [`by the route`, `/${strategy}`, () => ({}), strategy]),
    ...STRATEGIES.map((strategy) => [`chosen by X-On-Conflict`, "/any", choose, strategy]),
  ].map(([how, prefix, make, strategy]) => [`${strategy} ${how}`, prefix, make(strategy)])) {
    const strategy = how.split(" ")[0];

    test(`${how}: a key never seen is forwarded`, async () => {
      const it = operation(prefix);
      isExecuted(await it.send({ headers }));
      assert.equal(it.count(), 1);
    });
    test(`${how}: a duplicate of a running key that may not wait is refused as in-flight`, async () => {
      await whileRunning(prefix, async (it) => {
        const response = await it.send({ headers });
        isProblem(response, "in-flight");
        assert.match(response.get("Retry-After"), /^[12]$/);
      });
    });
    test(`${how}: a duplicate of a completed key ${{ return_existing: "gets the stored reply", fail: "is refused as already-executed", fail_on_running: "is executed again, and its reply replaces the old one" }[strategy]}`, async () => {
      const it = operation(prefix);
      const first = await it.send();
      isExecuted(first);
      const second = await it.send({ headers });
      if (strategy === "return_existing") isReplay(second, first);
      if (strategy === "fail") isProblem(second, "already-executed");
      if (strategy === "fail_on_running") isExecuted(second);
      assert.equal(it.count(), strategy === "fail_on_running" ? 2 : 1);
      if (prefix === "/any") isReplay(await it.send(), strategy === "fail_on_running" ? second : first);
    });
    test(`${how}: a duplicate of a key in doubt is refused as outcome-unknown`, async () => {
      const it = operation(prefix);
      it.answers({ status: 502, body: "?" });
      isUnknown(await it.send(), 502);
      for (let n = 0; n < 2; n++) isProblem(await it.send({ headers }), "outcome-unknown");
      assert.equal(it.count(), 1);
    });
    test(`${how}: another body is refused as key-reused, whatever the record's state`, async () => {
      await whileRunning(prefix, async (it) => isProblem(await it.otherBody({ headers: { "Content-Type": "application/json", ...headers } }), "key-reused"));
      const done = operation(prefix);
      isExecuted(await done.send());
      isProblem(await done.otherBody({ headers: { "Content-Type": "application/json", ...headers } }), "key-reused");
      const doubt = operation(prefix);
      doubt.answers({ status: 504, body: "?" });
      isUnknown(await doubt.send(), 504);
      isProblem(await doubt.otherBody({ headers: { "Content-Type": "application/json", ...headers } }), "key-reused");
      assert.deepEqual([done.count(), doubt.count()], [1, 1]);
    });
  }

  test("another body is refused before any waiting", async () => {
    await whileRunning("/usual", async (it) => {
      const began = Date.now();
      isProblem(await it.otherBody(), "key-reused");
      assert.ok(Date.now() - began < 5_000, "the route waits 10 s");
    });
  });
  test("a client may not choose fail_on_running, which can run twice, unless the route allows it", async () => {
    const it = operation("/usual");
    const first = await it.send();
    isProblem(await it.send({ headers: choose("fail_on_running") }), "strategy-invalid");
    isReplay(await it.send({ headers: choose("return_existing") }), first);
    isProblem(await it.send({ headers: choose("fail") }), "already-executed");
    assert.equal(it.count(), 1);
  });
  test("a route may allow no choice at all", async () => {
    const it = operation("/none");
    isProblem(await it.send({ headers: choose("fail") }), "strategy-invalid");
    assert.equal(it.count(), 0);
    isExecuted(await it.send());
  });
  test("an unknown strategy is refused, nothing is forwarded and the key stays free", async () => {
    const it = operation("/any");
    for (const value of ["MAYBE", "FAIL, RETURN_EXISTING", "FAIL_ON_RUNNING_"]) {
      isProblem(await it.send({ headers: { "X-On-Conflict": value } }), "strategy-invalid");
    }
    assert.equal(it.count(), 0);
    isExecuted(await it.otherBody());
  });

  test("after its ttl a key is forwarded again, and not before", async () => {
    const it = operation("/brief");
    const first = await it.send();
    isExecuted(first);
    const expires = Date.parse(first.get("Idempotency-Expires"));
    let again;
    await until(async () => {
      const sent = Date.now();
      again = await it.send();
      if (again.get("Idempotency-Status") === "executed") return true;
      isReplay(again, first);
      assert.ok(sent < expires + 1_000, "a replay after the reply's end");
      return false;
    });
    assert.ok(Date.now() >= expires - 50, "executed again before the reply's end");
    assert.equal(it.count(), 2);
    isReplay(await it.send(), again);
  });
  test("a key in doubt does not expire with the ttl", async () => {
    const it = operation("/brief");
    it.answers({ status: 504, body: "?" });
    isUnknown(await it.send(), 504);
    const began = Date.now();
    await until(async () => (isProblem(await it.send(), "outcome-unknown"), Date.now() - began > 3_000), { every: 250 });
    assert.equal(it.count(), 1);
  });

  test("while a key is run again, duplicates wait for the new reply", async () => {
    const it = operation("/hasty");
    const { opened, open } = gate();
    it.answers(async (_, n) => (n === 2 && (await opened), { status: 201, body: `run ${n}` }));
    isExecuted(await it.send());
    const second = it.send({ headers: choose("fail_on_running") });
    await on.origin.reached(it.path, 2);
    isProblem(await it.send({ headers: choose("fail_on_running") }), "in-flight");
    isProblem(await it.send({ headers: choose("fail") }), "in-flight");
    const waiter = it.send();
    open();
    isExecuted(await second);
    assert.equal((await second).text, "run 2");
    isReplay(await waiter, await second, /^(joined|replayed)$/);
    assert.equal(it.count(), 2);
  });
  for (const size of [10, 3 * 1024 * 1024]) {
    test(`where running again is released, the old reply of ${size} bytes is back`, async () => {
      const it = operation("/any");
      it.answers((_, n) => (n === 2 ? { status: 429, body: "slow down" } : { status: 201, body: randomBytes(size) }));
      const first = await it.send();
      assert.equal(first.body.length, size);
      isReleased(await it.send({ headers: choose("fail_on_running") }), 429);
      const replay = await it.send();
      isReplay(replay, first);
      assert.equal(replay.get("Idempotency-Expires"), first.get("Idempotency-Expires"));
      assert.equal(it.count(), 2);
      const third = await it.send({ headers: choose("fail_on_running") });
      isExecuted(third);
      isReplay(await it.send(), third);
    });
  }
  test("where running again has an unknown outcome, the key is in doubt", async () => {
    const it = operation("/any");
    it.answers((_, n) => ({ status: n === 2 ? 504 : 201, body: `run ${n}` }));
    isExecuted(await it.send());
    isUnknown(await it.send({ headers: choose("fail_on_running") }), 504);
    for (const strategy of STRATEGIES) isProblem(await it.send({ headers: choose(strategy) }), "outcome-unknown");
    assert.equal(it.count(), 2);
  });
  test("an answer that comes after the timeout closes the record: duplicates get it as the reply", async () => {
    const it = operation("/hasty");
    const { opened, open } = gate();
    it.answers(async () => (await opened, { status: 201, headers: [["X-Late", "yes"]], body: "paid after all" }));
    const first = await it.send();
    isProblem(first, "outcome-unknown", 504);
    isProblem(await it.send(), "outcome-unknown");
    open();
    const reply = await until(async () => {
      const response = await it.send();
      if (response.status === 201) return response;
      isProblem(response, "outcome-unknown");
    });
    assert.equal(reply.text, "paid after all");
    assert.equal(reply.get("X-Late"), "yes");
    isReplay(reply, reply);
    assert.equal(it.count(), 1);
  });
  test("a late answer that frees the key frees it", async () => {
    const it = operation("/hasty");
    const { opened, open } = gate();
    it.answers(async (_, n) => (n === 1 && (await opened), { status: n === 1 ? 429 : 201, body: String(n) }));
    isProblem(await it.send(), "outcome-unknown", 504);
    open();
    await until(async () => (await it.send()).status === 201);
    assert.equal(it.count(), 2);
  });
});
