// The pages of docs/: the configuration of each is loaded as it stands there, its transcripts are played, its code is
// run, and what its text promises is asked of the real runtime.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, gate, start, startOrigin, until } from "./harness.mjs";
import {
  DAY, DOCS, JSON_TYPE, ROOM, SECOND, blocks, code, created, doubtUntil, eventually, files, hurried, inTurn,
  isKeptFor, isUnguarded, multipart, onConflict, operation, originSays, pages, played, plays, published, says, text,
  vars,
} from "./docs.mjs";

const LINES_MAX = 140;

test("every page has one configuration, is short, and its links lead somewhere", () => {
  for (const name of pages) {
    const [config, ...more] = blocks(name, "toml");
    assert.match(config ?? "", /^# wrangler\.toml\n/, name);
    assert.deepEqual(more, [], name);
    assert.match(vars(name).ORIGIN, /^https:\/\/[\w.-]+$/, name);
  }
  for (const name of files) {
    assert.ok(text(name).trim().split("\n").length <= LINES_MAX, `${name} is longer than ${LINES_MAX} lines`);
    for (const [, link] of text(name).matchAll(/\]\(([^)]+)\)/g)) {
      if (link.startsWith("https://")) continue;
      const [file, anchor] = link.split("#");
      const target = file ? path.join(path.dirname(name), file) : name;
      assert.ok(existsSync(path.join(DOCS, target)), `${name} links to ${link}`);
      const anchors = [...text(target).matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase().replace(/[^\w -]/g, "").replaceAll(" ", "-"));
      if (anchor) assert.ok(anchors.includes(anchor), `${name} links to ${link}`);
    }
  }
});

// ---- payments -------------------------------------------------------------------------------------------------------

describe("payments.md", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("payments");
  const pay = (path, answer, key = freshKey()) => operation(on, { path, key, body: '{"amount": 1200}' }, answer);
  const as = (credential) => ({ headers: [["Authorization", credential]] });

  test("its transcript", async () => {
    originSays(on, "/v1/payments", (_, n) => ({ status: 201, headers: [JSON_TYPE], body: `{"id": "pay_${n}", "amount": 1200}` }));
    await plays(on, "payments");
  });
  for (const path of ["/v1/payments", "/v1/refunds"]) {
    for (const status of [200, 302, 402, 400, 404, 422, 500, 501]) {
      test(`${path}: ${status} is the outcome and is replayed for 30 days`, async () => {
        const it = pay(path, says(status));
        const first = await it.send();
        isExecuted(first, status);
        isKeptFor(first, 30 * DAY);
        const again = await it.send();
        isReplay(again, first);
        assert.equal(again.get("Stripe-Should-Retry"), status >= 500 ? "false" : null);
        assert.equal(it.count(), 1);
      });
    }
    for (const [status, headers] of [[401], [403], [407], [408], [409], [425], [429], [503, [["Retry-After", "5"]]], [521], [523], [525], [526], [530]]) {
      test(`${path}: ${status} frees the key`, async () => {
        const it = pay(path, says(status, headers));
        isReleased(await it.send(), status);
        isReleased(await it.send(), status);
        assert.equal(it.count(), 2);
      });
    }
    test(`${path}: members in another order are the same request, another amount is not`, async () => {
      const it = pay(path);
      const first = await it.send({ body: '{"amount": 1200, "currency": "eur"}' });
      isReplay(await it.send({ body: '{"currency":"eur","amount":1200}' }), first);
      isProblem(await it.send(), "key-reused");
    });
    test(`${path}: what each problem is answered to`, async () => {
      isProblem(await pay(path).send({ key: undefined }), "key-missing");
      isProblem(await pay(path).send({ key: "two, keys" }), "key-invalid");
      isProblem(await pay(path).send(onConflict("MAYBE")), "strategy-invalid");
      isProblem(await pay(path).send({ body: undefined, length: 8 * 1024 * 1024 + 1 }), "request-too-large");
      const it = pay(path);
      isExecuted(await it.send(as("Bearer sk_1")));
      isProblem(await it.send(as("Bearer sk_2")), "credential-changed");
      isProblem(await it.send({ headers: [...as("Bearer sk_1").headers, ...onConflict("FAIL").headers] }), "already-executed");
      const streamed = pay(path, { status: 200, headers: [["Content-Type", "text/event-stream"]], body: "data: 1\n\n" });
      assert.equal((await streamed.send()).status, 200);
      assert.equal(isProblem(await streamed.send(), "reply-not-stored").original_status, 200);
      const { opened, open } = gate();
      const slow = pay(path, async () => (await opened, { status: 201, body: "paid" }));
      const first = slow.send();
      await slow.reached();
      isProblem(await slow.send({ headers: [["Prefer", "wait=0"]] }), "in-flight");
      const joins = slow.send();
      open();
      isReplay(await joins, await first, /joined|replayed/);
    });
  }
  for (const status of [502, 503, 504, 520, 522, 524]) {
    test(`${status} is held where the origin cannot tell: it is not asked and not sent to again`, async () => {
      const it = pay("/v1/refunds", says(status));
      isUnknown(await it.send(), status);
      isProblem(await it.send(), "outcome-unknown");
      assert.equal(it.count(), 1);
      assert.ok(on.origin.all().every(({ path, get }) => path === "/v1/refunds" || get("X-Test") !== it.received()[0].get("X-Test")));
    });
  }
  test("a probe that answers 200 closes a doubt: that answer is the reply from then on, its status included", async () => {
    const key = freshKey();
    const it = pay("/v1/payments", { reset: true }, key);
    const look = `/v1/payments/by-key/${key}`;
    on.origin.on(look, (_, n) => ({ status: [404, 500, 302][n - 1] ?? 200, headers: [JSON_TYPE], body: '{"id": "pay_9"}' }));
    isProblem(await it.send(as("Bearer sk_1")), "outcome-unknown", 502);
    for (let n = 0; n < 3; n++) isProblem(await it.send(as("Bearer sk_1")), "outcome-unknown");
    const reply = await it.send(as("Bearer sk_1"));
    assert.deepEqual([reply.status, reply.text], [200, '{"id": "pay_9"}']);
    isReplay(reply, reply);
    isReplay(await it.send(as("Bearer sk_1")), reply);
    const asked = on.origin.executions(look);
    assert.deepEqual([it.count(), asked.length], [1, 4]);
    assert.deepEqual([asked[0].method, asked[0].get("Authorization"), asked[0].get("Content-Type")], ["GET", "Bearer sk_1", null]);
  });
  test("the origin may free the key of a request that it refused before anything ran", async () => {
    const it = pay("/v1/payments", says(400, [["Idempotency-Outcome", "release"]]));
    const first = await it.send();
    isReleased(first, 400);
    assert.equal(first.get("Idempotency-Outcome"), null);
    isReleased(await it.send(), 400);
    assert.equal(it.count(), 2);
  });
  test("PATCH and DELETE are guarded too, PUT is not", async () => {
    for (const method of ["PATCH", "DELETE"]) {
      isProblem(await pay("/v1/refunds/1").send({ method, key: undefined }), "key-missing");
      const it = pay("/v1/refunds/1");
      const first = await it.send({ method });
      isReplay(await it.send({ method }), first);
    }
    isUnguarded(await pay("/v1/refunds/1").send({ method: "PUT" }));
    isUnguarded(await pay("/elsewhere").send());
  });
  test("what it publishes", async () => {
    const rules = async (name) => {
      const { methods, path, key, fingerprint, outcome, timeout, ttl, tombstone, wait } = await published(on, name);
      return [methods, path, key.required, fingerprint.body, outcome.preset, timeout, ttl, tombstone, wait];
    };
    const same = [true, "json", "strict", "PT30S", "P30D", "P60D", "PT10S"];
    assert.deepEqual(await rules("payments"), [["POST"], "/v1/payments", ...same]);
    assert.deepEqual(await rules("other-writes"), [["POST", "PATCH", "DELETE"], "/v1/{*rest}", ...same]);
  });
});

