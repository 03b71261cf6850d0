// A panic stays alone: a panic or an uncaught exception in one request ends that request and touches no other.
// Against a build of its own with the feature `faults` (src/cloudflare/faults.rs), whose requests can order a fault by
// `X-Oncegate-Fault: kind place [how often it passes before]`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../scripts/build.mjs";
import { rowsOf } from "./disk.mjs";
import { isExecuted, isJoined, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, gate, start, startOrigin, until } from "./harness.mjs";

const ROOT = path.resolve(import.meta.dirname, "../..");
const FAULTY = path.join(ROOT, "target", "faults");
const MARK = "x-oncegate-fault";
const fault = (order) => ({ "X-Oncegate-Fault": order });
const post = { methods: ["POST"] };
const routes = [
  { ...post, name: "brief", path: "/brief/{*rest}", ttl: "1s" },
  { ...post, name: "watched", path: "/watched/{*rest}", mode: "shadow" },
  { ...post, name: "deep", path: "/deep/{*rest}", key: { from: ["body:/id"], required: true }, fingerprint: { body: "json" } },
  { ...post, name: "usual", path: "/{*rest}", wait: "60s" },
];

before(() => build(["--out-dir", path.relative(ROOT, FAULTY), "--features", "faults"]));

test("what is deployed has no switch for faults", () => {
  const wasm = (folder) => readFileSync(path.join(folder, "index_bg.wasm"), "latin1");
  assert.ok(wasm(FAULTY).includes(MARK), "the switch has another name");
  assert.ok(!wasm(path.resolve(ROOT, process.env.ONCEGATE_BUILD ?? "build")).includes(MARK));
});

