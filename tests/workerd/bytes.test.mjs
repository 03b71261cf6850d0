// Contract 1.8: what is kept is replayed byte for byte, and requests reach the origin byte for byte.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, gate, stage } from "./harness.mjs";

const KiB = 1024;
const MiB = 1024 * KiB;
const BINARY = { "Content-Type": "application/octet-stream" };
const text = Buffer.from("All that is gold does not glitter. ".repeat(500));
const ENCODED = {
  gzip: zlib.gzipSync(text),
  br: zlib.brotliCompressSync(text),
  deflate: zlib.deflateSync(text),
  zstd: zlib.zstdCompressSync?.(text) ?? Buffer.from("28b52ffd04581900006869207468657265", "hex"),
};

describe("the bytes", { concurrency: 2, timeout: 60_000 }, () => {
  const post = { methods: ["POST"] };
  const routes = [
    { ...post, name: "small", path: "/small/{*rest}", reply: { max: "1KiB" }, request: { max: "1KiB" } },
    { ...post, name: "plain", path: "/plain/{*rest}", reply: { max: 2000 }, request: { max: 2000 } },
    { ...post, name: "hasty", path: "/hasty/{*rest}", reply: { max: "1KiB" }, timeout: "1s" },
    { ...post, name: "usual", path: "/{*rest}" },
  ];
  const on = stage({ routes });

  function operation(answer, prefix) {
    const path = freshPath(prefix);
    const key = freshKey();
    if (answer) on.origin.on(path, answer);
    return { path, key, count: () => on.origin.count(path), send: (spec) => on.worker.send({ path, key, ...spec }) };
  }
  /** The origin's answer reaches the first caller and every duplicate with exactly these bytes. */
  async function kept(answer, body, spec) {
    const it = operation(answer);
    const first = await it.send(spec);
    isExecuted(first, answer.status ?? 200);
    assert.ok(first.body.equals(body), `first: ${first.body.length} bytes for ${body.length}, or others`);
    const replay = await it.send(spec);
    isReplay(replay, first);
    assert.equal(it.count(), 1);
    return { first, replay };
  }

  for (const size of [0, 1, MiB - 1, MiB, MiB + 1, 2 * MiB, 2 * MiB + 1, 7 * MiB, 8 * MiB]) {
    test(`a reply of ${size} bytes is replayed byte for byte`, async () => {
      const body = randomBytes(size);
      const { first, replay } = await kept({ status: 201, headers: Object.entries(BINARY), body }, body);
      for (const response of [first, replay]) assert.equal(response.get("Content-Length") ?? String(size), String(size));
    });
  }
  test("every byte value survives, in text too", async () => {
    const body = Buffer.from(Array.from({ length: 1024 }, (_, n) => n % 256));
    await kept({ headers: [["Content-Type", "text/plain; charset=utf-8"]], body }, body);
    await kept({ headers: [["Content-Type", "application/json"]], body: Buffer.from('\ufeff{"a": "\\u0000 é"}\r\n') }, Buffer.from('\ufeff{"a": "\\u0000 é"}\r\n'));
  });
  for (const [encoding, body] of [...Object.entries(ENCODED), ["gzip", Buffer.from("this is not gzip at all")], ["br, gzip", randomBytes(500)], ["made-up", randomBytes(500)]]) {
    test(`a reply with Content-Encoding: ${encoding} (${body.length} bytes) is never decoded or encoded`, async () => {
      for (const headers of [{}, { "Accept-Encoding": "gzip, br" }, { "Accept-Encoding": "identity" }]) {
        const answer = { status: 201, headers: [["Content-Type", "text/plain"], ["Content-Encoding", encoding]], body };
        const { first, replay } = await kept(answer, body, { headers });
        for (const response of [first, replay]) assert.equal(response.get("Content-Encoding"), encoding);
      }
    });
  }
  test("a chunked reply that is longer than it says elsewhere is not kept beyond the route's limit", async () => {
    const it = { path: freshPath("/small"), key: freshKey(), headers: BINARY, body: "{}" };
    const chunk = "x".repeat(2 * KiB);
    on.origin.on(it.path, { raw: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n${chunk}\r\n0\r\n\r\n` });
    const first = await on.worker.send(it);
    assert.equal(first.text, chunk);
    isProblem(await on.worker.send(it), "reply-not-stored");
  });
  test("a chunked reply is kept whole", async () => {
    const parts = [randomBytes(10), randomBytes(70_000), Buffer.from("x")];
    await kept({ status: 201, headers: Object.entries(BINARY), parts }, Buffer.concat(parts));
    await kept({ status: 200, headers: [["Content-Encoding", "gzip"]], parts: [ENCODED.gzip.subarray(0, 9), ENCODED.gzip.subarray(9)] }, ENCODED.gzip);
  });
  for (const status of [204, 205, 304]) {
    test(`${status} has no body and is replayed without one`, async () => {
      const { first, replay } = await kept({ status, headers: [["ETag", '"7"']] }, Buffer.alloc(0));
      for (const response of [first, replay]) assert.equal(response.get("ETag"), '"7"');
    });
  }

  for (const size of [0, 1, MiB, 7 * MiB, 8 * MiB]) {
    test(`a request body of ${size} bytes reaches the origin byte for byte`, async () => {
      const it = operation();
      const body = randomBytes(size);
      isExecuted(await it.send({ headers: BINARY, body }));
      const [seen] = on.origin.executions(it.path);
      assert.ok(seen.body.equals(body));
      assert.equal(seen.get("Content-Type"), "application/octet-stream");
    });
  }
  for (const [encoding, body] of Object.entries(ENCODED)) {
    test(`a request with Content-Encoding: ${encoding} reaches the origin as it came`, async () => {
      const it = operation();
      isExecuted(await it.send({ headers: { ...BINARY, "Content-Encoding": encoding }, body }));
      const [seen] = on.origin.executions(it.path);
      assert.ok(seen.body.equals(body));
      assert.equal(seen.get("Content-Encoding"), encoding);
    });
  }
  test("a chunked request reaches the origin whole", async () => {
    const it = operation();
    const chunks = [randomBytes(10), randomBytes(70_000)];
    isExecuted(await it.send({ headers: BINARY, chunks }));
    assert.ok(on.origin.executions(it.path)[0].body.equals(Buffer.concat(chunks)));
  });
  test("a request without a body reaches the origin without one", async () => {
    const it = operation();
    isExecuted(await it.send({ body: undefined }));
    assert.equal(on.origin.executions(it.path)[0].body.length, 0);
  });

  for (const [prefix, max] of [["/small", 1 * KiB], ["/plain", 2000]]) {
    test(`reply.max = ${max}: a reply of that size is kept, one more byte is not`, async () => {
      const fits = operation({ status: 201, body: "f".repeat(max) }, prefix);
      const first = await fits.send();
      isExecuted(first);
      isReplay(await fits.send(), first);
      const large = operation({ status: 201, body: "l".repeat(max + 1) }, prefix);
      assert.equal((await large.send()).text, "l".repeat(max + 1));
      isProblem(await large.send(), "reply-not-stored");
      assert.deepEqual([fits.count(), large.count()], [1, 1]);
    });
    test(`request.max = ${max}: a body of that size is taken, one more byte is refused`, async () => {
      const it = operation(undefined, prefix);
      for (const spec of [{ body: "x".repeat(max + 1) }, { chunks: ["x".repeat(max), "y"] }, { body: "x".repeat(10 * max) }]) {
        isProblem(await it.send({ headers: BINARY, ...spec }), "request-too-large");
      }
      assert.equal(it.count(), 0);
      isExecuted(await it.send({ headers: BINARY, body: "x".repeat(max) }));
    });
  }
  test("request.max is 8 MiB where nothing is said, and what is announced as larger is refused before it is sent", async () => {
    const it = operation();
    const exchange = on.worker.open({ path: it.path, key: it.key, length: 8 * MiB + 1 });
    isProblem(await exchange.whole(), "request-too-large");
    exchange.close();
    assert.equal(it.count(), 0);
  });

  for (const [what, prefix, size] of [["a little over reply.max", "/small", 3 * KiB], ["of 20 MiB", "/v1", 20 * MiB]]) {
    test(`a reply ${what} reaches the first caller whole; duplicates are told its status and nothing runs again`, async () => {
      const body = randomBytes(size);
      const it = operation({ status: 207, headers: Object.entries(BINARY), body }, prefix);
      const first = await it.send();
      assert.equal(first.status, 207);
      assert.ok(first.body.equals(body));
      for (let n = 0; n < 2; n++) {
        const duplicate = await it.send();
        isProblem(duplicate, "reply-not-stored");
        assert.match(duplicate.text, /\b207\b/);
      }
      assert.equal(it.count(), 1);
    });
  }
  for (const [what, type, size] of [["too large to keep", "text/plain", 2 * KiB], ["an event stream", "text/event-stream", 10]]) {
    test(`a reply that is ${what} is streamed to the first caller as it comes`, async () => {
      const { opened, open } = gate();
      const start = Buffer.alloc(size, "data: ");
      const it = operation({ status: 201, headers: [["Content-Type", type]], parts: [start, opened, "data: end\n\n"] }, "/small");
      const exchange = on.worker.open({ path: it.path, key: it.key, headers: BINARY, body: "{}" });
      let seen = Buffer.alloc(0);
      while (seen.length < size) seen = Buffer.concat([seen, await exchange.read()]);
      assert.ok(seen.equals(start));
      open();
      assert.equal((await exchange.whole()).text, "data: end\n\n");
      isProblem(await it.send({ headers: BINARY, body: "{}" }), "reply-not-stored");
      assert.equal(it.count(), 1);
    });
  }
  for (const [what, type, size] of [["a download", "application/zip", 2 * KiB], ["an event stream", "text/event-stream", 10]]) {
    test(`${what} that has begun in time may last longer than the timeout`, async () => {
      const late = new Promise((resolve) => setTimeout(resolve, 2_500));
      const it = operation({ status: 201, headers: [["Content-Type", type]], parts: ["s".repeat(size), late, "the end"] }, "/hasty");
      const first = await it.send();
      assert.equal(first.status, 201);
      assert.equal(first.text, `${"s".repeat(size)}the end`);
      isProblem(await it.send(), "reply-not-stored");
      assert.equal(it.count(), 1);
    });
  }
  test("a reply that is too large to keep and is cut off is cut off for the first caller too, and never run again", async () => {
    const it = operation({ status: 201, length: 5 * KiB, body: "x".repeat(3 * KiB) }, "/small");
    await assert.rejects(it.send(), /cut off|before the response was whole/);
    const duplicate = await it.send({ headers: { "Content-Type": "application/json", Prefer: "wait=0" }, body: '{"amount":10}' });
    assert.equal(duplicate.status, 409);
    assert.equal(it.count(), 1);
  });
});

describe("the memory", { timeout: 60_000 }, () => {
  const on = stage();

  test("more than 32 MiB of bodies at once are refused before any claim, and nobody else suffers", async () => {
    const size = 7 * MiB;
    const body = randomBytes(size);
    const all = Array.from({ length: 6 }, () => {
      const it = { path: freshPath(), key: freshKey(), headers: BINARY };
      const exchange = on.worker.open({ ...it, length: size });
      exchange.send(body.subarray(0, size - 1));
      return { it, exchange, answer: exchange.whole(), count: () => on.origin.count(it.path) };
    });
    // All but the last byte of 42 MiB: some must be refused before the others are complete.
    const early = await Promise.race(all.map(async ({ it, answer }) => ({ it, response: await answer })));
    isProblem(early.response, "store-unavailable");
    for (const { exchange } of all) exchange.send(body.subarray(size - 1));
    for (const { exchange, answer, count } of all) {
      const response = await answer;
      if (response.status === 503) isProblem(response, "store-unavailable");
      else isExecuted(response);
      assert.equal(count(), response.status === 503 ? 0 : 1);
      exchange.close();
    }
    assert.ok(all.filter(({ count }) => count() === 1).length >= 3, "32 MiB hold four of these");
    isExecuted(await on.worker.send({ ...early.it, body }));
  });

  test("more than 32 MiB of replies at once reach their first callers whole, and none is run again", async () => {
    const body = randomBytes(7 * MiB);
    const { opened, open } = gate();
    const path = freshPath();
    on.origin.on(path, async () => (await opened, { status: 201, body }));
    const operations = Array.from({ length: 8 }, () => ({ path, key: freshKey() }));
    const sending = operations.map((operation) => on.worker.send(operation));
    await on.origin.reached(path, 8);
    open();
    for (const first of await Promise.all(sending)) {
      assert.equal(first.status, 201);
      assert.ok(first.body.equals(body));
    }
    for (const operation of operations) {
      const duplicate = await on.worker.send(operation);
      if (duplicate.status === 201) assert.ok(duplicate.body.equals(body));
      else isProblem(duplicate, "reply-not-stored");
    }
    assert.equal(on.origin.count(path), 8);
  });
});
