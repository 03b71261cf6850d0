// Contract 1.8, 1.9 and their knobs: in which form the key goes on to the origin (forward_key), which headers of a
// reply are kept (reply.drop, reply.keep), what browsers may read (cors), and Stripe-Should-Retry.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay } from "./expect.mjs";
import { freshKey, freshPath, gate, stage } from "./harness.mjs";

const ALICE = { Authorization: "Bearer alice" };
const BOB = { Authorization: "Bearer bob" };
const AGAIN = { "X-On-Conflict": "FAIL_ON_RUNNING" };

describe("forward_key", { concurrency: 8, timeout: 60_000 }, () => {
  const everywhere = { from: ["header:Idempotency-Key", "header:X-Job", "query:job", "body:/job"] };
  const forwarding = (forward_key, key = everywhere, name = forward_key) => ({
    name, methods: ["POST"], path: `/${name}/{*rest}`, forward_key, key, credential_change: "forward", client_strategies: ["return_existing", "fail_on_running"],
  });
  const child = { from: ["header:X-Correlation-Id"] };
  const on = stage({
    routes: [...["same", "derived", "none"].flatMap((form) => [forwarding(form), forwarding(form, child, `child-${form}`)]), forwarding("derived", everywhere, "other")],
  });
  /** Sends it and resolves to what the origin got. */
  async function got({ path = freshPath("/same"), query = "", ...spec }, is = isExecuted) {
    const n = on.origin.count(path);
    is(await on.worker.send({ ...spec, path: path + query }));
    assert.equal(on.origin.count(path), n + 1);
    return on.origin.executions(path)[n];
  }
  const isOwn = (key, ...raw) => {
    assert.match(key, /^[!-~]{16,255}$/);
    for (const part of raw) assert.ok(!key.includes(part), key);
  };

  test("same: the key goes on as received, wherever it was found, and is put nowhere else", async () => {
    for (const value of ["k-1", '"k-2"', '"k-3";v=1']) assert.deepEqual((await got({ path: freshPath("/same"), key: value })).all("Idempotency-Key"), [value]);
    const byHeader = await got({ path: freshPath("/same"), headers: { "X-Job": "j-1" } });
    assert.deepEqual([byHeader.get("Idempotency-Key"), byHeader.get("X-Job")], [null, "j-1"]);
    const byQuery = await got({ path: freshPath("/same"), query: "?job=j%2D1" });
    assert.equal(byQuery.get("Idempotency-Key"), null);
    assert.equal(byQuery.url, `${byQuery.path}?job=j%2D1`);
    const byBody = await got({ path: freshPath("/same"), body: '{"job" : 7}' });
    assert.deepEqual([byBody.get("Idempotency-Key"), byBody.body.toString()], [null, '{"job" : 7}']);
  });
  test("derived: the origin gets a key of its own, in every header that the key may be taken from, and the rest as it came", async () => {
    const key = freshKey();
    const byKey = await got({ path: freshPath("/derived"), key });
    isOwn(byKey.get("Idempotency-Key"), key);
    assert.equal(byKey.get("X-Job"), null);
    const job = freshKey();
    const byHeader = await got({ path: freshPath("/derived"), headers: { "X-Job": job, "X-Other": job } });
    isOwn(byHeader.get("Idempotency-Key"), job);
    assert.equal(byHeader.get("X-Job"), byHeader.get("Idempotency-Key"));
    assert.equal(byHeader.get("X-Other"), job);
    const both = await got({ path: freshPath("/derived"), key, headers: { "X-Job": job } });
    assert.equal(both.get("X-Job"), both.get("Idempotency-Key"));
    for (const spec of [{ query: `?job=${job}` }, { body: JSON.stringify({ job }) }]) {
      const seen = await got({ path: freshPath("/derived"), ...spec });
      isOwn(seen.get("Idempotency-Key"), job);
      assert.equal(seen.get("X-Job"), null);
      assert.equal(seen.url, seen.path + (spec.query ?? ""));
      if (spec.body) assert.equal(seen.body.toString(), spec.body);
    }
  });
  test("derived: it is another one per run, route, path and caller, and for every key", async () => {
    const key = freshKey();
    const path = freshPath("/derived");
    const all = [];
    all.push(await got({ path, key, headers: ALICE }));
    isReplay(...(await Promise.all([on.worker.send({ path, key, headers: ALICE }), on.worker.send({ path, key, headers: ALICE })])));
    all.push(await got({ path, key, headers: { ...ALICE, ...AGAIN } }));
    all.push(await got({ path, key, headers: BOB }));
    all.push(await got({ path: freshPath("/derived"), key, headers: ALICE }));
    all.push(await got({ path: freshPath("/other"), key, headers: ALICE }));
    all.push(await got({ path, key: freshKey(), headers: ALICE }));
    assert.equal(new Set(all.map((seen) => seen.get("Idempotency-Key"))).size, all.length);
    assert.deepEqual(all.map((seen) => seen.get("Idempotency-Attempt")), all.map(() => "1"));
  });
  test("derived: the two forms of one key are one run", async () => {
    const [key, path] = [freshKey(), freshPath("/derived")];
    const seen = await got({ path, key: `"${key}"` });
    isOwn(seen.get("Idempotency-Key"), key, '"');
    isReplay(await on.worker.send({ path, key }), await on.worker.send({ path, key }));
    assert.equal(on.origin.count(path), 1);
  });
  test("none: no header that the key may be taken from reaches the origin, all others do", async () => {
    const [key, job] = [freshKey(), freshKey()];
    for (const spec of [{ key }, { headers: { "X-Job": job } }, { key, headers: { "X-Job": job } }, { query: `?job=${job}` }]) {
      const seen = await got({ path: freshPath("/none"), ...spec, headers: { ...spec.headers, "X-Other": "o", ...ALICE } });
      assert.deepEqual(["Idempotency-Key", "X-Job", "X-Other", "Authorization", "Idempotency-Attempt"].map((name) => seen.get(name)), [null, null, "o", ALICE.Authorization, "1"]);
      for (const [, value] of seen.headers) assert.ok(!value.includes(key) && !value.includes(job));
    }
  });
  test("a request without a key keeps all its headers, whatever forward_key says", async () => {
    for (const prefix of ["/child-derived", "/child-none"]) {
      const path = freshPath(prefix);
      assert.equal((await on.worker.send({ path, key: "not-a-source", headers: { "X-Job": "j" } })).status, 201);
      const [seen] = on.origin.executions(path);
      assert.deepEqual([seen.get("Idempotency-Key"), seen.get("X-Job")], ["not-a-source", "j"]);
    }
  });
  for (const form of ["same", "derived", "none"]) {
    test(`${form}: a correlation id that is the key too still correlates, at the origin and at the client`, async () => {
      const spec = { path: freshPath(`/child-${form}`), headers: { "X-Correlation-Id": `parent-${freshKey()}` } };
      const response = await on.worker.send(spec);
      isExecuted(response);
      assert.equal(response.get("X-Correlation-Id"), spec.headers["X-Correlation-Id"]);
      assert.deepEqual(on.origin.executions(spec.path)[0].all("X-Correlation-Id"), [spec.headers["X-Correlation-Id"]]);
    });
  }
});

