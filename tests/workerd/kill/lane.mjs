// A lane of kills: one Oncegate on one disk that is killed and restarted again and again, its origin and its clients.

import { once } from "node:events";
import { watch } from "node:fs";
import http from "node:http";
import path from "node:path";
import { gate, start, startOrigin } from "../harness.mjs";
import { Operation } from "./operation.mjs";

/** The events that a Worker tells its Ledger of, as src/lifecycle/event.rs numbers them, and the call of a Runner. */
export const ASK = { claim: 0, settle: 1, release: 2, doubt: 3, take: "take" };
export const MiB = 1024 * 1024;

/** timeout + 15 s of lease: what is cut off is in doubt 16 s later. */
const timeout = "1s";
const ROUTES = [
  { name: "hold", methods: ["POST"], path: "/hold/{*rest}", timeout },
  { name: "retry", methods: ["POST"], path: "/retry/{*rest}", timeout, on_in_doubt: "retry" },
  {
    name: "again", methods: ["POST"], path: "/again/{*rest}", timeout,
    client_strategies: ["return_existing", "fail", "fail_on_running"],
    on_in_doubt: "probe", probe: "/probe/{key}", probe_after: "0s",
  },
  { name: "brief", methods: ["POST"], path: "/brief/{*rest}", timeout, ttl: "4s", tombstone: "1h" },
];
export const AGAIN = { "X-On-Conflict": "FAIL_ON_RUNNING" };

export class Lane {
  /** Every operation that was ever sent here. */
  operations = [];
  kills = 0;
  /** For each kill during an alarm: how many replies were due, and how many were still there after it. */
  sweeps = [];
  #watcher;
  #byKeyId = new Map();

