// Contract part 2: one line of the log for each guarded request, which says why, and nothing that is secret; one
// data point where there is a dataset.

import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { describe, test } from "node:test";
import { freshKey, freshPath, gate, stage, until } from "./harness.mjs";

const routes = [
  { name: "needs", methods: ["POST"], path: "/needs", key: { required: true } },
  { name: "charge", methods: ["POST"], path: "/{*rest}", timeout: "1s" },
];
const LOG_KEY = "a secret of thirty-two bytes or more";
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const SECRETS = ["Bearer sesame", "a secret body"];
const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

describe("the log", { timeout: 60_000 }, () => {
  const on = stage({ routes, shards: 4, vars: { LOG_KEY } });
  /** The lines about one correlation id. */
  const linesOf = (id) => on.worker.logs.split("\n").filter((line) => line.startsWith("{") && line.includes(`"correlation_id":"${id}"`)).map((line) => JSON.parse(line));
  const line = (id, n = 1) => until(() => linesOf(id)[n - 1], { what: `line ${n} of ${id}` });
  const send = (id, spec) => on.worker.send({ body: SECRETS[1], ...spec, headers: [["Content-Type", "text/plain"], ["Authorization", SECRETS[0]], ["X-Correlation-Id", id], ["traceparent", TRACE], ...(spec.headers ?? [])] });

  test("says of each request what became of it, where, when and why", async () => {
    const [id, path, key] = [freshKey(), freshPath(), freshKey()];
    await send(id, { path, key });
    const first = await line(id);
    const hash = createHmac("sha256", LOG_KEY).update(key).digest("hex");
    const { ms, shard, ...rest } = first;
    assert.deepEqual(rest, { outcome: "executed", status: 201, why: null, route: "charge", method: "POST", key: `${sha256(LOG_KEY).slice(0, 4)}:${hash}`, correlation_id: id, traceparent: TRACE, attempt: 1 });
    assert.ok(shard >= 0 && shard < 4);
    assert.deepEqual(Object.keys(ms).sort(), ["ledger", "origin", "total"]);
    assert.ok(ms.total >= ms.origin);
    await send(id, { path, key });
    assert.equal((await line(id, 2)).outcome, "replayed");
    await send(id, { path, key, body: "another" });
    const reused = await line(id, 3);
    assert.deepEqual([reused.outcome, reused.status, reused.why, reused.attempt], ["key-reused", 422, "fingerprint differs in body", null]);
    await send(id, { path: `${path}?a=1`, key, headers: [["If-Match", "x"]] });
    assert.equal((await line(id, 4)).why, "fingerprint differs in query, headers");
    assert.equal(linesOf(id).length, 4, "one line each");
  });
  test("says why a request was released, refused or left in doubt", async () => {
    for (const [status, outcome, why] of [[429, "released", /answered 429: released/], [504, "unknown", /^status 504: It is not known/]]) {
      const [id, path] = [freshKey(), freshPath()];
      on.origin.on(path, { status });
      await send(id, { path, key: freshKey() });
      const said = await line(id);
      assert.deepEqual([said.outcome, said.status], [outcome, status]);
      assert.match(said.why, why);
    }
    const id = freshKey();
    await send(id, { path: "/needs" });
    const said = await line(id);
    assert.deepEqual([said.outcome, said.route, said.status, said.key], ["key-missing", "needs", 400, null]);
    const nameless = await on.worker.send({ path: "/needs" });
    assert.equal((await line(nameless.json.correlation_id)).outcome, "key-missing", "what the client was told leads to the line");
  });
  test("says of a timeout how long the origin has been waited for", async () => {
    const [id, path, key] = [freshKey(), freshPath(), freshKey()];
    on.origin.on(path, { silent: true });
    await send(id, { path, key });
    const said = await line(id);
    assert.deepEqual([said.outcome, said.status, said.why, said.attempt], ["outcome-unknown", 504, "timeout: The origin did not answer in time.", 1]);
    assert.ok(said.ms.origin >= 900 && said.ms.origin <= said.ms.total, JSON.stringify(said.ms));
    await send(id, { path, key });
    assert.deepEqual([(await line(id, 2)).outcome, (await line(id, 2)).why], ["outcome-unknown", "timeout: The origin did not answer an earlier try in time, and may answer it yet."]);
  });
  test("says how long one waited", async () => {
    const [id, path, key] = [freshKey(), freshPath(), freshKey()];
    const { opened, open } = gate();
    on.origin.on(path, async () => (await opened, { status: 201, body: "paid" }));
    const first = send(id, { path, key });
    await on.origin.reached(path);
    const other = freshKey();
    const joined = send(other, { path, key });
    const refused = freshKey();
    await send(refused, { path, key, headers: [["Prefer", "wait=0"]] });
    assert.equal((await line(refused)).outcome, "in-flight");
    open();
    await Promise.all([first, joined]);
    assert.match((await line(other)).outcome, /joined|replayed/);
  });
  test("has the line of a client that hung up, too", async () => {
    const [id, path, key] = [freshKey(), freshPath(), freshKey()];
    const { opened, open } = gate();
    on.origin.on(path, async () => (await opened, { status: 201, body: "paid" }));
    const exchange = on.worker.open({ path, key, headers: [["X-Correlation-Id", id]] });
    await on.origin.reached(path);
    exchange.close();
    open();
    assert.deepEqual([(await line(id)).outcome, (await line(id)).attempt], ["executed", 1]);
  });
  test("holds no credential, no body and no key", async () => {
    for (const secret of [...SECRETS, "sesame"]) assert.ok(!on.worker.logs.includes(secret), secret);
    const key = `key-${freshKey()}`;
    const id = freshKey();
    await send(id, { path: freshPath(), key });
    await line(id);
    assert.ok(!on.worker.logs.includes(key));
    assert.ok(!on.worker.logs.includes(LOG_KEY));
  });
});

