// Schedules and queues: requests that the filter makes itself, each slot and each message once.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { freshPath, start, startOrigin, until } from "./harness.mjs";

const ADMIN_TOKEN = "an operator's token";
const SLOT = Date.parse("2026-11-28T02:00:00Z");
const HOST = "https://jobs.example";
/** What a Worker logged, parsed. */
const linesOf = (worker) => worker.logs.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));

/** A schedule for a path of its own, under a cron of its own. */
const schedules = [];
function schedule(more = {}) {
  const path = freshPath("/jobs");
  const name = path.slice(1).replaceAll("/", "-");
  const cron = `${schedules.length} 2 * * *`;
  schedules.push({ name, cron, request: { url: HOST + path, ...more.request }, key: "nightly-{scheduled_time:date}", ...more, request: { url: HOST + path, ...more.request } });
  return { path, name, cron };
}

describe("schedules and queues", { concurrency: 4, timeout: 120_000 }, () => {
  const once = schedule({ request: { headers: { Authorization: "secret:JOBS_TOKEN", "X-Slot": "{scheduled_time:iso}" }, body: '{"day":"{scheduled_time:date}"}' } });
  const again = schedule();
  const doubtful = schedule();
  const declined = schedule();
  const overlapping = schedule({ key: "sync", on_duplicate: "fail_on_running" });
  const counted = schedule();
  const secretless = schedule({ request: { headers: { Authorization: "secret:NOBODY" } } });
  const queues = [
    { queue: "jobs", request: { url: `${HOST}/jobs/queue/{body:/kind}` }, key: "message-id" },
    { queue: "ids", request: { url: `${HOST}/jobs/ids` }, key: "body:/id" },
    { queue: "texts", request: { url: `${HOST}/jobs/texts` }, key: "message-id" },
  ];
  const routes = [{ name: "jobs", methods: ["POST"], path: "/jobs/{*rest}", key: { required: true }, wait: "0s", timeout: "2s", ttl: "14d" }];
  const on = {};
  before(async () => {
    on.origin = await startOrigin();
    on.worker = await start({ origin: on.origin, events: true, routes, vars: { SCHEDULES: schedules, QUEUES: queues, JOBS_TOKEN: "Bearer t0p", ADMIN_TOKEN } });
  });
  after(async () => {
    await on.worker?.stop();
    on.origin.close();
  });
  // What a Worker prints arrives after its answers.
  const lineOf = (name) => until(() => linesOf(on.worker).filter((line) => line.schedule === name).at(-1), { every: 10, what: `a line of ${name}` });

  test("a slot is run once, however often its trigger fires, and the next slot again", async () => {
    const { path, cron } = once;
    await Promise.all([1, 2].map(() => on.worker.fire(cron, SLOT)));
    assert.equal((await on.worker.fire(cron, SLOT)).outcome, "ok");
    assert.equal(on.origin.count(path), 1);
    const [seen] = on.origin.executions(path);
    assert.deepEqual(seen.all("idempotency-key"), ["nightly-2026-11-28"]);
    assert.deepEqual(seen.all("authorization"), ["Bearer t0p"]);
    assert.deepEqual(seen.all("x-slot"), ["2026-11-28T02:00:00Z"]);
    assert.equal(seen.body.toString(), '{"day":"2026-11-28"}');
    await on.worker.fire(cron, SLOT + 86_400_000);
    assert.equal(on.origin.count(path), 2);
    await until(() => linesOf(on.worker).some((line) => line.via === "schedule" && line.route === "jobs" && line.outcome === "executed"), { every: 10, what: "the line of the request" });
  });
  test("the statistics say what was made for a schedule, and what for a queue", async () => {
    const counts = async () => {
      const { json } = await on.worker.send({ method: "GET", path: "/.oncegate/stats", headers: { Authorization: `Bearer ${ADMIN_TOKEN}` } });
      const { by_schedule = 0, by_queue = 0 } = json.routes.jobs ?? {};
      return { by_schedule, by_queue };
    };
    const before = await counts();
    await on.worker.fire(counted.cron, SLOT);
    await on.worker.deliver("texts", [{ id: "counted", body: "counted" }]);
    const now = await counts();
    assert.ok(now.by_schedule > before.by_schedule && now.by_queue > before.by_queue, JSON.stringify({ before, now }));
  });
  test("what was released is made again within the event, with the same key", async () => {
    const { path, name, cron } = again;
    on.origin.on(path, (_, n) => (n < 3 ? { status: 429, headers: [["Retry-After", "1"]] } : {}));
    await on.worker.fire(cron, SLOT);
    assert.equal(on.origin.count(path), 3);
    assert.deepEqual([(await lineOf(name)).outcome, (await lineOf(name)).tries], ["executed", 3]);
  });
  test("a doubt is left to the operators", async () => {
    const { path, name, cron } = doubtful;
    on.origin.on(path, { status: 503 });
    assert.equal((await on.worker.fire(cron, SLOT)).outcome, "ok");
    assert.equal(on.origin.count(path), 1);
    assert.deepEqual([(await lineOf(name)).outcome, (await lineOf(name)).tries], ["unknown", 1]);
  });
  test("an answer that stays the same is not asked for again", async () => {
    const { path, name, cron } = declined;
    on.origin.on(path, { status: 402 });
    await on.worker.fire(cron, SLOT);
    assert.equal(on.origin.count(path), 1);
    assert.match((await lineOf(name)).why, /402 executed/);
  });
  test("a key without a slot and fail_on_running: one run at a time, and a new one when the last is over", async () => {
    const { path, cron } = overlapping;
    for (let n = 1; n <= 2; n++) {
      await on.worker.fire(cron, SLOT + n);
      assert.equal(on.origin.count(path), n);
    }
  });
  test("a secret that is not set stops its own schedule, and the log names it", async () => {
    const { path, name, cron } = secretless;
    assert.equal((await on.worker.fire(cron, SLOT)).outcome, "ok");
    assert.equal(on.origin.count(path), 0);
    assert.equal((await lineOf(name)).outcome, "misconfigured");
    assert.match((await lineOf(name)).why, /NOBODY/);
  });
  test("a trigger without a schedule runs nothing, and the log says so", async () => {
    assert.equal((await on.worker.fire("* * * * *", SLOT)).outcome, "ok");
    await on.worker.logged(/"\* \* \* \* \*" has fired, but no schedule/);
  });

  test("a message is run once, however often it is delivered", async () => {
    const message = { id: "m-1", body: { kind: "one", n: 1 } };
    for (const attempts of [1, 2]) {
      const heard = await on.worker.deliver("jobs", [{ ...message, attempts }]);
      assert.deepEqual(heard.explicitAcks, ["m-1"]);
    }
    assert.equal(on.origin.count("/jobs/queue/one"), 1);
    const [seen] = on.origin.executions("/jobs/queue/one");
    assert.deepEqual([seen.all("idempotency-key"), seen.all("content-type"), seen.body.toString()], [["m-1"], ["application/json"], '{"kind":"one","n":1}']);
    const lines = () => linesOf(on.worker).filter((line) => line.message === "m-1");
    await until(() => lines().length === 2, { every: 10, what: "a line for each delivery" });
    assert.deepEqual(lines().map((line) => [line.outcome, line.attempts, line.then]), [["executed", 1, "ack"], ["replayed", 2, "ack"]]);
  });
  test("one message's failure is no other's: each is acknowledged, sent back, or put aside by itself", async () => {
    on.origin.on("/jobs/queue/busy", { status: 429, headers: [["Retry-After", "7"]] });
    on.origin.on("/jobs/queue/lost", { status: 503 });
    on.origin.on("/jobs/queue/bad", { status: 402 });
    const kinds = ["fine", "busy", "lost", "bad"];
    const heard = await on.worker.deliver("jobs", [...kinds.map((kind) => ({ id: `each-${kind}`, body: { kind } })), { id: "each-none", body: { n: 1 } }, { id: "each-text", body: "no JSON" }, { id: "each-bytes", bytes: "\u0000\u0001" }]);
    assert.deepEqual(heard.explicitAcks.sort(), ["each-bad", "each-bytes", "each-fine", "each-none", "each-text"]);
    assert.deepEqual(heard.retryMessages.map(({ msgId, delaySeconds }) => [msgId, delaySeconds]).sort(), [["each-busy", 7], ["each-lost", 60]]);
    assert.deepEqual(on.worker.aside.map(({ id }) => id).filter((id) => id.startsWith("each")).sort(), ["each-bad", "each-bytes", "each-none", "each-text"]);
    assert.equal(on.worker.aside.find(({ id }) => id === "each-bytes").body_base64, "AAE=");
    assert.match(on.worker.aside.find(({ id }) => id === "each-none").why, /nothing for a place/);
  });
  test("two messages with one id in their bodies are one job", async () => {
    const heard = await on.worker.deliver("ids", [{ id: "a", body: { id: 7 } }, { id: "b", body: { id: 7 } }]);
    const acknowledged = heard.explicitAcks.length;
    // The second one may have met the first under way, and then comes again.
    assert.equal(acknowledged + heard.retryMessages.length, 2);
    assert.equal(on.origin.count("/jobs/ids"), 1);
    assert.deepEqual(on.origin.executions("/jobs/ids")[0].all("idempotency-key"), ["7"]);
  });
  test("text and bytes go on as they are", async () => {
    const heard = await on.worker.deliver("texts", [{ id: "t-1", body: "grüße" }, { id: "t-2", bytes: "\u0000\u0001" }]);
    assert.equal(heard.explicitAcks.length, 2);
    const seen = new Map(on.origin.executions("/jobs/texts").map((execution) => [execution.all("idempotency-key")[0], execution]));
    assert.deepEqual([seen.get("t-1").all("content-type")[0], seen.get("t-1").body.toString()], ["text/plain;charset=utf-8", "grüße"]);
    assert.deepEqual([seen.get("t-2").all("content-type")[0], [...seen.get("t-2").body]], ["application/octet-stream", [0, 1]]);
  });
  test("a message of 128 KB goes on whole; one that is refused and is too large to be put aside comes again", async () => {
    const body = "x".repeat(128_000);
    const heard = await on.worker.deliver("texts", [{ id: "large", body }]);
    assert.deepEqual(heard.explicitAcks, ["large"]);
    assert.equal(on.origin.executions("/jobs/texts").find((seen) => seen.get("idempotency-key") === "large").body.toString(), body);
    const refused = await on.worker.deliver("jobs", [{ id: "too-large", body }]);
    assert.deepEqual([refused.explicitAcks, refused.retryMessages.map(({ msgId, delaySeconds }) => [msgId, delaySeconds])], [[], [["too-large", 3600]]]);
    await on.worker.logged(/"message":"too-large".*exceeds limit/);
  });
  test("messages of a queue that is not configured all go back", async () => {
    const heard = await on.worker.deliver("unknown", [{ id: "u-1", body: 1 }]);
    assert.deepEqual([heard.explicitAcks, heard.retryBatch.retry], [[], true]);
    await on.worker.logged(/queue unknown has no table/);
  });
});

describe("without a queue for what is put aside", { timeout: 60_000 }, () => {
  test("a message that is refused comes again until the platform moves it to the dead letter queue", async () => {
    const origin = await startOrigin();
    const queues = [{ queue: "jobs", request: { url: `${HOST}/jobs` }, key: "message-id" }];
    const worker = await start({ origin, events: true, aside: false, routes: [{ path: "/jobs" }], vars: { QUEUES: queues } });
    try {
      origin.on("/jobs", { status: 402 });
      const heard = await worker.deliver("jobs", [{ id: "m", body: {} }]);
      assert.deepEqual([heard.explicitAcks, heard.retryMessages.map(({ delaySeconds }) => delaySeconds)], [[], [3600]]);
    } finally {
      await worker.stop();
      origin.close();
    }
  });
});