// ---- webhooks -------------------------------------------------------------------------------------------------------

const SENDERS = {
  stripe: (id) => ({ body: (n) => JSON.stringify({ ...(id && { id }), object: "event", type: "invoice.paid", data: { object: { id: "in_1" } }, pending_webhooks: n }) }),
  github: (id) => ({ header: ["X-GitHub-Delivery", id], body: (n) => JSON.stringify({ action: "opened", number: n }) }),
  shopify: (id) => ({ header: ["X-Shopify-Webhook-Id", id], body: (n) => JSON.stringify({ id: 820982911946154508, note: `delivery ${n}` }) }),
  standard: (id) => ({ header: ["webhook-id", id], body: (n) => JSON.stringify({ type: "user.created", timestamp: n }) }),
  svix: (id) => ({ header: ["svix-id", id], body: (n) => JSON.stringify({ type: "user.created", attempt: n }) }),
  mail: (id) => ({ header: ["X-Message-Id", id] }),
};
/** An event, delivered with small differences every time. */
function event(on, sender, answer, id = `evt_${freshKey()}`) {
  const { header, body } = SENDERS[sender](id);
  const it = operation(on, { path: `/webhooks/${sender}` }, answer);
  let n = 0;
  const headers = id && header ? [header] : [];
  const delivery = () => (body ? { headers: [], body: body(++n) } : multipart({ subject: "Hello" }));
  const send = () => {
    const { headers: own, body } = delivery();
    return it.send({ headers: [...own, ...headers], body });
  };
  return { ...it, send };
}

describe("webhooks.md", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("webhooks");

  test("its transcript", async () => {
    originSays(on, "/webhooks/stripe", inTurn(500, 200));
    await plays(on, "webhooks");
  });
  for (const sender of Object.keys(SENDERS)) {
    test(`${sender}: an event comes through until it has been taken once`, async () => {
      const it = event(on, sender, inTurn(500, 302, 402, 400, 200));
      for (const status of [500, 302, 402, 400]) isReleased(await it.send(), status);
      const taken = await it.send();
      isExecuted(taken, 200);
      isKeptFor(taken, (sender === "stripe" ? 30 : 7) * DAY);
      isReplay(await it.send(), taken);
      isReplay(await it.send(), taken);
      assert.equal(it.count(), 5);
      isExecuted(await event(on, sender).send());
    });
    test(`${sender}: a delivery without the id ${["svix", "mail"].includes(sender) ? "is refused" : "passes through unguarded"}`, async () => {
      const it = event(on, sender, created, null);
      if (["svix", "mail"].includes(sender)) return void isProblem(await it.send(), "key-missing");
      isUnguarded(await it.send());
      isUnguarded(await it.send());
      assert.equal(it.count(), 2);
    });
    test(`${sender}: a redelivery while the first one is running waits for its answer`, async () => {
      const { opened, open } = gate();
      const it = event(on, sender, async () => (await opened, { status: 200, body: "taken" }));
      const first = it.send();
      await it.reached();
      const again = it.send();
      open();
      isExecuted(await first, 200);
      isReplay(await again, await first, /joined|replayed/);
      assert.equal(it.count(), 1);
    });
  }
  test("what it publishes: where each sender's id is", async () => {
    const from = {
      stripe: "body:/id", github: "header:x-github-delivery", shopify: "header:x-shopify-webhook-id",
      standard: "header:webhook-id", svix: "header:svix-id", mail: "header:x-message-id",
    };
    for (const [name, source] of Object.entries(from)) {
      const { path, key, outcome, fingerprint } = await published(on, name);
      assert.deepEqual([path, key.from, outcome.preset, fingerprint.body], [`/webhooks/${name}`, [source], "success-only", "none"]);
    }
  });
  test("multipart has no JSON body to take a key from", async () => {
    const it = operation(on, { path: "/webhooks/stripe" });
    isUnguarded(await it.send(multipart({ id: "evt_9" })));
    isUnguarded(await it.send(multipart({ id: "evt_9" })));
  });
});

describe("webhooks.md, other fingerprints and keys", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("webhooks", (vars) => {
    const route = (name) => vars.ROUTES.find((route) => route.name === name);
    const ROUTES = [
      { ...route("stripe"), fingerprint: { body: ["/type", "/data/object/id"] } },
      { ...route("shopify"), key: { from: ["header:X-Shopify-Event-Id"] } },
      ...["raw", "json", ["/subject"]].map((body, n) => ({ ...route("mail"), name: `mail-${n}`, path: `/mail/${n}`, fingerprint: { body } })),
    ];
    return { ...vars, ROUTES };
  });

  test("listed members must agree, others may differ", async () => {
    const id = "evt_twice";
    const it = operation(on, { path: "/webhooks/stripe" });
    const sent = (type, object, pending) => it.send({ body: JSON.stringify({ id, type, data: { object: { id: object } }, pending_webhooks: pending }) });
    const first = await sent("invoice.paid", "in_1", 2);
    isReplay(await sent("invoice.paid", "in_1", 1), first);
    isProblem(await sent("invoice.void", "in_1", 2), "key-reused");
    isProblem(await sent("invoice.paid", "in_2", 2), "key-reused");
  });
  test("one event through two Shopify subscriptions is taken once by its event id", async () => {
    const it = operation(on, { path: "/webhooks/shopify", headers: [["X-Shopify-Event-Id", freshKey()]] });
    const first = await it.send({ headers: [["X-Shopify-Webhook-Id", "one"]] });
    isReplay(await it.send({ headers: [["X-Shopify-Webhook-Id", "two"]] }), first);
  });
  for (const [n, rule] of ["raw", "json", "pointers"].entries()) {
    test(`with ${rule} the retry of a multipart body is refused, unless its bytes are the same`, async () => {
      const it = operation(on, { path: `/mail/${n}`, headers: [["X-Message-Id", freshKey()]] });
      const form = multipart({ subject: "Hello" });
      const first = await it.send(form);
      isExecuted(first);
      isProblem(await it.send(multipart({ subject: "Hello" })), "key-reused");
      isReplay(await it.send(form), first);
      assert.equal(it.count(), 1);
    });
  }
});

// ---- workflows ------------------------------------------------------------------------------------------------------

