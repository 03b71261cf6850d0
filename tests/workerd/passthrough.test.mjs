// Contract 1.1: what is not guarded passes untouched and streaming; what is guarded goes where it says.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { framed } from "./client.mjs";
import { freshKey, freshPath, gate, stage, through } from "./harness.mjs";

const MiB = 1024 * 1024;
const OURS = ["Idempotency-Status", "Idempotent-Replayed", "Idempotency-Expires", "X-Correlation-Id"];

describe("what is not guarded", { concurrency: 8, timeout: 60_000 }, () => {
  const routes = [
    { name: "greedy", methods: ["GET", "HEAD", "OPTIONS", "TRACE", "POST"], path: "/greedy/{*rest}", key: { required: true } },
    { name: "payments", methods: ["POST"], path: "/v1/payments/{*rest}" },
  ];
  const on = stage({ routes });

  for (const method of ["GET", "HEAD", "OPTIONS"]) {
    test(`${method} is never guarded, even where a route names it and requires a key`, async () => {
      const path = freshPath("/greedy");
      for (const key of [freshKey(), "not a key, at all", undefined]) {
        const before = on.origin.count(path);
        for (let n = 1; n <= 2; n++) {
          const response = await on.worker.send({ method, path, key });
          assert.equal(response.status, 201);
          for (const name of OURS) assert.equal(response.get(name), null);
          assert.equal(on.origin.count(path), before + n);
        }
      }
    });
  }
  for (const [what, spec] of Object.entries({
    "a method that no route names": { method: "PUT", path: "/v1/payments/1", key: "k-put" },
    "DELETE": { method: "DELETE", path: "/v1/payments/2", key: "k-delete" },
    "PATCH, where the route says POST": { method: "PATCH", path: "/v1/payments/3", key: "k-patch" },
    "a path that no route names": { method: "POST", path: "/v1/refunds/1", key: "k-path" },
    "a path that only begins like a route's": { method: "POST", path: "/v1/paymentsx/1", key: "k-like" },
    "a request without a key": { method: "POST", path: "/v1/payments/4" },
  })) {
    test(`${what} passes every time, and no header is changed but for an entry in CDN-Loop`, async () => {
      const headers = [["Idempotency-Attempt", "5"], ["X-One", "a"], ["X-Two", "caf\xe9"], ["Accept-Encoding", "gzip;q=0.1"], ["Cookie", "a=1; b=2"]];
      for (let n = 1; n <= 2; n++) {
        const response = await on.worker.send({ ...spec, headers, body: "{}" });
        assert.equal(response.status, 201);
        for (const name of OURS) assert.equal(response.get(name), null);
        assert.equal(on.origin.count(spec.path), n);
        const seen = on.origin.executions(spec.path)[n - 1];
        const given = [...headers, ...(spec.key ? [["Idempotency-Key", spec.key]] : [])];
        for (const [name, value] of given) assert.deepEqual(seen.all(name), [value]);
        const names = new Set([...given.map(([name]) => name.toLowerCase()), "host", "content-length", "connection", "transfer-encoding", "cdn-loop"]);
        assert.deepEqual(seen.headers.map(([name]) => name.toLowerCase()).filter((name) => !names.has(name)), []);
        assert.equal(seen.body.toString(), "{}");
      }
    });
  }
  test("the origin's own headers pass, whatever they are called", async () => {
    const path = freshPath("/free");
    const headers = [["Idempotency-Status", "mine"], ["Idempotent-Replayed", "true"], ["X-Correlation-Id", "o-1"], ["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"], ["Date", "Sat, 21 Nov 2026 10:00:00 GMT"], ["Age", "1"], ["X-Name", "caf\xe9"]];
    on.origin.on(path, { status: 418, headers, body: "x" });
    const response = await on.worker.send({ method: "GET", path });
    assert.equal(response.status, 418);
    for (const [name] of headers) assert.deepEqual(response.all(name), headers.filter(([n]) => n === name).map(([, v]) => v));
  });
  test("a redirect is passed on and not followed", async () => {
    const path = freshPath("/free");
    const target = freshPath("/target");
    on.origin.on(path, { status: 302, headers: [["Location", target]] });
    const response = await on.worker.send({ method: "GET", path });
    assert.deepEqual([response.status, response.get("Location"), on.origin.count(target)], [302, target, 0]);
  });
  test("bodies pass byte for byte in both directions, encoded ones and large ones too", async () => {
    for (const [encoding, body] of [["gzip", zlib.gzipSync("x".repeat(9_000))], ["br", zlib.brotliCompressSync("x".repeat(9_000))], ["gzip", Buffer.from("not gzip")], [null, randomBytes(20 * MiB)]]) {
      const path = freshPath("/free");
      const encoded = encoding ? [["Content-Encoding", encoding]] : [];
      on.origin.on(path, { headers: encoded, body });
      const response = await on.worker.send({ path, headers: encoded, body });
      assert.equal(response.get("Content-Encoding"), encoding);
      assert.ok(response.body.equals(body), `${response.body.length} bytes for ${body.length}, or others`);
      assert.ok(on.origin.executions(path)[0].body.equals(body));
    }
  });
  test("a response is passed on as it comes: its start is here before its end is made", async () => {
    const path = freshPath("/free");
    const { opened, open } = gate();
    on.origin.on(path, { parts: ["the start", opened, " and the end"] });
    const exchange = on.worker.open({ method: "GET", path });
    assert.equal((await exchange.read()).toString(), "the start");
    open();
    assert.equal((await exchange.whole()).text, " and the end");
  });
  test("a request is passed on as it comes: its start is at the origin before its end is made", async () => {
    const path = freshPath("/free");
    const got = gate();
    on.origin.onStream(path, async ({ stream }) => {
      let text = "";
      for await (const part of stream) {
        text += part;
        if (text === "the start") got.open();
      }
      return { body: text };
    });
    const exchange = on.worker.open({ path, headers: [["Transfer-Encoding", "chunked"]], body: undefined });
    exchange.send(framed("the start"));
    await got.opened;
    exchange.send(Buffer.concat([framed(" and the end"), Buffer.from("0\r\n\r\n")]));
    assert.equal((await exchange.whole()).text, "the start and the end");
  });
  test("a WebSocket opens through the filter and speaks both ways, under a guarded path too", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${on.worker.port}/v1/payments/live?x=1`);
    await once(socket, "open");
    for (const text of ["hello", "again"]) {
      socket.send(text);
      const [event] = await once(socket, "message");
      assert.equal(event.data, text);
    }
    socket.close();
    await once(socket, "close");
    assert.equal(on.origin.executions("/v1/payments/live")[0].url, "/v1/payments/live?x=1");
  });
  test("no object is called for it", () => {
    assert.deepEqual(readdirSync(on.worker.disk, { recursive: true }).filter((file) => file.endsWith(".sqlite") && !file.endsWith("metadata.sqlite")), []);
  });
});

describe("where a request goes", { concurrency: 8, timeout: 60_000 }, () => {
  const on = stage();
  const guarded = (path, key = freshKey()) => on.worker.send({ path, key });

  test("without ROUTES, POST and PATCH are guarded on every path, and no other method", async () => {
    for (const path of ["/", freshPath("/deep/er"), freshPath("/ends") + "/"]) {
      for (const method of ["POST", "PATCH", "PUT", "DELETE"]) {
        const spec = { method, path, key: freshKey() };
        const [first, second] = [await on.worker.send(spec), await on.worker.send(spec)];
        if (["POST", "PATCH"].includes(method)) isExecuted(first), isReplay(second, first);
        else assert.notEqual(second.text, first.text);
      }
    }
  });
  test("//host/path is a path and never a host", async () => {
    const path = `//evil.example${freshPath("/x")}`;
    isExecuted(await guarded(path));
    assert.equal((await on.worker.send({ method: "GET", path: `${path}?q=1` })).status, 201);
    assert.deepEqual(on.origin.all().filter((e) => e.path === path).map((e) => e.url), [path, `${path}?q=1`]);
  });
  test("a guarded path is forwarded with dot segments removed and unreserved characters decoded", async () => {
    for (const [sent, goes] of [
      ["/n1/%70ayments/%7E%2d%2E%5Fx", "/n1/payments/~-._x"], ["/n2/a/../payments", "/n2/payments"], ["/n3/./a/b/../../payments/.", "/n3/payments/"],
      ["/n4/%2e%2e/n4/%2E/x", "/n4/x"], ["/../../n5", "/n5"], ["/n6/a%2Fb%3Fc%20d%23", "/n6/a%2Fb%3Fc%20d%23"], ["/n7//a///b", "/n7//a///b"],
      ["/n8/x%zz%4", "/n8/x%zz%4"], ["/n9/%2570", "/n9/%2570"],
    ]) {
      const before = on.origin.all().length;
      isExecuted(await guarded(`${sent}?p=%70&d=../y`));
      assert.deepEqual(on.origin.all().slice(before).map((e) => e.url).filter((url) => url.startsWith(`/n${sent.match(/n(\d)/)[1]}`)), [`${goes}?p=%70&d=../y`]);
    }
  });
  test("a query is not touched, guarded or not", async () => {
    const path = freshPath();
    for (const query of ["?", "?a=%70&&b=../x&c=%2f%2F", "?q='~!$()*,;:@[]", "?a?b/c"]) {
      const count = on.origin.count(path);
      assert.equal((await on.worker.send({ path: path + query, key: freshKey() })).status, 201);
      assert.equal(on.origin.count(path), count + 1);
    }
    assert.equal(on.origin.executions(path)[1].url, `${path}?a=%70&&b=../x&c=%2f%2F`);
  });
});

