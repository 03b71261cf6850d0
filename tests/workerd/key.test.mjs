// Contract 1.2: what a key is, for the default source, the header Idempotency-Key.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, stage, start, startOrigin } from "./harness.mjs";

describe("the key", { concurrency: 8, timeout: 60_000 }, () => {
  const routes = [
    { name: "strict", methods: ["POST"], path: "/strict/{*rest}", key: { required: true } },
    { name: "usual", methods: ["POST"], path: "/{*rest}" },
  ];
  const on = stage({ routes });

  /** Sends both; they are one key if the second is answered from the record of the first. */
  async function sameKey(one, other) {
    const path = freshPath();
    const first = await on.worker.send({ path, key: one });
    isExecuted(first);
    isReplay(await on.worker.send({ path, key: other }), first);
    assert.equal(on.origin.count(path), 1);
  }
  async function otherKey(one, other) {
    const path = freshPath();
    const first = await on.worker.send({ path, key: one });
    const second = await on.worker.send({ path, key: other });
    isExecuted(first);
    isExecuted(second);
    assert.equal(on.origin.count(path), 2);
    assert.notEqual(first.text, second.text);
  }

  test("the quoted and the bare form of a key are one key", async () => {
    const key = freshKey();
    await sameKey(key, `"${key}"`);
    await sameKey(`"${key}"`, key);
  });
  test("parameters after a quoted key are ignored", async () => {
    const key = freshKey();
    await sameKey(`"${key}"`, `"${key}";v=1`);
    await sameKey(`"${key}";expires=60;by="me, myself"`, key);
    await sameKey(`"${key}"; v=1;  w`, key);
  });
  test("an escaped quote and an escaped backslash are part of a quoted key", async () => {
    await sameKey(String.raw`"a\"b\\c"`, String.raw`"a\"b\\c";v=1`);
    await otherKey(String.raw`"a\"b"`, String.raw`"a\\b"`);
    await otherKey(String.raw`"a\\b"`, `"ab"`);
  });
  test("blanks around a key are not part of it", async () => {
    const key = freshKey();
    await sameKey(key, `  ${key}\t `);
  });
  test("a key may be a single character, or 255 of them", async () => {
    await sameKey("7", '"7"');
    const longest = "k".repeat(255);
    await sameKey(longest, `"${longest}"`);
  });
  test("the length of a quoted key counts after unescaping", async () => {
    const quotes = `"${String.raw`\"`.repeat(255)}"`;
    await sameKey(quotes, `${quotes};v=1`);
  });
  test("a bare key may hold every visible character but quote, comma, semicolon and backslash", async () => {
    let all = "";
    for (let code = 0x21; code < 0x7f; code++) if (!'",;\\'.includes(String.fromCharCode(code))) all += String.fromCharCode(code);
    assert.equal(all.length, 90);
    await sameKey(all, `"${all}"`);
  });
  test("a quoted key may hold comma and semicolon", async () => {
    await otherKey('"a,b;c"', '"a,b"');
  });
  test("keys differ by case", async () => {
    await otherKey("order-a", "order-A");
  });
  test("two keys with the same payload are two operations", async () => {
    await otherKey(freshKey(), freshKey());
  });

  const invalid = {
    "an empty value": "",
    "an empty quoted string": '""',
    "an empty quoted string with parameters": '"";v=1',
    "256 bare characters": "k".repeat(256),
    "256 quoted characters": `"${"k".repeat(256)}"`,
    "256 characters after unescaping": `"${String.raw`\\`.repeat(256)}"`,
    "a string that is not terminated": '"abc',
    "a string whose closing quote is escaped": String.raw`"abc\"`,
    "a lone quote": '"',
    "a string that ends in a backslash": '"abc\\',
    "an escape of something else than quote or backslash": String.raw`"a\bc"`,
    "text after the string": '"abc"def',
    "two strings": '"abc" "def"',
    "a list of two strings": '"abc", "def"',
    "a bare key with a quote inside": 'ab"c',
    "a bare key with a quote at its end": 'abc"',
    "a bare key with a comma": "abc,def",
    "a bare key with a semicolon": "abc;v=1",
    "a bare key with a backslash": "abc\\def",
    "a bare key with a blank inside": "abc def",
    "a bare key with a tab inside": "abc\tdef",
    "a quoted key with a tab inside": '"abc\tdef"',
    "a control character": "abc\x01def",
    "a control character in a string": '"abc\x1fdef"',
    "the delete character": "abc\x7f",
    "the delete character in a string": '"abc\x7f"',
    "a Latin-1 character": "caf\xe9",
    "a Latin-1 character in a string": '"caf\xe9"',
    "a UTF-8 character": Buffer.from("café").toString("latin1"),
    "a UTF-8 character in a string": `"${Buffer.from("€").toString("latin1")}"`,
    "a stray parameter sign": ";",
  };
  for (const [what, key] of Object.entries(invalid)) {
    test(`${what} is no key: refused and not forwarded`, async () => {
      for (const path of [freshPath(), freshPath("/strict")]) {
        isProblem(await on.worker.send({ path, key }), "key-invalid");
        assert.equal(on.origin.count(path), 0);
      }
    });
  }
  for (const [what, lines] of Object.entries({ different: ["one", "two"], equal: ["one", "one"], quoted: ['"one"', '"two"'] })) {
    test(`two header lines with ${what} keys are no key: refused and not forwarded`, async () => {
      const path = freshPath();
      const headers = lines.map((line) => ["Idempotency-Key", line]);
      isProblem(await on.worker.send({ path, headers }), "key-invalid");
      assert.equal(on.origin.count(path), 0);
    });
  }

  test("without a key a request passes, where the route does not require one", async () => {
    const path = freshPath();
    for (let n = 1; n <= 2; n++) {
      const response = await on.worker.send({ path });
      assert.equal(response.status, 201);
      assert.equal(response.get("Idempotency-Status"), null);
      assert.equal(on.origin.count(path), n);
    }
  });
  test("without a key a request is refused, where the route requires one", async () => {
    const path = freshPath("/strict");
    isProblem(await on.worker.send({ path }), "key-missing");
    assert.equal(on.origin.count(path), 0);
    isExecuted(await on.worker.send({ path, key: freshKey() }));
  });
});

test("a request with an invalid or missing key leaves nothing on the disk", { timeout: 60_000 }, async () => {
  const origin = await startOrigin();
  const worker = await start({ origin, routes: [{ name: "all", methods: ["POST"], path: "/{*rest}", key: { required: true } }] });
  try {
    const objects = () => readdirSync(worker.disk, { recursive: true }).filter((file) => /^ledger\/[0-9a-f]{64}\.sqlite$/.test(file));
    for (const key of ["", '"', "a,b", "k".repeat(256)]) isProblem(await worker.send({ path: "/x", key }), "key-invalid");
    isProblem(await worker.send({ path: "/x" }), "key-missing");
    assert.deepEqual(objects(), []);
    isExecuted(await worker.send({ path: "/x", key: freshKey() }));
    assert.notDeepEqual(objects(), [], "a key that is executed is on the disk");
  } finally {
    await worker.stop();
    origin.close();
  }
});
