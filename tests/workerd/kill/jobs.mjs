// Messages and slots among what is killed. Plain workerd has no broker and no triggers, so the test is both: it
// delivers again what was not acknowledged, and fires the trigger of a slot again.

import { setTimeout as pause } from "node:timers/promises";
import { until } from "../harness.mjs";
import { Operation } from "./operation.mjs";

const HOST = "https://jobs.example";
const CRON = "* * * * *";
const FIRST = Date.parse("2026-11-28T00:00:00Z");

/** What a lane with schedules and queues is started with. */
export const JOBS = {
  events: true,
  routes: [{ name: "jobs", methods: ["POST"], path: "/jobs/{*rest}", key: { required: true }, wait: "0s", timeout: "1s", ttl: "14d" }],
  vars: {
    QUEUES: [{ queue: "jobs", key: "message-id", request: { url: `${HOST}/jobs/{body:/n}` } }],
    SCHEDULES: [{ name: "each", cron: CRON, key: "each-{scheduled_time:unix}", request: { url: `${HOST}/jobs/{scheduled_time:unix}` } }],
  },
};

/** What a job may come to; "later" is none of them, since it comes again. */
const ENDS = ["done", "unknown"];
/** What is in doubt comes again a minute later at the earliest; what is in flight when its lease of 16 s is over. */
const DOUBT_S = 60;

/** A request that the filter makes itself. */
class Job extends Operation {
  /** How often the origin said that it had done nothing. */
  get declined() {
    return this.runs.filter((run) => run.status === 429).length;
  }
  /** Makes it once more; says what it came to, and keeps it as the end where it is one. */
  async retry() {
    return this.heard(await this.send());
  }
  heard(said) {
    const end = ENDS.includes(said) ? said : null;
    if (this.end && end !== this.end) this.wrong.push(`${said} after the end, which was: ${this.end}`);
    else this.end = end;
    return said;
  }
  get verdict() {
    const paid = this.runs.length - this.declined;
    const stuck = !this.end;
    const lost = this.end === "done" && (paid === 0 || this.isLost());
    const wrong = [...this.wrong];
    const { ends, atOnce, runs } = this.expected ?? {};
    if (ends && !ends.includes(this.end)) wrong.push(`ended ${this.end}, not ${ends.join(" or ")}`);
    if (atOnce && !atOnce.includes(this.atOnce)) wrong.push(`${this.atOnce} right after the restart, not ${atOnce.join(" or ")}`);
    if (runs !== undefined && runs !== this.runs.length) wrong.push(`${this.runs.length} runs, not ${runs}`);
    return { duplicates: Math.max(0, paid - 1), lost, stuck, wrong };
  }
  isLost() {
    return false;
  }
}

export class Message extends Job {
  #attempts = 0;

  constructor(lane, answers) {
    super(lane, "jobs", answers);
  }
  async send() {
    return (await Message.deliver(this.lane, [this])).get(this);
  }
  /** One batch; resolves to what each message came to. */
  static async deliver(lane, messages) {
    const batch = messages.map((it) => ({ id: it.key, body: { n: it.path.split("/").at(-1) }, attempts: ++it.#attempts }));
    for (const it of messages) it.say(`delivered, attempt ${it.#attempts}`);
    const heard = await lane.worker.deliver("jobs", batch).catch((error) => ({ cut: error.message }));
    return new Map(messages.map((it) => [it, it.#came(heard)]));
  }
  #came({ cut, outcome, explicitAcks, retryMessages, retryBatch }) {
    const again = retryMessages?.find(({ msgId }) => msgId === this.key);
    this.say(cut ? `cut: ${cut}` : `${outcome}, acknowledged ${explicitAcks.includes(this.key)}, again ${JSON.stringify(again)}`);
    if (cut) return "cut";
    if (outcome !== "ok" || retryBatch.retry) this.wrong.push(`the handler failed: ${outcome}`);
    if (explicitAcks.includes(this.key)) return "done";
    // What nobody speaks of counts as acknowledged.
    if (!again) this.wrong.push("neither acknowledged nor sent back");
    return again?.delaySeconds >= DOUBT_S ? "unknown" : "later";
  }
  /** Acknowledged although the origin refused it, and nobody has it. */
  isLost() {
    return this.runs.at(-1)?.status === 402 && !this.lane.worker.aside.some(({ id }) => id === this.key);
  }
}

let slots = 0;

/** A slot of the schedule. */
export class Slot extends Job {
  constructor(lane, answers) {
    const time = FIRST + 60_000 * slots++;
    super(lane, "jobs", answers, `/jobs/${time / 1000}`);
    this.time = time;
  }
  async send() {
    this.say("fired");
    const scheduled = `"scheduled_time":"${new Date(this.time).toISOString()}"`;
    const said = logged(this.lane, (line) => line.startsWith('{"schedule"') && line.includes(scheduled));
    try {
      const { outcome } = await this.lane.worker.fire(CRON, this.time);
      if (outcome !== "ok") this.wrong.push(`the handler failed: ${outcome}`);
      const line = JSON.parse(await until(said, { every: 10, what: "the line of the slot" }));
      this.say(`${line.status} ${line.outcome}, ${line.tries} tries`);
      if (["unknown", "outcome-unknown"].includes(line.outcome)) return "unknown";
      return ["executed", "replayed"].includes(line.outcome) ? "done" : "later";
    } catch (error) {
      this.say(`cut: ${error.message}`);
      return "cut";
    }
  }
}

/** Looks for a line that the log has had since. */
function logged({ worker }, isIt) {
  const from = worker.logs.length;
  return () => worker.logs.slice(from).split("\n").slice(0, -1).find(isIt);
}

/** Calls back when the log has a new line in which each of these is. */
export async function whenLogged(lane, parts, back) {
  const said = logged(lane, (line) => parts.every((part) => line.includes(part)));
  while (!said() && !lane.round.killed) await pause(1);
  back();
}