describe("workflows.md", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("workflows");
  const engine = (_, n) => ({ status: 200, headers: [["Content-Type", "text/plain"]], body: `wf-${n}` });
  const token = (value) => ({ headers: [["X-Authorization", value], ["Authorization", `Bearer ${value}`]] });
  /** A start of a workflow by name: key in a header. */
  const byName = (workflow, answer = engine, key = freshKey()) =>
    operation(on, { path: `/api/workflow/${workflow}`, headers: [["X-Idempotency-key", key]], body: '{"orderId": 1001, "rush": true}' }, answer);
  /** A start with everything in the body. */
  const byBody = (answer = engine, request = { name: "refund", idempotencyKey: freshKey() }) =>
    operation(on, { path: "/api/workflow", body: JSON.stringify({ input: {}, ...request }) }, answer);
  const kestra = (flow = "orders", query = "?labels=system.correlationId:order-1001", answer = created) =>
    operation(on, { path: `/api/v1/main/executions/company.team/${flow}${query}`, headers: [["Authorization", "Bearer t1"]] }, answer);

  test("its transcript", async () => {
    originSays(on, "/api/workflow/order_fulfilment", engine);
    await plays(on, "workflows");
  });
  test("what it publishes", async () => {
    const rules = async (name) => {
      const { methods, path, on_duplicate, outcome } = await published(on, name);
      return [methods.join(), path, on_duplicate, outcome.preset];
    };
    assert.deepEqual(await rules("conductor-start"), ["POST", "/api/workflow/{name}", "return_existing", "standard"]);
    assert.deepEqual(await rules("conductor-start-by-body"), ["POST", "/api/workflow", "return_existing", "standard"]);
    assert.deepEqual(await rules("kestra-start"), ["POST", "/api/v1/{tenant}/executions/{namespace}/{flow}", "return_existing", "standard"]);
    assert.deepEqual(await rules("steps"), ["POST", "/steps/{*rest}", "return_existing", "success-only"]);
  });
  test("two engines behind two hosts are kept apart", async () => {
    for (const it of [byName("hosts"), byBody()]) {
      isExecuted(await it.send({ host: "one.example" }), 200);
      isExecuted(await it.send({ host: "two.example" }), 200);
    }
  });
  test("a key belongs to a workflow", async () => {
    const key = freshKey();
    const [one, two] = [byName("one", engine, key), byName("two", engine, key)];
    for (const it of [one, two]) {
      const first = await it.send();
      isExecuted(first, 200);
      isKeptFor(first, 30 * DAY);
      isReplay(await it.send({ body: '{ "rush": true, "orderId": 1001 }' }), first);
      isProblem(await it.send({ body: '{"orderId": 1002}' }), "key-reused");
    }
    assert.deepEqual([one.count(), two.count()], [1, 1]);
  });
  test("a renewed token gets the same reply, and a start without a key passes", async () => {
    for (const it of [byName("renewed"), byBody()]) {
      const first = await it.send(token("old"));
      isReplay(await it.send(token("new")), first);
    }
    for (const path of ["/api/workflow/keyless", "/api/workflow"]) isUnguarded(await operation(on, { path, body: '{"name": "keyless"}' }).send());
  });
  test("FAIL_ON_RUNNING is the engine's to decide: it gets key and strategy, and its 409 leaves the old reply", async () => {
    const it = byName("again", inTurn({ status: 200, body: "wf-1" }, { status: 409, body: "running" }, { status: 200, body: "wf-2" }));
    const first = await it.send(onConflict("FAIL_ON_RUNNING"));
    isReleased(await it.send(onConflict("FAIL_ON_RUNNING")), 409);
    isReplay(await it.send(), first);
    const second = await it.send(onConflict("FAIL_ON_RUNNING"));
    isExecuted(second, 200);
    isReplay(await it.send(), second);
    isProblem(await it.send(onConflict("FAIL")), "already-executed");
    assert.equal(it.count(), 3);
    assert.ok(it.received()[1].get("X-Idempotency-Key") && it.received()[1].get("X-On-Conflict") === "FAIL_ON_RUNNING");
  });
  test("while the start itself is running, FAIL and FAIL_ON_RUNNING are in-flight, and RETURN_EXISTING waits", async () => {
    const { opened, open } = gate();
    const it = byName("slow", async () => (await opened, { status: 200, body: "wf-1" }));
    const first = it.send();
    await it.reached();
    for (const strategy of ["FAIL", "FAIL_ON_RUNNING"]) isProblem(await it.send(onConflict(strategy)), "in-flight");
    const waits = it.send(onConflict("RETURN_EXISTING"));
    open();
    isReplay(await waits, await first, /joined|replayed/);
  });
  test("with everything in the body the name keeps keys apart, and idempotencyStrategy is not read", async () => {
    const idempotencyKey = freshKey();
    const request = (name, more) => byBody(engine, { name, idempotencyKey, idempotencyStrategy: "FAIL", ...more });
    const [refund, payout] = [request("refund"), request("payout")];
    const first = await refund.send();
    isKeptFor(first, 30 * DAY);
    isExecuted(await payout.send(), 200);
    isReplay(await refund.send(), first);
    isProblem(await refund.send(onConflict("FAIL")), "already-executed");
    isProblem(await refund.send(onConflict("FAIL_ON_RUNNING")), "strategy-invalid");
    isProblem(await refund.send({ body: JSON.stringify({ name: "refund", idempotencyKey, input: { other: true } }) }), "key-reused");
    // A slash inside a part is not the slash between the parts.
    for (const [name, key] of [["a/b", "c"], ["a", "b/c"], ["a%2Fb", "c"]]) isExecuted(await byBody(engine, { name, idempotencyKey: key }).send(), 200);
    isReplay(await refund.send({ body: JSON.stringify({ idempotencyStrategy: "FAIL", idempotencyKey, name: "refund", input: {} }) }), first);
  });
  test("Kestra: inputs with another boundary are the same start, another label is not", async () => {
    const key = freshKey();
    const form = () => ({ ...multipart({ order: "1001" }), key });
    const it = kestra();
    const first = await it.send(form());
    isExecuted(first);
    isKeptFor(first, 30 * DAY);
    isReplay(await it.send(form()), first);
    isProblem(await it.send({ ...form(), path: "/api/v1/main/executions/company.team/orders?labels=system.correlationId:order-1002" }), "key-reused");
    isExecuted(await kestra("invoices").send(form()));
    const { headers, body } = form();
    const spec = { method: "POST", path: "/api/v1/main/executions/company.team/orders?labels=system.correlationId:order-1001", key, body };
    isProblem(await on.worker.send({ ...spec, headers: [...headers, ["Authorization", "Bearer t2"]] }), "credential-changed");
    isUnguarded(await kestra().send(multipart({ order: "1001" })));
  });
  test("a child inherits its parent's key: the correlation id that the origin is given", async () => {
    const parent = byName("parent", inTurn(429, 200));
    isReleased(await parent.send(), 429);
    isExecuted(await parent.send(), 200);
    const [id, again] = parent.received().map((execution) => execution.get("X-Correlation-Id"));
    assert.equal(id, again);
    const step = (path) => operation(on, { path, headers: [["X-Correlation-Id", id]] });
    const [pack, ship] = [step("/steps/pack"), step("/steps/ship")];
    const packed = await pack.send();
    isExecuted(packed);
    isKeptFor(packed, 30 * DAY);
    isReplay(await pack.send(), packed);
    isExecuted(await ship.send());
    assert.equal(packed.get("X-Correlation-Id"), id);
    assert.equal(pack.received()[0].get("X-Correlation-Id"), id);
    // Twice in one run, by a key of its own.
    isExecuted(await pack.send({ key: `${id}-parcel-2` }));
    const flow = step("/api/v1/main/executions/company.team/child");
    const started = await flow.send();
    isReplay(await flow.send(), started);
    isProblem(await operation(on, { path: "/steps/pack" }).send(), "key-missing");
  });
  test("a workflow that is started again skips what succeeded and repeats what failed", async () => {
    const id = freshKey();
    const step = (name, answer) => operation(on, { path: `/steps/${name}`, headers: [["X-Correlation-Id", id]] }, answer);
    const [reserve, charge, ship] = [step("reserve"), step("charge", inTurn(402, 200)), step("ship", inTurn(504, 200))];
    const reserved = await reserve.send();
    isReleased(await charge.send(), 402);
    // Started again.
    isReplay(await reserve.send(), reserved);
    isProblem(await reserve.send(onConflict("FAIL")), "already-executed");
    isExecuted(await charge.send(onConflict("FAIL")), 200);
    isUnknown(await ship.send(), 504);
    isProblem(await ship.send(), "outcome-unknown");
    assert.deepEqual([reserve.count(), charge.count(), ship.count()], [1, 2, 1]);
  });
});

