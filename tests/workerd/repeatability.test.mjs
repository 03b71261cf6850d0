// Contract part 5: OASIS Repeatable Requests. tests/host/repeatability.rs has the dates and the window to the millisecond; here is
// each rule once, with an origin that tells how often it was called.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { isExecuted, isJoined, isProblem, isReleased, isReplay } from "./expect.mjs";
import { freshPath, gate, stage, until } from "./harness.mjs";

const RESULT = "Repeatability-Result";
const MINUTE = 60_000;
const PAGE = "https://shop.example";

/** So many minutes ago, as an IMF-fixdate. */
const ago = (minutes) => new Date(Date.now() - minutes * MINUTE).toUTCString();

const route = (name, more = {}) => ({ name, path: `/${name}/{*rest}`, methods: ["POST"], key: { from: ["repeatability"] }, ttl: "30m", timeout: "20s", ...more });

describe("Repeatable Requests", { concurrency: 8, timeout: 90_000 }, () => {
  const on = stage({
    routes: [
      route("rooms"),
      route("both", { key: { from: ["header:Idempotency-Key", "repeatability"] } }),
      route("either", { key: { from: ["body:/id", "repeatability"] }, fingerprint: { body: "none" } }),
      route("required", { key: { from: ["repeatability"], required: true } }),
      route("hour", { ttl: "1m", tombstone: "2h", window: "1h" }),
      route("brief", { ttl: "1s", tombstone: "1h", window: "30m" }),
      route("later", { async: "allow", wait: "5s", cors: [PAGE] }),
      route("asking", { on_in_doubt: "probe", probe: "/state/{key}", probe_after: "0s" }),
      route("derived", { forward_key: "derived" }),
      route("none", { forward_key: "none" }),
      route("small", { request: { max: 100 } }),
      route("watched", { mode: "shadow" }),
      route("plain", { key: { from: ["header:Idempotency-Key"] } }),
    ],
  });

  /** One operation: an id, first sent now unless the test says otherwise. */
  function repeatable(prefix, { id = randomUUID(), sent = ago(0), client, more = {}, ...spec } = {}) {
    const path = freshPath(prefix);
    const headers = (other = {}) => ({
      Authorization: "Bearer alice",
      "Content-Type": "application/json",
      ...Object.fromEntries(Object.entries({ "Repeatability-Request-ID": id, "Repeatability-First-Sent": sent, "Repeatability-Client-ID": client, ...more, ...other }).filter(([, value]) => value !== undefined)),
    });
    return {
      path, id, sent,
      send: ({ headers: other, ...rest } = {}) => on.worker.send({ path, body: '{"room":1}', ...spec, ...rest, headers: headers(other) }),
      answers: (answer) => on.origin.on(path, answer),
      count: () => on.origin.count(path),
      seen: (n = 1) => on.origin.executions(path)[n - 1],
      reached: (n = 1) => on.origin.reached(path, n),
    };
  }
  function accepts(response) {
    assert.deepEqual(response.all(RESULT), ["accepted"], `${response.status} ${response.text.slice(0, 200)}`);
    return response;
  }
  function rejects(response, code) {
    isProblem(response, code);
    assert.deepEqual(response.all(RESULT), ["rejected"]);
    return response;
  }

  test("the first try is forwarded as it came and accepted, a retry is answered from the record", async () => {
    const it = repeatable("/rooms", { sent: ago(2), client: "c1" });
    const first = accepts(await it.send());
    isExecuted(first);
    isReplay(accepts(await it.send()), first);
    assert.equal(it.count(), 1);
    assert.deepEqual([it.seen().get("Repeatability-Request-ID"), it.seen().get("Repeatability-First-Sent"), it.seen().get("Repeatability-Client-ID")], [it.id, it.sent, "c1"]);
  });
  test("what the origin says of it is replaced, on a replay too", async () => {
    for (const said of ["rejected", "accepted"]) {
      const it = repeatable("/rooms");
      it.answers({ status: 201, headers: [[RESULT, said], [RESULT, said]], body: "made" });
      const first = accepts(await it.send());
      isReplay(accepts(await it.send()), first);
    }
    // A precondition of the origin's own is no refusal of the filter's.
    const it = repeatable("/rooms");
    it.answers({ status: 412, headers: [[RESULT, "rejected"]] });
    isReleased(accepts(await it.send()), 412);
  });
  test("duplicates wait for the running one, and are accepted", async () => {
    const it = repeatable("/rooms");
    const { opened, open } = gate();
    it.answers(async () => (await opened, { status: 201, body: "made" }));
    const first = it.send();
    await it.reached();
    const second = it.send();
    isProblem(accepts(await it.send({ headers: { "X-On-Conflict": "FAIL" } })), "in-flight");
    open();
    isExecuted(accepts(await first));
    isJoined(accepts(await second), await first);
    assert.equal(it.count(), 1);
  });

  test("one header alone is refused and rejected, nothing is forwarded", async () => {
    for (const missing of ["Repeatability-Request-ID", "Repeatability-First-Sent"]) {
      const it = repeatable("/rooms", { more: { [missing]: undefined } });
      const { detail } = rejects(await it.send(), "key-invalid").json;
      assert.match(detail, new RegExp(`without ${missing}`));
      assert.equal(it.count(), 0);
    }
  });
  for (const [what, sent] of Object.entries({
    "six minutes ahead": () => ago(-6),
    "of another year": () => "Fri, 31 Dec 9999 23:59:59 GMT",
    "of RFC 850": () => "Sunday, 06-Nov-94 08:49:37 GMT",
    "of C's asctime": () => "Sun Nov  6 08:49:37 1994",
    "of ISO 8601": () => new Date().toISOString(),
    "of another zone": () => ago(0).replace("GMT", "CET"),
    "in numbers": () => String(Date.now()),
    empty: () => "",
  })) {
    test(`a date ${what} is refused and rejected, and the id stays free`, async () => {
      const it = repeatable("/rooms", { sent: sent() });
      rejects(await it.send(), "key-invalid");
      assert.equal(it.count(), 0);
      isExecuted(accepts(await it.send({ headers: { "Repeatability-First-Sent": ago(0) } })));
      assert.equal(it.count(), 1);
    });
  }
  test("an id that is no key, and two lines of a header, are refused and rejected", async () => {
    for (const id of ["", "two words", "caf\xe9", "k".repeat(256)]) rejects(await repeatable("/rooms", { id }).send(), "key-invalid");
    for (const name of ["Repeatability-Request-ID", "Repeatability-First-Sent"]) {
      const value = name.endsWith("ID") ? "one" : ago(0);
      const lines = [["Repeatability-Request-ID", randomUUID()], ["Repeatability-First-Sent", ago(0)]].filter(([n]) => n !== name);
      rejects(await on.worker.send({ path: freshPath("/rooms"), headers: [...lines, [name, value], [name, value]] }), "key-invalid");
    }
    // It is part of the scope, so it must be told from others.
    rejects(await repeatable("/rooms", { client: "\xff" }).send(), "key-invalid");
  });
  test("a clock that is four minutes ahead is borne", async () => {
    const it = repeatable("/rooms", { sent: ago(-4) });
    const first = accepts(await it.send());
    isReplay(accepts(await it.send()), first);
    assert.equal(it.count(), 1);
  });

  test("what is unknown and older than the window without five minutes is 412, and nothing is stored", async () => {
    for (const [prefix, old, young] of [["/rooms", 26, 24], ["/hour", 56, 54]]) {
      for (const sent of [ago(old), "Thu, 01 Jan 1970 00:00:00 GMT"]) {
        const it = repeatable(prefix, { sent });
        for (let n = 0; n < 2; n++) {
          const refused = rejects(await it.send(), "outside-window");
          assert.equal(refused.get("Idempotency-Status"), null);
          assert.equal(refused.json.retryable, false);
        }
        assert.equal(it.count(), 0);
        // The same id, in its window.
        const first = accepts(await it.send({ headers: { "Repeatability-First-Sent": ago(young) } }));
        isExecuted(first);
        // Known by now, whatever it says.
        isReplay(accepts(await it.send()), first);
        assert.equal(it.count(), 1);
      }
    }
  });
  test("a known one is told 410 for as long as its tombstone lasts, and not 412", async () => {
    const it = repeatable("/brief");
    isExecuted(accepts(await it.send()));
    const gone = await until(async () => {
      const response = await it.send();
      return response.status === 410 && response;
    });
    isProblem(accepts(gone), "key-expired");
    isProblem(accepts(await it.send({ headers: { "Repeatability-First-Sent": ago(600) } })), "key-expired");
    assert.equal(it.count(), 1);
  });
  test("another request under the id is 400, in every state", async () => {
    const it = repeatable("/rooms");
    const { opened, open } = gate();
    it.answers(async () => (await opened, { status: 201, body: "made" }));
    const other = async () => isProblem(accepts(await it.send({ body: '{"room":2}' })), "key-reused", 400);
    const first = it.send();
    await it.reached();
    await other();
    open();
    isExecuted(await first);
    await other();
    assert.equal(it.count(), 1);
    assert.match(on.worker.logs, /"outcome":"key-reused","status":400/);
  });
  test("an id belongs to its client, and to its credential", async () => {
    const id = randomUUID();
    const it = repeatable("/rooms", { id, client: "c1" });
    isExecuted(accepts(await it.send()));
    isExecuted(accepts(await it.send({ headers: { "Repeatability-Client-ID": "c2" } })));
    isExecuted(accepts(await it.send({ headers: { "Repeatability-Client-ID": undefined } })));
    assert.equal(accepts(await it.send()).get("Idempotency-Status"), "replayed");
    isProblem(accepts(await it.send({ headers: { Authorization: "Bearer bob" } })), "credential-changed");
    assert.equal(it.count(), 3);
  });

  test("a lost answer is a doubt, and whoever comes again is told so: one execution", async () => {
    const it = repeatable("/rooms");
    it.answers((_, n) => (n === 1 ? { reset: true } : { status: 201, body: "twice" }));
    isProblem(accepts(await it.send()), "outcome-unknown", 502);
    isProblem(accepts(await it.send()), "outcome-unknown", 409);
    isProblem(accepts(await it.send({ headers: { "Repeatability-First-Sent": ago(600) } })), "outcome-unknown", 409);
    assert.equal(it.count(), 1);
  });
  test("a 503 is a doubt: one execution", async () => {
    const it = repeatable("/rooms");
    it.answers({ status: 503, headers: [[RESULT, "rejected"], ["Retry-After", "1"]] });
    assert.equal(accepts(await it.send()).status, 503);
    isProblem(accepts(await it.send()), "outcome-unknown");
    assert.equal(it.count(), 1);
  });
  test("a 429 frees the id: a retry runs", async () => {
    const it = repeatable("/rooms");
    it.answers((_, n) => (n === 1 ? { status: 429, headers: [["Retry-After", "1"]] } : { status: 201, body: "made" }));
    isReleased(accepts(await it.send()), 429);
    isExecuted(accepts(await it.send()));
    assert.equal(it.count(), 2);
  });
  test("the question what became of a lost answer is none of the dialect", async () => {
    const it = repeatable("/asking", { client: "c1" });
    it.answers({ reset: true });
    const asked = `/state/${it.id}`;
    on.origin.on(asked, { status: 200, body: "made" });
    isProblem(accepts(await it.send()), "outcome-unknown", 502);
    const found = accepts(await it.send());
    assert.deepEqual([found.status, found.text, found.get("Idempotency-Status")], [200, "made", "replayed"]);
    assert.equal(it.count(), 1);
    const [question] = on.origin.executions(asked);
    for (const name of ["Repeatability-Request-ID", "Repeatability-First-Sent", "Repeatability-Client-ID"]) assert.equal(question.get(name), null);
  });
  test("a body that is too large and a strategy that is none are no refusal of the dialect", async () => {
    isProblem(accepts(await repeatable("/small", { body: "x".repeat(101) }).send()), "request-too-large");
    isProblem(accepts(await repeatable("/rooms").send({ headers: { "X-On-Conflict": "NO" } })), "strategy-invalid");
  });

  test("202 is accepted, and so is what comes of it; at the address the origin speaks for itself", async () => {
    const it = repeatable("/later", { sent: ago(1), more: { Prefer: "respond-async", Origin: PAGE } });
    const { opened, open } = gate();
    it.answers(async () => (await opened, { status: 201, headers: [[RESULT, "Accepted"]], body: "made" }));
    const running = accepts(await it.send());
    assert.deepEqual([running.status, running.get("Idempotency-Status")], [202, "running"]);
    assert.match(running.get("Access-Control-Expose-Headers"), /\bRepeatability-Result\b/);
    assert.equal(accepts(await it.send()).get("Location"), running.get("Location"));
    rejects(await it.send({ headers: { "Repeatability-Request-ID": randomUUID(), "Repeatability-First-Sent": ago(26) } }), "outside-window");
    open();
    const poll = () => on.worker.send({ method: "GET", path: new URL(running.get("Location")).pathname, headers: { Authorization: "Bearer alice" } });
    const reply = await until(async () => {
      const response = await poll();
      return response.status === 201 && response;
    });
    assert.deepEqual([reply.text, reply.all(RESULT)], ["made", ["Accepted"]]);
    isReplay(accepts(await it.send()), reply);
    assert.equal(it.count(), 1);
  });
  test("a derived key stands for the id; without a key none of the headers goes on", async () => {
    const derived = repeatable("/derived", { client: "c1" });
    accepts(await derived.send());
    const key = derived.seen().get("Repeatability-Request-ID");
    assert.match(key, /^[0-9a-f]{32}$/);
    assert.deepEqual([derived.seen().get("Idempotency-Key"), derived.seen().get("Repeatability-First-Sent"), derived.seen().get("Repeatability-Client-ID")], [key, derived.sent, "c1"]);
    const none = repeatable("/none", { client: "c1" });
    accepts(await none.send());
    for (const name of ["Repeatability-Request-ID", "Repeatability-First-Sent", "Repeatability-Client-ID", "Idempotency-Key"]) assert.equal(none.seen().get(name), null);
  });
  test("with both, the source that comes first says which dialect it is", async () => {
    const it = repeatable("/both");
    const spoken = accepts(await it.send());
    isReplay(accepts(await it.send()), spoken);
    // An old date is nothing to a request with a key of its own, and neither is a part of the other dialect.
    const keyed = { "Idempotency-Key": randomUUID(), "Repeatability-First-Sent": ago(600) };
    const first = await it.send({ headers: keyed });
    isExecuted(first);
    assert.equal(first.get(RESULT), null);
    isProblem(await it.send({ headers: keyed, body: '{"room":2}' }), "key-reused", 422);
    isExecuted(await it.send({ headers: { "Idempotency-Key": randomUUID(), "Repeatability-Request-ID": undefined } }));
    assert.equal(it.count(), 3);
  });
  test("where the body has no key the headers count, and are refused if they are wrong", async () => {
    const it = repeatable("/either");
    isExecuted(accepts(await it.send()));
    const named = await it.send({ body: `{"id":"${randomUUID()}"}` });
    isExecuted(named);
    assert.equal(named.get(RESULT), null);
    rejects(await it.send({ headers: { "Repeatability-First-Sent": undefined } }), "key-invalid");
    rejects(await it.send({ headers: { "Repeatability-Request-ID": randomUUID(), "Repeatability-First-Sent": ago(600) } }), "outside-window");
    assert.equal(it.count(), 2);
  });
  test("what is not guarded passes untouched, whatever it says", async () => {
    for (const [prefix, more] of [["/nowhere", {}], ["/plain", {}], ["/rooms", { "Repeatability-Request-ID": undefined, "Repeatability-First-Sent": undefined }]]) {
      const it = repeatable(prefix, { sent: "no date", client: "c1", more });
      it.answers({ status: 201, headers: [[RESULT, "Rejected"]], body: "untouched" });
      for (let n = 1; n <= 2; n++) {
        const response = await it.send();
        assert.deepEqual([response.status, response.all(RESULT), response.get("Idempotency-Status")], [201, ["Rejected"], null]);
        assert.equal(it.count(), n);
        if (!("Repeatability-Request-ID" in more)) assert.deepEqual([it.seen(n).get("Repeatability-Request-ID"), it.seen(n).get("Repeatability-First-Sent")], [it.id, "no date"]);
      }
    }
    isProblem(await repeatable("/required", { more: { "Repeatability-Request-ID": undefined, "Repeatability-First-Sent": undefined } }).send(), "key-missing");
  });
  test("in shadow nothing is refused or added, and the log says what would be", async () => {
    for (const [sent, would] of [[ago(0), "executed"], [ago(600), "outside-window"], [ago(-6), "key-invalid"], ["no date", "key-invalid"]]) {
      const correlation = randomUUID();
      const it = repeatable("/watched", { sent, more: { "X-Correlation-Id": correlation } });
      it.answers({ status: 201, headers: [[RESULT, "Accepted"]], body: "made" });
      const response = await it.send();
      assert.deepEqual([response.status, response.all(RESULT), response.get("Idempotency-Status")], [201, ["Accepted"], null]);
      await on.worker.logged(new RegExp(`"would":"${would}"[^\\n]*${correlation}|${correlation}[^\\n]*"would":"${would}"`));
      assert.equal(it.count(), 1);
    }
  });
  test("the window is published", async () => {
    const { routes, problems } = (await on.worker.send({ method: "GET", path: "/.well-known/idempotency" })).json;
    const of = (name) => routes.find((route) => route.name === name);
    assert.deepEqual([of("rooms").window, of("hour").window, of("plain").window], ["PT30M", "PT1H", undefined]);
    assert.deepEqual(of("rooms").key.from, ["repeatability"]);
    assert.equal(problems.find(({ code }) => code === "outside-window").status, 412);
  });
});
