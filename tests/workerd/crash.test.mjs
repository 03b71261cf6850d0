// Contract 1.5 and 1.8: what a power cut, a reset or an eviction of the objects, and a client that hangs up leave
// behind; and what lies on the disk.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { bytesOf, rowsOf } from "./disk.mjs";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, gate, through, until } from "./harness.mjs";

const MiB = 1024 * 1024;
const path = "/v1/payments";
const routes = [
  { name: "brief", methods: ["POST"], path: "/brief", ttl: "2s" },
  { name: "usual", methods: ["POST"], path: "/{*rest}" },
];
const FAIL = { headers: { "Content-Type": "application/json", "X-On-Conflict": "FAIL" }, body: '{"amount":10}' };

const with2Shards = (check, options) => through({ routes, shards: 2, ...options }, check);

describe("a power cut", { concurrency: 4, timeout: 90_000 }, () => {
  test("after the answer: every reply that a client has seen is replayed", () =>
    with2Shards(async (worker, origin) => {
      const body = randomBytes(3 * MiB);
      origin.on("/large", { status: 201, body });
      const operations = [{ path, key: freshKey() }, { path: "/large", key: freshKey() }, { path, key: freshKey() }];
      const firsts = [];
      for (const operation of operations) firsts.push(await worker.send(operation));
      await worker.restart();
      for (const [n, operation] of operations.entries()) isReplay(await worker.send(operation), firsts[n]);
      assert.deepEqual([origin.count(path), origin.count("/large")], [2, 1]);
    }));
  test("at any moment: no key runs twice, and what was answered is replayed", () =>
    with2Shards(async (worker, origin) => {
      const operations = [];
      const seen = new Map();
      for (let round = 0; round < 4; round++) {
        // Four at a time, one after the other, until the process is killed: some are before their claim, some at
        // the origin, some being stored and some answered.
        let cut = false;
        const send = async () => {
          while (!cut) {
            const operation = { path, key: freshKey(), body: randomBytes(20_000) };
            operations.push(operation);
            const first = await worker.send(operation).catch(() => null);
            if (first) seen.set(operation, first);
          }
        };
        const before = origin.count(path);
        const senders = [send(), send(), send(), send()];
        await origin.reached(path, before + 8 + round);
        cut = true;
        await worker.kill();
        await Promise.all(senders);
        await worker.restart();
      }
      const runs = (operation) => origin.executions(path).filter((e) => e.get("Idempotency-Key") === operation.key).length;
      let replayed = 0;
      for (const operation of operations) {
        if (runs(operation) === 0) continue;
        const response = await worker.send({ ...operation, headers: { Prefer: "wait=0" } });
        const first = seen.get(operation);
        if (first) isReplay(response, first), (replayed += 1);
        else if (response.status !== 201) isProblem(response, "in-flight");
        assert.equal(runs(operation), 1);
      }
      assert.ok(replayed >= 4 * 4, `${replayed} of ${operations.length} replayed`);
      assert.ok(seen.size < operations.length, "the cuts cut something");
    }));
});

describe("the loss of the objects' memory", { concurrency: 4, timeout: 90_000 }, () => {
  for (const how of ["evict", "abort"]) {
    test(`between two requests (${how}): the retry is replayed`, () =>
      with2Shards(async (worker, origin) => {
        const operation = { path, key: freshKey() };
        const first = await worker.send(operation);
        isExecuted(first);
        await worker[how]();
        isReplay(await worker.send(operation), first);
        origin.on("/doubt", { status: 504 });
        const doubtful = { path: "/doubt", key: freshKey() };
        isUnknown(await worker.send(doubtful), 504);
        await worker[how]();
        isProblem(await worker.send(doubtful), "outcome-unknown");
        assert.deepEqual([origin.count(path), origin.count("/doubt")], [1, 1]);
      }, { objects: true }));
    test(`between claim and settle (${how}): the reply is stored all the same`, () =>
      with2Shards(async (worker, origin) => {
        const operation = { path, key: freshKey() };
        const { opened, open } = gate();
        origin.on(path, async () => (await opened, { status: 201, body: "paid" }));
        const first = worker.send(operation);
        await origin.reached(path);
        await worker[how]();
        isProblem(await worker.send({ ...operation, ...FAIL }), "in-flight");
        open();
        isExecuted(await first);
        isReplay(await worker.send(operation), await first);
        assert.equal(origin.count(path), 1);
      }, { objects: true }));
  }
  test("while duplicates wait: they wait on and get the one reply", () =>
    with2Shards(async (worker, origin) => {
      const operation = { path, key: freshKey() };
      const { opened, open } = gate();
      origin.on(path, async () => (await opened, { status: 201, body: "paid" }));
      const first = worker.send(operation);
      await origin.reached(path);
      const waiting = Array.from({ length: 10 }, () => worker.send(operation));
      // When this one is refused, the others have been waiting for a second.
      isProblem(await worker.send({ ...operation, headers: { "Content-Type": "application/json", Prefer: "wait=1" }, body: FAIL.body }), "in-flight");
      await worker.abort();
      isProblem(await worker.send({ ...operation, ...FAIL }), "in-flight");
      open();
      isExecuted(await first);
      for (const duplicate of waiting) isReplay(await duplicate, await first, /^(joined|replayed)$/);
      assert.equal(origin.count(path), 1);
    }, { objects: true }));
});

