// Contract 1.5 and 1.7: what happens when a lease ends, which takes the route's timeout and 15 s more. These tests
// have to wait for that, so they are here together and wait at the same time.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isUnknown } from "./expect.mjs";
import { freshKey, gate, through, until } from "./harness.mjs";

const path = "/v1/payments";
const routes = [{ name: "hasty", methods: ["POST"], path: "/{*rest}", timeout: "1s", wait: "2s", doubt_ttl: "1s", reply: { max: "1KiB" } }];
const LEASE = 16_000;
const FAIL = { headers: { "Content-Type": "application/json", "X-On-Conflict": "FAIL" }, body: '{"amount":10}' };

const hurried = (check, options) => through({ routes, ...options }, check);

describe("the end of a lease", { concurrency: true, timeout: 90_000 }, () => {
  test("a power cut while the origin works: in flight until the lease ends, then the outcome is unknown; one execution for ever", () =>
    hurried(async (worker, origin) => {
      const operation = { path, key: freshKey() };
      const { opened, open } = gate();
      origin.on(path, async () => (await opened, { status: 201, body: "paid" }));
      const cut = worker.send(operation);
      const lost = assert.rejects(cut);
      await origin.reached(path);
      const claimed = Date.now();
      await worker.kill();
      await lost;
      await worker.restart();
      open();

      // A duplicate that waits sees the same; it waits no longer than its route says.
      isProblem(await worker.send(operation), "in-flight");
      let response;
      await until(async () => {
        const left = claimed + LEASE - Date.now();
        response = await worker.send({ ...operation, ...FAIL });
        if (response.json.code !== "in-flight") return true;
        isProblem(response, "in-flight");
        assert.ok(Number(response.get("Retry-After")) * 1_000 <= Math.max(left, 0) + 2_000, `${response.get("Retry-After")} s with ${left} ms left`);
      }, { ms: 30_000, every: 500 });
      isProblem(response, "outcome-unknown");
      const ended = Date.now() - claimed;
      assert.ok(ended >= 15_000 && ended < 20_000, `the lease is 1 s + 15 s, and ended after ${ended} ms`);
      isProblem(await worker.send(operation), "outcome-unknown");
      await worker.restart();
      isProblem(await worker.send(operation), "outcome-unknown");
      assert.equal(origin.count(path), 1);
    }, { routes: [{ ...routes[0], doubt_ttl: "1d" }] }));
  test("a reply that cannot be stored: the caller gets it all the same, the log says so, the key goes in doubt and never runs again", () =>
    hurried(async (worker, origin) => {
      const operation = { path, key: freshKey() };
      // The first touch of an object may take calls of its own.
      isExecuted(await worker.send({ path: "/first", key: freshKey() }));
      const began = Date.now();
      await worker.ledger("pass*1,throw");
      const before = worker.logs.length;
      const first = await worker.send(operation);
      assert.equal(first.status, 201);
      assert.equal(first.get("Idempotency-Expires"), null);
      assert.notEqual(first.get("Idempotency-Status"), "executed");
      assert.notEqual(worker.logs.slice(before).trim(), "");
      await worker.ledger("pass");
      let response;
      await until(async () => {
        response = await worker.send({ ...operation, ...FAIL });
        if (response.json.code === "outcome-unknown") return true;
        isProblem(response, "in-flight");
      }, { ms: 30_000, every: 500 });
      isProblem(response, "outcome-unknown");
      assert.ok(Date.now() - began >= LEASE - 500, "it is in flight until the lease ends");
      isProblem(await worker.send(operation), "outcome-unknown");
      assert.equal(origin.count(path), 1);
    }, { ledger: "faulty", shards: 1, routes: [{ ...routes[0], doubt_ttl: "1d" }] }));
  test("a key in doubt is closed once its doubt_ttl is over: it answers key-expired and is not run again", () =>
    hurried(async (worker, origin) => {
      const operation = { path, key: freshKey() };
      origin.on(path, { status: 504, body: "?" });
      isUnknown(await worker.send(operation), 504);
      const began = Date.now();
      let response;
      await until(async () => {
        response = await worker.send(operation);
        if (response.json.code !== "outcome-unknown") return true;
        isProblem(response, "outcome-unknown");
      }, { ms: 40_000, every: 500 });
      isProblem(response, "key-expired");
      assert.ok(Date.now() - began >= 900, "doubt_ttl is the least");
      isProblem(await worker.send(operation), "key-expired");
      assert.equal(origin.count(path), 1);
    }));
  test("a streamed reply may outlast the lease: the first caller gets the whole of it", () =>
    hurried(async (worker, origin) => {
      const operation = { path, key: freshKey() };
      const late = new Promise((resolve) => setTimeout(resolve, LEASE + 2_000));
      origin.on(path, { status: 201, headers: [["Content-Type", "text/event-stream"]], parts: ["data: 1\n\n", late, "data: 2\n\n"] });
      const first = await worker.send(operation);
      assert.equal(first.text, "data: 1\n\ndata: 2\n\n");
      isProblem(await worker.send(operation), "reply-not-stored");
      assert.equal(origin.count(path), 1);
    }));
});