// A digest of a key that anybody can make shows a weak key, one of a credential a weak password.
describe("the log and what is derived from a key", { timeout: 60_000 }, () => {
  const on = stage({ routes, vars: { ADMIN_TOKEN: "token-of-the-operators" } });
  test("hold no digest that was made without a secret, and nothing of the caller", async () => {
    const [path, key] = [freshPath(), freshKey()];
    const ids = [];
    for (const [name, password] of [["alice", "sesame"], ["bob", "letmein"]]) {
      const headers = { Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}` };
      const answer = await on.worker.send({ path, key, headers, body: name });
      assert.equal(answer.status, 201);
      ids.push(answer.get("X-Correlation-Id"));
    }
    const lines = () => on.worker.logs.split("\n").filter((line) => line.includes(`"correlation_id":"${ids[0]}"`));
    const logged = await until(() => lines().length >= 2 && lines(), { what: "two lines" });
    for (const line of logged) assert.equal(JSON.parse(line).key, null, "no LOG_KEY, no digest");
    assert.equal(ids[0], ids[1], "the id is derived from the key and the route, not from who asks");
    const found = await on.worker.send({ method: "GET", path: `/.oncegate/keys?key=${key}`, headers: { Authorization: "Bearer token-of-the-operators" } });
    const scopes = found.json.records.map((record) => record.key_id.slice(32));
    assert.equal(new Set(scopes).size, 2);
    for (const hidden of [sha256(key).slice(0, 32), ...scopes]) assert.ok(!on.worker.logs.includes(hidden), hidden);
  });
});

describe("the log with a LOG_KEY that is too short", () => {
  const on = stage({ routes, vars: { LOG_KEY: "x".repeat(31) } });
  test("holds no digest, and says why", async () => {
    await on.worker.send({ path: freshPath(), key: freshKey() });
    await on.worker.logged(/LOG_KEY must have 32 bytes or more/);
    await on.worker.logged(/"key":null/);
  });
});

describe("the log with LOG_KEYS = plain", () => {
  const on = stage({ routes, vars: { LOG_KEYS: "plain" } });
  test("holds the key as it was sent", async () => {
    const key = freshKey();
    await on.worker.send({ path: freshPath(), key: `"${key}"` });
    await on.worker.logged(new RegExp(`"key":"${key}"`));
  });
});

describe("the log with another LOG_KEYS", () => {
  const on = stage({ routes, vars: { LOG_KEYS: "none" } });
  test("is a configuration error that names the knob", async () => {
    const response = await on.worker.send({ path: freshPath(), key: freshKey() });
    assert.deepEqual([response.status, response.json.code], [500, "misconfigured"]);
    await on.worker.logged(/misconfigured: LOG_KEYS: is "none", but must be .*hashed/);
  });
});

describe("the metrics", () => {
  const on = stage({ routes, metrics: true });
  test("get one data point for each guarded request, and none for others", async () => {
    const [path, key] = [freshPath(), freshKey()];
    await on.worker.send({ path, key });
    await on.worker.send({ path, key });
    await on.worker.send({ path, key, body: "another", headers: [["Content-Type", "application/json"]] });
    await on.worker.send({ path: "/needs" });
    await on.worker.send({ path });
    await on.worker.send({ path, key, method: "GET" });
    const points = await until(() => on.worker.points.length >= 4 && on.worker.points, { what: "four data points" });
    assert.deepEqual(points.map(({ indexes, blobs, doubles }) => [indexes, blobs, doubles.slice(0, 3)]), [
      [["charge"], ["charge", "executed", "POST", ""], [1, 201, 1]],
      [["charge"], ["charge", "replayed", "POST", ""], [1, 201, 0]],
      [["charge"], ["charge", "key-reused", "POST", "fingerprint differs in body"], [1, 422, 0]],
      [["needs"], ["needs", "key-missing", "POST", "Idempotency-Key is missing"], [1, 400, 0]],
    ]);
    for (const { doubles: [, , , total, ledger, origin] } of points) assert.ok(total >= origin && total >= ledger && origin >= 0, "times");
  });
});
