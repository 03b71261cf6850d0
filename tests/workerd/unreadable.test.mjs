// Contract 1.12: unreadable is an error for that key, never "absent". Rows are broken on the disk while the runtime
// is down, in every way that a half-written file, another version or a wrong hand could; then it starts again.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { keyHalf, onDisk, rowsOf } from "./disk.mjs";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, start, startOrigin, until } from "./harness.mjs";

const MiB = 1024 * 1024;
const routes = [
  { name: "brief", methods: ["POST"], path: "/brief/{*rest}", ttl: "1s" },
  { name: "grave", methods: ["POST"], path: "/grave/{*rest}", ttl: "1s", tombstone: "1h" },
  { name: "again", methods: ["POST"], path: "/again/{*rest}", on_duplicate: "fail_on_running" },
  { name: "retry", methods: ["POST"], path: "/retry/{*rest}", on_in_doubt: "retry" },
  { name: "usual", methods: ["POST"], path: "/{*rest}" },
];
const ALICE = { Authorization: "Bearer alice" };
const BOB = { Authorization: "Bearer bob" };

/** One shard, so that everything here lies in one database. */
async function through(check) {
  const origin = await startOrigin();
  const worker = await start({ origin, routes, shards: 1 });
  const on = { worker, origin, operation };
  function operation(prefix = "/v1", { headers, ...answer } = {}) {
    const it = { path: freshPath(prefix), key: freshKey(), ...(headers && { headers }) };
    if (Object.keys(answer).length) origin.on(it.path, answer);
    return { ...it, count: () => origin.count(it.path), send: (spec = {}) => worker.send({ ...it, ...spec }) };
  }
  /** Changes the rows of `it` while the runtime is down, and starts it again. */
  on.breakRows = async (...changes) => {
    await worker.kill();
    onDisk(worker, (database) => {
      for (const [it, set, ...values] of changes) {
        const { changes: rows } = database.prepare(`UPDATE records SET ${set} WHERE substr(key_id, 1, 16) = ?`).run(...values, keyHalf(it.key));
        assert.equal(Number(rows), 1, `one row of ${it.path}`);
      }
    });
    await worker.restart();
  };
  try {
    await check(on);
  } finally {
    await worker.stop();
    origin.close();
  }
}

const recordOf = (worker, it) => Buffer.from(rowsOf(worker).find(({ table, row }) => table === "records" && keyHalf(it.key).equals(Buffer.from(row.key_id).subarray(0, 16))).row.record);

/** Every way to ask for the key is refused, nothing is forwarded, and the log says which and why, but not the key. */
async function isRefused(on, it) {
  const before = it.count();
  const headers = { "X-Correlation-Id": `c-${freshKey()}` };
  const since = on.worker.logs.length;
  for (const more of [headers, { ...headers, "X-On-Conflict": "FAIL" }]) {
    const answer = await it.send({ headers: { "Content-Type": "application/json", ...it.headers, ...more }, body: '{"amount":10}' });
    isProblem(answer, "store-unavailable");
  }
  assert.equal(it.count(), before, "it was forwarded");
  await on.worker.logged(new RegExp(`${headers["X-Correlation-Id"]}: store-unavailable: a stored record is unreadable`));
  const said = on.worker.logs.slice(since);
  for (const secret of [it.key, "alice", "bob"]) assert.equal(said.includes(secret), false, `the log holds ${secret}`);
}

const cut = (at) => (rec) => rec.subarray(0, at < 0 ? rec.length + at : at);
const change = (at, byte) => (rec) => {
  const changed = Buffer.from(rec);
  changed[at] = byte;
  return changed;
};
const BROKEN = {
  "cut to nothing": cut(0),
  "cut to its version": cut(1),
  "cut in the middle": cut(60),
  "cut by one byte": cut(-1),
  "with a byte after its end": (rec) => Buffer.concat([rec, Buffer.of(0)]),
  "of version 0": change(0, 0),
  "of the version to come": change(0, 2),
  "of version 255": change(0, 255),
  "of random bytes": (rec) => Buffer.concat([Buffer.of(1), randomBytes(rec.length - 1)]),
  "of zeroes": (rec) => Buffer.alloc(rec.length),
  "with a hostile length": (rec) => Buffer.concat([rec.subarray(0, 49), Buffer.from("ffffffff", "hex"), rec.subarray(53)]),
  "that is text": (rec) => rec.toString("latin1"),
  "that is a number": () => 1_000_000_000,
  "that is a number beyond all memory": () => 1e15,
};

