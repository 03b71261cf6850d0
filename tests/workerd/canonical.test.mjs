// Contract 1.4 and its knobs: which parts of two requests under one key must agree for one to be the other's retry.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, stage } from "./harness.mjs";

const TYPE = ["Content-Type", "application/json"];
const latin1 = (text) => Buffer.from(text, "latin1");
const surrogate = String.raw`\ud800`;

describe("the fingerprint of a route", { concurrency: 8, timeout: 60_000 }, () => {
  const rule = (name, fingerprint, more) => ({ name, methods: ["POST", "PATCH"], path: `/${name}/{*rest}`, fingerprint, ...more });
  const on = stage({
    routes: [
      rule("json", { body: "json" }),
      rule("pointers", { body: ["/amount", "/currency"] }),
      rule("deep", { body: ["/lines/1/price~1net", "/a~0b"] }),
      rule("none", { body: "none" }),
      rule("headers", { headers: ["X-Tenant", "Accept-Language"] }),
      rule("queryless", { query: false }),
    ],
  });
  const send = (spec, key, path) => {
    const { query = "", ...more } = typeof spec === "string" || Buffer.isBuffer(spec) ? { body: spec } : spec;
    return on.worker.send({ key, path: path + query, headers: [TYPE], body: '{"amount":10}', ...more });
  };
  async function pair(prefix, one, other) {
    const [key, path] = [freshKey(), freshPath(`/${prefix}`)];
    const first = await send(one, key, path);
    isExecuted(first);
    const second = await send(other, key, path);
    assert.equal(on.origin.count(path), 1);
    isReplay(await send(one, key, path), first);
    return { first, second };
  }
  const same = (prefix, what, one, other) => test(`${what} is the same request (${prefix})`, async () => {
    const { first, second } = await pair(prefix, one, other);
    isReplay(second, first);
  });
  const reused = (prefix, what, one, other) => test(`${what} is another request (${prefix})`, async () => {
    const { first, second } = await pair(prefix, one, other);
    isProblem(second, "key-reused");
    assert.doesNotMatch(second.text, new RegExp(first.json.nonce));
  });

  same("json", "members in another order", '{"amount":10,"to":{"name":"a","iban":"b"}}', '{"to":{"iban":"b","name":"a"},"amount":10}');
  same("json", "other white space", '{"amount":10,"list":[1,2]}', ' {\n\t"amount" : 10,\r\n "list": [ 1,2 ]\n}\n');
  same("json", "a number in another spelling", '{"n":[100,1.5,0.001,1000000,-0,12]}', '{"n":[1e2,1.50,1E-3,1.0e+6,0,12.0]}');
  same("json", "a string in another spelling", String.raw`{"s":"Zoë / \"€\" 😀\n"}`, String.raw`{"s":"Zo\u00eb \/ \u0022\u20AC\u0022 \uD83D\uDE00\u000A"}`);
  same("json", "a member's name in another spelling", '{"amount":10}', String.raw`{"\u0061mount":10}`);
  same("json", "an integer of 2^53 with other white space", "[9007199254740992]", "[ 9007199254740992 ]");
  same("json", "an empty object with a blank in it", "{}", "{ }");
  same("json", "a text of digits with other white space", '["12345678901234567890123"]', '[ "12345678901234567890123" ]');

  reused("json", "another amount", '{"amount":10}', '{"amount":10.01}');
  reused("json", "a text where it was a number", '{"amount":10}', '{"amount":"10"}');
  reused("json", "null where there was nothing", "{}", '{"amount":null}');
  reused("json", "a list in another order", "[1,2]", "[2,1]");
  reused("json", "another case of a name", '{"amount":10}', '{"Amount":10}');
  reused("json", "one blank in a text", '{"to":"ab"}', '{"to":"a b"}');
  reused("json", "a text in another normal form", String.raw`{"to":"Zo\u00eb"}`, String.raw`{"to":"Zoe\u0308"}`);
  reused("json", "the same JSON of another media type", { body: "{}" }, { body: "{}", headers: [["Content-Type", "text/plain"]] });

  // Not safely canonical: two readers may read them differently, so every byte counts.
  const unsafe = {
    "members that are there twice": ['{"a":1,"a":2}', '{"a":1, "a":2}'],
    "members that are there twice, the last one equal": ['{"a":1,"a":2}', '{"a":2}'],
    "members that are there twice, the first one equal": ['{"a":1,"a":2}', '{"a":1}'],
    "members that are there twice deep inside": ['{"x":[{"a":1,"a":1}]}', '{"x":[{"a":1}]}'],
    "members that are there twice in two spellings": [String.raw`{"a":1,"\u0061":2}`, '{"a":2}'],
    "integers beyond 2^53": ["[9007199254740993]", "[9007199254740992]"],
    "integers beyond 2^53 that differ in a blank": ["[9007199254740993]", "[ 9007199254740993]"],
    "negative integers beyond 2^53": ["[-9007199254740993]", "[-9007199254740992]"],
    "integers beyond 2^64": ["[18446744073709551617]", "[18446744073709551616]"],
    "integers with an exponent beyond 2^53": ["[9007199254740993e0]", "[9007199254740992e0]"],
    "integers with a fraction beyond 2^53": ["[9007199254740993.0]", "[9007199254740992.0]"],
    "decimals with more digits than a double holds": ["[0.30000000000000001]", "[0.3]"],
    "numbers that no double is large enough for": ["[1e400]", "[1e401]"],
    "numbers that no double is small enough for": ["[1e-400]", "[0]"],
    "lone surrogates": [`["${surrogate}"]`, `[ "${surrogate}"]`],
    "different lone surrogates": [`["${surrogate}"]`, String.raw`["\udfff"]`],
    "a lone surrogate and what replaces it": [`["${surrogate}"]`, String.raw`["\ufffd"]`],
    "a lone surrogate in a name": [`{"${surrogate}":1}`, `{ "${surrogate}":1}`],
    "bytes that are not UTF-8": [latin1('["\xff"]'), latin1('["\xfe"]')],
    "bytes that are not UTF-8 and what replaces them": [latin1('["\xff"]'), '["\ufffd"]'],
    "no JSON that differs in a blank": ["amount=10", "amount= 10"],
    "JSON that breaks off": ['{"a":1', '{"a": 1'],
    "JSON with a comma too much": ['{"a":1,}', '{"a":1}'],
    "JSON and something more": ["{} x", "{}  x"],
    "a byte order mark": ["\ufeff{}", "{}"],
    "an empty body and an object": ["", "{}"],
    "an empty body and a blank": ["", " "],
    "a body that looks like the canonical form of nothing": ["null", ""],
    "deep nesting that differs in a blank": [`${"[".repeat(5_000)}${"]".repeat(5_000)}`, `${"[".repeat(5_000)} ${"]".repeat(5_000)}`],
  };
  for (const [what, [one, other]] of Object.entries(unsafe)) reused("json", what, one, other);
  for (const [what, [one]] of Object.entries(unsafe)) same("json", `the same body with ${what}`, one, one);
  const big = (blank) => `{"list":[${`{"n":1,${blank}"s":"x"},`.repeat(40_000)}0]}`;
  same("json", "a body of a megabyte with other white space", big(""), big(" "));
  same("json", "a chunked body in another order", '{"a":1,"b":2}', { body: undefined, chunks: ['{"b":2,', ' "a":1}'] });
  const zipped = (text, level) => ({ body: zlib.gzipSync(text, { level }), headers: [TYPE, ["Content-Encoding", "gzip"]] });
  reused("json", "a compressed body in another order", zipped('{"a":1,"b":2}'), zipped('{"b":2,"a":1}'));

  same("pointers", "another note beside the same amount and currency", '{"amount":10,"currency":"eur","note":"a"}', '{"note":"b","currency":"eur","amount":10.0,"more":[1]}');
  reused("pointers", "another amount", '{"amount":10,"currency":"eur"}', '{"amount":11,"currency":"eur"}');
  reused("pointers", "no currency", '{"amount":10,"currency":"eur"}', '{"amount":10}');
  reused("pointers", "null where there was no currency", '{"amount":10}', '{"amount":10,"currency":null}');
  reused("pointers", "amount and currency swapped", '{"amount":"a","currency":"b"}', '{"amount":"b","currency":"a"}');
  reused("pointers", "the one's value in the other", '{"amount":"a"}', '{"currency":"a"}');
  reused("pointers", "another amount deep inside", '{"amount":{"value":1,"unit":"c"}}', '{"amount":{"value":2,"unit":"c"}}');
  same("pointers", "an amount with its members in another order", '{"amount":{"value":1,"unit":"c"}}', '{"amount":{"unit":"c","value":1}}');
  reused("pointers", "an amount that is there twice", '{"amount":10,"amount":11}', '{"amount":11}');
  reused("pointers", "an amount beyond 2^53", '{"amount":9007199254740993}', '{"amount":9007199254740992}');
  reused("pointers", "a body that is no JSON", "amount=10&note=a", "amount=10&note=b");
  same("deep", "another price beside the one that counts", '{"lines":[{"price/net":1},{"price/net":2}],"a~b":3}', '{"a~b":3,"lines":[{"price/net":9},{"price/net":2}]}');
  reused("deep", "another price", '{"lines":[0,{"price/net":2}],"a~b":3}', '{"lines":[0,{"price/net":3}],"a~b":3}');
  reused("deep", "another value under an escaped name", '{"lines":[0,{"price/net":2}],"a~b":3}', '{"lines":[0,{"price/net":2}],"a~b":4}');

  same("none", "any other body", '{"amount":10}', "something else altogether");
  same("none", "no body", '{"amount":10}', "");
  reused("none", "another query", {}, { query: "?a=1" });
  reused("none", "another media type", {}, { headers: [["Content-Type", "text/plain"]] });
  reused("none", "an If-Match", {}, { headers: [TYPE, ["If-Match", "1"]] });

  reused("headers", "another X-Tenant", { headers: [TYPE, ["X-Tenant", "a"]] }, { headers: [TYPE, ["X-Tenant", "b"]] });
  reused("headers", "no X-Tenant", { headers: [TYPE, ["X-Tenant", "a"]] }, {});
  reused("headers", "the one's value in the other", { headers: [TYPE, ["X-Tenant", "a"]] }, { headers: [TYPE, ["Accept-Language", "a"]] });
  same("headers", "the same headers in another order and case", { headers: [TYPE, ["X-Tenant", "a"], ["Accept-Language", "de"]] }, { headers: [["accept-language", "de"], TYPE, ["x-tenant", "a"], ["X-Other", "1"]] });
  reused("headers", "another body", '{"amount":10}', '{"amount": 10}');

  same("queryless", "another query", { query: "?utm=1" }, { query: "?utm=2&x" });
  same("queryless", "a query where there was none", {}, { query: "?utm=2" });
  reused("queryless", "another body", '{"amount":10}', '{"amount":11}');
});