// ---- agents ---------------------------------------------------------------------------------------------------------

const sent = (_, n) => ({ status: 202, headers: [JSON_TYPE], body: `{"message": "msg_${n}"}` });
/** A step of a run; its mail is worded differently every time. */
function step(on, run, place, answer = sent) {
  const it = operation(on, { path: "/v1/messages", headers: [["X-Run-Id", run], ["X-Step-Id", place]] }, answer);
  let n = 0;
  const send = ({ to = "ada@example.com", template = "hello", ...more } = {}) =>
    it.send({ body: JSON.stringify({ to, template, text: `wording ${++n}` }), ...more });
  return { ...it, send };
}

describe("agents.md", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("agents");
  const run = () => `run-${freshKey()}`;

  test("its transcript", async () => {
    originSays(on, "/v1/messages", sent);
    await plays(on, "agents");
  });
  test("a step is sent once, whatever the wording; not to somebody else, and not from another template", async () => {
    const it = step(on, run(), "3");
    const first = await it.send();
    isExecuted(first, 202);
    isKeptFor(first, 30 * DAY);
    isProblem(await it.send(), "already-executed");
    isReplay(await it.send(onConflict("RETURN_EXISTING")), first);
    isProblem(await it.send({ to: "bob@example.com" }), "key-reused");
    isProblem(await it.send({ template: "farewell" }), "key-reused");
    isProblem(await it.send(onConflict("FAIL_ON_RUNNING")), "strategy-invalid");
    assert.equal(it.count(), 1);
  });
  test("no two pairs of run and step are one key, and a missing part is no key", async () => {
    const id = run();
    for (const [r, s] of [[id, "1/2"], [`${id}/1`, "2"], [`${id}%2F1`, "2"], [id, "1%2F2"]]) isExecuted(await step(on, r, s).send(), 202);
    for (const headers of [[["X-Run-Id", id]], [["X-Step-Id", "1"]]]) isProblem(await operation(on, { path: "/v1/messages", headers }).send(), "key-missing");
  });
  test("the third party sees a key of the filter's own, another for each run, and the headers of the runner", async () => {
    const [one, two] = [step(on, run(), "1", inTurn(202)), step(on, run(), "1")];
    await one.send();
    await two.send();
    const [[a], [b]] = [one.received(), two.received()];
    assert.match(a.get("Idempotency-Key"), /^[0-9a-f]{32}$/);
    assert.notEqual(a.get("Idempotency-Key"), b.get("Idempotency-Key"));
    assert.match(a.get("X-Run-Id"), /^run-/);
    assert.equal(a.get("X-Step-Id"), "1");
  });
  test("what it publishes", async () => {
    const { methods, path, key } = await published(on, "send");
    assert.deepEqual([methods, path, key.required], [["POST"], "/v1/messages", true]);
  });
  test("429 and 503 with Retry-After free the key; a rotated credential is refused", async () => {
    const it = step(on, run(), "1", inTurn(429, { status: 503, headers: [["Retry-After", "1"]], body: "busy" }, 202));
    isReleased(await it.send(), 429);
    isReleased(await it.send(), 503);
    isExecuted(await it.send({ headers: [["Authorization", "Bearer one"]] }), 202);
    isProblem(await it.send({ headers: [["Authorization", "Bearer two"]] }), "credential-changed");
  });
  test("its code: once over all restarts, and the result where it is wanted", async () => {
    const { runOnce } = await code("agents");
    const id = run();
    const url = `http://127.0.0.1:${on.worker.port}/v1/messages`;
    originSays(on, "/v1/messages", sent);
    const call = { run: id, step: "1", body: { to: "ada@example.com", template: "hello", text: "Dear Ada" }, credential: "Bearer one" };
    const result = await runOnce(url, call);
    assert.match(result.message, /^msg_/);
    assert.equal(await runOnce(url, { ...call, body: { ...call.body, text: "Hi" } }), undefined);
    assert.deepEqual(await runOnce(url, { ...call, wanted: true }), result);
    await assert.rejects(runOnce(url, { ...call, body: { ...call.body, to: "bob@example.com" } }), /key-reused/);
    await assert.rejects(runOnce(url, { ...call, credential: "Bearer two" }), /credential-changed/);
  });
});

// ---- queues ---------------------------------------------------------------------------------------------------------

