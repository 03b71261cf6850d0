// Runs the built Worker under `wrangler dev`, as users do: with wrangler.toml, and with Wrangler's own queue broker and
// its address that fires triggers. Everything is in a folder of its own, and nothing but this machine is contacted.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import { ROOT, signalGroup } from "../../scripts/run.mjs";
import { QUIET } from "../../scripts/start.mjs";
import { request } from "./client.mjs";
import { until } from "./harness.mjs";

const build = path.resolve(process.env.ONCEGATE_BUILD ?? path.join(ROOT, "build"));
const READY_MS = 45_000;

/** Starts it with more tables at the end of wrangler.toml, beside side.worker.mjs, which is its ORIGIN and has the
 *  queues `produced` and `consumed`. */
export async function startDev({ origin, toml, produced, consumed }) {
  const dev = new Dev();
  try {
    dev.write("oncegate.toml", `${ownToml()}\n[[services]]\nbinding = "ORIGIN"\nservice = "side"\n\n${toml}`);
    dev.write("side.toml", sideToml(origin, produced, consumed));
    await dev.run();
    return dev;
  } catch (error) {
    await dev.stop();
    throw error;
  }
}

/** The project's own wrangler.toml, without what builds. */
function ownToml() {
  const toml = readFileSync(path.join(ROOT, "wrangler.toml"), "utf8");
  const main = `main = ${JSON.stringify(path.join(build, "index.js"))}`;
  return toml.replace(/^main = .*$/m, () => main).replace(/^\[build\]\n(?:.+\n)*/m, "");
}

function sideToml(origin, produced, consumed) {
  const main = path.join(import.meta.dirname, "side.worker.mjs");
  const date = /^compatibility_date = .*$/m.exec(ownToml())[0];
  const producers = produced.map((queue) => `[[queues.producers]]\nbinding = "${queue}"\nqueue = "${queue}"\n`);
  const consumers = consumed.map((queue) => `[[queues.consumers]]\nqueue = "${queue}"\nmax_batch_timeout = 0\n`);
  return `name = "side"\nmain = ${JSON.stringify(main)}\n${date}\nvars = { ORIGIN = "${origin.url}" }\n${[...producers, ...consumers].join("\n")}`;
}

class Dev {
  #output = "";
  #child = null;
  #folder = mkdtempSync(path.join(os.tmpdir(), "oncegate-dev-"));
  #atExit = () => this.#child && signalGroup(this.#child, "SIGKILL");

  write(name, text) {
    writeFileSync(path.join(this.#folder, name), text);
  }
  async run() {
    const wrangler = path.join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
    const args = ["dev", "-c", "oncegate.toml", "-c", "side.toml", "--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0"];
    args.push("--persist-to", path.join(this.#folder, "state"), "--show-interactive-dev-session=false");
    // Other sessions of this machine find each other's queues through the registry.
    const own = { WRANGLER_REGISTRY_PATH: path.join(this.#folder, "registry"), WRANGLER_CACHE_DIR: path.join(this.#folder, "cache") };
    // A process group of its own: what Wrangler has started ends with it.
    const child = spawn(process.execPath, [wrangler, ...args], {
      cwd: this.#folder,
      env: { ...process.env, ...QUIET, ...own },
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    process.on("exit", this.#atExit);
    child.closed = new Promise((resolve) => child.once("close", resolve));
    child.once("exit", () => (child.ended = true));
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.#output += text));
    }
    const ready = () => {
      if (child.ended) throw new Error(`wrangler dev has ended:\n${this.logs}`);
      return /Ready on http:\/\/127\.0\.0\.1:(\d+)/.exec(this.logs)?.[1];
    };
    this.port = Number(await until(ready, { ms: READY_MS, what: "wrangler dev is ready" }).catch((late) => {
      throw new Error(`${late.message}:\n${this.logs}`);
    }));
  }
  /** All that Wrangler and the Workers have printed. */
  get logs() {
    return stripVTControlCharacters(this.#output);
  }
  /** What the broker has said of each batch of a queue, in order: how many of how many were acknowledged. */
  batches(queue) {
    return [...this.logs.matchAll(new RegExp(`QUEUE ${queue} (\\d+/\\d+)`, "g"))].map(([, acknowledged]) => acknowledged);
  }
  /** Sends messages to a queue, all at once. */
  async enqueue(queue, ...bodies) {
    const response = await request(this.port, { path: "/send", body: JSON.stringify({ queue, bodies }) });
    if (response.text !== "sent") throw new Error(`not sent: ${response.status} ${response.text}`);
  }
  /** Fires a cron trigger; resolves to its outcome. */
  async fire(cron, time) {
    const query = new URLSearchParams({ cron, time, format: "json" });
    const response = await request(this.port, { method: "GET", host: `127.0.0.1:${this.port}`, path: `/cdn-cgi/local/scheduled?${query}` });
    return response.json;
  }
  /** Ends it at once, with all that it has started, and removes its folder. */
  async stop() {
    if (this.#child) signalGroup(this.#child, "SIGKILL");
    await this.#child?.closed;
    process.off("exit", this.#atExit);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