describe("a client that hangs up", { concurrency: 4, timeout: 90_000 }, () => {
  for (const how of ["close", "reset"]) {
    test(`while the origin works (${how}): the retry gets the reply, one execution`, () =>
      with2Shards(async (worker, origin) => {
        const operation = { path, key: freshKey() };
        const { opened, open } = gate();
        origin.on(path, async (_, n) => (await opened, { status: 201, body: `run ${n}` }));
        const leaving = worker.open(operation);
        await origin.reached(path);
        leaving[how]();
        isProblem(await worker.send({ ...operation, ...FAIL }), "in-flight");
        const retry = worker.send(operation);
        open();
        const response = await retry;
        assert.equal(response.text, "run 1");
        isReplay(response, response, /^(joined|replayed)$/);
        isReplay(await worker.send(operation), response);
        assert.equal(origin.count(path), 1);
      }));
  }
  test("in the middle of its own upload: nothing is forwarded and the key stays free", () =>
    with2Shards(async (worker, origin) => {
      const operation = { path, key: freshKey() };
      const leaving = worker.open({ ...operation, length: 1_000 });
      leaving.send(Buffer.alloc(500));
      isExecuted(await worker.send({ path, key: freshKey() }));
      leaving.reset();
      isExecuted(await worker.send(operation));
      assert.equal(origin.count(path), 2);
    }));
  test("in the middle of a large reply: the reply is kept for the retry", () =>
    with2Shards(async (worker, origin) => {
      const body = randomBytes(7 * MiB);
      origin.on(path, { status: 201, body });
      const operation = { path, key: freshKey() };
      const leaving = worker.open(operation);
      await leaving.read();
      leaving.reset();
      const retry = await worker.send(operation);
      assert.ok(retry.body.equals(body));
      isReplay(retry, retry);
      assert.equal(origin.count(path), 1);
    }));
});

describe("the disk", { concurrency: 4, timeout: 90_000 }, () => {
  test("no row is larger than the 2 MB that are documented to work, whatever the reply's size", () =>
    with2Shards(async (worker, origin) => {
      const sizes = [0, MiB, MiB + 1, 2_000_000, 2 * MiB + 1, 7 * MiB];
      for (const size of sizes) {
        const headers = [["X-Long", "h".repeat(8_000)]];
        origin.on(`/${size}`, { status: 201, headers, body: randomBytes(size) });
        const operation = { path: `/${size}`, key: freshKey() };
        const first = await worker.send(operation);
        isExecuted(first);
        assert.equal(first.body.length, size);
      }
      await worker.kill();
      const rows = rowsOf(worker).map(bytesOf);
      assert.ok(rows.reduce((sum, bytes) => sum + bytes, 0) > sizes.reduce((sum, size) => sum + size), "the replies are there");
      assert.ok(Math.max(...rows) <= 2_000_000, `${Math.max(...rows)} bytes`);
    }));
  test("a reply that replaces another leaves nothing of it behind", () =>
    with2Shards(async (worker, origin) => {
      const strategy = { on_duplicate: "fail_on_running" };
      await worker.restart({ routes: [{ name: "again", methods: ["POST"], path: "/{*rest}", ...strategy }] });
      const operation = { path, key: freshKey() };
      origin.on(path, (_, n) => ({ status: 201, body: n === 1 ? randomBytes(4 * MiB) : "small" }));
      isExecuted(await worker.send(operation));
      isExecuted(await worker.send(operation));
      assert.equal(origin.count(path), 2);
      assert.ok(rowsOf(worker).reduce((sum, row) => sum + bytesOf(row), 0) < 10_000);
    }));
  test("after its ttl a reply is swept from the disk by itself, after a power cut too", () =>
    with2Shards(async (worker, origin) => {
      const rest = rowsOf(worker).length;
      origin.on("/brief", { status: 201, body: randomBytes(3 * MiB) });
      for (let n = 0; n < 5; n++) isExecuted(await worker.send({ path: "/brief", key: freshKey() }));
      const lasting = { path, key: freshKey() };
      const first = await worker.send(lasting);
      assert.ok(rowsOf(worker).length >= rest + 6);
      await worker.restart();
      // The statistics of the hour stay.
      const keep = (rows) => rows.filter((row) => row.table !== "hours" && bytesOf(row) > 100).length;
      await until(() => keep(rowsOf(worker)) <= 1, { ms: 30_000, every: 250, what: "the sweep" });
      isReplay(await worker.send(lasting), first);
    }));
});
