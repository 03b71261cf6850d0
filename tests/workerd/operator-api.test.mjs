// Contract part 2: what operators see and decide, as programs ask for it. The page has a file of its own.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rowsOf } from "./disk.mjs";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, start, startOrigin, until } from "./harness.mjs";

const TOKEN = "a secret that only operators know";
const BEARER = { Authorization: `Bearer ${TOKEN}` };
const routes = [
  { name: "brief", methods: ["POST"], path: "/brief/{*rest}", ttl: "1s", tombstone: "1h" },
  { name: "charge", methods: ["POST"], path: "/{*rest}", timeout: "1s" },
];

/** What every answer to an operator has. */
function isPrivate(response) {
  assert.match(response.get("Cache-Control"), /no-store/);
  assert.equal(response.get("X-Content-Type-Options"), "nosniff");
  return response;
}

function isRefused(response, status, code) {
  isPrivate(response);
  assert.equal(response.status, status, response.text);
  assert.match(response.get("Content-Type"), /^application\/problem\+json/);
  const members = response.json;
  assert.deepEqual([members.status, members.code, members.type], [status, code, `/.well-known/idempotency#${code}`]);
  assert.ok(members.detail && members.title);
  return members;
}

describe("operators", { concurrency: 4, timeout: 120_000 }, () => {
  const on = stage({ routes, shards: 4, vars: { ADMIN_TOKEN: TOKEN } });
  const ask = (path, more = {}) => on.worker.send({ method: "GET", path: `/.oncegate/${path}`, headers: BEARER, ...more });
  const get = async (path) => {
    const response = isPrivate(await ask(path));
    assert.equal(response.status, 200, response.text);
    return response.json;
  };
  const post = (path, document) => ask(path, { method: "POST", headers: { ...BEARER, "Content-Type": "application/json" }, body: JSON.stringify(document) });
  const resolve = (record, action, more = {}) => post("resolve", { key_id: record.key_id, lease: record.lease, action, ...more });
  const ofKey = async (key) => (await get(`keys?key=${encodeURIComponent(key)}`)).records;

  /** A key in doubt. Its lease is over, since the origin said 504, or lasts 15 s more than the second for which it was silent. */
  async function doubtful(path = freshPath(), answer = { status: 504 }) {
    on.origin.on(path, answer);
    const operation = { path, key: freshKey(), headers: { "X-Correlation-Id": `order-${freshKey()}`, "Content-Type": "application/json" }, body: "{}" };
    const first = await on.worker.send(operation);
    if (answer.silent) isProblem(first, "outcome-unknown", 504);
    else isUnknown(first, 504);
    return operation;
  }
  const isOver = (operation) =>
    until(async () => {
      const [record] = await ofKey(operation.key);
      return Date.parse(record.lease_until) < Date.now() && record;
    }, { ms: 30_000, every: 500, what: "the lease's end" });

  test("nobody gets in without the token, and a path here never reaches the origin", async () => {
    const before = on.origin.count("/.oncegate/stats");
    for (const headers of [{}, { Authorization: "Bearer wrong" }, { Authorization: `Basic ${TOKEN}` }, { Authorization: "Bearer" }, { Cookie: "oncegate_session=1.2.3" }]) {
      const refused = await ask("stats", { headers });
      isRefused(refused, 401, "unauthorized");
      assert.match(refused.get("WWW-Authenticate"), /^Bearer/);
    }
    isRefused(await ask("nowhere"), 404, "not-found");
    isRefused(await ask("stats", { method: "POST", body: "" }), 405, "method-not-allowed");
    assert.equal(on.origin.count("/.oncegate/stats"), before);
  });
  test("a token in the address is refused, the right one too", async () => {
    isRefused(await ask(`stats?token=${encodeURIComponent(TOKEN)}`, { headers: {} }), 400, "invalid-request");
    isRefused(await ask("stats?access_token=x"), 400, "invalid-request");
  });
  test("a key shows its records in every scope, and the body only where it is asked for", async () => {
    const [path, key] = [freshPath(), freshKey()];
    on.origin.on(path, { status: 201, headers: [["Content-Type", "text/plain"]], body: "paid" });
    const alice = { path, key, headers: { Authorization: "Bearer alice", "Content-Type": "text/plain" }, body: "1" };
    const first = await on.worker.send(alice);
    isReplay(await on.worker.send(alice), first);
    isReplay(await on.worker.send(alice), first);
    const other = freshPath();
    await on.worker.send({ path: other, key });
    const records = await ofKey(key);
    assert.equal(records.length, 2);
    const record = records.find((record) => record.path === path);
    assert.deepEqual(
      [record.state, record.route, record.method, record.attempts, record.status, record.bytes, record.replays, record.correlation_id],
      ["completed", "charge", "POST", 1, 201, 4, 2, first.get("X-Correlation-Id")],
    );
    assert.ok(Date.parse(record.created) <= Date.parse(record.settled) && Date.parse(record.settled) < Date.parse(record.expires));
    assert.ok(!JSON.stringify(records).includes("paid"));
    const full = (await get(`keys?key=${key}&body=1`)).records.find((record) => record.path === path);
    assert.deepEqual([full.reply.status, full.reply.body], [201, "paid"]);
    assert.deepEqual(Object.fromEntries(full.reply.headers)["content-type"], "text/plain");
    assert.deepEqual(await get(`records/${record.key_id}`), { ...record, decisions: [] });
    const { reply } = await get(`records/${record.key_id}?body=1`);
    assert.deepEqual(reply, full.reply);
  });
  test("a body that is not text comes as base64", async () => {
    const [path, key] = [freshPath(), freshKey()];
    on.origin.on(path, { status: 200, body: Buffer.from([0, 255, 128, 10]) });
    await on.worker.send({ path, key });
    const [record] = (await get(`keys?key=${key}&body=1`)).records;
    assert.equal(record.reply.body_base64, "AP+ACg==");
  });
  test("the bodies in an answer are at most 1 MiB in all; each other one is at the address that the answer names", async () => {
    const key = freshKey();
    const bodies = [Buffer.alloc(700 << 10, "a"), Buffer.alloc(700 << 10, "b"), Buffer.from("paid"), Buffer.alloc(3 << 20, "ü"), Buffer.alloc(300 << 10, 0xff)];
    const byPath = new Map();
    for (const body of bodies) {
      const path = freshPath();
      byPath.set(path, body);
      on.origin.on(path, { status: 201, headers: [["Content-Type", "text/html"]], body });
      isExecuted(await on.worker.send({ path, key }));
    }
    const { records } = await get(`keys?key=${key}&body=1`);
    assert.equal(records.length, bodies.length);
    let sent = 0;
    for (const { key_id, path, reply } of records) {
      const inline = reply.body ?? (reply.body_base64 && Buffer.from(reply.body_base64, "base64"));
      assert.equal(reply.status, 201);
      if (inline) {
        sent += inline.length;
        assert.ok(byPath.get(path).equals(Buffer.from(inline)), path);
        assert.equal(reply.body_address, undefined);
      } else {
        assert.equal(reply.body_address, `/.oncegate/records/${key_id}/body`);
      }
      const whole = isPrivate(await ask(`records/${key_id}/body`));
      assert.ok(whole.body.equals(byPath.get(path)), "byte for byte");
      // What an origin sent is never shown as a page of ours.
      assert.deepEqual([whole.get("Content-Type"), whole.get("Content-Disposition")], ["application/octet-stream", 'attachment; filename="body"']);
      assert.match(whole.get("Content-Security-Policy"), /sandbox/);
    }
    assert.ok(sent > 300 << 10 && sent <= 1 << 20, `${sent} bytes`);
    const large = records.find(({ path }) => byPath.get(path).length === 3 << 20);
    const { reply } = await get(`records/${large.key_id}?body=1`);
    assert.deepEqual([reply.body_address, Object.fromEntries(reply.headers)["content-type"]], [`/.oncegate/records/${large.key_id}/body`, "text/html"]);
    const page = await ask(`records/${large.key_id}?body=1`, { headers: { ...BEARER, Accept: "text/html" } });
    assert.ok(page.text.includes(`href="${reply.body_address}"`) && page.text.length < 64 << 10, "a page links to it");
    isRefused(await ask(`records/${"0".repeat(64)}/body`), 404, "not-found");
  });
  test("a key is found whatever characters it has", async () => {
    for (const key of [".", "..", "%2F", "a/b", "a b", '"', "\\", "&=#?+", "~".repeat(255)]) {
      const path = freshPath();
      isExecuted(await on.worker.send({ path, key: `"${key.replace(/["\\]/g, "\\$&")}"` }));
      assert.deepEqual((await ofKey(key)).map((record) => record.path), [path]);
    }
  });
  test("a search goes over all shards, newest first, page by page, and its cursor is good for no other", async () => {
    const route = "charge";
    const since = new Date().toISOString();
    const keys = Array.from({ length: 25 }, () => freshKey());
    const path = freshPath("/searched");
    for (const key of keys) await on.worker.send({ path, key });
    const seen = [];
    let cursor = null;
    do {
      const page = await get(`records?route=${route}&since=${since}&limit=4${cursor ? `&cursor=${cursor}` : ""}`);
      assert.ok(page.records.length <= 4);
      seen.push(...page.records);
      if (cursor) isRefused(await ask(`records?state=completed&cursor=${cursor}`), 400, "invalid-request");
      cursor = page.cursor;
    } while (cursor);
    const times = seen.map((record) => Date.parse(record.created));
    assert.deepEqual(times, [...times].sort((a, b) => b - a));
    assert.equal(new Set(seen.map((record) => record.key_id)).size, seen.length, "nothing twice");
    assert.equal(seen.filter((record) => record.path === path).length, keys.length, "nothing left out");
    assert.equal((await get("records?route=nothing")).records.length, 0);
  });
  test("what is running is found as such, and no decision about it is taken", async () => {
    const [path, key] = [freshPath(), freshKey()];
    const { opened, open } = gate();
    on.origin.on(path, async () => (await opened, { status: 201, body: "paid" }));
    const first = on.worker.send({ path, key });
    await on.origin.reached(path);
    const [record] = await ofKey(key);
    assert.deepEqual([record.state, record.settled], ["running", null]);
    for (const action of ["complete", "release", "hold"]) {
      isRefused(await resolve(record, action, action === "complete" ? { status: 200 } : {}), 409, "lease-live");
    }
    isRefused(await ask(`records/${record.key_id}`, { method: "DELETE" }), 409, "lease-live");
    open();
    isExecuted(await first);
    isReplay(await on.worker.send({ path, key }), await first);
    assert.equal(on.origin.count(path), 1);
  });
  test("from a customer's call to the end: found by correlation id, resolved as completed, the next retry gets exactly that", async () => {
    const operation = await doubtful(freshPath(), { silent: true });
    const id = operation.headers["X-Correlation-Id"];
    isProblem(await on.worker.send({ ...operation, headers: { ...operation.headers, Prefer: "wait=0" } }), "outcome-unknown");
    const { records } = await get(`records?correlation_id=${id}`);
    assert.deepEqual(records.map((record) => record.state), ["in_doubt"]);
    isRefused(await resolve(records[0], "complete", { status: 201 }), 409, "lease-live");
    const record = await isOver(operation);
    assert.ok((await get("records?state=in_doubt")).records.some((found) => found.key_id === record.key_id));
    const reply = { status: 201, headers: { "Content-Type": "application/json", Location: "/v1/payments/9" }, body: '{"id": 9}' };
    const resolved = await resolve(record, "complete", reply);
    assert.equal(resolved.status, 200, resolved.text);
    assert.equal(resolved.json.record.state, "completed");
    const retry = await on.worker.send(operation);
    assert.deepEqual([retry.status, retry.text, retry.get("Location"), retry.get("Content-Type")], [201, '{"id": 9}', "/v1/payments/9", "application/json"]);
    isReplay(retry, retry);
    assert.equal(on.origin.count(operation.path), 1);
    isRefused(await resolve(record, "release"), 409, "moved-on");
    const { decisions } = await get("audit?limit=200");
    const mine = decisions.filter((decision) => decision.key_id === record.key_id);
    assert.deepEqual((await get(`records/${record.key_id}`)).decisions, mine);
    assert.deepEqual(mine.map(({ action, before, after }) => [action, before.state, after.state, after.status]), [["complete", "in_doubt", "completed", 201]]);
    assert.match(mine[0].by, /^[0-9a-f]{8}$/);
  });
  test("a doubt that is released is forwarded by the next retry; held, it stays in doubt", async () => {
    const [released, held] = [await doubtful(), await doubtful()];
    const record = await isOver(released);
    const other = await isOver(held);
    assert.equal((await resolve(record, "release")).status, 200);
    on.origin.on(released.path, { status: 201, body: "second" });
    const retry = await on.worker.send(released);
    isExecuted(retry);
    assert.equal(on.origin.count(released.path), 2);
    assert.equal((await resolve(other, "hold")).status, 200);
    isProblem(await on.worker.send(held), "outcome-unknown");
    assert.equal(on.origin.count(held.path), 1);
  });
  test("of two operators who decide at once one is told", async () => {
    const operation = await doubtful();
    const record = await isOver(operation);
    const both = await Promise.all([resolve(record, "release"), resolve(record, "complete", { status: 200, body: "a" })]);
    assert.deepEqual(both.map(({ status }) => status === 200).sort(), [false, true]);
    const told = both.find(({ status }) => status !== 200);
    assert.ok(["moved-on", "not-found"].includes(told.json.code), told.text);
    const { decisions } = await get("audit?limit=200");
    assert.equal(decisions.filter((decision) => decision.key_id === record.key_id).length, 1);
  });
  test("a record that is purged is forgotten, and that is written down", async () => {
    const operation = { path: freshPath(), key: freshKey() };
    isExecuted(await on.worker.send(operation));
    const [record] = await ofKey(operation.key);
    isRefused(await ask(`records/${record.key_id}?lease=${"0".repeat(32)}`, { method: "DELETE" }), 409, "moved-on");
    assert.equal((await ask(`records/${record.key_id}?lease=${record.lease}`, { method: "DELETE" })).status, 200);
    isRefused(await ask(`records/${record.key_id}`), 404, "not-found");
    isRefused(await ask(`records/${record.key_id}`, { method: "DELETE" }), 404, "not-found");
    isExecuted(await on.worker.send(operation));
    assert.equal(on.origin.count(operation.path), 2);
    const { decisions } = await get("audit?limit=200");
    const mine = decisions.find((decision) => decision.key_id === record.key_id);
    assert.deepEqual([mine.action, mine.before.state, mine.after], ["purge", "completed", null]);
  });
  test("an expired reply is shown as expired until its tombstone ends", async () => {
    const operation = { path: freshPath("/brief"), key: freshKey() };
    isExecuted(await on.worker.send(operation));
    await until(async () => (await ofKey(operation.key))[0].state === "expired", { ms: 10_000, what: "the end of the ttl" });
    isProblem(await on.worker.send(operation), "key-expired");
  });
});

