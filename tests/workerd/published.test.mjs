// Contract 1.13: GET /.well-known/idempotency, the rules that a client may rely on.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProblem } from "./expect.mjs";
import { freshKey, stage } from "./harness.mjs";

const WELL_KNOWN = "/.well-known/idempotency";
const CODES = {
  "key-missing": 400, "key-invalid": 400, "strategy-invalid": 400, "key-reused": 422, "in-flight": 409, "origin-unreachable": 502, misconfigured: 500,
  "already-executed": 409, "credential-changed": 409, "credential-refused": 401, "credential-unverifiable": 503, "reply-not-stored": 409, "outcome-unknown": 409, "key-expired": 410, "request-too-large": 413, "not-guarded": 404, "status-unknown": 404, "loop-detected": 508, "outside-window": 412, "store-unavailable": 503,
};
const RETRIED = ["credential-unverifiable", "in-flight", "origin-unreachable", "store-unavailable"];
/** Whether a status is within a list such as ["200-399", "402"]. */
const holds = (list, status) => list.some((range) => {
  const [from, to = from] = range.split("-").map(Number);
  return status >= from && status <= to;
});

describe("the published policy", { concurrency: 4, timeout: 60_000 }, () => {
  const routes = [
    {
      name: "charge", methods: ["POST", "PUT"], path: "/v1/payments/{id}/charge", key: { from: ["header:Idempotency-Key", "query:key", "body:/order/id"], required: true }, credential: ["header:X-Very-Secret"],
      fingerprint: { body: "json", query: false, headers: ["X-Tenant"] }, on_duplicate: "fail", client_strategies: ["return_existing", "fail_on_running"], wait: "3s", timeout: "45s",
      outcome: { preset: "strict", release: [500], in_doubt: [404] }, ttl: "7d", tombstone: "36h", on_in_doubt: "probe", probe: "/secret-probe/{key}", cors: ["https://app.example.com"],
    },
    { name: "hook", methods: ["POST"], path: "/hooks/stripe", preset: "stripe-webhook" },
    { name: "templated", methods: ["POST"], path: "/shops/{*rest}", key: { from: ["template:pay-{header:X-Shop}-{body:/order/id}"] }, fingerprint: { body: ["/amount", "/a~1b"] }, ttl: "90m", tombstone: "1s" },
    { name: "hidden", methods: ["POST"], path: "/internal/{*rest}", publish: false },
    { name: "disabled", methods: ["POST"], path: "/off", mode: "off" },
    { name: "plain", methods: ["POST"], path: "/plain" },
  ];
  const on = stage({ routes });
  const get = (spec = {}) => on.worker.send({ method: "GET", path: WELL_KNOWN, ...spec });
  const rules = async (name) => (await get()).json.routes.find((route) => route.name === name);

  test("it is JSON, to everybody, and does not come from the origin", async () => {
    on.origin.on(WELL_KNOWN, { status: 418, body: "the origin's" });
    for (const spec of [{}, { path: `${WELL_KNOWN}?x=1` }, { path: "/.well-known/%69dempotency" }, { path: `/${WELL_KNOWN}/` }, { host: "other.example" }, { headers: { Authorization: "wrong" } }]) {
      const response = await get(spec);
      assert.equal(response.status, 200);
      assert.match(response.get("Content-Type"), /^application\/json(;|$)/);
      assert.deepEqual(response.json, (await get()).json);
    }
    assert.equal(on.origin.executions(WELL_KNOWN).filter(({ method }) => method === "GET").length, 0);
  });
  test("only GET and HEAD are answered, and nothing beneath it: other requests are the origin's", async () => {
    on.origin.on(WELL_KNOWN, { status: 418, body: "the origin's" });
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) assert.equal((await on.worker.send({ method, path: WELL_KNOWN })).status, 418);
    for (const path of [`${WELL_KNOWN}/x`, "/.well-known/idempotency-key", "/x/.well-known/idempotency"]) assert.equal((await get({ path })).status, 201);
  });
  test("HEAD says the same without the document", async () => {
    const [head, whole] = [await on.worker.send({ method: "HEAD", path: WELL_KNOWN }), await get()];
    assert.deepEqual([head.status, head.get("Content-Type"), head.get("Cache-Control"), head.text], [200, whole.get("Content-Type"), whole.get("Cache-Control"), ""]);
    assert.equal(on.origin.executions(WELL_KNOWN).filter(({ method }) => method === "HEAD").length, 0);
  });
  test("every route that is published and in force is in it, and no other", async () => {
    assert.deepEqual((await get()).json.routes.map((route) => route.name).sort(), ["charge", "hook", "plain", "templated"]);
  });
  // tests/host/policy/published.rs has the whole of it, in its order and spelling.
  test("a route says what it guards, by which key, what a retry must match, what a duplicate gets, and for how long", async () => {
    const lower = (list) => list.map((text) => text.toLowerCase());
    const { methods, path, key, fingerprint, on_duplicate, client_strategies, ttl, tombstone } = await rules("charge");
    assert.deepEqual([methods, path, key.required, on_duplicate, ttl, tombstone], [["POST", "PUT"], "/v1/payments/{id}/charge", true, "fail", "P7D", "P1DT12H"]);
    assert.deepEqual(lower(key.from), ["header:idempotency-key", "query:key", "body:/order/id"]);
    assert.match(key.grammar, /\b255\b/);
    assert.deepEqual([fingerprint.body, fingerprint.query, lower(fingerprint.headers)], ["json", false, ["x-tenant"]]);
    assert.deepEqual(client_strategies, ["RETURN_EXISTING", "FAIL_ON_RUNNING"]);
    for (const strategy of client_strategies) {
      const response = await on.worker.send({ path: "/v1/payments/7/charge", key: freshKey(), headers: { "X-On-Conflict": strategy } });
      assert.equal(response.get("Idempotency-Status"), "executed", strategy);
    }
    const templated = await rules("templated");
    assert.deepEqual([lower(templated.key.from), templated.fingerprint.body, templated.ttl], [["template:pay-{header:x-shop}-{body:/order/id}"], ["/amount", "/a~1b"], "PT1H30M"]);
    const hook = await rules("hook");
    assert.deepEqual([hook.key.from, hook.fingerprint.body, hook.ttl], [["body:/id"], "none", "P7D"]);
  });
  test("what a route says of a status is what happens", async () => {
    const path = "/v1/payments/8/charge";
    const { outcome } = await rules("charge");
    assert.equal(outcome.preset, "strict");
    for (const status of [200, 201, 302, 400, 402, 404, 409, 422, 429, 500, 501, 502, 504, 521, 599]) {
      on.origin.on(path, { status, body: "x" });
      const said = { executed: "store", released: "release", unknown: "in_doubt" }[(await on.worker.send({ path, key: freshKey() })).get("Idempotency-Status")];
      for (const name of ["store", "release", "in_doubt"]) assert.equal(holds(outcome[name], status), name === said, `${status}: ${said}`);
    }
    const hook = (await rules("hook")).outcome;
    assert.equal(hook.preset, "success-only");
    assert.deepEqual([holds(hook.store, 204), holds(hook.release, 500), holds(hook.in_doubt, 504)], [true, true, true]);
  });
  test("every problem code is in it, with its status and what it asks of the client", async () => {
    const { problems } = (await get()).json;
    assert.deepEqual(Object.fromEntries(problems.map(({ code, status }) => [code, status])), CODES);
    for (const problem of problems) {
      for (const name of ["title", "ask"]) assert.ok(problem[name]?.length > 5, `${name} of ${problem.code}`);
      assert.equal(problem.retry, RETRIED.includes(problem.code));
    }
    const { title, type } = isProblem(await on.worker.send({ path: "/v1/payments/9/charge", body: "{}" }), "key-missing");
    assert.equal(type, `${WELL_KNOWN}#key-missing`);
    assert.equal(problems.find(({ code }) => code === "key-missing").title, title);
  });
  test("no origin address, secret, credential or hidden route is in it", async () => {
    const { text } = await get();
    for (const hidden of [String(on.origin.port), "127.0.0.1", "X-Very-Secret", "secret-probe", "internal", "/off"]) assert.equal(text.toLowerCase().includes(hidden.toLowerCase()), false, hidden);
  });
});
