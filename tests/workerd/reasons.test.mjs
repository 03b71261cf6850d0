// Contract 1.5 to 1.8: why a record is in doubt, as the log and the operators' API tell it; a doubt whose call is still
// read; streams that break off; rules that look into an answer; probes that no cache may answer.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { isExecuted, isJoined, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, operation, stage, start, startOrigin, until } from "./harness.mjs";

const TOKEN = "a secret that only operators know";
const BEARER = { Authorization: `Bearer ${TOKEN}` };
const JSON_TYPE = ["Content-Type", "application/json"];
const KiB = 1024;
const route = (name, more) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, timeout: "1s", wait: "0s", client_strategies: ["return_existing", "fail", "fail_on_running"], ...more });
const probing = (name, more) => route(name, { on_in_doubt: "probe", probe: "/by-key/{key}", probe_after: "0s", ...more });
const when = [
  { status: [200, 402], body: "/approved", is: false, then: "release" },
  { status: 200, body: "/state", is: "pending", then: "in_doubt" },
  { status: 503, header: "X-Maintenance", present: true, then: "release" },
];
const ROUTES = [
  route("usual"),
  route("patient", { wait: "3s" }),
  route("retry", { on_in_doubt: "retry", wait: "30s" }),
  route("when", { timeout: "30s", outcome: { when } }),
  route("sure", { timeout: "30s", outcome: { when: [{ status: 200, body: "/ok", is: true, then: "store" }] } }),
  route("lines", { reply: { stream: ["application/x-lines"], max: 100 * KiB } }),
  probing("probe", { outcome: { when: [{ status: 200, body: "/state", is: "pending", then: "in_doubt" }] } }),
  probing("absent", { probe_absent: { body: "/code", is: "not_found" } }),
];

const recordsOf = async (worker, key) => {
  const response = await worker.send({ method: "GET", path: `/.oncegate/keys?key=${encodeURIComponent(key)}`, headers: BEARER });
  assert.equal(response.status, 200, response.text);
  return response.json.records;
};
const linesOf = (worker, id) => worker.logs.split("\n").filter((line) => line.startsWith("{") && line.includes(`"correlation_id":"${id}"`)).map((line) => JSON.parse(line));
/** Time itself is what is tested where this is used. */
const pass = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const isOutcomeUnknown = (response, status = 409) => assert.deepEqual([response.status, response.json.code], [status, "outcome-unknown"], response.text);