describe("queues.md", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("queues");
  let kinds = 0;
  /** A message of a kind of its own, delivered as often as one likes; each delivery resolves to what became of it. */
  function message(answer, body = {}) {
    const kind = `kind-${++kinds}`;
    const id = freshKey();
    const at = `/jobs/${kind}`;
    originSays(on, at, answer);
    return {
      id,
      at,
      count: () => on.origin.count(at),
      deliver: async (env = {}) => {
        const fate = [];
        const delivered = { id, body: { kind, ...body }, ack: () => void fate.push("ack"), retry: ({ delaySeconds }) => void fate.push(`retry ${delaySeconds}`) };
        const ASIDE = { send: ({ id: of, why }) => void fate.push(`aside ${of === id ? why : of}`) };
        const FILTER = { fetch: (url, request) => fetch(url.replace("https://jobs.example.com", `http://127.0.0.1:${on.worker.port}`), request) };
        const { default: consumer } = await code("queues");
        await consumer.queue({ messages: [delivered] }, { FILTER, ASIDE, TOKEN: "Bearer one", ...env });
        return fate.join(", ");
      },
    };
  }

  test("its transcript", async () => {
    originSays(on, "/jobs/invoice", created);
    await plays(on, "queues");
  });
  test("2xx is acked, replayed or not, under another token too; the job runs once and is known for 14 days", async () => {
    const it = message(created);
    for (const TOKEN of ["Bearer one", "Bearer one", "Bearer two"]) assert.equal(await it.deliver({ TOKEN }), "ack");
    assert.equal(it.count(), 1);
    isKeptFor(await operation(on, { path: "/jobs/kept", key: freshKey() }).send(), 14 * DAY);
    isProblem(await operation(on, { path: "/jobs/keyless" }).send(), "key-missing");
  });
  for (const [what, answer, fate, runs] of [
    ["429 is retried after Retry-After", says(429, [["Retry-After", "7"]]), "retry 7", 2],
    ["401 is retried", says(401), "retry 10", 2],
    ["503 with Retry-After is retried", says(503, [["Retry-After", "9"]]), "retry 9", 2],
    ["521 is retried", says(521), "retry 10", 2],
    ["404 is put aside", says(404), "aside 404 released, ack", 2],
    ["422 of the origin is put aside", says(422), "aside 422 released, ack", 2],
    ["504 is retried after a minute", says(504), "retry 60", 1],
    ["a lost connection is retried after a minute", { reset: true }, "retry 60", 1],
  ]) {
    test(what, async () => {
      const it = message(answer);
      assert.equal(await it.deliver(), fate);
      assert.equal(await it.deliver(), fate);
      assert.equal(it.count(), runs);
    });
  }
  for (const status of [302, 402, 500]) {
    test(`${status} is put aside, and stays what it is`, async () => {
      const it = message(says(status, [["Location", "/jobs/elsewhere"]]));
      assert.equal(await it.deliver(), `aside ${status} executed, ack`);
      assert.equal(await it.deliver(), `aside ${status} replayed, ack`);
      assert.equal(it.count(), 1);
    });
  }
  test("while the job runs a redelivery is retried at once, and acked when it has ended", async () => {
    const { opened, open } = gate();
    const it = message(async () => (await opened, { status: 200, body: "done" }));
    const first = it.deliver();
    await on.origin.reached(it.at);
    const began = Date.now();
    assert.match(await it.deliver(), /^retry [12]$/);
    assert.ok(Date.now() - began < 5 * SECOND, "it does not wait");
    open();
    assert.equal(await first, "ack");
    assert.equal(await it.deliver(), "ack");
  });
  test("a reply that is not kept is acked, an id with another body is put aside, no answer is retried", async () => {
    const streamed = message({ status: 200, headers: [["Content-Type", "text/event-stream"]], body: "data: 1\n\n" });
    assert.equal(await streamed.deliver(), "ack");
    assert.equal(await streamed.deliver(), "ack");
    assert.equal(streamed.count(), 1);
    const it = message(created);
    assert.equal(await it.deliver(), "ack");
    isProblem(await on.worker.send({ host: `127.0.0.1:${on.worker.port}`, path: it.at, key: it.id, headers: [JSON_TYPE], body: '{"kind": "another"}' }), "key-reused");
    assert.equal(await it.deliver({ FILTER: { fetch: () => Promise.reject(new Error("lost")) } }), "retry 10");
    const { decide } = await code("queues");
    const said = async (headers) => {
      const request = { method: "POST", headers: { "Idempotency-Key": it.id, ...headers }, body: JSON.stringify({ kind: it.at.split("/")[2] }) };
      return decide(await fetch(`http://127.0.0.1:${on.worker.port}${it.at}`, request));
    };
    assert.deepEqual(await said({ "Content-Type": "application/json", "X-On-Conflict": "FAIL" }), "ack");
    assert.deepEqual(await said({ "Content-Type": "text/plain" }), { aside: "422 key-reused" });
    assert.deepEqual(await said({ "Idempotency-Key": "two, keys" }), { aside: "400 key-invalid" });
  });
  test("members in another order are the same job, another host's job is another one", async () => {
    const it = operation(on, { path: "/jobs/ordered", key: freshKey() });
    const first = await it.send({ body: '{"kind": "a", "order": 7}' });
    isReplay(await it.send({ body: '{"order":7,"kind":"a"}' }), first);
    isExecuted(await it.send({ host: "two.example" }));
    isExecuted(await it.send({ path: "/jobs/another-kind", body: '{"kind": "a", "order": 7}' }));
    isUnguarded(await it.send({ method: "PATCH" }));
    assert.equal((await published(on, "jobs")).path, "/jobs/{kind}");
  });
});

// ---- strategies -----------------------------------------------------------------------------------------------------

describe("strategies.md", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("strategies");
  const at = {
    charge: (answer, key = freshKey()) => operation(on, { path: "/v1/charges", key }, answer),
    rest: (answer, key = freshKey()) => operation(on, { path: "/v1/orders/7", key }, answer),
    event: (answer, id = freshKey()) => operation(on, { path: "/events", body: JSON.stringify({ id }) }, answer),
    job: (answer, key = `2026-11-22-${freshKey()}`) => operation(on, { path: "/jobs/nightly", key }, answer),
  };

  test("its transcript", async () => {
    originSays(on, "/jobs/nightly", says(200));
    await plays(on, "strategies");
  });
  // The table, row by row: charge, REST retry, event, job.
  const rows = {
    "a duplicate": [201, "replayed", "replayed", "replayed", "already-executed"],
    "after a 404": [404, "replayed", "again", "again", "again"],
    "after a 500": [500, "replayed", "replayed", "again", "already-executed"],
    "after a 302": [302, "replayed", "replayed", "again", "already-executed"],
    "after a 402": [402, "replayed", "replayed", "again", "already-executed"],
    "after a 429": [429, "again", "again", "again", "again"],
    "in doubt": [504, "outcome-unknown", "outcome-unknown", "outcome-unknown", "outcome-unknown"],
  };
  for (const [what, [status, ...outcomes]] of Object.entries(rows)) {
    for (const [n, kind] of Object.keys(at).entries()) {
      test(`${kind}, ${what}: ${outcomes[n]}`, async () => {
        const it = at[kind](says(status));
        const first = await it.send();
        const second = await it.send();
        if (outcomes[n] === "replayed") isReplay(second, first);
        else if (outcomes[n] === "again") isReleased(second, status);
        else isProblem(second, outcomes[n]);
        assert.equal(it.count(), outcomes[n] === "again" ? 2 : 1);
      });
    }
  }
  test("which of them need a key", async () => {
    const keyless = (path) => operation(on, { path, body: '{"no": "id"}' }).send();
    for (const path of ["/v1/charges", "/events", "/jobs/nightly"]) isProblem(await keyless(path), "key-missing");
    isUnguarded(await keyless("/v1/orders/7"));
  });
  test("how long each is kept, and which leaves a tombstone", async () => {
    const kept = {};
    for (const kind of Object.keys(at)) kept[kind] = (({ ttl, tombstone, methods }) => [ttl, tombstone, methods.join()])(await published(on, kind));
    assert.deepEqual(kept, { charge: ["P30D", "P60D", "POST"], rest: ["P1D", "PT0S", "POST,PATCH"], event: ["P7D", "PT0S", "POST"], job: ["P3D", "PT0S", "POST"] });
  });
  test("a client chooses FAIL or RETURN_EXISTING, and only of a job to run it again", async () => {
    for (const kind of Object.keys(at)) {
      const it = at[kind]();
      const first = await it.send();
      isProblem(await it.send(onConflict("FAIL")), "already-executed");
      isReplay(await it.send(onConflict("RETURN_EXISTING")), first);
      const again = await it.send(onConflict("FAIL_ON_RUNNING"));
      if (kind === "job") isExecuted(again);
      else isProblem(again, "strategy-invalid");
    }
  });
  test("events with one id are one event", async () => {
    const it = at.event();
    const first = await it.send({ body: '{"id": "evt_7", "sent": 1}' });
    isReplay(await it.send({ body: '{"id": "evt_7", "sent": 2}' }), first);
  });
  test("the origin frees a key with Idempotency-Outcome", async () => {
    const it = at.charge(says(201, [["Idempotency-Outcome", "release"]]));
    isReleased(await it.send(), 201);
    isReleased(await it.send(), 201);
  });
});

