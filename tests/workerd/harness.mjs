// Runs the built Worker on the real runtime: plain `workerd serve` with its own config, real sockets and Ledger
// objects on a real disk, so that it can be killed, restarted and looked into. Everything is torn down with the
// test process. Set ONCEGATE_BUILD to test another build, TMPDIR to choose the disk.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { after, before } from "node:test";
import { open, request } from "./client.mjs";
import { startOrigin } from "./origin.mjs";

export { gate, startOrigin } from "./origin.mjs";

const here = import.meta.dirname;
const root = path.resolve(here, "../..");
const usualBuild = path.resolve(process.env.ONCEGATE_BUILD ?? path.join(root, "build"));
// The platform's own binary: bin/workerd is a script around it where npm runs no install scripts, and a
// SIGKILL of that would miss it.
const { default: workerd } = createRequire(createRequire(path.join(root, "package.json")).resolve("wrangler"))("workerd");
const wrangler = readFileSync(path.join(root, "wrangler.toml"), "utf8");
const compatibilityDate = /^compatibility_date\s*=\s*"(.+?)"/m.exec(wrangler)[1];
const compatibilityFlags = JSON.parse(/^compatibility_flags\s*=\s*(\[.*?\])/ms.exec(wrangler)?.[1].replace(/,\s*\]/, "]") ?? "[]");
const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.once(signal, () => process.exit(1));

/**
 * Starts Oncegate.
 *   origin    an origin of startOrigin(), a URL for ORIGIN, or null for no ORIGIN at all
 *   binding   true: the origin is a service binding named ORIGIN and not a URL
 *   routes    the value of ROUTES; left out: no ROUTES
 *   shards    the value of SHARDS; null: no SHARDS
 *   vars      more vars, each bound as JSON, as wrangler does
 *   bound     names that are bound to a Durable Object namespace, as any other Worker's bindings are
 *   ledger    "faulty": LEDGER leads through faulty-ledger.worker.mjs, which can be told to misbehave
 *   watcher   with a faulty Ledger or Runner: a URL that is told of every call, before and after, and may hold it back
 *   kept      true: the runtime never lets an idle Runner go
 *   build     the folder of another build than ONCEGATE_BUILD names
 *   objects   true: `evict()` and `abort()` work on the Ledger objects
 *   counting  true: everything that is billed or copied is counted; see `counts`. Not together with ledger or objects
 *   events    true: `fire()` and `deliver()` call the handlers of schedules and queues; `aside` has what was put aside
 *   runner    false: no RUNNER is bound; "faulty": it leads through faulty-runner.worker.mjs
 *   metrics   true: METRICS is bound to what prints each data point; no local runtime has a dataset. See `points`.
 */
export async function start(options = {}) {
  const worker = new Worker(options);
  await worker.restart();
  return worker;
}

/** Inside a `describe`: an origin, and an Oncegate in front of it, for all of its tests. */
export function stage(options = {}) {
  const on = {};
  before(async () => {
    on.origin = await startOrigin();
    on.worker = await start({ origin: on.origin, ...options });
  });
  after(async () => {
    await on.worker?.stop();
    on.origin.close();
  });
  return on;
}

/** An Oncegate and an origin for one test, which gets both. Options may be made of the origin. */
export async function through(options, check) {
  const origin = await startOrigin();
  const worker = await start(typeof options === "function" ? options(origin) : { origin, ...options });
  try {
    await check(worker, origin);
  } finally {
    await worker.stop();
    origin.close();
  }
}

/** One operation with a key and a path of its own: the same request each time, unless `more` says otherwise. */
export function operation(on, prefix, more = {}) {
  const it = { path: freshPath(prefix), key: freshKey(), ...more };
  return {
    ...it,
    /** What the origin answers to it; see startOrigin. */
    answers: (answer) => on.origin.on(it.path, answer),
    send: (spec = {}) => on.worker.send({ ...it, ...spec }),
    /** How often it was executed. */
    count: () => on.origin.count(it.path),
    /** The n-th execution, as the origin received it. */
    seen: (n = 1) => on.origin.executions(it.path)[n - 1],
    reached: (n = 1) => on.origin.reached(it.path, n),
  };
}

