// The official Stripe client, its retries on, pointed at the filter (contract 1.5, 1.6 and 1.10): it goes on where
// trying again helps, stops where it does not, and charges once whatever happens on the way.

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { describe, test } from "node:test";
import Stripe from "stripe";
import { freshKey, gate, stage, through } from "./harness.mjs";

let intents = 0;
/** A client of `port` and a payment intent of its own; `capture` resolves to what came of capturing it, `again` when
 *  the client begins its second try. */
function shop(port, options = {}) {
  const client = new Stripe("sk_test_4eC39HqLyjWDarjtT1zdp7dc", { host: "127.0.0.1", port, protocol: "http", telemetry: false, maxNetworkRetries: 3, timeout: 20_000, ...options });
  const it = { id: `pi_${++intents}`, tries: 0 };
  it.path = `/v1/payment_intents/${it.id}/capture`;
  const second = gate();
  it.again = second.opened;
  client.on("request", () => (it.tries += 1) === 2 && second.open());
  it.capture = async (amount = 2000, more = {}) => {
    it.tries = 0;
    try {
      const intent = await client.paymentIntents.capture(it.id, { amount_to_capture: amount }, more);
      return { intent, status: intent.lastResponse.statusCode, headers: intent.lastResponse.headers, tries: it.tries };
    } catch (error) {
      return { error, status: error.statusCode, headers: error.headers, tries: it.tries };
    }
  };
  return it;
}

const JSON_TYPE = [["Content-Type", "application/json"]];
const charged = (it, status = 200) => ({ status, headers: JSON_TYPE, body: JSON.stringify({ id: it.id, object: "payment_intent", amount_received: 2000, status: "succeeded" }) });
const failed = (status, type, more = {}) => ({ status, headers: [...JSON_TYPE, ...(more.headers ?? [])], body: JSON.stringify({ error: { type, message: `said ${status}`, code: more.code } }) });

/** A way to the filter that can be cut. */
async function wire(port) {
  const pairs = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    for (const socket of pair) socket.on("error", () => {}).on("close", () => (pairs.delete(pair), near.destroy(), far.destroy()));
    near.pipe(far).pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: server.address().port,
    cut: () => [...pairs].forEach(([near]) => near.resetAndDestroy()),
    close: () => ([...pairs].flat().forEach((socket) => socket.destroy()), server.close()),
  };
}

