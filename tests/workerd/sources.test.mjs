// Contract 1.2: where a key is taken from besides the header Idempotency-Key. The routes compare nothing but the
// key (no body, no query), so two requests to one path are one operation exactly if they have one key.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, stage, start } from "./harness.mjs";

const LITERALS = { dash: "-", two: "--", digits: "25", letter: "D" };
const OURS = ["Idempotency-Status", "Idempotent-Replayed", "Idempotency-Expires", "X-Correlation-Id"];
const DIGITS = "1234567890".repeat(26);

describe("the sources of a key", { concurrency: 8, timeout: 60_000 }, () => {
  const from = (name, ...sources) => ({
    name, methods: ["POST"], path: `/${name}/{*rest}`, key: { from: sources }, fingerprint: { body: "none", query: false },
  });
  const on = stage({
    routes: [
      from("header", "header:X-Operation"),
      from("query", "query:operation"),
      from("body", "body:/order/id"),
      from("deep", "body:/a~1b/1/c~0d"),
      from("template", "header:X-Raw", "template:pay-{header:X-Shop}-{body:/order/id}"),
      from("order", "header:Idempotency-Key", "query:key", "body:/id"),
      from("first", "body:/id", "header:Idempotency-Key"),
      from("child", "header:Idempotency-Key", "header:X-Correlation-Id"),
      { ...from("required", "body:/id"), key: { from: ["body:/id"], required: true } },
      { ...from("small", "body:/id"), request: { max: "1KiB" } },
      ...Object.entries(LITERALS).map(([name, literal]) => from(`literal-${name}`, `template:{query:a}${literal}{query:b}`)),
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
  /** They have two keys, and each is answered from its own record. */
  async function apart(prefix, one, other) {
    const path = freshPath(prefix);
    const [first, second] = [await at(path, one), await at(path, other)];
    isExecuted(first);
    isExecuted(second);
    isReplay(await at(path, one), first);
    isReplay(await at(path, other), second);
    assert.equal(on.origin.count(path), 2);
  }
  async function invalid(prefix, spec) {
    const path = freshPath(prefix);
    isProblem(await at(path, spec), "key-invalid");
    assert.equal(on.origin.count(path), 0);
  }
  /** It has no key and passes as often as it is sent, byte for byte, with no header added on either side. */
  async function none(prefix, spec) {
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
      const names = new Set([...given.map(([name]) => name.toLowerCase()), "host", "content-length", "connection", "transfer-encoding"]);
      assert.deepEqual(seen.headers.map(([name]) => name.toLowerCase()).filter((name) => !names.has(name)), []);
    }
  }
  const order = (id) => ({ body: `{"order":{"id":${id}}}` });
  const operation = (value) => ({ headers: { "X-Operation": value } });
  const query = (values) => ({ query: `?${Object.entries(values).map(([n, v]) => `${n}=${encodeURIComponent(v)}`).join("&")}` });

  test("a header may be the key", async () => {
    await same("/header", operation("op-1"), operation("op-1"));
    await apart("/header", operation("op-1"), operation("op-2"));
    await same("/header", operation("op-1"), { headers: { "x-operation": "op-1", "Idempotency-Key": "another, of no meaning here" } });
    await none("/header", { headers: { "Idempotency-Key": "not-where-it-is-looked-for" } });
  });
  test("a header other than Idempotency-Key may hold every visible character", async () => {
    const all = Array.from({ length: 94 }, (_, n) => String.fromCharCode(0x21 + n)).join("");
    await same("/header", operation(all), operation(all));
    await apart("/header", operation("a,b"), operation("a;b"));
  });
  test("a query parameter may be the key, by its decoded name and value", async () => {
    await same("/query", query({ operation: "op-1" }), { query: "?x=1&%6Fperation=%6Fp-1&y" });
    await apart("/query", query({ operation: "op-1" }), query({ operation: "op-2" }));
    await same("/query", query({ operation: "a&b=c" }), { query: "?operation=a%26b%3Dc" });
    await none("/query", { query: "?Operation=op-1&operations=2" });
  });
  test("a query parameter that is there twice could mean either: refused", () => invalid("/query", { query: "?operation=a&operation=b" }));

  test("a string in the body may be the key, however it is written", async () => {
    await same("/body", order('"ord-1"'), { body: '{ "note": {"id": 7}, "order" : { "lines": [], "id": "\\u006frd\\u002d1" } }' });
    await apart("/body", order('"ord-1"'), order('"ord-2"'));
    await same("/deep", { body: '{"a/b":[0,{"c~d":"k"}]}' }, { body: '{"a/b":["other",{"c~d":"k"},2]}' });
  });
  test("an integer in the body may be the key, as it is written, beyond 2^53 too", async () => {
    await same("/body", order("820982911946154508"), order('"820982911946154508"'));
    await apart("/body", order("9007199254740992"), order("9007199254740993"));
    await apart("/body", order(DIGITS.slice(0, 60)), order(`${DIGITS.slice(0, 59)}1`));
    await same("/body", order("-7"), order('"-7"'));
  });
  const keyless = {
    "no JSON": "order=7", "an empty body": "", "JSON that breaks off": '{"order":{"id":"a"}', "JSON and something more": '{"order":{"id":"a"}} x',
    "bytes that are not UTF-8": Buffer.from('{"order":{"id":"a"},"x":"\xff"}', "latin1"), "another member": '{"order":{"ID":"a"}}',
    "no object where one is named": '{"order":"id"}', "a list": '[{"order":{"id":"a"}}]', "null": '{"order":{"id":null}}', "true": '{"order":{"id":true}}',
    "a decimal": '{"order":{"id":1.0}}', "an exponent": '{"order":{"id":1e3}}', "an object": '{"order":{"id":{"id":"a"}}}', "an array": '{"order":{"id":["a"]}}',
  };
  const twice = {
    "a member that is there twice": '{"order":{"id":"a","id":"b"}}', "a member that is there twice and equal": '{"order":{"id":"a","id":"a"}}',
    "a member that is there twice in two spellings": '{"order":{"id":"a","\\u0069d":"b"}}', "a member on the way that is there twice": '{"order":{"id":"a"},"order":{"id":"a"}}',
  };
  for (const [what, body] of Object.entries(twice)) {
    test(`a body with ${what} could mean either: refused`, () => invalid("/body", { body }));
  }
  for (const [what, body] of Object.entries(keyless)) {
    test(`a body with ${what} yields no key and passes byte for byte`, () => none("/body", { body }));
  }
  test("a body without a key passes byte for byte whatever its size, framing and coding, and so does the answer", async () => {
    const bytes = randomBytes(3 * 1024 * 1024);
    await none("/body", { body: bytes, headers: { "Content-Type": "application/octet-stream", "X-Name": "caf\xe9" } });
    await none("/body", { chunks: [bytes.subarray(0, 10), bytes.subarray(10, 200_000)] });
    await none("/body", { body: zlib.gzipSync('{"order":{"id":"a"}}'), headers: { "Content-Encoding": "gzip" } });
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
    const path = freshPath("/small");
    const big = JSON.stringify({ note: "x".repeat(1024), id: "a" });
    for (const spec of [{ body: big }, { chunks: [big.slice(0, 500), big.slice(500)] }]) isProblem(await at(path, spec), "request-too-large");
    assert.equal(on.origin.count(path), 0);
  });

  for (const [where, send] of Object.entries({ header: operation, query: (value) => query({ operation: value }), body: (value) => order(JSON.stringify(value)) })) {
    test(`a ${where} of 1 to 255 visible ASCII characters is a key, anything else is refused`, async () => {
      await same(`/${where}`, send("7"), send("7"));
      await apart(`/${where}`, send("k".repeat(255)), send("k".repeat(254)));
      for (const value of ["", "k".repeat(256), "two words"]) await invalid(`/${where}`, send(value));
      for (const value of where === "header" ? ["caf\xe9", "a\tb", "a, b"] : ["café", "a\nb", "a\u007f", "\u0000", "ключ"]) await invalid(`/${where}`, send(value));
    });
  }
  test("an integer of more than 255 digits is refused", () => invalid("/body", order(DIGITS.slice(0, 256))));
  test("two header lines of one name are refused", async () => {
    for (const other of ["a", "b"]) await invalid("/header", { headers: [["X-Operation", "a"], ["X-Operation", other]] });
  });

  const shop = (name, id) => ({ headers: { "X-Shop": name }, ...order(JSON.stringify(id)) });
  test("a template makes one key of its literals and values", async () => {
    await same("/template", shop("acme", "7"), shop("acme", "7"));
    await same("/template", shop("acme", "7"), { headers: { "X-Raw": "pay-acme-7" } });
    await same("/template", shop("a-b%", "c"), { headers: { "X-Raw": "pay-a%2Db%25-c" } });
    for (const other of [shop("acme", "8"), shop("acme2", "7"), shop("7", "acme")]) await apart("/template", shop("acme", "7"), other);
  });
  test("a template with a missing part yields no key", async () => {
    await none("/template", { ...order('"7"') });
    await none("/template", { headers: { "X-Shop": "acme" }, body: "{}" });
    await none("/template", { headers: { "X-Shop": "acme" }, body: "not JSON" });
  });
  test("a template's value is held to the same grammar", async () => {
    for (const spec of [shop("two words", "7"), shop("acme", "é"), shop("s".repeat(200), "7".repeat(60))]) await invalid("/template", spec);
  });
  for (const [name, literal] of Object.entries(LITERALS)) {
    test(`no two sets of values give one key, whatever of the literal "${literal}" they hold`, async () => {
      const path = freshPath(`/literal-${name}`);
      const parts = [...new Set([literal[0], "%", "25"])];
      const more = [`y${literal}z`, `y${literal}`, "y%z", "25y%z", "25z", "2Dy", "y", "z"];
      const values = [...new Set([...parts, ...parts.flatMap((one) => parts.map((other) => one + other)), ...more])];
      const pairs = values.flatMap((a) => values.map((b) => ({ a, b })));
      const seen = new Map();
      for (const pair of pairs) {
        const response = await at(path, query(pair));
        const twin = seen.get(response.text);
        assert.ok(!twin, `${JSON.stringify(pair)} has the key of ${JSON.stringify(twin)}`);
        assert.equal(response.get("Idempotency-Status"), "executed");
        seen.set(response.text, pair);
      }
      assert.equal(on.origin.count(path), pairs.length);
    });
  }

  for (const template of ["template:{query:a}%{query:b}", "template:pay-{query:a}-%2D{query:b}"]) {
    test(`a template with a % between two values cannot keep them apart and is refused: ${template}`, async () => {
      const worker = await start({ origin: on.origin, routes: [from("refused", template)] });
      try {
        isProblem(await worker.send({ path: "/refused/1", ...query({ a: "x", b: "y" }) }), "misconfigured");
        assert.match(worker.logs, /key\.from/);
      } finally {
        await worker.stop();
      }
    });
  }

  test("the sources are tried in the route's order, and the first that yields a key counts", async () => {
    const all = (header, inQuery, inBody) => ({
      headers: header ? { "Idempotency-Key": header } : {}, query: inQuery ? `?key=${inQuery}` : "", body: inBody ? `{"id":"${inBody}"}` : "{}",
    });
    await same("/order", all("h", "q", "b"), all("h", "other", "another"));
    await same("/order", all("", "q", "b"), all("", "q", "another"));
    await same("/order", all("", "q", ""), all("", "", "q"));
    await apart("/order", all("h", "q", "b"), all("", "q", "b"));
    await none("/order", all("", "", ""));
    await same("/first", all("h", "", "b"), all("other", "", "b"));
    await same("/first", all("h", "", ""), all("", "", "h"));
    await apart("/first", all("h", "", "b"), all("h", "", ""));
  });
  test("an invalid key is refused even where a later source has a valid one", async () => {
    await invalid("/order", { headers: { "Idempotency-Key": "" }, query: "?key=q" });
    await invalid("/order", { query: "?key=", body: '{"id":"b"}' });
    await invalid("/first", { headers: { "Idempotency-Key": "h" }, body: '{"id":"two words"}' });
  });
  test("the grammar of Idempotency-Key holds wherever in the list it stands", async () => {
    const key = freshKey();
    for (const prefix of ["/order", "/first"]) {
      await same(prefix, { headers: { "Idempotency-Key": key } }, { headers: { "Idempotency-Key": `"${key}";v=1` } });
      for (const value of ["a,b", "a;b", 'a"b', "a\\b", '"a', "k".repeat(256)]) await invalid(prefix, { headers: { "Idempotency-Key": value } });
    }
  });
  test("a route that requires a key of the body refuses a request without one, and takes one with it", async () => {
    const path = freshPath("/required");
    for (const body of ["{}", "not JSON", '{"id":null}', ""]) isProblem(await at(path, { body }), "key-missing");
    assert.equal(on.origin.count(path), 0);
    await invalid("/required", { body: '{"id":""}' });
    await same("/required", { body: '{"id":"a"}' }, { body: '{"id":"a","more":1}' });
  });
  test("a child call inherits its parent's key with the correlation id", async () => {
    const parent = freshPath("/child");
    isExecuted(await at(parent, { key: freshKey() }));
    const id = on.origin.executions(parent)[0].get("X-Correlation-Id");
    await same("/child", { headers: { "X-Correlation-Id": id } }, { headers: { "X-Correlation-Id": id } });
    await apart("/child", { headers: { "X-Correlation-Id": id } }, { headers: { "X-Correlation-Id": `${id}-2` } });
  });
});
