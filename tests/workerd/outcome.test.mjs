// Contract 1.6: what the origin's answer, or its lack, means; what the first caller sees and what a duplicate gets.
// tests/host/outcome.rs judges every status under every preset. Here is one status of each kind, the answers that only
// a real connection can give, and what the runtime could do on its own, such as follow a redirect.

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, operation, stage, through } from "./harness.mjs";

const STORE = "store", RELEASE = "release", IN_DOUBT = "in doubt";
const BODILESS = [204, 205, 304];

describe("the origin's answer", { concurrency: 16, timeout: 60_000 }, () => {
  const route = (name, more) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, ...more });
  const on = stage({
    routes: [
      route("standard"),
      route("strict", { outcome: { preset: "strict" } }),
      route("success-only", { outcome: { preset: "success-only" } }),
      route("lists", { outcome: { store: [429], release: [500], in_doubt: [201] } }),
      route("hasty", { timeout: "1s" }),
    ],
  });
  const answered = (prefix, answer) => {
    const it = operation(on, `/${prefix}`);
    it.answers(answer);
    return it;
  };
  const says = (status, headers = []) => (_, n) => ({
    status,
    headers: [["Content-Type", "text/plain"], ["X-Run", String(n)], ...headers],
    body: BODILESS.includes(status) ? "" : `run ${n}`,
  });

  /** The first caller hears the origin; the second request shows what the answer meant. */
  async function means(outcome, prefix, status, headers) {
    const it = answered(prefix, says(status, headers));
    const first = await it.send();
    ({ [STORE]: isExecuted, [RELEASE]: isReleased, [IN_DOUBT]: isUnknown })[outcome](first, status);
    assert.deepEqual([first.get("X-Run"), first.text], ["1", BODILESS.includes(status) ? "" : "run 1"]);
    assert.equal(first.get("Idempotency-Outcome"), null);
    const second = await it.send();
    if (outcome === STORE) isReplay(second, first);
    if (outcome === RELEASE) isReleased(second, status);
    if (outcome === IN_DOUBT) isProblem(second, "outcome-unknown");
    else assert.equal(second.get("X-Run"), outcome === STORE ? "1" : "2");
    assert.equal(second.get("Idempotency-Outcome"), null);
    assert.equal(it.count(), outcome === RELEASE ? 2 : 1);
  }

  // A column of the table each: a status that is stored, one that frees the key, one that leaves a doubt.
  for (const [preset, stored, released, doubtful] of [
    ["standard", [200, 204, 205, 226, 299, 304, 399, 402, 500, 599], [404, 421, 429, 499, 511, 521], [502, 504, 524]],
    ["strict", [200, 404, 500], [421, 429, 511], [502]],
    ["success-only", [200], [302, 402, 404, 500, 503, 530], [502]],
  ]) {
    test(`${preset}: a retry of a stored answer gets it again`, async () => {
      for (const status of stored) await means(STORE, preset, status);
    });
    test(`${preset}: a retry after an answer that frees the key is executed`, async () => {
      for (const status of released) await means(RELEASE, preset, status);
    });
    test(`${preset}: a retry after an answer that proves nothing is refused`, async () => {
      for (const status of doubtful) await means(IN_DOUBT, preset, status);
      // A Retry-After says when, not whether.
      if (preset !== "success-only") for (const headers of [[], [["Retry-After", "7"]]]) await means(IN_DOUBT, preset, 503, headers);
    });
  }
  test("307 and 308: a redirect that spells this very address in another way frees the key, one to elsewhere is an outcome", async () => {
    for (const [status, spelled] of [[307, (path) => `${path}/?a=1`], [308, (path) => `HTTPS://www.shop.example${path.toUpperCase()}?A=1`], [307, (path) => `//other.example/${path}?a=1`]]) {
      for (const preset of ["standard", "strict", "success-only"]) {
        const it = operation(on, `/${preset}`);
        it.answers({ status, headers: [["Location", spelled(it.path)]] });
        const path = `${it.path}?a=1`;
        isReleased(await it.send({ path }), status);
        isReleased(await it.send({ path }), status);
        assert.equal(it.count(), 2);
      }
    }
    for (const location of ["/thanks", "?a=2", "/"]) {
      await means(STORE, "standard", 307, [["Location", location]]);
      await means(RELEASE, "success-only", 308, [["Location", location]]);
    }
    await means(STORE, "strict", 308);
  });
  test("a status that the route lists means what the list says", async () => {
    await means(STORE, "lists", 429);
    await means(RELEASE, "lists", 500);
    await means(IN_DOUBT, "lists", 201);
    await means(RELEASE, "lists", 404);
  });
  test("Idempotency-Outcome of one answer decides for that answer, and nobody sees the header", async () => {
    for (const prefix of ["standard", "strict", "success-only", "lists"]) {
      await means(STORE, prefix, 429, [["Idempotency-Outcome", "store"]]);
      await means(RELEASE, prefix, 200, [["Idempotency-Outcome", "release"]]);
      await means(IN_DOUBT, prefix, 404, [["Idempotency-Outcome", "in-doubt"]]);
    }
    await means(RELEASE, "standard", 429, [["Idempotency-Outcome", "maybe"]]);
    await means(RELEASE, "standard", 429, [["Idempotency-Outcome", "store"], ["Idempotency-Outcome", "release"]]);
    const later = answered("standard", (_, n) => ({ status: 500, headers: [["Idempotency-Outcome", n < 2 ? "release" : "store"]] }));
    isReleased(await later.send(), 500);
    const stored = await later.send();
    isReplay(await later.send(), stored);
    const streamed = answered("standard", { headers: [["Content-Type", "text/event-stream"], ["Idempotency-Outcome", "store"]], body: "data: 1\n\n" });
    assert.equal((await streamed.send()).get("Idempotency-Outcome"), null);
    isProblem(await streamed.send(), "reply-not-stored");
  });
  test("Idempotency-Outcome of a client decides nothing", async () => {
    const it = answered("standard", says(500));
    const first = await it.send({ headers: { "Idempotency-Outcome": "release" } });
    isExecuted(first, 500);
    isReplay(await it.send({ headers: { "Idempotency-Outcome": "release" } }), first);
  });

  const whole = "Connection: close\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\npaid";
  const chunked = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n";
  const broken = {
    "a connection that is reset when the request has arrived": { reset: true },
    "a connection that is closed without an answer": { raw: "" },
    "an answer that is not HTTP": { raw: "\x00\xffSSH-2.0-dropbear\r\n\r\n" },
    "half a head": { raw: "HTTP/1.1 201 Created\r\nContent-Type: text/pl" },
    "a head without a body": { status: 201, length: 100, body: "" },
    "a truncated body": { status: 201, length: 100, body: "only this" },
    "a truncated error page that would have freed the key": { status: 429, length: 100, body: "only this" },
    "a truncated chunked body": { raw: `${chunked}4\r\npaid\r\n` },
    "a chunk size that is not a number": { raw: `${chunked}zz\r\npaid\r\n0\r\n\r\n` },
    "status 999": { raw: `HTTP/1.1 999 Nonsense\r\n${whole}` },
    "status 600 that says release": { raw: `HTTP/1.1 600 Nonsense\r\nIdempotency-Outcome: release\r\n${whole}` },
    "status 101 to a request that asked for no upgrade": { raw: "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" },
    "a status that is not a number": { raw: `HTTP/1.1 OK\r\n${whole}` },
  };
  for (const [what, answer] of Object.entries(broken)) {
    test(`${what} leaves the outcome unknown: 502 to the first caller, and no second execution`, async () => {
      for (const preset of ["standard", "success-only"]) {
        const it = answered(preset, answer);
        isProblem(await it.send(), "outcome-unknown", 502);
        isProblem(await it.send(), "outcome-unknown");
        assert.equal(it.count(), 1);
      }
    });
  }

  const slow = {
    "no answer at all": { silent: true },
    "a head and no body": { status: 201, length: 100, hang: true },
    "half a body": { status: 201, length: 100, body: "half", hang: true },
    "chunks that never end": { status: 201, parts: ["one", "two"], hang: true },
  };
  for (const [what, answer] of Object.entries(slow)) {
    test(`${what} within the timeout is 504 to the first caller, and the outcome is unknown`, async () => {
      const it = answered("hasty", answer);
      const began = Date.now();
      const first = it.send();
      await it.reached();
      const waiting = it.send();
      isProblem(await first, "outcome-unknown", 504);
      const took = Date.now() - began;
      assert.ok(took >= 950 && took < 6_000, `${took} ms`);
      for (const duplicate of [waiting, it.send()]) isProblem(await duplicate, "outcome-unknown");
      assert.equal(it.count(), 1);
    });
  }
  test("an answer that is slow, but whole within the timeout, is an answer", async () => {
    const { opened, open } = gate();
    const it = answered("hasty", { status: 201, parts: ["pa", opened, "id"] });
    const sending = it.send();
    await it.reached();
    open();
    const first = await sending;
    isExecuted(first);
    assert.equal(first.text, "paid");
    isReplay(await it.send(), first);
  });
  test("an origin that hangs on some requests holds up no other", async () => {
    const stuck = Array.from({ length: 10 }, () => answered("hasty", { silent: true }).send());
    for (let n = 0; n < 10; n++) isExecuted(await answered("standard", { status: 201, body: "paid" }).send());
    for (const response of await Promise.all(stuck)) isProblem(response, "outcome-unknown", 504);
  });
  test("a redirect is a reply and is not followed", async () => {
    const target = freshPath("/standard/target");
    for (const [status, location] of [[301, `${on.origin.url}${target}`], [302, target], [303, target], [307, target], [308, `${on.origin.url}${target}`]]) {
      const it = answered("standard", { status, headers: [["Location", location]], body: "over there" });
      const first = await it.send();
      isExecuted(first, status);
      const replay = await it.send();
      isReplay(replay, first);
      for (const response of [first, replay]) assert.equal(response.get("Location"), location);
      assert.deepEqual([it.count(), on.origin.count(target)], [1, 0]);
    }
  });
});

test("a refused connection proves nothing, since the runtime words it like a lost one: the outcome is unknown", { timeout: 60_000 }, async () => {
  const closed = net.createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address();
  closed.close();
  await once(closed, "close");
  await through({ origin: `http://127.0.0.1:${port}` }, async (worker) => {
    const it = { path: "/v1/payments", key: freshKey() };
    isProblem(await worker.send(it), "outcome-unknown", 502);
    isProblem(await worker.send(it), "outcome-unknown");
  });
});
