// Contract 1.2: what a key is and where it is taken from. tests/host/key.rs has the grammar row by row,
// tests/host/source.rs the sources. Here is each source once, and what only bytes on a connection can show.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, stage, through } from "./harness.mjs";

const OURS = ["Idempotency-Status", "Idempotent-Replayed", "Idempotency-Expires", "X-Correlation-Id"];

describe("the key", { concurrency: 8, timeout: 60_000 }, () => {
  // Nothing but the key is compared, so two requests to one path are one operation exactly if they have one key.
  const from = (name, sources, more) => ({
    name, methods: ["POST"], path: `/${name}/{*rest}`, key: { from: sources, ...more }, fingerprint: { body: "none", query: false },
  });
  const on = stage({
    routes: [
      from("usual", ["header:Idempotency-Key"]),
      from("header", ["header:X-Operation"]),
      from("query", ["query:operation"]),
      from("body", ["body:/order/id"]),
      from("template", ["header:X-Raw", "template:pay-{header:X-Shop}-{body:/order/id}"]),
      from("order", ["header:Idempotency-Key", "query:key", "body:/id"]),
      from("child", ["header:Idempotency-Key", "header:X-Correlation-Id"]),
      from("form", ["form:order"]),
      from("form-template", ["template:pay-{header:X-Shop}-{form:order}"]),
      from("form-required", ["form:order"], { required: true }),
      from("required", ["body:/id"], { required: true }),
      { ...from("small", ["body:/id"]), request: { max: "1KiB" } },
    ],
  });
  const at = (path, { query = "", ...spec }) => on.worker.send({ body: "{}", ...spec, path: path + query });

  /** Both have one key: the second is answered from the record of the first. */
  async function same(prefix, one, other) {
    const path = freshPath(prefix);
    const first = await at(path, one);
    isExecuted(first);
    isReplay(await at(path, other), first);
    assert.equal(on.origin.count(path), 1);
  }
  /** They have two keys. */
  async function apart(prefix, one, other) {
    const path = freshPath(prefix);
    isExecuted(await at(path, one));
    isExecuted(await at(path, other));
    assert.equal(on.origin.count(path), 2);
  }
  async function refused(prefix, spec, code = "key-invalid") {
    const path = freshPath(prefix);
    isProblem(await at(path, spec), code);
    assert.equal(on.origin.count(path), 0);
  }
  /** It has no key and passes as often as it is sent, byte for byte, with no header added on either side. */
  async function passes(prefix, spec) {
    const path = freshPath(prefix);
    for (let n = 1; n <= 2; n++) {
      const response = await at(path, spec);
      assert.equal(response.status, 201, response.text);
      for (const name of OURS) assert.equal(response.get(name), null);
      assert.equal(on.origin.count(path), n);
      const seen = on.origin.executions(path)[n - 1];
      const sent = spec.chunks ? Buffer.concat(spec.chunks.map((part) => Buffer.from(part))) : Buffer.from(spec.body ?? "{}");
      assert.ok(seen.body.equals(sent), `${seen.body.length} bytes for ${sent.length}, or others`);
      const given = Object.entries(spec.headers ?? {});
      for (const [name, value] of given) assert.deepEqual(seen.all(name), [value]);
      const names = new Set([...given.map(([name]) => name.toLowerCase()), "host", "content-length", "connection", "transfer-encoding", "cdn-loop"]);
      assert.deepEqual(seen.headers.map(([name]) => name.toLowerCase()).filter((name) => !names.has(name)), []);
    }
  }
  const operation = (value) => ({ headers: { "X-Operation": value } });
  const order = (id) => ({ body: `{"order":{"id":${id}}}` });

  test("the quoted and the bare form of a key, with parameters or blanks, are one key", async () => {
    const key = freshKey();
    await same("/usual", { key }, { key: `"${key}"` });
    await same("/usual", { key: `"${key}"; v=1;  w` }, { key: `  ${key}\t ` });
    const quotes = `"${String.raw`\"`.repeat(255)}"`;
    await same("/usual", { key: quotes }, { key: `${quotes};v=1` });
    await apart("/usual", { key: "order-a" }, { key: "order-A" });
  });
  for (const [what, key] of Object.entries({
    "an empty value": "",
    "256 characters": "k".repeat(256),
    "a string that does not end": '"abc',
    "a list": '"abc", "def"',
    "a blank inside": "abc def",
    "a control character": "abc\x01def",
    "a Latin-1 character": "caf\xe9",
    "a UTF-8 character in quotes": `"${Buffer.from("€").toString("latin1")}"`,
  })) {
    test(`a key with ${what} is refused and not forwarded`, () => refused("/usual", { key }));
  }
  test("two header lines with keys are refused, whether they are equal or not", async () => {
    for (const lines of [["one", "two"], ["one", "one"], ['"one"', '"two"']]) {
      await refused("/usual", { headers: lines.map((line) => ["Idempotency-Key", line]) });
    }
  });
  test("without a key a request passes, unless the route requires one", async () => {
    await passes("/usual", {});
    for (const body of ["{}", "not JSON", '{"id":null}', ""]) await refused("/required", { body }, "key-missing");
    await refused("/required", { body: '{"id":""}' });
    await same("/required", { body: '{"id":"a"}' }, { body: '{"id":"a","more":1}' });
  });

  test("another header may be the key, with any visible character", async () => {
    const all = Array.from({ length: 94 }, (_, n) => String.fromCharCode(0x21 + n)).join("");
    await same("/header", operation(all), { headers: { "x-operation": all, "Idempotency-Key": "not looked at" } });
    await apart("/header", operation("op-1"), operation("op-2"));
    await refused("/header", operation("two words"));
    await passes("/header", { headers: { "Idempotency-Key": "not looked at" } });
  });
  test("a query parameter may be the key, by its decoded name and value", async () => {
    await same("/query", { query: "?operation=op-1" }, { query: "?x=1&%6Fperation=%6Fp-1&y" });
    await refused("/query", { query: "?operation=a&operation=b" });
    await refused("/query", { query: "?operation=%C3%A9" });
    await passes("/query", { query: "?Operation=op-1" });
  });
  test("a string or an integer in the body may be the key", async () => {
    await same("/body", order('"ord-1"'), { body: '{ "note": {"id": 7}, "order" : { "id": "\\u006frd\\u002d1" } }' });
    await same("/body", order("820982911946154508"), { chunks: ['{"order":{"id":"8209', '82911946154508"}}'] });
    await apart("/body", order("9007199254740992"), order("9007199254740993"));
    await refused("/body", { body: '{"order":{"id":"a","\\u0069d":"b"}}' });
    await refused("/body", order('"é"'));
  });
  test("a field of a form may be the key, decoded once, and in no other body", async () => {
    const form = (body, more = {}) => ({ body, headers: { "Content-Type": "application/x-www-form-urlencoded", ...more } });
    await same("/form", form("order=a%2Bb&amount=10"), form("amount=20&%6Frder=%61%2Bb", { "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8" }));
    await apart("/form", form("order=a%252Bb"), form("order=a%2Bb"));
    await refused("/form", form("order=a&order=a"));
    await refused("/form", form("order="));
    await refused("/form", form("order=a+b"));
    await passes("/form", form("amount=10"));
    await passes("/form", { body: "order=a", headers: { "Content-Type": "text/plain" } });
    await same("/form-template", form("order=7&x=1", { "X-Shop": "acme" }), form("x=2&order=7", { "X-Shop": "acme" }));
    await refused("/form-required", form("amount=10"), "key-missing");
  });
  test("a byte order mark before a JSON body is skipped in reading and forwarded", async () => {
    const marked = Buffer.from('\ufeff{"order":{"id":"marked"}}');
    await same("/body", { body: marked }, { body: '{"order":{"id":"marked"}}' });
    const path = freshPath("/body");
    isExecuted(await at(path, { body: marked }));
    assert.ok(on.origin.executions(path)[0].body.equals(marked));
  });
  test("where the body is the source of the key and cannot be read, the problem or the log says so", async () => {
    for (const [what, path, spec, why] of [
      ["text", "/body", { body: "order=7" }, "it is not JSON"],
      ["gzip", "/body", { body: zlib.gzipSync('{"order":{"id":"a"}}'), headers: { "Content-Encoding": "gzip" } }, "it is coded \\(Content-Encoding: gzip\\)"],
      ["utf-16", "/body", { body: Buffer.from('{"order":{"id":"a"}}', "utf16le"), headers: { "Content-Type": "application/json; charset=utf-16le" } }, "its charset is utf-16le, and not UTF-8"],
      ["json", "/form", { body: "{}", headers: { "Content-Type": "application/json" } }, "it is application/json, and not application/x-www-form-urlencoded"],
    ]) {
      const id = `unread-${what}-${freshKey()}`;
      const passed = await at(freshPath(path), { ...spec, headers: { ...spec.headers, "X-Correlation-Id": id } });
      assert.deepEqual([passed.status, passed.get("Idempotency-Status")], [201, null], what);
      await on.worker.logged(new RegExp(`"outcome":"passed","why":"[^"]*cannot be read: ${why}"[^}]*"correlation_id":"${id}"`));
      const required = { "/body": "/required", "/form": "/form-required" }[path];
      const problem = await at(freshPath(required), spec);
      isProblem(problem, "key-missing");
      assert.match(problem.json.detail, new RegExp(why), what);
    }
  });
  test("an empty key is refused, and the problem says how a client has none", async () => {
    const problem = await at(freshPath("/usual"), { key: "" });
    isProblem(problem, "key-invalid");
    assert.match(problem.json.detail, /leaves the header or field out/);
  });
  test("a body without a key passes byte for byte, whatever its size, framing and coding, and so does the answer", async () => {
    const bytes = randomBytes(3 * 1024 * 1024);
    for (const body of ["order=7", "", '{"order":{"id":"a"}', Buffer.from('{"order":{"id":"a"},"x":"\xff"}', "latin1"), '{"order":{"id":1.0}}']) {
      await passes("/body", { body });
    }
    await passes("/body", { body: bytes, headers: { "Content-Type": "application/octet-stream", "X-Name": "caf\xe9" } });
    await passes("/body", { chunks: [bytes.subarray(0, 10), bytes.subarray(10, 200_000)] });
    await passes("/body", { body: zlib.gzipSync('{"order":{"id":"a"}}'), headers: { "Content-Encoding": "gzip" } });
    const path = freshPath("/body");
    const coded = zlib.gzipSync(randomBytes(50_000));
    const headers = [["Content-Encoding", "gzip"], ["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"], ["Idempotency-Status", "mine"], ["Location", "/elsewhere"]];
    on.origin.on(path, { status: 307, headers, body: coded });
    const response = await at(path, { body: "no key", headers: { "Accept-Encoding": "gzip" } });
    assert.equal(response.status, 307);
    assert.ok(response.body.equals(coded));
    for (const [name] of headers) assert.deepEqual(response.all(name), headers.filter(([n]) => n === name).map(([, v]) => v));
  });
  test("a body that is too large to look for its key is refused, not passed unguarded", async () => {
    const big = JSON.stringify({ note: "x".repeat(1024), id: "a" });
    for (const spec of [{ body: big }, { chunks: [big.slice(0, 500), big.slice(500)] }]) await refused("/small", spec, "request-too-large");
  });
  test("a template makes one key of its literals and values, and no key where a part is missing", async () => {
    const shop = (name, id) => ({ headers: { "X-Shop": name }, ...order(JSON.stringify(id)) });
    await same("/template", shop("a-b%", "c"), { headers: { "X-Raw": "pay-a%2Db%25-c" } });
    for (const other of [shop("acme", "8"), shop("acme2", "7"), shop("7", "acme")]) await apart("/template", shop("acme", "7"), other);
    await refused("/template", shop("two words", "7"));
    await passes("/template", order('"7"'));
    await passes("/template", { headers: { "X-Shop": "acme" }, body: "not JSON" });
  });
  test("the first source that yields a key counts, and an invalid key there is refused", async () => {
    const all = (header, inQuery, inBody) => ({
      headers: header ? { "Idempotency-Key": header } : {}, query: inQuery ? `?key=${inQuery}` : "", body: inBody ? `{"id":"${inBody}"}` : "{}",
    });
    await same("/order", all("h", "q", "b"), all('"h"', "other", "another"));
    await same("/order", all("", "q", "b"), all("", "q", "another"));
    await same("/order", all("", "q", ""), all("", "", "q"));
    await apart("/order", all("h", "q", "b"), all("", "q", "b"));
    await passes("/order", all("", "", ""));
    await refused("/order", { headers: { "Idempotency-Key": "" }, query: "?key=q" });
    await refused("/order", { query: "?key=", body: '{"id":"b"}' });
  });
  test("a child call inherits its parent's key with the correlation id", async () => {
    const parent = freshPath("/child");
    isExecuted(await at(parent, { key: freshKey() }));
    const id = on.origin.executions(parent)[0].get("X-Correlation-Id");
    await same("/child", { headers: { "X-Correlation-Id": id } }, { headers: { "X-Correlation-Id": id } });
    await apart("/child", { headers: { "X-Correlation-Id": id } }, { headers: { "X-Correlation-Id": `${id}-2` } });
  });
});

test("a request with an invalid or missing key leaves nothing on the disk", { timeout: 60_000 }, () =>
  through({ routes: [{ name: "all", methods: ["POST"], path: "/{*rest}", key: { required: true } }] }, async (worker) => {
    const objects = () => readdirSync(worker.disk, { recursive: true }).filter((file) => /^ledger\/[0-9a-f]{64}\.sqlite$/.test(file));
    for (const key of ["", '"', "a,b", "k".repeat(256)]) isProblem(await worker.send({ path: "/x", key }), "key-invalid");
    isProblem(await worker.send({ path: "/x" }), "key-missing");
    assert.deepEqual(objects(), []);
    isExecuted(await worker.send({ path: "/x", key: freshKey() }));
    assert.notDeepEqual(objects(), [], "a key that is executed is on the disk");
  }));
