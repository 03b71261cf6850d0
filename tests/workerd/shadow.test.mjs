// Contract 1.11, mode = "shadow": nothing is withheld, replayed, refused or added, and the log says per request what
// enforce would have answered.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { framed } from "./client.mjs";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, through, until } from "./harness.mjs";

const MiB = 1024 * 1024;
const HOP = ["connection", "content-length", "transfer-encoding", "keep-alive"];
const shadow = (name, more) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, mode: "shadow", client_strategies: ["return_existing", "fail", "fail_on_running"], ...more });
const choose = (strategy) => ({ "X-On-Conflict": strategy });

/** What the log of `worker` says that enforce would have answered on a route, request by request. */
const would = (worker, route) =>
  [...worker.logs.matchAll(/\{.*"mode":"shadow".*\}/g)].map(([line]) => JSON.parse(line)).filter((line) => line.route === route).map((line) => line.would);

describe("a route in shadow", { concurrency: 8, timeout: 60_000 }, () => {
  const told = [
    "executed", "replayed", "reused", "invalid", "strategy", "released", "doubt", "lost", "credential", "expired", "running", "large", "stream", "joined", "late", "own", "order",
  ];
  const knobs = {
    expired: { ttl: "1s", tombstone: "1h" }, running: { wait: "0s" },
    strategy: { client_strategies: ["fail"] }, large: { request: { max: "1KiB" }, reply: { max: 100 } }, late: { timeout: "1s" }, order: { key: { from: ["body:/id", "header:X-Key"], required: true } },
  };
  const on = stage({
    routes: [
      ...told.map((name) => shadow(name, knobs[name])),
      shadow("plain", { key: { required: true }, on_duplicate: "fail", cors: ["https://app.example.com"], forward_key: "derived" }),
      shadow("body", { key: { from: ["body:/id"], required: true } }),
      shadow("small", { request: { max: "64KiB" } }),
      shadow("small-body", { request: { max: "64KiB" }, key: { from: ["body:/id"] } }),
    ],
  });
  /** Waits for the log to have a line for every request sent to the route so far. */
  const says = (route, wanted) => until(() => would(on.worker, route).length >= wanted.length, { what: `the log about ${route}: ${wanted}` }).then(() => assert.deepEqual(would(on.worker, route), wanted));
  const operation = (route, more) => ({ path: freshPath(`/${route}`), key: freshKey(), body: "{}", ...more });

  /** What was sent reached the origin, and what the origin said reached the client: all of it, and nothing more. */
  async function passes(spec, answer, url = spec.path) {
    const path = url.split("?")[0];
    on.origin.on(path, answer);
    const n = on.origin.count(path);
    const response = await on.worker.send(spec);
    assert.equal(on.origin.count(path), n + 1);
    const seen = on.origin.executions(path)[n];
    assert.equal(seen.url, url);
    const given = [...(Array.isArray(spec.headers) ? spec.headers : Object.entries(spec.headers ?? {})), ...("key" in spec ? [["Idempotency-Key", spec.key]] : [])];
    same(seen, given);
    const sent = spec.chunks ? Buffer.concat(spec.chunks) : Buffer.from(spec.body ?? "");
    assert.ok(seen.body.equals(sent), `${seen.body.length} bytes for ${sent.length}, or others`);
    assert.equal(response.status, answer.status ?? 200);
    same(response, answer.headers ?? []);
    assert.ok(response.body.equals(Buffer.from(answer.body ?? "")), response.text.slice(0, 200));
  }
  function same(message, given) {
    for (const [name] of given) {
      const values = given.filter(([n]) => n.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
      assert.equal(message.all(name).join(", "), values.join(", "), name);
      if (/^set-cookie$/i.test(name)) assert.deepEqual(message.all(name), values);
    }
    const names = new Set([...given.map(([name]) => name.toLowerCase()), "host", "cdn-loop", ...HOP]);
    assert.deepEqual(message.headers.map(([name]) => name.toLowerCase()).filter((name) => !names.has(name)), []);
  }

  const sent = [
    ["Content-Type", "application/octet-stream"], ["Authorization", "Bearer a b"], ["Cookie", "a=1; b=2"], ["Origin", "https://app.example.com"], ["Idempotency-Attempt", "9"], ["Idempotency-Outcome", "store"],
    ["X-Name", "caf\xe9"], ["X-Two", "1"], ["X-Two", "2"], ["Accept-Encoding", "gzip;q=0.1"], ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], ["X-Empty", ""],
  ];
  const said = [
    ["Content-Type", "text/plain"], ["Idempotency-Outcome", "release"], ["Idempotent-Replayed", "maybe"], ["Idempotency-Status", "mine"], ["X-Correlation-Id", "o-1"], ["Stripe-Should-Retry", "true"],
    ["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"], ["Date", "Sat, 21 Nov 2026 10:00:00 GMT"], ["Age", "7"], ["X-Name", "caf\xe9"], ["Link", "</1>"], ["Link", "</2>"], ["Access-Control-Allow-Origin", "*"],
  ];
  for (const route of ["plain", "body"]) {
    const keyed = (more = {}) => (route === "plain" ? { path: freshPath("/plain"), key: `"${freshKey()}";v=1`, ...more } : { path: freshPath("/body"), ...more });
    const body = (text) => (route === "plain" ? text : `{"id":"${freshKey()}","note":"${text}"}`);
    test(`/${route}: the request reaches the origin as it came and the answer reaches the client as it came, every time`, async () => {
      const spec = keyed({ headers: sent, body: body("pay") });
      for (const status of [201, 200, 402, 429, 500, 504]) await passes(spec, { status, headers: said, body: `answer ${status}` });
      for (const status of [204, 304]) await passes(spec, { status, headers: said.slice(1) });
      await passes(keyed({ headers: sent, body: randomBytes(3 * MiB) }), { headers: said, body: randomBytes(3 * MiB) });
      await passes(keyed({ chunks: [Buffer.from(body("in one chunk"))] }), { body: "ok" });
      await passes(keyed({ body: "" }), { body: "ok" });
    });
    test(`/${route}: coded bodies and redirects pass as they are`, async () => {
      for (const [coding, bytes] of [["gzip", zlib.gzipSync("x".repeat(9_000))], ["br", zlib.brotliCompressSync("x".repeat(9_000))], ["gzip", Buffer.from("not gzip")]]) {
        const headers = [["Content-Encoding", coding]];
        await passes(keyed({ headers: [...headers, ["Accept-Encoding", "gzip, br"]], body: bytes }), { headers, body: bytes });
      }
      const target = freshPath("/target");
      for (const status of [301, 303, 307, 308]) await passes(keyed({ body: body("pay") }), { status, headers: [["Location", target]], body: "there" });
      assert.equal(on.origin.count(target), 0);
    });
    test(`/${route}: the path is not even normalised`, async () => {
      const { path, ...spec } = keyed({ body: body("pay") });
      await passes({ ...spec, path: `${path}/%70ay%2F?a=%70&b=../x&&` }, { body: "ok" }, `${path}/%70ay%2F?a=%70&b=../x&&`);
    });
    test(`/${route}: an answer is passed on as it comes: its start is here before its end is made`, async () => {
      const spec = keyed({ body: body("pay") });
      const { opened, open } = gate();
      on.origin.on(spec.path, { parts: ["the start", opened, " and the end"] });
      const exchange = on.worker.open(spec);
      assert.equal((await exchange.read()).toString(), "the start");
      open();
      assert.equal((await exchange.whole()).text, " and the end");
    });
  }
  test("what enforce would refuse passes, as often as it comes", async () => {
    for (const key of ["a,b", "", "k".repeat(300), "caf\xe9", '"open']) for (let n = 0; n < 2; n++) await passes({ path: freshPath("/plain"), key, headers: sent, body: "pay" }, { status: 201, headers: said, body: "paid" });
    await passes({ path: freshPath("/plain"), headers: sent, body: "no key" }, { status: 201, headers: said, body: "paid" });
    await passes({ path: freshPath("/plain"), key: "k", headers: [...sent, ["X-On-Conflict", "NEVER"]], body: "pay" }, { status: 201, headers: said, body: "paid" });
    for (const body of ["no JSON", '{"id":""}', '{"id":"two words"}', '{"id":"a","id":"b"}']) await passes({ path: freshPath("/body"), headers: sent, body }, { status: 201, headers: said, body: "paid" });
  });
  for (const route of ["small", "small-body"]) {
    test(`/${route}: a body above request.max streams through, declared or chunked, byte for byte`, async () => {
      const bytes = randomBytes(MiB);
      for (let n = 0; n < 2; n++) await passes({ path: freshPath(`/${route}`), key: freshKey(), headers: sent, body: bytes }, { status: 201, headers: said, body: "paid" });
      const chunks = Array.from({ length: 10 }, (_, n) => bytes.subarray(n * 100_000, (n + 1) * 100_000));
      await passes({ path: freshPath(`/${route}`), key: freshKey(), headers: sent, chunks }, { status: 201, headers: said, body: "paid" });

      const path = freshPath(`/${route}`);
      const got = gate();
      on.origin.onStream(path, async ({ stream }) => {
        let length = 0;
        for await (const part of stream) {
          length += part.length;
          if (length >= 100_000) got.open();
        }
        return { body: String(length) };
      });
      const exchange = on.worker.open({ path, key: freshKey(), headers: [["Transfer-Encoding", "chunked"]], body: undefined });
      exchange.send(framed(bytes.subarray(0, 100_000)));
      await got.opened;
      exchange.send(Buffer.concat([framed(bytes.subarray(100_000)), Buffer.from("0\r\n\r\n")]));
      assert.equal((await exchange.whole()).text, String(MiB));
    });
  }
  test("the log says executed, then replayed; the origin is asked every time", async () => {
    const it = operation("replayed");
    const answers = [];
    for (let n = 0; n < 3; n++) {
      answers.push((await on.worker.send(it)).text);
      await says("replayed", ["executed", "replayed", "replayed"].slice(0, n + 1));
    }
    assert.deepEqual([new Set(answers).size, on.origin.count(it.path)], [3, 3]);
  });
  /** Sends one after the other and compares what the log says of each. */
  async function tells(route, steps, answer) {
    const it = operation(route);
    if (answer) on.origin.on(it.path, answer);
    const wanted = [];
    for (const [more, said] of steps) {
      const { key, ...spec } = { ...it, ...more };
      await on.worker.send(key === null ? spec : { ...spec, key });
      wanted.push(said);
      await says(route, wanted);
    }
    assert.equal(on.origin.count(it.path), steps.length);
  }
  const status = (...all) => (_, n) => ({ status: all[n - 1] ?? 201, body: `run ${n}` });
  test("it says what a duplicate would have been told, whatever it was", async () => {
    await tells("reused", [[{}, "executed"], [{ body: "[]" }, "key-reused"], [{}, "replayed"]]);
    await tells("invalid", [[{ key: "a,b" }, "key-invalid"], [{ key: "" }, "key-invalid"]]);
    await tells("strategy", [[{ headers: choose("RETURN_EXISTING") }, "strategy-invalid"], [{ headers: choose("FAIL") }, "executed"]]);
    await tells("credential", [[{ headers: { Authorization: "a" } }, "executed"], [{ headers: { Authorization: "b" } }, "credential-changed"]]);
    await tells("released", [[{}, "executed"], [{}, "executed"], [{}, "replayed"]], status(429));
    await tells("doubt", [[{}, "executed"], [{}, "outcome-unknown"]], status(504));
    await tells("lost", [[{}, "executed"], [{}, "outcome-unknown"]], (_, n) => (n === 1 ? { reset: true } : { status: 201 }));
    await tells("own", [[{}, "executed"], [{}, "executed"], [{}, "replayed"]], (_, n) => ({ status: 201, headers: [["Idempotency-Outcome", n === 1 ? "release" : "store"]] }));
    await tells("order", [[{ body: '{"id":"k"}', key: null }, "executed"], [{ body: '{"id":"k"}' }, "replayed"], [{ body: "{}", key: null }, "key-missing"]]);
  });
  test("it says key-expired where only a tombstone is left", async () => {
    const it = operation("expired");
    await until(async () => (await on.worker.send(it), would(on.worker, "expired").at(-1) === "key-expired"), { every: 200 });
    assert.deepEqual([...new Set(would(on.worker, "expired"))], ["executed", "replayed", "key-expired"]);
  });
  test("it says request-too-large", () => tells("large", [[{ body: "x".repeat(2_000) }, "request-too-large"], [{}, "executed"], [{}, "reply-not-stored"]], { status: 201, body: "y".repeat(101) }));
  test("it says reply-not-stored for an event stream", () => tells("stream", [[{}, "executed"], [{}, "reply-not-stored"]], { headers: [["Content-Type", "text/event-stream"]], body: "data: 1\n\n" }));
  for (const [route, what, said] of [["running", "in-flight of a duplicate that may not wait", /^in-flight$/], ["joined", "joined of a duplicate that would have waited", /joined/]]) {
    test(`it says ${what} while the first is running`, async () => {
      const it = operation(route);
      const { opened, open } = gate();
      on.origin.on(it.path, async (_, n) => (n === 1 && (await opened), { status: 201, body: `run ${n}` }));
      const first = on.worker.send(it);
      await on.origin.reached(it.path);
      assert.equal((await on.worker.send(it)).text, "run 2");
      open();
      assert.equal((await first).text, "run 1");
      await until(() => would(on.worker, route).length === 2);
      const [duplicate] = would(on.worker, route).filter((line) => line !== "executed");
      assert.match(duplicate, said);
    });
  }
  test("it says outcome-unknown where enforce would not have waited as long as the origin took", async () => {
    const it = operation("late");
    const { opened, open } = gate();
    on.origin.on(it.path, async () => (await opened, { status: 201 }));
    const sending = on.worker.send(it);
    await on.origin.reached(it.path);
    setTimeout(open, 1_600);
    assert.equal((await sending).status, 201);
    await says("late", ["outcome-unknown"]);
  });
  test("the log holds no key, and the client's correlation id where it sent one", async () => {
    const it = operation("executed", { headers: { "X-Correlation-Id": "c-77" } });
    await on.worker.send(it);
    await says("executed", ["executed"]);
    assert.match(on.worker.logs, /"correlation_id":"c-77"/);
    assert.equal(on.worker.logs.includes(it.key), false);
  });
});

