// Contract 1.1: nobody walks around the guard. What is matched is what the origin receives, a method in a header counts,
// what no route matches can be refused, and a request that comes back is recognised.

import assert from "node:assert/strict";
import http from "node:http";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, stage, start, startOrigin, through } from "./harness.mjs";

/** Paths in the spirit of WHATWG's urltestdata.json, as raw bytes of a request line. */
const SPELLINGS = [
  "/v1/payments", "/v1/payments/", "//v1/payments", "///v1///payments///", "/\\v1/payments", "\\/v1\\payments", "/v1\\payments\\", "/v1/./payments", "/v1/x/../payments", "/v1/payments/.",
  "/v1/payments/x/..", "/v1/%2e/payments", "/v1/x/%2E%2e/payments", "/v1/x/.%2e/payments", "/v1//x/..//payments/", "/../../v1/payments", "/%76%31/%70ayments", "/v1/payment%73", "/v1/payments?", "/v1/payments?a=1#f",
  "/v1/payments#f", "/v1/payments/#", "/v1/payments?x={y}^|", "http://elsewhere.example/v1/payments", "http://elsewhere.example//v1/payments/", "/v1/payments%2F", "/v1%2Fpayments", "/v1/payments;a=1", "/v1/payments%00",
  "/V1/payments", "/v1/payments%20", "/v1/payments{}", "/v1/payments\"", "/v1/payments^", "/v1/payments|", "/v1/payments[x]", "/v1/payments'", "/v1/payments%", "/v1/payments%zz", "/v1/payments%7B%7d", "/v1/paymentsé", "/v1/payments%C3%A9",
  "/v1/payments/..%2f", "/%2e%2e/v1/payments", "/v1/%252e/payments", "/a:b@c/v1/payments", "//elsewhere.example/v1/payments", "/v1/pay\u{7f}ments", "/v1/pay`ments", "/v1/pay<ments>", "*", "v1/payments",
];
/** A raw path as bytes: the client sends Latin-1. */
const bytes = (text) => Buffer.from(text, "utf8").toString("latin1");
/** What an origin that cares for no slash serves a path as. */
const served = (url) => {
  const path = new URL(`http://h${url}`).pathname.replace(/%([0-9a-f]{2})/gi, (escape, hex) => {
    const c = String.fromCharCode(parseInt(hex, 16));
    return /[A-Za-z0-9._~-]/.test(c) ? c : escape.toUpperCase();
  });
  return "/" + path.split("/").filter(Boolean).join("/");
};

describe("what is matched is what the origin receives", { concurrency: 8, timeout: 60_000 }, () => {
  const on = stage({ routes: [{ name: "pay", methods: ["POST"], path: "/v1/payments", key: { required: true } }] });

  for (const spelling of SPELLINGS) {
    test(`POST ${JSON.stringify(spelling)}`, async () => {
      const tag = `tag-${freshKey()}`;
      const send = (spec) => on.worker.send({ path: bytes(spelling), headers: { "X-Tag": tag }, ...spec });
      const seen = () => on.origin.all().filter((execution) => execution.get("X-Tag") === tag);
      const open = await send({});
      for (const { url } of seen()) {
        assert.notEqual(served(url), "/v1/payments", `it passed without a key: ${url}`);
        assert.equal(new URL(`http://h${url}`).href, `http://h${url}`, "it came as a URL parser leaves it");
      }
      if (seen().length === 0) return assert.equal(open.status, 400, open.text);
      // What passes is not guarded with a key either.
      const keyed = await send({ key: freshKey() });
      assert.deepEqual([keyed.status, keyed.get("Idempotency-Status")], [201, null]);
    });
  }
  test("every spelling of a path is one operation, and goes on with its own slashes", async () => {
    const key = freshKey();
    const first = await on.worker.send({ path: "//v1///payments/", key });
    isExecuted(first);
    for (const path of ["/v1/payments", "/v1/payments/", "/\\v1/%70ayments", "/v1/./payments//"]) isReplay(await on.worker.send({ path, key }), first);
    assert.equal(on.origin.count("//v1///payments/"), 1);
  });
  test("raw characters in a guarded path are one spelling with their escapes", () =>
    through({}, async (worker, origin) => {
      const key = freshKey();
      const first = await worker.send({ path: '/{a}"^/b', key });
      isExecuted(first);
      isReplay(await worker.send({ path: "/%7ba%7d%22%5e/b", key }), first);
      assert.deepEqual(origin.all().map(({ url }) => url), ["/%7Ba%7D%22%5E/b"]);
    }));
  test("the filter's own paths are its own in any case and with any slashes", async () => {
    for (const path of ["//.oncegate", "/.OnceGate/stats", "/.oncegate//stats/", "/\\.ONCEGATE\\x"]) {
      for (const method of ["GET", "POST"]) assert.equal((await on.worker.send({ method, path })).status, 404);
    }
    for (const path of ["//.well-known/idempotency", "/.Well-Known/IDEMPOTENCY/"]) assert.ok((await on.worker.send({ method: "GET", path })).json.routes);
    assert.deepEqual(on.origin.all().filter(({ url }) => /oncegate|well-known/i.test(url)), []);
  });
  for (const host of ["a.example#x", "a.example\\x", "user@a.example", "a b", "a%2eexample", "a.example:8o", "[::1"]) {
    test(`Host: ${host} is no host`, async () => {
      const path = freshPath("/free");
      for (const spec of [{ method: "GET" }, { method: "POST", key: freshKey() }]) assert.equal((await on.worker.send({ ...spec, path, host })).status, 400);
      assert.equal(on.origin.count(path), 0);
    });
  }
});

