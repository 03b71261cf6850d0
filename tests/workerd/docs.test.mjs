// The pages of docs/ say what is so: each page's configuration is loaded as it stands there, its transcript is played
// and its code is run. What the pages explain is tested by subject in the other files.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { DOCS, JSON_TYPE, blocks, code, files, pages, plays, staged, text, vars } from "./docs.mjs";
import { freshKey, gate } from "./harness.mjs";

test("every page has one configuration, and its links lead somewhere", () => {
  for (const name of pages) {
    const [config, ...more] = blocks(name, "toml");
    assert.match(config ?? "", /^# wrangler\.toml\n/, name);
    assert.deepEqual(more, [], name);
    assert.match(vars(name).ORIGIN, /^https:\/\/[\w.-]+$/, name);
  }
  for (const name of files) {
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

const numbered = (status, body) => (_, n) => ({ status, headers: [JSON_TYPE], body: body(n) });
/** One status after the other, the last one for ever. */
const inTurn = (...statuses) => (_, n) => ({ status: statuses[Math.min(n, statuses.length) - 1], body: `run ${n}` });

// What the origin of each page answers in its transcript.
const ORIGINS = {
  adopting: {},
  async: {},
  agents: { "/v1/messages": numbered(202, (n) => `{"message": "msg_${n}"}`) },
  payments: { "/v1/payments": numbered(201, (n) => `{"id": "pay_${n}", "amount": 1200}`) },
  repeatability: {},
  schedules: {},
  queues: { "/jobs/invoice": numbered(201, (n) => `{"run": ${n}}`) },
  strategies: { "/jobs/nightly": inTurn(200) },
  webhooks: { "/webhooks/stripe": inTurn(500, 200) },
  workflows: { "/api/workflow/order_fulfilment": (_, n) => ({ status: 200, headers: [["Content-Type", "text/plain"]], body: `wf-${n}` }) },
};

describe("the pages", { concurrency: 3 }, () => {
  for (const page of pages) {
    describe(`${page}.md`, { timeout: 60_000 }, () => {
      const on = staged(page);

      test("its configuration is loaded: every route of it is published", async () => {
        const { json } = await on.worker.send({ method: "GET", path: "/.well-known/idempotency" });
        assert.deepEqual(json.routes.map(({ name }) => name).sort(), vars(page).ROUTES.map(({ name }) => name).sort());
      });
      if (blocks(page, "console").length) {
        test("its transcript is what happens", async () => {
          for (const [at, answer] of Object.entries(ORIGINS[page])) on.origin.on(at, answer);
          await plays(on, page);
        });
      }
    });
  }
});

describe("agents.md, its code", { timeout: 60_000 }, () => {
  const on = staged("agents");

  test("runs a step once over all restarts, and has its result where it is wanted", async () => {
    const { runOnce } = await code("agents");
    const url = `http://127.0.0.1:${on.worker.port}/v1/messages`;
    on.origin.on("/v1/messages", (_, n) => ({ status: n === 1 ? 429 : 202, headers: [JSON_TYPE], body: `{"message": "msg_${n}"}` }));
    const call = { run: `run-${freshKey()}`, step: "1", body: { to: "ada@example.com", template: "hello", text: "Dear Ada" }, credential: "Bearer one" };
    assert.deepEqual(await runOnce(url, call), { message: "msg_2" });
    assert.equal(await runOnce(url, { ...call, body: { ...call.body, text: "Hi" } }), undefined);
    assert.deepEqual(await runOnce(url, { ...call, wanted: true }), { message: "msg_2" });
    await assert.rejects(runOnce(url, { ...call, body: { ...call.body, to: "bob@example.com" } }), /key-reused/);
    await assert.rejects(runOnce(url, { ...call, credential: "Bearer two" }), /credential-changed/);
    assert.equal(on.origin.count("/v1/messages"), 2);
  });
});

describe("async.md, its code", { timeout: 60_000 }, () => {
  const on = staged("async");
  const call = () => ({ key: freshKey(), body: { quarter: "2026-Q3" }, headers: { Authorization: "Bearer one" } });
  const url = () => `http://127.0.0.1:${on.worker.port}/v1/reports`;

  test("resolves to the operation's own response, released ones sent again, however often it is called", async () => {
    const { runLater } = await code("async");
    on.origin.on("/v1/reports", (_, n) => ({ status: n === 1 ? 429 : 201, body: `report ${n}` }));
    const it = call();
    const responses = await Promise.all([runLater(url(), it), runLater(url(), it)]);
    for (const response of responses) assert.deepEqual([response.status, await response.text()], [201, "report 2"]);
    assert.equal(on.origin.count("/v1/reports"), 2);
  });
  test("and to a doubt as it is", async () => {
    const { runLater } = await code("async");
    on.origin.on("/v1/reports", { reset: true });
    const response = await runLater(url(), call());
    assert.deepEqual([response.status, (await response.json()).code], [409, "outcome-unknown"]);
  });
});

describe("queues.md, its table", { concurrency: true, timeout: 60_000 }, () => {
  const on = staged("queues", { events: true, vars: { JOBS_TOKEN: "Bearer one" } });
  let kinds = 0;
  /** A message of a kind of its own; each delivery resolves to what became of it. */
  function message(answer) {
    const kind = `kind-${++kinds}`;
    const [at, id] = [`/jobs/${kind}`, freshKey()];
    on.origin.on(at, answer);
    const deliver = async () => {
      const aside = on.worker.aside.length;
      const { explicitAcks, retryMessages } = await on.worker.deliver("jobs", [{ id, body: { kind } }]);
      const put = on.worker.aside.slice(aside).find((message) => message.id === id);
      const fates = [...(put ? [`aside ${put.why}`] : []), ...explicitAcks.map(() => "ack"), ...retryMessages.map(({ delaySeconds }) => `retry ${delaySeconds}`)];
      return fates.join(", ");
    };
    return { at, deliver, count: () => on.origin.count(at) };
  }

  // What the origin answers, what becomes of the message twice, how often the job runs.
  const says = (status, headers) => ({ status, headers, body: "said" });
  const rows = {
    "2xx is acked, replayed or not": [says(201), "ack", "ack", 1],
    "a reply that is not kept is acked": [says(200, [["Content-Type", "text/event-stream"]]), "ack", "ack", 1],
    "429 is retried after Retry-After": [says(429, [["Retry-After", "7"]]), "retry 7", "retry 7", 2],
    "521 is retried": [says(521), "retry 10", "retry 10", 2],
    "404 is put aside": [says(404), "aside 404 released, ack", "aside 404 released, ack", 2],
    "402 is put aside": [says(402), "aside 402 executed, ack", "aside 402 replayed, ack", 1],
    "a lost connection is retried after a minute": [{ reset: true }, "retry 60", "retry 60", 1],
    "504 is retried after a minute": [says(504), "retry 60", "retry 60", 1],
  };
  for (const [what, [answer, first, second, runs]] of Object.entries(rows)) {
    test(what, async () => {
      const it = message(answer);
      assert.deepEqual([await it.deliver(), await it.deliver()], [first, second]);
      assert.equal(it.count(), runs);
    });
  }
  test("while the job runs a redelivery is retried soon", async () => {
    const { opened, open } = gate();
    const it = message(async () => (await opened, { status: 200, body: "done" }));
    const first = it.deliver();
    await on.origin.reached(it.at);
    assert.match(await it.deliver(), /^retry [12]$/);
    open();
    assert.equal(await first, "ack");
    assert.equal(it.count(), 1);
  });
});

describe("schedules.md, its schedules", { timeout: 60_000 }, () => {
  const on = staged("schedules", { events: true, vars: { JOBS_TOKEN: "Bearer one" } });
  test("each night once, with the request that the page shows", async () => {
    for (let n = 0; n < 2; n++) await on.worker.fire("0 2 * * *", Date.parse("2026-11-28T02:00:00Z"));
    const [seen, ...more] = on.origin.executions("/v1/jobs/invoices");
    assert.deepEqual([seen.body.toString(), seen.all("authorization"), more], ['{"day":"2026-11-28"}', ["Bearer one"], []]);
  });
});
