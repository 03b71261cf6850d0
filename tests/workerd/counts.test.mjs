// What a request costs, in counts that no slow machine changes: calls of Ledger objects, rows written and read, alarms,
// bytes copied across the boundary of Wasm. Of the deployed build, counted around it (counting.worker.mjs). They are the
// numbers that docs/cost.md is computed from.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { isExecuted, isJoined, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { alarmOf, onDisk } from "./disk.mjs";
import { freshKey, gate, stage, start, startOrigin, until } from "./harness.mjs";

const KiB = 1024;
const MiB = 1024 * KiB;

const post = { methods: ["POST"] };
const routes = [
  { ...post, name: "brief", path: "/brief/{*rest}", ttl: "1s" },
  { ...post, name: "buried", path: "/buried/{*rest}", ttl: "1s", tombstone: "6s" },
  { ...post, name: "watched", path: "/watched/{*rest}", mode: "shadow" },
  { ...post, name: "told", path: "/told/{*rest}", reply: { max: "1KiB" } },
  { ...post, name: "later", path: "/later/{*rest}", async: "allow", ttl: "1s" },
  { ...post, name: "usual", path: "/{*rest}" },
];

/** A Ledger of one shard, which has been called before unless it is `unused`, and what everything costs then. */
function counting({ unused = false } = {}) {
  const on = stage({ counting: true, shards: 1, routes });
  let paths = 0;
  /** What `work` costs, and what it resolves to. */
  on.cost = async (work) => {
    await on.worker.counts();
    const result = await work();
    return { ...summed(await on.worker.counts()), result };
  };
  /** One operation at the origin, which answers so. */
  on.operation = (answer, { prefix = "/v1", key = freshKey(), ...spec } = {}) => {
    const path = `${prefix}/${++paths}`;
    if (answer) on.origin.on(path, answer);
    return { path, send: (more) => on.worker.send({ path, key, ...spec, ...more }) };
  };
  /** The first call of a shard makes its tables. */
  on.warm = async () => isExecuted(await on.operation().send());
  if (!unused) before(on.warm);
  return on;
}

// The tables: of records and their bodies, of the statistics, and what a shard is set up with.
const KIND = { records: "records", body_chunks: "records", hours: "statistics", settings: "setup", audit: "setup", sqlite_schema: "setup" };

function summed({ rows, crossed, ...counts }) {
  const cost = { ...counts, copied: crossed.into + crossed.out, crossings: crossed.calls };
  for (const kind of ["records", "statistics", "setup"]) cost[kind] = { read: 0, written: 0 };
  for (const { query, read, written } of rows) {
    const [, table] = /\b(?:INTO|UPDATE|FROM|TABLE IF NOT EXISTS|ON) (\w+) ?/.exec(query) ?? [];
    const kind = query.startsWith("CREATE") ? "setup" : KIND[table];
    assert.ok(kind, `a statement about an unknown table: ${query}`);
    cost[kind].read += read;
    cost[kind].written += written;
  }
  return cost;
}

const bytes = (length) => ({ status: 201, headers: [["Content-Type", "application/octet-stream"]], body: Buffer.alloc(length, "r") });

/** Every figure as it was counted, printed at the end, and compared with the page about costs. */
const figures = { part: "counts" };
after(() => console.log(`figures: ${JSON.stringify(figures)}`));

// ---- calls of Ledger objects ----------------------------------------------------------------------------------------