describe("a doubt", { concurrency: 16, timeout: 90_000 }, () => {
  const on = stage({ routes: ROUTES, shards: 4, vars: { ADMIN_TOKEN: TOKEN } });
  const answered = (prefix, answer, more) => {
    const it = operation(on, `/${prefix}`, { headers: { "X-Correlation-Id": freshKey() }, ...more });
    it.answers(answer);
    return { ...it, id: it.headers["X-Correlation-Id"] };
  };
  const doubtOf = (it) => until(async () => {
    const [record] = await recordsOf(on.worker, it.key);
    return record?.state === "in_doubt" && record;
  }, { what: `the doubt of ${it.path}` });

  for (const [reason, answer, status] of [
    ["timeout", { silent: true }, 504],
    ["connection-lost", { reset: true }, 502],
    ["truncated", { status: 201, length: 100, body: "only this" }, 502],
    ["truncated", { raw: "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npaid\r\n" }, 502],
    ["status 503", { status: 503, headers: [["Retry-After", "5"]] }, 503],
    ["status 504", { status: 504 }, 504],
    ["status 200", { status: 200, headers: [["Idempotency-Outcome", "in-doubt"]] }, 200],
    ["not-http", { raw: "HTTP/1.1 777 Jackpot\r\nContent-Length: 0\r\n\r\n" }, 502],
  ]) {
    test(`says why: ${reason}, of ${JSON.stringify(answer).slice(0, 60)}`, async () => {
      const it = answered("usual", answer);
      const first = await it.send();
      assert.equal(first.status, status, first.text);
      assert.equal(first.get("Idempotency-Status"), "unknown");
      const record = await doubtOf(it);
      assert.equal(record.reason, reason);
      // Only a call that is still read keeps its lease.
      assert.equal(Date.parse(record.lease_until) > Date.now(), reason === "timeout");
      const list = await on.worker.send({ method: "GET", path: `/.oncegate/records?state=in_doubt&correlation_id=${it.id}`, headers: BEARER });
      assert.deepEqual(list.json.records.map((each) => each.reason), [reason]);
      const page = await on.worker.send({ method: "GET", path: `/.oncegate/records/${record.key_id}`, headers: { ...BEARER, Accept: "text/html" } });
      assert.ok(page.text.includes(`<code>${reason}</code>`), page.text.slice(0, 500));
      isOutcomeUnknown(await it.send());
      const lines = await until(() => linesOf(on.worker, it.id).length === 2 && linesOf(on.worker, it.id));
      for (const line of lines) assert.ok(line.why.startsWith(`${reason}: `), line.why);
    });
  }
  test("says why: lease-over, where the runtime died and nobody else knew", async () => {
    const origin = await startOrigin();
    const worker = await start({ origin, routes: ROUTES, shards: 4, vars: { ADMIN_TOKEN: TOKEN } });
    try {
      const it = { path: freshPath("/usual"), key: freshKey() };
      origin.on(it.path, { silent: true });
      worker.send(it).catch(() => {});
      await origin.reached(it.path);
      await worker.kill();
      await worker.restart();
      const record = await until(async () => {
        const [record] = await recordsOf(worker, it.key);
        return record?.state === "in_doubt" && record;
      }, { ms: 30_000, every: 500 });
      assert.equal(record.reason, "lease-over");
      isOutcomeUnknown(await worker.send(it));
      await until(() => worker.logs.includes('"why":"lease-over: '));
    } finally {
      await worker.stop();
      origin.close();
    }
  });

  test("whose call is still read is waited for like a running one, and refused with the lease's end where nobody waits", async () => {
    const { opened, open } = gate();
    const it = answered("patient", async () => (await opened, { status: 201, body: "late" }));
    isOutcomeUnknown(await it.send(), 504);
    for (const strategy of ["FAIL", "FAIL_ON_RUNNING"]) {
      const refused = await it.send({ headers: { "X-On-Conflict": strategy } });
      isOutcomeUnknown(refused);
      const seconds = Number(refused.get("Retry-After"));
      assert.ok(seconds > 10 && seconds <= 15, `${seconds} s`);
    }
    const began = Date.now();
    const waited = await it.send();
    isOutcomeUnknown(waited);
    assert.ok(Date.now() - began >= 2_900, "it waits as long as its route says");
    assert.ok(Number(waited.get("Retry-After")) <= 13);
    const joins = it.send();
    await pass(500);
    open();
    const joined = await joins;
    assert.equal(joined.text, "late");
    isJoined(joined, joined);
    isReplay(await it.send(), joined);
    assert.equal(it.count(), 1);
  });
  test("whose call ends in another doubt is no longer waited for: retry acts at once", async () => {
    const { opened, open } = gate();
    const it = answered("retry", async (_, n) => (n > 1 ? { status: 201, body: "run 2" } : (await opened, { reset: true })));
    isOutcomeUnknown(await it.send(), 504);
    const waits = it.send();
    await pass(300);
    assert.equal(it.count(), 1);
    open();
    const done = await waits;
    isExecuted(done);
    assert.equal(done.text, "run 2");
  });

  const chunked = (type, ...chunks) => `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("")}`;
  test("is what becomes of a stream that the origin breaks off, after it was settled at its head", async () => {
    const { opened, open } = gate();
    const it = answered("usual", { parts: ["data: 1\n\n", opened], hang: true, headers: [["Content-Type", "text/event-stream"]] });
    const first = on.worker.open(it);
    assert.equal((await first.head).get("Idempotency-Status"), "executed");
    const [settled] = await recordsOf(on.worker, it.key);
    assert.deepEqual([settled.state, settled.status, settled.bytes, settled.reason], ["completed", 200, null, null]);
    const early = await it.send();
    assert.deepEqual([early.status, early.json.code, early.json.original_status], [409, "reply-not-stored", 200]);
    // Longer than the timeout, which counts to the head.
    await pass(1_500);
    assert.equal((await recordsOf(on.worker, it.key))[0].state, "completed");
    first.close();
    open();
    for (const [prefix, raw] of [["usual", chunked("application/x-ndjson", "{}\n")], ["lines", chunked("application/x-lines; a=b", "one\n")], ["lines", `${chunked("text/plain", "x".repeat(200 * KiB))}`]]) {
      const cut = answered(prefix, { raw });
      await cut.send().catch(() => {});
      const record = await doubtOf(cut);
      assert.equal(record.reason, "truncated");
      isOutcomeUnknown(await cut.send());
      assert.equal(cut.count(), 1);
    }
  });
  test("is not what becomes of a stream whose client leaves, or of one that ends", async () => {
    const { opened, open } = gate();
    const it = answered("usual", { parts: ["data: 1\n\n", opened, "data: 2\n\n"], headers: [["Content-Type", "text/event-stream"]] });
    const leaving = on.worker.open(it);
    await leaving.head;
    leaving.close();
    await pass(500);
    assert.equal((await recordsOf(on.worker, it.key))[0].state, "completed");
    open();
    const whole = answered("usual", { raw: `${chunked("application/grpc-web", "a", "b")}0\r\n\r\n` });
    assert.equal((await whole.send()).text, "ab");
    assert.equal((await whole.send()).json.code, "reply-not-stored");
    assert.equal((await recordsOf(on.worker, whole.key))[0].state, "completed");
  });

  const json = (value) => ({ status: 200, headers: [JSON_TYPE], body: JSON.stringify(value) });
  const coded = (value, coding, code) => ({ status: 200, headers: [JSON_TYPE, ["Content-Encoding", coding]], body: code(JSON.stringify(value)) });
  const frees = (it) => it.send().then(async (first) => {
    isReleased(first, first.status);
    isReleased(await it.send(), first.status);
    assert.equal(it.count(), 2);
    return first;
  });
  const stores = async (it) => {
    const first = await it.send();
    isExecuted(first, first.status);
    isReplay(await it.send(), first);
  };
  const doubts = async (it) => {
    const first = await it.send();
    isUnknown(first, first.status);
    isOutcomeUnknown(await it.send());
    assert.equal(it.count(), 1);
  };
  test("outcome.when: a decline in a 200 frees the key, coded or not, and reaches the client as it came", async () => {
    const decline = { approved: false };
    await frees(answered("when", json(decline)));
    await frees(answered("when", { ...json(decline), status: 402 }));
    for (const [coding, code] of [["gzip", gzipSync], ["x-gzip", gzipSync], ["deflate", deflateSync]]) {
      const first = await frees(answered("when", coded(decline, coding, code)));
      assert.ok(first.body.equals(code(JSON.stringify(decline))), "the bytes stay coded");
      assert.equal(first.get("Content-Encoding"), coding);
    }
    await stores(answered("when", json({ approved: true })));
    await stores(answered("when", coded({ approved: true }, "gzip", gzipSync)));
    await doubts(answered("when", json({ state: "pending" })));
    await frees(answered("when", { status: 503, headers: [["X-Maintenance", "until noon"]] }));
    await doubts(answered("when", { status: 503 }));
    await stores(answered("when", { ...json(decline), headers: [JSON_TYPE, ["Idempotency-Outcome", "store"]] }));
  });
  test("outcome.when: bodies are asked for in a coding that can be decoded", async () => {
    for (const [accepts, asked] of [["br, gzip;q=0.5", "gzip"], [null, "gzip"], ["br", "identity"]]) {
      const it = answered("when", json({ approved: true }));
      await it.send({ headers: accepts ? { "Accept-Encoding": accepts } : {} });
      assert.equal(it.seen().get("Accept-Encoding"), asked);
    }
    const plain = answered("usual", json({}));
    await plain.send({ headers: { "Accept-Encoding": "br" } });
    assert.equal(plain.seen().get("Accept-Encoding"), "br", "a route without such rules asks for nothing");
  });
  test("outcome.when: a body that cannot be read frees nothing and is not stored as what it may not be", async () => {
    const bomb = gzipSync(Buffer.alloc(256 * KiB * KiB, "0"));
    const before = on.worker.megabytes;
    const unreadable = {
      brotli: coded({ approved: false, ok: true }, "br", brotliCompressSync),
      "not JSON": { status: 200, headers: [JSON_TYPE], body: "<html>" },
      "cut gzip": { status: 200, headers: [JSON_TYPE, ["Content-Encoding", "gzip"]], body: gzipSync('{"approved":false}').subarray(0, 20) },
      "no gzip at all": { status: 200, headers: [JSON_TYPE, ["Content-Encoding", "gzip"]], body: '{"approved":false}' },
      "a gzip bomb": { status: 200, headers: [JSON_TYPE, ["Content-Encoding", "gzip"]], body: bomb },
      "above 1 MiB": json({ approved: false, ok: true, more: "x".repeat(KiB * KiB) }),
      streamed: { status: 200, headers: [["Content-Type", "application/jsonl"]], parts: ['{"approved":false}\n'] },
      empty: { status: 204 },
    };
    for (const [what, answer] of Object.entries(unreadable)) {
      const it = answered("when", answer);
      if (answer.status !== 204 && what !== "streamed") await doubts(it).catch((error) => assert.fail(`${what}: ${error.message}`));
      const sure = answered("sure", answer);
      if (answer.status === 200) {
        isUnknown(await sure.send(), 200);
        isOutcomeUnknown(await sure.send());
      } else await stores(sure);
    }
    assert.ok(on.worker.megabytes - before < 150, `a bomb costs nothing: ${before} MB, then ${on.worker.megabytes}`);
  });

  /** A key in doubt, and what its probe is answered. */
  async function doubtful(prefix, told) {
    const it = answered(prefix, (_, n) => (n === 1 ? { status: 502 } : { status: 201, body: `run ${n}` }));
    isUnknown(await it.send(), 502);
    on.origin.on(`/by-key/${it.key}`, told);
    return it;
  }
  test("a probe asks past every cache, and believes none", async () => {
    for (const headers of [[["Age", "0"]], [["CF-Cache-Status", "HIT"]], [["cf-cache-status", "MISS"]]]) {
      for (const status of [200, 404]) {
        const it = await doubtful("probe", { status, headers: [JSON_TYPE, ...headers], body: "{}" });
        isOutcomeUnknown(await it.send());
        const [seen] = on.origin.executions(`/by-key/${it.key}`);
        assert.match(seen.get("Cache-Control"), /^no-cache(, no-cache)?$/);
        assert.equal(it.count(), 1);
      }
    }
    for (const headers of [[], [["CF-Cache-Status", "DYNAMIC"]], [["CF-Cache-Status", "bypass"]]]) {
      const it = await doubtful("probe", { status: 200, headers: [JSON_TYPE, ...headers], body: '{"state":"paid"}' });
      assert.equal((await it.send()).text, '{"state":"paid"}');
    }
  });
  test("outcome.when judges a probe's answer too, and probe_absent a 404", async () => {
    const pending = await doubtful("probe", json({ state: "pending" }));
    isOutcomeUnknown(await pending.send());
    on.origin.on(`/by-key/${pending.key}`, json({ state: "paid" }));
    assert.equal((await pending.send()).text, '{"state":"paid"}');
    for (const body of ["", "Not Found", '{"code":"no_such_route"}']) {
      const it = await doubtful("absent", { status: 404, body });
      isOutcomeUnknown(await it.send());
    }
    const absent = await doubtful("absent", { status: 404, headers: [["Content-Encoding", "gzip"]], body: gzipSync('{"code":"not_found"}') });
    const done = await absent.send();
    isExecuted(done);
    assert.equal(done.text, "run 2");
  });
});
