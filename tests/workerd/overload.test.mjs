// Contract 1.8 and 1.10: under load what was admitted is served, the excess is told at once when to come again,
// nothing is executed twice, and what a shard holds in memory stays within its bounds.

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, describe, test } from "node:test";
import { isExecuted, isJoined, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, gate, through, until } from "./harness.mjs";

const { DatabaseSync } = await import("node:sqlite");
const NIGHTLY = process.env.ONCEGATE_NIGHTLY === "1";
const WAITERS_MAX = 1_000; // of one shard
const KEY_WAITERS_MAX = 250; // of one key
const LEFT_BEHIND_MB = 250; // what all the waiters may leave behind, generously: a process does not shrink at once

const figures = { part: "overload" };
after(() => console.log(`figures: ${JSON.stringify(figures)}`));

/** A first request that stays at the origin until `open`. */
async function running(worker, origin, body = "paid") {
  const it = { path: freshPath(), key: freshKey(), ...gate() };
  origin.on(it.path, async () => (await it.opened, { status: 201, body }));
  it.send = (spec) => worker.send({ path: it.path, key: it.key, ...spec });
  it.first = it.send();
  it.first.catch(() => {}); // where the test has failed before it is awaited
  await origin.reached(it.path);
  return it;
}

const post = { methods: ["POST"] };

