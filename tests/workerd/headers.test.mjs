// Contract 1.8, 1.9 and 1.10: the headers that are kept, set and removed, and what every problem carries.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, through } from "./harness.mjs";

const JSON_TYPE = ["Content-Type", "application/json"];

describe("the headers", { concurrency: 16, timeout: 60_000 }, () => {
  const on = stage({ routes: [{ name: "usual", methods: ["POST"], path: "/{*rest}", ttl: "90m" }] });

  function operation(answer) {
    const path = freshPath();
    const key = freshKey();
    if (answer) on.origin.on(path, answer);
    return {
      path, key,
      count: () => on.origin.count(path),
      seen: (n = 1) => on.origin.executions(path)[n - 1],
      send: (headers = [], spec = {}) => on.worker.send({ path, key, headers: [JSON_TYPE, ...headers], body: "{}", ...spec }),
    };
  }
  const answers = (headers, status = 201) => ({ status, headers, body: "{}" });

  const neverKept = [
    ["Set-Cookie", "session=1; HttpOnly"], ["Set-Cookie", "theme=dark"],
    ["Date", "Sat, 21 Nov 2026 10:00:00 GMT"], ["Age", "12"], ["Server-Timing", "db;dur=53"],
    ["RateLimit", '"default";r=50;t=30'], ["RateLimit-Policy", '"default";q=100'], ["RateLimit-Limit", "100"],
    ["RateLimit-Remaining", "9"], ["RateLimit-Reset", "60"], ["X-RateLimit-Limit", "100"],
    ["X-RateLimit-Remaining", "9"], ["X-RateLimit-Reset", "1700000000"], ["X-Rate-Limit-Remaining", "9"],
    ["CF-Ray", "8f1-FRA"], ["CF-Cache-Status", "DYNAMIC"], ["Alt-Svc", 'h3=":443"'],
    ["Keep-Alive", "timeout=5"], ["Proxy-Authenticate", "Basic"], ["Proxy-Connection", "close"], ["Trailer", "X-Sum"],
    ["Connection", "X-Hop, X-Other-Hop"], ["X-Hop", "1"], ["X-Other-Hop", "2"],
  ];
  test("what belongs to one exchange reaches the first caller, each Set-Cookie apart, and is not kept", async () => {
    const it = operation(answers(neverKept));
    const first = await it.send();
    isExecuted(first);
    assert.deepEqual(first.all("Set-Cookie"), ["session=1; HttpOnly", "theme=dark"]);
    for (const name of ["Date", "Age", "Server-Timing", "X-RateLimit-Remaining", "CF-Ray", "Alt-Svc"]) {
      assert.deepEqual(first.all(name), [neverKept.find(([n]) => n === name)[1]]);
    }
    const replay = await it.send();
    assert.equal(replay.get("Idempotent-Replayed"), "true");
    for (const [name, value] of neverKept) assert.ok(!replay.all(name).includes(value), name);
  });
  test("end-to-end headers are kept", async () => {
    const headers = [
      ["Content-Type", "application/vnd.api+json; charset=utf-8"], ["ETag", 'W/"7"'], ["Location", "/v1/payments/7?x=%70#y"],
      ["Cache-Control", "private, max-age=0"], ["Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT"], ["Vary", "Accept, Origin"],
      ["Content-Language", "de"], ["Content-Disposition", 'attachment; filename="ä"'.replace("ä", "a")], ["Retry-After", "3"],
      ["Request-Id", "req_1"], ["X-Empty", ""], ["Warning", '199 - "x"'], ["X-Long", "v".repeat(4_000)], ["WWW-Authenticate", "Bearer"],
    ];
    const it = operation(answers(headers));
    const first = await it.send();
    const replay = await it.send();
    for (const [name, value] of headers) for (const response of [first, replay]) assert.deepEqual(response.all(name), [value], name);
  });
  test("a repeated header keeps all its values in their order", async () => {
    const it = operation(answers([["Link", "</1>; rel=a"], ["X-Tag", "one"], ["Link", "</2>; rel=b"], ["X-Tag", "two, three"]]));
    for (const response of [await it.send(), await it.send()]) {
      assert.equal(response.get("Link"), "</1>; rel=a, </2>; rel=b");
      assert.equal(response.get("X-Tag"), "one, two, three");
    }
  });
  test("Latin-1 and UTF-8 header bytes reach the first caller as they are, and the origin too", async () => {
    const utf8 = Buffer.from("Zoë €").toString("latin1");
    const it = operation(answers([["X-Name", "caf\xe9"], ["X-Utf8", utf8]]));
    const first = await it.send([["X-From", "Z\xfcrich"], ["X-Utf8", utf8]]);
    isExecuted(first);
    assert.equal(first.get("X-Name"), "caf\xe9");
    assert.equal(first.get("X-Utf8"), utf8);
    assert.equal(it.seen().get("X-From"), "Z\xfcrich");
    assert.equal(it.seen().get("X-Utf8"), utf8);
    const replay = await it.send([["X-From", "Z\xfcrich"], ["X-Utf8", utf8]]);
    isReplay(replay, first);
    assert.equal(replay.get("X-Utf8"), utf8);
  });

  test("Idempotency-Expires says when the stored reply ends, the same to everyone", async () => {
    const it = operation();
    const began = Date.now();
    const first = await it.send();
    const value = first.get("Idempotency-Expires");
    assert.match(value, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/);
    assert.ok(Math.abs(Date.parse(value) - began - 90 * 60_000) < 10_000, value);
    for (let n = 0; n < 2; n++) assert.equal((await it.send()).get("Idempotency-Expires"), value);
  });
  test("the origin's own Idempotency- and Idempotent- headers are removed, on every kind of answer", async () => {
    const own = [["Idempotent-Replayed", "true"], ["Idempotency-Status", "replayed"], ["Idempotency-Key", "k"], ["Idempotency-Expires", "2099-01-01T00:00:00Z"], ["idempotency-anything", "x"], ["IDEMPOTENT-X", "y"]];
    for (const [status, is] of [[201, isExecuted], [429, isReleased], [504, isUnknown]]) {
      const it = operation(answers(own, status));
      const first = await it.send();
      is(first, status);
      const again = await it.send();
      for (const response of [first, again]) {
        for (const name of ["Idempotency-Key", "Idempotency-Anything", "Idempotent-X"]) assert.equal(response.get(name), null);
      }
      if (status === 201) isReplay(again, first);
    }
  });
  test("a marker that the client sends does not make an answer a replay", async () => {
    const it = operation();
    isExecuted(await it.send([["Idempotent-Replayed", "true"], ["Idempotency-Status", "replayed"], ["Idempotency-Attempt", "7"]]));
  });
  test("the request reaches the origin as it came", async () => {
    const sent = [
      ["Accept", "application/json"], ["Accept-Encoding", "gzip;q=0.5"], ["Authorization", "Bearer a b"], ["Cookie", "a=1; b=2"],
      ["User-Agent", "test/1"], ["X-Forwarded-For", "192.0.2.1"], ["If-Match", '"1"'], ["Prefer", "wait=5"], ["X-On-Conflict", "FAIL"],
      ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], ["tracestate", "a=1"], ["X-Empty", ""],
    ];
    const it = operation();
    isExecuted(await it.send(sent, { path: `${it.path}?a=%70&b=../x&c=%2F&&d` }));
    const seen = it.seen();
    for (const [name, value] of [...sent, JSON_TYPE]) assert.deepEqual(seen.all(name), [value], name);
    assert.equal(seen.method, "POST");
    assert.equal(seen.url, `${it.path}?a=%70&b=../x&c=%2F&&d`);
  });
  test("the key is forwarded as it was received", async () => {
    for (const form of [(key) => key, (key) => `"${key}"`, (key) => `"${key}";v=1`]) {
      const it = operation();
      const key = form(it.key);
      isExecuted(await it.send([], { key }));
      assert.deepEqual(it.seen().all("Idempotency-Key"), [key]);
    }
  });
  test("Idempotency-Attempt counts from 1 and replaces the client's own", async () => {
    const it = operation();
    isExecuted(await it.send([["Idempotency-Attempt", "99"], ["idempotency-attempt", "100"]]));
    assert.deepEqual(it.seen().all("Idempotency-Attempt"), ["1"]);
  });

  test("what belongs to one hop stays there, and the body's framing is the filter's own", async () => {
    const it = operation();
    const hop = [["Connection", "keep-alive, X-Hop"], ["X-Hop", "1"], ["Keep-Alive", "timeout=5"], ["TE", "trailers"], ["Trailer", "X-T"], ["Upgrade", "h2c"], ["HTTP2-Settings", "AAMAAABk"], ["Proxy-Connection", "keep-alive"], ["Proxy-Authorization", "Basic x"], ["Expect", "100-continue"]];
    const response = await it.send([...hop, ["Authorization", "Bearer a"], ["X-End", "to-end"]]);
    assert.ok([100, 201].includes(response.status));
    const seen = await on.origin.reached(it.path);
    for (const [name] of hop.slice(1)) assert.equal(seen.get(name), null, name);
    assert.deepEqual([seen.get("Authorization"), seen.get("X-End"), seen.body.toString()], ["Bearer a", "to-end", "{}"]);
  });
  test("several Cookie lines are one at the origin", async () => {
    const it = operation();
    isExecuted(await it.send([["Cookie", "a=1"], ["Cookie", "b=2; c=3"]]));
    assert.deepEqual(it.seen().all("Cookie"), ["a=1; b=2; c=3"]);
  });
  test("an origin at another address is told what the client asked for, and by whom; none of it where a request passes", async () => {
    const client = [["X-Forwarded-Host", "evil.example"], ["X-Forwarded-Proto", "https"], ["X-Forwarded-For", "198.51.100.1"], ["CF-Connecting-IP", "203.0.113.7"]];
    const it = operation();
    isExecuted(await it.send(client));
    const forwarded = (seen) => ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For"].map((name) => seen.get(name));
    assert.deepEqual(forwarded(it.seen()), ["shop.example", "http", "198.51.100.1, 203.0.113.7"]);
    await on.worker.send({ method: "GET", path: it.path, headers: client });
    assert.deepEqual(forwarded(it.seen(2)), ["evil.example", "https", "198.51.100.1"]);
  });
  test("a service binding gets what the client sent", () =>
    through({ binding: true }, async (worker, origin) => {
      isExecuted(await worker.send({ path: "/b", key: freshKey(), headers: [["X-Forwarded-Host", "mine"], ["CF-Connecting-IP", "203.0.113.7"]] }));
      const [seen] = origin.executions("/b");
      assert.deepEqual([seen.get("X-Forwarded-Host"), seen.get("X-Forwarded-For")], ["mine", null]);
    }));
  test("with LOG_KEY a derived correlation id is made under it", () =>
    through({}, async (worker) => {
      const spec = { path: "/c", key: freshKey(), headers: {} };
      const plain = await worker.send(spec);
      await worker.restart({ vars: { LOG_KEY: "a-secret-of-thirty-two-characters-" } });
      const [one, two] = [await worker.send(spec), await worker.send(spec)].map((response) => response.get("X-Correlation-Id"));
      assert.equal(one, two);
      assert.notEqual(one, plain.get("X-Correlation-Id"));
    }));

  test("a client's X-Correlation-Id goes to the origin and comes back on every answer", async () => {
    for (const id of ["corr-1", "~".repeat(255), 'a"b,c;d\\e']) {
      const it = operation();
      for (const response of [await it.send([["X-Correlation-Id", id]]), await it.send([["X-Correlation-Id", id]])]) {
        assert.deepEqual(response.all("X-Correlation-Id"), [id]);
      }
      assert.deepEqual(it.seen().all("X-Correlation-Id"), [id]);
      const problem = await it.send([["X-Correlation-Id", id], ["X-On-Conflict", "FAIL"]]);
      assert.equal(isProblem(problem, "already-executed").correlation_id, id);
    }
  });
  test("without a usable X-Correlation-Id every try of one operation carries the same derived one", async () => {
    for (const id of [null, "", "x".repeat(256), "two words", "caf\xe9"]) {
      const it = operation((_, n) => ({ status: n < 3 ? 429 : 201 }));
      const headers = id === null ? [] : [["X-Correlation-Id", id]];
      const all = [];
      for (let n = 0; n < 4; n++) all.push((await it.send(headers)).get("X-Correlation-Id"));
      all.push(...[1, 2, 3].map((n) => it.seen(n).get("X-Correlation-Id")));
      assert.equal(new Set(all).size, 1, JSON.stringify(all));
      assert.match(all[0], /^[!-~]{8,255}$/);
      assert.notEqual(all[0], id);
      assert.equal(all[0].includes(it.key), false);
    }
  });
  test("two operations have two derived correlation ids", async () => {
    const [one, other] = [await operation().send(), await operation().send()];
    assert.notEqual(one.get("X-Correlation-Id"), other.get("X-Correlation-Id"));
  });
});

