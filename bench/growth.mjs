// What becomes of a shard as it grows: a look-up and a claim among 10^3, 10^5 and 10^6 records, a sweep of as many, and
// how long requests are held back by it. `node bench/growth.mjs` after `npm run build`, with Node 22.13 or newer.
//
// One workerd for each size, on a tmpfs where there is one, for code is timed here and not a disk (TMPDIR chooses
// another), measured by turns, so that whatever else the machine does falls on all of them alike.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import http from "node:http";
import { once } from "node:events";
import { onDisk } from "../tests/workerd/disk.mjs";
import { start } from "../tests/workerd/harness.mjs";
import { cpuMs, median, quantile, quickOrigin, rounded, waitedMs } from "./measure.mjs";

const SIZES = [1_000, 100_000, 1_000_000];
const ROUNDS = 24;
const REQUESTS = 40;

const PATH = "/v1/payments";
const LIVE = { methods: ["POST"], name: "live", path: "/v1/{*rest}", ttl: "30d" };
const BRIEF = { methods: ["POST"], name: "brief", path: "/brief", ttl: "1s" };

/** The figures of a shard's growth; progress goes to `say`. */
export async function growth({ say = () => {}, sizes = SIZES, rounds = ROUNDS } = {}) {
  if (!process.env.TMPDIR && existsSync("/dev/shm")) process.env.TMPDIR = "/dev/shm";
  const origin = await quickOrigin();
  try {
    return { lookups: await lookups(origin, sizes, rounds, say), sweeps: await sweeps(origin, sizes, say) };
  } finally {
    origin.close();
  }
}

// ---- look-ups and claims --------------------------------------------------------------------------------------------

async function lookups(origin, sizes, rounds, say) {
  const shards = [];
  try {
    for (const size of sizes) {
      const worker = await filled(origin, size, { expired: false });
      shards.push({ size, worker, client: new Client(worker.port), replay: measured(), claim: measured() });
      say(`${size} records are in a shard`);
    }
    for (let round = -2; round < rounds; round++) {
      // Each round begins with another one: no size is always the one after the largest.
      for (let turn = 0; turn < shards.length; turn++) {
        const shard = shards[(round + 2 + turn) % shards.length];
        const [known, fresh] = [() => `g${Math.floor(Math.random() * shard.size)}`, () => crypto.randomUUID()];
        await block(shard, round < 0 ? measured() : shard.replay, known, "replayed");
        await block(shard, round < 0 ? measured() : shard.claim, fresh, "executed");
      }
    }
    const figures = shards.map(({ size, replay, claim }) => ({ records: size, replay: told(replay), first_seen: told(claim) }));
    const [least, most] = [figures[0], figures.at(-1)];
    const ratio = (of) => rounded(most[of.path][of.figure] / least[of.path][of.figure]);
    const ratios = Object.fromEntries(
      ["replay", "first_seen"].map((path) => [path, { latency: ratio({ path, figure: "median_ms" }), cpu: ratio({ path, figure: "cpu_ms" }) }]),
    );
    for (const { records, replay, first_seen } of figures) {
      say(`${records} records: replay ${replay.median_ms} ms (CPU ${replay.cpu_ms}), first seen ${first_seen.median_ms} ms (CPU ${first_seen.cpu_ms})`);
    }
    say(`${most.records} to ${least.records} records: replay ${ratios.replay.latency}x, first seen ${ratios.first_seen.latency}x`);
    return { requests_each: rounds * REQUESTS, sizes: figures, ratios };
  } finally {
    for (const { worker, client } of shards) (client.close(), await worker.stop());
  }
}

const measured = () => ({ latencies: [], cpus: [] });
const told = ({ latencies, cpus }) => ({ median_ms: rounded(median(latencies)), p99_ms: rounded(quantile(latencies, 0.99)), cpu_ms: rounded(median(cpus)) });

async function block({ worker, client }, into, key, status) {
  const before = cpuMs(worker.pid);
  for (let n = 0; n < REQUESTS; n++) into.latencies.push(await client.send(PATH, key(), status));
  into.cpus.push((cpuMs(worker.pid) - before) / REQUESTS);
}

// ---- sweeps ---------------------------------------------------------------------------------------------------------

async function sweeps(origin, sizes, say) {
  const alone = [];
  for (const rows of sizes) {
    const swept = await sweep(origin, rows, { busy: false });
    alone.push(swept);
    say(`${rows} expired rows swept in ${swept.ms} ms, ${swept.us_per_row} us a row`);
  }
  const busy = await sweep(origin, sizes.at(-1), { busy: true });
  const { held_ms: held, usual_ms: usual } = busy;
  const spelled = ({ median, max, max_own: own }) => `${median} ms, at most ${max}, or ${own} without waiting for a processor`;
  say(`while ${busy.rows} were swept, ${busy.requests} requests took ${spelled(held)}; before, ${spelled(usual)}`);
  return { alone, busy };
}