describe("strategies.md, what makes two requests the same", { concurrency: true, timeout: 60_000 }, () => {
  const rules = { raw: "raw", json: "json", pointers: ["/amount", "/currency"], none: "none" };
  const on = played("strategies", (vars) => ({
    ...vars,
    ROUTES: [
      ...Object.entries(rules).map(([name, body]) => ({ name, path: `/same/${name}`, fingerprint: { body } })),
      { name: "query", path: "/same/query", fingerprint: { query: false } },
      { name: "header", path: "/same/header", fingerprint: { headers: ["Accept-Language"] } },
      { name: "forward", path: "/same/forward", credential_change: "forward" },
    ],
  }));
  const it = (name) => operation(on, { path: `/same/${name}`, key: freshKey() });
  const json = '{"amount": 10, "currency": "eur", "at": 1}';
  // For each rule: which second body is the same request.
  const bodies = {
    "the same bytes": [json, { raw: true, json: true, pointers: true, none: true }],
    "another order": ['{"currency":"eur","amount":10,"at":1}', { raw: false, json: true, pointers: true, none: true }],
    "another time": ['{"amount": 10, "currency": "eur", "at": 2}', { raw: false, json: false, pointers: true, none: true }],
    "another amount": ['{"amount": 11, "currency": "eur", "at": 1}', { raw: false, json: false, pointers: false, none: true }],
    "a member twice": ['{"amount": 10, "amount": 10, "currency": "eur", "at": 1}', { raw: false, json: false, pointers: false, none: true }],
  };
  for (const rule of Object.keys(rules)) {
    for (const [what, [body, same]] of Object.entries(bodies)) {
      test(`${rule}: ${what} is ${same[rule] ? "a retry" : "another request"}`, async () => {
        const op = it(rule);
        const first = await op.send({ body: json });
        const second = await op.send({ body });
        if (same[rule]) isReplay(second, first);
        else isProblem(second, "key-reused");
      });
    }
    test(`${rule}: multipart with another boundary is ${rule === "none" ? "a retry" : "another request"}, with the same bytes a retry`, async () => {
      const op = it(rule);
      const form = multipart({ amount: "10" });
      const first = await op.send(form);
      const second = await op.send(multipart({ amount: "10" }));
      if (rule === "none") isReplay(second, first);
      else isProblem(second, "key-reused");
      isReplay(await op.send(form), first);
    });
  }
  test("JSON that can be read in two ways, or holds a million values, is compared byte by byte", async () => {
    for (const body of ['{"a": 1, "a": 2}', '{"a": 9007199254740993}', `[1, ${"1,".repeat(1_000_000)}1]`]) {
      const op = it("json");
      const first = await op.send({ body });
      isReplay(await op.send({ body }), first);
      isProblem(await op.send({ body: body.replace(" ", "") }), "key-reused");
    }
  });
  test("what else counts, and what does not", async () => {
    const plain = it("raw");
    const first = await plain.send();
    for (const name of ["Content-Encoding", "If-Match", "If-None-Match", "Content-Range", "X-HTTP-Method-Override"]) {
      isProblem(await plain.send({ headers: [[name, "other"]] }), "key-reused");
    }
    isProblem(await plain.send({ headers: [["Content-Type", "text/plain"]] }), "key-reused");
    isProblem(await plain.send({ path: "/same/raw?page=2" }), "key-reused");
    isReplay(await plain.send({ headers: [["Accept", "text/html"], ["Accept-Language", "de"]] }), first);
    const [query, header] = [it("query"), it("header")];
    const asked = await query.send();
    isReplay(await query.send({ path: "/same/query?page=2" }), asked);
    await header.send({ headers: [["Accept-Language", "de"]] });
    isProblem(await header.send({ headers: [["Accept-Language", "en"]] }), "key-reused");
  });
  test("credential_change = forward executes the same operation again under another credential", async () => {
    const op = it("forward");
    isExecuted(await op.send({ headers: [["Authorization", "Bearer one"]] }));
    isExecuted(await op.send({ headers: [["Authorization", "Bearer two"]] }));
  });
});

// ---- adopting -------------------------------------------------------------------------------------------------------

/** What the routes in shadow have logged since. */
const shadowLog = (worker, since) =>
  worker.logs.slice(since).split("\n").filter((line) => line.startsWith('{"')).map((line) => JSON.parse(line)).filter(({ mode }) => mode === "shadow");

/** The page's Oncegate by itself, to be restarted with other vars. */
async function adopted(check, change = (vars) => vars) {
  const origin = await startOrigin();
  const { ORIGIN, SHARDS, ...rest } = change(vars("adopting"));
  const worker = await start({ origin, shards: SHARDS, vars: rest });
  const route = (name, changed) => ({ vars: { ...rest, ROUTES: rest.ROUTES.map((route) => (route.name === name ? { ...route, ...changed } : route)) } });
  try {
    await check({ origin, worker }, { restarted: (name, changed) => worker.restart(route(name, changed)), shards: SHARDS });
  } finally {
    await worker.stop();
    origin.close();
  }
}

