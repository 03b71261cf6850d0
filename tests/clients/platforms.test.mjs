// Clients of two platforms whose keys do not go into Idempotency-Key.

import { randomUUID } from "node:crypto";
import { RoomsClient } from "@azure/communication-rooms";
import { WorkflowExecutor, orkesConductorClient } from "@io-orkes/conductor-javascript";
import { answered, codeOf, family, told } from "./family.mjs";

const room = { id: "room_1", createdAt: "2026-11-28T00:00:00Z", validFrom: "2026-11-28T00:00:00Z", validUntil: "2026-11-29T00:00:00Z", pstnDialOutEnabled: false };

const azure = {
  name: "@azure/communication-rooms 1.2.0",
  key: "by itself, one for each call, in Repeatability-Request-ID",
  retries: "408, 5xx but 501 and 505, 429 and 503 after Retry-After, lost connections; never 409 or its own timeout. All tries carry one signature or token",
  path: "/rooms",
  good: answered(room, 201),
  keyOf: ({ headers }) => headers["repeatability-request-id"],
  async call({ url, timeout }) {
    const options = { allowInsecureConnection: true, retryOptions: { maxRetries: 3, retryDelayInMs: 200 } };
    const client = new RoomsClient(`endpoint=${url}/;accesskey=${Buffer.from("secret").toString("base64")}`, options);
    try {
      const { id } = await client.createRoom({ abortSignal: AbortSignal.timeout(timeout) });
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

family("Azure", [azure], { knobs: { key: { from: ["header:Repeatability-Request-ID"] } } });
family("Conductor", [conductor], { knobs: { key: { from: ["body:/correlationId"] }, credential: ["header:X-Authorization"], fingerprint: { body: "json" } } });