class Worker {
  #output = "";
  #watchers = new Set();
  #child = null;
  #control = null;
  #events = null;

  constructor(options) {
    this.directory = mkdtempSync(path.join(os.tmpdir(), "oncegate-"));
    this.disk = path.join(this.directory, "disk");
    mkdirSync(this.disk);
    this.options = options;
  }

  /** Starts the runtime (again) on the same disk, with options that may differ from the first ones. */
  async restart(changed = {}) {
    if (this.#child) await this.kill();
    this.options = { ...this.options, ...changed };
    const config = path.join(this.directory, "config.capnp");
    writeFileSync(config, capnp(this.options, this.disk));
    const args = ["serve", "--control-fd=3", "--import-path=/", config];
    if (this.options.objects || this.options.events) args.splice(1, 0, "--experimental");
    const child = spawn(workerd, args, { cwd: this.directory, stdio: ["ignore", "pipe", "pipe", "pipe"] });
    running.add(child);
    this.#child = child;
    child.closed = new Promise((resolve) => child.once("exit", () => (running.delete(child), resolve())));
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.#output += text;
        for (const look of this.#watchers) look();
      });
    }
    const wanted = sockets(this.options).length;
    const ports = {};
    await new Promise((resolve, reject) => {
      let said = "";
      child.once("exit", (code) => reject(new Error(`workerd ended with ${code}:\n${this.#output}`)));
      child.stdio[3].setEncoding("utf8").on("data", (text) => {
        said += text;
        for (const line of said.split("\n").slice(0, -1)) {
          const event = JSON.parse(line);
          if (event.event === "listen") ports[event.socket] = event.port;
        }
        if (Object.keys(ports).length === wanted) resolve();
      });
    });
    this.port = ports.http;
    this.#control = ports.control;
    this.#events = ports.events;
  }

  /** One request; resolves to the whole response. See client.mjs for what a request can say. */
  send(spec) {
    return request(this.port, withDefaults(spec));
  }
  /** A request whose parts can be watched and cut short. */
  open(spec) {
    return open(this.port, withDefaults(spec));
  }
  /** Ends the runtime as a power cut would. */
  async kill() {
    this.#child.kill("SIGKILL");
    await this.#child.closed;
    this.#child = null;
  }
  /** Ends it and removes its disk. */
  async stop() {
    if (this.#child) await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
  /** The runtime's process. */
  get pid() {
    return this.#child.pid;
  }
  /** How much memory the runtime takes, in MB. */
  get megabytes() {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.#child.pid}/status`, "utf8"));
    return Math.round(kilobytes / 1024);
  }
  /** What the Worker and the runtime have printed. */
  get logs() {
    return this.#output;
  }
  /** The data points that were written, in order. */
  get points() {
    const lines = this.#output.split("\n").slice(0, -1);
    return lines.filter((line) => line.startsWith(POINT)).map((line) => JSON.parse(line.slice(POINT.length)));
  }
  /** Resolves when the logs match. */
  logged(pattern, ms = 10_000) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the log never said ${pattern}:\n${this.#output}`)), ms);
      const look = () => {
        if (!pattern.test(this.#output)) return;
        this.#watchers.delete(look);
        clearTimeout(timer);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }
  /** Lets every idle Ledger object go: memory is lost, rows are kept. */
  evict() {
    return this.#tell("/evict");
  }
  /** Resets every Ledger object in the middle of whatever it does, as a deploy or a move may. */
  abort() {
    return this.#tell("/abort");
  }
  /** Says how the faulty Ledger behaves from now on; see faulty-ledger.worker.mjs. Resolves to its counts of calls. */
  ledger(behaviour) {
    return this.#tell(`/ledger?${new URLSearchParams({ behaviour })}`);
  }
  /** Fires a cron trigger. Resolves to what the platform hears of it. */
  fire(cron, scheduledTime) {
    return this.#tell("/", { cron, scheduledTime }, this.#events);
  }
  /** Delivers a batch. Resolves to what the platform hears of it: which messages are acknowledged, which come again. */
  deliver(queue, messages) {
    return this.#tell("/", { queue, messages }, this.#events);
  }
  /** What was sent to the queue ASIDE. */
  get aside() {
    return this.#output.split("\n").filter((line) => line.startsWith(SENT)).map((line) => JSON.parse(line.slice(SENT.length)));
  }
  /** What was counted since this was last asked; see counting.worker.mjs. */
  counts() {
    return this.#tell("/");
  }
  async #tell(order, body, port = this.#control) {
    const response = await request(port, body === undefined ? { path: order } : { path: order, method: "POST", body: JSON.stringify(body), timeout: 60_000 });
    assert.equal(response.status, 200, response.text);
    return response.json;
  }
}

function withDefaults(spec) {
  const headers = Array.isArray(spec.headers) ? [...spec.headers] : Object.entries(spec.headers ?? {});
  const bodied = "body" in spec || "chunks" in spec || "length" in spec || !["POST", "PATCH", undefined].includes(spec.method);
  if (!bodied) headers.push(["Content-Type", "application/json"]);
  return { ...spec, headers, ...(bodied ? {} : { body: '{"amount":10}' }) };
}

function sockets({ objects, ledger, counting, events }) {
  const list = ['(name = "http", address = "127.0.0.1:0", http = (), service = "oncegate")'];
  if (counting) list.push('(name = "control", address = "127.0.0.1:0", http = (), service = (name = "oncegate", entrypoint = "Counts"))');
  if (objects || ledger) list.push('(name = "control", address = "127.0.0.1:0", http = (), service = "control")');
  if (events) list.push('(name = "events", address = "127.0.0.1:0", http = (), service = "events")');
  return list;
}

const POINT = "data point: ";
const SENT = "put aside: ";
// A message holds 128 KB (developers.cloudflare.com, queues/platform/limits).
const QUEUE = `export default () => ({ send: async (message) => {
  const text = JSON.stringify(message);
  if (text.length > 128_000) throw new Error("Queue send failed: message length exceeds limit");
  console.log("${SENT}" + text);
} });`;
const DATASET = `export default () => ({ writeDataPoint: (point) => console.log("${POINT}" + JSON.stringify(point)) });`;

/** The config of the runtime, in Cap'n Proto's text form. */
function capnp(options, disk) {
  const { origin = null, binding = false, routes, shards = 4, vars = {}, bound = [], ledger, watcher, objects, counting, metrics, events, aside = events, runner = true, kept = false, build = usualBuild } = options;
  const text = (value) => JSON.stringify(value);
  const json = (value) => text(JSON.stringify(value));
  const all = { ...(shards !== null && { SHARDS: shards }), ...(routes && { ROUTES: routes }), ...vars };
  if (origin && !binding) all.ORIGIN = origin.url ?? origin;

  const bindings = Object.entries(all).map(([name, value]) =>
    typeof value === "string" ? `(name = ${text(name)}, text = ${text(value)})` : `(name = ${text(name)}, json = ${json(value)})`,
  );
  if (binding) bindings.push('(name = "ORIGIN", service = "origin")');
  for (const name of bound) bindings.push(`(name = ${text(name)}, durableObjectNamespace = "Ledger")`);
  const faulty = runner === "faulty";
  if (runner) bindings.push(`(name = "RUNNER", durableObjectNamespace = ${faulty ? '(className = "FaultyRunner", serviceName = "runners")' : '"Runner"'})`);
  if (aside) bindings.push('(name = "ASIDE", wrapped = (moduleName = "tests:queue"))');
  if (metrics) bindings.push('(name = "METRICS", wrapped = (moduleName = "tests:dataset"))');
  bindings.push(
    ledger
      ? '(name = "LEDGER", durableObjectNamespace = (className = "FaultyLedger", serviceName = "control"))'
      : '(name = "LEDGER", durableObjectNamespace = "Ledger")',
  );
  const beside = (name) => `(name = ${text(name)}, esModule = embed ${text(path.join(here, name))})`;
  const modules = [`(name = "index.js", esModule = embed ${text(path.join(build, "index.js"))})`];
  const wasm = path.join(build, "index_bg.wasm");
  if (existsSync(wasm)) modules.push(`(name = "index_bg.wasm", wasm = embed ${text(wasm)})`);
  // The first module is the main one.
  if (counting) modules.unshift(beside("counting.worker.mjs"), beside("boundary.mjs"));
  const main = ledger ? "faulty-ledger.worker.mjs" : "objects.worker.mjs";

  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "oncegate", worker = (
      modules = [${modules.join(", ")}],
      compatibilityDate = ${text(compatibilityDate)},
      compatibilityFlags = [${compatibilityFlags.map(text).join(", ")}],
      bindings = [${bindings.join(",\n        ")}],
      durableObjectNamespaces = [(className = "Ledger", uniqueKey = "ledger", enableSql = true), (className = "Runner", uniqueKey = "runner", enableSql = true, preventEviction = ${kept})],
      durableObjectStorage = (localDisk = "disk"),
    )),
    ${
      objects || ledger
        ? `(name = "control", worker = (
      modules = [${beside(main)}${ledger ? `, ${beside("watched.mjs")}` : ""}],
      compatibilityDate = ${text(compatibilityDate)},
      ${
        ledger
          ? `bindings = [
        (name = "REAL", durableObjectNamespace = (className = "Ledger", serviceName = "oncegate")),
        (name = "WATCHER", json = ${json(watcher ?? null)}),
      ],
      durableObjectNamespaces = [(className = "FaultyLedger", uniqueKey = "faulty", enableSql = true)],
      durableObjectStorage = (inMemory = void),`
          : 'compatibilityFlags = ["unsafe_module"],'
      }
    )),`
        : ""
    }
    ${
      events
        ? `(name = "events", worker = (
      modules = [${beside("events.worker.mjs")}],
      compatibilityDate = ${text(compatibilityDate)},
      compatibilityFlags = ["service_binding_extra_handlers", "experimental"],
      bindings = [(name = "ONCEGATE", service = "oncegate")],
    )),`
        : ""
    }
    ${
      faulty
        ? `(name = "runners", worker = (
      modules = [${beside("faulty-runner.worker.mjs")}, ${beside("watched.mjs")}],
      compatibilityDate = ${text(compatibilityDate)},
      bindings = [
        (name = "REAL", durableObjectNamespace = (className = "Runner", serviceName = "oncegate")),
        (name = "WATCHER", json = ${json(watcher ?? null)}),
      ],
      durableObjectNamespaces = [(className = "FaultyRunner", uniqueKey = "faulty-runner", enableSql = true)],
      durableObjectStorage = (inMemory = void),
    )),`
        : ""
    }
    ${binding ? `(name = "origin", external = (address = ${text(origin.address)}, http = ())),` : ""}
    (name = "disk", disk = (path = ${text(disk)}, writable = true)),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [${sockets(options).join(", ")}],
  extensions = [(modules = [(name = "tests:dataset", internal = true, esModule = ${text(DATASET)}), (name = "tests:queue", internal = true, esModule = ${text(QUEUE)})])],
);
`;
}

/** A key that no other test uses. */
export const freshKey = () => randomUUID();

let paths = 0;
/** A path that no other test uses. */
export const freshPath = (prefix = "/v1/payments") => `${prefix}/${++paths}`;

/** Repeats `attempt` until it returns something truthy. */
export async function until(attempt, { ms = 10_000, every = 50, what = String(attempt) } = {}) {
  for (const deadline = Date.now() + ms; ; ) {
    const found = await attempt();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