describe("the filter's own paths", { concurrency: 8, timeout: 60_000 }, () => {
  const on = stage();
  for (const path of [
    "/.oncegate", "/.oncegate/", "/.oncegate/x", "/.oncegate?x", "/%2eoncegate/x", "/.%6fncegate/x", "/%2Eoncegat%65", "/a/../.oncegate/x",
    "/a/%2e%2e/.oncegate/x", "/./.oncegate/x", "/.oncegate/../.oncegate/x", "/.oncegate\\x", "/a\\..\\.oncegate/x", "//.oncegate/x", "/.OnceGate/x",
  ]) {
    test(`${path} is never forwarded`, async () => {
      const tag = freshKey();
      const tagged = `${path}${path.includes("?") ? "&" : "?"}${tag}`;
      for (const spec of [{ method: "GET" }, { method: "PUT" }, { method: "POST" }, { method: "POST", key: freshKey() }]) {
        assert.equal((await on.worker.send({ ...spec, path: tagged })).status, 404);
      }
      assert.deepEqual(on.origin.all().filter((e) => e.url.includes(tag)), []);
    });
  }
  test("paths that only look like them are the origin's", async () => {
    for (const path of ["/own/.oncegate", "/y.oncegate/x", "/OnceGate", "/.oncegate%2Fx"]) {
      assert.equal((await on.worker.send({ method: "GET", path })).status, 201);
      isExecuted(await on.worker.send({ path, key: freshKey() }));
      assert.equal(on.origin.count(path), 2);
    }
  });
});

