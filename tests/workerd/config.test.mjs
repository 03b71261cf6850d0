// Contract 1.10 and 1.11: configuration that does not parse refuses what it was to guard, and says why; and what
// the knobs of ROUTES do that no other file needs.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, through } from "./harness.mjs";

const route = (more) => ({ name: "payments", methods: ["POST"], path: "/v1/payments", ...more });

describe("configuration that does not parse", { concurrency: 4, timeout: 60_000 }, () => {
  // tests/host/policy/ has every value that a knob does not take.
  for (const [what, options, named] of [
    ["an unknown knob", { routes: [route({ time_out: "5s" })] }, /time_out/],
    ["one wrong route of two", { routes: [route({}), route({ name: "other", path: "/other", ttl: "x" })] }, /ttl/],
    ["ROUTES that are not a list", { routes: { name: "payments" } }, /ROUTES/],
    ["half a shard", { shards: 1.5 }, /SHARDS/],
    ["an unknown place", { vars: { LOCATION_HINT: "moon" } }, /LOCATION_HINT/],
    ["a text that is nearly named as a var", { vars: { SHARD: "8" } }, /SHARD: .*SHARDS/],
    ["a table that is nearly named as a var", { vars: { ROUTE: route({}) } }, /ROUTE: .*ROUTES/],
    ["a binding in the place of ROUTES", { bound: ["ROUTES"] }, /ROUTES: .*list of tables/],
  ]) {
    test(`${what}: POST is refused as misconfigured, safe methods pass, and the log names the knob`, () =>
      through(options, async (worker, origin) => {
        for (const key of [freshKey(), undefined]) isProblem(await worker.send({ path: "/v1/payments", key }), "misconfigured");
        assert.equal(origin.all().length, 0);
        for (const method of ["GET", "HEAD", "OPTIONS"]) assert.equal((await worker.send({ method, path: "/v1/payments" })).status, 201);
        assert.equal(origin.all().length, 3);
        assert.match(worker.logs, named);
      }));
  }
  for (const bad of ["origin.example", "https://user:hunter2@bad host/"]) {
    test(`ORIGIN = ${bad.replace(/user.*@/, "…@")}: nothing can be forwarded, and the log names ORIGIN and shows no secret`, () =>
      through({ origin: bad }, async (worker) => {
        isProblem(await worker.send({ path: "/v1/payments", key: freshKey() }), "misconfigured");
        assert.ok((await worker.send({ method: "GET", path: "/v1/payments" })).status >= 500);
        assert.match(worker.logs, /ORIGIN/);
        assert.doesNotMatch(worker.logs, /hunter2/);
      }));
  }
  test("bindings may have any name, and vars any that is not nearly one of ours", () =>
    through({ bound: ["SHARED", "ROUTER", "ROUTES_KV", "ORIGINS"], vars: { GREETING: "hi", DATABASE_URL: "x" } }, async (worker, origin) => {
      isExecuted(await worker.send({ path: "/v1/payments", key: freshKey() }));
      assert.equal(origin.all().length, 1);
      assert.doesNotMatch(worker.logs, /misconfigured/);
    }));
});

describe("ROUTES", { concurrency: 4, timeout: 60_000 }, () => {
  test("the most specific path wins, in the spelling in which it is forwarded, for the methods that its route names", () =>
    through({
      // The first match must not win by its place, so the general one comes first.
      routes: [
        { name: "rest", methods: ["POST"], path: "/v1/{*rest}" },
        { name: "one", methods: ["POST", "DELETE"], path: "/v1/payments/{id}/charge", on_duplicate: "fail" },
      ],
    }, async (worker) => {
      const guardedBy = async (path, method = "POST") => {
        const it = { path, method, key: freshKey() };
        await worker.send(it);
        const second = await worker.send(it);
        if (second.status === 409) return "one";
        return second.get("Idempotency-Status") === "replayed" ? "rest" : "nothing";
      };
      for (const [path, name, method] of [
        ["/v1/payments/7/charge", "one"], ["/v1/p%61yments/7/charge", "one"], ["/v1/payments/7/charge", "one", "DELETE"],
        ["/v1/payments/7", "rest"], ["/v1/payments/7", "nothing", "DELETE"], ["/v2/payments/7/charge", "nothing"],
      ]) {
        assert.equal(await guardedBy(path, method), name, `${method ?? "POST"} ${path}`);
      }
    }));
  test("without ROUTES every POST and PATCH with a key is guarded, on one shard in a named place too", () =>
    through({ shards: 1, vars: { LOCATION_HINT: "weur" } }, async (worker, origin) => {
      for (const method of ["POST", "PATCH"]) {
        const it = { path: freshPath(), key: freshKey(), method };
        const first = await worker.send(it);
        isExecuted(first);
        isReplay(await worker.send(it), first);
        assert.equal((await worker.send({ ...it, key: undefined })).get("Idempotency-Status"), null);
        assert.equal(origin.count(it.path), 2);
      }
      assert.equal((await worker.send({ path: freshPath(), key: freshKey(), method: "PUT" })).get("Idempotency-Status"), null);
    }));
  test("a jurisdiction is ignored where the runtime has none, and the log says so once", () =>
    through({ shards: 2, vars: { JURISDICTION: "eu" } }, async (worker) => {
      for (let n = 0; n < 4; n++) isExecuted(await worker.send({ path: freshPath(), key: freshKey() }));
      assert.equal(worker.logs.match(/JURISDICTION is ignored/g).length, 1);
    }));
  test("a route that is switched off and on again, or configured anew, still knows its keys and keeps its replies", () =>
    through({ routes: [route({ ttl: "7d" })] }, async (worker) => {
      const it = { path: "/v1/payments", key: freshKey() };
      const first = await worker.send(it);
      await worker.restart({ routes: [route({ mode: "off" })] });
      assert.equal((await worker.send(it)).get("Idempotency-Status"), null);
      await worker.restart({ routes: [route({ name: "renamed", ttl: "1s", timeout: "5s", outcome: { preset: "strict" }, forward_key: "none" })] });
      const again = await worker.send(it);
      isReplay(again, first);
      assert.equal(again.get("Idempotency-Expires"), first.get("Idempotency-Expires"));
      await worker.restart({ routes: [route({ fingerprint: { body: "json" } })] });
      isProblem(await worker.send(it), "key-reused");
    }));
});

test("another number of SHARDS on the same data is refused: known keys would look new", { timeout: 60_000 }, () =>
  through({ shards: 4 }, async (worker, origin) => {
    const specs = Array.from({ length: 12 }, () => ({ path: "/v1/payments", key: freshKey() }));
    const firsts = [];
    for (const spec of specs) firsts.push(await worker.send(spec));
    firsts.forEach((first) => isExecuted(first));
    for (const shards of [8, 3]) {
      await worker.restart({ shards });
      for (const spec of [...specs, { path: "/v1/payments", key: freshKey() }]) isProblem(await worker.send(spec), "store-unavailable");
      assert.match(worker.logs, /SHARDS/);
    }
    await worker.restart({ shards: 4 });
    for (const [n, spec] of specs.entries()) isReplay(await worker.send(spec), firsts[n]);
    assert.equal(origin.count("/v1/payments"), 12);
  }));