describe("statistics", { timeout: 60_000 }, () => {
  const on = stage({ routes, shards: 2, vars: { ADMIN_TOKEN: TOKEN }, objects: true });
  const stats = async () => (await on.worker.send({ method: "GET", path: "/.oncegate/stats", headers: BEARER })).json;
  test("by route and by hour; they cost no row per request, and outlive the object", async () => {
    const operation = { path: freshPath(), key: freshKey() };
    isExecuted(await on.worker.send(operation));
    for (let n = 0; n < 20; n++) await on.worker.send(operation);
    await on.worker.send({ ...operation, headers: { "Content-Type": "application/json" }, body: "another" });
    const fails = { ...operation, headers: { "Content-Type": "application/json", "X-On-Conflict": "FAIL" }, body: '{"amount":10}' };
    isProblem(await on.worker.send(fails), "already-executed");
    on.origin.on("/busy", { status: 429 });
    await on.worker.send({ path: "/busy", key: freshKey() });
    const { routes: { charge }, hours } = await stats();
    assert.deepEqual([charge.executed, charge.replayed, charge.released], [1, 20, 1]);
    assert.deepEqual([charge.conflicts["key-reused"], charge.conflicts["already-executed"]], [1, 1]);
    assert.ok(charge.bytes > 0 && hours.length >= 1);
    const hoursKept = () => rowsOf(on.worker).filter(({ table }) => table === "hours").length;
    const records = () => rowsOf(on.worker).filter(({ table }) => table !== "hours").length;
    assert.ok(hoursKept() > 0, "written along with what was counted first");
    const before = records();
    for (let n = 0; n < 20; n++) await on.worker.send(operation);
    assert.equal(records(), before);
    assert.ok(hoursKept() <= 2 * 2, "one for each shard and hour");
    assert.equal((await stats()).routes.charge.replayed, 40);
    await on.worker.restart();
    assert.ok((await stats()).routes.charge.executed >= 1, "what was written is there after a power cut");
  });
  test("large replies that wait for their turn are counted when they are sent", async () => {
    const it = { path: freshPath("/large"), key: freshKey() };
    const readers = 24; // each takes 1 MiB of the 16 that a shard sends at once
    on.origin.on(it.path, { status: 201, body: Buffer.alloc(2 * 1024 * 1024, "r") });
    const counted = async () => (await stats()).routes.charge.replayed;
    const before = await counted();
    const first = await on.worker.send(it);
    for (const replay of await Promise.all(Array.from({ length: readers }, () => on.worker.send(it)))) isReplay(replay, first);
    assert.equal(await counted(), before + readers);
  });
  test("a Ledger that has never been used stays so when it is asked", async () => {
    const origin = await startOrigin();
    const worker = await start({ origin, shards: 8, vars: { ADMIN_TOKEN: TOKEN } });
    try {
      const asked = await worker.send({ method: "GET", path: "/.oncegate/records", headers: BEARER });
      assert.deepEqual(asked.json.records, []);
      // Had it remembered 8 shards, this would be refused.
      await worker.restart({ shards: 4 });
      isExecuted(await worker.send({ path: freshPath(), key: freshKey() }));
    } finally {
      await worker.stop();
      origin.close();
    }
  });
});