describe("what is kept of a reply", { concurrency: 8, timeout: 60_000 }, () => {
  const on = stage({
    routes: [
      { name: "adjusted", methods: ["POST"], path: "/adjusted/{*rest}", reply: { drop: ["ETag", "x-internal", "X-Both", "Content-Type"], keep: ["Set-Cookie", "date", "RateLimit-Limit", "Server-Timing", "CF-Ray", "X-Both"] } },
      { name: "usual", methods: ["POST"], path: "/{*rest}" },
    ],
  });
  test("reply.drop leaves out and reply.keep leaves in, on replays only", async () => {
    const spec = { path: freshPath("/adjusted"), key: freshKey() };
    const headers = [
      ["Content-Type", "text/plain"], ["ETag", '"1"'], ["X-Internal", "secret"], ["X-INTERNAL", "more"], ["X-Both", "1"], ["Set-Cookie", "a=1; Path=/"], ["Set-Cookie", "b=2, 3"],
      ["Date", "Sat, 21 Nov 2026 10:00:00 GMT"], ["RateLimit-Limit", "100"], ["RateLimit-Remaining", "9"], ["Server-Timing", "db;dur=1"], ["CF-Ray", "8f1-FRA"], ["Age", "7"], ["Link", "</1>"],
    ];
    on.origin.on(spec.path, { status: 201, headers, body: "paid" });
    const first = await on.worker.send(spec);
    isExecuted(first);
    for (const [name, value] of headers) assert.ok(first.get(name).includes(value), name);
    const replay = await on.worker.send(spec);
    assert.equal(replay.get("Idempotent-Replayed"), "true");
    assert.equal(replay.text, "paid");
    const kept = { "Set-Cookie": ["a=1; Path=/", "b=2, 3"], Date: ["Sat, 21 Nov 2026 10:00:00 GMT"], "RateLimit-Limit": ["100"], "Server-Timing": ["db;dur=1"], "CF-Ray": ["8f1-FRA"], Link: ["</1>"] };
    for (const [name, values] of Object.entries(kept)) assert.deepEqual(replay.all(name), values, name);
    for (const name of ["ETag", "X-Internal", "X-Both", "RateLimit-Remaining", "Age"]) assert.equal(replay.get(name), null, name);
    assert.notEqual(replay.get("Content-Type"), "text/plain");
    isProblem(await on.worker.send({ ...spec, body: "other" }), "key-reused");
  });

  test("a replayed or joined 5xx says that trying again is of no use, whatever the origin said; the first caller hears the origin", async () => {
    for (const said of [[], [["Stripe-Should-Retry", "true"]]]) {
      const spec = { path: freshPath(), key: freshKey() };
      const { opened, open } = gate();
      on.origin.on(spec.path, async () => (await opened, { status: 500, headers: said, body: "no" }));
      const running = on.worker.send(spec);
      await on.origin.reached(spec.path);
      const waiting = on.worker.send(spec);
      open();
      const first = await running;
      isExecuted(first, 500);
      assert.equal(first.get("Stripe-Should-Retry"), said[0]?.[1] ?? null);
      const joined = await waiting;
      isReplay(joined, first, /^(joined|replayed)$/);
      const replay = await on.worker.send(spec);
      isReplay(replay, first);
      for (const response of [joined, replay]) assert.deepEqual(response.all("Stripe-Should-Retry"), ["false"]);
    }
  });
  test("what the origin said of coming again is told once, and a replay says nothing of it below 500", async () => {
    const said = { "Stripe-Should-Retry": "true", "X-Should-Retry": "true", "Retry-After": "7" };
    for (const [status, kept] of [[201, ["Retry-After"]], [402, []], [501, []]]) {
      const spec = { path: freshPath(), key: freshKey() };
      on.origin.on(spec.path, { status, headers: Object.entries(said), body: "said" });
      const first = await on.worker.send(spec);
      isExecuted(first, status);
      for (const [name, value] of Object.entries(said)) assert.equal(first.get(name), value);
      const replay = await on.worker.send(spec);
      isReplay(replay, first);
      assert.equal(replay.get("Retry-After"), kept.includes("Retry-After") ? "7" : null);
      for (const name of ["Stripe-Should-Retry", "X-Should-Retry"]) assert.equal(replay.get(name), status < 500 ? null : "false");
    }
  });
});