describe("calls of a Ledger object", { timeout: 60_000 }, () => {
  const on = counting();

  test("first seen two, a claim and a settle; replayed one", async () => {
    const it = on.operation();
    const first = await on.cost(() => it.send());
    isExecuted(first.result);
    const again = await on.cost(() => it.send());
    isReplay(again.result, first.result);
    assert.deepEqual([first.requests, again.requests], [2, 1]);
    Object.assign(figures, { first_seen_calls: first.requests, replay_calls: again.requests });
  });
  test("joined one, however long it waits; two where it waits in vain", async () => {
    const { opened, open } = gate();
    const it = on.operation(async () => (await opened, { status: 201, body: "paid" }));
    const first = it.send();
    await on.origin.reached(it.path);
    const leaves = await on.cost(() => it.send({ headers: { Prefer: "wait=1" } }));
    isProblem(leaves.result, "in-flight");
    // Whoever has waited in vain asks once more: only a fresh call may be granted the key.
    assert.equal(leaves.requests, 2);
    const joins = it.send();
    let asked;
    await until(async () => (asked = (await on.worker.counts()).requests), { every: 10, what: "the duplicate waits" });
    const { requests: settled } = await on.cost(async () => (open(), isJoined(await joins, await first)));
    assert.deepEqual([asked, settled], [1, 1]);
    Object.assign(figures, { join_calls: asked, vain_join_calls: leaves.requests });
  });
  test("released and in doubt two, refused by the record one", async () => {
    for (const [answer, is] of [[{ status: 429 }, isReleased], [{ status: 504 }, isUnknown]]) {
      const { requests, result } = await on.cost(() => on.operation(answer).send());
      is(result, answer.status);
      assert.equal(requests, 2);
    }
    const it = on.operation();
    await it.send();
    const refused = await on.cost(() => it.send({ body: "another" }));
    isProblem(refused.result, "key-reused");
    assert.equal(refused.requests, 1);
    figures.refused_by_record_calls = refused.requests;
  });
  test("not guarded, or refused before the record is asked, none", async () => {
    const headers = (name, value) => ({ headers: { [name]: value } });
    for (const [spec, code] of [
      [{ key: undefined }],
      [{ method: "PUT", body: "{}" }],
      [{ method: "GET" }],
      [{ key: "two, keys" }, "key-invalid"],
      [headers("X-On-Conflict", "MAYBE"), "strategy-invalid"],
      [{ body: undefined, length: 8 * MiB + 1 }, "request-too-large"],
    ]) {
      const { requests, result } = await on.cost(() => on.operation().send(spec));
      if (code) isProblem(result, code);
      else assert.equal(result.get("Idempotency-Status"), null);
      assert.equal(requests, 0, JSON.stringify(spec));
    }
    figures.unguarded_calls = figures.refused_before_calls = 0;
  });
});

// ---- answers before the call is done ------------------------------------------------------------------------------

describe("an asynchronous call", { timeout: 60_000 }, () => {
  const on = counting();
  const headers = { Authorization: "Bearer a", "Content-Type": "application/json", Prefer: "respond-async" };

  test("three calls of objects, one of them of a Runner, which is kept no longer than the call lasts; a poll one, and no row", async () => {
    const { opened, open } = gate();
    const it = on.operation(async () => (await opened, { status: 201, body: "paid" }), { prefix: "/later", headers });
    const first = await on.cost(() => it.send());
    assert.equal(first.result.status, 202);
    await on.origin.reached(it.path);
    assert.deepEqual([first.requests, first.runners], [1, 1]);
    assert.equal((await on.worker.counts()).runnerTasks, 1);
    open();
    const path = new URL(first.result.get("Location")).pathname;
    const poll = () => on.worker.send({ method: "GET", path, headers });
    const total = { requests: 0, written: 0 };
    const settled = async () => {
      const { requests, records, runnerTasks } = summed(await on.worker.counts());
      total.requests += requests;
      total.written += records.written;
      return runnerTasks === 0;
    };
    await until(settled, { every: 20, what: "nothing keeps the Runner" });
    assert.equal(total.requests, 1);
    const polled = await on.cost(poll);
    isReplay(polled.result, polled.result);
    assert.deepEqual([polled.requests, polled.runners, polled.records.written], [1, 0, 0]);
    assert.ok(polled.records.read <= 2, `${polled.records.read} rows read`);
    figures.async_calls = first.requests + first.runners + total.requests;
    figures.async_rows = first.records.written + total.written;
    figures.poll_calls = polled.requests;
    assert.equal(figures.async_rows, 2);
  });
  test("what was released stays for a while: a row more than elsewhere", async () => {
    const released = await on.cost(() => on.operation({ status: 429 }, { prefix: "/later", headers: { ...headers, Prefer: "respond-async, wait=5" } }).send());
    isReleased(released.result, 429);
    // And one for the sweep.
    assert.equal(released.records.written, 2);
    figures.async_released_rows = released.records.written + 1;
  });
});

// ---- turns of the tasks' queue --------------------------------------------------------------------------------------

