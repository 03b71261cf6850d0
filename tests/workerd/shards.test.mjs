// Contract 1.11: SHARDS is part of the stored data. Under another number known keys would look new and be executed
// again, so the Ledger remembers it and refuses.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, start, startOrigin } from "./harness.mjs";

const path = "/v1/payments";

describe("SHARDS", { concurrency: true, timeout: 60_000 }, () => {
  /** An Oncegate on a disk of its own, with `known` keys that are completed and one in doubt. */
  async function on(shards, known, check) {
    const origin = await startOrigin();
    const worker = await start({ origin, shards });
    try {
      const specs = Array.from({ length: known }, () => ({ path, key: freshKey() }));
      const firsts = await Promise.all(specs.map((spec) => worker.send(spec)));
      firsts.forEach((first) => isExecuted(first));
      const doubt = { path: "/v1/doubt", key: freshKey() };
      origin.on(doubt.path, { status: 504 });
      isUnknown(await worker.send(doubt), 504);
      const unchanged = async () => {
        for (const [n, spec] of specs.entries()) isReplay(await worker.send(spec), firsts[n]);
        isProblem(await worker.send(doubt), "outcome-unknown");
        assert.deepEqual([origin.count(path), origin.count(doubt.path)], [known, 1]);
      };
      await unchanged();
      await check({ worker, origin, specs: [...specs, doubt], unchanged });
    } finally {
      await worker.stop();
      origin.close();
    }
  }
  /** Every keyed request is refused and nothing is forwarded. */
  async function refuses(worker, origin, specs) {
    const before = origin.all().length;
    const fresh = Array.from({ length: 15 }, () => ({ path, key: freshKey() }));
    for (const spec of [...specs, ...fresh]) {
      isProblem(await worker.send(spec), "store-unavailable");
      isProblem(await worker.send({ ...spec, body: "another" }), "store-unavailable");
    }
    assert.equal(origin.all().length, before);
  }

  for (const [first, others] of [[4, [8, 5, 3, 2, 1, 1024]], [1, [2, 16]], [16, [15, 17]]]) {
    test(`first used with ${first}: every other number refuses every keyed request, and set back all is as it was`, () =>
      on(first, 12, async ({ worker, origin, specs, unchanged }) => {
        for (const shards of others) {
          const before = worker.logs.length;
          await worker.restart({ shards });
          await refuses(worker, origin, specs);
          const said = worker.logs.slice(before);
          assert.match(said, new RegExp(`SHARDS = ${first}\\b`), "the log names the number to set back");
          assert.match(said, /set it back/);
          for (const { key } of specs) assert.equal(said.includes(key), false);
        }
        await worker.restart({ shards: first });
        await unchanged();
        const fresh = { path: "/v1/after", key: freshKey() };
        const executed = await worker.send(fresh);
        isExecuted(executed);
        isReplay(await worker.send(fresh), executed);
      }));
  }
  test("under another number what is not guarded passes", () =>
    on(4, 3, async ({ worker, origin }) => {
      await worker.restart({ shards: 8 });
      for (let n = 1; n <= 2; n++) {
        assert.equal((await worker.send({ path })).status, 201);
        assert.equal((await worker.send({ method: "GET", path, key: freshKey() })).status, 201);
        assert.equal((await worker.send({ method: "PUT", path, key: freshKey() })).status, 201);
      }
      assert.equal(origin.count(path), 3 + 6);
    }));
  test("a request that is refused is not remembered: set back, its key is executed once", () =>
    on(4, 3, async ({ worker, origin }) => {
      const spec = { path: "/v1/later", key: freshKey() };
      await worker.restart({ shards: 6 });
      for (let n = 0; n < 3; n++) isProblem(await worker.send(spec), "store-unavailable");
      await worker.restart({ shards: 4 });
      const first = await worker.send(spec);
      isExecuted(first);
      isReplay(await worker.send(spec), first);
      assert.equal(origin.count(spec.path), 1);
    }));
  test("one key is enough to be remembered by, in whichever shard it lies", async () => {
    for (let n = 0; n < 6; n++) {
      await on(5, n === 0 ? 0 : 1, async ({ worker, origin, specs }) => {
        await worker.restart({ shards: 7 });
        await refuses(worker, origin, specs);
      });
    }
  });
  test("a release, which leaves no record, leaves the number too", async () => {
    const origin = await startOrigin();
    const worker = await start({ origin, shards: 4 });
    try {
      origin.on(path, { status: 429 });
      await worker.send({ path, key: freshKey() });
      await worker.restart({ shards: 8 });
      await refuses(worker, origin, []);
    } finally {
      await worker.stop();
      origin.close();
    }
  });
  test("the number may be a text, and without one it is 16", async () => {
    await on("4", 4, async ({ worker, origin, specs, unchanged }) => {
      await worker.restart({ shards: 4 });
      await unchanged();
      for (const shards of [null, "16", 16]) {
        await worker.restart({ shards });
        await refuses(worker, origin, specs);
      }
    });
    await on(null, 4, async ({ worker, unchanged }) => {
      await worker.restart({ shards: 16 });
      await unchanged();
    });
  });
});