describe("the origin", { concurrency: 4, timeout: 60_000 }, () => {
  async function works(worker, origin, host) {
    const key = freshKey();
    const first = await worker.send({ path: "/v1/payments?a=1", key, host });
    isExecuted(first);
    isReplay(await worker.send({ path: "/v1/payments?a=1", key, host }), first);
    assert.equal((await worker.send({ method: "GET", path: "//x/y?z", host })).status, 201);
    assert.deepEqual(origin.all().map((e) => e.url), ["/v1/payments?a=1", "//x/y?z"]);
  }
  test("of ORIGIN only scheme, host and port count", () => through((origin) => ({ origin: `${origin.url}/base/path?query=1#fragment` }), works));
  test("ORIGIN may end in a slash", () => through((origin) => ({ origin: `${origin.url}/` }), works));
  test("a service binding named ORIGIN is the origin", () => through({ binding: true }, works));
  test("without ORIGIN a request goes on to the host that it names", () =>
    through({ origin: null }, (worker, origin) => works(worker, origin, origin.address)));
  test("a WebSocket opens through a service binding too", () =>
    through({ binding: true }, async (worker) => {
      const socket = new WebSocket(`ws://127.0.0.1:${worker.port}/live`);
      await once(socket, "open");
      socket.send("hello");
      assert.equal((await once(socket, "message"))[0].data, "hello");
      socket.close();
      await once(socket, "close");
    }));
  test("bodies stay byte exact through a service binding", () =>
    through({ binding: true }, async (worker, origin) => {
      const body = zlib.gzipSync("x".repeat(9_000));
      origin.on("/z", { status: 201, headers: [["Content-Encoding", "gzip"]], body });
      const key = freshKey();
      for (const key_ of [key, key, undefined]) {
        const response = await worker.send({ path: "/z", key: key_ });
        assert.ok(response.body.equals(body));
        assert.equal(response.get("Content-Encoding"), "gzip");
      }
      assert.equal(origin.count("/z"), 2);
    }));
  test("with a service binding as the origin, redirects are not followed and a broken answer is in doubt", () =>
    through({ binding: true }, async (worker, origin) => {
      origin.on("/r", { status: 307, headers: [["Location", "/target"]] });
      isExecuted(await worker.send({ path: "/r", key: freshKey() }), 307);
      assert.equal(origin.count("/target"), 0);
      origin.on("/b", { reset: true });
      isProblem(await worker.send({ path: "/b", key: freshKey() }), "outcome-unknown", 502);
    }));
});