describe("every problem", { concurrency: 16, timeout: 60_000 }, () => {
  const routes = [
    { name: "strict", methods: ["POST"], path: "/strict", key: { required: true } },
    { name: "hasty", methods: ["POST"], path: "/hasty/{*rest}", timeout: "1s", wait: "0s" },
    { name: "small", methods: ["POST"], path: "/small/{*rest}", request: { max: 10 }, reply: { max: 10 } },
  ];
  const on = stage({ routes });
  /** Sends `first`, then what `spec` says; resolves to the second answer. */
  async function after(path, answer, spec) {
    const key = freshKey();
    on.origin.on(path, answer);
    await on.worker.send({ key, path, body: "{}" });
    return on.worker.send({ key, path, body: "{}", ...spec });
  }
  const paid = { status: 201, body: "paid" };
  const big = { status: 201, body: "more than ten" };
  const made = {
    "key-missing": () => on.worker.send({ path: "/strict" }),
    "key-invalid": () => on.worker.send({ path: "/strict", key: "a,b" }),
    "strategy-invalid": () => on.worker.send({ path: "/strict", key: freshKey(), headers: { "X-On-Conflict": "NEVER" } }),
    "key-reused": () => after(freshPath("/hasty"), paid, { body: "[]" }),
    "already-executed": () => after(freshPath("/hasty"), paid, { headers: { "X-On-Conflict": "FAIL" } }),
    "credential-changed": () => after(freshPath("/hasty"), paid, { headers: { Authorization: "x" } }),
    "reply-not-stored": () => after(freshPath("/small"), big),
    "outcome-unknown": () => after(freshPath("/hasty"), { status: 502 }),
    "request-too-large": () => on.worker.send({ path: "/small/x", key: freshKey(), body: "more than ten" }),
    "in-flight": async () => {
      const { opened, open } = gate();
      const spec = { path: freshPath("/hasty"), key: freshKey() };
      on.origin.on(spec.path, async () => (await opened, paid));
      const first = on.worker.send(spec);
      await on.origin.reached(spec.path);
      const response = await on.worker.send(spec);
      open();
      await first;
      return response;
    },
  };
  for (const [code, make] of Object.entries(made)) {
    test(`${code} is a problem document that no cache keeps and that says whether to try again`, async () => {
      isProblem(await make(), code);
    });
  }
  test("its correlation id is the client's own, in the document and in the header", async () => {
    const response = await on.worker.send({ path: "/strict", key: "", headers: { "X-Correlation-Id": "mine" } });
    assert.equal(isProblem(response, "key-invalid").correlation_id, "mine");
    assert.equal(response.get("X-Correlation-Id"), "mine");
  });
  test("it never shows the key", async () => {
    const key = `secret-${freshKey()}`;
    await on.worker.send({ path: "/hasty/shown", key });
    const response = await on.worker.send({ path: "/hasty/shown", key, body: "other" });
    isProblem(response, "key-reused");
    assert.equal(response.text.includes(key), false);
    assert.equal(response.headers.some(([, value]) => value.includes(key)), false);
  });
});
