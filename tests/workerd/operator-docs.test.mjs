// docs/operating.md and docs/watching.md: every command is run as it stands there, by a real shell with curl and jq;
// every query is asked of the data points that requests really left; what the log is said to hold is looked for in it.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, stage, until } from "./harness.mjs";
import { JSON_TYPE, blocks, staged, text } from "./docs.mjs";

const { DatabaseSync } = await import("node:sqlite");
const TOKEN = "4f1d0c79b3a2e8d6";
const LOG_KEY = "0123456789abcdef".repeat(2);
const routes = [{ name: "payments", methods: ["POST"], path: "/{*rest}", timeout: "1s" }];
const missing = ["bash", "curl", "jq", "openssl", "sha256sum"].filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
const skip = missing.length > 0 && `the pages' commands need ${missing.join(", ")}`;
const [SET_UP, CHARGED, STUCK, DOWN] = blocks("operating", "sh");

/** A shell that has gone through the page's set-up. */
function shell(on) {
  const home = mkdtempSync(path.join(os.tmpdir(), "oncegate-shell-"));
  after(() => rmSync(home, { recursive: true }));
  const begin = () => SET_UP.replace(/^FILTER=.*$/m, `FILTER=http://127.0.0.1:${on.worker.port}`);
  const run = (script, env = {}) =>
    new Promise((resolve) => {
      const child = execFile("bash", ["-c", script], { cwd: home, env: { PATH: process.env.PATH, HOME: home, ...env } }, (error, out, errors) => resolve({ code: error?.code ?? 0, out, errors }));
      child.stdin.end(`${TOKEN}\n`);
    });
  /** Runs a script after the set-up, without what that prints. */
  return { home, begin, run: (script, env) => run(`{\n${begin()}} > set-up\n${script}`, env), setUp: () => run(begin()) };
}

/** A key of which nobody knows what became. */
async function doubtful(on) {
  const operation = { path: freshPath(), key: freshKey() };
  operation.id = `order+&${operation.key}`;
  operation.headers = [["X-Correlation-Id", operation.id], JSON_TYPE];
  operation.body = '{"amount": 1200}';
  // Its lease lasts on: its call is still read.
  on.origin.on(operation.path, { silent: true });
  isProblem(await on.worker.send(operation), "outcome-unknown", 504);
  on.origin.on(operation.path, { status: 201, body: "executed" });
  return operation;
}
const recordsOf = async (on, key) => (await on.worker.send({ method: "GET", path: `/.oncegate/keys?key=${key}`, headers: { Authorization: `Bearer ${TOKEN}` } })).json.records;
/** When nobody can be at it any more, so that somebody may decide. */
const isOver = (on, { key }) => until(async () => Date.parse((await recordsOf(on, key))[0].lease_until) < Date.now(), { ms: 30_000, every: 500, what: "the lease's end" });
const kinds = (members) => Object.fromEntries(Object.entries(members).map(([name, value]) => [name, value === null ? "null" : typeof value]));