describe("shadow and the Ledger", { concurrency: true, timeout: 60_000 }, () => {
  const mode = (mode) => [shadow("pay", { mode, fingerprint: { body: "none" } })];

  test("enforce starts empty on the disk of a shadow, and a shadow on the disk of enforce", () =>
    through({ routes: mode("shadow") }, async (worker, origin) => {
      const it = { path: "/pay/1", key: freshKey(), headers: { Authorization: "a" } };
      for (const said of ["executed", "replayed"]) {
        await worker.send(it);
        await until(() => would(worker, "pay").at(-1) === said);
      }
      await worker.restart({ routes: mode("enforce") });
      const first = await worker.send(it);
      isExecuted(first);
      isReplay(await worker.send(it), first);
      isProblem(await worker.send({ ...it, headers: { Authorization: "b" } }), "credential-changed");
      assert.equal(origin.count(it.path), 3);
      const other = { ...it, key: freshKey() };
      isExecuted(await worker.send(other));
      await worker.restart({ routes: mode("shadow") });
      const before = would(worker, "pay").length;
      await worker.send(other);
      await until(() => would(worker, "pay").length > before);
      assert.equal(would(worker, "pay").at(-1), "executed");
      assert.equal(origin.count(it.path), 5);
    }));
  test("what the byte budget cannot hold streams through too", () => {
    const routes = [shadow("pay"), { name: "enforced", methods: ["POST"], path: "/enforced", request: { max: "32MiB" } }];
    return through({ routes }, async (worker, origin) => {
      const { opened, open } = gate();
      origin.on("/enforced", async () => (await opened, { status: 201 }));
      const held = worker.send({ path: "/enforced", key: freshKey(), body: randomBytes(31.9 * MiB) });
      await origin.reached("/enforced");
      const body = randomBytes(MiB);
      for (const spec of [{ body }, { chunks: [body.subarray(0, 50_000), body.subarray(50_000)] }]) {
        const response = await worker.send({ path: "/pay/1", key: freshKey(), ...spec });
        assert.deepEqual([response.status, response.get("Idempotency-Status")], [201, null]);
        assert.ok(origin.executions("/pay/1").at(-1).body.equals(body));
      }
      await until(() => would(worker, "pay").length === 2);
      assert.deepEqual(would(worker, "pay"), ["store-unavailable", "store-unavailable"]);
      open();
      isExecuted(await held);
    });
  });
  for (const behaviour of ["throw", "hang", "garbage", "overload"]) {
    test(`a Ledger that does not answer (${behaviour}) holds nothing up, and the log says so`, () =>
      through({ routes: mode("shadow"), ledger: "faulty" }, async (worker, origin) => {
        await worker.ledger(behaviour);
        const began = Date.now();
        for (let n = 1; n <= 2; n++) {
          const response = await worker.send({ path: "/pay/1", key: "k" });
          assert.deepEqual([response.status, response.json.execution, response.get("X-Correlation-Id")], [201, n, null]);
        }
        assert.ok(Date.now() - began < 3_000, "the Ledger is given 5 s");
        await until(() => would(worker, "pay").length === 2, { ms: 15_000 });
        assert.deepEqual(would(worker, "pay"), ["store-unavailable", "store-unavailable"]);
        assert.equal(origin.count("/pay/1"), 2);
      }));
  }
});
