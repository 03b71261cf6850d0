// Contract 1.3 with its defaults: whose key it is. Nobody reads another's reply, and a credential that changed
// between two tries does not charge twice.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, until } from "./harness.mjs";

const ALICE = { Authorization: "Bearer alice-4f1c" };
const BOB = { Authorization: "Bearer bob-77d2" };

describe("the scope", { concurrency: 8, timeout: 60_000 }, () => {
  const routes = [
    { name: "brief", methods: ["POST"], path: "/brief/{*rest}", ttl: "1s" },
    { name: "usual", methods: ["POST", "PATCH"], path: "/{*rest}" },
  ];
  const on = stage({ routes });

  /** Two requests with one key that must not meet: both are executed, and each is answered from its own record. */
  async function apart(one, other) {
    const key = freshKey();
    const first = await on.worker.send({ key, ...one });
    const second = await on.worker.send({ key, ...other });
    isExecuted(first);
    isExecuted(second);
    isReplay(await on.worker.send({ key, ...one }), first);
    isReplay(await on.worker.send({ key, ...other }), second);
    assert.notEqual(first.text, second.text);
  }
  const twice = (path) => assert.equal(on.origin.count(path), 2);

  test("the same key on another path is another operation", async () => {
    await apart({ path: freshPath() }, { path: freshPath() });
  });
  test("the same key with another method is another operation", async () => {
    const path = freshPath();
    await apart({ path, method: "POST" }, { path, method: "PATCH" });
    twice(path);
  });
  test("the same key on another host is another operation", async () => {
    const path = freshPath();
    await apart({ path, host: "one.example" }, { path, host: "two.example" });
    await apart({ path: freshPath(), host: "one.example" }, { path: freshPath(), host: "one.example:8080" });
    twice(path);
  });
  test("the same key on a path that is only written differently is the same operation", async () => {
    const path = freshPath();
    const key = freshKey();
    const first = await on.worker.send({ key, path });
    isExecuted(first);
    isReplay(await on.worker.send({ key, path: path.replace("payments", "%70aym%65nts") }), first);
    isReplay(await on.worker.send({ key, path: `/v1/../x/./..${path}` }), first);
    isReplay(await on.worker.send({ key, path: `/v1/%2e%2E/x/%2e/..${path}` }), first);
    // The runtime's own URL parser turns backslashes into slashes on the way out, so they must count as such.
    isReplay(await on.worker.send({ key, path: path.replaceAll("/", "\\").replace("\\", "/") }), first);
    assert.equal(on.origin.count(path), 1);
  });
  test("a host that is only written differently is the same host", async () => {
    const path = freshPath();
    const key = freshKey();
    const first = await on.worker.send({ key, path, host: "shop.example" });
    isReplay(await on.worker.send({ key, path, host: "SHOP.Example" }), first);
    assert.equal(on.origin.count(path), 1);
  });
  test("an encoded slash is not a slash", async () => {
    const path = freshPath("/v1/a");
    await apart({ path }, { path: path.replace("/a/", "/a%2F") });
  });
  test("the parts of the scope cannot be shifted into each other", async () => {
    await apart({ path: "/shift/ab", headers: { Authorization: "c" } }, { path: "/shift/a", headers: { Authorization: "bc" } });
  });

  const others = {
    "another Authorization": [ALICE, BOB],
    "another X-Api-Key": [{ "X-Api-Key": "one" }, { "X-Api-Key": "two" }],
    "another X-Api-Key beside the same Authorization": [{ ...ALICE, "X-Api-Key": "one" }, { ...ALICE, "X-Api-Key": "two" }],
    "an Authorization where there was none": [{}, ALICE],
    "no Authorization where there was one": [ALICE, {}],
    "the value of Authorization as X-Api-Key": [{ Authorization: "one" }, { "X-Api-Key": "one" }],
    "another Cookie, where that is all there is": [{ Cookie: "session=one" }, { Cookie: "session=two" }],
    "a Cookie where there was nothing": [{}, { Cookie: "session=one" }],
  };
  for (const [what, [one, other]] of Object.entries(others)) {
    test(`the same key and body with ${what} is refused, neither replayed nor forwarded`, async () => {
      const path = freshPath();
      const key = freshKey();
      const first = await on.worker.send({ key, path, headers: one });
      isExecuted(first);
      const response = await on.worker.send({ key, path, headers: other });
      isProblem(response, "credential-changed");
      assert.doesNotMatch(response.text, new RegExp(first.json.nonce));
      isReplay(await on.worker.send({ key, path, headers: one }), first);
      assert.equal(on.origin.count(path), 1);
    });
    test(`the same key with ${what} and another body is another operation`, async () => {
      const path = freshPath();
      await apart({ path, headers: one, body: '{"amount":1}' }, { path, headers: other, body: '{"amount":2}' });
      twice(path);
    });
  }
  test("a Cookie says nothing where there is a credential", async () => {
    const path = freshPath();
    const key = freshKey();
    const first = await on.worker.send({ key, path, headers: { ...ALICE, Cookie: "visit=1" } });
    isReplay(await on.worker.send({ key, path, headers: { ...ALICE, Cookie: "visit=2" } }), first);
    isReplay(await on.worker.send({ key, path, headers: ALICE }), first);
    assert.equal(on.origin.count(path), 1);
  });
  test("a changed credential is refused at once while the first request runs", async () => {
    const path = freshPath();
    const key = freshKey();
    const { opened, open } = gate();
    on.origin.on(path, async () => (await opened, { status: 201, body: "paid" }));
    const running = on.worker.send({ key, path, headers: ALICE });
    await on.origin.reached(path);
    isProblem(await on.worker.send({ key, path, headers: BOB }), "credential-changed");
    open();
    isExecuted(await running);
    assert.equal(on.origin.count(path), 1);
  });
  test("a changed credential is refused while the outcome is unknown", async () => {
    const path = freshPath();
    const key = freshKey();
    on.origin.on(path, { status: 504, body: "who knows" });
    isUnknown(await on.worker.send({ key, path, headers: ALICE }), 504);
    isProblem(await on.worker.send({ key, path, headers: BOB }), "credential-changed");
    assert.equal(on.origin.count(path), 1);
  });
  test("a changed credential is as good as any where the first try was released", async () => {
    const path = freshPath();
    const key = freshKey();
    on.origin.on(path, (_, n) => ({ status: n === 1 ? 401 : 201, body: String(n) }));
    await on.worker.send({ key, path, headers: ALICE });
    isExecuted(await on.worker.send({ key, path, headers: BOB }));
    twice(path);
  });
  test("a changed credential is forwarded once the record has expired", async () => {
    const path = freshPath("/brief");
    const key = freshKey();
    isExecuted(await on.worker.send({ key, path, headers: ALICE }));
    isProblem(await on.worker.send({ key, path, headers: BOB }), "credential-changed");
    const later = await until(async () => {
      const response = await on.worker.send({ key, path, headers: BOB });
      return response.status === 201 && response;
    });
    isExecuted(later);
    twice(path);
  });
  test("a credential is neither on the disk nor in the log, and a key is not in the log", async () => {
    const secret = `very-secret-${freshKey()}`;
    const seen = freshPath();
    const headers = { Authorization: `Bearer ${secret}`, "X-Api-Key": secret, Cookie: `session=${secret}` };
    const keys = [];
    for (const answer of [{ status: 201 }, { status: 429 }, { status: 504 }, { reset: true }, { status: 999 }]) {
      on.origin.on(seen, answer);
      keys.push(freshKey());
      for (const body of ["{}", "{}", "[]"]) await on.worker.send({ key: keys.at(-1), path: seen, headers, body });
    }
    assert.equal(on.origin.executions(seen)[0].get("Authorization"), `Bearer ${secret}`);
    const files = readdirSync(on.worker.disk, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    assert.ok(files.some((file) => file.name.endsWith(".sqlite")));
    for (const file of files) assert.equal(readFileSync(path.join(file.parentPath, file.name)).indexOf(secret), -1, file.name);
    for (const hidden of [secret, ...keys]) assert.equal(on.worker.logs.includes(hidden), false);
  });
});