describe("a method that a header names", { concurrency: 8, timeout: 60_000 }, () => {
  const routes = [
    { name: "pay", methods: ["POST"], path: "/pay/{*rest}", key: { required: true } },
    { name: "change", methods: ["PUT"], path: "/put/{*rest}", key: { required: true } },
  ];
  const on = stage({ routes });
  for (const name of ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]) {
    test(`${name}: a POST is guarded as that method, or else as a POST`, async () => {
      for (const [prefix, method] of [["/put", "PUT"], ["/put", "put"], ["/pay", "PUT"], ["/pay", "DELETE"]]) {
        const path = freshPath(prefix);
        isProblem(await on.worker.send({ path, headers: { [name]: method } }), "key-missing");
        assert.equal(on.origin.count(path), 0);
        const keyed = { path, key: freshKey(), headers: { [name]: method } };
        const first = await on.worker.send(keyed);
        isExecuted(first);
        isReplay(await on.worker.send(keyed), first);
      }
    });
    test(`${name}: a safe method that is taken for one that a route guards is refused`, async () => {
      const path = freshPath("/put");
      for (const method of ["GET", "OPTIONS"]) isProblem(await on.worker.send({ method, path, headers: { [name]: "PUT" } }), "key-invalid");
      assert.equal(on.origin.count(path), 0);
      for (const taken of ["DELETE", "GET"]) assert.equal((await on.worker.send({ method: "GET", path, headers: { [name]: taken } })).status, 201);
    });
  }
});

describe("UNMATCHED", { concurrency: 8, timeout: 60_000 }, () => {
  const routes = [
    { name: "pay", methods: ["POST"], path: "/pay/{id}" },
    { name: "off", methods: ["POST"], path: "/off/{*rest}", mode: "off" },
  ];
  test("refuse: an unsafe method that no route matches is 404 not-guarded", () =>
    through({ routes, vars: { UNMATCHED: "refuse" } }, async (worker, origin) => {
      for (const [method, path] of [["POST", "/PAY/1"], ["POST", "/pay%2F1"], ["PUT", "/pay/1"], ["DELETE", "/"]]) {
        for (const key of [freshKey(), undefined]) isProblem(await worker.send({ method, path, key }), "not-guarded");
      }
      assert.equal(origin.all().length, 0);
      await worker.logged(/"outcome":"not-guarded","status":404/);
      isExecuted(await worker.send({ path: "/pay/1", key: freshKey() }));
      for (const spec of [{ path: "/pay/1" }, { path: "/off/1" }, { method: "GET", path: "/other" }]) assert.equal((await worker.send(spec)).status, 201);
    }));
  test("pass: a key that no route looks at gets one line of the log", () =>
    through({ routes }, async (worker, origin) => {
      assert.equal((await worker.send({ method: "PUT", path: "/pay//7?secret=1", key: "k-secret" })).status, 201);
      await worker.logged(/"outcome":"passed".*no route matches.*"method":"PUT","path":"\/pay\/7"/);
      for (const spec of [{ method: "PUT", path: "/pay/8" }, { method: "GET", path: "/pay/8", key: "k" }, { path: "/off/8", key: "k" }]) assert.equal((await worker.send(spec)).status, 201);
      assert.equal(origin.all().length, 4);
      assert.equal(worker.logs.match(/"outcome":"passed"/g).length, 1);
      assert.doesNotMatch(worker.logs, /secret/);
    }));
  test("another value refuses what is not safe, and names the var", () =>
    through({ vars: { UNMATCHED: "deny" } }, async (worker) => {
      isProblem(await worker.send({ path: "/a", key: freshKey() }), "misconfigured");
      await worker.logged(/misconfigured: UNMATCHED/);
    }));
});