/** Sweeps so many expired rows; `busy`: with one request after another all the while. */
async function sweep(origin, rows, { busy }) {
  const worker = await filled(origin, rows, { expired: true });
  const client = new Client(worker.port);
  try {
    // Both for how long a request took and for how much of it this process and the runtime waited for a processor.
    const one = async (...request) => {
      const waiting = () => waitedMs(worker.pid) + waitedMs(process.pid);
      const before = waiting();
      const took = await client.send(...request);
      return { took, waited: Math.min(took, waiting() - before) };
    };
    const turn = async (n) => [await one(PATH, crypto.randomUUID(), "executed"), await one(PATH, "kept", n ? "replayed" : "executed")];
    const usual = [];
    for (let n = -200; n < 400; n++) {
      const took = await turn(n + 200);
      if (n >= 0) usual.push(...took);
    }
    await worker.counts();
    const cpu = cpuMs(worker.pid);
    const held = [];
    let [swept, passes, ms, seen] = [0, 0, 0, 0];
    const look = async () => {
      const counts = await worker.counts();
      const now = counts.rows.filter(({ query }) => query.startsWith("DELETE FROM records")).reduce((sum, { written }) => sum + written, 0);
      swept += now;
      passes += counts.alarms;
      ms += counts.alarmMs;
      return now;
    };
    await client.send("/brief", crypto.randomUUID(), "executed");
    for (let next = 0; swept < rows; ) {
      let latest = [];
      if (busy) latest = await turn(1);
      else await new Promise((resolve) => setTimeout(resolve, 20));
      if (performance.now() < next) {
        held.push(...latest);
        continue;
      }
      if (await look()) seen += 1;
      held.push(...latest);
      next = performance.now() + 50;
    }
    // The pass ends a moment after its last row.
    while (!ms) await look();
    const spent = cpuMs(worker.pid) - cpu;
    const figures = { rows, ms: rounded(ms), us_per_row: rounded((ms * 1_000) / rows), passes };
    if (!busy) return { ...figures, cpu_us_per_row: rounded((spent * 1_000) / rows) };
    const spread = (list) => {
      const took = list.map((one) => one.took);
      const own = list.map((one) => one.took - one.waited);
      return { median: rounded(median(took)), p99: rounded(quantile(took, 0.99)), max: rounded(Math.max(...took)), max_own: rounded(Math.max(...own)) };
    };
    return { ...figures, requests: held.length, seen_in_progress: seen, held_ms: spread(held), usual_ms: spread(usual) };
  } finally {
    client.close();
    await worker.stop();
  }
}

// ---- a shard with so many rows --------------------------------------------------------------------------------------

/** An Oncegate of one shard with `size` records of the keys g0, g1 …, each as one request made it. */
async function filled(origin, size, { expired }) {
  const worker = await start({ origin, shards: 1, routes: [BRIEF, LIVE], counting: expired });
  const client = new Client(worker.port);
  await client.send(PATH, "model", "executed");
  client.close();
  await worker.kill();
  onDisk(worker, (database) => {
    const model = database.prepare("SELECT * FROM records").get();
    const due = expired ? Date.now() - 1_000 : model.due;
    const scope = Buffer.from(model.key_id).subarray(16);
    const ids = Array.from({ length: size }, (_, n) => Buffer.concat([createHash("sha256").update(`g${n}`).digest().subarray(0, 16), scope]));
    ids.sort(Buffer.compare);
    const columns = Object.keys(model);
    const insert = database.prepare(`INSERT INTO records (${columns}) VALUES (${columns.map(() => "?")})`);
    database.exec("BEGIN");
    for (const key_id of ids) insert.run(...columns.map((name) => ({ ...model, key_id, due })[name]));
    database.exec("COMMIT");
    database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  });
  await worker.restart();
  return worker;
}

/** One connection, one request after another. */
class Client {
  constructor(port) {
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    this.port = port;
  }
  /** How many ms it took. */
  async send(path, key, status) {
    const began = performance.now();
    const headers = { Host: "shop.example", "Content-Type": "application/json", "Idempotency-Key": key, "Content-Length": 13 };
    const request = http.request({ port: this.port, host: "127.0.0.1", method: "POST", path, headers, agent: this.agent });
    request.end('{"amount":10}');
    const [response] = await once(request, "response");
    response.resume();
    await once(response, "end");
    const took = performance.now() - began;
    const said = response.headers["idempotency-status"];
    if (said !== status) throw new Error(`${path}, key ${key}: ${response.statusCode} ${said}, expected ${status}`);
    return took;
  }
  close() {
    this.agent.destroy();
  }
}

if (import.meta.filename === process.argv[1]) {
  console.log(JSON.stringify(await growth({ say: (line) => console.error(line) }), null, 1));
  process.exit();
}