// Each of the two waits for a lease to end, so they wait at the same time.
describe("what operators do by the page", { concurrency: true }, () => {
  describe("operating.md", { skip, concurrency: true, timeout: 120_000 }, () => {
    const on = stage({ routes, shards: 4, vars: { ADMIN_TOKEN: TOKEN } });

    test("the set-up asks for the token, keeps it to itself and answers with statistics", async () => {
      isExecuted(await on.worker.send({ path: freshPath(), key: freshKey() }));
      const sh = shell(on);
      const { out, errors } = await sh.setUp();
      assert.ok(JSON.parse(out).payments.executed >= 1, out + errors);
      assert.equal(statSync(path.join(sh.home, ".oncegate")).mode & 0o077, 0);
      assert.ok(!out.includes(TOKEN) && !errors.includes(TOKEN));
    });
    test("charged twice: the record by key, or by correlation id, has the members that the page shows", async () => {
      const [at, key, id] = [freshPath(), `order-${freshKey()}`, `order+&${freshKey()}`];
      on.origin.on(at, { status: 201, body: "paid" });
      const operation = { path: at, key, headers: [["X-Correlation-Id", id], JSON_TYPE], body: "{}" };
      const first = await on.worker.send(operation);
      isReplay(await on.worker.send(operation), first);
      const { out, errors } = await shell(on).run(CHARGED, { KEY: key, ID: id });
      const [byKey, byId] = out.trim().split("\n").map((line) => JSON.parse(line));
      assert.deepEqual(byKey, byId, errors);
      assert.deepEqual(kinds(byKey), kinds(JSON.parse(blocks("operating", "json")[0])));
      assert.deepEqual([byKey.attempts, byKey.replays, byKey.state], [1, 1, "completed"]);
      assert.equal(byKey.key_id.slice(0, 32), createHash("sha256").update(key).digest("hex").slice(0, 32));
    });
    test("stuck: completed, released or held as the page does it", async () => {
      const [find, ...ways] = STUCK.split(/^(?=jq )/m);
      assert.equal(ways.length, 3);
      const operations = await Promise.all(ways.map(() => doubtful(on)));
      const early = await shell(on).run(find + ways[0], { ID: operations[0].id });
      assert.match(early.out, /"code":"lease-live"/, early.errors);
      await Promise.all(operations.map((operation) => isOver(on, operation)));
      for (const [n, way] of ways.entries()) {
        const { code, out, errors } = await shell(on).run(find + way, { ID: operations[n].id });
        assert.equal(code, 0, out + errors);
      }
      const [completed, released, held] = await Promise.all(operations.map((operation) => on.worker.send(operation)));
      assert.deepEqual([completed.status, completed.text, completed.get("Content-Type")], [201, '{"id": "pay_9"}', "application/json"]);
      isReplay(completed, completed);
      isExecuted(released);
      isProblem(held, "outcome-unknown");
      assert.deepEqual(operations.map(({ path }) => on.origin.count(path)), [1, 2, 1]);
      const { out } = await shell(on).run("ask audit | jq -r '.decisions[].action'");
      for (const action of ["complete", "release", "hold"]) assert.match(out, new RegExp(`^${action}$`, "m"));
    });
    test("a credential that changed: the reply is read out by the page's command", async () => {
      const [at, key] = [freshPath(), freshKey()];
      on.origin.on(at, { status: 201, body: "paid" });
      const as = (token) => on.worker.send({ path: at, key, headers: [["Authorization", token], JSON_TYPE], body: "{}" });
      isExecuted(await as("Bearer old"));
      isProblem(await as("Bearer new"), "credential-changed");
      const { out, errors } = await shell(on).run(`${inline(/^ask keys .*body=1/)} | jq -r '.records[].reply.body'`, { KEY: key });
      assert.equal(out.trim(), "paid", errors);
    });
    test("a purge forgets, and the next request is executed", async () => {
      const operation = { path: freshPath(), key: freshKey() };
      isExecuted(await on.worker.send(operation));
      const [{ key_id }] = await recordsOf(on, operation.key);
      const { code, out, errors } = await shell(on).run(inline(/-X DELETE$/), { KEY_ID: key_id });
      assert.equal(code, 0, out + errors);
      isExecuted(await on.worker.send(operation));
      const audit = await shell(on).run(`ask audit | jq -c '.decisions[] | select(.key_id == "${key_id}")'`);
      const { by, before, after: left } = JSON.parse(audit.out);
      assert.match(by, /^[0-9a-f]{8}$/);
      assert.deepEqual([before.path, before.method, left], [operation.path, "POST", null]);
    });
  });

  describe("operating.md after an hour without the origin", { skip, timeout: 120_000 }, () => {
    const on = stage({ routes, shards: 4, vars: { ADMIN_TOKEN: TOKEN } });
    test("the alarm is silent, then it is not; the script resolves what the origin knows, and nothing else", async () => {
      const sh = shell(on);
      const alarm = inline(/jq -e/);
      assert.equal((await sh.run(alarm)).code, 0);
      const operations = [];
      for (const [status, body] of [[200, '{"id": "pay_7"}\n'], [404, ""], [500, ""]]) {
        const operation = await doubtful(on);
        on.origin.on(`/by-correlation-id/${encodeURIComponent(operation.id)}`, { status, body });
        operations.push(operation);
      }
      assert.notEqual((await sh.run(alarm)).code, 0);
      const firstTwo = ({ out }) => out.trim().split("\n").map((line) => line.split("\t").slice(0, 2).join());
      const script = () => sh.run(DOWN.replaceAll("limit=200", "limit=2"), { ORIGIN: on.origin.url });
      const early = await script();
      assert.deepEqual(firstTwo(early).sort(), ["look,500", "refused,lease-live", "refused,lease-live"], early.errors);
      await isOver(on, operations.at(-1));
      const { out, errors } = await script();
      assert.deepEqual(firstTwo({ out }).sort(), ["complete,done", "look,500", "release,done"], out + errors);
      const [known, unheard, unknown] = await Promise.all(operations.map((operation) => on.worker.send(operation)));
      assert.equal(known.text, '{"id": "pay_7"}\n');
      isReplay(known, known);
      isExecuted(unheard);
      isProblem(unknown, "outcome-unknown");
      assert.deepEqual(operations.map(({ path }) => on.origin.count(path)), [1, 2, 1]);
      assert.match((await script()).out, /^look\t500\t[0-9a-f]{64}\n$/, "again: only the unknown one is left");
    });
  });
});

