// Contract part 4: operators run a slot of a schedule by hand, and make up for slots that were missed.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { freshPath, gate, start, startOrigin, until } from "./harness.mjs";

const TOKEN = "a secret that only operators know";
const BEARER = { Authorization: `Bearer ${TOKEN}` };
const HOST = "https://jobs.example";
const NIGHTLY = "0 2 1-31 * *";
const DAY = 86_400_000;
/** 02:00 UTC so many days before today. */
const night = (daysAgo) => new Date(Math.floor(Date.now() / DAY) * DAY - daysAgo * DAY + 2 * 3_600_000).toISOString().replace(".000", "");
const linesOf = (worker) => worker.logs.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));

/** A schedule for a path of its own. */
const schedules = [];
function schedule({ prefix = "/jobs", request, ...more } = {}) {
  const path = freshPath(prefix);
  const name = path.slice(1).replaceAll("/", "-");
  schedules.push({ name, cron: "0 2 * * *", key: `${name}-{scheduled_time:date}`, ...more, request: { url: HOST + path, ...request } });
  return { path, name };
}

describe("a slot that is run by hand", { concurrency: 4, timeout: 120_000 }, () => {
  const now = schedule({ cron: "* * * * *", request: { headers: { Authorization: "secret:JOBS_TOKEN" } } });
  // The same slots, but another trigger than the others have.
  const nightly = schedule({ cron: NIGHTLY });
  const written = schedule();
  const kept = schedule();
  const old = schedule();
  const oldByForm = schedule();
  const checked = schedule();
  const doubtful = schedule();
  const released = schedule();
  const overlapping = schedule({ key: "sync", on_duplicate: "fail_on_running" });
  const slow = schedule({ prefix: "/slow" });
  const secretless = schedule({ request: { headers: { Authorization: "secret:NOBODY" } } });
  const routes = [{ name: "jobs", methods: ["POST"], path: "/jobs/{*rest}", key: { required: true }, timeout: "2s", ttl: "7d", tombstone: "7d" }, { name: "slow", methods: ["POST"], path: "/slow/{*rest}", async: "always", wait: "0s", timeout: "20s", ttl: "7d" }];
  const on = {};
  before(async () => {
    on.origin = await startOrigin();
    on.worker = await start({ origin: on.origin, events: true, routes, vars: { ADMIN_TOKEN: TOKEN, SCHEDULES: schedules, JOBS_TOKEN: "Bearer t0p" } });
  });
  after(async () => {
    await on.worker?.stop();
    on.origin.close();
  });

  const ask = (path, more = {}) => on.worker.send({ method: "GET", path: `/.oncegate/${path}`, headers: BEARER, ...more });
  const post = ({ name }, slot, body, headers = BEARER) =>
    ask(`schedules/${name}/run${slot === undefined ? "" : `?scheduled_time=${encodeURIComponent(slot)}`}`, { method: "POST", headers, ...(body === undefined ? { length: 0 } : { body: typeof body === "string" ? body : JSON.stringify(body) }) });
  const run = async (...spec) => {
    const response = await post(...spec);
    assert.equal(response.status, 200, response.text);
    assert.match(response.get("Cache-Control"), /no-store/);
    return response.json;
  };
  const isRefused = (response, status, code) => {
    assert.deepEqual([response.status, response.json.code], [status, code], response.text);
    assert.match(response.get("Content-Type"), /^application\/problem\+json/);
    return response.json.detail;
  };
  const decisionsOf = async ({ name }) => (await ask("audit?limit=200")).json.decisions.filter((decision) => decision.schedule === name);

  test("the latest one, unless another is named; the second call is answered from the record", async () => {
    const first = await run(now);
    const second = await run(now, first.scheduled_time);
    assert.deepEqual([first.schedule, first.outcome, first.status, first.next, first.why], [now.name, "executed", 201, "done", null]);
    const slot = Date.parse(first.scheduled_time);
    assert.ok(slot % 60_000 === 0 && Date.now() - slot < 120_000, first.scheduled_time);
    assert.deepEqual([second.outcome, second.next, second.key_id], ["replayed", "done", first.key_id]);
    assert.equal(on.origin.count(now.path), 1);
    const [seen] = on.origin.executions(now.path);
    assert.deepEqual([seen.all("idempotency-key"), seen.all("authorization")], [[first.key], ["Bearer t0p"]]);
    const { json: record } = await ask(`records/${first.key_id}`);
    assert.deepEqual([record.state, record.path, record.attempts], ["completed", now.path, 1]);
    const line = linesOf(on.worker).find((line) => line.schedule === now.name);
    assert.deepEqual([line.outcome, line.scheduled_time, line.tries], ["executed", first.scheduled_time, 1]);
    assert.match(line.operator, /^[0-9a-f]{8}$/);
  });
  test("nights that were missed: the one that its trigger has run is not run again", async () => {
    await on.worker.fire(NIGHTLY, Date.parse(night(2)));
    const before = on.origin.count(nightly.path);
    assert.equal(before, 1);
    const outcomes = [];
    for (const daysAgo of [3, 2, 1]) outcomes.push((await run(nightly, night(daysAgo))).outcome);
    assert.deepEqual(outcomes, ["executed", "replayed", "executed"]);
    const keys = on.origin.executions(nightly.path).map((seen) => seen.all("idempotency-key")[0]);
    assert.deepEqual(keys, [2, 3, 1].map((daysAgo) => `${nightly.name}-${night(daysAgo).slice(0, 10)}`));
    // The trigger that comes late after all finds it done.
    await on.worker.fire(NIGHTLY, Date.parse(night(1)));
    assert.equal(on.origin.count(nightly.path), 3);
  });
  test("an instant may be written in other ways, and is the same slot", async () => {
    const slot = night(4);
    const ways = [slot, slot.replace("Z", "+00:00"), slot.slice(0, 16), `${slot.slice(0, 11)}04:00:00+02:00`, `${Date.parse(slot)}`];
    const ran = [];
    for (const way of ways) ran.push(await run(written, way));
    assert.deepEqual(ran.map(({ scheduled_time }) => Date.parse(scheduled_time)), ways.map(() => Date.parse(slot)));
    assert.deepEqual(ran.map(({ outcome }) => outcome), ["executed", "replayed", "replayed", "replayed", "replayed"]);
  });
  test("one that its record would have left by now is refused, run where that is said, and written down", async () => {
    const slot = night(20);
    const detail = isRefused(await post(old, slot), 412, "outside-window");
    assert.ok(detail.includes(slot.slice(0, 10)) && detail.includes("14 days"), detail);
    isRefused(await post(old, slot, { rerun: false }), 412, "outside-window");
    assert.equal(on.origin.count(old.path), 0);
    assert.deepEqual(await decisionsOf(old), []);
    const ran = await run(old, slot, { rerun: true });
    assert.equal(ran.outcome, "executed");
    const [decision, ...more] = await decisionsOf(old);
    assert.deepEqual(more, []);
    assert.deepEqual([decision.action, decision.schedule, Date.parse(decision.scheduled_time), decision.key_id, decision.before, decision.after], ["rerun", old.name, Date.parse(slot), ran.key_id, null, null]);
    assert.match(decision.by, /^[0-9a-f]{8}$/);
    assert.ok(Math.abs(Date.parse(decision.at) - Date.now()) < 60_000);
    // Now it has a record, and that tells.
    assert.equal((await run(old, slot)).outcome, "replayed");
    assert.equal((await run(old, slot, { rerun: true })).outcome, "replayed");
    assert.equal(on.origin.count(old.path), 1);
    assert.equal((await decisionsOf(old)).length, 1, "what is answered from a record is no decision");
  });
  test("within that time the word to run it again changes nothing: it is answered from the record", async () => {
    const slot = night(5);
    assert.equal((await run(kept, slot, { rerun: true })).outcome, "executed");
    assert.equal((await run(kept, slot, { rerun: true })).outcome, "replayed");
    assert.deepEqual(await decisionsOf(kept), []);
  });
  test("what is no slot, lies ahead or is unknown is refused, and nothing is run", async () => {
    const ahead = isRefused(await post(checked, new Date(Date.now() + 3 * DAY).toISOString()), 400, "invalid-request");
    assert.match(ahead, /lies ahead/);
    const beside = night(1).replace("02:00", "02:01");
    const none = isRefused(await post(checked, beside), 400, "invalid-request");
    assert.ok(none.includes(night(1).slice(0, 16)) && none.includes(night(0).slice(0, 16)), none);
    isRefused(await post(checked, "yesterday"), 400, "invalid-request");
    isRefused(await post(checked, night(1), "[]"), 400, "invalid-request");
    isRefused(await post(checked, night(1), { again: true }), 400, "invalid-request");
    const unknown = isRefused(await post({ name: "nobody" }, night(1)), 404, "not-found");
    assert.ok(unknown.includes(checked.name), unknown);
    isRefused(await ask(`schedules/${checked.name}/run`), 405, "method-not-allowed");
    for (const headers of [{}, { Authorization: "Bearer wrong" }]) isRefused(await post(checked, night(1), undefined, headers), 401, "unauthorized");
    assert.equal(on.origin.count(checked.path), 0);
  });
  test("a secret that is not set is named, and nothing is run", async () => {
    assert.match(isRefused(await post(secretless, night(1)), 500, "misconfigured"), /NOBODY/);
    isRefused(await post(secretless, night(20), { rerun: true }), 500, "misconfigured");
    assert.deepEqual(await decisionsOf(secretless), []);
    assert.equal(on.origin.count(secretless.path), 0);
  });
  test("what came of it says what is left to do", async () => {
    on.origin.on(doubtful.path, { status: 503 });
    const doubt = await run(doubtful, night(1));
    assert.deepEqual([doubt.outcome, doubt.status, doubt.next], ["unknown", 503, "decide"]);
    assert.equal((await ask(`records/${doubt.key_id}`)).json.state, "in_doubt");
    on.origin.on(released.path, (_, n) => (n === 1 ? { status: 429, headers: [["Retry-After", "7"]] } : {}));
    const first = await run(released, night(1));
    assert.deepEqual([first.outcome, first.status, first.next, first.retry_after_s], ["released", 429, "retry", 7]);
    assert.equal((await run(released, night(1))).outcome, "executed");
  });
  test("where the route answers at once an operator does not wait either, and asks again", async () => {
    const { opened, open } = gate();
    on.origin.on(slow.path, async () => (await opened, { status: 201 }));
    const begun = await run(slow, night(1));
    assert.deepEqual([begun.outcome, begun.status, begun.next], ["running", 202, "retry"]);
    assert.ok(begun.retry_after_s >= 1);
    assert.equal((await run(slow, night(1))).next, "retry");
    open();
    await until(async () => (await run(slow, night(1))).outcome === "replayed");
    assert.equal(on.origin.count(slow.path), 1);
  });
  test("where slots have no key of their own it is run each time, and none is too old", async () => {
    for (const daysAgo of [400, 1, 1]) assert.equal((await run(overlapping, night(daysAgo))).outcome, "executed");
    assert.equal(on.origin.count(overlapping.path), 3);
  });
  test("the list names every schedule, its latest slot, and since when slots are known", async () => {
    const { schedules: listed } = (await ask("schedules")).json;
    assert.deepEqual(listed.map(({ name }) => name), schedules.map(({ name }) => name));
    const { latest, known_since, ...rest } = listed.find(({ name }) => name === nightly.name);
    assert.deepEqual(rest, { name: nightly.name, cron: NIGHTLY, key: `${nightly.name}-{scheduled_time:date}`, on_duplicate: null, method: "POST", url: HOST + nightly.path, route: "jobs" });
    assert.equal(Date.parse(latest), Date.parse(night(new Date().getUTCHours() < 2 ? 1 : 0)));
    assert.ok(Math.abs(Date.parse(known_since) - (Date.now() - 14 * DAY)) < 2 * 60_000, known_since);
    const sync = listed.find(({ name }) => name === overlapping.name);
    assert.deepEqual([sync.on_duplicate, sync.known_since], ["fail_on_running", null]);
  });

  describe("from the page", () => {
    /** A browser's session: its cookie, and how it loads a page and posts a form. */
    async function session() {
      const form = (fields) => new URLSearchParams(fields).toString();
      const headers = { Accept: "text/html", "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin" };
      const opened = await ask("login", { method: "POST", headers, body: form({ token: TOKEN }) });
      assert.equal(opened.status, 303);
      const Cookie = opened.get("Set-Cookie").split(";")[0];
      const load = (path) => ask(path, { headers: { Accept: "text/html", Cookie } });
      const send = (path, fields) => ask(path, { method: "POST", headers: { ...headers, Cookie }, body: form(fields) });
      return { load, send };
    }
    /** The fields of the form that posts to this address. */
    function formOf(html, action) {
      const form = html.split("<form ").find((part) => part.includes(`action="${action}"`))?.split("</form>")[0];
      assert.ok(form, `no form for ${action}`);
      const fields = [...form.matchAll(/<input ([^>]*)>/g)].map(([, attributes]) => ["name", "value"].map((name) => new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1]));
      return Object.fromEntries(fields);
    }

    test("a slot is chosen and run; one that is too old is asked about first", async () => {
      const { load, send } = await session();
      const page = await load("schedules");
      assert.equal(page.status, 200);
      assert.ok((await load("")).text.includes('href="/.oncegate/schedules"'), "every page leads there");
      const action = `schedules/${encodeURIComponent(oldByForm.name).replaceAll("-", "%2D")}/run`;
      const fields = formOf(page.text, `/.oncegate/${action}`);
      assert.match(fields.scheduled_time, /^\d{4}-\d\d-\d\dT02:00$/);

      const ran = await send(action, fields);
      assert.deepEqual([ran.status, /<h1>(.*?)<\/h1>/.exec(ran.text)[1]], [200, "Executed"], ran.text);
      assert.match(ran.text, /href="\/\.oncegate\/records\/[0-9a-f]{64}"/);
      assert.match((await send(action, fields)).text, /<h1>Executed before<\/h1>/);
      assert.equal(on.origin.count(oldByForm.path), 1);

      const asked = await send(action, { ...fields, scheduled_time: night(20).slice(0, 16) });
      assert.equal(asked.status, 412);
      assert.match(asked.text, /<h1>Was this slot run before\?<\/h1>/);
      const confirm = formOf(asked.text, `/.oncegate/${action}`);
      assert.equal(confirm.rerun, "true");
      assert.equal(on.origin.count(oldByForm.path), 1);
      assert.match((await send(action, confirm)).text, /<h1>Executed<\/h1>/);
      assert.equal(on.origin.count(oldByForm.path), 2);
      assert.equal((await decisionsOf(oldByForm)).length, 1);
      const audit = await load("audit");
      assert.ok(audit.text.includes("rerun") && audit.text.includes(oldByForm.name));
    });
    test("a form that was not made for the session runs nothing", async () => {
      const { load, send } = await session();
      const { form_token } = formOf((await load("schedules")).text, "/.oncegate/logout");
      const action = `schedules/${checked.name}/run`;
      for (const token of ["", "0".repeat(64), form_token.replace(/^./, (c) => (c === "0" ? "1" : "0"))]) {
        assert.equal((await send(action, { form_token: token, scheduled_time: night(1) })).status, 403);
      }
      assert.equal(on.origin.count(checked.path), 0);
    });
  });
});

describe("without schedules", { timeout: 60_000 }, () => {
  test("the page does not speak of them, and the list is empty", async () => {
    const origin = await startOrigin();
    const worker = await start({ origin, vars: { ADMIN_TOKEN: TOKEN } });
    try {
      const ask = (path, more = {}) => worker.send({ method: "GET", path: `/.oncegate/${path}`, headers: BEARER, ...more });
      assert.deepEqual((await ask("schedules")).json, { schedules: [] });
      const page = await ask("", { headers: { ...BEARER, Accept: "text/html" } });
      assert.ok(!page.text.includes("/.oncegate/schedules"));
      assert.equal((await ask("schedules/any/run", { method: "POST", length: 0 })).status, 404);
    } finally {
      await worker.stop();
      origin.close();
    }
  });
});
