// Contract 1.5: what a duplicate gets, by the state of the record and the strategy, and how a record ends.
// tests/host/life/tables.rs has every event in every state. Here is each strategy once, and time as it really passes.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { gate, operation, stage, until } from "./harness.mjs";

const STRATEGIES = ["return_existing", "fail", "fail_on_running"];
const choose = (strategy) => ({ headers: { "X-On-Conflict": strategy.toUpperCase() } });
const FAIL = choose("fail"), AGAIN = choose("fail_on_running"), EXISTING = choose("return_existing");
const OTHER = { body: "another body" };

describe("the life of a key", { concurrency: 16, timeout: 60_000 }, () => {
  const route = (name, more) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, client_strategies: STRATEGIES, ...more });
  const on = stage({
    routes: [
      ...STRATEGIES.map((on_duplicate) => route(on_duplicate, { on_duplicate, wait: "0s" })),
      route("any", { wait: "0s" }),
      route("none", { client_strategies: [] }),
      route("hasty", { timeout: "1s" }),
      route("brief", { ttl: "1s" }),
      route("grave", { ttl: "1s", tombstone: "2s" }),
      route("long", { ttl: "1s", tombstone: "1h" }),
      route("off", { mode: "off", key: { from: ["body:/id"], required: true }, request: { max: 10 } }),
      { name: "usual", methods: ["POST"], path: "/{*rest}" },
    ],
  });

  /** An operation that has come into a state. */
  const became = {
    running: async (prefix) => {
      const it = operation(on, prefix);
      const { opened, open } = gate();
      it.answers(async () => (await opened, { status: 201, body: "paid" }));
      const first = it.send();
      await it.reached();
      return { ...it, open, first };
    },
    completed: async (prefix) => {
      const it = operation(on, prefix);
      const first = await it.send();
      isExecuted(first);
      return { ...it, first };
    },
    inDoubt: async (prefix) => {
      const it = operation(on, prefix);
      it.answers({ status: 504, body: "?" });
      isUnknown(await it.send(), 504);
      return it;
    },
  };

  // Each strategy is the route's own once, and chosen by the client once.
  for (const strategy of STRATEGIES) {
    for (const [how, prefix, headers] of [["the route's own", `/${strategy}`, {}], ["chosen by X-On-Conflict", "/any", choose(strategy)]]) {
      test(`${strategy}, ${how}: what a duplicate gets, by the state that it finds`, async () => {
        const fresh = operation(on, prefix);
        isExecuted(await fresh.send(headers));

        const running = await became.running(prefix);
        const early = await running.send(headers);
        isProblem(early, "in-flight");
        assert.match(early.get("Retry-After"), /^[12]$/);
        isProblem(await running.send({ ...headers, ...OTHER }), "key-reused");
        running.open();
        isExecuted(await running.first);
        assert.equal(running.count(), 1);

        const completed = await became.completed(prefix);
        isProblem(await completed.send({ ...headers, ...OTHER }), "key-reused");
        const duplicate = await completed.send(headers);
        if (strategy === "return_existing") isReplay(duplicate, completed.first);
        if (strategy === "fail") isProblem(duplicate, "already-executed");
        if (strategy === "fail_on_running") isExecuted(duplicate);
        isReplay(await completed.send(EXISTING), strategy === "fail_on_running" ? duplicate : completed.first);
        assert.equal(completed.count(), strategy === "fail_on_running" ? 2 : 1);

        const doubt = await became.inDoubt(prefix);
        for (let n = 0; n < 2; n++) isProblem(await doubt.send(headers), "outcome-unknown");
        isProblem(await doubt.send({ ...headers, ...OTHER }), "key-reused");
        assert.equal(doubt.count(), 1);
      });
    }
  }
  test("another body is refused before any waiting", async () => {
    const it = await became.running("/usual");
    const began = Date.now();
    isProblem(await it.send(OTHER), "key-reused");
    assert.ok(Date.now() - began < 5_000, "the route waits 10 s");
    it.open();
    isExecuted(await it.first);
  });
  test("a client may choose among the strategies that the route allows; nothing else is forwarded", async () => {
    const it = operation(on, "/usual");
    for (const value of ["MAYBE", "FAIL, RETURN_EXISTING", "FAIL_ON_RUNNING"]) isProblem(await it.send({ headers: { "X-On-Conflict": value } }), "strategy-invalid");
    assert.equal(it.count(), 0);
    isExecuted(await it.send(FAIL));
    isProblem(await operation(on, "/none").send(FAIL), "strategy-invalid");
  });

  test("while a key is run again, duplicates wait for the new reply", async () => {
    const it = operation(on, "/hasty");
    const { opened, open } = gate();
    it.answers(async (_, n) => (n === 2 && (await opened), { status: 201, body: `run ${n}` }));
    isExecuted(await it.send());
    const second = it.send(AGAIN);
    await it.reached(2);
    isProblem(await it.send(AGAIN), "in-flight");
    isProblem(await it.send(FAIL), "in-flight");
    const waiter = it.send();
    open();
    isExecuted(await second);
    assert.equal((await second).text, "run 2");
    isReplay(await waiter, await second, /^(joined|replayed)$/);
    assert.equal(it.count(), 2);
  });
  for (const size of [10, 3 * 1024 * 1024]) {
    test(`where running again is released, the old reply of ${size} bytes is back`, async () => {
      const it = operation(on, "/any");
      it.answers((_, n) => (n === 2 ? { status: 429, body: "slow down" } : { status: 201, body: randomBytes(size) }));
      const first = await it.send();
      isReleased(await it.send(AGAIN), 429);
      const replay = await it.send();
      isReplay(replay, first);
      assert.equal(replay.get("Idempotency-Expires"), first.get("Idempotency-Expires"));
      const third = await it.send(AGAIN);
      isExecuted(third);
      isReplay(await it.send(), third);
      assert.equal(it.count(), 3);
    });
  }
  test("where running again has an unknown outcome, the key is in doubt", async () => {
    const it = operation(on, "/any");
    it.answers((_, n) => ({ status: n === 2 ? 504 : 201, body: `run ${n}` }));
    isExecuted(await it.send());
    isUnknown(await it.send(AGAIN), 504);
    for (const strategy of STRATEGIES) isProblem(await it.send(choose(strategy)), "outcome-unknown");
    assert.equal(it.count(), 2);
  });
  test("an answer that comes after the timeout closes the record: duplicates get it as the reply", async () => {
    const it = operation(on, "/hasty");
    const { opened, open } = gate();
    it.answers(async () => (await opened, { status: 201, headers: [["X-Late", "yes"]], body: "paid after all" }));
    const look = () => it.send({ headers: { Prefer: "wait=0" } });
    isProblem(await it.send(), "outcome-unknown", 504);
    isProblem(await look(), "outcome-unknown");
    open();
    const reply = await until(async () => {
      const response = await look();
      if (response.status === 201) return response;
      isProblem(response, "outcome-unknown");
    });
    assert.deepEqual([reply.text, reply.get("X-Late")], ["paid after all", "yes"]);
    isReplay(reply, reply);
    assert.equal(it.count(), 1);
  });
  test("an answer that comes after the timeout and frees the key frees it", async () => {
    const it = operation(on, "/hasty");
    const { opened, open } = gate();
    it.answers(async (_, n) => (n === 1 && (await opened), { status: n === 1 ? 429 : 201, body: String(n) }));
    isProblem(await it.send(), "outcome-unknown", 504);
    open();
    await until(async () => (await it.send()).status === 201);
    assert.equal(it.count(), 2);
  });

  test("after its ttl a key is free, also for another body, and not before", async () => {
    const it = await became.completed("/brief");
    const expires = Date.parse(it.first.get("Idempotency-Expires"));
    let again;
    await until(async () => {
      const sent = Date.now();
      again = await it.send(OTHER);
      if (again.get("Idempotency-Status") === "executed") return true;
      isProblem(again, "key-reused");
      assert.ok(sent < expires + 1_000, "a reply that outlives its ttl");
    });
    assert.ok(Date.now() >= expires - 50, "executed again before the reply's end");
    isReplay(await it.send(OTHER), again);
    assert.equal(it.count(), 2);
  });
  test("a key in doubt outlives ttl and tombstone", async () => {
    const it = await became.inDoubt("/grave");
    const began = Date.now();
    await until(async () => (isProblem(await it.send(), "outcome-unknown"), Date.now() - began > 3_500), { every: 500 });
    assert.equal(it.count(), 1);
  });
  /** Resolves once the reply is no longer replayed; looks without being able to run it again. */
  const gone = (it, first) => until(async () => {
    const response = await it.send(FAIL);
    if (response.status !== 409) return response;
    isProblem(response, "already-executed");
    assert.ok(Date.now() < Date.parse(first.get("Idempotency-Expires")) + 2_000, "a reply that outlives its ttl");
  });
  test("a late retry within the tombstone is told so and executes nothing; then the key is free", async () => {
    const it = await became.completed("/grave");
    const expires = Date.parse(it.first.get("Idempotency-Expires"));
    isProblem(await gone(it, it.first), "key-expired");
    assert.ok(Date.now() >= expires - 1_000, "sooner than the ttl"); // the header counts whole seconds
    isProblem(await it.send(OTHER), "key-reused");
    const later = await until(async () => {
      const response = await it.send();
      if (response.status === 410) return void isProblem(response, "key-expired");
      return response;
    });
    isExecuted(later);
    assert.ok(Date.now() >= expires + 1_000, "sooner than the tombstone's end");
    isReplay(await it.send(), later);
    assert.equal(it.count(), 2);
  });
  test("within the tombstone fail_on_running runs again, another caller does not, and another body is another request", async () => {
    const it = operation(on, "/long", { headers: { Authorization: "Bearer alice" } });
    const as = (name, strategy) => ({ headers: { Authorization: `Bearer ${name}`, "X-On-Conflict": strategy } });
    const first = await it.send();
    isExecuted(first);
    await until(async () => (await it.send(as("alice", "FAIL"))).status === 410);
    const other = await it.send(as("bob", "FAIL"));
    assert.ok([409, 410].includes(other.status), `forwarded again: ${other.status}`);
    isProblem(await it.send({ ...as("alice", "FAIL_ON_RUNNING"), ...OTHER }), "key-reused");
    assert.equal(it.count(), 1);
    const second = await it.send(as("alice", "FAIL_ON_RUNNING"));
    isExecuted(second);
    isReplay(await it.send(), second);
    assert.equal(it.count(), 2);
  });
  for (const [what, status] of [["is stored", 201], ["is released", 429]]) {
    test(`a run that goes on while the old reply expires ${what === "is stored" ? "leaves its own reply" : "and is released puts the tombstone back"}`, async () => {
      const it = operation(on, "/long");
      const { opened, open } = gate();
      it.answers(async (_, n) => (n === 2 && (await opened), { status: n === 2 ? status : 201, body: `run ${n}` }));
      const first = await it.send();
      const second = it.send(AGAIN);
      await it.reached(2);
      const expired = Date.parse(first.get("Idempotency-Expires")) + 1_000;
      await until(async () => (isProblem(await it.send(FAIL), "in-flight"), Date.now() > expired));
      open();
      if (status === 201) {
        isExecuted(await second);
        isReplay(await it.send(EXISTING), await second);
      } else {
        isReleased(await second, 429);
        isProblem(await it.send(EXISTING), "key-expired");
      }
      assert.equal(it.count(), 2);
    });
  }
  test("a route that is off passes everything, whatever its other knobs say, and no wider route takes over", async () => {
    const it = operation(on, "/off");
    const specs = [{}, {}, { key: "not, a; key" }, { body: "x".repeat(10_000) }, { body: '{"id":"a"}' }, { headers: { "X-On-Conflict": "NEVER", "Idempotency-Attempt": "9" } }];
    for (const [n, spec] of specs.entries()) {
      const response = await it.send(spec);
      assert.equal(response.status, 201);
      for (const name of ["Idempotency-Status", "Idempotent-Replayed", "X-Correlation-Id"]) assert.equal(response.get(name), null);
      assert.equal(it.seen(n + 1).get("X-Correlation-Id"), null);
      assert.equal(it.seen(n + 1).get("Idempotency-Attempt"), spec.headers ? "9" : null);
    }
    assert.equal(it.count(), specs.length);
  });
});
