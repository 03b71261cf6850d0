// Contract 1.7, on_in_doubt = "probe": before a duplicate of an unknown outcome is answered, the origin is asked what
// became of the key. What it does when the lease is over is in doubt.test.mjs.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, until } from "./harness.mjs";

const ALICE = { Authorization: "Bearer alice", "X-Api-Key": "k-1", Cookie: "session=s1; theme=dark" };
const choose = (strategy) => ({ "X-On-Conflict": strategy });
const found = (key) => `/by-key/${key}`;

describe("a probe", { concurrency: 8, timeout: 60_000 }, () => {
  const probing = (name, more) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, on_in_doubt: "probe", probe: "/by-key/{key}", client_strategies: ["return_existing", "fail", "fail_on_running"], ...more });
  const on = stage({
    routes: [
      probing("usual", {}),
      probing("query", { probe: "/lookup?idempotency_key={key}&full=1" }),
      probing("hasty", { timeout: "700ms", wait: "0s" }),
      probing("small", { reply: { max: 10 } }),
      probing("brief", { ttl: "1s" }),
      probing("zero", { timeout: "1s", probe_after: "0s" }),
      probing("state", { probe: "/state/of/{key}/now" }),
      probing("dotted", { probe: "/dotted/.{key}" }),
      probing("body", { key: { from: ["body:/id"] } }),
      { name: "hold", methods: ["POST"], path: "/hold/{*rest}", probe: "/by-key/{key}" },
    ],
  });

  /** A key whose outcome is unknown. */
  async function inDoubt(prefix, spec = {}) {
    const it = { path: freshPath(`/${prefix}`), key: freshKey(), ...spec };
    on.origin.on(it.path, (_, n) => (n === 1 ? { status: 504 } : { status: 201, body: `run ${n}` }));
    isUnknown(await on.worker.send(it), 504);
    return { ...it, count: () => on.origin.count(it.path), probes: () => on.origin.count(found(it.key)), send: (more = {}) => on.worker.send({ ...it, ...more }), told: (answer) => on.origin.on(found(it.key), answer) };
  }
  const known = new Set(); // keys that /lookup finds
  before(() => on.origin.on("/lookup", ({ url }) => (known.has(new URL(url, "http://x").searchParams.get("idempotency_key")) ? paid : { status: 404 })));
  const paid = { status: 200, headers: [["Content-Type", "application/json"], ["ETag", '"7"'], ["Link", "</1>; rel=a"], ["Link", "</2>; rel=b"], ["Set-Cookie", "a=1"], ["Date", "Sat, 21 Nov 2026 10:00:00 GMT"]], body: '{"id":"pay_7"}' };

  test("a 200 is settled as the reply at once, replayed to this duplicate and to all later ones, and nothing runs again", async () => {
    const it = await inDoubt("usual");
    it.told(paid);
    const reply = await it.send();
    isReplay(reply, reply);
    assert.equal(reply.status, 200);
    assert.equal(reply.text, paid.body);
    assert.equal(reply.get("ETag"), '"7"');
    assert.equal(reply.get("Link"), "</1>; rel=a, </2>; rel=b");
    assert.equal(reply.get("Set-Cookie"), null);
    assert.notEqual(reply.get("Date"), "Sat, 21 Nov 2026 10:00:00 GMT");
    it.told({ status: 500 });
    for (let n = 0; n < 2; n++) isReplay(await it.send(), reply);
    assert.deepEqual([it.count(), it.probes()], [1, 1]);
  });
  test("it is a GET with the caller's credentials and the same correlation id, and without a body", async () => {
    const headers = { ...ALICE, "Content-Type": "application/json" };
    const it = await inDoubt("usual", { headers, body: '{"amount":10}' });
    it.told(paid);
    const reply = await it.send();
    assert.equal(reply.status, 200);
    const [seen] = on.origin.executions(found(it.key));
    assert.equal(seen.method, "GET");
    for (const [name, value] of Object.entries(ALICE)) assert.deepEqual(seen.all(name), [value]);
    assert.equal(seen.get("X-Correlation-Id"), reply.get("X-Correlation-Id"));
    assert.equal(seen.body.length, 0);
    for (const name of ["Content-Type", "Transfer-Encoding", "Idempotency-Attempt"]) assert.equal(seen.get(name), null);
    assert.equal(Number(seen.get("Content-Length") ?? 0), 0);
  });
  test("it only asks: what made the request conditional, partial or something else than it seems is not in it", async () => {
    const meant = { "If-Match": '"1"', "If-None-Match": '"2"', "Content-Range": "bytes 0-1/2", Range: "bytes=0-1", "X-HTTP-Method-Override": "DELETE" };
    const it = await inDoubt("usual", { headers: { ...ALICE, ...meant }, body: "12" });
    it.told(paid);
    await it.send();
    const [seen] = on.origin.executions(found(it.key));
    assert.deepEqual(Object.keys(meant).filter((name) => seen.get(name) !== null), []);
  });
  for (const [what, key] of Object.entries({ "a slash and dots": "../a/b", "a query": "a?b=c&d#e", "percent signs": "%2e%2E/%", "blanks, quotes and backslashes": String.raw`a b\"c\\d`, "a comma and a plus": "a,b;c+d" })) {
    test(`a key with ${what} is one segment of its path, and one value of its query`, async () => {
      const plain = key.replace(/\\(.)/g, "$1");
      const unique = `${plain}-${freshKey()}`;
      const quoted = `"${unique.replace(/["\\]/g, "\\$&")}"`;
      const path = found(encodeURIComponent(unique));
      const it = await inDoubt("usual", { key: quoted });
      on.origin.on(path, paid);
      assert.equal((await it.send()).status, 200);
      assert.deepEqual(on.origin.executions(path).map((seen) => seen.url), [path]);

      const other = await inDoubt("query", { key: quoted });
      isProblem(await other.send(), "outcome-unknown");
      known.add(unique);
      assert.equal((await other.send()).status, 200);
    });
  }
  for (const key of [".", ".."]) {
    test(`a key that is ${key} does not lead the question to another path, whose 200 means nothing`, async () => {
      for (const path of ["/", "/by-key/", "/state/of/now", "/state/now", "/state/of//now", "/dotted/"]) on.origin.on(path, { status: 200, body: "a page" });
      for (const prefix of ["usual", "state", "dotted"]) {
        const it = await inDoubt(prefix, { key });
        isProblem(await it.send(), "outcome-unknown");
        assert.equal(it.count(), 1);
      }
    });
    test(`a key that is ${key} can be asked for in a query`, async () => {
      const it = await inDoubt("query", { key });
      known.add(key);
      const reply = await it.send();
      isReplay(reply, reply);
      assert.equal(reply.text, paid.body);
    });
  }
  test("a key from the body is asked for too", async () => {
    const id = freshKey();
    const it = await inDoubt("body", { body: JSON.stringify({ id }) });
    on.origin.on(found(id), paid);
    assert.equal((await it.send()).text, paid.body);
    assert.equal(it.count(), 1);
  });

  const unclear = {
    "404 while the first try may still be on its way": { status: 404 }, 201: { status: 201, body: "?" }, 204: { status: 204 },
    "a redirect": { status: 302, headers: [["Location", "/elsewhere"]] }, 401: { status: 401 }, 410: { status: 410 }, 503: { status: 503 }, "a reset": { reset: true },
    "half of a 200": { status: 200, length: 100, body: "half" }, "status 999": { raw: "HTTP/1.1 999 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" },
  };
  for (const [what, answer] of Object.entries(unclear)) {
    test(`where it is answered ${what}, the outcome is still unknown, and the next duplicate asks again`, async () => {
      const it = await inDoubt("usual");
      it.told(answer);
      for (let n = 1; n <= 2; n++) {
        isProblem(await it.send(), "outcome-unknown");
        assert.deepEqual([it.count(), it.probes()], [1, n]);
      }
      it.told(paid);
      assert.equal((await it.send()).text, paid.body);
      assert.deepEqual([it.count(), on.origin.count("/elsewhere")], [1, 0]);
    });
  }
  for (const [what, answer] of Object.entries({ "is not answered": { silent: true }, "is not answered to its end": { status: 200, length: 10, hang: true } })) {
    test(`where it ${what} within the timeout, the outcome is still unknown`, async () => {
      const it = await inDoubt("hasty");
      it.told(answer);
      const began = Date.now();
      isProblem(await it.send(), "outcome-unknown");
      assert.ok(Date.now() - began < 5_000, "the route's timeout is 700 ms");
      assert.equal(it.count(), 1);
    });
  }
  test("where no call goes on and probe_after is 0 s, a 404 frees the key at once", async () => {
    const it = await inDoubt("zero");
    it.told({ status: 404 });
    isExecuted(await it.send());
    assert.equal(it.count(), 2);
  });

  test("each strategy is answered by what the origin said", async () => {
    const failing = await inDoubt("usual");
    failing.told(paid);
    isProblem(await failing.send({ headers: choose("FAIL") }), "already-executed");
    assert.equal((await failing.send()).text, paid.body);
    const again = await inDoubt("usual");
    again.told(paid);
    const rerun = await again.send({ headers: choose("FAIL_ON_RUNNING") });
    isExecuted(rerun);
    isReplay(await again.send(), rerun);
    assert.deepEqual([failing.count(), again.count()], [1, 2]);
  });
  test("nobody is asked about a key that is new, running, completed or reused, or another caller's", async () => {
    const it = { path: freshPath("/hasty"), key: freshKey(), headers: ALICE };
    const { opened, open } = gate();
    on.origin.on(it.path, async () => (await opened, { status: 201, body: "paid" }));
    const running = on.worker.send(it);
    await on.origin.reached(it.path);
    isProblem(await on.worker.send(it), "in-flight");
    open();
    const first = await running;
    isExecuted(first);
    isReplay(await on.worker.send(it), first);
    const doubt = await inDoubt("usual", { headers: ALICE });
    doubt.told(paid);
    isProblem(await doubt.send({ body: "other" }), "key-reused");
    isProblem(await doubt.send({ headers: {} }), "credential-changed");
    assert.deepEqual([on.origin.count(found(it.key)), doubt.probes(), doubt.count()], [0, 0, 1]);
  });
  test("nobody is asked where the route holds", async () => {
    const it = await inDoubt("hold");
    it.told(paid);
    isProblem(await it.send(), "outcome-unknown");
    assert.equal(it.probes(), 0);
  });
  test("many duplicates at once get one reply, and nothing runs again", async () => {
    const it = await inDoubt("usual");
    const { opened, open } = gate();
    it.told(async (_, n) => (await opened, { ...paid, body: `asked ${n}` }));
    const sent = Array.from({ length: 6 }, () => it.send());
    await on.origin.reached(found(it.key), 6);
    open();
    const answers = await Promise.all(sent);
    for (const response of answers) isReplay(response, answers[0], /^(joined|replayed)$/);
    assert.equal(it.count(), 1);
  });
  test("nothing is asked while the first try is still read, whose own answer counts", async () => {
    const it = { path: freshPath("/hasty"), key: freshKey() };
    const late = gate();
    on.origin.on(it.path, async () => (await late.opened, { status: 201, body: "the first try's own" }));
    on.origin.on(found(it.key), { status: 404 });
    isProblem(await on.worker.send(it), "outcome-unknown", 504);
    isProblem(await on.worker.send(it), "outcome-unknown");
    late.open();
    const fail = () => on.worker.send({ ...it, headers: choose("FAIL") });
    await until(async () => (await fail()).json.code === "already-executed");
    assert.equal((await on.worker.send(it)).text, "the first try's own");
    assert.deepEqual([on.origin.count(it.path), on.origin.count(found(it.key))], [1, 0]);
  });
  test("a 200 that is too large to keep is told as such, and nothing runs again", async () => {
    const it = await inDoubt("small");
    it.told({ ...paid, body: "x".repeat(11) });
    isProblem(await it.send(), "reply-not-stored");
    isProblem(await it.send(), "reply-not-stored");
    assert.equal(it.count(), 1);
  });
  test("a reply learnt from a probe is kept for the route's ttl", async () => {
    const it = await inDoubt("brief");
    it.told(paid);
    const reply = await it.send();
    isReplay(reply, reply);
    const expires = Date.parse(reply.get("Idempotency-Expires"));
    assert.ok(Math.abs(expires - Date.now() - 1_000) < 2_000);
    isExecuted(await until(async () => {
      const response = await it.send();
      return response.status === 201 && response;
    }));
    assert.equal(it.count(), 2);
  });
});