describe("adopting.md", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("adopting");

  test("a route in shadow forwards everything as if unguarded, and its log says what enforcing would have answered", async () => {
    const id = `shadow-${freshKey()}`;
    const would = async (it, more, status = 201) => {
      const since = on.worker.logs.length;
      const before = it.count();
      isUnguarded(await it.send({ ...more, headers: [["X-Correlation-Id", id], ...(more?.headers ?? [])] }), status);
      assert.equal(it.count(), before + 1);
      const line = await until(() => shadowLog(on.worker, since).find(({ route, correlation_id }) => route === "payments" && correlation_id === id));
      assert.deepEqual(Object.keys(line).sort(), ["correlation_id", "mode", "route", "would"]);
      return line.would;
    };
    const payment = (answer) => operation(on, { path: "/v1/payments", key: freshKey() }, answer);
    const as = (credential, ...more) => ({ headers: [["Authorization", credential], ...more] });

    const it = payment();
    assert.equal(await would(it, as("one")), "executed");
    assert.equal(await would(it, as("one")), "replayed");
    assert.equal(await would(it, as("two")), "credential-changed");
    assert.equal(await would(it, { ...as("one"), body: '{"other": 1}' }), "key-reused");
    assert.equal(await would(it, as("one", ["X-On-Conflict", "FAIL"])), "already-executed");
    assert.equal(await would(it, as("one", ["X-On-Conflict", "MAYBE"])), "strategy-invalid");
    assert.equal(await would(payment(), { key: undefined }), "key-missing");
    assert.equal(await would(payment(), { key: "two, keys" }), "key-invalid");
    assert.equal(await would(payment(), { body: Buffer.alloc(8 * 1024 * 1024 + 1) }), "request-too-large");
    const doubtful = payment(says(504));
    assert.equal(await would(doubtful, {}, 504), "executed");
    assert.equal(await would(doubtful, {}, 504), "outcome-unknown");
    const freed = payment(says(429));
    assert.equal(await would(freed, {}, 429), "executed");
    assert.equal(await would(freed, {}, 429), "executed");

    const streamed = payment({ status: 200, headers: [["Content-Type", "text/event-stream"]], body: "data: 1\n\n" });
    assert.equal(await would(streamed, {}, 200), "executed");
    assert.equal(await would(streamed, {}, 200), "reply-not-stored");
    isUnguarded(await payment().send({ method: "PATCH", headers: [["X-Correlation-Id", `${id}-patched`]] }));

    const { opened, open } = gate();
    const slow = payment(async () => (await opened, { status: 201, body: "paid" }));
    const since = on.worker.logs.length;
    const [one, two] = [slow.send(), slow.reached().then(() => slow.send())];
    await slow.reached(2);
    open();
    for (const sending of [one, two]) isUnguarded(await sending);
    await until(() => shadowLog(on.worker, since).length >= 2);
    assert.deepEqual(shadowLog(on.worker, since).map(({ would }) => would).sort(), ["executed", "joined"]);
    const [a, b] = shadowLog(on.worker, since).map(({ correlation_id }) => correlation_id);
    assert.equal(a, b);
    assert.doesNotMatch(on.worker.logs, /-patched/);
  });
  test("meanwhile a route in enforce guards, and what no route matches passes", async () => {
    const since = on.worker.logs.length;
    const it = operation(on, { path: "/v1/refunds", key: freshKey() });
    const first = await it.send();
    isExecuted(first);
    isKeptFor(first, 7 * DAY);
    isReplay(await it.send(), first);
    isProblem(await it.send({ key: undefined }), "key-missing");
    isUnguarded(await operation(on, { path: "/v1/elsewhere", key: freshKey() }).send());
    assert.deepEqual(shadowLog(on.worker, since).filter(({ route }) => route !== "payments"), []);
    const { json } = await on.worker.send({ method: "GET", path: "/.well-known/idempotency" });
    const rules = json.routes.map(({ name, mode, methods, path }) => [name, mode, methods, path]);
    assert.deepEqual(rules, [["refunds", "enforce", ["POST"], "/v1/refunds"], ["payments", "shadow", ["POST"], "/v1/payments"]]);
    for (const path of ["/v1/refunds", "/v1/payments"]) isUnguarded(await operation(on, { path, key: freshKey(), method: "PATCH" }).send());
  });
});

describe("adopting.md, from one configuration to the next", { concurrency: 3, timeout: 60_000 }, () => {
  const payment = (on) => operation(on, { path: "/v1/payments", key: freshKey(), headers: [["Authorization", "one"]] });
  const refund = (on, more = {}) => operation(on, { path: "/v1/refunds", key: freshKey(), headers: [["Authorization", "one"]], ...more });

  test("enforce begins empty: a retry that crosses the switch is executed again, and then guarded", () =>
    adopted(async (on, { restarted }) => {
      const it = payment(on);
      isUnguarded(await it.send());
      await until(() => shadowLog(on.worker, 0).length === 1);
      await restarted("payments", { mode: "enforce" });
      const first = await it.send();
      isExecuted(first);
      isKeptFor(first, 30 * DAY);
      isReplay(await it.send(), first);
      isProblem(await it.send({ key: undefined }), "key-missing");
      assert.equal(it.count(), 2);
    }));
  for (const mode of ["off", "shadow"]) {
    test(`the brake (${mode}): everything is forwarded; records are kept, and what ran in between is not known`, () =>
      adopted(async (on, { restarted }) => {
        const [before, between] = [refund(on), refund(on)];
        const first = await before.send();
        await restarted("refunds", { mode });
        for (const it of [before, between]) isUnguarded(await it.send());
        await restarted("refunds", { mode: "enforce" });
        isReplay(await before.send(), first);
        isExecuted(await between.send());
        assert.deepEqual([before.count(), between.count()], [2, 2]);
      }));
  }
  for (const [what, changed] of Object.entries({
    scope: { scope: ["host", "path", "credential"] },
    credential: { credential: ["header:X-Account"] },
    "key.from": { key: { from: ["header:X-Other-Key"], required: true } },
  })) {
    test(`another ${what} makes known keys unknown`, () =>
      adopted(async (on, { restarted }) => {
        const it = refund(on, { headers: [["Authorization", "one"], ["X-Account", "7"], ["X-Other-Key", freshKey()]] });
        isExecuted(await it.send());
        await restarted("refunds", { ...changed, credential_change: "forward" });
        isExecuted(await it.send());
        assert.equal(it.count(), 2);
      }));
  }
  for (const [what, changed] of Object.entries({
    "another list of credentials": { credential: ["header:X-Account"] },
    "a scope without the credential": { scope: ["host", "method", "path"] },
  })) {
    test(`${what} refuses a retry that crosses the change`, () =>
      adopted(async (on, { restarted }) => {
        const it = refund(on, { headers: [["Authorization", "one"], ["X-Account", "7"]] });
        isExecuted(await it.send());
        await restarted("refunds", changed);
        isProblem(await it.send(), "credential-changed");
        await restarted("refunds", {});
        assert.equal((await it.send()).get("Idempotency-Status"), "replayed");
      }));
  }
  test("another name makes keys unknown where the route is in the scope", () =>
    adopted(async (on, { restarted }) => {
      const scope = ["host", "method", "path", "credential", "route"];
      await restarted("refunds", { scope });
      const it = refund(on);
      isExecuted(await it.send());
      await restarted("refunds", { scope, name: "renamed" });
      isExecuted(await it.send());
    }));
  test("another fingerprint refuses a retry that crosses the change, and does not execute it", () =>
    adopted(async (on, { restarted }) => {
      const it = refund(on);
      isExecuted(await it.send());
      await restarted("refunds", { fingerprint: { body: "json" } });
      isProblem(await it.send(), "key-reused");
      assert.equal(it.count(), 1);
    }));
  test("other knobs may change: a stored reply keeps its ttl", () =>
    adopted(async (on, { restarted }) => {
      const it = refund(on);
      const first = await it.send();
      await restarted("refunds", { name: "renamed", ttl: "1s", timeout: "5s", outcome: { preset: "strict" }, wait: "0s", forward_key: "none" });
      const again = await it.send();
      isReplay(again, first);
      assert.equal(again.get("Idempotency-Expires"), first.get("Idempotency-Expires"));
    }));
  test("SHARDS cannot be changed by accident: nothing is forwarded, and the log says which number to set back", () =>
    adopted(async (on, { shards }) => {
      const it = refund(on);
      const first = await it.send();
      await on.worker.restart({ shards: shards * 2 });
      isProblem(await it.send(), "store-unavailable");
      for (let n = 0; n < 5; n++) isProblem(await refund(on).send(), "store-unavailable");
      assert.equal(on.origin.all().length, 1);
      await on.worker.logged(/SHARDS = 16\b/);
      await on.worker.restart({ shards });
      isReplay(await it.send(), first);
      assert.equal(it.count(), 1);
    }));
  test("without ROUTES every POST and PATCH that carries a key is guarded", () =>
    adopted(async (on) => {
      for (const method of ["POST", "PATCH"]) {
        const it = operation(on, { path: "/anywhere", key: freshKey(), method });
        const first = await it.send();
        isReplay(await it.send(), first);
        isUnguarded(await it.send({ key: undefined }));
      }
      isUnguarded(await operation(on, { path: "/anywhere", key: freshKey(), method: "PUT" }).send());
    }, ({ ROUTES, ...vars }) => vars));
  test("a configuration that does not parse: reads pass, everything else is refused", () =>
    adopted(async (on, { restarted }) => {
      await restarted("refunds", { ttll: "7d" });
      isProblem(await refund(on).send(), "misconfigured");
      isProblem(await operation(on, { path: "/elsewhere" }).send(), "misconfigured");
      isUnguarded(await on.worker.send({ method: "GET", path: "/v1/refunds" }));
    }));
});

