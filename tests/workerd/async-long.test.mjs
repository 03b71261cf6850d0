// Contract part 3: a call of 90 s whose client left at once. The runtime lets an object go 70 s after its last client,
// unless work of it is pending: that is what a compatibility date from 2026-10-01 on gives
// (developers.cloudflare.com, changelog/durable-objects/2026-10-01-pending-io-keep-alive). Only in the nightly run.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { operation, through, until } from "./harness.mjs";

const CALL_MS = 90_000;
/** The lease is this and 15 s, so a doubt shows 135 s after the claim. */
const TIMEOUT_S = 120;
const LEASE_MS = (TIMEOUT_S + 15) * 1000;
const routes = [{ name: "long", methods: ["POST"], path: "/v1/long/{*rest}", async: "allow", timeout: `${TIMEOUT_S}s` }];
const skip = process.env.ONCEGATE_NIGHTLY !== "1" && "only in the nightly run";

/** Sends a call, leaves, and resolves to what the status address says in the end. */
async function left(flags) {
  let told;
  await through({ routes, flags }, async (worker, origin) => {
    const it = operation({ worker, origin }, "/v1/long");
    const since = performance.now();
    const ms = () => Math.round(performance.now() - since);
    let cut_ms = null;
    origin.onStream(it.path, async ({ stream }) => {
      stream.resume();
      stream.socket.once("close", () => (cut_ms ??= ms()));
      await pause(CALL_MS);
      return { status: 201, body: "paid", sent: () => (cut_ms ??= "not cut off") };
    });
    const accepted = await it.send({ headers: { Prefer: "respond-async" } });
    assert.equal(accepted.status, 202, accepted.text);
    const path = new URL(accepted.get("Location")).pathname;
    // Nobody asks meanwhile: a poll calls no Runner, but it is not to be thought that it might have kept one.
    await pause(CALL_MS - 5_000);
    const running = await worker.send({ method: "GET", path });
    const ended = await until(async () => {
      const response = await worker.send({ method: "GET", path });
      return response.status !== 202 && response;
    }, { ms: LEASE_MS, every: 500, what: "the end of the call" });
    told = { running: running.status, status: ended.status, said: ended.get("Idempotency-Status"), body: ended.text, ms: ms(), cut_ms, executions: it.count() };
  });
  return told;
}

describe("a call of 90 s whose client left at once", { concurrency: true, skip, timeout: 300_000 }, () => {
  test("is settled, and the status address has its reply", async () => {
    const { body, ...told } = await left([]);
    console.log(`figures: ${JSON.stringify({ part: "a call of 90 s", ...told })}`);
    assert.deepEqual([told.running, told.status, told.said, body, told.executions], [202, 201, "replayed", "paid", 1]);
  });
  test("ends in doubt where the runtime keeps no object for its pending work, and is not made again", async () => {
    const { body, ...told } = await left(["durable_object_io_tasks_do_not_prevent_eviction"]);
    console.log(`figures: ${JSON.stringify({ part: "a call of 90 s, the object not kept", ...told })}`);
    assert.deepEqual([told.running, told.status, JSON.parse(body).code, told.executions], [202, 409, "outcome-unknown", 1]);
  });
});