describe("a shard that hangs", { timeout: 90_000 }, () => {
  const on = stage({ routes, shards: 4, ledger: "faulty", vars: { ADMIN_TOKEN: TOKEN } });
  const get = (path, headers = {}) => on.worker.send({ method: "GET", path: `/.oncegate/${path}`, headers: { ...BEARER, ...headers } });
  const searches = ["", "records", "records?state=completed", "stats", "audit"];

  test("is left out of what all shards are asked, and named; nobody waits for it longer than 5 s", async () => {
    const keys = Array.from({ length: 24 }, () => freshKey());
    for (const key of keys) isExecuted(await on.worker.send({ path: freshPath(), key }));
    await on.worker.ledger("hang@shard-2");
    const began = Date.now();
    const timed = async (path, headers) => ({ path, response: await get(path, headers), ms: Date.now() - began });
    const page = timed("", { Accept: "text/html" });
    for (const { path, response, ms } of await Promise.all(searches.map((path) => timed(path)))) {
      assert.equal(isPrivate(response).status, 200, response.text);
      assert.deepEqual(response.json.unavailable_shards, [{ shard: 2, why: "it did not answer within 5 s" }], path);
      assert.ok(ms < 9_000, `${path} took ${ms} ms`);
    }
    assert.ok((await page).ms < 9_000);
    assert.ok((await page).response.text.includes("Shard 2: it did not answer within 5 s"));
    const found = (await get("records?limit=200")).json.records.length;
    assert.ok(found > 0 && found < keys.length, `${found} records of the other shards`);
    // Of one that is asked alone there is nothing to show.
    const asked = await Promise.all(keys.map((key) => get(`keys?key=${key}`)));
    const refused = asked.filter(({ status }) => status !== 200);
    assert.equal(refused.length, keys.length - found);
    for (const response of refused) assert.match(isRefused(response, 503, "store-unavailable").detail, /shard 2: it did not answer within 5 s/);
  });
  test("nor does one that fails hide what the others hold, unless all do", async () => {
    await on.worker.ledger("throw@shard-1");
    assert.deepEqual((await get("records")).json.unavailable_shards, [{ shard: 1, why: "the Ledger is out of reach" }]);
    await on.worker.ledger("throw");
    assert.match(isRefused(await get("records"), 503, "store-unavailable").detail, /out of reach/);
    await on.worker.ledger("pass");
    assert.equal((await get("records")).json.unavailable_shards, undefined);
  });
  test("a decision whose answer was lost is not called undone", async () => {
    const operation = { path: freshPath(), key: freshKey() };
    isExecuted(await on.worker.send(operation));
    const [{ key_id }] = (await get(`keys?key=${operation.key}`)).json.records;
    const purge = () => on.worker.send({ method: "DELETE", path: `/.oncegate/records/${key_id}`, headers: BEARER });
    await on.worker.ledger("lose*1");
    assert.match(isRefused(await purge(), 503, "store-unavailable").detail, /Nobody knows whether the decision was carried out/);
    isRefused(await purge(), 404, "not-found");
    isExecuted(await on.worker.send(operation));
    await on.worker.ledger("pass*1,lose*1");
    assert.match(isRefused(await purge(), 503, "store-unavailable").detail, /^The decision was carried out, but/);
  });
});