describe("schedules.md", { skip, timeout: 60_000 }, () => {
  const on = staged("schedules", { vars: { ADMIN_TOKEN: TOKEN, JOBS_TOKEN: "Bearer one" } });
  const [ONE, WEEK, AGAIN] = blocks("schedules", "sh");
  const day = (ago) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);
  const at = "/v1/jobs/invoices";

  test("a slot, a week and one of long ago are run by the page's commands, each once", async () => {
    const sh = shell(on);
    const one = () => sh.run(`{\n${ONE.replace("2026-11-28", day(3))}} | jq -c .`);
    const ran = async () => (await one()).out.trim().split("\n").map((line) => JSON.parse(line));
    const [latest, named] = await ran();
    assert.deepEqual(kinds(named), kinds(JSON.parse(blocks("schedules", "json")[0])));
    assert.deepEqual([latest.outcome, named.outcome, named.scheduled_time.slice(0, 10)], ["executed", "executed", day(3)]);
    assert.deepEqual((await ran()).map(({ outcome }) => outcome), ["replayed", "replayed"]);
    assert.equal(on.origin.count(at), 2);

    const week = [8, 7, 6, 5, 4, 3, 2].map(day);
    const { out, errors } = await sh.run(WEEK.replace("2026-11-2{2..8}", week.join(" ")));
    assert.deepEqual(out.trim().split("\n").map((line) => line.split("\t")), week.map((of) => [`${of}T02:00:00.000Z`, of === day(3) ? "replayed" : "executed", "done"]), errors);
    assert.equal(on.origin.count(at), 8);

    const old = AGAIN.replace("2026-08-28", day(90));
    assert.match((await sh.run(old.replace(/ -d .*/, " -X POST"))).out, /"code":"outside-window"/);
    assert.equal(on.origin.count(at), 8);
    assert.equal(JSON.parse((await sh.run(old)).out).outcome, "executed");
    const audit = await sh.run("ask audit | jq -r '.decisions[] | [.action, .schedule, .scheduled_time] | @tsv'");
    assert.equal(audit.out.trim(), `rerun\tnightly-invoices\t${day(90)}T02:00:00.000Z`);
    const listed = await sh.run("ask schedules | jq -r '.schedules[].name'");
    assert.deepEqual(listed.out.trim().split("\n"), ["nightly-invoices", "sync"]);
  });
});

