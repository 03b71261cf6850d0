// Schedules and queues under `wrangler dev`, with its own queue broker and its own address that fires triggers: what
// the platform's part does with what the handlers say. The handlers' cases are in jobs.test.mjs.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startOrigin, until } from "./harness.mjs";
import { startDev } from "./wrangler-dev.mjs";

const CRON = "0 2 * * *";
const SLOT = Date.parse("2026-11-28T02:00:00Z");

const toml = `
[triggers]
crons = ["${CRON}"]

[[queues.consumers]]
queue = "jobs"
max_batch_timeout = 0
max_retries = 2
dead_letter_queue = "dead"

[[queues.consumers]]
queue = "ids"
max_batch_timeout = 0
max_retries = 2
dead_letter_queue = "dead"

[[queues.producers]]
binding = "ASIDE"
queue = "aside"

[[vars.ROUTES]]
name = "jobs"
methods = ["POST"]
path = "/jobs/{*rest}"
key = { required = true }
outcome = { release = [503] }
ttl = "14d"

[[vars.QUEUES]]
queue = "jobs"
key = "message-id"
request = { url = "https://jobs.example/jobs/{body:/kind}" }

[[vars.QUEUES]]
queue = "ids"
key = "body:/id"
request = { url = "https://jobs.example/jobs/ids" }

[[vars.SCHEDULES]]
name = "nightly"
cron = "${CRON}"
key = "nightly-{scheduled_time:date}"
request = { url = "https://jobs.example/jobs/nightly" }
`;
const AGAIN_SOON = { status: 503, headers: [["Retry-After", "1"]] };

describe("under wrangler dev", { timeout: 120_000 }, () => {
  const on = {};
  before(async () => {
    on.origin = await startOrigin();
    on.dev = await startDev({ origin: on.origin, toml, produced: ["jobs", "ids"], consumed: ["aside", "dead"] });
  });
  after(async () => {
    await on.dev?.stop();
    on.origin.close();
  });
  const keysOf = (path) => on.origin.executions(path).map((execution) => execution.get("Idempotency-Key"));
  /** What the broker says of the next batches of a queue, from here on. */
  const batchesFrom = (queue) => {
    const before = on.dev.batches(queue).length;
    const since = () => on.dev.batches(queue).slice(before);
    return (count) => until(() => since().length >= count && since(), { ms: 20_000, what: `${count} batches of ${queue}:\n${on.dev.logs}` });
  };

  test("a message is run once and acknowledged", async () => {
    const batches = batchesFrom("jobs");
    await on.dev.enqueue("jobs", { kind: "once", n: 1 });
    assert.deepEqual(await batches(1), ["1/1"]);
    const [seen, ...more] = on.origin.executions("/jobs/once");
    assert.deepEqual([seen.method, seen.body.toString(), more], ["POST", '{"kind":"once","n":1}', []]);
  });
  test("a message that was released is delivered again when the origin said, and runs again with the same key", async () => {
    const batches = batchesFrom("jobs");
    on.origin.on("/jobs/busy", (_, n) => (n === 1 ? AGAIN_SOON : {}));
    await on.dev.enqueue("jobs", { kind: "busy" });
    assert.deepEqual(await batches(2), ["0/1", "1/1"]);
    const [first, second, ...more] = keysOf("/jobs/busy");
    assert.match(first, /^[0-9a-f]{32}$/);
    assert.deepEqual([second, more], [first, []]);
  });
  test("a message that makes no request is put aside and acknowledged", async () => {
    const batches = batchesFrom("jobs");
    await on.dev.enqueue("jobs", { n: 1 });
    assert.deepEqual(await batches(1), ["1/1"]);
    const { body: aside } = JSON.parse((await on.origin.reached("/aside")).body);
    assert.deepEqual([aside.queue, aside.body], ["jobs", '{"n":1}']);
    assert.match(aside.why, /nothing for a place/);
  });
  test("a message that is never done goes to the dead letter queue under its own id", async () => {
    const batches = batchesFrom("jobs");
    on.origin.on("/jobs/never", AGAIN_SOON);
    await on.dev.enqueue("jobs", { kind: "never" });
    const dead = JSON.parse((await on.origin.reached("/dead")).body);
    assert.deepEqual(await batches(3), ["0/1", "0/1", "0/1"]);
    assert.deepEqual(keysOf("/jobs/never"), [dead.id, dead.id, dead.id]);
    assert.deepEqual(dead.body, { kind: "never" });
  });
  test("two messages with one id in their bodies run once, and both are acknowledged", async () => {
    const batches = batchesFrom("ids");
    await on.dev.enqueue("ids", { id: "order-7", n: 1 }, { id: "order-7", n: 1 });
    assert.deepEqual(await batches(1), ["2/2"]);
    assert.deepEqual(keysOf("/jobs/ids"), ["order-7"]);
  });
  test("a trigger that fires twice for one slot runs it once, and the next slot again", async () => {
    for (const slot of [SLOT, SLOT, SLOT + 86_400_000]) {
      assert.deepEqual(await on.dev.fire(CRON, slot), { outcome: "ok", noRetry: true });
    }
    assert.deepEqual(keysOf("/jobs/nightly"), ["nightly-2026-11-28", "nightly-2026-11-29"]);
  });
  test("nothing that was acknowledged is delivered again", () => {
    assert.deepEqual([on.dev.batches("jobs"), on.dev.batches("ids")], [["1/1", "0/1", "1/1", "1/1", "0/1", "0/1", "0/1"], ["2/2"]]);
    const counts = ["once", "busy", "never", "ids"].map((kind) => on.origin.count(`/jobs/${kind}`));
    assert.deepEqual([...counts, on.origin.count("/aside"), on.origin.count("/dead")], [1, 2, 3, 1, 1, 1]);
  });
});