describe("an ADMIN_TOKEN of less than 16 characters", () => {
  const on = stage({ routes, vars: { ADMIN_TOKEN: "123456789012345" } });
  test("opens nothing, and the log says so", async () => {
    for (const headers of [BEARER, { Authorization: "Bearer 123456789012345" }]) {
      assert.equal((await on.worker.send({ method: "GET", path: "/.oncegate/stats", headers })).status, 404);
    }
    assert.match(on.worker.logs, /ADMIN_TOKEN has fewer than 16 characters and opens nothing/);
    assert.ok(!on.worker.logs.includes("123456789012345"));
  });
});

describe("without ADMIN_TOKEN", () => {
  const on = stage({ routes });
  test("there is nothing, and nothing is forwarded", async () => {
    for (const path of ["/.oncegate", "/.oncegate/", "/.oncegate/stats", "/.oncegate/login"]) {
      const response = await on.worker.send({ method: "GET", path, headers: BEARER });
      assert.equal(response.status, 404);
      assert.match(response.get("Content-Type"), /^application\/problem\+json/);
      assert.equal(on.origin.count(path), 0);
    }
  });
});

describe("a session", () => {
  const on = stage({ routes, vars: { ADMIN_TOKEN: TOKEN } });
  const form = (fields) => new URLSearchParams(fields).toString();
  const FORM = ["Content-Type", "application/x-www-form-urlencoded"];
  const logIn = async () => {
    const response = await on.worker.send({ path: "/.oncegate/login", headers: [FORM], body: form({ token: TOKEN }) });
    assert.equal(response.status, 303, response.text);
    return response.get("Set-Cookie").split(";")[0];
  };
  const ask = (method, path, cookie, more = []) => on.worker.send({ method, path: `/.oncegate/${path}`, headers: [["Cookie", cookie], ...more] });

  test("is good beside another scheme, beside another cookie of its name, and however many wrong tokens come from its address", async () => {
    const cookie = await logIn();
    assert.equal((await ask("GET", "stats", cookie, [["Authorization", "Basic c2l0ZTpwYXNz"]])).status, 200);
    assert.equal((await ask("GET", "stats", `oncegate_session=junk; ${cookie}`)).status, 200);
    for (let n = 0; n < 11; n++) await on.worker.send({ method: "GET", path: "/.oncegate/stats", headers: { Authorization: `Bearer guess ${n}` } });
    assert.equal((await ask("GET", "stats", cookie)).status, 200);
  });
});

