// Contract 1.10 and 1.11: configuration that does not parse refuses what it was to guard, and says why; and what
// the knobs of ROUTES do that no other file needs.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, stage, start, startOrigin } from "./harness.mjs";

const route = (more) => ({ name: "payments", methods: ["POST"], path: "/v1/payments", ...more });

/** Starts Oncegate with `options` in front of an origin of its own. */
async function through(options, check) {
  const origin = await startOrigin();
  const worker = await start({ origin, ...options });
  try {
    await check(worker, origin);
  } finally {
    await worker.stop();
    origin.close();
  }
}

describe("configuration that does not parse", { concurrency: 4, timeout: 60_000 }, () => {
  // What is wrong, the options that have it, and what the log must name.
  const wrong = [
    ["an unknown knob", { routes: [route({ time_out: "5s" })] }, /time_out/],
    ["an unknown knob in a table", { routes: [route({ key: { require: true } })] }, /require/],
    ["a knob of another type", { routes: [route({ wait: 10 })] }, /wait/],
    ["a duration without a unit", { routes: [route({ ttl: "24" })] }, /ttl/],
    ["a duration in words", { routes: [route({ timeout: "one minute" })] }, /timeout/],
    ["a negative duration", { routes: [route({ wait: "-1s" })] }, /wait/],
    ["a size in an unknown unit", { routes: [route({ reply: { max: "8QB" } })] }, /reply[^]*max/],
    ["an unknown strategy", { routes: [route({ on_duplicate: "sometimes" })] }, /on_duplicate/],
    ["an unknown strategy for clients", { routes: [route({ client_strategies: ["fail", "never"] })] }, /client_strategies/],
    ["a path that is none", { routes: [route({ path: "v1/payments" })] }, /path/],
    ["a path with an open brace", { routes: [route({ path: "/v1/{id" })] }, /path/],
    ["a path with its rest in the middle", { routes: [route({ path: "/v1/{*rest}/x" })] }, /path/],
    ["two routes for the same requests", { routes: [route({ name: "one" }), route({ name: "two" })] }, /one|two|path/],
    ["ROUTES that are no list", { routes: { name: "payments" } }, /ROUTES/],
    ["a route that is no table", { routes: ["/v1/payments"] }, /ROUTES/],
    ["no shards", { shards: 0 }, /SHARDS/],
    ["too many shards", { shards: 1025 }, /SHARDS/],
    ["half a shard", { shards: 1.5 }, /SHARDS/],
    ["shards in words", { shards: "sixteen" }, /SHARDS/],
    ["an unknown place", { vars: { LOCATION_HINT: "moon" } }, /LOCATION_HINT/],
    ["a parameter inside a segment", { routes: [route({ path: "/v1/img-{n}.png" })] }, /path.*whole segment/],
    ["a text that is nearly named as a var", { vars: { SHARD: "8" } }, /SHARD: .*SHARDS/],
    ["tables that are nearly named as a var", { vars: { ROUTE: [route({})] } }, /ROUTE: .*ROUTES/],
    ["a table that is nearly named as a var", { vars: { ROUTE: route({}) } }, /ROUTE: .*ROUTES/],
    ["a binding in the place of ROUTES", { bound: ["ROUTES"] }, /ROUTES: .*list of tables/],
  ];
  for (const [what, options, named] of wrong) {
    test(`${what}: POST is refused as misconfigured, GET passes, the log names the knob`, () =>
      through(options, async (worker, origin) => {
        for (const key of [freshKey(), undefined]) isProblem(await worker.send({ path: "/v1/payments", key }), "misconfigured");
        assert.equal(origin.all().length, 0);
        for (const method of ["GET", "HEAD", "OPTIONS"]) assert.equal((await worker.send({ method, path: "/v1/payments" })).status, 201);
        assert.equal(origin.all().length, 3);
        assert.match(worker.logs, named);
      }));
  }
  for (const bad of ["origin.example", "ftp://origin.example", "http://", "not a url", "https://user:hunter2@bad host/"]) {
    test(`ORIGIN = ${bad.replace(/user.*@/, "…@")}: nothing can be forwarded, the log names ORIGIN and shows no secret`, () =>
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
  test("what is wrong in one route refuses every route", () =>
    through({ routes: [route({}), route({ name: "other", path: "/other", ttl: "x" })] }, async (worker, origin) => {
      isProblem(await worker.send({ path: "/v1/payments", key: freshKey() }), "misconfigured");
      assert.equal(origin.all().length, 0);
    }));
});

describe("ROUTES", { concurrency: 8, timeout: 60_000 }, () => {
  // The first match must not win by its place, so the general ones come first.
  const routes = [
    { name: "rest", methods: ["POST"], path: "/v1/{*rest}", on_duplicate: "return_existing" },
    { name: "one", methods: ["POST"], path: "/v1/payments/{id}/charge", on_duplicate: "fail" },
    { name: "exact", methods: ["POST"], path: "/v1/payments/all/charge", on_duplicate: "fail_on_running" },
    { name: "put", methods: ["PUT", "DELETE"], path: "/v1/payments/{id}/charge" },
  ];
  const on = stage({ routes });
  /** Which strategy a path is under, seen from outside. */
  async function strategyOf(path, method = "POST") {
    const spec = { path, method, key: freshKey() };
    const first = await on.worker.send(spec);
    const second = await on.worker.send(spec);
    if (first.get("Idempotency-Status") === null) return "unguarded";
    isExecuted(first);
    if (second.get("Idempotent-Replayed")) return "return_existing";
    return second.status === 409 ? second.json.code : second.get("Idempotency-Status");
  }
  for (const [path, strategy] of Object.entries({
    "/v1/payments/7/charge": "already-executed",
    "/v1/payments/all/charge": "executed",
    "/v1/payments/al%6C/charge": "executed",
    "/v1/payments/7/8/charge": "return_existing",
    "/v1/payments/7/charge/": "return_existing",
    "/v1/payments/7": "return_existing",
    "/v1/a/b/c": "return_existing",
    "/v2/payments/7/charge": "unguarded",
    "/V1/payments/7/charge": "unguarded",
    "/x/v1/a": "unguarded",
  })) {
    test(`the most specific path wins: ${path}`, async () => assert.equal(await strategyOf(path), strategy));
  }
  test("a route guards the methods that it names, and they may differ on one path", async () => {
    assert.equal(await strategyOf("/v1/payments/9/charge", "PUT"), "return_existing");
    assert.equal(await strategyOf("/v1/payments/9/charge", "DELETE"), "return_existing");
    assert.equal(await strategyOf("/v1/payments/9/charge", "PATCH"), "unguarded");
  });
  test("one shard is enough", () =>
    through({ shards: 1 }, async (worker, origin) => {
      for (let n = 0; n < 5; n++) {
        const spec = { path: freshPath(), key: freshKey() };
        const first = await worker.send(spec);
        isExecuted(first);
        isReplay(await worker.send(spec), first);
        assert.equal(origin.count(spec.path), 1);
      }
    }));
  test("a place for the objects may be named", () =>
    through({ vars: { LOCATION_HINT: "weur" } }, async (worker) => isExecuted(await worker.send({ path: "/x", key: freshKey() }))));
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
