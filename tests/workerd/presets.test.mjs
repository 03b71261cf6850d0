// Contract 1.11: the presets for webhook senders, fed with deliveries in the shapes that those senders publish. A
// redelivery carries the same id; signature, timestamp and small things in the body differ.

import assert from "node:assert/strict";
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshPath, stage, until } from "./harness.mjs";

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
  // What each variant adds to the preset.
  const VARIANTS = {
    plain: {}, hasty: { timeout: "500ms" }, strict: { outcome: { preset: "strict" } }, kept: { outcome: { store: [503] } }, raw: { fingerprint: { body: "raw" } },
    hold: { timeout: "500ms", on_in_doubt: "hold" }, brief: { ttl: "1s" }, keyed: { key: { from: ["header:X-Our-Id"] } }, required: { key: { required: true } }, failing: { on_duplicate: "fail" },
  };
  const routes = Object.keys(SENDERS).flatMap((preset) =>
    Object.entries(VARIANTS).map(([name, more]) => ({ ...more, preset, name: `${preset}-${name}`, path: `/${preset}/${name}/{*rest}` })),
  );
  const on = stage({ routes });

  for (const [sender, make] of Object.entries(SENDERS)) {
    /** An event on a path of its own: `deliver(n)` sends its n-th delivery, `answers` tells the receiver what to say. */
    function event(variant, ...answers) {
      const path = freshPath(`/${sender}/${variant}`);
      const delivery = make();
      if (answers.length) on.origin.on(path, (_, n) => ({ body: `run ${n}`, ...(typeof answers[n - 1] === "object" ? answers[n - 1] : { status: answers[n - 1] ?? 200 }) }));
      return { path, delivery, count: () => on.origin.count(path), deliver: (n, more = {}) => on.worker.send({ path, ...delivery(n), ...more }) };
    }

    test(`${sender}: a redelivery after 2xx is replayed, though signature, time and body differ`, async () => {
      for (const status of [200, 202, 204]) {
        const it = event("plain", { status, body: status === 204 ? "" : "thanks" });
        const first = await it.deliver(1);
        isExecuted(first, status);
        for (const n of [2, 3]) {
          assert.notDeepEqual(it.delivery(n).headers, it.delivery(1).headers, "the deliveries should differ");
          assert.notEqual(it.delivery(n).body, it.delivery(1).body);
          isReplay(await it.deliver(n), first);
        }
        assert.equal(it.count(), 1);
      }
    });
    test(`${sender}: what the receiver gets is the delivery as it came`, async () => {
      const it = event("plain");
      isExecuted(await it.deliver(1));
      const [seen] = on.origin.executions(it.path);
      const { headers, body } = it.delivery(1);
      for (const [name, value] of Object.entries(headers)) assert.deepEqual(seen.all(name), [value]);
      assert.equal(seen.body.toString(), body);
    });
    test(`${sender}: a redelivery after any other answer runs again, until there is a 2xx`, async () => {
      const failures = [500, 302, 400, 401, 404, 410, 422, 429, 501, 599];
      const it = event("plain", ...failures, 200);
      for (const [n, status] of failures.entries()) isReleased(await it.deliver(n % 4), status);
      const done = await it.deliver(4);
      isExecuted(done, 200);
      isReplay(await it.deliver(2), done);
      assert.equal(it.count(), failures.length + 1);
    });
    test(`${sender}: two events are two, though they say the same`, async () => {
      const it = event("plain");
      const other = make();
      isExecuted(await it.deliver(1));
      isExecuted(await on.worker.send({ path: it.path, ...other(1) }));
      assert.equal(it.count(), 2);
    });
    test(`${sender}: a delivery without an id passes every time`, async () => {
      const it = event("plain");
      const strange = { headers: { "Content-Type": "application/json" }, body: '{"type":"ping"}' };
      for (let n = 1; n <= 2; n++) {
        assert.equal((await on.worker.send({ path: it.path, ...strange })).get("Idempotency-Status"), null);
        assert.equal(it.count(), n);
      }
      const strict = event("required");
      isProblem(await on.worker.send({ path: strict.path, ...strange }), "key-missing");
      assert.equal(strict.count(), 0);
      isExecuted(await strict.deliver(1));
    });
    test(`${sender}: an Idempotency-Key is not looked at, its id is the key`, async () => {
      const it = event("plain");
      const { headers, body } = it.delivery(1);
      const first = await on.worker.send({ path: it.path, body, headers: { ...headers, "Idempotency-Key": "one" } });
      isExecuted(first);
      isReplay(await on.worker.send({ path: it.path, body, headers: { ...headers, "Idempotency-Key": "two" } }), first);
    });
    test(`${sender}: a reply is kept for seven days`, async () => {
      const expires = (await event("plain").deliver(1)).get("Idempotency-Expires");
      assert.ok(Math.abs(Date.parse(expires) - Date.now() - 7 * 86_400_000) < 10_000, expires);
    });
    test(`${sender}: a delivery whose outcome is unknown is run again once its lease is over, unless it is to be held`, async () => {
      const held = event("hold", 504, 200);
      isUnknown(await held.deliver(1), 504);
      const it = event("hasty", 504, 200);
      const began = Date.now();
      isUnknown(await it.deliver(1), 504);
      isProblem(await it.deliver(2), "outcome-unknown");
      const done = await until(
        async () => {
          const response = await it.deliver(3);
          if (response.status === 200) return response;
          isProblem(response, "outcome-unknown");
        },
        { ms: 25_000, every: 250 },
      );
      assert.ok(Date.now() - began >= 15_000, "sooner than timeout and 15 s");
      isExecuted(done, 200);
      isReplay(await it.deliver(4), done);
      assert.deepEqual(on.origin.executions(it.path).map((seen) => seen.get("Idempotency-Attempt")), ["1", "2"]);
      assert.equal(on.origin.executions(it.path)[1].body.toString(), it.delivery(3).body);
      isProblem(await held.deliver(2), "outcome-unknown");
      assert.equal(held.count(), 1);
    });

    test(`${sender}: each habit can be overridden, and the others stay`, async () => {
      const strict = event("strict", 500);
      const failed = await strict.deliver(1);
      isExecuted(failed, 500);
      isReplay(await strict.deliver(2), failed);

      const kept = event("kept", { status: 503, headers: [["Retry-After", "1"]] });
      const unavailable = await kept.deliver(1);
      isExecuted(unavailable, 503);
      isReplay(await kept.deliver(2), unavailable);

      const raw = event("raw");
      const whole = await raw.deliver(1);
      isProblem(await raw.deliver(2), "key-reused");
      isReplay(await raw.deliver(1), whole);

      const failing = event("failing");
      isExecuted(await failing.deliver(1));
      isProblem(await failing.deliver(2), "already-executed");

      const keyed = event("keyed");
      const first = await keyed.deliver(1, { headers: { ...keyed.delivery(1).headers, "X-Our-Id": "7" } });
      isReplay(await keyed.deliver(2, { headers: { ...keyed.delivery(2).headers, "X-Our-Id": "7" } }), first);
      assert.equal((await keyed.deliver(3)).get("Idempotency-Status"), null);

      const brief = event("brief");
      isExecuted(await brief.deliver(1));
      await until(async () => (await brief.deliver(2)).get("Idempotency-Status") === "executed");
      assert.deepEqual([strict.count(), kept.count(), raw.count(), keyed.count(), brief.count()], [1, 1, 1, 2, 2]);
    });
  }
});
