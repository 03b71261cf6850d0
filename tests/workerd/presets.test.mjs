// Contract 1.11: the presets for webhook senders, fed with deliveries in the shapes that those senders publish. A
// redelivery carries the same id; signature, timestamp and small things in the body differ.

import assert from "node:assert/strict";
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { isExecuted, isReleased, isReplay } from "./expect.mjs";
import { freshPath, stage } from "./harness.mjs";

const secret = "whsec_test";
const hmac = (text, encoding) => createHmac("sha256", secret).update(text).digest(encoding);
const token = (prefix, bytes) => prefix + randomBytes(bytes).toString("base64url").replace(/[-_]/g, "x");
const seconds = (n) => String(1_763_700_000 + 3_600 * n);

// Each makes an event and says how its n-th delivery looks: { headers, body }.
const SENDERS = {
  "stripe-webhook": () => {
    const id = token("evt_1", 18);
    return (n) => {
      const body = JSON.stringify({
        id, object: "event", api_version: "2025-03-31.basil", created: 1_763_699_990,
        data: { object: { id: "pi_3NG8Du2eZvKYlo2C1wIiH5N5", object: "payment_intent", amount: 2000, currency: "eur", status: "succeeded" } },
        livemode: false, pending_webhooks: 4 - n, request: { id: null, idempotency_key: null }, type: "payment_intent.succeeded",
      }, null, 2);
      const signature = `t=${seconds(n)},v1=${hmac(`${seconds(n)}.${body}`, "hex")},v0=${"0".repeat(64)}`;
      return { body, headers: { "Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)", "Stripe-Signature": signature } };
    };
  },
  "github-webhook": () => {
    const id = randomUUID();
    return (n) => {
      const body = JSON.stringify({
        ref: "refs/heads/main", before: "0".repeat(40), after: "a10867b14bb761a232cd80139fbd4c0d33264240",
        repository: { id: 186853002, full_name: "octo-org/octo-repo", stargazers_count: 80 + n }, pusher: { name: "octocat" }, commits: [],
      });
      return {
        body,
        headers: {
          "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/044aadd", "X-GitHub-Delivery": id, "X-GitHub-Event": "push",
          "X-GitHub-Hook-ID": "292430182", "X-GitHub-Hook-Installation-Target-Type": "repository", "X-Hub-Signature-256": `sha256=${hmac(body, "hex")}`,
        },
      };
    };
  },
  "shopify-webhook": () => {
    const id = randomUUID();
    return (n) => {
      const body = `{"id":820982911946154508,"admin_graphql_api_id":"gid:\\/\\/shopify\\/Order\\/820982911946154508","total_price":"398.00","updated_at":"2026-11-21T0${n}:00:00-05:00"}`;
      return {
        body,
        headers: {
          "Content-Type": "application/json", "X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": "jsmith.myshopify.com",
          "X-Shopify-API-Version": "2026-10", "X-Shopify-Webhook-Id": id, "X-Shopify-Triggered-At": `2026-11-21T0${n}:00:00.184Z`, "X-Shopify-Hmac-Sha256": hmac(body, "base64"),
        },
      };
    };
  },
  "standard-webhooks": () => {
    const id = token("msg_", 20);
    return (n) => {
      const body = JSON.stringify({ type: "contact.created", timestamp: "2026-11-21T10:26:10.344522Z", attempt: n, data: { id: "1f81eb52-5198-4599-803e-771906343485" } });
      return { body, headers: { "Content-Type": "application/json", "webhook-id": id, "webhook-timestamp": seconds(n), "webhook-signature": `v1,${hmac(`${id}.${seconds(n)}.${body}`, "base64")}` } };
    };
  },
  svix: () => {
    const id = token("msg_", 20);
    return (n) => {
      const body = `{"type":"invoice.paid","data":{"id":"inv_${"7".repeat(8)}"},"sent":${n}}`;
      return { body, headers: { "Content-Type": "application/json", "User-Agent": "Svix-Webhooks/1.62", "svix-id": id, "svix-timestamp": seconds(n), "svix-signature": `v1,${hmac(`${id}.${seconds(n)}.${body}`, "base64")}` } };
    };
  },
};

describe("a webhook sender's preset", { concurrency: true, timeout: 60_000 }, () => {
  const routes = Object.keys(SENDERS).map((preset) => ({ preset, name: preset, path: `/${preset}/{*rest}` }));
  const on = stage({ routes });

  for (const [sender, make] of Object.entries(SENDERS)) {
    test(`${sender}: an event comes through as it was sent until it has been taken once; redeliveries are replayed`, async () => {
      const [path, delivery] = [freshPath(`/${sender}`), make()];
      const statuses = [500, 302, 404, 200];
      on.origin.on(path, (_, n) => ({ status: statuses[n - 1], body: `run ${n}` }));
      const deliver = (n) => on.worker.send({ path, ...delivery(n) });
      for (const [n, status] of [500, 302, 404].entries()) isReleased(await deliver(n), status);
      const taken = await deliver(3);
      isExecuted(taken, 200);
      for (const n of [1, 4]) {
        assert.notEqual(delivery(n).body, delivery(3).body, "the deliveries should differ");
        isReplay(await deliver(n), taken);
      }
      const [seen] = on.origin.executions(path);
      for (const [name, value] of Object.entries(delivery(0).headers)) assert.deepEqual(seen.all(name), [value]);
      assert.equal(seen.body.toString(), delivery(0).body);
      assert.equal(on.origin.count(path), 4);
      assert.ok(Math.abs(Date.parse(taken.get("Idempotency-Expires")) - Date.now() - 7 * 86_400_000) < 10_000, "kept for seven days");
    });
    test(`${sender}: two events are two, and a delivery without an id passes every time`, async () => {
      const path = freshPath(`/${sender}`);
      isExecuted(await on.worker.send({ path, ...make()(1) }));
      isExecuted(await on.worker.send({ path, ...make()(1), key: "not the key" }));
      const strange = { headers: { "Content-Type": "application/json" }, body: '{"type":"ping"}' };
      for (let n = 1; n <= 2; n++) assert.equal((await on.worker.send({ path, ...strange })).get("Idempotency-Status"), null);
      assert.equal(on.origin.count(path), 4);
    });
  }

  test("github-webhook: two Apps get two deliveries under one GUID, and a server that sends no hook id is known by the GUID", async () => {
    const path = freshPath("/github-webhook");
    const deliver = (hook) => on.worker.send({ path, headers: { "X-GitHub-Delivery": guid, ...(hook && { "X-GitHub-Hook-ID": hook }) }, body: "{}" });
    const guid = randomUUID();
    for (const hook of ["292430182", "292430183", undefined]) {
      const first = await deliver(hook);
      isExecuted(first);
      isReplay(await deliver(hook), first);
    }
    assert.equal(on.origin.count(path), 3);
  });
  test("github-webhook: the largest payload that GitHub sends is delivered", async () => {
    const path = freshPath("/github-webhook");
    isExecuted(await on.worker.send({ path, headers: { "X-GitHub-Delivery": randomUUID() }, body: Buffer.alloc(25_000_000, " ") }));
    assert.equal(on.origin.executions(path)[0].body.length, 25_000_000);
  });
  test("shopify-webhook: the Events API names its header without X-", async () => {
    const path = freshPath("/shopify-webhook");
    const deliver = () => on.worker.send({ path, headers: { "Shopify-Webhook-Id": id, "Shopify-Event-Id": randomUUID() }, body: "{}" });
    const id = randomUUID();
    const first = await deliver();
    isExecuted(first);
    isReplay(await deliver(), first);
    assert.equal(on.origin.count(path), 1);
  });
});