describe("a fault in one request", { timeout: 120_000 }, () => {
  let origin, worker, bystanders;
  const orders = [];

  before(async () => {
    origin = await startOrigin();
    worker = await start({ origin, routes, shards: 1, build: FAULTY });
    bystanders = await inFlight();
  });
  after(async () => {
    await worker?.stop();
    origin.close();
  });

  /** Twenty requests at the origin and ten that wait for another one, all of the same shard. */
  async function inFlight() {
    const { opened, open } = gate();
    const paths = Array.from({ length: 21 }, () => freshPath());
    for (const path of paths) origin.on(path, async () => (await opened, { status: 201, body: path }));
    const answered = [];
    const send = (spec) => worker.send(spec).then((response) => (answered.push(response), response));
    const joined = { path: paths[20], key: freshKey() };
    const siblings = paths.slice(0, 20).map((path) => send({ path, key: freshKey() }));
    const first = send(joined);
    await Promise.all(paths.map((path) => origin.reached(path)));
    const joiners = Array.from({ length: 10 }, () => send(joined));
    // One that came after them has waited a second.
    isProblem(await worker.send({ ...joined, headers: { Prefer: "wait=1" } }), "in-flight");
    return { paths, siblings, first, joiners, answered, open };
  }

  /** A request at the origin, until `open`, and so many that wait for it. */
  async function awaited(many) {
    const { opened, open } = gate();
    const it = { path: freshPath(), key: freshKey() };
    origin.on(it.path, async () => (await opened, { status: 201, body: "paid" }));
    const first = worker.send(it);
    await origin.reached(it.path);
    const joiners = Array.from({ length: many }, () => worker.send(it));
    // One that came after them has waited a second.
    isProblem(await worker.send({ ...it, headers: { Prefer: "wait=1" } }), "in-flight");
    return { it, open, first, joiners };
  }

  /** Sends a request that meets a fault, and looks that the client hears of it at once and the others do not. */
  async function culprit(order, { prefix, ...spec } = {}) {
    const it = { path: freshPath(prefix), key: freshKey(), ...spec };
    const began = Date.now();
    orders.push(order);
    const response = await worker.send({ ...it, headers: fault(order) });
    assert.ok(Date.now() - began < 1_500, `its client waited ${Date.now() - began} ms`);
    assert.equal(bystanders.answered.length, 0, "another request was answered");
    const again = () => worker.send(it);
    return { ...it, response, again, count: () => origin.count(it.path) };
  }

  for (const kind of ["panic", "throw"]) {
    for (const [place, when] of [["start", "before it is looked at"], ["read", "with its body read"], ["ask", "before its claim"], ["granted", "with its claim granted"], ["step", "in the Ledger, before the claim is written"], ["stored", "in the Ledger, with the claim written"], ["told", "in the Ledger, when it answers a claim"]]) {
      test(`${kind} ${when}: nothing is forwarded, and the key can be used at once`, async () => {
        const it = await culprit(`${kind} ${place}`);
        if (place === "start") assert.equal(it.response.status, 500);
        else isProblem(it.response, "store-unavailable");
        assert.equal(it.count(), 0);
        const next = await it.again();
        isExecuted(next);
        isReplay(await it.again(), next);
        assert.equal(it.count(), 1);
      });
    }
    test(`${kind} in the Ledger, before the claim is a task: the claim is repeated, and the key is executed once`, async () => {
      const it = await culprit(`${kind} begin`);
      isExecuted(it.response);
      isReplay(await it.again(), it.response);
      assert.equal(it.count(), 1);
    });
    for (const [place, when] of [["answered", "when the origin has answered"], ["ask 1", "before the settle"]]) {
      test(`${kind} ${when}: its client is told that nobody knows, and so is every retry`, async () => {
        const it = await culprit(`${kind} ${place}`);
        isProblem(it.response, "outcome-unknown", 502);
        // Said to the Ledger at once, not at the lease's end.
        isProblem(await it.again(), "outcome-unknown");
        assert.equal(it.count(), 1);
      });
    }
    test(`${kind} with the reply stored: the retry gets it`, async () => {
      const it = await culprit(`${kind} heard`);
      isProblem(it.response, "outcome-unknown", 502);
      const [replay, another] = [await it.again(), await it.again()];
      assert.equal(replay.status, 201);
      isReplay(replay, another);
      assert.equal(it.count(), 1);
    });
    for (const [place, when] of [["step 1", "before"], ["stored 1", "after"], ["told 1", "when it answers, after"], ["begin 1", "before its question is a task, so before"]]) {
      test(`${kind} in the Ledger ${when} the settle is written: it is settled again`, async () => {
        // Its claim passes the place first.
        const it = await culprit(`${kind} ${place}`);
        isExecuted(it.response);
        isReplay(await it.again(), it.response);
        assert.equal(it.count(), 1);
      });
    }
    for (const [place, when, isAnswer, isTold] of [
      ["answered", "when the origin has answered", (first) => isProblem(first, "outcome-unknown", 502), (joiner) => isProblem(joiner, "outcome-unknown")],
      ["stored", "in the Ledger, with the reply written", (first) => isExecuted(first), (joiner, first) => isReplay(joiner, first, /^(joined|replayed)$/)],
    ]) {
      test(`${kind} ${when}: those who wait for it are told at once`, async () => {
        const { it, open, first, joiners } = await awaited(5);
        // An unguarded request goes by no such place itself.
        await culprit(`${kind} ${place}`, { key: undefined });
        const began = Date.now();
        open();
        isAnswer(await first);
        for (const joiner of await Promise.all(joiners)) isTold(joiner, await first);
        assert.ok(Date.now() - began < 1_500, `they waited ${Date.now() - began} ms`);
        assert.equal(origin.count(it.path), 1);
      });
    }
    test(`${kind} in the Ledger's alarm: the sweep is tried again`, async () => {
      const count = () => rowsOf(worker).filter(({ table }) => table === "records").length;
      const before = count();
      const it = await culprit(`${kind} sweep`, { prefix: "/brief" });
      isExecuted(it.response);
      assert.equal(count(), before + 1);
      await until(() => count() === before, { ms: 20_000, what: "the expired row is swept" });
    });
    test(`${kind}s in whatever answers instead of what the first one ended: its client is told at once all the same`, async () => {
      for (const places of ["start,aborted", "read,aborted", "answered,aborted"]) {
        const it = await culprit(`${kind}s ${places}`);
        assert.equal(it.response.status, 500);
        assert.match(it.response.get("Content-Type"), /problem/);
      }
      const it = await culprit(`${kind}s step,failed`);
      isProblem(it.response, "store-unavailable");
      assert.equal(it.count(), 0);
      await culprit("none", { key: undefined });
      isExecuted(await it.again());
    });
    test(`${kind} in a request that is not guarded`, async () => {
      const it = await culprit(`${kind} start`, { key: undefined });
      assert.equal(it.response.status, 500);
      assert.match(it.response.get("Content-Type"), /problem/);
      assert.equal((await it.again()).status, 201);
    });
    test(`${kind} while a request in shadow mode is watched: it passes as ever`, async () => {
      const it = await culprit(`${kind} ask`, { prefix: "/watched" });
      assert.equal(it.response.status, 201);
      assert.equal(it.count(), 1);
    });
    test(`${kind} with a large body: its reservation is given back`, async () => {
      // 32 MiB are there for all.
      const body = Buffer.alloc(8 * 1024 * 1024 - 1, "x");
      for (let n = 0; n < 6; n++) isProblem((await culprit(`${kind} ${n % 2 ? "granted" : "read"}`, { body })).response, "store-unavailable");
      for (let n = 0; n < 3; n++) isProblem((await culprit(`${kind} answered`, { body })).response, "outcome-unknown", 502);
      isExecuted(await worker.send({ path: freshPath(), key: freshKey(), body }));
    });
  }

  test("panic in each of those who are woken at once: every one is refused, and nobody else", async () => {
    const { it, open, first, joiners } = await awaited(10);
    await culprit("panics woken", { key: undefined });
    open();
    isExecuted(await first);
    for (const joiner of await Promise.all(joiners)) isProblem(joiner, "store-unavailable");
    await culprit("none", { key: undefined });
    isReplay(await worker.send(it), await first);
    assert.equal(origin.count(it.path), 1);
  });

  test("JSON of any depth is no panic", async () => {
    const nested = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
    const headers = { "Content-Type": "application/json" };
    const response = await worker.send({ path: freshPath("/deep"), headers, body: `{"id":"deep","of":${nested}}` });
    assert.ok([201, 400].includes(response.status), response.text);
    assert.equal(bystanders.answered.length, 0);
  });

  test("through all of that everyone else was served, by the same instance", async () => {
    bystanders.open();
    const siblings = await Promise.all(bystanders.siblings);
    for (const [n, response] of siblings.entries()) {
      isExecuted(response);
      assert.equal(response.text, bystanders.paths[n]);
    }
    const first = await bystanders.first;
    isExecuted(first);
    for (const joiner of await Promise.all(bystanders.joiners)) isJoined(joiner, first);
    for (const path of bystanders.paths) assert.equal(origin.count(path), 1);
    const numbers = [...worker.logs.matchAll(/fault (\d+) ordered/g)].map(([, n]) => Number(n));
    assert.deepEqual(numbers, orders.map((_, n) => n + 1), "the count of an instance began anew");
  });
  test("the log says where, and quotes nothing", () => {
    assert.match(worker.logs, /a fault that was ordered, at src\/cloudflare\/faults\.rs:\d+/);
    assert.match(worker.logs, /uncaught: .*JSON/);
    assert.doesNotMatch(worker.logs, /Rust panic|PanicError|Reinitializing/);
  });
});

