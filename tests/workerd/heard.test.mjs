// Contract 1.10: an answer is heard. Most clients write before they read, so what is left of a refused request is read first.

import assert from "node:assert/strict";
import net from "node:net";
import { once } from "node:events";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, through, until } from "./harness.mjs";

const MiB = 1024 * 1024;

/** Writes the whole request and only then reads; resolves to the status line, or to the error of the connection. */
async function writesFirst(port, lines, size) {
  const socket = net.connect(port, "127.0.0.1");
  socket.pause();
  let failure = null;
  socket.on("error", (error) => (failure ??= error.code));
  await once(socket, "connect");
  const head = ["POST " + lines.path + " HTTP/1.1", "Host: shop.example", ...(lines.headers ?? []), `Content-Length: ${size}`, "Connection: close"];
  socket.write(head.join("\r\n") + "\r\n\r\n");
  const part = Buffer.alloc(64 * 1024, "x");
  for (let left = size; left > 0 && !failure; left -= part.length) {
    await new Promise((resolve) => socket.write(part.subarray(0, Math.min(left, part.length)), resolve));
  }
  let text = "";
  socket.setEncoding("latin1").on("data", (data) => (text += data)).resume();
  await Promise.race([once(socket, "close"), once(socket, "end")]).catch(() => {});
  socket.destroy();
  return text.split("\r\n")[0] || failure;
}

describe("an answer is heard by who writes first", { concurrency: 2, timeout: 60_000 }, () => {
  const routes = [
    { name: "strict", methods: ["POST"], path: "/strict/{*rest}", key: { required: true } },
    { name: "usual", methods: ["POST"], path: "/usual/{*rest}" },
  ];
  const on = stage({ routes, vars: { UNMATCHED: "refuse" } });
  for (const [what, status, lines, size] of [
    ["a body above request.max", 413, { path: "/usual/a", headers: ["Idempotency-Key: k1"] }, 12 * MiB],
    ["a key that is none", 400, { path: "/usual/b", headers: ['Idempotency-Key: "open'] }, 6 * MiB],
    ["no key where one is required", 400, { path: "/strict/c" }, 6 * MiB],
    ["what no route matches", 404, { path: "/other" }, 6 * MiB],
    ["the filter's own path", 404, { path: "/.oncegate/x" }, 6 * MiB],
    ["a method in disguise", 400, { path: "/strict/d", headers: ["X-HTTP-Method-Override: POST"] }, 6 * MiB],
  ]) {
    test(`${what}: ${status}`, async () => {
      assert.match(String(await writesFirst(on.worker.port, lines, size)), new RegExp(`^HTTP/1.1 ${status} `));
    });
  }
  test("a replay", async () => {
    const key = freshKey();
    const first = await on.worker.send({ path: "/usual/replayed", key, body: Buffer.alloc(7 * MiB, "x") });
    isExecuted(first);
    assert.match(await writesFirst(on.worker.port, { path: "/usual/replayed", headers: [`Idempotency-Key: ${key}`] }, 7 * MiB), /^HTTP\/1.1 201 /);
  });
  test("with a filter that is misconfigured", () =>
    through({ vars: { SHARDS: "none" } }, async (worker) => {
      assert.match(String(await writesFirst(worker.port, { path: "/x" }, 6 * MiB)), /^HTTP\/1.1 500 /);
    }));
  test("one that never ends is answered after 5 s", async () => {
    const began = Date.now();
    const asking = on.worker.open({ path: "/strict/slow", length: 1000 });
    isProblem(await asking.whole(), "key-missing");
    asking.close();
    assert.ok(Date.now() - began >= 4_500 && Date.now() - began < 15_000, `${Date.now() - began} ms`);
  });
});

describe("a client that hangs up in its upload", { timeout: 60_000 }, () => {
  test("is client-gone in the log, and nothing is forwarded", () =>
    through({}, async (worker, origin) => {
      const spec = { path: freshPath(), key: freshKey() };
      const upload = worker.open({ ...spec, length: 100_000 });
      upload.send(Buffer.alloc(50_000, "x"));
      await new Promise((resolve) => upload.socket.write("", resolve));
      upload.reset();
      await worker.logged(/"outcome":"client-gone","status":499/);
      assert.doesNotMatch(worker.logs, /store-unavailable/);
      assert.equal(origin.count(spec.path), 0);
      isExecuted(await worker.send(spec));
    }));
});

describe("whether to try again", { concurrency: 4, timeout: 60_000 }, () => {
  const routes = [
    { name: "hold", methods: ["POST"], path: "/hold/{*rest}", timeout: "1s" },
    { name: "retry", methods: ["POST"], path: "/retry/{*rest}", on_in_doubt: "retry" },
    { name: "probe", methods: ["POST"], path: "/probe/{*rest}", on_in_doubt: "probe", probe: "/by-key/{key}" },
  ];
  const on = stage({ routes });
  test("a doubt is worth another try where its route asks the origin or sends it again", async () => {
    for (const [name, retryable] of [["hold", false], ["retry", true], ["probe", true]]) {
      const spec = { path: freshPath(`/${name}`), key: freshKey() };
      on.origin.on(spec.path, { reset: true });
      isProblem(await on.worker.send(spec), "outcome-unknown", 502, retryable);
    }
  });
  test("and while the origin's answer is still waited for", async () => {
    const spec = { path: freshPath("/hold"), key: freshKey() };
    const { opened, open } = gate();
    on.origin.on(spec.path, async () => (await opened, { status: 201, body: "late" }));
    const first = await on.worker.send(spec);
    isProblem(first, "outcome-unknown", 504, true);
    assert.equal(first.get("Retry-After"), null, "whoever comes at once joins");
    open();
    const told = await until(async () => {
      const again = await on.worker.send(spec);
      return again.status === 201 && again;
    });
    isReplay(told, told, /replayed|joined/);
    assert.equal(on.origin.count(spec.path), 1);
  });
});