  /** `watched`: every call of a Ledger can be held back, at the price of a go-between. `more`: further options of the
   *  harness, with `routes` beside those that are always there. */
  constructor({ watched, more = {} }) {
    Object.assign(this, { watched, more });
  }
  async start() {
    this.origin = await startOrigin();
    const routes = [...ROUTES, ...(this.more.routes ?? [])];
    const options = { ...this.more, origin: this.origin, routes, shards: 2 };
    if (this.watched) {
      this.#watcher = await startWatcher((call) => this.#called(call));
      Object.assign(options, { ledger: "faulty", runner: "faulty", watcher: this.#watcher.url });
    }
    this.worker = await start(options);
  }
  async stop() {
    await this.worker?.stop();
    this.#watcher?.close();
    this.origin?.close();
  }

  /** Kills at the step and restarts on the same disk; every key of this round is retried once, at once. */
  async kill(name, step) {
    const round = (this.round = { name, operations: [], pending: [], gates: [], dead: gate() });
    await step.prepare?.(this);
    if (!step.alone) await this.#company(step.quiet);
    const aimed = await step.run(this);
    Object.assign(aimed, { aimed: name, expected: step.expected });
    if (!round.operations.includes(aimed)) round.operations.push(aimed);
    await within(20_000, round.dead.opened, name).catch((never) => (aimed.wrong.push(never.message), this.cut()));
    await round.killed;
    this.kills += 1;
    for (const it of round.gates) it.open();
    await Promise.all(round.pending);
    step.killed?.(this);
    await this.worker.restart();
    if (!step.later) await each(round.operations, async (it) => (it.atOnce = await it.retry()));
    await step.restarted?.(this, aimed);
  }

  /** The kill itself: when this returns, the signal has been sent. */
  cut() {
    const { round } = this;
    if (round.killed) return;
    for (const it of round.operations) it.say(`KILLED ${round.name}`);
    round.killed = this.worker.kill();
    round.dead.open();
  }
  /** The kill, so many milliseconds from now, to the fraction. */
  cutAfter(ms) {
    const at = performance.now() + ms;
    const look = () => (performance.now() < at ? setImmediate(look) : this.cut());
    look();
  }
  /** The kill, so many milliseconds after a Ledger's database is next written to, some writes to it left out. */
  cutAtWrite(ms, leftOut = 0) {
    const writes = new Map();
    const it = watch(path.join(this.worker.disk, "ledger"), (_, file) => {
      if (!/^[0-9a-f]{64}\.sqlite-wal$/.test(file)) return;
      writes.set(file, (writes.get(file) ?? 0) + 1);
      if (writes.get(file) <= leftOut) return;
      it.close();
      this.cutAfter(ms);
    });
    this.round.dead.opened.then(() => it.close());
  }
  /** Calls back when a call about the operation is at that point; the call goes on when that has returned. */
  at(operation, when, ask, back) {
    operation.watch = (call) => {
      if (call.when !== when || call.ask !== ask) return;
      operation.watch = undefined;
      back();
    };
  }
  async #called(call) {
    const named = () => this.round?.operations.find((it) => call.head.includes(it.path));
    if (call.ask === ASK.take) return named()?.watch?.(call);
    const found = call.ask === ASK.claim && named();
    if (found) this.#byKeyId.set(call.key, found);
    await this.#byKeyId.get(call.key)?.watch?.(call);
  }

  operation(route, answers) {
    return this.add(new Operation(this, route, answers));
  }
  /** Puts an operation among those of this round. */
  add(it) {
    this.operations.push(it);
    this.round.operations.push(it);
    return it;
  }
  gate() {
    const it = gate();
    this.round.gates.push(it);
    return it;
  }
  /** Sends and goes on; the end of it is awaited after the kill. */
  send(operation, headers) {
    const answer = operation.send(headers);
    this.round.pending.push(answer);
    return answer;
  }
  /** An operation that is at the origin and stays there. */
  async working(route, headers, before = []) {
    const reached = gate();
    const it = this.operation(route, [...before, { wait: this.gate().opened, reached: reached.open }, {}]);
    for (const _ of before) await it.send();
    this.send(it, headers);
    await within(10_000, reached.opened, "the origin");
    return it;
  }
  /** Keys in other states than the one that the kill is aimed at. */
  async #company(quiet) {
    const { round } = this;
    const held = async (expected, ...what) => Object.assign(await this.working(...what), { expected });
    const unanswered = ["in-flight", "outcome-unknown"];
    const joined = async () => {
      const it = await held({ atOnce: unanswered, ends: ["unknown"] }, "hold");
      for (let n = 0; n < 2; n++) this.send(it);
    };
    await Promise.all([
      this.operation("hold").send(),
      joined(),
      held({ atOnce: unanswered, ends: ["replayed"] }, "retry"),
      // The probe knows nothing of the second run, so the reply of the first has to come back.
      held({ atOnce: unanswered, ends: ["replayed"], run: 1 }, "again", AGAIN, [{}]),
    ]);
    const traffic = async () => {
      while (!round.killed) await this.operation("hold", [{ bytes: Math.random() < 0.2 ? 1.2 * MiB : 300 }]).send();
    };
    if (!quiet) round.pending.push(traffic(), traffic());
  }

  /** Retries every operation that has not come to its end until it has, or until it never will. */
  async finish(operations) {
    const patience = performance.now() + 40_000;
    await each(operations.filter((it) => !it.end), async (it) => {
      while (!it.end && performance.now() < patience) {
        const said = await it.retry();
        if (said !== "executed" && !it.end) await new Promise((resolve) => setTimeout(resolve, 500)); // sooner than Retry-After says
      }
    }, 64);
  }
}

/** Runs `work` over the items, so many at a time. */
export async function each(items, work, width = 8) {
  const left = [...items];
  await Promise.all(Array.from({ length: width }, async () => {
    for (let it; (it = left.shift()); ) await work(it);
  }));
}

async function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What the faulty Ledger and Runner tell of each call: { when, ask, key, head }, held until `onCall` is done. */
async function startWatcher(onCall) {
  const server = http.createServer(async (req, res) => {
    const parts = [];
    for await (const part of req) parts.push(part);
    const head = Buffer.concat(parts);
    // [version][head length u32][key id 32][shards][question][event], see src/protocol.rs: a number below 128 is one
    // byte, and the first question is an event.
    const [, question, event] = head.subarray(37, 40);
    const [, of, when] = req.url.split("/");
    if (of === "runner") await onCall({ when, ask: ASK.take, head });
    else await onCall({ when, ask: question === 0 ? event : undefined, key: head.toString("hex", 5, 37), head });
    res.end();
  });
  server.on("connection", (socket) => socket.on("error", () => {}));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => (server.closeAllConnections(), server.close()) };
}
