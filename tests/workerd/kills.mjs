// A lane of kills: one Oncegate on one disk that is killed and restarted again and again, its origin, its clients,
// and for every key what was sent, seen and executed.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { watch } from "node:fs";
import http from "node:http";
import path from "node:path";
import { freshKey, gate, start, startOrigin } from "./harness.mjs";

/** What a Worker asks its Ledger, as src/wire.rs numbers it. */
export const ASK = { claim: 1, settle: 2, release: 3, doubt: 4 };
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
const ENDS = ["replayed", "unknown"];
const began = performance.now();

export class Lane {
  /** Every operation that was ever sent here. */
  operations = [];
  kills = 0;
  /** For each kill during an alarm: how many replies were due, and how many were still there after it. */
  sweeps = [];
  #watcher;
  #byKeyId = new Map();

  /** `watched`: every call of a Ledger can be held back, at the price of a go-between. */
  constructor({ watched }) {
    this.watched = watched;
  }
  async start() {
    this.origin = await startOrigin();
    const options = { origin: this.origin, routes: ROUTES, shards: 2 };
    if (this.watched) {
      this.#watcher = await startWatcher((call) => this.#called(call));
      Object.assign(options, { ledger: "faulty", watcher: this.#watcher.url });
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
    await this.#company(step.quiet);
    const aimed = await step.run(this);
    Object.assign(aimed, { aimed: name, expected: step.expected });
    if (!round.operations.includes(aimed)) round.operations.push(aimed);
    await within(15_000, round.dead.opened, `the kill ${name}`);
    await round.killed;
    this.kills += 1;
    for (const it of round.gates) it.open();
    await Promise.all(round.pending);
    step.killed?.(this);
    await this.worker.restart();
    await each(round.operations, async (it) => (it.atOnce = await it.retry()));
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
    operation.watch = (call) => call.when === when && call.ask === ask && back();
  }
  async #called(call) {
    if (call.ask === ASK.claim) {
      const found = this.round?.operations.find((it) => call.head.includes(it.path));
      if (found) this.#byKeyId.set(call.key, found);
    }
    await this.#byKeyId.get(call.key)?.watch?.(call);
  }

  operation(route, answers) {
    const it = new Operation(this, route, answers);
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

/** One key: how its origin answers, run by run, and all that was seen of it. */
export class Operation {
  static #count = 0;
  runs = [];
  history = [];
  wrong = [];
  /** What a client has been told is stored: the digest of its bytes (null: it saw the head only) and its run. */
  promised = null;
  /** Some request for it was cut off, or answered that nobody knows. */
  doubtful = false;
  end = null;

  /** answers: for each run { status = 201, bytes, wait, reached, sent, head }; the last one goes on. */
  constructor(lane, route, answers = [{}]) {
    Object.assign(this, { lane, route, answers, key: freshKey(), path: `/${route}/${++Operation.#count}.` });
    lane.origin.on(this.path, (execution) => this.#execute(execution));
    if (answers[0].head) lane.origin.onStream(this.path, (execution) => this.#execute(execution));
    lane.origin.on(`/probe/${this.key}`, () => (this.say("probed: not known"), this.probed?.(), { status: 404 }));
  }
  say(what) {
    this.history.push(`${((performance.now() - began) / 1000).toFixed(4)}  ${what}`);
  }
  async #execute(execution) {
    const answer = this.answers[Math.min(this.runs.length, this.answers.length - 1)];
    const { status = 201, bytes = 100, wait, reached, sent } = answer;
    const body = Buffer.concat([Buffer.from(`run ${this.runs.length + 1} of ${this.key} `), randomBytes(bytes)]);
    const run = { number: this.runs.length + 1, status, digest: digest(body), attempt: execution.get("Idempotency-Attempt"), at: Date.now() };
    this.runs.push(run);
    this.say(`EXECUTED: run ${run.number}, attempt ${run.attempt}, answers ${status}, ${body.length} bytes, ${run.digest}`);
    answer.head?.();
    reached?.();
    await wait;
    return { status, headers: [["Content-Type", "application/octet-stream"]], body, sent };
  }

  /** One request; resolves to what it came to, or "cut". */
  async send(headers = {}, first = () => {}) {
    this.say(`sent ${JSON.stringify(headers)}`);
    const exchange = this.lane.worker.open({ path: this.path, key: this.key, body: "{}", headers: { "Content-Type": "application/json", ...headers } });
    let said = "cut";
    try {
      const head = await exchange.head;
      first();
      const stored = ["executed", "replayed", "joined"].includes(head.get("Idempotency-Status"));
      // Stored before it is sent: the head alone is the promise.
      if (stored) this.promised ??= { digest: null, run: 0 };
      const response = await exchange.whole();
      said = /problem/.test(head.get("Content-Type")) ? response.json.code : head.get("Idempotency-Status");
      if (head.status > 500) this.doubtful = true;
      this.say(`saw ${response.status} ${said}${stored ? ` ${digest(response.body)}` : ""}`);
      if (stored) this.#seen(response, said);
    } catch (error) {
      this.say(`cut: ${error.message}`);
    } finally {
      exchange.close();
    }
    if (said === "cut") this.doubtful = true;
    return said;
  }
  #seen(response, said) {
    const run = this.runs.findLast((run) => run.digest === digest(response.body) && run.status === response.status);
    if (!run) this.wrong.push("an answer that no run gave");
    else if (run.number < (this.promised?.run ?? 0)) this.wrong.push("an older reply in place of one that was seen");
    else this.promised = { digest: run.digest, run: run.number };
    if (said === "executed" && run !== this.runs.at(-1)) this.wrong.push("executed, but with an earlier run's reply");
  }
  /** A retry that does not wait; says what it came to, and keeps it as the end where it is one. */
  async retry() {
    const said = await this.send({ Prefer: "wait=0" });
    const end = { "outcome-unknown": this.route === "hold" ? "unknown" : null, replayed: "replayed" }[said] ?? null;
    if (this.end && end !== this.end) this.wrong.push(`${said} after the end, which was: ${this.end}`);
    else this.end = end;
    return said;
  }

  /** What is wrong with how it went: { duplicates, lost, stuck, wrong: [why, …] }. */
  get verdict() {
    // What answered that it did nothing did nothing.
    const paid = this.runs.filter((run) => run.status !== 429).length;
    // Again: the client asked for two. Retry: an idempotent origin may be asked again after every kill.
    const allowed = { hold: 1, again: 2, retry: Math.max(1, this.attempts) }[this.route];
    const stuck = !ENDS.includes(this.end);
    const lost = this.promised !== null && this.end === "unknown";
    const wrong = [...this.wrong];
    if (this.end === "unknown" && !this.doubtful) wrong.push("in doubt although nothing was cut off");
    if (this.end === "replayed" && this.runs.at(-1)?.status === 429) wrong.push("a reply that the origin said to try again");
    const { ends, atOnce, run, runs = this.runs.length } = this.expected ?? {};
    if (ends && !ends.includes(this.end)) wrong.push(`ended ${this.end}, not ${ends.join(" or ")}`);
    if (atOnce && !atOnce.includes(this.atOnce)) wrong.push(`${this.atOnce} right after the restart, not ${atOnce.join(" or ")}`);
    if (runs !== this.runs.length) wrong.push(`${this.runs.length} runs, not ${runs}`);
    if (run && this.promised?.run !== run) wrong.push(`the reply of run ${this.promised?.run}, not ${run}`);
    const attempts = this.runs.filter((run) => run.status !== 429);
    if (this.route === "retry") {
      attempts.forEach((run, n) => {
        if (run.attempt !== String(n + 1)) wrong.push(`attempt ${run.attempt} in place of ${n + 1}`);
        if (n && run.at - attempts[n - 1].at < 15_900) wrong.push("forwarded again while the lease of the attempt before lived");
      });
    }
    return { duplicates: Math.max(0, paid - allowed), lost: lost || wrong.some((why) => /older reply|no run gave/.test(why)), stuck, wrong };
  }
  /** How many attempts a `retry` operation may have had: one more than kills that cut one. */
  get attempts() {
    return 1 + this.history.filter((line) => line.includes("KILLED")).length;
  }
  toString() {
    return `${this.aimed ? `aimed at: ${this.aimed}, ` : ""}${this.route}, key ${this.key}\n    ${this.history.join("\n    ")}`;
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

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex").slice(0, 16);

/** What the faulty Ledger tells of each call: { when, ask, key, head }, held until `heard` is done. */
async function startWatcher(heard) {
  const server = http.createServer(async (req, res) => {
    const parts = [];
    for await (const part of req) parts.push(part);
    const head = Buffer.concat(parts);
    // [version][head length u32][key id 32][shards u16][ask u8], see src/wire.rs
    await heard({ when: req.url.slice(1), ask: head[39], key: head.toString("hex", 5, 37), head });
    res.end();
  });
  server.on("connection", (socket) => socket.on("error", () => {}));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => (server.closeAllConnections(), server.close()) };
}
