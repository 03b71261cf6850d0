// Contract 1.4: which parts of two requests under one key must agree for one to be the other's retry.
// tests/host/digest.rs has every header and every rule of the body, tests/host/source.rs which JSON has a canonical
// form. Here is each part once, and bodies as they come over a connection.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { operation, stage } from "./harness.mjs";

const TYPE = ["Content-Type", "application/json"];
const latin1 = (text) => Buffer.from(text, "latin1");
const pair = { amount: 10, currency: "eur" };
const json = JSON.stringify(pair);

describe("the fingerprint", { concurrency: 8, timeout: 60_000 }, () => {
  const rule = (name, fingerprint) => ({ name, methods: ["POST", "PATCH"], path: `/${name}/{*rest}`, fingerprint });
  const on = stage({
    routes: [
      rule("usual"),
      rule("json", { body: "json" }),
      rule("pointers", { body: ["/amount", "/lines/1/price~1net"] }),
      rule("marked", { body: ["/amount", "/currency", "/note?"] }),
      rule("except", { except: ["/sdkData/createdAt", "/requestId"] }),
      rule("none", { body: "none" }),
      rule("headers", { headers: ["X-Tenant"] }),
      rule("queryless", { query: false }),
    ],
  });

  async function both(prefix, one, other) {
    const it = operation(on, `/${prefix}`);
    const send = (said) => {
      const { query = "", ...spec } = typeof said === "string" || Buffer.isBuffer(said) ? { body: said } : said;
      return it.send({ headers: [TYPE], body: json, ...spec, path: it.path + query });
    };
    const first = await send(one);
    isExecuted(first);
    const second = await send(other);
    assert.equal(it.count(), 1);
    // Refused or not, the record is what it was.
    isReplay(await send(one), first);
    return { first, second };
  }
  const same = (prefix, what, one, other) => test(`/${prefix}: ${what} is the same request`, async () => {
    const { first, second } = await both(prefix, one, other);
    isReplay(second, first);
  });
  const reused = (prefix, what, one, other) => test(`/${prefix}: ${what} is another request`, async () => {
    const { first, second } = await both(prefix, one, other);
    isProblem(second, "key-reused");
    assert.doesNotMatch(second.text, new RegExp(first.json.nonce));
  });

  reused("usual", "another body", json, `${json} `);
  reused("usual", "an empty body", json, "");
  reused("usual", "another query", { query: "?a=1&b=2" }, { query: "?b=2&a=1" });
  reused("usual", "another Content-Type", {}, { headers: [["Content-Type", "text/plain"]] });
  for (const name of [
    "Content-Encoding", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range", "Content-Range",
    "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
  ]) {
    reused("usual", `another ${name}`, {}, { headers: [TYPE, [name, "other"]] });
  }
  same("usual", "another charset", {}, { headers: [["Content-Type", "application/json; charset=utf-8"]] });
  same("usual", "a chunked body", json, { body: undefined, chunks: [json.slice(0, 4), json.slice(4)] });
  same(
    "usual", "another client, trace and date, in other header lines",
    { headers: [TYPE, ["Accept", "application/json"], ["Accept-Encoding", "gzip"], ["User-Agent", "a/1"], ["If-Match", "1"]] },
    { headers: [["if-match", "1"], ["User-Agent", "b/2"], ["Accept", "*/*"], ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], TYPE] },
  );

  same("json", "another spelling of the same JSON", '{"n":[100,1.5,0],"s":"Zoë / \\"€\\" 😀"}', '{ "s" : "Zo\\u00eb \\/ \\u0022€\\u0022 \\uD83D\\uDE00", "n":[1e2,1.50,-0]\n}');
  same("json", "a chunked body in another order", json, { body: undefined, chunks: ['{"currency":"eur",', ' "amount":10}'] });
  const big = (blank) => `{"list":[${`{"n":1,${blank}"s":"x"},`.repeat(40_000)}0]}`;
  same("json", "a body behind a byte order mark", '\ufeff{"a":1}', '{"a":1.0}');
  same("json", "a body of a megabyte with other white space", big(""), big(" "));
  reused("json", "another amount", json, JSON.stringify({ ...pair, amount: 10.01 }));
  reused("json", "the same JSON of another media type", {}, { headers: [["Content-Type", "text/plain"]] });
  // What two readers may read differently is compared byte by byte.
  const unsafe = {
    "members that are there twice": ['{"a":1,"a":2}', '{"a":2}'],
    "integers beyond 2^53": ["[9007199254740993]", "[9007199254740992]"],
    "a lone surrogate and what replaces it": [String.raw`["\ud800"]`, String.raw`["\ufffd"]`],
    "bytes that are not UTF-8": [latin1('["\xff"]'), latin1('["\xfe"]')],
    "two byte order marks": ["\ufeff\ufeff{}", "{}"],
    "a form": ["amount=10", "amount= 10"],
    "nesting 5,000 deep": [`${"[".repeat(5_000)}${"]".repeat(5_000)}`, `${"[".repeat(5_000)} ${"]".repeat(5_000)}`],
    "a million values": [`[ ${"1,".repeat(1_000_000)}1]`, `[${"1,".repeat(1_000_000)}1]`],
  };
  for (const [what, [one, other]] of Object.entries(unsafe)) {
    reused("json", `another body with ${what}`, one, other);
    same("json", `the same body with ${what}`, one, one);
  }
  const zipped = (text) => ({ body: zlib.gzipSync(text), headers: [TYPE, ["Content-Encoding", "gzip"]] });
  reused("json", "a compressed body in another order", zipped('{"a":1,"b":2}'), zipped('{"b":2,"a":1}'));

  const lines = (note, net) => JSON.stringify({ note, amount: 10, lines: [0, { "price/net": net }] });
  same("pointers", "another note", lines("a", 2), lines("b", 2));
  reused("pointers", "another price", lines("a", 2), lines("a", 3));
  reused("pointers", "a form", "amount=10&note=a", "amount=10&note=b");
  // A body in which one of them names nothing is compared raw.
  reused("marked", "another total where neither is named", '{"total":5}', '{"total":500}');
  reused("marked", "another total where one is named", '{"currency":"eur","total":5}', '{"currency":"eur","total":500}');
  reused("marked", "another amount in other letters", '{"Amount":5,"currency":"eur"}', '{"Amount":6,"currency":"eur"}');
  same("marked", "the same bytes where neither is named", '{"total":5}', '{"total":5}');
  same("marked", "another member beside those named, without the one that may be absent", '{"amount":5,"currency":"eur","at":1}', '{"at":2,"currency":"eur","amount":5}');
  reused("marked", "a note where there was none", '{"amount":5,"currency":"eur"}', '{"amount":5,"currency":"eur","note":"a"}');
  reused("marked", "a note that is null where there was none", '{"amount":5,"currency":"eur"}', '{"amount":5,"currency":"eur","note":null}');
  const sdk = (createdAt, amount = 10) => JSON.stringify({ amount, sdkData: { createdAt, version: 3 } });
  same("except", "another value of what is excepted", sdk("12:00"), sdk("12:01"));
  same("except", "the body without what is excepted", sdk("12:00"), JSON.stringify({ sdkData: { version: 3 }, amount: 10, requestId: "r-1" }));
  reused("except", "another amount beside what is excepted", sdk("12:00"), sdk("12:00", 11));
  reused("except", "another version beside what is excepted", sdk("12:00"), sdk("12:00").replace("3", "4"));
  reused("except", "a form", "amount=10&createdAt=1", "amount=10&createdAt=2");

  same("none", "another body", json, "something else altogether");
  reused("none", "another query", {}, { query: "?a=1" });
  reused("headers", "another X-Tenant", { headers: [TYPE, ["X-Tenant", "a"]] }, { headers: [TYPE, ["X-Tenant", "b"]] });
  same("headers", "another header", { headers: [TYPE, ["X-Tenant", "a"]] }, { headers: [["x-tenant", "a"], TYPE, ["X-Other", "1"]] });
  same("queryless", "another query", { query: "?utm=1" }, { query: "?utm=2&x" });

  // The runtime replaces such bytes, so that the two would read the same.
  for (const [prefix, name, one, other] of [
    ["usual", "If-Match", '"caf\xe9"', '"caf\xe8"'],
    ["usual", "Content-Encoding", "\xff", "\xfe"],
    ["usual", "Content-Type", "text/caf\xe9", "text/caf\xe8"],
    ["headers", "X-Tenant", "caf\xe9", "caf\xe8"],
  ]) {
    test(`/${prefix}: ${name} whose bytes are not UTF-8 is refused, and the problem names it`, async () => {
      const it = operation(on, `/${prefix}`);
      for (const value of [one, other]) {
        const refused = await it.send({ headers: [[name, value]], body: json });
        isProblem(refused, "key-invalid");
        assert.match(refused.json.detail, new RegExp(`header ${name.toLowerCase()} holds bytes that are not UTF-8`));
      }
      assert.equal(it.count(), 0);
      isExecuted(await it.send({ headers: [[name, Buffer.from("café").toString("latin1")]], body: json }));
    });
  }
  const boundary = (bytes) => ({ headers: [["Content-Type", `multipart/mixed; boundary=${bytes}`]] });
  same("usual", "a boundary of other bytes that are not UTF-8", boundary("\xe9"), boundary("\xe8"));
});
