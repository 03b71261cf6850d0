// One key among those that are killed: what was sent, seen and executed of it, and whether that was right.

import { createHash, randomBytes } from "node:crypto";
import { freshKey } from "../harness.mjs";

const ENDS = ["replayed", "unknown"];
const began = performance.now();

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
  /** An answer gave other bytes than were promised. */
  broken = false;
  end = null;

  /** answers: for each run { status = 201, headers, bytes, wait, reached, sent, head }; the last one goes on. */
  constructor(lane, route, answers = [{}], path = `/${route}/${++Operation.#count}.`) {
    Object.assign(this, { lane, route, answers, key: freshKey(), path });
    lane.origin.on(this.path, (execution) => this.#execute(execution));
    if (answers[0].head) lane.origin.onStream(this.path, (execution) => this.#execute(execution));
    lane.origin.on(`/probe/${this.key}`, () => (this.say("probed: not known"), this.probed?.(), { status: 404 }));
  }
  say(what) {
    this.history.push(`${((performance.now() - began) / 1000).toFixed(4)}  ${what}`);
  }
  async #execute(execution) {
    const answer = this.answers[Math.min(this.runs.length, this.answers.length - 1)];
    const { status = 201, headers = [], bytes = 100, wait, reached, sent } = answer;
    const body = Buffer.concat([Buffer.from(`run ${this.runs.length + 1} of ${this.key} `), randomBytes(bytes)]);
    const run = { number: this.runs.length + 1, status, digest: digest(body), attempt: execution.get("Idempotency-Attempt"), at: Date.now() };
    this.runs.push(run);
    this.say(`EXECUTED: run ${run.number}, attempt ${run.attempt}, answers ${status}, ${body.length} bytes, ${run.digest}`);
    answer.head?.();
    reached?.();
    await wait;
    return { status, headers: [["Content-Type", "application/octet-stream"], ...headers], body, sent };
  }

  /** One request; resolves to what it came to, or "cut". */
  send(headers = {}, first = () => {}) {
    this.say(`sent ${JSON.stringify(headers)}`);
    return this.exchange({ path: this.path, key: this.key, body: "{}", headers: { "Content-Type": "application/json", ...headers } }, first);
  }
  async exchange(request, first = () => {}) {
    const exchange = this.lane.worker.open(request);
    let said = "cut";
    try {
      const head = await exchange.head;
      first(head);
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
    this.broken ||= !run || run.number < this.promised.run;
    if (!run) this.wrong.push("an answer that no run gave");
    else if (run.number < this.promised.run) this.wrong.push("an older reply in place of one that was seen");
    else this.promised = { digest: run.digest, run: run.number };
    if (said === "executed" && run !== this.runs.at(-1)) this.wrong.push("executed, but with an earlier run's reply");
  }
  /** A retry that does not wait; says what it came to, and keeps it as the end where it is one. */
  async retry() {
    return this.heard(await this.send({ Prefer: "wait=0" }));
  }
  heard(said) {
    const end = { "outcome-unknown": ["hold", "later"].includes(this.route) ? "unknown" : null, replayed: "replayed" }[said] ?? null;
    if (this.end && end !== this.end) this.wrong.push(`${said} after the end, which was: ${this.end}`);
    else this.end = end;
    return said;
  }

  /** How it went: { duplicates: how many runs too many, lost, stuck, wrong: [why it did not end as it should, …] }. */
  get verdict() {
    // What answered that it did nothing did nothing.
    const paid = this.runs.filter((run) => run.status !== 429).length;
    // Again: the client asked for two. Retry: an idempotent origin may be asked again after every kill.
    const allowed = { hold: 1, later: 1, again: 2, retry: Math.max(1, this.attempts) }[this.route];
    const stuck = !ENDS.includes(this.end);
    const lost = this.broken || (this.promised !== null && this.end === "unknown");
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
    return { duplicates: Math.max(0, paid - allowed), lost, stuck, wrong };
  }
  /** How many attempts a `retry` operation may have had: one more than kills that cut one. */
  get attempts() {
    return 1 + this.history.filter((line) => line.includes("KILLED")).length;
  }
  toString() {
    const what = (n) => this.history[n]?.replace(/^\S+/, "");
    // The same retries with the same answers, over and over: two are enough.
    const lines = this.history.filter((_, n) => what(n) !== what(n - 2) || what(n) !== what(n - 4) || what(n) !== what(n + 2));
    return `${this.aimed ? `aimed at: ${this.aimed}, ` : ""}${this.route}, key ${this.key}\n    ${lines.join("\n    ")}`;
  }
}

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex").slice(0, 16);
