// Contract 1.4 with its defaults: what makes two requests with one key the same request.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, stage } from "./harness.mjs";

const JSON_TYPE = ["Content-Type", "application/json"];
const body = '{"amount":10}';

describe("the fingerprint", { concurrency: 8, timeout: 60_000 }, () => {
  const on = stage({ routes: [
    { methods: ["POST"], path: "/tenants/{*rest}", fingerprint: { headers: ["X-Tenant"] } },
    { methods: ["POST", "PATCH"] },
  ] });

  async function pair(one, other) {
    const path = freshPath();
    const key = freshKey();
    const spec = ({ query = "", headers = [JSON_TYPE], body: bytes = body }) => ({ key, path: path + query, headers, body: bytes });
    const first = await on.worker.send(spec(one));
    isExecuted(first);
    const second = await on.worker.send(spec(other));
    assert.equal(on.origin.count(path), 1);
    // Refused or not, the record is what it was.
    isReplay(await on.worker.send(spec(one)), first);
    return { first, second };
  }

  const reused = {
    "another body": [{}, { body: '{"amount":11}' }],
    "the same JSON with a blank more": [{}, { body: '{"amount": 10}' }],
    "a body that goes on": [{}, { body: `${body}\n` }],
    "no body where there was one": [{}, { body: "" }],
    "a body where there was none": [{ body: "" }, {}],
    "another query": [{ query: "?a=1" }, { query: "?a=2" }],
    "a query where there was none": [{}, { query: "?a=1" }],
    "the same query in another order": [{ query: "?a=1&b=2" }, { query: "?b=2&a=1" }],
    "another Content-Type": [{}, { headers: [["Content-Type", "text/plain"]] }],
    "no Content-Type": [{}, { headers: [] }],
    "a Content-Encoding": [{}, { headers: [JSON_TYPE, ["Content-Encoding", "gzip"]] }],
    "an If-Match": [{}, { headers: [JSON_TYPE, ["If-Match", '"1"']] }],
    "another If-Match": [{ headers: [JSON_TYPE, ["If-Match", '"1"']] }, { headers: [JSON_TYPE, ["If-Match", '"2"']] }],
    "an If-None-Match": [{}, { headers: [JSON_TYPE, ["If-None-Match", "*"]] }],
    "If-None-Match where it was If-Match": [
      { headers: [JSON_TYPE, ["If-Match", '"1"']] },
      { headers: [JSON_TYPE, ["If-None-Match", '"1"']] },
    ],
    "a Content-Range": [{}, { headers: [JSON_TYPE, ["Content-Range", "bytes 0-12/13"]] }],
    "an X-HTTP-Method-Override": [{}, { headers: [JSON_TYPE, ["X-HTTP-Method-Override", "DELETE"]] }],
  };
  for (const [what, [one, other]] of Object.entries(reused)) {
    test(`${what} under the same key is refused as key-reused`, async () => {
      const { first, second } = await pair(one, other);
      isProblem(second, "key-reused");
      assert.doesNotMatch(second.text, new RegExp(first.json.nonce));
    });
  }

  const same = {
    "another charset parameter": [{}, { headers: [["Content-Type", "application/json; charset=utf-8"]] }],
    "other Accept headers": [
      { headers: [JSON_TYPE, ["Accept", "application/json"], ["Accept-Encoding", "gzip"], ["Accept-Language", "de"]] },
      { headers: [JSON_TYPE, ["Accept", "*/*"], ["Accept-Encoding", "br"]] },
    ],
    "another client, trace and date": [
      { headers: [JSON_TYPE, ["User-Agent", "a/1"], ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]] },
      { headers: [JSON_TYPE, ["User-Agent", "b/2"], ["X-Request-Id", "7"], ["Date", "Sat, 21 Nov 2026 10:00:00 GMT"]] },
    ],
    "the header lines in another order and case": [
      { headers: [JSON_TYPE, ["If-Match", '"1"']] },
      { headers: [["if-match", '"1"'], ["content-type", "application/json"]] },
    ],
  };
  for (const [what, [one, other]] of Object.entries(same)) {
    test(`${what} is still the same request`, async () => {
      const { first, second } = await pair(one, other);
      isReplay(second, first);
    });
  }
  // The runtime replaces such bytes, so that these two would read the same.
  const unreadable = {
    "an If-Match": ["If-Match", '"caf\xe9"', '"caf\xe8"'],
    "a Content-Encoding": ["Content-Encoding", "\xff", "\xfe"],
    "a Content-Type": ["Content-Type", "text/caf\xe9", "text/caf\xe8"],
    "a header that the route compares": ["X-Tenant", "caf\xe9", "caf\xe8"],
  };
  for (const [what, [name, one, other]] of Object.entries(unreadable)) {
    test(`${what} whose bytes are not UTF-8 is refused, and the problem names it`, async () => {
      const [path, key] = [freshPath("/tenants"), freshKey()];
      for (const value of [one, other]) {
        const refused = await on.worker.send({ key, path, headers: [[name, value]], body });
        isProblem(refused, "key-invalid");
        assert.match(refused.json.detail, new RegExp(`header ${name.toLowerCase()} holds bytes that are not UTF-8`));
      }
      assert.equal(on.origin.count(path), 0);
      isExecuted(await on.worker.send({ key, path, headers: [[name, Buffer.from("café").toString("latin1")]], body }));
    });
  }
  test("a parameter of the Content-Type does not count, whatever its bytes are", async () => {
    const [path, key] = [freshPath(), freshKey()];
    const send = (boundary) => on.worker.send({ key, path, headers: [["Content-Type", `multipart/mixed; boundary=${boundary}`]], body });
    const first = await send("\xe9");
    isExecuted(first);
    isReplay(await send("\xe8"), first);
  });
  test("a chunked body is the same body", async () => {
    const path = freshPath();
    const key = freshKey();
    const first = await on.worker.send({ key, path, headers: [JSON_TYPE], body });
    isExecuted(first);
    isReplay(await on.worker.send({ key, path, headers: [JSON_TYPE], chunks: [body.slice(0, 4), body.slice(4)] }), first);
    assert.equal(on.origin.count(path), 1);
  });
});
