// The pages of docs/ as the tests see them: their configurations, transcripts and code. ONCEGATE_DOCS names another
// folder of pages.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { experimental_readRawConfig as readConfig } from "wrangler";
import { stage } from "./harness.mjs";

export const DOCS = path.resolve(process.env.ONCEGATE_DOCS ?? path.join(import.meta.dirname, "../../docs"));
export const JSON_TYPE = ["Content-Type", "application/json"];

// ---- the pages ------------------------------------------------------------------------------------------------------

export const files = readdirSync(DOCS, { recursive: true }).filter((name) => name.endsWith(".md"));
/** The pages for one kind of user. Each has a configuration. */
export const pages = ["adopting", "agents", "async", "outcomes", "payments", "queues", "repeatability", "schedules", "strategies", "webhooks", "workflows"];
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
export function staged(name, options = {}) {
  const { ORIGIN, SHARDS = null, ...rest } = vars(name);
  return stage({ shards: SHARDS, ...options, vars: { ...rest, ...options.vars } });
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

// ---- code -----------------------------------------------------------------------------------------------------------

/** The page's code as a module, in which pauses are ten times as short. */
export function code(name) {
  const [block, ...more] = blocks(name, "js");
  assert.deepEqual(more, []);
  const hurried = "const setTimeout = (done, ms) => globalThis.setTimeout(done, ms / 10);\n";
  return import(`data:text/javascript,${encodeURIComponent(hurried + block)}`);
}
