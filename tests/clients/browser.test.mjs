// A page in Chromium that posts to another origin with fetch, on routes with `cors`. Its retries are a few lines of its own.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { openBrowser } from "../workerd/browser.mjs";
import { stage } from "../workerd/harness.mjs";
import { shown } from "./docs.mjs";
import { answered, family } from "./family.mjs";
import { openWire } from "./wire.mjs";

const page = http.createServer((_, res) => {
  res.setHeader("Content-Type", "text/html");
  res.setHeader("Set-Cookie", "session=alice; Path=/; HttpOnly; SameSite=Lax");
  res.end("<!doctype html><title>a shop</title><link rel=icon href=data:>");
});
page.listen(0, "127.0.0.1");
await once(page, "listening");
const shop = `http://127.0.0.1:${page.address().port}`;
let browser;
before(async () => {
  browser = await openBrowser();
  await browser.call("Emulation.setScriptExecutionDisabled", { value: false }); // here a page is a program
  await browser.visit(shop);
});
after(async () => {
  await browser?.close();
  page.closeAllConnections();
  page.close();
});

const post = shown("post", ["AbortSignal"]);

/** Runs the page's own code of docs/clients.md; resolves to what it got, and how often it called fetch. */
async function inPage({ url, timeout, order }, credentials, tokens) {
  const call = async (url, options, tokens) => {
    const real = window.fetch;
    let tries = 0;
    const fetch = (to, request) => {
      const token = tokens && { Authorization: `Bearer ${tokens[tries]}` };
      return (tries++, real(to, { ...request, headers: { ...request.headers, ...token } }));
    };
    const answer = await POST(fetch)(url, options);
    if (!answer.status) return { tries, got: answer.name };
    const { code } = await answer.json();
    return { tries, got: `${answer.status} ${code ?? ""}`.trim() };
  };
  const options = { key: randomUUID(), body: JSON.stringify(order), headers: { "Content-Type": "application/json" }, credentials, timeout };
  const program = String(call).replace("POST(fetch)", `((fetch) => ${post})(fetch)`);
  const expression = `(${program})(...${JSON.stringify([`${url}/orders`, options, tokens])})`;
  const { result, exceptionDetails } = await browser.call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
  return result.value;
}

const allows = [
  ["Access-Control-Allow-Origin", shop],
  ["Access-Control-Allow-Credentials", "true"],
];
const may = [...allows, ["Access-Control-Allow-Methods", "POST"], ["Access-Control-Allow-Headers", "Content-Type, Idempotency-Key, Authorization"]];
const good = answered({ id: "order_1" }, 201);
const common = {
  key: "as a header of the call, which the origin's preflight must allow",
  retries: "what one writes; here 429, 5xx, no answer, its own timeout, as x-should-retry says",
  path: "/orders",
  // Preflights are the origin's to answer; of its own answers it says itself who may read them.
  preflight: { status: 204, headers: may },
  good: { ...good, headers: [...good.headers, ...allows] },
  always: allows,
  obeys: true,
};

const withTokens = {
  ...common,
  name: "a page in Chromium, `credentials: \"omit\"`, bearer token",
  call: async (at) => (await inPage(at, "omit", [at.token(), at.token(), at.token(), at.token()])).got,
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
    "upload refused": [0, "413 request-too-large", 1],
  },
};

const withCookies = {
  ...common,
  name: "a page in Chromium, `credentials: \"include\"`, cookies",
  call: async (at) => (await inPage(at, "include")).got,
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    500: [1, "500", 2],
    "answer lost": [1, "502 outcome-unknown", 1],
    "connection cut": [1, "201", 2],
    "in flight": [1, "201", 3],
    "own timeout": [1, "201", 2],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
  },
};

family("Chromium", [withTokens, withCookies], { knobs: { cors: [shop] }, concurrency: 4 });

describe("Chromium itself", () => {
  const on = stage({ routes: [{ name: "orders", path: "/orders", cors: [shop] }] });
  test("sends a POST again, with the same key, where a connection that it had kept breaks", async () => {
    on.origin.on("/orders", ({ method }) => (method === "OPTIONS" ? common.preflight : common.good));
    const wire = await openWire(on.worker.port, { cut: "answer" });
    try {
      // The preflight's connection is the kept one.
      const { tries, got } = await inPage({ url: wire.url, timeout: 20_000, order: {} }, "omit");
      assert.deepEqual([tries, got, wire.exchanges.length], [1, "201", 2]);
      assert.equal(wire.exchanges[0].headers["idempotency-key"], wire.exchanges[1].headers["idempotency-key"]);
      assert.equal(wire.exchanges[1].answer["idempotent-replayed"], "true");
    } finally {
      wire.close();
    }
  });
});