test("Rust's tasks are polled by the microtask line of host.js and by nothing else", { timeout: 60_000 }, async () => {
  const origin = await startOrigin();
  const worker = await start({ origin, counting: true, shards: 1 });
  try {
    const it = { path: "/v1/turns", key: freshKey() };
    isExecuted(await worker.send({ ...it, key: freshKey() }));
    await worker.counts();
    const executed = await worker.send(it);
    isExecuted(executed);
    const first = await worker.counts();
    isReplay(await worker.send(it), executed);
    const replay = await worker.counts();
    // Each wakes a task once at least: the event itself, its Ledger's answer; a first one has two, and the origin's.
    assert.ok(first.turns >= 5 && first.turns <= 30, `${first.turns} turns`);
    assert.ok(replay.turns >= 3 && replay.turns <= 15, `${replay.turns} turns`);
  } finally {
    await worker.stop();
    origin.close();
  }
});

// ---- rows -----------------------------------------------------------------------------------------------------------

describe("rows over a key's whole life", { concurrency: true, timeout: 120_000 }, () => {
  const KEYS = 20;

  /** Rows written for each of `KEYS` keys from the claim until no row is left of it. */
  function life(what, { prefix, answer, rows, chunks = 0 }) {
    describe(what, () => {
      const on = counting();
      test(`${rows} rows`, async () => {
            await on.worker.counts();
        for (let n = 0; n < KEYS; n++) isExecuted(await on.operation(answer, { prefix }).send());
        const total = { written: 0, deleted: 0, alarms: 0, alarmsSet: 0 };
        const swept = async () => {
          const counts = await on.worker.counts();
          const deletes = counts.rows.filter(({ query }) => /^DELETE FROM (records|body_chunks)\b/.test(query));
          total.deleted += deletes.reduce((sum, { written }) => sum + written, 0);
          total.written += summed(counts).records.written;
          total.alarms += counts.alarms;
          total.alarmsSet += counts.alarmsSet;
          return total.deleted >= (1 + chunks) * KEYS;
        };
        await until(swept, { ms: 90_000, every: 200, what: "every row is swept" });
        assert.equal(total.deleted, (1 + chunks) * KEYS);
        assert.equal(total.written, rows * KEYS);
        // Once before the first pass, and by each pass for the next, with a claim and a settle that come amid it.
        assert.ok(total.alarmsSet <= 1 + 3 * total.alarms, `${total.alarmsSet} times set, ${total.alarms} passes`);
        figures[`rows, ${what}`] = total.written / KEYS;
      });
    });
  }
  life("a small reply", { prefix: "/brief", rows: 3 });
  life("a small reply and a tombstone", { prefix: "/buried", rows: 4 });
  life("a reply of 1 MiB", { prefix: "/brief", answer: bytes(MiB), rows: 3 });
  life("a reply of 2 MiB, in chunks", { prefix: "/brief", answer: bytes(2 * MiB), rows: 3 + 2 * 2, chunks: 2 });
});

describe("rows of a request", { timeout: 60_000 }, () => {
  const on = counting();

  test("released: two, the claim and its end", async () => {
    const { records } = await on.cost(() => on.operation({ status: 429 }).send());
    assert.equal(records.written, 2);
    figures.released_rows = records.written;
  });
  test("up to 1 MiB a reply lies in its key's row; above, in a row for each MiB begun", async () => {
    for (const [length, chunks] of [[0, 0], [100 * KiB, 0], [MiB, 0], [MiB + 1, 2], [3 * MiB, 3], [3 * MiB + 1, 4]]) {
      const it = on.operation(bytes(length));
      const { records, result } = await on.cost(() => it.send());
      isExecuted(result);
      assert.equal(records.written, 2 + chunks, `${length} bytes`);
    }
    const above = on.operation(bytes(2 * KiB), { prefix: "/told" });
    const kept = await on.cost(() => above.send());
    assert.equal(kept.records.written, 2);
  });
  test("replays, joins and refusals write none; what a claim, a settle and a replay read", async () => {
    const it = on.operation();
    const first = await on.cost(() => it.send());
    const again = await on.cost(() => it.send());
    const refused = await on.cost(() => it.send({ body: "another" }));
    for (const { records } of [again, refused]) assert.equal(records.written, 0);
    // A claim looks one row beyond its key's own, to see that there is no other of it.
    assert.ok(first.records.read <= 4, `${first.records.read} rows read`);
    for (const { records } of [again, refused]) assert.ok(records.read <= 2, `${records.read} rows read`);
    Object.assign(figures, { first_seen_reads: first.records.read, replay_reads: again.records.read });
  });
  test("a route in shadow costs what it would cost in enforce", async () => {
    const it = on.operation(null, { prefix: "/watched" });
    for (const expected of [{ requests: 2, written: 2 }, { requests: 1, written: 0 }]) {
      await on.worker.counts();
      const since = on.worker.logs.length;
      await it.send();
      // The log's line comes before the settle.
      await until(() => on.worker.logs.slice(since).includes('"mode":"shadow"'), { every: 10, what: "the line of the log" });
      const cost = { requests: 0, written: 0 };
      await until(async () => {
        const { requests, records } = summed(await on.worker.counts());
        cost.requests += requests;
        cost.written += records.written;
        return cost.requests >= expected.requests && cost.written >= expected.written;
      }, { every: 50, what: "the Ledger knows of it" });
      assert.deepEqual(cost, expected);
    }
  });
  test("a large reply is read by its chunks", async () => {
    const it = on.operation(bytes(4 * MiB));
    const first = await it.send();
    const { records, result } = await on.cost(() => it.send());
    isReplay(result, first);
    // Its length is added up first: each piece twice.
    assert.ok(records.read <= 2 + 2 * 4, `${records.read} rows read`);
  });
});