describe("an unreadable row", { concurrency: 2, timeout: 120_000 }, () => {
  test("is an error for its key, whatever is wrong with it, and other keys of the shard are served", () =>
    through(async (on) => {
      const broken = Object.entries(BROKEN).map(([what, how], n) => ({ what, how, it: on.operation(["/v1", "/again", "/retry"][n % 3]) }));
      const sound = [on.operation(), on.operation("/v1", { body: randomBytes(2 * MiB) })];
      const firsts = [];
      for (const { it } of broken) isExecuted(await it.send());
      for (const it of sound) firsts.push(await it.send());
      await on.breakRows(...broken.map(({ it, how }) => [it, "record = ?", how(recordOf(on.worker, it))]));
      for (const { what, it } of broken) {
        await isRefused(on, it).catch((error) => assert.fail(`a row ${what}: ${error.message}`));
        isProblem(await it.send({ body: "another request" }), "store-unavailable");
        assert.equal(it.count(), 1);
      }
      for (const [n, it] of sound.entries()) isReplay(await it.send(), firsts[n]);
      const fresh = on.operation();
      isExecuted(await fresh.send());
      // Nothing was taken out or put right by asking.
      const rows = rowsOf(on.worker).filter(({ table }) => table === "records");
      assert.equal(rows.length, broken.length + sound.length + 1);
    }));
  for (const [state, answer] of Object.entries({ "in doubt": { status: 504 }, "whose doubt would be retried": { status: 504, prefix: "/retry" } })) {
    test(`of a key ${state} is not run again`, () =>
      through(async (on) => {
        const { prefix, ...said } = answer;
        const it = on.operation(prefix, said);
        isUnknown(await it.send(), 504);
        await on.breakRows([it, "record = ?", cut(-1)(recordOf(on.worker, it))]);
        await isRefused(on, it);
      }));
  }
  test("that was a running claim is not run again", () =>
    through(async (on) => {
      const it = on.operation();
      on.origin.on(it.path, () => new Promise(() => {}));
      const lost = it.send().catch(() => null);
      await on.origin.reached(it.path, 1);
      await on.worker.kill();
      await lost;
      await on.worker.restart();
      await on.breakRows([it, "record = ?", change(0, 2)(recordOf(on.worker, it))]);
      await isRefused(on, it);
    }));
  test("of another caller stands in the way of a first execution, and of nothing that is known", () =>
    through(async (on) => {
      const alice = on.operation("/v1", { headers: ALICE });
      const bob = { ...alice, headers: BOB, send: (spec) => alice.send({ headers: BOB, ...spec }) };
      isExecuted(await alice.send());
      await on.breakRows([alice, "record = ?", Buffer.of(1)]);
      // It may be the same operation under another credential.
      await isRefused(on, bob);
      assert.equal(alice.count(), 1);
      const route = routes.map((route) => ({ ...route, credential_change: "forward" }));
      await on.worker.restart({ routes: route });
      const first = await bob.send();
      isExecuted(first);
      await on.worker.restart({ routes });
      isReplay(await bob.send(), first);
      await isRefused(on, alice);
      assert.equal(alice.count(), 2);
    }));
});

