// Contract 1.6, standard: what the origin's answer, or its lack, means; what the first caller sees and what a
// duplicate gets.

import assert from "node:assert/strict";
import net from "node:net";
import { once } from "node:events";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, start } from "./harness.mjs";

const STORE = [
  200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 299, 300, 301, 302, 303, 304, 305, 307, 308, 399, 402,
  500, 501, 505, 506, 507, 508, 510, 511, 527, 529, 599,
];
const RELEASE = [401, 403, 407, 408, 409, 425, 429, 400, 404, 405, 406, 410, 411, 412, 413, 415, 418, 421, 422, 423, 424, 426, 428, 431, 451, 499, 521, 523, 525, 526, 530];
const IN_DOUBT = [502, 503, 504, 520, 522, 524];

describe("the origin's answer", { concurrency: 16, timeout: 60_000 }, () => {
  const routes = [
    { name: "hasty", methods: ["POST"], path: "/hasty/{*rest}", timeout: "1s" },
    { name: "usual", methods: ["POST"], path: "/{*rest}" },
  ];
  const on = stage({ routes });

  function operation(answer, prefix) {
    const path = freshPath(prefix);
    const key = freshKey();
    on.origin.on(path, answer);
    return { path, count: () => on.origin.count(path), send: (spec) => on.worker.send({ path, key, ...spec }) };
  }
  const says = (status, more = {}) => (_, n) => ({
    status,
    ...more,
    headers: [["Content-Type", "text/plain"], ["X-Run", String(n)], ...(more.headers ?? [])],
    body: [204, 205, 304].includes(status) ? "" : `run ${n} said ${status}`,
  });
  function fromTheOrigin(response, status) {
    assert.equal(response.get("X-Run"), "1");
    assert.equal(response.text, [204, 205, 304].includes(status) ? "" : `run 1 said ${status}`);
  }

  for (const status of STORE) {
    test(`${status} is stored and replayed`, async () => {
      const it = operation(says(status));
      const first = await it.send();
      isExecuted(first, status);
      fromTheOrigin(first, status);
      const replay = await it.send();
      isReplay(replay, first);
      assert.equal(replay.get("X-Run"), "1");
      if (status >= 500) assert.equal(replay.get("Stripe-Should-Retry"), "false");
      assert.equal(it.count(), 1);
    });
  }
  for (const [status, headers] of [...RELEASE.map((status) => [status, []]), [503, [["Retry-After", "7"]]]]) {
    test(`${status}${headers.length ? " with Retry-After" : ""} frees the key: a retry is executed afresh`, async () => {
      const it = operation(says(status, { headers }));
      const first = await it.send();
      isReleased(first, status);
      fromTheOrigin(first, status);
      if (headers.length) assert.equal(first.get("Retry-After"), "7");
      const second = await it.send();
      isReleased(second, status);
      assert.equal(second.get("X-Run"), "2");
      on.origin.on(it.path, { status: 201, body: "paid" });
      isExecuted(await it.send());
      assert.equal(it.count(), 3);
    });
  }
  for (const status of IN_DOUBT) {
    test(`${status} leaves the outcome unknown: passed on once, never run again`, async () => {
      const it = operation(says(status));
      const first = await it.send();
      isUnknown(first, status);
      fromTheOrigin(first, status);
      isProblem(await it.send(), "outcome-unknown");
      isProblem(await it.send(), "outcome-unknown");
      assert.equal(it.count(), 1);
    });
  }

  const whole = "Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\npaid";
  const broken = {
    "a connection that is reset when the request has arrived": { reset: true },
    "a connection that is closed without an answer": { raw: "" },
    "an answer that is not HTTP": { raw: "\x00\xffSSH-2.0-dropbear\r\n\r\n" },
    "half a head": { raw: "HTTP/1.1 201 Created\r\nContent-Type: text/pl" },
    "a head without a body": { status: 201, length: 100, body: "" },
    "a truncated body": { status: 201, length: 100, body: "only this" },
    "a truncated error page that would have freed the key": { status: 429, length: 100, body: "only this" },
    "a truncated chunked body": { raw: "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npaid\r\n" },
    "a chunk size that is no number": { raw: "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\npaid\r\n0\r\n\r\n" },
    "status 999": { raw: `HTTP/1.1 999 Nonsense\r\n${whole}` },
    "status 600": { raw: `HTTP/1.1 600 Nonsense\r\n${whole}` },
    "status 101 to a request that asked for no upgrade": { raw: "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" },
    "a status that is no number": { raw: `HTTP/1.1 OK\r\n${whole}` },
  };
  for (const [what, answer] of Object.entries(broken)) {
    test(`${what} leaves the outcome unknown: 502 to the first, never run again`, async () => {
      const it = operation(answer);
      isProblem(await it.send(), "outcome-unknown", 502);
      isProblem(await it.send(), "outcome-unknown");
      isProblem(await it.send(), "outcome-unknown");
      assert.equal(it.count(), 1);
    });
  }

  const slow = {
    "no answer at all": { silent: true },
    "a head and no body": { status: 201, length: 100, hang: true },
    "half a body": { status: 201, length: 100, body: "half", hang: true },
    "chunks that never end": { status: 201, parts: ["one", "two"], hang: true },
  };
  for (const [what, answer] of Object.entries(slow)) {
    test(`${what} within the timeout is 504 to the first, and the outcome is unknown`, async () => {
      const it = operation(answer, "/hasty");
      const began = Date.now();
      isProblem(await it.send(), "outcome-unknown", 504);
      const took = Date.now() - began;
      assert.ok(took >= 950 && took < 6_000, `${took} ms`);
      isProblem(await it.send(), "outcome-unknown");
      assert.equal(it.count(), 1);
    });
  }
  test("duplicates that wait when the timeout passes are told that the outcome is unknown", async () => {
    const it = operation({ silent: true }, "/hasty");
    const first = it.send();
    await on.origin.reached(it.path);
    const waiting = [it.send(), it.send()];
    isProblem(await first, "outcome-unknown", 504);
    for (const duplicate of waiting) isProblem(await duplicate, "outcome-unknown");
    assert.equal(it.count(), 1);
  });
  test("an answer that is slow, but whole within the timeout, is an answer", async () => {
    const { opened, open } = gate();
    const it = operation({ status: 201, parts: ["pa", opened, "id"] }, "/hasty");
    const sending = it.send();
    await on.origin.reached(it.path);
    open();
    const first = await sending;
    isExecuted(first);
    assert.equal(first.text, "paid");
    isReplay(await it.send(), first);
  });
  test("one answer that hangs holds up nobody else", async () => {
    const stuck = Array.from({ length: 10 }, () => operation({ silent: true }, "/hasty").send());
    for (let n = 0; n < 10; n++) isExecuted(await operation({ status: 201, body: "paid" }).send());
    for (const response of await Promise.all(stuck)) isProblem(response, "outcome-unknown", 504);
  });

  for (const status of [301, 302, 303, 307, 308]) {
    test(`a redirect (${status}) is a reply and is not followed`, async () => {
      const target = freshPath("/target");
      const it = operation({ status, headers: [["Location", `${on.origin.url}${target}`]], body: "over there" });
      const first = await it.send();
      isExecuted(first, status);
      assert.equal(first.get("Location"), `${on.origin.url}${target}`);
      const replay = await it.send();
      isReplay(replay, first);
      assert.equal(replay.get("Location"), `${on.origin.url}${target}`);
      assert.deepEqual([it.count(), on.origin.count(target)], [1, 0]);
    });
  }
  test("a redirect to another place of the same origin is not followed either", async () => {
    const target = freshPath("/target");
    const it = operation({ status: 307, headers: [["Location", target]] });
    isExecuted(await it.send(), 307);
    assert.equal(on.origin.count(target), 0);
  });

  test("the origin decides for one response with Idempotency-Outcome", async () => {
    const decides = (status, outcome) => operation(says(status, { headers: [["Idempotency-Outcome", outcome]] }));
    const stored = decides(429, "store");
    const first = await stored.send();
    isExecuted(first, 429);
    isReplay(await stored.send(), first);
    const released = decides(500, "release");
    isReleased(await released.send(), 500);
    isReleased(await released.send(), 500);
    const doubtful = decides(201, "in-doubt");
    const unknown = await doubtful.send();
    isUnknown(unknown, 201);
    isProblem(await doubtful.send(), "outcome-unknown");
    for (const response of [first, unknown]) assert.equal(response.get("Idempotency-Outcome"), null);
    assert.deepEqual([stored.count(), released.count(), doubtful.count()], [1, 2, 1]);
  });
});

test("a refused connection proves nothing here, since the runtime words it like a lost one: in doubt", { timeout: 60_000 }, async () => {
  const closed = net.createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address();
  closed.close();
  await once(closed, "close");
  const worker = await start({ origin: `http://127.0.0.1:${port}` });
  try {
    const operation = { path: "/v1/payments", key: freshKey() };
    isProblem(await worker.send(operation), "outcome-unknown", 502);
    isProblem(await worker.send(operation), "outcome-unknown");
  } finally {
    await worker.stop();
  }
});
