// Clients of two platforms whose keys do not go into Idempotency-Key.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { RoomsClient } from "@azure/communication-rooms";
import { WorkflowExecutor, orkesConductorClient } from "@io-orkes/conductor-javascript";
import { stage } from "../workerd/harness.mjs";
import { answered, codeOf, family, told } from "./family.mjs";
import { routes } from "./scenarios.mjs";
import { openWire } from "./wire.mjs";

const room = { id: "room_1", createdAt: "2026-11-28T00:00:00Z", validFrom: "2026-11-28T00:00:00Z", validUntil: "2026-11-29T00:00:00Z", pstnDialOutEnabled: false };
const REPEATABLE = { key: { from: ["repeatability"] } };

/** Azure's client as it is; `more` are further options of its pipeline. */
function rooms(url, more = {}) {
  const options = { allowInsecureConnection: true, retryOptions: { maxRetries: 3, retryDelayInMs: 200 }, ...more };
  return new RoomsClient(`endpoint=${url}/;accesskey=${Buffer.from("secret").toString("base64")}`, options);
}

const azure = {
  name: "@azure/communication-rooms 1.2.0",
  key: "by itself, one for each call, in Repeatability-Request-ID, with Repeatability-First-Sent",
  retries: "408, 5xx but 501 and 505, 429 and 503 after Retry-After, lost connections; never 409 or its own timeout. All tries carry one signature or token",
  path: "/rooms",
  good: answered(room, 201),
  keyOf: ({ headers }) => headers["repeatability-request-id"],
  async call({ url, timeout }) {
    try {
      const { id } = await rooms(url).createRoom({ abortSignal: AbortSignal.timeout(timeout) });
      return id === room.id ? "201" : `another room: ${id}`;
    } catch (error) {
      return error.statusCode ? told(error.statusCode, codeOf(error.response?.bodyAsText)) : error.name;
    }
  },
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    429: [2, "201", 2],
    500: [1, "500", 4],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "409 outcome-unknown", 2],
    "connection cut": [1, "201", 2],
    "in flight": [1, "409 in-flight", 2],
    "own timeout": [1, "AbortError", 1],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
  },
};

const conductor = {
  name: "@io-orkes/conductor-javascript 4.0.0",
  key: "`correlationId` of the request, in its body",
  retries: "429 after 1, 2, 4 … s, lost connections; never 409, 5xx or its own timeout. What it throws has no status, only a text",
  path: "/api/workflow",
  good: { status: 200, headers: [["Content-Type", "text/plain"]], body: "workflow_1" },
  keyOf: () => "correlationId", // not in a header; the filter's answers tell
  async call({ url, timeout }) {
    const client = await orkesConductorClient({ serverUrl: `${url}/api`, retryServerErrors: true, requestTimeoutMs: timeout, logger: silent });
    try {
      const id = await new WorkflowExecutor(client).startWorkflow({ name: "charge", version: 1, correlationId: randomUUID(), input: { amount: 10 } });
      return id === "workflow_1" ? "200" : `another workflow: ${id}`;
    } catch (error) {
      return /: ./.test(error.message) ? "an error that says why" : "an error";
    }
  },
  sees: {
    fine: [1, "200", 1],
    402: [1, "an error", 1],
    429: [2, "200", 2],
    500: [1, "an error", 1],
    503: [1, "an error", 1],
    "answer lost": [1, "an error that says why", 1],
    "connection cut": [1, "200", 2],
    "in flight": [1, "an error that says why", 2],
    "own timeout": [1, "an error that says why", 1],
    "late answer": [1, "an error that says why", 1],
    "store down": [0, "an error that says why", 1],
  },
};
const silent = Object.fromEntries(["debug", "info", "warn", "error"].map((level) => [level, () => {}]));

family("Azure", [azure], { knobs: REPEATABLE });
family("Conductor", [conductor], { knobs: { key: { from: ["body:/correlationId"] }, credential: ["header:X-Authorization"], fingerprint: { body: "json" } } });

describe("Azure's client and when it says that a call was first sent", { timeout: 60_000 }, () => {
  const on = stage({ routes: routes(REPEATABLE) });
  /** Creates a room; resolves to what came of it, and to the exchanges on the wire. */
  async function created(at, more) {
    const path = `/usual/${at}/rooms`;
    on.origin.on(path, azure.good);
    const wire = await openWire(on.worker.port, { prefix: `/usual/${at}`, counts: (asked) => asked === "/rooms" });
    try {
      let result = null;
      const onResponse = (response) => void (result = response.headers.get("repeatability-result"));
      const came = await rooms(wire.url, more).createRoom({ onResponse }).catch((error) => error);
      return { came, result, path, exchanges: wire.exchanges };
    } finally {
      wire.close();
    }
  }

  test("it sends both headers, as the filter reads them, and is told `accepted`", async () => {
    const { came, result, path, exchanges } = await created("now");
    assert.deepEqual([came.id, result, on.origin.count(path)], [room.id, "accepted", 1]);
    const [{ headers }] = exchanges;
    assert.match(headers["repeatability-request-id"], /^[0-9a-f-]{36}$/);
    assert.equal(headers["repeatability-first-sent"], new Date(headers["repeatability-first-sent"]).toUTCString());
  });
  test("a call that comes after the window is told 412 once, and the origin hears nothing", async () => {
    const policy = { name: "late", sendRequest: (request, next) => (request.headers.set("Repeatability-First-Sent", new Date(Date.now() - 25 * 3_600_000).toUTCString()), next(request)) };
    const { came, path, exchanges } = await created("late", { additionalPolicies: [{ policy, position: "perCall" }] });
    assert.deepEqual([came.statusCode, codeOf(came.response.bodyAsText)], [412, "outside-window"]);
    assert.deepEqual([exchanges.length, exchanges[0].answer["repeatability-result"], on.origin.count(path)], [1, "rejected", 0]);
  });
});