describe("a stored body", { concurrency: 2, timeout: 120_000 }, () => {
  const large = randomBytes(3 * MiB - 5);
  const other = randomBytes(2 * MiB);
  const CHUNKS = {
    "whose first chunk is missing": "DELETE FROM body_chunks WHERE id = (SELECT min(id) FROM body_chunks)",
    "whose last chunk is short": "UPDATE body_chunks SET bytes = substr(bytes, 1, length(bytes) - 1) WHERE id = 3",
    "whose chunk is too long": "UPDATE body_chunks SET bytes = bytes || x'00' WHERE id = 2",
    "whose chunk is a number": "UPDATE body_chunks SET bytes = 1000000000000000 WHERE id = 2",
    "whose chunks are all gone": "DELETE FROM body_chunks WHERE id <= 3",
    "that is said to lie in more chunks": "UPDATE records SET chunks = 5 WHERE chunks = 3",
    "that is said to lie in chunks without end": "UPDATE records SET chunks = 9000000000000000 WHERE chunks = 3",
    "that is said to lie in the row": "UPDATE records SET chunks = 0, first_chunk = 0 WHERE chunks = 3",
    "that is said to lie elsewhere": "UPDATE records SET first_chunk = 77 WHERE chunks = 3",
    "whose columns are text": "UPDATE records SET first_chunk = 'a', chunks = 'b' WHERE chunks = 3",
  };
  for (const [what, statement] of Object.entries(CHUNKS)) {
    test(`${what} is an error for its key and harms no other`, () =>
      through(async (on) => {
        const it = on.operation("/v1", { body: large });
        const sound = on.operation("/v1", { body: other });
        isExecuted(await it.send(), 200);
        const first = await sound.send();
        await on.worker.kill();
        onDisk(on.worker, (database) => assert.notEqual(Number(database.prepare(statement).run().changes), 0));
        await on.worker.restart();
        const response = await it.send();
        isProblem(response, "store-unavailable");
        assert.equal(it.count(), 1);
        await on.worker.logged(/store-unavailable: a stored (body is not as long as its record says|record is unreadable: chunks)/);
        assert.equal(on.worker.logs.includes(it.key), false);
        isReplay(await sound.send(), first);
      }));
  }
  test("that is said to lie in more chunks takes none of another key's when its key would run again", () =>
    through(async (on) => {
      const it = on.operation("/again", { body: large });
      const sound = on.operation("/v1", { body: other });
      isExecuted(await it.send(), 200);
      const first = await sound.send();
      await on.breakRows([it, "chunks = 5"]);
      await isRefused(on, it);
      isReplay(await sound.send(), first);
    }));
  for (const [what, set] of Object.entries({ short: "body = substr(body, 2)", missing: "body = NULL", text: "body = 'text'", "of another key": "chunks = 1, first_chunk = 1" })) {
    test(`in its row that is ${what} is an error for its key`, () =>
      through(async (on) => {
        const it = on.operation("/v1", { status: 201, body: "four" });
        isExecuted(await it.send());
        await on.breakRows([it, set]);
        isProblem(await it.send(), "store-unavailable");
        assert.equal(it.count(), 1);
      }));
  }
});

describe("the sweep", { timeout: 120_000 }, () => {
  test("goes on past rows that are unreadable, and takes none of them before its time", () =>
    through(async (on) => {
      const brief = () => on.operation("/brief");
      const kept = { long: on.operation(), grave: on.operation("/grave") };
      const swept = [brief(), brief(), brief()];
      for (const it of [...Object.values(kept), ...swept]) isExecuted(await it.send());
      // Unreadable are one row to keep for a day, one whose tombstone is due, and one that is due itself.
      await on.breakRows([kept.long, "record = ?", Buffer.of(1)], [kept.grave, "record = ?", Buffer.of(2)], [swept[0], "record = ?", Buffer.of(1)]);
      const rows = () => rowsOf(on.worker).filter(({ table }) => table === "records").map(({ row }) => Buffer.from(row.key_id).toString("hex", 0, 16)).sort();
      // Another row that is due brings the next sweep.
      isExecuted(await brief().send());
      const expected = Object.values(kept).map((it) => keyHalf(it.key).toString("hex")).sort();
      await until(() => rows().length === 2, { ms: 60_000, every: 500, what: "all rows that are due are swept" });
      assert.deepEqual(rows(), expected);
      for (const it of Object.values(kept)) await isRefused(on, it);
      // Past its ttl nothing is known of the key any more, readable or not.
      isExecuted(await swept[0].send());
    }));
  test("takes no chunks of another key where a row's numbers are wrong", () =>
    through(async (on) => {
      const large = { status: 201, body: randomBytes(2 * MiB) };
      const wrong = on.operation("/brief", large);
      const sound = on.operation("/v1", large);
      isExecuted(await wrong.send());
      const first = await sound.send();
      // Its two chunks and the two after them, which are the other key's.
      await on.breakRows([wrong, "chunks = 4"]);
      const chunks = () => rowsOf(on.worker).filter(({ table }) => table === "body_chunks").length;
      assert.equal(chunks(), 4);
      // Another row that is due brings the sweep.
      isExecuted(await on.operation("/brief").send());
      await until(() => chunks() < 4, { ms: 60_000, every: 500, what: "the row with wrong numbers is swept" });
      assert.equal(chunks(), 2);
      isReplay(await sound.send(), first);
    }));
});

test("a database of before the first release is refused, and not taken for an empty one", () =>
  through(async (on) => {
    const it = on.operation();
    isExecuted(await it.send());
    await on.worker.kill();
    onDisk(on.worker, (database) => database.exec("CREATE TABLE r (k BLOB PRIMARY KEY, rec BLOB)"));
    await on.worker.restart();
    isProblem(await it.send(), "store-unavailable");
    isProblem(await on.operation().send(), "store-unavailable");
    await on.worker.logged(/written before the first release/);
    assert.equal(it.count(), 1);
  }));
