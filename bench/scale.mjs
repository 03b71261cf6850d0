// Throughput by the number of shards: first-seen and replayed requests with SHARDS = 1, 4, 16, 64, sixteen at a time.
// `node bench/scale.mjs` after `npm run build`; wrk must be there.
//
// On one machine every shard runs in the one thread of the one isolate, so more of them cannot answer more: what shows is
// what more shards cost. At Cloudflare they are on many machines.

import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { start } from "../tests/workerd/harness.mjs";
import { cpuMs, median, quickOrigin, rounded } from "./measure.mjs";

const SHARDS = [1, 4, 16, 64];
const CONNECTIONS = 16;

/** Requests a second and CPU a request, by path and number of shards; each the median of `rounds`, taken by turns. */
export async function scale({ say = () => {}, shards = SHARDS, rounds = 3, seconds = 2, origin: given } = {}) {
  if (!process.env.TMPDIR && existsSync("/dev/shm")) process.env.TMPDIR = "/dev/shm";
  const folder = mkdtempSync(path.join(os.tmpdir(), "oncegate-scale-"));
  const origin = given ?? (await quickOrigin());
  const stages = [];
  try {
    for (const count of shards) stages.push({ count, worker: await start({ origin, shards: count }), runs: { replay: [], first_seen: [] } });
    for (let round = -1; round < rounds; round++) {
      for (let turn = 0; turn < stages.length; turn++) {
        const { count, worker, runs } = stages[(round + 1 + turn) % stages.length];
        for (const kind of Object.keys(runs)) {
          const run = await wrk(worker, folder, kind, seconds, `${count}-${round}`);
          if (round >= 0) runs[kind].push(run);
        }
      }
    }
    const figures = stages.map(({ count, runs }) => {
      const told = (of) => ({ per_second: rounded(median(of.map((run) => run.perSecond))), cpu_ms: rounded(median(of.map((run) => run.cpu))) });
      return { shards: count, replay: told(runs.replay), first_seen: told(runs.first_seen) };
    });
    for (const { shards: count, replay, first_seen: first } of figures) {
      say(`${count} shards: ${first.per_second} first seen a second (CPU ${first.cpu_ms} ms), ${replay.per_second} replays (CPU ${replay.cpu_ms} ms)`);
    }
    return { connections: CONNECTIONS, seconds, rounds, shards: figures };
  } finally {
    for (const { worker } of stages) await worker.stop();
    if (!given) origin.close();
    rmSync(folder, { recursive: true });
  }
}

/** Replays go over 1,000 keys, which the rounds before have made; every other request has a key of its own. */
const SCRIPT = `
local thread = 0
function setup(it) it:set("id", thread); thread = thread + 1 end
function init() n = 0 end
function request()
  n = n + 1
  return wrk.format("POST", "/v1/payments", { ["Content-Type"] = "application/json", ["Idempotency-Key"] = KEY }, '{"amount":10}')
end
`;
const KEYS = { replay: '"known-" .. (n % 1000)', first_seen: '"TAG-" .. id .. "-" .. n' };

async function wrk(worker, folder, kind, seconds, tag) {
  const script = path.join(folder, `${kind}-${tag}.lua`);
  writeFileSync(script, SCRIPT.replace("KEY }", `${KEYS[kind].replace("TAG", `${tag}-${Date.now()}`)} }`));
  const before = cpuMs(worker.pid);
  const { stdout } = await promisify(execFile)("wrk", ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "-s", script, `http://127.0.0.1:${worker.port}`]);
  const requests = Number(/(\d+) requests in/.exec(stdout)[1]);
  if (/Non-2xx/.test(stdout)) throw new Error(`not every answer was a 201:\n${stdout}`);
  return { perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)[1]), cpu: (cpuMs(worker.pid) - before) / requests };
}

if (import.meta.filename === process.argv[1]) {
  console.log(JSON.stringify(await scale({ say: (line) => console.error(line) }), null, 1));
  process.exit();
}