/** Sends a request on to a port, as a proxy does. */
const relay = (port) => (execution) =>
  new Promise((resolve, reject) => {
    const headers = execution.headers.filter(([name]) => !/^(host|connection|content-length|transfer-encoding)$/i.test(name)).flat();
    const on = http.request({ port, host: "127.0.0.1", method: execution.method, path: execution.url, headers: [...headers, "Host", "shop.example"] }, async (response) => {
      const parts = [];
      for await (const part of response) parts.push(part);
      resolve({ status: response.statusCode, headers: Object.entries(response.headers).filter(([name]) => !/^(connection|content-length|transfer-encoding)$/.test(name)), body: Buffer.concat(parts) });
    });
    on.on("error", reject).end(execution.body ?? "");
  });

describe("a request that comes back", { concurrency: 4, timeout: 60_000 }, () => {
  test("is 508 at once, guarded or not, and its key is free again", () =>
    through({}, async (worker, origin) => {
      for (const spec of [{ method: "GET", path: "/get" }, { method: "PUT", path: "/put" }, { path: "/post" }, { path: "/key", key: freshKey() }]) {
        origin.on(spec.path, relay(worker.port));
        const { status, json } = await worker.send(spec);
        assert.deepEqual([status, json.code], [508, "loop-detected"]);
        assert.equal(origin.count(spec.path), 1);
        if (!spec.key) continue;
        // The operator mends ORIGIN, and the same request is executed.
        origin.on(spec.path, { status: 201, body: "done" });
        isExecuted(await worker.send(spec));
      }
      await worker.logged(/loop-detected: .*ORIGIN/);
    }));
  test("on another path, or with another method, is another request", () =>
    through({}, async (worker, origin) => {
      origin.on("/outer", async (execution) => {
        const inner = { ...execution, method: "POST", url: "/inner" };
        return { status: 201, body: (await relay(worker.port)(inner)).status + "" };
      });
      assert.equal((await worker.send({ path: "/outer", key: freshKey() })).text, "201");
      assert.deepEqual(origin.all().map(({ path }) => path), ["/outer", "/inner"]);
      assert.equal(origin.executions("/inner")[0].get("CDN-Loop").split(",").length, 2);
    }));
  test("two filters in a row are no loop", async () => {
    const origin = await startOrigin();
    const inner = await start({ origin });
    const outer = await start({ origin: `http://127.0.0.1:${inner.port}` });
    try {
      const spec = { path: "/row", key: freshKey() };
      const first = await outer.send(spec);
      isExecuted(first);
      isReplay(await outer.send(spec), first);
      assert.equal((await outer.send({ method: "GET", path: "/row" })).status, 201);
      assert.equal(origin.count("/row"), 2);
    } finally {
      for (const it of [outer, inner]) await it.stop();
      origin.close();
    }
  });
  test("is told by one entry in CDN-Loop, beside those of others", () =>
    through({}, async (worker, origin) => {
      const path = freshPath();
      for (const [n, key] of [[0, undefined], [1, freshKey()]]) {
        await worker.send({ path, key, headers: [["CDN-Loop", "cloudflare; loops=1"], ["CDN-Loop", "other"]] });
        assert.match(origin.executions(path)[n].get("CDN-Loop"), /^cloudflare; loops=1, other, oncegate-[0-9a-f]{16}; op=[0-9a-f]{16}$/);
        assert.equal(origin.executions(path)[n].get("Oncegate-Loop"), null);
      }
      await worker.send({ path, headers: { "CF-Ray": "230b030023ae2822-SJC" } });
      assert.equal(origin.executions(path)[2].get("Oncegate-Loop"), origin.executions(path)[2].get("CDN-Loop"));
    }));
});