describe("overload", { timeout: 280_000 }, () => {
  test("duplicates of slow keys: as many as may wait are served, the excess is told at once when to come again", () =>
    through({ shards: 1, routes: [{ ...post, name: "slow", path: "/{*rest}", wait: "60s" }] }, async (worker, origin) => {
      const keys = [];
      for (let n = 0; n <= WAITERS_MAX / KEY_WAITERS_MAX; n++) keys.push(await running(worker, origin, `paid ${n}`));
      const last = keys.pop();
      const excess = 100;
      /** So many duplicates of one key, of which `places` may wait: those that do. */
      const duplicates = async (it, count, places) => {
        const answers = Array.from({ length: count }, () => it.send());
        const refused = [];
        for (const answer of answers) answer.then(({ status }) => status === 409 && refused.push(answer)).catch(() => {});
        // While the first one is still at the origin: nobody of the excess waits for it.
        await until(() => refused.length === count - places, { ms: 25_000, what: "the excess is refused" });
        for (const answer of refused) isProblem(await answer, "in-flight");
        return answers.filter((answer) => !refused.includes(answer));
      };
      // One key takes no more than its places, and leaves the others theirs, until the shard is full.
      const waiting = [];
      for (const it of keys) waiting.push(await duplicates(it, KEY_WAITERS_MAX + excess, KEY_WAITERS_MAX));
      await duplicates(last, 5, 0);
      isExecuted(await worker.send({ path: freshPath(), key: freshKey() }));
      for (const it of [...keys, last]) it.open();
      for (const [n, it] of keys.entries()) {
        const first = await it.first;
        isExecuted(first);
        for (const answer of await Promise.all(waiting[n])) isJoined(answer, first);
        assert.equal(origin.count(it.path), 1);
        isReplay(await it.send(), first);
      }
      figures.joined = WAITERS_MAX;
      figures.refused = excess * keys.length + 5;
    }));

  test("different keys over 64 connections: each is executed once, and then replayed", () =>
    through({ shards: 4 }, async (worker, origin) => {
      const many = NIGHTLY ? 10_000 : 1_000;
      const path = freshPath();
      const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
      const send = (key) =>
        new Promise((resolve, reject) => {
          const headers = { "Idempotency-Key": key, "Content-Type": "application/json" };
          const request = http.request({ port: worker.port, path, method: "POST", agent, headers }, (response) => {
            let text = "";
            response.setEncoding("utf8").on("data", (part) => (text += part)).on("error", reject);
            response.on("end", () => resolve({ status: response.statusCode, said: response.headers["idempotency-status"], text }));
          });
          request.on("error", reject).end('{"amount":10}');
        });
      const keys = Array.from({ length: many }, freshKey);
      const began = Date.now();
      const first = await Promise.all(keys.map(send));
      figures.first_per_s = Math.round((many * 1000) / (Date.now() - began));
      const again = await Promise.all(keys.map(send));
      agent.destroy();
      assert.deepEqual([...new Set(first.map(({ status, said }) => `${status} ${said}`))], ["201 executed"]);
      assert.deepEqual([...new Set(again.map(({ status, said }) => `${status} ${said}`))], ["201 replayed"]);
      for (let n = 0; n < many; n++) assert.equal(again[n].text, first[n].text);
      assert.equal(new Set(first.map(({ text }) => text)).size, many);
      assert.equal(origin.count(path), many);
      figures.keys = many;
    }));

  test("waiters that hang up free their places and their memory", () =>
    through({ shards: 1, routes: [{ ...post, name: "slow", path: "/{*rest}", wait: "20s" }] }, async (worker, origin) => {
      const it = await running(worker, origin);
      const before = worker.megabytes;
      const waiters = Array.from({ length: KEY_WAITERS_MAX + 50 }, () => worker.open({ path: it.path, key: it.key, body: '{"amount":10}', headers: [["Content-Type", "application/json"]] }));
      /** Whether a duplicate that is willing to wait for a second does. */
      const waits = async () => {
        const began = Date.now();
        isProblem(await it.send({ headers: [["Prefer", "wait=1"], ["Content-Type", "application/json"]], body: '{"amount":10}' }), "in-flight");
        return Date.now() - began >= 900;
      };
      const tries = () => Promise.all(Array.from({ length: 10 }, waits));
      // The key has no place left when the first of them is refused.
      const refused = await Promise.any(waiters.map((waiter) => waiter.head));
      assert.equal(refused.status, 409);
      waiters.forEach((waiter, n) => (n % 2 ? waiter.close() : waiter.reset()));
      await until(async () => !(await tries()).includes(false), { ms: 30_000, what: "waiters are taken again" });
      const duplicate = it.send();
      it.open();
      isExecuted(await it.first);
      isReplay(await duplicate, await it.first, /^(joined|replayed)$/);
      assert.equal(origin.count(it.path), 1);
      figures.hung_up_mb = worker.megabytes - before;
      assert.ok(figures.hung_up_mb < LEFT_BEHIND_MB, `${figures.hung_up_mb} MB more than before`);
    }));

  test("a shard that says it is overloaded is asked once for each request; the origin and other shards see nothing of it", () =>
    through({ shards: 2, ledger: "faulty" }, async (worker, origin) => {
      const path = freshPath();
      const send = (key) => worker.send({ path, key });
      // Which shard a key lies in shows in what becomes of it.
      await worker.ledger("overload@shard-1");
      const keys = Array.from({ length: 100 }, freshKey);
      const answers = await Promise.all(keys.map(send));
      const { calls } = await worker.ledger("overload@shard-1");
      const refused = keys.filter((_, n) => answers[n].status === 503);
      for (const answer of answers) answer.status === 503 ? isProblem(answer, "store-unavailable") : isExecuted(answer);
      assert.ok(refused.length > 20 && refused.length < 80, `${refused.length} of 100 lie in that shard`);
      assert.equal(origin.count(path), 100 - refused.length);
      assert.equal(calls, refused.length + 2 * (100 - refused.length), "calls of the Ledger");
      for (const answer of await Promise.all(refused.map(send))) isProblem(answer, "store-unavailable");
      assert.equal((await worker.ledger("pass")).calls, refused.length);
      for (const answer of await Promise.all(refused.map(send))) isExecuted(answer);
      assert.equal(origin.count(path), 100);
    }));

  test("one key in very many scopes is still kept apart, replayed, and refused to a changed credential", () =>
    through({ shards: 1 }, async (worker, origin) => {
      const many = NIGHTLY ? 5_000 : 200;
      const path = freshPath();
      const key = freshKey();
      const send = (n, who = n) => worker.send({ path, key, body: `order ${n}`, headers: [["Authorization", `Bearer ${who}`]] });
      const each = async (act) => {
        let next = 0;
        const began = Date.now();
        await Promise.all(Array.from({ length: 16 }, async () => {
          while (next < many) await act(next++);
        }));
        return Math.round(((Date.now() - began) * 1000) / many);
      };
      const first = [];
      figures.scopes = many;
      figures.scopes_first_us = await each(async (n) => isExecuted((first[n] = await send(n))));
      figures.scopes_replay_us = await each(async (n) => isReplay(await send(n), first[n]));
      await each(async (n) => isProblem(await send(n, `another ${n}`), "credential-changed"));
      isExecuted(await send(many, "the next"));
      assert.equal(origin.count(path), many + 1);
    }));

  test("a sweep of very many rows lets requests through while it is at it, and they let it come to its end", () =>
    through({ shards: 1, routes: [{ ...post, name: "short", path: "/short", ttl: "1s" }, { ...post, name: "usual", path: "/{*rest}" }] }, async (worker, origin) => {
      const rows = NIGHTLY ? 500_000 : 200_000;
      isExecuted(await worker.send({ path: "/short", key: freshKey() }));
      await worker.kill();
      expireMany(worker, rows);
      await worker.restart();

      let done = false;
      let amid = 0;
      let slowest = 0;
      const path = freshPath();
      const latencies = [];
      // Never idle: eight ask all the time.
      const asking = Array.from({ length: 8 }, async () => {
        while (!done) {
          const began = performance.now();
          isExecuted(await worker.send({ path, key: freshKey() }));
          latencies.push(performance.now() - began);
        }
      });
      const began = Date.now();
      await until(async () => {
        const answered = latencies.length;
        const left = countExpired(worker);
        await until(() => latencies.length > answered, { every: 1 });
        if (left > 0 && left < rows && countExpired(worker) > 0) amid += latencies.length - answered;
        return left === 0;
      }, { ms: 90_000, every: 20, what: "all expired rows are gone" });
      done = true;
      await Promise.all(asking);
      slowest = Math.max(...latencies);
      assert.ok(amid > 0, "no request was answered while rows were being deleted");
      assert.equal(origin.count(path), latencies.length);
      Object.assign(figures, { swept: rows, swept_ms: Date.now() - began, amid, slowest_ms: Math.round(slowest) });
    }));
});