describe("rows that no key is charged for", { timeout: 60_000 }, () => {
  const on = counting();
  const fresh = counting({ unused: true });

  test("a shard's first call makes its tables, once", async () => {
    const { setup, requests } = await fresh.cost(fresh.warm);
    assert.ok(setup.written <= 14, `${setup.written} rows written`);
    assert.equal(requests, 2);
    const second = await fresh.cost(fresh.warm);
    assert.equal(second.setup.written, 0);
    figures.shard_rows = setup.written;
  });
  test("one alarm for all: a hundred keys do not set it again", async () => {
    const { alarmsSet, statistics, records } = await on.cost(() => Promise.all(Array.from({ length: 100 }, () => on.operation().send())));
    assert.equal(records.written, 200);
    assert.equal(alarmsSet, 0);
    // A row for each shard and half a minute.
    assert.ok(statistics.written <= 1, `${statistics.written} rows of statistics`);
    figures.alarms_set_by_100_keys = alarmsSet;
  });
  test("one key in many scopes: from the 33rd on, two rows more for each", async () => {
    const key = freshKey();
    const written = [];
    for (let n = 1; n <= 36; n++) written.push((await on.cost(() => on.operation(null, { key }).send())).records.written);
    assert.deepEqual(written.slice(0, 32), Array(32).fill(2));
    // The 33rd brings those before it into the index.
    assert.ok(written[32] <= 2 + 1 + 2 * 32, `${written[32]} rows written`);
    assert.deepEqual(written.slice(33), [3, 3, 3]);
    const apart = await on.cost(() => on.operation().send());
    assert.equal(apart.records.written, 2);
    figures.crowd_begins_rows = written[32];
  });
});

