// Contract part 3: a request whose client does not wait for it, and the address that tells what became of it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isJoined, isProblem, isReleased, isReplay } from "./expect.mjs";
import { gate, operation, stage, through, until } from "./harness.mjs";

const alice = { Authorization: "Bearer alice", "Content-Type": "application/json" };
const ASYNC = { ...alice, Prefer: "respond-async" };
const route = (name, more = {}) => ({ name, path: `/${name}/{*rest}`, methods: ["POST"], async: "allow", timeout: "20s", wait: "5s", ...more });
const routes = [
  route("later"),
  route("always", { async: "always", wait: "0s" }),
  route("patient", { async: "always", wait: "5s" }),
  route("open", { status_credential: false }),
  route("brief", { ttl: "1s", tombstone: "1m" }),
  route("slow", { timeout: "1s" }),
  route("small", { reply: { max: 100 } }),
  route("endless", { reply: { max: 100 }, timeout: "2s" }),
  route("derived", { forward_key: "derived" }),
  route("again", { client_strategies: ["fail", "fail_on_running", "return_existing"] }),
  route("pages", { cors: ["https://shop.example"] }),
  route("never", { async: "never" }),
];

/** The answer is that the operation runs; returns the path of its status address. */
function isRunning(response) {
  assert.equal(response.status, 202, response.text.slice(0, 300));
  const location = new URL(response.get("Location"));
  assert.match(location.pathname, /^\/\.oncegate\/status\/[\w-]{44}$/);
  assert.match(response.get("Retry-After"), /^[1-9]\d*$/);
  assert.equal(response.get("Preference-Applied"), "respond-async");
  assert.match(response.get("Vary"), /\bPrefer$/);
  assert.equal(response.get("Idempotency-Status"), "running");
  assert.equal(response.get("Idempotent-Replayed"), null);
  assert.match(response.get("Cache-Control"), /\bno-store\b/);
  assert.match(response.get("Content-Type"), /^application\/json/);
  assert.deepEqual(response.json, { status: "running", location: location.href, correlation_id: response.get("X-Correlation-Id") });
  return location.pathname;
}

/** A problem of the address itself, which no poller can take for one of the call's. */
function isMonitors(response, code, status) {
  isProblem(response, code, status);
  assert.equal(response.get("Idempotency-Status"), null);
}