// ---- with time running faster: what has to wait for the end of a lease, all at once -----------------------------------

describe("with time running faster", { concurrency: true, timeout: 90_000 }, () => {
  describe("payments.md, a month in a second", { concurrency: true }, () => {
    const on = played("payments", hurried);
    const pay = (path, answer, key = freshKey()) => operation(on, { path, key }, answer);

    for (const path of ["/v1/payments", "/v1/refunds"]) {
      test(`${path}: after 30 days the reply is gone, after 60 more the key is free`, async () => {
        const it = pay(path);
        const first = await it.send();
        const expired = await eventually(it, (response) => (response.status === 410 ? isProblem(response, "key-expired") : void isReplay(response, first)));
        assert.ok(expired > 800 && expired < 2_500, `${expired} ms`);
        const free = await eventually(it, (response) => response.get("Idempotency-Status") === "executed" || void isProblem(response, "key-expired"));
        assert.ok(free > 800 && free < 4_000, `${free} ms`);
        assert.equal(it.count(), 2);
      });
    }
    test("30 s without a whole answer are a doubt, and the late answer closes it", async () => {
      const { opened, open } = gate();
      const it = pay("/v1/refunds", async () => (await opened, { status: 201, body: "refunded" }));
      isProblem(await it.send(), "outcome-unknown", 504);
      isProblem(await it.send(), "outcome-unknown");
      open();
      await eventually(it, doubtUntil(201, (response) => isReplay(response, response)));
      assert.equal(it.count(), 1);
    });
    test("a 404 of the probe frees the key 2 minutes after the lease's end, and not before", async () => {
      const key = freshKey();
      const it = pay("/v1/payments", inTurn(504, 201), key);
      on.origin.on(`/v1/payments/by-key/${key}`, { status: 404, body: "no such payment" });
      isUnknown(await it.send(), 504);
      const freed = await eventually(it, doubtUntil(201, isExecuted));
      const least = 1_000 + ROOM + 4_000;
      assert.ok(freed > least - 500 && freed < least + 3_000, `freed after ${freed} ms, expected ${least}`);
      assert.equal(it.count(), 2);
    });
  });

  describe("webhooks.md, a minute in two seconds", { concurrency: true }, () => {
    const on = played("webhooks", (vars) => {
      // Not the ttl: the record is to be there when the lease is over.
      const { ROUTES } = hurried(vars);
      return { ...vars, ROUTES: ROUTES.map(({ ttl, ...route }) => route) };
    });
    for (const sender of Object.keys(SENDERS)) {
      test(`${sender}: a doubt is forwarded again when its lease is over, and says that it is the second attempt`, async () => {
        const it = event(on, sender, inTurn(504, 200));
        isUnknown(await it.send(), 504);
        const again = await eventually(it, doubtUntil(200, (response) => isExecuted(response, 200)));
        assert.ok(again > 2_000 + ROOM - 500 && again < ROOM + 6_000, `${again} ms`);
        assert.deepEqual(it.received().map((execution) => execution.get("Idempotency-Attempt")), ["1", "2"]);
        const ids = it.received().map((execution) => (sender === "stripe" ? JSON.parse(execution.body).id : execution.get(SENDERS[sender]("").header[0])));
        assert.equal(ids[0], ids[1]);
        assert.equal((await it.send()).get("Idempotency-Status"), "replayed");
        assert.equal(it.count(), 2);
      });
    }
  });

  describe("strategies.md, a minute in a second", { concurrency: true }, () => {
    const on = played("strategies", (vars) => ({ ...vars, ROUTES: vars.ROUTES.map((route) => ({ ...route, timeout: "1s" })) }));
    for (const [kind, path] of Object.entries({ charge: "/v1/charges", rest: "/v1/orders/7", event: "/events", job: "/jobs/nightly" })) {
      test(`${kind}: when the lease of a doubt is over it is ${kind === "event" ? "executed again" : "held"}`, async () => {
        const it = operation(on, { path, key: freshKey(), body: `{"id": "${freshKey()}"}` }, inTurn(504, 200));
        isUnknown(await it.send(), 504);
        if (kind === "event") return void (await eventually(it, doubtUntil(200, (response) => isExecuted(response, 200))));
        const over = Date.now() + SECOND + ROOM + 500;
        await until(async () => (isProblem(await it.send(), "outcome-unknown"), Date.now() > over), { ms: 40 * SECOND, every: 500 });
        assert.equal(it.count(), 1);
      });
    }
  });

  describe("agents.md, a minute in a second", { concurrency: true }, () => {
    const on = played("agents", (vars) => ({ ...vars, ROUTES: vars.ROUTES.map((route) => ({ ...route, timeout: "1s", ttl: "2s" })) }));

    test("a doubt is sent again under the same derived key once the lease is over", async () => {
      const it = step(on, "run-doubt", "1", inTurn(504, 202));
      isUnknown(await it.send(), 504);
      const again = await eventually(it, doubtUntil(202, (response) => isExecuted(response, 202)));
      assert.ok(again > ROOM && again < ROOM + 5_000, `${again} ms`);
      const [first, second] = it.received();
      assert.equal(first.get("Idempotency-Key"), second.get("Idempotency-Key"));
      assert.deepEqual([first.get("Idempotency-Attempt"), second.get("Idempotency-Attempt")], ["1", "2"]);
    });
    test("executed again after its ttl, an operation has another derived key", async () => {
      const it = step(on, "run-forgotten", "1");
      isExecuted(await it.send(), 202);
      await eventually(it, (response) => response.status === 202 || void isProblem(response, "already-executed"));
      const [first, second] = it.received();
      assert.notEqual(first.get("Idempotency-Key"), second.get("Idempotency-Key"));
    });
    test("its code gets through a doubt, and gives up where it does not end", async () => {
      const { runOnce } = await code("agents");
      const url = `http://127.0.0.1:${on.worker.port}/v1/messages`;
      originSays(on, "/v1/messages", inTurn(429, { reset: true }, { status: 202, headers: [JSON_TYPE], body: '{"message": "msg_2"}' }));
      const call = { run: "run-coded", step: "1", body: { to: "ada@example.com", template: "hello" }, credential: "Bearer one" };
      assert.deepEqual(await runOnce(url, call), { message: "msg_2" });
    });
  });
});