describe("a pass of the sweep", { timeout: 60_000 }, () => {
  const on = counting();
  const [ROWS, LAST_S] = [5_000, 100_000];

  test("reads a row once, twice where one near it goes, and the next waits until one in a hundred has gone", async () => {
    await on.worker.kill();
    // That many more rows, which go one after the other within the day.
    onDisk(on.worker, (database) => {
      const columns = database.prepare("PRAGMA table_info(records)").all().map(({ name }) => name);
      const due = `${Date.now() + 3_000} + abs(random()) % ${LAST_S * 1_000}`;
      const values = columns.map((name) => ({ key_id: "randomblob(32)", due })[name] ?? name);
      database.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
        INSERT INTO records (${columns}) SELECT ${values} FROM (SELECT * FROM records LIMIT 1), n`);
    });
    await on.worker.restart();
    isExecuted(await on.operation(null, { prefix: "/brief" }).send());
    let read = 0;
    const over = async () => {
      const { records, alarmMs } = summed(await on.worker.counts());
      read += records.read;
      return alarmMs > 0;
    };
    await until(over, { ms: 20_000, what: "a whole pass" });
    // Ten batches and the end; one of them is read again to delete from.
    assert.ok(read > ROWS && read <= ROWS + 2 * 500 + 100, `${read} rows read`);
    const next = (alarmOf(on.worker) - Date.now()) / 1_000;
    const hundredth = LAST_S / 100;
    assert.ok(next > hundredth / 4 && next <= LAST_S / 25, `the next pass comes in ${next} s, one in a hundred has gone in ${hundredth} s`);
    figures.sweep_reads_per_row = Number((read / ROWS).toFixed(2));
  });
});

// ---- bytes across the boundary of Wasm ------------------------------------------------------------------------------

describe("bytes copied into Wasm and out of it", { timeout: 60_000 }, () => {
  const on = counting();
  // One more copy of a body would be a whole byte for each of its bytes. What is left is a few bytes for each chunk that
  // it comes in.
  const PER_BYTE_MAX = 0.05;

  /** What first, replay and unguarded copy, for request and reply of these lengths. */
  async function copies(request, reply) {
    const it = on.operation(bytes(reply), { body: Buffer.alloc(request, "q") });
    const first = await on.cost(() => it.send());
    isExecuted(first.result);
    const replay = await on.cost(() => it.send());
    isReplay(replay.result, first.result);
    assert.equal(replay.result.body.length, reply);
    const unguarded = await on.cost(() => it.send({ key: undefined }));
    assert.equal(unguarded.result.body.length, reply);
    return { first, replay, unguarded };
  }

  test("a small request: only heads", async () => {
    const { first, replay, unguarded } = await copies(20, 20);
    assert.ok(first.copied <= 4_500, `first seen: ${first.copied} bytes`);
    assert.ok(replay.copied <= 2_700, `replay: ${replay.copied} bytes`);
    assert.ok(unguarded.copied <= 200, `unguarded: ${unguarded.copied} bytes`);
    // Calls of JavaScript by Wasm: what a request spends its time with where nothing is copied.
    assert.ok(first.crossings <= 600, `first seen: ${first.crossings} calls`);
    assert.ok(replay.crossings <= 300, `replay: ${replay.crossings} calls`);
    assert.ok(unguarded.crossings <= 40, `unguarded: ${unguarded.crossings} calls`);
    for (const [name, { copied, crossings }] of Object.entries({ first, replay, unguarded })) {
      Object.assign(figures, { [`${name}_copied_bytes`]: copied, [`${name}_crossings`]: crossings });
    }
  });
  for (const [what, request, reply] of [["a reply of 1 MiB", 20, MiB], ["a reply of 4 MiB, in chunks", 20, 4 * MiB], ["a request of 1 MiB", MiB, 20]]) {
    test(`${what} is copied neither in nor out`, async () => {
      const [small, large] = [await copies(20, 20), await copies(request, reply)];
      for (const name of ["first", "replay"]) {
        const perByte = (large[name].copied - small[name].copied) / (request + reply);
        assert.ok(perByte <= PER_BYTE_MAX, `${name}: ${perByte} bytes copied for each byte`);
        figures[`${name}, ${what}`] = Number(perByte.toFixed(4));
      }
      // Streaming past, it is not even looked at.
      assert.ok(Math.abs(large.unguarded.copied - small.unguarded.copied) <= 16, `unguarded: ${large.unguarded.copied} bytes`);
    });
  }
  test("a request up to 2 KiB is copied once, to be hashed; above it is not", async () => {
    const [small, at, above] = [await copies(20, 20), await copies(2 * KiB, 20), await copies(2 * KiB + 1, 20)];
    for (const name of ["first", "replay"]) {
      assert.ok(at[name].copied - small[name].copied <= 2 * KiB + 64, `${name}: ${at[name].copied} bytes`);
      assert.ok(above[name].copied - small[name].copied <= 256, `${name}: ${above[name].copied} bytes`);
    }
  });
});

// ---- the page about costs -------------------------------------------------------------------------------------------

describe("docs/cost.md", () => {
  const page = readFileSync(path.join(import.meta.dirname, "../../docs/cost.md"), "utf8");
  const number = (text) => Number(text.replace(/[$,]| (bytes|million)/g, ""));
  /** The cells of a table's rows, by the first of each. */
  function table(heading) {
    const [, body] = page.split(`| ${heading} |`);
    const rows = body.split("\n\n")[0].split("\n").slice(2);
    return new Map(rows.map((row) => row.split("|").slice(1, -1).map((cell) => cell.trim())).map(([name, ...cells]) => [name, cells]));
  }
  const requests = () => new Map([...table("request")].map(([name, cells]) => {
    const [calls, written, read, cpuMs, objectMs, dollars] = cells.map(number);
    return [name.split(/[,:]/)[0], { calls, written, read, cpuMs, objectMs, dollars }];
  }));
  const [included, price] = [{}, {}];
  for (const [name, [quota, per]] of table("meter")) {
    const [meter] = name.split(/[,(]/);
    included[meter.trim()] = number(quota.split(" ")[0]) * (quota.includes("M") ? 1e6 : 1);
    price[meter.trim()] = number(per.split(" ")[0]) / (per.includes("/ M") ? 1e6 : 1);
  }
  /** What so many of one kind are metered for. */
  const metered = (times, { calls, written, read, cpuMs, objectMs }) => ({
    "Worker requests": times, "Worker CPU": times * cpuMs, "object requests": times * calls,
    "object duration": (times * objectMs * 0.128) / 1_000, "rows read": times * read, "rows written": times * written,
  });
  const near = (told, is, what) => assert.ok(Math.abs(told - is) <= 0.005 + is * 0.005, `${what}: ${told} is told, ${is} computed`);

  test("its counts are those that were counted here", () => {
    const told = requests();
    const first = told.get("first seen");
    assert.deepEqual([first.calls, first.written], [figures.first_seen_calls, figures["rows, a small reply"]]);
    assert.equal(told.get("the same with a tombstone").written, figures["rows, a small reply and a tombstone"]);
    assert.equal(told.get("released").written, figures.released_rows);
    const later = told.get("asynchronous");
    assert.deepEqual([later.calls, later.written], [figures.async_calls, figures.async_rows + 1]);
    assert.equal(later.objectMs, 10_000 + first.objectMs + 5);
    assert.equal(told.get("released on a route that answers asynchronously").written, figures.async_released_rows);
    assert.deepEqual([told.get("a poll of a status address").calls, told.get("a poll of a status address").written], [figures.poll_calls, 0]);
    assert.deepEqual([told.get("replayed").calls, told.get("joined").calls, told.get("joined in vain").calls], [figures.replay_calls, figures.join_calls, figures.vain_join_calls]);
    assert.equal(told.get("refused by the record").calls, figures.refused_by_record_calls);
    assert.equal(told.get("refused before it").calls, figures.unguarded_calls);
    assert.equal(figures["rows, a reply of 2 MiB, in chunks"], first.written + 2 * 2);
    assert.ok(figures.replay_reads <= told.get("replayed").read && figures.first_seen_reads <= first.read);
    assert.match(page, new RegExp(`a shard's tables, ${figures.shard_rows} rows, once`));
    assert.match(page, new RegExp(`the 33rd writes ${figures.crowd_begins_rows - 2} rows more`));
  });
  test("its sums are those of its counts and prices, and a million new keys cost four dollars at most", () => {
    for (const [name, counts] of requests()) {
      const sum = Object.entries(metered(1e6, counts)).reduce((sum, [meter, times]) => sum + times * price[meter], 0);
      near(counts.dollars, sum, name);
    }
    assert.ok(requests().get("first seen").dollars <= 4);
  });
  test("its months are what is left to pay of those counts", () => {
    const onDisk = number(table("reply's body").get("60 bytes")[0]);
    for (const [name, [dollars, rows]] of table("new keys a month")) {
      const keys = number(name) * 1e6;
      const all = { ...metered(keys, requests().get("first seen")), "SQLite storage": (keys / 30) * (onDisk / 1e9) };
      const paid = Object.fromEntries(Object.entries(all).map(([meter, times]) => [meter, Math.max(0, times - included[meter]) * price[meter]]));
      near(number(dollars), 5 + Object.values(paid).reduce((sum, one) => sum + one), name);
      near(number(rows), paid["rows written"], name);
    }
  });
  test("its shards are what 10 GB hold", () => {
    for (const [name, cells] of table("reply's body")) {
      const [bytes, day, month, shards, dollars] = cells.map(number);
      const rate = 1e10 / 86_400 / bytes;
      near(day, rate, name);
      near(month, rate / 30, name);
      assert.equal(shards, Math.ceil(100 / rate), name);
      near(dollars, Math.max(0, (100 * 86_400 * bytes) / 1e9 - included["SQLite storage"]) * price["SQLite storage"], name);
    }
  });
});