describe("async", { concurrency: 8, timeout: 90_000 }, () => {
  const on = stage({ routes });
  const poll = (path, more = {}) => on.worker.send({ method: "GET", path, headers: alice, ...more });
  const ended = (path) =>
    until(async () => {
      const response = await poll(path);
      return response.get("Idempotency-Status") === "running" ? null : response;
    }, { ms: 25_000 });
  /** An operation that the origin answers when its gate is opened. */
  const held = (prefix, answer = { status: 201, headers: [["Content-Type", "text/plain"]], body: "paid" }) => {
    const it = operation(on, prefix, { headers: ASYNC });
    const { opened, open } = gate();
    it.answers(async () => (await opened, answer));
    return { ...it, open };
  };
  const linesOf = (id) => on.worker.logs.split("\n").filter((line) => line.startsWith("{") && line.includes(id)).map((line) => JSON.parse(line));

  test("202 with an address, the same for every duplicate; then the very answer, marked replayed; one execution", async () => {
    const it = held("/later", { status: 201, headers: [["Content-Type", "text/plain"], ["X-Paid", "yes"]], body: "paid" });
    const accepted = await it.send();
    const path = isRunning(accepted);
    await it.reached();
    assert.equal(isRunning(await poll(path)), path);
    assert.equal(isRunning(await it.send()), path);
    it.open();
    const reply = await ended(path);
    assert.deepEqual([reply.status, reply.text, reply.get("X-Paid")], [201, "paid", "yes"]);
    isReplay(reply, reply);
    isReplay(await it.send({ headers: alice }), reply);
    isReplay(await it.send(), reply);
    const head = await poll(path, { method: "HEAD" });
    assert.deepEqual([head.status, head.text, head.get("Idempotency-Status")], [201, "", "replayed"]);
    assert.equal(it.count(), 1);
    const lines = linesOf(accepted.get("X-Correlation-Id"));
    assert.deepEqual(lines.slice(0, 2).map(({ outcome, status, attempt, via }) => ({ outcome, status, attempt, via })), [
      { outcome: "running", status: 202, attempt: 1, via: undefined },
      { outcome: "running", status: 202, attempt: null, via: undefined },
    ]);
    assert.ok(lines.some(({ via, outcome, status }) => via === "runner" && outcome === "executed" && status === 201), JSON.stringify(lines));
  });
  test("the reply itself where it is there in time, as the first caller's", async () => {
    const it = operation(on, "/later", { headers: { ...alice, Prefer: "respond-async, wait=5" } });
    isExecuted(await it.send());
    isReplay(await it.send(), await it.send());
    const patient = operation(on, "/patient");
    isExecuted(await patient.send());
    assert.deepEqual([it.count(), patient.count()], [1, 1]);
  });
  test("no longer than the client waits", async () => {
    const it = held("/later");
    isRunning(await it.send({ headers: { ...alice, Prefer: 'wait="1", respond-async' } }));
    it.open();
  });
  test("`always` without being asked, with the route's wait; `never` and no preference: as ever", async () => {
    const always = held("/always");
    isRunning(await always.send({ headers: alice }));
    always.open();
    for (const [prefix, headers] of [["/never", ASYNC], ["/later", alice]]) {
      const it = operation(on, prefix, { headers });
      const reply = await it.send();
      isExecuted(reply);
      assert.deepEqual([reply.get("Preference-Applied"), it.count()], [null, 1]);
    }
  });
  test("a synchronous duplicate waits for it; another strategy is refused", async () => {
    const it = held("/again");
    const path = isRunning(await it.send());
    await it.reached();
    const joining = it.send({ headers: alice });
    for (const strategy of ["FAIL", "FAIL_ON_RUNNING"]) isProblem(await it.send({ headers: { ...ASYNC, "X-On-Conflict": strategy } }), "in-flight");
    it.open();
    isJoined(await joining, await ended(path));
    assert.equal(it.count(), 1);
    // Run again, it has the same address.
    assert.equal(isRunning(await it.send({ headers: { ...ASYNC, "X-On-Conflict": "FAIL_ON_RUNNING" } })), path);
    await it.reached(2);
  });
  test("an asynchronous duplicate of a synchronous call gets its address", async () => {
    const it = held("/later");
    const first = it.send({ headers: alice });
    await it.reached();
    const path = isRunning(await it.send());
    it.open();
    isExecuted(await first);
    isReplay(await ended(path), await first);
  });
  test("the client may leave at once", async () => {
    const it = held("/later");
    const exchange = on.worker.open({ path: it.path, key: it.key, headers: ASYNC });
    const path = isRunning(await exchange.whole());
    exchange.close();
    await it.reached();
    it.open();
    assert.equal((await ended(path)).text, "paid");
    // Before it was answered at all.
    const gone = held("/patient");
    const cut = on.worker.open({ path: gone.path, key: gone.key, headers: alice });
    await gone.reached();
    cut.close();
    const address = isRunning(await gone.send());
    gone.open();
    assert.equal((await ended(address)).text, "paid");
  });

  describe("what was released", () => {
    const BUSY = { status: 429, headers: [["Content-Type", "application/json"], ["Retry-After", "7"]], body: '{"busy":true}' };
    test("is told for a while, marked released; the key is free, and keeps its address", async () => {
      const it = operation(on, "/later", { headers: ASYNC });
      it.answers((_, n) => (n === 1 ? BUSY : { status: 201, body: "paid" }));
      const path = isRunning(await it.send());
      const reply = await ended(path);
      isReleased(reply, 429);
      assert.deepEqual([reply.text, reply.get("Retry-After"), reply.get("Content-Type")], ['{"busy":true}', "7", "application/json"]);
      isReleased(await poll(path), 429);
      assert.equal(isRunning(await it.send()), path);
      await it.reached(2);
      assert.equal((await ended(path)).text, "paid");
    });
    test("within the client's wait is its answer", async () => {
      const it = operation(on, "/patient");
      it.answers(BUSY);
      const reply = await it.send();
      isReleased(reply, 429);
      assert.equal(reply.text, '{"busy":true}');
    });
    test("by a synchronous caller is told too; another request may take the key", async () => {
      const it = held("/later", BUSY);
      const first = it.send({ headers: alice });
      await it.reached();
      const path = isRunning(await it.send());
      it.open();
      isReleased(await first, 429);
      isReleased(await ended(path), 429);
      it.answers({ status: 201, body: "another" });
      isExecuted(await it.send({ headers: alice, body: '{"amount":11}' }));
      isMonitors(await poll(path), "status-unknown");
    });
    test("with a large body: its status, and nothing that describes a body", async () => {
      const it = operation(on, "/later", { headers: ASYNC });
      it.answers({ ...BUSY, body: "x".repeat(64 * 1024 + 1) });
      const reply = await ended(isRunning(await it.send()));
      isReleased(reply, 429);
      assert.deepEqual([reply.text, reply.get("Content-Type"), reply.get("Retry-After")], ["", null, "7"]);
      const full = operation(on, "/later", { headers: ASYNC });
      full.answers({ ...BUSY, body: "x".repeat(64 * 1024) });
      assert.equal((await ended(isRunning(await full.send()))).text.length, 64 * 1024);
    });
  });

  test("a doubt for as long as it is one: the call's own answer is not taken for it", async () => {
    for (const answer of [{ reset: true }, { status: 504, body: "gateway" }]) {
      const it = operation(on, "/later", { headers: ASYNC });
      it.answers(answer);
      const path = isRunning(await it.send());
      const reply = await ended(path);
      isProblem(reply, "outcome-unknown");
      assert.equal(reply.get("Idempotency-Status"), "unknown");
      isProblem(await it.send(), "outcome-unknown");
      assert.equal(it.count(), 1);
    }
  });
  test("a call that takes too long is read on, and its late answer told", async () => {
    const it = held("/slow");
    const path = isRunning(await it.send());
    const reply = await ended(path);
    isProblem(reply, "outcome-unknown");
    assert.match(reply.get("Retry-After"), /^\d+$/);
    it.open();
    const late = await until(async () => ((await poll(path)).status === 201 ? poll(path) : null));
    isReplay(late, late);
  });
  test("a reply that is too large is read to its end, and said not to be kept", async () => {
    const it = operation(on, "/small", { headers: ASYNC });
    it.answers({ status: 201, parts: ["x".repeat(2000), "y".repeat(2000)] });
    const path = isRunning(await it.send());
    isMonitors(await ended(path), "reply-not-stored");
    isProblem(await it.send(), "reply-not-stored");
  });
  test("one that is too large and never ends is given up, and settled", async () => {
    const it = operation(on, "/endless", { headers: ASYNC });
    const { opened: closed, open: close } = gate();
    on.origin.onStream(it.path, ({ stream }) => {
      stream.resume();
      stream.socket.once("close", close);
      return { status: 201, parts: ["x".repeat(2000)], hang: true };
    });
    const path = isRunning(await it.send());
    isMonitors(await ended(path), "reply-not-stored");
    // The Runner reads no longer than its route's timeout: its seconds are paid for.
    await closed;
    isMonitors(await poll(path), "reply-not-stored");
    assert.equal(it.count(), 1);
  });
  test("nothing is streamed: what would be is kept whole", async () => {
    const it = operation(on, "/later", { headers: ASYNC });
    it.answers({ status: 200, headers: [["Content-Type", "text/event-stream"]], parts: ["data: 1\n\n", "data: 2\n\n"] });
    const reply = await ended(isRunning(await it.send()));
    assert.deepEqual([reply.status, reply.text], [200, "data: 1\n\ndata: 2\n\n"]);
  });
  test("an expired reply is 410, without a status of the call", async () => {
    const it = operation(on, "/brief", { headers: ASYNC });
    const path = isRunning(await it.send());
    const reply = await until(async () => ((await poll(path)).status === 410 ? poll(path) : null));
    isMonitors(reply, "key-expired");
  });
  test("the origin's own 202 and refusals are told apart from the address's", async () => {
    for (const status of [202, 402]) {
      const it = operation(on, "/later", { headers: ASYNC });
      it.answers({ status, body: "mine" });
      const reply = await ended(isRunning(await it.send()));
      assert.deepEqual([reply.status, reply.text, reply.get("Idempotency-Status")], [status, "mine", "replayed"]);
    }
  });

  test("the origin gets what it would get from a client that waits", async () => {
    const seen = [];
    const body = Buffer.alloc(3 * 1024 * 1024, "é");
    for (const prefer of [null, "respond-async"]) {
      const it = operation(on, "/derived");
      const headers = [["Authorization", "Bearer alice"], ["Prefer", "return=minimal"], ["Content-Type", "application/json"], ["X-Two", "a"], ["X-Two", "b"], ["X-Latin", "caf\u00e9"], ...(prefer ? [["Prefer", prefer]] : [])];
      const spec = { ...it, body, headers: [...headers, ["X-Correlation-Id", "the-same"]], path: `${it.path}?a=1&a=%20` };
      await on.worker.send(spec);
      await it.reached();
      const execution = it.seen();
      assert.ok(execution.body.equals(body));
      const varies = ["idempotency-key", "cdn-loop"];
      assert.match(execution.get("Idempotency-Key"), /^[0-9a-f]{32}$/);
      seen.push([execution.method, execution.url.replace(/\d+(?=\?)/, "N"), execution.headers.map(([name, value]) => [name.toLowerCase(), value]).filter(([name]) => !varies.includes(name)).sort()]);
    }
    assert.deepEqual(seen[1], seen[0]);
  });
  test("a large body, and none", async () => {
    const it = operation(on, "/later", { headers: ASYNC, body: Buffer.alloc(8 * 1024 * 1024, "b") });
    const path = isRunning(await it.send());
    assert.equal((await ended(path)).status, 201);
    assert.equal(it.seen().body.length, 8 * 1024 * 1024);
    const none = operation(on, "/later", { headers: { ...ASYNC }, body: undefined, length: 0 });
    assert.equal((await ended(isRunning(await none.send()))).status, 201);
    assert.equal(none.seen().body.length, 0);
  });

  describe("the address", () => {
    test("asks the credential of the call, unless its route says otherwise", async () => {
      const it = operation(on, "/later", { headers: ASYNC });
      const path = isRunning(await it.send());
      await ended(path);
      for (const headers of [{}, { Authorization: "Bearer bob" }, { "X-Api-Key": "Bearer alice" }]) isMonitors(await poll(path, { headers }), "status-unknown");
      const open = operation(on, "/open", { headers: ASYNC });
      const known = isRunning(await open.send());
      assert.equal((await ended(known)).status, 201);
      assert.equal((await poll(known, { headers: {} })).status, 201);
    });
    test("is known by its whole token only", async () => {
      const [one, two] = [operation(on, "/later", { headers: ASYNC }), operation(on, "/later", { headers: ASYNC })];
      const paths = [isRunning(await one.send()), isRunning(await two.send())];
      const [a, b] = paths.map((path) => path.split("/").at(-1));
      const changed = (text, at) => text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
      // A slash at the end of a path is not looked at.
      assert.notEqual((await poll(`${paths[0]}/`)).get("Idempotency-Status"), null);
      const wrong = [a.slice(0, -1), `${a}A`, `${a}/x`, `${a}=`, a.toUpperCase(), changed(a, 0), changed(a, 5), changed(a, 25), changed(a, 42), a.slice(0, 22) + b.slice(22), "x".repeat(2000), "a b"];
      for (const token of wrong.filter((token) => token !== a)) {
        const response = await poll(`/.oncegate/status/${encodeURI(token)}`);
        isMonitors(response, "status-unknown");
      }
      await Promise.all(paths.map(ended));
      await through({ routes }, async (other) => isMonitors(await other.send({ method: "GET", path: paths[0], headers: alice }), "status-unknown"));
    });
    test("takes GET and HEAD only", async () => {
      const path = isRunning(await operation(on, "/later", { headers: ASYNC }).send());
      for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
        const response = await poll(path, { method });
        isMonitors(response, "method-not-allowed", 405);
        assert.equal(response.get("Allow"), "GET, HEAD");
      }
      await ended(path);
    });
    test("is asked at 100 times a second", async () => {
      const it = held("/later");
      const path = isRunning(await it.send());
      const answers = await Promise.all(Array.from({ length: 100 }, () => poll(path)));
      assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([202]));
      it.open();
      assert.equal((await ended(path)).text, "paid");
      assert.equal(it.count(), 1);
    });
    test("may be read by a page where the route lets it", async () => {
      const it = operation(on, "/pages", { headers: { ...ASYNC, Origin: "https://shop.example" } });
      const accepted = await it.send();
      const path = isRunning(accepted);
      assert.match(accepted.get("Access-Control-Expose-Headers"), /\bLocation\b/);
      assert.equal(accepted.get("Access-Control-Allow-Origin"), "https://shop.example");
      await ended(path);
      const page = { Origin: "https://shop.example" };
      const asked = await poll(path, { method: "OPTIONS", headers: { ...page, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization" } });
      assert.deepEqual([asked.status, asked.get("Access-Control-Allow-Origin"), asked.get("Access-Control-Allow-Headers")], [204, "https://shop.example", "authorization"]);
      assert.equal((await poll(path, { headers: { ...alice, ...page } })).get("Access-Control-Allow-Origin"), "https://shop.example");
      assert.equal((await poll(path, { method: "OPTIONS", headers: { Origin: "https://evil.example" } })).get("Access-Control-Allow-Origin"), null);
    });
  });
});

describe("async, with a Runner that misbehaves", { concurrency: 4, timeout: 90_000 }, () => {
  const on = stage({ routes, runner: "faulty" });
  const asked = (how) => ({ headers: { ...ASYNC, "X-Runner": how } });
  const poll = (path) => on.worker.send({ method: "GET", path, headers: alice });

  test("one that cannot be reached: 202 all the same, and the lease decides", async () => {
    const it = operation(on, "/slow", asked("throws"));
    const path = isRunning(await it.send());
    assert.equal(isRunning(await it.send()), path);
    const reply = await until(async () => ((await poll(path)).status === 409 ? poll(path) : null), { ms: 25_000, every: 500 });
    isProblem(reply, "outcome-unknown");
    assert.equal(reply.get("Idempotency-Status"), "unknown");
    assert.equal(it.count(), 0);
  });
  test("one whose answer is lost: 202, and its reply is told", async () => {
    const it = operation(on, "/later", asked("lost"));
    const path = isRunning(await it.send());
    const reply = await until(async () => ((await poll(path)).status === 201 ? poll(path) : null));
    isReplay(reply, reply);
    assert.equal(it.count(), 1);
  });
  test("one that is called twice makes one call", async () => {
    const it = operation(on, "/later", asked("twice"));
    const path = isRunning(await it.send());
    await until(async () => (await poll(path)).status === 201);
    assert.equal(it.count(), 1);
  });
});

describe("async, as it is configured", () => {
  test("without a class that could make the call nothing is forwarded", async () => {
    await through({ routes, runner: false }, async (worker, origin) => {
      isProblem(await worker.send({ path: "/later/1", key: "a" }), "misconfigured");
      assert.equal(origin.count("/later/1"), 0);
    });
  });
  test("a route in shadow passes the request on, and needs no such class", async () => {
    await through({ routes: [route("later", { mode: "shadow" })], runner: false }, async (worker, origin) => {
      const reply = await worker.send({ path: "/later/1", key: "a", headers: ASYNC });
      assert.deepEqual([reply.status, reply.get("Idempotency-Status"), origin.count("/later/1")], [201, null, 1]);
    });
  });
  test("a service binding is called by the Runner too", async () => {
    await through((origin) => ({ origin, binding: true, routes }), async (worker, origin) => {
      const accepted = await worker.send({ path: "/later/1", key: "a", headers: ASYNC });
      const path = isRunning(accepted);
      const reply = await until(async () => {
        const response = await worker.send({ method: "GET", path, headers: alice });
        return response.status === 201 ? response : null;
      });
      isReplay(reply, reply);
      assert.equal(origin.count("/later/1"), 1);
    });
  });
  test("a message of a queue waits for its outcome", async () => {
    const queues = [{ queue: "jobs", request: { url: "https://jobs.example/always/jobs" }, key: "message-id" }];
    await through((origin) => ({ origin, routes, events: true, vars: { QUEUES: queues } }), async (worker, origin) => {
      const result = await worker.deliver("jobs", [{ id: "m1", timestamp: 0, attempts: 1, body: "{}" }]);
      assert.deepEqual(result.explicitAcks, ["m1"]);
      assert.equal(origin.count("/always/jobs"), 1);
    });
  });
});
