// Contract 1.5: duplicates of a running key wait for its one execution, and how long they do.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isJoined, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage } from "./harness.mjs";

describe("duplicates of a running key", { concurrency: 16, timeout: 60_000 }, () => {
  const post = { methods: ["POST"] };
  const routes = [
    { ...post, name: "second", path: "/second/{*rest}", wait: "1s" },
    { ...post, name: "three", path: "/three/{*rest}", wait: "3s" },
    { ...post, name: "usual", path: "/{*rest}" },
  ];
  const on = stage({ routes });

  /** A first request that stays at the origin until `open`, and its duplicates. */
  async function running(prefix, answer = (n) => ({ status: 201, body: `run ${n}` })) {
    const path = freshPath(prefix);
    const key = freshKey();
    const { opened, open } = gate();
    on.origin.on(path, async (_, n) => (n === 1 && (await opened), answer(n)));
    const send = (spec) => on.worker.send({ path, key, ...spec });
    const first = send();
    await on.origin.reached(path);
    const began = Date.now();
    return {
      open, first, send, began, path, key,
      count: () => on.origin.count(path),
      /** Duplicates that are waiting when this resolves: another one, which came after them, has waited a second. */
      waiting: async (n) => {
        const list = Array.from({ length: n }, () => send());
        isProblem(await send({ headers: { Prefer: "wait=1" } }), "in-flight");
        return list;
      },
    };
  }

  test("forty at once: one execution, and all forty get the same bytes", async () => {
    const it = await running("/usual", () => ({ status: 201, headers: [["Content-Type", "application/octet-stream"]], body: Buffer.alloc(70_000, "pay") }));
    const duplicates = await it.waiting(39);
    it.open();
    const first = await it.first;
    isExecuted(first);
    for (const duplicate of await Promise.all(duplicates)) isJoined(duplicate, first);
    assert.equal(it.count(), 1);
  });
  test("forty at once and nobody first: still one execution", async () => {
    const path = freshPath();
    const key = freshKey();
    const all = await Promise.all(Array.from({ length: 40 }, () => on.worker.send({ path, key })));
    const first = all.filter((response) => response.get("Idempotency-Status") === "executed");
    assert.equal(first.length, 1);
    isExecuted(first[0]);
    for (const response of all) if (response !== first[0]) isReplay(response, first[0], /^(joined|replayed)$/);
    assert.equal(on.origin.count(path), 1);
  });
  test("every one of forty keys at once is executed once", async () => {
    const path = freshPath();
    const keys = Array.from({ length: 40 }, freshKey);
    const all = await Promise.all([...keys, ...keys].map((key) => on.worker.send({ path, key })));
    assert.equal(on.origin.count(path), 40);
    for (let n = 0; n < 40; n++) assert.ok(all[n].body.equals(all[n + 40].body));
    assert.equal(new Set(all.map((response) => response.text)).size, 40);
  });
  test("when the first one is released, one of the waiting is executed and the others get its reply", async () => {
    const it = await running("/usual", (n) => ({ status: n === 1 ? 429 : 201, body: `run ${n}` }));
    const duplicates = await it.waiting(5);
    it.open();
    isReleased(await it.first, 429);
    const answers = await Promise.all(duplicates);
    const executed = answers.filter((response) => response.get("Idempotency-Status") === "executed");
    assert.equal(executed.length, 1);
    isExecuted(executed[0]);
    for (const response of answers) if (response !== executed[0]) isReplay(response, executed[0], /^(joined|replayed)$/);
    assert.equal(it.count(), 2);
  });
  test("when the outcome of the first one is unknown, the waiting are told so and nothing runs again", async () => {
    const it = await running("/usual", () => ({ status: 504, body: "gateway" }));
    const duplicates = await it.waiting(5);
    it.open();
    isUnknown(await it.first, 504);
    for (const duplicate of duplicates) isProblem(await duplicate, "outcome-unknown");
    assert.equal(it.count(), 1);
  });
  test("one who hangs up while waiting takes nobody along", async () => {
    const it = await running("/usual", (n) => ({ status: n === 1 ? 429 : 201, body: `run ${n}` }));
    const leaving = Array.from({ length: 3 }, () => on.worker.open({ path: it.path, key: it.key }));
    const [staying] = await it.waiting(1);
    leaving.forEach((exchange) => exchange.reset());
    it.open();
    isReleased(await it.first, 429);
    // The local runtime does not notice a hang-up, so the second run may be one's who has left; there is only one.
    assert.equal((await staying).status, 201);
    assert.equal((await staying).text, "run 2");
    isReplay(await it.send(), await staying);
    assert.equal(it.count(), 2);
  });

  test("a duplicate waits as long as the route says, then it is told to come back", async () => {
    const it = await running("/second");
    const response = await it.send();
    const waited = Date.now() - it.began;
    isProblem(response, "in-flight");
    assert.ok(waited >= 950 && waited < 3_000, `${waited} ms`);
    it.open();
    isExecuted(await it.first);
    isReplay(await it.send(), await it.first);
    assert.equal(it.count(), 1);
  });
  for (const value of ["wait=1", "handling=lenient, wait=1"]) {
    test(`a client may wait less than the route allows (Prefer: ${value})`, async () => {
      const it = await running("/usual");
      isProblem(await it.send({ headers: { Prefer: value } }), "in-flight");
      const waited = Date.now() - it.began;
      assert.ok(waited >= 950 && waited < 3_000, `${waited} ms`);
      it.open();
      isExecuted(await it.first);
    });
  }
  test("a client may not wait at all (Prefer: wait=0)", async () => {
    const it = await running("/three");
    isProblem(await it.send({ headers: { Prefer: "wait=0" } }), "in-flight");
    assert.ok(Date.now() - it.began < 1_500);
    it.open();
    isExecuted(await it.first);
  });
  test("a client may not wait longer than the route allows", async () => {
    const it = await running("/second");
    isProblem(await it.send({ headers: { Prefer: "wait=30" } }), "in-flight");
    assert.ok(Date.now() - it.began < 5_000);
    it.open();
    isExecuted(await it.first);
  });
  test("a Prefer without a wait that can be read changes nothing", async () => {
    for (const value of ["respond-async=no", "wait", "wait=soon", "wait=-1", "return=minimal"]) {
      const it = await running("/usual");
      const duplicate = it.send({ headers: { Prefer: value } });
      isProblem(await it.send({ headers: { Prefer: "wait=0" } }), "in-flight");
      it.open();
      isExecuted(await it.first);
      isReplay(await duplicate, await it.first, /^(joined|replayed)$/);
    }
  });
  test("Retry-After grows with the age of the claim and starts at one second", async () => {
    const it = await running("/three");
    const early = await it.send({ headers: { Prefer: "wait=0" } });
    isProblem(early, "in-flight");
    assert.equal(early.get("Retry-After"), "1");
    const late = await it.send();
    isProblem(late, "in-flight");
    assert.match(late.get("Retry-After"), /^[34]$/);
    it.open();
    isExecuted(await it.first);
  });
});
