// Webhook receivers: the libraries that sign and check deliveries, with the filter between, on the presets' routes. Each
// delivery is signed by its sender's library; the receiver behind the filter takes it only if its library says so.

import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { after, describe, test } from "node:test";
import { Webhooks } from "@octokit/webhooks";
import "@shopify/shopify-api/adapters/web-api";
import { shopifyApi } from "@shopify/shopify-api";
import { Webhook as StandardWebhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as SvixWebhook } from "svix";
import { gate, stage } from "../workerd/harness.mjs";
import { tellTable } from "./family.mjs";

const SECRET = `whsec_${Buffer.from("a secret of the tests, long enough").toString("base64")}`;
const body = (id, n) => JSON.stringify({ id, type: "invoice.paid", pending_webhooks: 3 - n });

const github = new Webhooks({ secret: SECRET });
const shop = { apiVersion: "2026-10", hostName: "shop.example", isEmbeddedApp: false, scopes: [], logger: { level: 0 } };
const shopify = shopifyApi({ apiKey: "key", apiSecretKey: SECRET, ...shop });
const signed = (Library, prefix) => ({
  send(id, n) {
    const [payload, at] = [body(id, n), new Date(Date.now() + n * 1000)];
    const signature = new Library(SECRET).sign(id, at, payload);
    const headers = { [`${prefix}-id`]: id, [`${prefix}-timestamp`]: String(Math.floor(at / 1000)), [`${prefix}-signature`]: signature };
    return { payload, headers };
  },
  take: (text, headers) => void new Library(SECRET).verify(text, headers),
  signature: `${prefix}-signature`,
});

// How a sender signs its n-th try of the event `id`, and how a receiver takes one, or throws.
const SENDERS = [
  {
    name: "@octokit/webhooks 14.2.0",
    preset: "github-webhook",
    key: "X-GitHub-Delivery",
    // Two Apps of one repository get one GUID each time, with hooks of their own.
    async send(id, n, hook = "1") {
      const payload = JSON.stringify({ action: "opened" });
      return { payload, headers: { "x-github-delivery": id, "x-github-event": "issues", "x-github-hook-id": hook, "x-hub-signature-256": await github.sign(payload) } };
    },
    async take(text, headers) {
      if (!(await github.verify(text, headers["x-hub-signature-256"]))) throw new Error("forged");
    },
    signature: "x-hub-signature-256",
  },
  { name: "standardwebhooks 1.1.1", preset: "standard-webhooks", key: "webhook-id", ...signed(StandardWebhook, "webhook") },
  { name: "svix 2.5.0 (webhooks)", preset: "svix", key: "svix-id", ...signed(SvixWebhook, "svix") },
  {
    name: "@shopify/shopify-api 15.0.0",
    preset: "shopify-webhook",
    key: "X-Shopify-Webhook-Id",
    send(id) {
      const payload = JSON.stringify({ order: 1 });
      const headers = {
        "x-shopify-webhook-id": id,
        "x-shopify-topic": "orders/create",
        "x-shopify-shop-domain": "a.myshopify.com",
        "x-shopify-api-version": "2026-10",
        "x-shopify-hmac-sha256": createHmac("sha256", SECRET).update(payload).digest("base64"),
      };
      return { payload, headers };
    },
    async take(text, headers) {
      const { valid, reason } = await shopify.webhooks.validate({ rawBody: text, rawRequest: new Request("https://shop.example/", { method: "POST", headers }) });
      if (!valid) throw new Error(reason);
    },
    signature: "x-shopify-hmac-sha256",
  },
  {
    name: "stripe (Node) 23.1.0, events",
    preset: "stripe-webhook",
    key: "`id` in the body",
    async send(id, n) {
      const payload = body(id, n);
      const timestamp = Math.floor(Date.now() / 1000) + n;
      return { payload, headers: { "stripe-signature": await Stripe.webhooks.generateTestHeaderStringAsync({ payload, secret: SECRET, timestamp }) } };
    },
    take: (text, headers) => void Stripe.webhooks.constructEvent(text, headers["stripe-signature"], SECRET),
    signature: "stripe-signature",
  },
];

/** What the receiver does with its deliveries, and what the sender does. Expected: [events handled, the answers]. */
const STORIES = {
  "taken, sent again": { expected: [1, "200, 200"] },
  "fails, sent again": { first: "fails", expected: [2, "500, 200"] },
  "answer lost, sent again": { first: "lost", expected: [2, "502, 200"] },
  "two at once": { first: "held", expected: [1, "200, 200"] },
  "forged, then real": { forged: true, expected: [1, "401, 200"] },
};

describe("webhooks", { concurrency: 4, timeout: 60_000 }, () => {
  const on = stage({ routes: SENDERS.map(({ preset }) => ({ name: preset, path: `/${preset}/{n}`, preset })) });
  for (const [row, sender] of SENDERS.entries()) {
    const { name, key, preset } = sender;
    describe(name, () => {
      const seen = {};
      after(() => tellTable({ row, name, key, preset, seen }));
      for (const [what, story] of Object.entries(STORIES)) {
        test(`${name}, ${what}`, async () => {
          seen[what] = await tell(on, sender, story);
          assert.deepEqual(seen[what], story.expected);
        });
      }
    });
  }
  test("two Apps of GitHub get two deliveries under one GUID, and both are handled", async () => {
    const [github] = SENDERS;
    const it = receiver(on, github);
    const [id, answers] = [randomUUID(), []];
    for (const hook of ["1", "2", "1", "2"]) answers.push(await deliver(on, it, await github.send(id, 1, hook)));
    assert.deepEqual([it.handled, answers], [2, [200, 200, 200, 200]]);
  });
});

let paths = 0;

/** A receiver with a path of its own, that takes what its library lets pass. */
function receiver(on, { preset, take }, first) {
  const it = { path: `/${preset}/${++paths}`, handled: 0, held: gate() };
  on.origin.on(it.path, async (delivery) => {
    const headers = Object.fromEntries(delivery.headers.map(([name, value]) => [name.toLowerCase(), value]));
    try {
      await take(delivery.body.toString(), headers);
    } catch {
      return { status: 401 };
    }
    it.handled += 1;
    if (it.handled > 1) return { status: 200 };
    if (first === "held") await it.held.opened;
    return { fails: { status: 500 }, lost: { reset: true } }[first] ?? { status: 200 };
  });
  return it;
}

async function tell(on, sender, { first, forged }) {
  const it = receiver(on, sender, first);
  const id = `evt_${randomUUID()}`;
  const tries = [await sender.send(id, 0), await sender.send(id, 1)];
  if (forged) tries[0].headers[sender.signature] = tries[0].headers[sender.signature].replace(/.{6}$/, "AAAAA=");
  const answers = [];
  if (first === "held") {
    const both = tries.map((delivery) => deliver(on, it, delivery));
    await on.origin.reached(it.path);
    it.held.open();
    answers.push(...(await Promise.all(both)));
  } else for (const delivery of tries) answers.push(await deliver(on, it, delivery));
  return [it.handled, answers.join(", ")];
}

async function deliver(on, { path }, { payload, headers }) {
  const request = { method: "POST", body: payload, headers: { "content-type": "application/json", ...headers } };
  const response = await fetch(`http://127.0.0.1:${on.worker.port}${path}`, request);
  await response.text();
  return response.status;
}