describe("the Stripe client", { concurrency: true, timeout: 60_000 }, () => {
  const on = stage({
    routes: [
      { name: "eager", methods: ["POST"], path: "/v1/payment_intents/{id}/capture", wait: "0s", timeout: "30s", fingerprint: { query: true } },
      { name: "rest", methods: ["POST"], path: "/v1/{*rest}" },
    ],
  });
  const shopOf = (options) => shop(on.worker.port, options);
  const answers = (it, ...all) => on.origin.on(it.path, (_, n) => all[Math.min(n, all.length) - 1]);
  const charges = (it) => on.origin.count(it.path);
  const keys = (it) => new Set(on.origin.executions(it.path).map((seen) => seen.get("Idempotency-Key")));

  test("gets its answer at the first try, and its key goes on to the origin as it sent it", async () => {
    const it = shopOf();
    answers(it, charged(it));
    const { intent, tries, headers } = await it.capture();
    assert.deepEqual([intent.id, intent.amount_received, tries, headers["idempotency-status"]], [it.id, 2000, 1, "executed"]);
    const [seen] = on.origin.executions(it.path);
    assert.match(seen.get("Idempotency-Key"), /^stripe-node-retry-[0-9a-f-]{36}$/);
    assert.equal(seen.get("Authorization"), "Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc");
    assert.equal(seen.body.toString(), "amount_to_capture=2000");
  });
  test("gets the first answer when it sends the same key again, and can tell", async () => {
    const it = shopOf();
    answers(it, charged(it));
    const idempotencyKey = freshKey();
    const first = await it.capture(2000, { idempotencyKey });
    const second = await it.capture(2000, { idempotencyKey });
    assert.deepEqual(second.intent, first.intent);
    assert.deepEqual([second.headers["idempotent-replayed"], second.tries, charges(it)], ["true", 1, 1]);
  });
  test("charges once where the connection breaks while the origin is at it", async () => {
    const way = await wire(on.worker.port);
    try {
      const it = shop(way.port);
      const { opened, open } = gate();
      on.origin.on(it.path, async () => (await opened, charged(it)));
      const capturing = it.capture();
      await on.origin.reached(it.path);
      way.cut();
      open();
      const { intent, tries } = await capturing;
      assert.equal(intent.status, "succeeded");
      assert.ok(tries >= 2);
      assert.deepEqual([charges(it), keys(it).size], [1, 1]);
    } finally {
      way.close();
    }
  });
  test("charges once where it gives up waiting and tries again, as long as the first is in flight", async () => {
    const it = shopOf({ timeout: 700 });
    const { opened, open } = gate();
    on.origin.on(it.path, async () => (await opened, charged(it)));
    const capturing = it.capture();
    await on.origin.reached(it.path);
    await it.again;
    open();
    const { intent, tries } = await capturing;
    assert.equal(intent.status, "succeeded");
    assert.ok(tries >= 2);
    assert.equal(charges(it), 1);
  });
  test("goes on while another process with the same key is in flight, and gets that one's answer", async () => {
    const [it, idempotencyKey] = [shopOf(), freshKey()];
    const { opened, open } = gate();
    on.origin.on(it.path, async () => (await opened, charged(it)));
    const other = it.capture(2000, { idempotencyKey });
    await on.origin.reached(it.path);
    const again = shopOf();
    const mine = Object.assign(again, { id: it.id }).capture(2000, { idempotencyKey });
    await again.again; // its first try has been told that the key is in flight
    open();
    const { intent, tries, headers } = await mine;
    assert.equal(intent.status, "succeeded");
    assert.equal(headers["idempotent-replayed"], "true");
    assert.ok(tries >= 2, `${tries} tries`);
    assert.deepEqual((await other).intent, intent);
    assert.equal(charges(it), 1);
  });
  test("stops at a 500 that is replayed", async () => {
    const it = shopOf({ maxNetworkRetries: 5 });
    answers(it, failed(500, "api_error", { headers: [["Stripe-Should-Retry", "true"]] }), charged(it));
    const { error, status, tries, headers } = await it.capture();
    assert.deepEqual([error.type, status, error.message], ["StripeAPIError", 500, "said 500"]);
    assert.deepEqual([tries, charges(it), headers["idempotent-replayed"], headers["stripe-should-retry"]], [2, 1, "true", "false"]);
  });
  test("stops where nobody knows the outcome", async () => {
    const it = shopOf({ maxNetworkRetries: 5 });
    answers(it, failed(502, "api_error"), charged(it));
    const { status, tries, headers } = await it.capture();
    assert.deepEqual([status, tries, charges(it), headers["stripe-should-retry"]], [409, 2, 1, "false"]);
  });
  test("stops at once where the connection to the origin was lost", async () => {
    const it = shopOf({ maxNetworkRetries: 5 });
    answers(it, { reset: true }, charged(it));
    const { status, tries } = await it.capture();
    assert.deepEqual([status, tries, charges(it)], [502, 1, 1]);
  });
  test("goes on where nothing happened: 521 frees the key, and the next try charges", async () => {
    const it = shopOf();
    answers(it, failed(521, "api_error"), charged(it));
    const { intent, tries } = await it.capture();
    assert.deepEqual([intent.status, tries, charges(it), keys(it).size], ["succeeded", 2, 2, 1]);
  });
  test("is declined once, and gets the same decline again", async () => {
    const [it, idempotencyKey] = [shopOf(), freshKey()];
    answers(it, failed(402, "card_error", { code: "card_declined" }), charged(it));
    for (let n = 0; n < 2; n++) {
      const { error, tries } = await it.capture(2000, { idempotencyKey });
      assert.deepEqual([error.type, error.code, tries], ["StripeCardError", "card_declined", 1]);
    }
    assert.equal(charges(it), 1);
  });
  test("stops at a refusal that trying again does not change", async () => {
    const [it, idempotencyKey] = [shopOf(), freshKey()];
    answers(it, charged(it));
    await it.capture(2000, { idempotencyKey });
    const other = await it.capture(999, { idempotencyKey });
    assert.deepEqual([other.status, other.tries], [422, 1]);
    const executed = await it.capture(2000, { idempotencyKey, headers: { "X-On-Conflict": "FAIL" } });
    // A 409 without Stripe-Should-Retry would be tried again.
    assert.deepEqual([executed.status, executed.tries], [409, 1]);
    const changed = await it.capture(2000, { idempotencyKey, apiKey: "sk_test_somebody_else" });
    assert.deepEqual([changed.status, changed.tries], [409, 1]);
    assert.equal(charges(it), 1);
  });
  test("takes a refusal for an error, not for a payment", async () => {
    const [it, idempotencyKey] = [shopOf(), freshKey()];
    answers(it, charged(it));
    await it.capture(2000, { idempotencyKey });
    const refusals = [await it.capture(999, { idempotencyKey }), await it.capture(2000, { idempotencyKey, headers: { "X-On-Conflict": "FAIL" } })];
    const lost = shopOf();
    answers(lost, { reset: true });
    refusals.push(await lost.capture());
    for (const { error, intent } of refusals) {
      assert.ok(error, `the client takes this for a payment intent: ${JSON.stringify(intent)}`);
      assert.ok(error instanceof Stripe.errors.StripeError);
      assert.ok(error.message.length > 20, "it says what to do");
    }
    assert.deepEqual(refusals.map(({ error }) => [error.statusCode, error.code]), [[422, "key-reused"], [409, "already-executed"], [502, "outcome-unknown"]]);
  });
});

describe("the Stripe client and a filter in trouble", { concurrency: true, timeout: 60_000 }, () => {
  const shopping = (options, check) => through(options, (worker, origin) => check(shop(worker.port), worker, origin));
  test("goes on while the Ledger is out of reach, and charges once when it is back", () =>
    shopping({ ledger: "faulty", shards: 1 }, async (it, worker, origin) => {
      origin.on(it.path, charged(it));
      await worker.ledger("throw*3,pass"); // a claim is tried three times before it is given up
      const { intent, tries } = await it.capture();
      assert.deepEqual([intent.status, tries, origin.count(it.path)], ["succeeded", 2, 1]);
    }));
  test("stops where the Ledger's answers are lost after the origin has charged: it has its answer", () =>
    shopping({ ledger: "faulty", shards: 1 }, async (it, worker, origin) => {
      origin.on(it.path, charged(it));
      await worker.ledger("pass*1,lose*2,pass");
      const { intent, tries } = await it.capture();
      assert.deepEqual([intent.status, tries, origin.count(it.path)], ["succeeded", 1, 1]);
    }));
  test("stops where the filter is misconfigured", () =>
    shopping({ routes: [{ nam: "x" }] }, async (it, worker, origin) => {
      const { status, tries } = await it.capture();
      assert.deepEqual([status, tries, origin.all().length], [500, 1, 0]);
    }));
});
