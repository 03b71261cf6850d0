// Clients of Python. One process of it makes all the calls: calls.py.

import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { python as shown } from "./docs.mjs";
import { answered, family } from "./family.mjs";

const program = path.join(import.meta.dirname, "calls.py");
const installed = path.resolve(import.meta.dirname, "../../.tools/clients/python");
const env = { ...process.env, PYTHONPATH: installed, PYTHONDONTWRITEBYTECODE: "1", NO_PROXY: "*" };
const python = spawn(process.env.PYTHON ?? "python3", [program, shown], { env, stdio: ["pipe", "pipe", "inherit"] });
after(() => python.stdin.end());
process.on("exit", () => python.kill("SIGKILL"));

const waiting = new Map();
createInterface({ input: python.stdout }).on("line", (line) => {
  const { id, got } = JSON.parse(line);
  waiting.get(id)(got);
});

const call = (client) => ({ url, timeout, token, order }) =>
  new Promise((resolve) => {
    const id = waiting.size;
    waiting.set(id, resolve);
    python.stdin.write(`${JSON.stringify({ id, client, url, order, timeout: timeout / 1000, tokens: [token(), token(), token(), token()] })}\n`);
  });

const common = { key: "as a header of the call", path: "/orders", good: answered({ id: "order_1" }, 201) };

const stripe = {
  name: "stripe (Python) 16.1.0",
  key: "by itself, one for each call; or `idempotency_key`",
  retries: "409, 5xx, lost connections, its own timeout; as Stripe-Should-Retry says",
  path: "/v1/payment_intents/pi_1/capture",
  good: answered({ id: "pi_1", object: "payment_intent", status: "succeeded" }),
  call: call("stripe"),
  obeys: true,
  sees: {
    fine: [1, "200", 1],
    402: [1, "402", 1],
    429: [1, "429", 1],
    500: [1, "500", 2],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "502 outcome-unknown", 1],
    "answer lost, probe": [1, "200", 2],
    "connection cut": [1, "200", 2],
    "in flight": [1, "200", 3],
    "own timeout": [1, "200", 2],
    "late answer": [1, "200", 2],
    "store down": [1, "200", 2],
  },
};

const requests = {
  name: "requests 2.34.2, urllib3 2.8.0",
  ...common,
  retries: "`Retry(allowed_methods={\"POST\"}, status_forcelist=[429, 500, 502, 503, 504])`: these, lost connections, its own timeout. In the end it throws and the answer is lost",
  call: call("requests"),
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    429: [2, "201", 2],
    500: [1, "RetryError", 4],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "409 outcome-unknown", 2],
    "answer lost, probe": [1, "200", 2],
    "connection cut": [1, "201", 2],
    "in flight": [1, "409 in-flight", 2],
    "own timeout": [1, "201", 2],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
    "upload refused": [0, "413 request-too-large", 1],
  },
};

const requestsTold = {
  name: "requests, set up",
  ...common,
  retries: "409 with Retry-After too, and not after x-should-retry: false",
  call: call("requests-told"),
  obeys: true,
  sees: {
    500: [1, "500", 2],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "502 outcome-unknown", 1],
    "answer lost, probe": [1, "200", 2],
    "in flight": [1, "201", 3],
    "late answer": [1, "201", 2],
  },
};

const httpx = {
  name: "httpx 0.28.1, tenacity 9.2.1",
  ...common,
  retries: "what one writes; here 429, 5xx, lost connections, its own timeout, as x-should-retry says",
  call: call("httpx"),
  obeys: true,
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    429: [2, "201", 2],
    500: [1, "500", 2],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "502 outcome-unknown", 1],
    "answer lost, probe": [1, "200", 2],
    "connection cut": [1, "201", 2],
    "in flight": [1, "201", 3],
    "own timeout": [1, "201", 2],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
    "token renewed": [1, "409 credential-changed", 2],
    "token renewed, jwt": [1, "201", 2],
    "upload refused": [0, "413 request-too-large", 1],
  },
};

family("Python", [stripe, requests, requestsTold, httpx]);