test("a shard that is nearly full keeps heads only, and the log alarms", { timeout: 60_000 }, async () => {
  const origin = await startOrigin();
  const worker = await start({ origin, routes, shards: 1, build: FAULTY });
  try {
    const it = { path: freshPath(), key: freshKey() };
    const first = await worker.send({ ...it, headers: fault("full") });
    assert.deepEqual([first.status, first.get("Idempotency-Status"), first.get("Idempotency-Expires")], [201, "executed", null]);
    const retry = isProblem(await worker.send(it), "reply-not-stored");
    assert.equal(retry.original_status, 201);
    assert.equal(origin.count(it.path), 1);
    await until(() => worker.logs.includes("a shard is nearly full (9000000000 of"));
    // Claims and what has no body go on.
    const empty = { path: freshPath(), key: freshKey() };
    origin.on(empty.path, { status: 204 });
    isExecuted(await worker.send(empty), 204);
    isReplay(await worker.send(empty), await worker.send(empty));
  } finally {
    await worker.stop();
    origin.close();
  }
});

for (const [kind, what] of [["abort", "an abort"], ["overflow", "an exhausted stack"]]) test(`${what} ends the instance: whoever is in flight is told, the next ones are served, and nothing runs twice`, { timeout: 60_000 }, async () => {
  const origin = await startOrigin();
  const worker = await start({ origin, routes, shards: 1, build: FAULTY });
  const is500 = (response) => {
    assert.equal(response.status, 500);
    assert.equal(response.get("Content-Type"), "application/problem+json");
    assert.equal(response.json.status, 500);
  };
  try {
    const { opened, open } = gate();
    const it = { path: freshPath(), key: freshKey() };
    origin.on(it.path, async () => (await opened, { status: 201, body: "paid" }));
    const sibling = worker.send(it);
    await origin.reached(it.path);
    is500(await worker.send({ path: freshPath(), headers: fault(`${kind} start`) }));
    is500(await sibling);
    open();
    isExecuted(await worker.send({ path: freshPath(), key: freshKey() }));
    // Until its lease is over.
    isProblem(await worker.send({ ...it, headers: { Prefer: "wait=0" } }), "in-flight");
    assert.equal(origin.count(it.path), 1);
  } finally {
    await worker.stop();
    origin.close();
  }
});
