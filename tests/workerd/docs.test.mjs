// The pages of docs/: the configuration of each is loaded as it stands there, its transcripts are played, its code is
// run, and what its text promises is asked of the real runtime. ONCEGATE_DOCS names another folder of pages.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { experimental_readRawConfig as readConfig } from "wrangler";
import { isExecuted, isJoined, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, gate, stage, until } from "./harness.mjs";

const DOCS = path.resolve(process.env.ONCEGATE_DOCS ?? path.join(import.meta.dirname, "../../docs"));
const JSON_TYPE = ["Content-Type", "application/json"];
const LINES_MAX = 120;
const SECOND = 1_000;
const DAY = 24 * 3_600 * SECOND;
/** What the lease lasts beyond the route's timeout. */
const ROOM = 15 * SECOND;

// ---- the pages ------------------------------------------------------------------------------------------------------

const files = readdirSync(DOCS, { recursive: true }).filter((name) => name.endsWith(".md"));
const pages = files.filter((name) => !name.includes(path.sep));
const text = (name) => readFileSync(path.join(DOCS, name), "utf8");

/** The contents of a page's fenced blocks of one language. */
function blocks(name, language) {
  return [...text(`${name}.md`).matchAll(/^```(\w*)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , block]) => block);
}

/** The page's vars, as wrangler reads them from its configuration. */
function vars(name) {
  const directory = mkdtempSync(path.join(os.tmpdir(), "oncegate-docs-"));
  try {
    const config = path.join(directory, "wrangler.toml");
    writeFileSync(config, blocks(name, "toml")[0]);
    return readConfig({ config }).rawConfig.vars;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** An Oncegate with the page's configuration, before an origin of the test's. */
function played(name, change = (vars) => vars) {
  const { ORIGIN, SHARDS = 16, ...rest } = change(vars(name));
  return stage({ shards: SHARDS, vars: rest });
}

/** The same configuration with the time running faster: a minute takes a second, a day takes 1/30 of one. What the
 *  lease has beyond `timeout` (15 s) cannot be hurried. */
function hurried(vars) {
  const spans = ["wait", "timeout", "probe_after", "ttl", "tombstone", "doubt_ttl"];
  const ROUTES = vars.ROUTES.map((route) => {
    const given = { wait: "10s", timeout: "60s", probe_after: "60s", ttl: "24h", ...route };
    return { ...route, ...Object.fromEntries(spans.filter((span) => given[span]).map((span) => [span, faster(given[span])])) };
  });
  return { ...vars, ROUTES };
}
function faster(span) {
  const [, number, unit] = /^(\d+)(s|m|h|d)$/.exec(span);
  const ms = number * { s: SECOND, m: 60 * SECOND, h: 3_600 * SECOND, d: DAY }[unit];
  return `${Math.round(ms >= 12 * 3_600 * SECOND ? ms / (30 * 24 * 3_600) : ms / 60)}ms`;
}

test("every page has one configuration, is short, and its links lead somewhere", () => {
  assert.notEqual(pages.length, 0);
  for (const name of pages) {
    const [config, ...more] = blocks(name.slice(0, -3), "toml");
    assert.match(config ?? "", /^# wrangler\.toml\n/, name);
    assert.deepEqual(more, [], name);
    assert.match(vars(name.slice(0, -3)).ORIGIN, /^https:\/\/[\w.-]+$/, name);
  }
  for (const name of files) {
    assert.ok(text(name).trim().split("\n").length <= LINES_MAX, `${name} is longer than ${LINES_MAX} lines`);
    for (const [, link] of text(name).matchAll(/\]\(([^)]+)\)/g)) {
      if (link.startsWith("https://")) continue;
      const [file, anchor] = link.split("#");
      const target = file ? path.join(path.dirname(name), file) : name;
      assert.ok(existsSync(path.join(DOCS, target)), `${name} links to ${link}`);
      const anchors = [...text(target).matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase().replace(/[^\w -]/g, "").replaceAll(" ", "-"));
      if (anchor) assert.ok(anchors.includes(anchor), `${name} links to ${link}`);
    }
  }
});

// ---- transcripts ----------------------------------------------------------------------------------------------------

/** Plays the page's transcripts in their order; an `…` in an answer stands for anything. */
async function plays(on, name) {
  const transcript = blocks(name, "console").join("\n").replaceAll(" \\\n", " ");
  const exchanges = transcript.split(/^\$ /m).slice(1).map((exchange) => exchange.trim().split("\n"));
  assert.notEqual(exchanges.length, 0, `${name} has no transcript`);
  for (const [command, ...expected] of exchanges) {
    const response = await on.worker.send(curl(command));
    for (const line of expected) says(response, line, command);
  }
}

/** A curl command as a request. */
function curl(command) {
  const [program, ...words] = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare);
  assert.equal(program, "curl");
  const spec = { headers: [] };
  while (words.length) {
    const word = words.shift();
    if (word === "-i" || word === "-s") continue;
    if (word === "-X") spec.method = words.shift();
    else if (word === "-H") spec.headers.push(words.shift().split(/: (.*)/s).slice(0, 2));
    else if (word === "-d") spec.body = words.shift();
    else {
      assert.match(word, /^https?:\/\//, `${word} of ${command}`);
      const { host, pathname, search } = new URL(word);
      Object.assign(spec, { host, path: pathname + search });
    }
  }
  if (spec.body !== undefined && !spec.headers.some(([n]) => n.toLowerCase() === "content-type")) {
    spec.headers.push(["Content-Type", "application/x-www-form-urlencoded"]);
  }
  spec.method ??= spec.body === undefined ? "GET" : "POST";
  return spec;
}

/** One line of an answer: the status line, a header, members of a JSON body, or the body. */
function says(response, line, command) {
  const status = /^HTTP\/\S+ (\d+)/.exec(line);
  const header = /^([A-Z][\w-]*): (.*)$/.exec(line);
  const of = `${command}\n${line}\n${response.status} ${JSON.stringify(response.headers)} ${response.text}`;
  if (status) assert.equal(response.status, Number(status[1]), of);
  else if (header) assert.match(response.get(header[1]) ?? "nothing", pattern(header[2]), of);
  else if (line.endsWith(", …}")) {
    for (const [member, value] of Object.entries(JSON.parse(line.replace(", …}", "}")))) assert.deepEqual(response.json[member], value, of);
  } else if (line.trim()) assert.match(response.text, pattern(line), of);
}
const pattern = (line) => new RegExp(`^${line.split("…").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join(".*")}$`, "s");

// ---- what all pages need --------------------------------------------------------------------------------------------

/** What the published policy says of a route. */
async function published(on, route) {
  const { json } = await on.worker.send({ method: "GET", path: "/.well-known/idempotency" });
  return json.routes.find(({ name }) => name === route);
}

/** The reply is kept for this long. */
function isKeptFor(response, ms) {
  const left = Date.parse(response.get("Idempotency-Expires")) - Date.now();
  assert.ok(Math.abs(left - ms) < 60 * SECOND, `kept for ${left} ms and not ${ms} ms`);
}

/** One operation: the same request every time it is sent. */
function operation(on, request, answer) {
  const spec = { method: "POST", body: "{}", ...request, headers: [JSON_TYPE, ...(request.headers ?? [])] };
  const at = spec.path.split("?")[0];
  if (answer) on.origin.on(at, answer);
  return {
    ...spec,
    answers: (next) => on.origin.on(at, next),
    count: () => on.origin.executions(at).filter(({ method }) => method === spec.method).length,
    reached: (n) => on.origin.reached(at, n),
    received: () => on.origin.executions(at),
    send: (more = {}) => on.worker.send({ ...spec, ...more, headers: [...spec.headers, ...(more.headers ?? [])] }),
  };
}

/** Sends the operation until the check accepts the answer; resolves to how long that took. */
async function eventually(it, check, ms = 40 * SECOND) {
  const began = Date.now();
  await until(async () => check(await it.send()), { ms, every: 100 });
  return Date.now() - began;
}

// ---- payments -------------------------------------------------------------------------------------------------------

describe("payments.md", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("payments");
  const pay = (path, answer, key = freshKey()) => operation(on, { path, key, headers: [["Authorization", "Bearer sk_1"]], body: '{"amount": 1200}' }, answer);
  const says = (status, headers = []) => (_, n) => ({ status, headers, body: `run ${n}` });

  test("its transcript", async () => {
    on.origin.on("/v1/payments", (_, n) => ({ status: 201, headers: [JSON_TYPE], body: `{"id": "pay_${n}", "amount": 1200}` }));
    await plays(on, "payments");
    assert.equal(on.origin.count("/v1/payments"), 1);
  });
  for (const status of [200, 302, 402, 400, 404, 422, 500, 501]) {
    test(`${status} is the outcome and is replayed for 30 days`, async () => {
      const it = pay(`/v1/refunds/${status}`, says(status));
      const first = await it.send();
      isExecuted(first, status);
      isKeptFor(first, 30 * DAY);
      const again = await it.send();
      isReplay(again, first);
      assert.equal(again.get("Stripe-Should-Retry"), status >= 500 ? "false" : null);
      assert.equal(it.count(), 1);
    });
  }
  for (const [status, headers] of [[401], [403], [407], [408], [409], [425], [429], [503, [["Retry-After", "5"]]], [521], [523], [525], [526], [530]]) {
    test(`${status} frees the key`, async () => {
      const it = pay(`/v1/refunds/${status}-freed`, says(status, headers));
      isReleased(await it.send(), status);
      isReleased(await it.send(), status);
      assert.equal(it.count(), 2);
    });
  }
  for (const status of [502, 503, 504, 520, 522, 524]) {
    test(`${status} is held where the origin cannot tell: it is not asked and not sent to again`, async () => {
      const it = pay(`/v1/refunds/${status}-held`, says(status));
      isUnknown(await it.send(), status);
      isProblem(await it.send(), "outcome-unknown");
      assert.equal(it.received().length, 1);
    });
  }
  test("a probe that answers 200 closes a doubt: that answer is the reply from then on, its status included", async () => {
    const it = pay("/v1/payments", (_, n) => ({ reset: n > 0 }), "order-1002");
    const look = "/v1/payments/by-key/order-1002";
    on.origin.on(look, (_, n) => ({ status: [404, 500, 302][n - 1] ?? 200, headers: [JSON_TYPE], body: '{"id": "pay_9"}' }));
    const before = it.count();
    isProblem(await it.send(), "outcome-unknown", 502);
    for (let n = 0; n < 3; n++) isProblem(await it.send(), "outcome-unknown");
    const reply = await it.send();
    assert.deepEqual([reply.status, reply.text], [200, '{"id": "pay_9"}']);
    isReplay(reply, reply);
    isReplay(await it.send(), reply);
    assert.deepEqual([it.count() - before, on.origin.count(look)], [1, 4]);
    const [asked] = on.origin.executions(look);
    assert.deepEqual([asked.method, asked.get("Authorization"), asked.get("Content-Type")], ["GET", "Bearer sk_1", null]);
  });
  test("the origin may free the key of a request that it refused before anything ran", async () => {
    const it = pay("/v1/refunds/invalid", says(400, [["Idempotency-Outcome", "release"]]));
    const first = await it.send();
    isReleased(first, 400);
    assert.equal(first.get("Idempotency-Outcome"), null);
    isReleased(await it.send(), 400);
    assert.equal(it.count(), 2);
  });
  test("POST, PATCH and DELETE need a key everywhere, and PUT is not guarded", async () => {
    for (const method of ["POST", "PATCH", "DELETE"]) {
      isProblem(await pay("/v1/refunds/keyless").send({ method, key: undefined }), "key-missing");
      const it = pay(`/v1/refunds/${method}`);
      isReplay(await it.send({ method }), await it.send({ method }));
    }
    isProblem(await pay("/v1/payments").send({ key: undefined }), "key-missing");
    const put = pay("/v1/refunds/PUT");
    assert.equal((await put.send({ method: "PUT", key: undefined })).get("Idempotency-Status"), null);
  });
  test("a retry under another credential is refused", async () => {
    const it = pay("/v1/refunds/rotated");
    isExecuted(await it.send());
    isProblem(await on.worker.send({ ...it, headers: [JSON_TYPE, ["Authorization", "Bearer sk_2"]] }), "credential-changed");
    isProblem(await it.send({ headers: [["X-On-Conflict", "FAIL"]] }), "already-executed");
    isProblem(await it.send({ headers: [["X-On-Conflict", "MAYBE"]] }), "strategy-invalid");
    isProblem(await it.send({ body: '{"amount": 1}' }), "key-reused");
    isReplay(await it.send({ body: '{ "amount":1200 }' }), await it.send());
    assert.equal(it.count(), 1);
  });
  test("what it publishes", async () => {
    for (const name of ["payments", "other-writes"]) {
      const { key, fingerprint, outcome, ...rest } = await published(on, name);
      assert.deepEqual([key.required, fingerprint.body, outcome.preset, rest.timeout, rest.ttl, rest.tombstone, rest.wait], [true, "json", "strict", "PT30S", "P30D", "P60D", "PT10S"]);
    }
  });
});

describe("payments.md, a month in a second", { concurrency: true, timeout: 60_000 }, () => {
  const on = played("payments", hurried);
  const pay = (path, answer) => operation(on, { path, key: freshKey() }, answer);

  for (const path of ["/v1/payments", "/v1/refunds"]) {
    test(`${path}: after 30 days the reply is gone, after 60 more the key is free`, async () => {
      const it = operation(on, { path: path === "/v1/payments" ? path : `${path}/expiring`, key: freshKey() });
      const before = it.count();
      const first = await it.send();
      const expired = await eventually(it, (response) => (response.status === 410 ? isProblem(response, "key-expired") : void isReplay(response, first)));
      assert.ok(expired > 800 && expired < 2_500, `${expired} ms`);
      const free = await eventually(it, (response) => response.get("Idempotency-Status") === "executed" || void isProblem(response, "key-expired"));
      assert.ok(free > 1_000 && free < 4_000, `${free} ms`);
      assert.equal(it.count() - before, 2);
    });
  }
  test("30 s without a whole answer are a doubt, and the late answer closes it", async () => {
    const { opened, open } = gate();
    const it = pay("/v1/refunds/late", async () => (await opened, { status: 201, body: "refunded" }));
    const began = Date.now();
    isProblem(await it.send(), "outcome-unknown", 504);
    assert.ok(Date.now() - began > 450, "30 s are half a second here");
    isProblem(await it.send(), "outcome-unknown");
    open();
    await eventually(it, (response) => (response.status === 201 ? (isReplay(response, response), true) : void isProblem(response, "outcome-unknown")));
    assert.equal(it.count(), 1);
  });
  test("a 404 of the probe frees the key 2 minutes after the lease's end, and not before", async () => {
    const key = freshKey();
    const body = '{"amount": 404}';
    const it = operation(on, { path: "/v1/payments", key, body });
    on.origin.on("/v1/payments", ({ body: sent }, n) => (String(sent) === body && ++tries === 1 ? { status: 504, body: "?" } : { status: 201, body: `run ${n}` }));
    let tries = 0;
    on.origin.on(`/v1/payments/by-key/${key}`, { status: 404, body: "no such payment" });
    isUnknown(await it.send(), 504);
    const freed = await eventually(it, (response) => (response.status === 201 ? (isExecuted(response), true) : void isProblem(response, "outcome-unknown")));
    const least = 500 + ROOM + 2_000;
    assert.ok(freed > least - 500 && freed < least + 3_000, `freed after ${freed} ms, expected ${least}`);
    assert.equal(tries, 2);
  });
});