describe("a form", () => {
  const on = stage({ routes, vars: { ADMIN_TOKEN: TOKEN } });
  const FORM = ["Content-Type", "application/x-www-form-urlencoded"];
  const post = (path, body, headers = []) => on.worker.send({ path: `/.oncegate/${path}`, headers: [FORM, ...headers], body });

  test("is all that a session decides by: a DELETE with its cookie purges nothing", async () => {
    const logged = await post("login", new URLSearchParams({ token: TOKEN }).toString());
    const cookie = ["Cookie", logged.get("Set-Cookie").split(";")[0]];
    const operation = { path: freshPath(), key: freshKey() };
    isExecuted(await on.worker.send(operation));
    const { records: [record] } = (await on.worker.send({ method: "GET", path: `/.oncegate/keys?key=${operation.key}`, headers: BEARER })).json;
    const purge = await on.worker.send({ method: "DELETE", path: `/.oncegate/records/${record.key_id}`, headers: [cookie] });
    isRefused(purge, 403, "forbidden");
    isRefused(await post("resolve", new URLSearchParams({ key_id: record.key_id, action: "purge" }).toString(), [cookie]), 403, "forbidden");
    isReplay(await on.worker.send(operation), await on.worker.send(operation));
    assert.equal(on.origin.count(operation.path), 1);
  });
  test("to log in is read only as far as a token goes", async () => {
    isRefused(await post("login", "a&".repeat(3_000)), 413, "request-too-large");
  });
  test("to log in is refused where too many wrong ones came while it was on its way", async () => {
    const from = ["CF-Connecting-IP", "192.0.2.7"];
    const body = new URLSearchParams({ token: TOKEN }).toString();
    const late = on.worker.open({ path: "/.oncegate/login", headers: [FORM, from], length: body.length });
    for (let n = 0; n < 10; n++) isRefused(await post("login", "token=guess", [from]), 401, "unauthorized");
    late.send(Buffer.from(body));
    isRefused(await late.whole(), 429, "too-many-attempts");
    late.close();
  });
});

describe("wrong tokens", () => {
  const on = stage({ routes, vars: { ADMIN_TOKEN: TOKEN } });
  test("an address that goes on guessing is refused for a while; others are answered", async () => {
    const from = (address, token) =>
      on.worker.send({ method: "GET", path: "/.oncegate/stats", headers: { Authorization: `Bearer ${token}`, "CF-Connecting-IP": address } });
    for (let n = 0; n < 10; n++) isRefused(await from("192.0.2.1", `guess ${n}`), 401, "unauthorized");
    const shut = await from("192.0.2.1", TOKEN);
    isRefused(shut, 429, "too-many-attempts");
    assert.match(shut.get("Retry-After"), /^[1-9]\d*$/);
    assert.equal((await from("192.0.2.2", TOKEN)).status, 200);
  });
});