describe("watching.md", { skip, timeout: 60_000 }, () => {
  const on = stage({ routes, shards: 4, metrics: true, vars: { LOG_KEY } });
  const page = text("watching.md");
  const lines = () => on.worker.logs.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));

  test("the log line and the reasons are those of the page; so is the digest of a key", async () => {
    const shown = JSON.parse(blocks("watching", "json")[0]);
    const at = freshPath();
    const send = (key, more = {}) => on.worker.send({ path: at, key, body: "1", ...more, headers: [JSON_TYPE, ["traceparent", shown.traceparent], ...(more.headers ?? [])] });
    await send("order-1001");
    await send("order-1001");
    await send("order-1001", { body: "2" });
    for (const status of [429, 504]) {
      on.origin.on(at, { status });
      await send(`answered-${status}`);
    }
    await send("answered-504");
    on.origin.on(at, { silent: true });
    await send("silent");
    const all = await until(() => lines().length >= 7 && lines(), { what: "seven lines" });
    assert.deepEqual(kinds(all[0]), kinds(shown));
    assert.deepEqual([all[0].key, all[0].traceparent], [shown.key, shown.traceparent]);
    assert.deepEqual(all.map(({ outcome }) => outcome), ["executed", "replayed", "key-reused", "released", "unknown", "outcome-unknown", "outcome-unknown"]);
    for (const { outcome, why } of all) {
      const row = page.split("\n").find((row) => row.startsWith("|") && row.includes(`\`${outcome}\``) && (why === null ? row.includes("null") : row.includes(why)));
      assert.ok(row, `the page has no row for ${outcome}: ${why}`);
    }
    const [secret, digest] = [...page.matchAll(/`(printf %s [^`]+)`/g)].map(([, command]) => command);
    const out = async (command) => (await shell(on).run(command, { LOG_KEY })).out;
    assert.equal(`${(await out(secret)).slice(0, 4)}:${(await out(digest)).slice(0, 64)}`, shown.key);
  });
  test("the filters of wrangler tail find in a tail what they say", async () => {
    const [doubts, key] = blocks("watching", "sh")[0].split("\n").filter((line) => line.startsWith("npx wrangler tail"));
    const tail = lines().map((line) => JSON.stringify({ outcome: "ok", logs: [{ message: [JSON.stringify(line)], level: "log" }] }, null, 2));
    const piped = (command) => command.slice(command.indexOf("| jq") + 2);
    const through = (command) => spawnSync("bash", ["-c", piped(command)], { input: tail.join("\n"), encoding: "utf8" }).stdout.trim().split("\n");
    assert.deepEqual(through(doubts).map((line) => JSON.parse(line).status), [504, 504]);
    assert.match(key, /--search "\$\(printf %s 'order-1001' \| openssl dgst -sha256 -hmac "\$LOG_KEY" -r \| cut -c1-64\)"/);
    assert.equal(through(key.slice(key.indexOf("-c1-64"))).length, tail.length);
  });
  test("the queries answer what they ask, of sampled points too", async () => {
    const points = await until(() => on.worker.points.length >= 7 && on.worker.points);
    const [replays, doubts, times, refusals, busiest] = blocks("watching", "sql").map((sql) => ask(points, sql));
    assert.deepEqual(replays, [{ route: "payments", requests: 14, replay_rate: 1 / 7 }]);
    assert.deepEqual(doubts.map(({ new_doubts, retries_refused }) => [new_doubts, retries_refused]), [[4, 2]]);
    const forwarded = points.filter(({ doubles: [, , attempt] }) => attempt > 0);
    const longest = Math.max(...forwarded.map(({ doubles }) => doubles[3]));
    assert.deepEqual(times.map(({ route, p95_ms }) => [route, p95_ms]), [["payments", longest]]);
    assert.ok(times[0].p95_origin_ms >= 900, "the silent origin");
    assert.deepEqual(Object.fromEntries(refusals.map(({ code, why, refused }) => [`${code}: ${why}`, refused])), {
      "key-reused: fingerprint differs in body": 2,
      "outcome-unknown: timeout: The origin did not answer in time.": 2,
      "outcome-unknown: status 504: An earlier try may or may not have been executed.": 2,
    });
    assert.equal(busiest[0].new_per_second, (2 * forwarded.length) / 60);
  });
});

/** The page's command in the text that matches. */
function inline(pattern) {
  const found = [...text("operating.md").matchAll(/`([^`\n]+)`/g)].map(([, command]) => command).filter((command) => pattern.test(command));
  assert.equal(found.length, 1, `${pattern}: ${found}`);
  return found[0];
}

/** Asks SQLite what Analytics Engine would be asked, each point standing for two. */
function ask(points, sql) {
  const db = new DatabaseSync(":memory:");
  const columns = ["blob", "double"].flatMap((kind) => Array.from({ length: 20 }, (_, n) => `${kind}${n + 1}`));
  db.exec(`CREATE TABLE oncegate (timestamp REAL, _sample_interval REAL, index1 TEXT, ${columns.join(", ")})`);
  const now = 1_800_000_030;
  for (const { indexes, blobs, doubles } of points) {
    const filled = (values) => Array.from({ length: 20 }, (_, n) => values[n] ?? null);
    db.prepare(`INSERT INTO oncegate VALUES (${Array(43).fill("?").join()})`).run(now - 10, 2, indexes[0], ...filled(blobs), ...filled(doubles));
  }
  const seconds = { MINUTE: 60, HOUR: 3_600, DAY: 86_400 };
  db.function("startOf", (at, unit) => at - (at % seconds[unit]));
  db.aggregate("sumIf", { start: 0, step: (sum, value, holds) => (holds ? sum + value : sum) });
  db.aggregate("quantile", {
    start: () => [],
    step: (seen, of, value, weight) => [...seen, { of, value, weight }],
    result: (seen) => {
      const sorted = seen.toSorted((a, b) => a.value - b.value);
      const wanted = sorted[0].of * sorted.reduce((sum, { weight }) => sum + weight, 0);
      let sum = 0;
      return sorted.find(({ weight }) => (sum += weight) >= wanted).value;
    },
  });
  const spoken = sql
    .replace(/quantileExactWeighted\(([\d.]+)\)\(/g, "quantile($1, ")
    .replace(/toStartOfInterval\(timestamp, INTERVAL '1' (\w+)\)/g, "startOf(timestamp, '$1')")
    .replace(/NOW\(\) - INTERVAL '(\d+)' (\w+)/g, (_, n, unit) => now - n * seconds[unit]);
  return db.prepare(spoken).all().map((row) => ({ ...row }));
}