describe("cors", { concurrency: 8, timeout: 60_000 }, () => {
  const APP = "https://app.example.com";
  const ADMIN = "https://admin.example.com:8443";
  const STRANGERS = ["https://evil.example", "http://app.example.com", "https://app.example.com.evil.example", "https://app.example.com:444", "https://xapp.example.com", "null", `${APP}/`, `${APP}, ${ADMIN}`];
  const on = stage({
    routes: [
      { name: "browser", methods: ["POST"], path: "/browser/{*rest}", cors: [APP, ADMIN], key: { required: true } },
      { name: "any", methods: ["POST"], path: "/any/{*rest}", cors: ["*"] },
      { name: "usual", methods: ["POST"], path: "/{*rest}", key: { required: true } },
    ],
  });
  const from = (Origin) => ({ headers: Origin === null ? {} : { Origin } });
  const isReadable = (response, origin) => {
    assert.deepEqual(response.all("Access-Control-Allow-Origin"), [origin]);
    const exposed = response.get("Access-Control-Expose-Headers").toLowerCase().split(/\s*,\s*/);
    for (const name of ["idempotent-replayed", "idempotency-status", "idempotency-expires", "x-correlation-id"]) assert.ok(exposed.includes(name), name);
    assert.match(response.get("Vary") ?? "", /\borigin\b/i);
  };
  const isClosed = (response) => assert.equal(response.get("Access-Control-Allow-Origin"), null);
  const operation = (prefix, headers) => {
    const it = { path: freshPath(prefix), key: freshKey() };
    on.origin.on(it.path, { status: 201, headers, body: "paid" });
    return it;
  };

  test("a listed origin may read problems, replays and the filter's headers on them; nobody else may", async () => {
    const it = operation("/browser", [["Vary", "Accept-Encoding"]]);
    const first = await on.worker.send({ ...it, ...from(APP) });
    isExecuted(first);
    for (const origin of [APP, ADMIN]) {
      const replay = await on.worker.send({ ...it, ...from(origin) });
      isReplay(replay, first);
      isReadable(replay, origin);
      assert.match(replay.get("Vary"), /accept-encoding/i);
      const problems = { "key-missing": { key: undefined }, "key-invalid": { key: "a,b" }, "key-reused": { body: "other" } };
      for (const [code, more] of Object.entries(problems)) {
        const { key, ...spec } = { ...it, ...from(origin), ...more };
        const problem = await on.worker.send(key === undefined ? spec : { ...spec, key });
        isProblem(problem, code);
        isReadable(problem, origin);
      }
    }
    for (const origin of [...STRANGERS, null]) {
      const replay = await on.worker.send({ ...it, ...from(origin) });
      isReplay(replay, first);
      isClosed(replay);
      const problem = await on.worker.send({ ...it, ...from(origin), body: "other" });
      isProblem(problem, "key-reused");
      isClosed(problem);
    }
  });
  test("a listed origin reads a reply that was stored for another page, without that page's grant", async () => {
    const it = operation("/browser", [["Access-Control-Allow-Origin", ADMIN], ["Access-Control-Allow-Credentials", "true"]]);
    const first = await on.worker.send({ ...it, ...from(ADMIN) });
    assert.deepEqual(first.all("Access-Control-Allow-Origin"), [ADMIN]);
    isReadable(await on.worker.send({ ...it, ...from(APP) }), APP);
    isReadable(await on.worker.send({ ...it, ...from(ADMIN) }), ADMIN);
    isClosed(await on.worker.send({ ...it, ...from("https://evil.example") }));
  });
  test("headers that the origin exposed are exposed on a replay too", async () => {
    const it = operation("/browser", [["Access-Control-Allow-Origin", APP], ["Access-Control-Expose-Headers", "X-Total, X-Next"], ["X-Total", "3"]]);
    const first = await on.worker.send({ ...it, ...from(APP) });
    assert.match(first.get("Access-Control-Expose-Headers"), /^X-Total, X-Next, Idempotent-Replayed/);
    const replay = await on.worker.send({ ...it, ...from(APP) });
    isReadable(replay, APP);
    assert.match(replay.get("Access-Control-Expose-Headers"), /x-total/i);
  });
  test("an origin that is named may send credentials; a first answer exposes the filter's headers and grants nothing by itself", async () => {
    const it = operation("/browser", []);
    const first = await on.worker.send({ ...it, ...from(APP) });
    isExecuted(first);
    assert.deepEqual([first.get("Access-Control-Allow-Origin"), first.get("Access-Control-Allow-Credentials")], [null, null]);
    assert.match(first.get("Access-Control-Expose-Headers"), /Idempotency-Status/);
    for (const response of [await on.worker.send({ ...it, ...from(APP) }), await on.worker.send({ ...it, ...from(APP), body: "other" })]) {
      assert.deepEqual(response.all("Access-Control-Allow-Credentials"), ["true"]);
    }
    for (const origin of [STRANGERS[0], null]) assert.equal((await on.worker.send({ ...it, ...from(origin) })).get("Access-Control-Expose-Headers"), null);
  });
  test("a stored grant of credentials is replayed to the Origin that it was made for only, and * grants none", async () => {
    const credentials = ["Access-Control-Allow-Credentials", "true"];
    for (const [prefix, granted, origin, expected] of [["/usual", APP, APP, "true"], ["/usual", APP, ADMIN, null], ["/usual", APP, null, null], ["/usual", "*", APP, null], ["/any", APP, ADMIN, null], ["/any", APP, APP, "true"], ["/any", "*", APP, null]]) {
      const it = operation(prefix, [["Access-Control-Allow-Origin", granted], credentials]);
      await on.worker.send({ ...it, ...from(APP) });
      const replay = await on.worker.send({ ...it, ...from(origin) });
      assert.equal(replay.get("Idempotency-Status"), "replayed");
      assert.equal(replay.get("Access-Control-Allow-Credentials"), expected, `${prefix}: ${granted} to ${origin}`);
    }
  });
  test("without cors a stored Access-Control-Allow-Origin is replayed to the Origin that it names, and to no other", async () => {
    const it = operation("/usual", [["Access-Control-Allow-Origin", APP], ["Vary", "Origin"], ["Access-Control-Expose-Headers", "X-Total"]]);
    const first = await on.worker.send({ ...it, ...from(APP) });
    assert.deepEqual(first.all("Access-Control-Allow-Origin"), [APP]);
    const replay = await on.worker.send({ ...it, ...from(APP) });
    isReplay(replay, first);
    assert.deepEqual(replay.all("Access-Control-Allow-Origin"), [APP]);
    for (const origin of [...STRANGERS, ADMIN, null]) isClosed(await on.worker.send({ ...it, ...from(origin) }));
    for (const origin of [APP, null]) isClosed(await on.worker.send({ ...it, ...from(origin), body: "other" }));
  });
  test("without cors a stored grant to everybody is replayed to everybody", async () => {
    const it = operation("/usual", [["Access-Control-Allow-Origin", "*"]]);
    await on.worker.send({ ...it, ...from(APP) });
    for (const origin of [APP, "https://other.example"]) assert.deepEqual((await on.worker.send({ ...it, ...from(origin) })).all("Access-Control-Allow-Origin"), ["*"]);
  });
  test("the origin's own answers keep the grants that the origin made, on every route", async () => {
    for (const prefix of ["/browser", "/usual"]) {
      for (const status of [201, 429]) {
        const it = operation(prefix);
        on.origin.on(it.path, { status, headers: [["Access-Control-Allow-Origin", "https://other.example"]] });
        const first = await on.worker.send({ ...it, ...from("https://other.example") });
        (status === 201 ? isExecuted : isReleased)(first, status);
        assert.deepEqual(first.all("Access-Control-Allow-Origin"), ["https://other.example"]);
      }
    }
  });
});