/** The database of the only shard, or a copy of it, opened. */
function database(worker, copied) {
  const from = path.join(worker.disk, "ledger");
  const to = copied ? path.join(worker.directory, "copy") : from;
  mkdirSync(to, { recursive: true });
  const names = readdirSync(from).filter((name) => /^[0-9a-f]{64}\.sqlite/.test(name));
  if (copied) for (const name of names) copyFileSync(path.join(from, name), path.join(to, name));
  return new DatabaseSync(path.join(to, names.find((name) => name.endsWith(".sqlite"))));
}

/** Gives the shard so many expired rows, each like the one that it has. */
function expireMany(worker, rows) {
  const db = database(worker);
  const columns = db.prepare("PRAGMA table_info(records)").all().map(({ name }) => name);
  const values = columns.map((name) => ({ key_id: "randomblob(32)", due: "1" })[name] ?? name);
  db.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
    INSERT INTO records (${columns}) SELECT ${values} FROM n, (SELECT * FROM records LIMIT 1)`);
  assert.equal(db.prepare("SELECT count(*) AS n FROM records WHERE due = 1").get().n, rows);
  db.close();
}

/** How many of them are left; nothing where the copy was made in the middle of a write. */
function countExpired(worker) {
  let db;
  try {
    db = database(worker, true);
    return db.prepare("SELECT count(*) AS n FROM records WHERE due = 1").get().n;
  } catch {
    return undefined;
  } finally {
    db?.close();
  }
}
