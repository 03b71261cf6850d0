// The pages of docs/ as the tests see them: their configurations, transcripts and code, and operations to try them on.
// ONCEGATE_DOCS names another folder of pages.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { experimental_readRawConfig as readConfig } from "wrangler";
import { isProblem } from "./expect.mjs";
import { freshKey, stage, until } from "./harness.mjs";

export const DOCS = path.resolve(process.env.ONCEGATE_DOCS ?? path.join(import.meta.dirname, "../../docs"));
export const JSON_TYPE = ["Content-Type", "application/json"];
export const SECOND = 1_000;
export const DAY = 24 * 3_600 * SECOND;
/** What the lease lasts beyond the route's timeout. */
export const ROOM = 15 * SECOND;

// ---- the pages ------------------------------------------------------------------------------------------------------

export const files = readdirSync(DOCS, { recursive: true }).filter((name) => name.endsWith(".md"));
/** Those that are for one kind of user, each with a configuration. */
export const pages = ["adopting", "agents", "payments", "queues", "strategies", "webhooks", "workflows"];
export const text = (name) => readFileSync(path.join(DOCS, name), "utf8");

/** The contents of a page's fenced blocks of one language. */
export function blocks(name, language) {
  return [...text(`${name}.md`).matchAll(/^```(\w*)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , block]) => block);
}

/** The page's vars, as wrangler reads them from its configuration. */
export function vars(name) {
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
export function played(name, change = (vars) => vars) {
  const { ORIGIN, SHARDS = null, ...rest } = change(vars(name));
  return stage({ shards: SHARDS, vars: rest });
}

/** The same configuration with the time running faster: a minute takes two seconds, a day 1/30 of one. What the
 *  lease has beyond `timeout` (15 s) cannot be hurried. */
export function hurried(vars) {
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
  return `${Math.round(ms >= 12 * 3_600 * SECOND ? ms / (30 * 24 * 3_600) : ms / 30)}ms`;
}

// ---- transcripts ----------------------------------------------------------------------------------------------------

/** Plays the page's transcripts in their order; an `…` in an answer stands for anything. */
export async function plays(on, name) {
  const transcript = blocks(name, "console").join("\n").replaceAll(" \\\n", " ");
  const exchanges = transcript.split(/^\$ /m).slice(1).map((exchange) => exchange.trim().split("\n"));
  assert.notEqual(exchanges.length, 0, `${name} has no transcript`);
  for (const [command, ...expected] of exchanges) {
    const response = await on.worker.send(curl(command));
    for (const line of expected) matches(response, line, command);
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
  return spec.body === undefined && spec.method !== "GET" ? { ...spec, length: 0 } : spec;
}

/** One line of an answer: the status line, a header, members of a JSON body, or the body. */
function matches(response, line, command) {
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
export async function published(on, route) {
  const { json } = await on.worker.send({ method: "GET", path: "/.well-known/idempotency" });
  return json.routes.find(({ name }) => name === route);
}

/** The reply is kept for this long. */
export function isKeptFor(response, ms) {
  const left = Date.parse(response.get("Idempotency-Expires")) - Date.now();
  assert.ok(Math.abs(left - ms) < 60 * SECOND, `kept for ${left} ms and not ${ms} ms`);
}

/** The answer comes from the origin, and the filter had no part in it. */
export function isUnguarded(response, status = 201) {
  assert.equal(response.status, status, response.text.slice(0, 300));
  for (const name of ["Idempotency-Status", "Idempotent-Replayed", "X-Correlation-Id"]) assert.equal(response.get(name), null, name);
}

const answers = new Map();
export const created = (_, n) => ({ status: 201, headers: [JSON_TYPE], body: `{"run": ${n}}` });
export const says = (status, headers = []) => (_, n) => ({ status, headers, body: [204, 304].includes(status) ? "" : `run ${n}` });
/** One answer after the other, the last one for ever. */
export const inTurn = (...list) => (execution, n) => {
  const answer = list[Math.min(n, list.length) - 1];
  return typeof answer === "number" ? says(answer)(execution, n) : answer;
};

/** What the origin answers on a path, to requests with this tag or to those without one. Several operations share a
 *  path on most pages, so each brings a tag of its own in a header that nothing else looks at. */
export function originSays(on, path, answer, tag = "") {
  answers.set(`${path} ${tag}`, answer);
  on.origin.on(path, (execution) => {
    const tagOf = ({ get }) => get("X-Test") ?? "";
    const tag = tagOf(execution);
    const told = answers.get(`${path} ${tag}`) ?? created;
    const n = on.origin.executions(path).filter((other) => tagOf(other) === tag).length;
    return typeof told === "function" ? told(execution, n) : told;
  });
}

/** One operation: the same request every time it is sent, unless `more` says otherwise. */
export function operation(on, request, answer = created) {
  const tag = freshKey();
  const spec = { method: "POST", body: "{}", ...request };
  const at = spec.path.split("?")[0];
  originSays(on, at, answer, tag);
  const received = (path = at) => on.origin.executions(path).filter(({ get }) => get("X-Test") === tag);
  const typed = (headers) => headers.some(([name]) => name === "Content-Type");
  return {
    answers: (next) => originSays(on, at, next, tag),
    received,
    count: () => received().length,
    reached: (n = 1) => until(() => received()[n - 1]),
    send: (more = {}) => {
      const headers = [["X-Test", tag], ...(spec.headers ?? []), ...(more.headers ?? [])];
      return on.worker.send({ ...spec, ...more, headers: typed(headers) ? headers : [JSON_TYPE, ...headers] });
    },
  };
}

/** Sends the operation until the check accepts the answer; resolves to how long that took. */
export async function eventually(it, check, ms = 40 * SECOND) {
  const began = Date.now();
  await until(async () => check(await it.send()), { ms, every: 100 });
  return Date.now() - began;
}
/** A check for `eventually`: in doubt until it is over. */
export const doubtUntil = (status, check) => (response) => {
  if (response.status !== status) return void isProblem(response, "outcome-unknown");
  check(response);
  return true;
};

/** A multipart body, with another boundary every time, as every client makes it. */
export function multipart(fields) {
  const boundary = `----${freshKey()}`;
  const parts = Object.entries(fields).map(([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`);
  return { headers: [["Content-Type", `multipart/form-data; boundary=${boundary}`]], body: `${parts.join("")}--${boundary}--\r\n` };
}

/** The page's code as a module, in which pauses are ten times as short. */
export function code(name) {
  const [block, ...more] = blocks(name, "js");
  assert.deepEqual(more, []);
  const hurried = "const setTimeout = (done, ms) => globalThis.setTimeout(done, ms / 10);\n";
  return import(`data:text/javascript,${encodeURIComponent(hurried + block)}`);
}

export const onConflict = (strategy) => ({ headers: [["X-On-Conflict", strategy]] });
