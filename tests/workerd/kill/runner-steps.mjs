// Where a call can be that a Runner makes, when the power goes; as steps.mjs has it for calls whose client waits. The
// client of these has gone with a 202, or is cut off before it has one.

import { ASK, MiB } from "./lane.mjs";
import { Operation } from "./operation.mjs";

/** What a lane with such a route is started with. */
export const LATER = { routes: [{ name: "later", methods: ["POST"], path: "/later/{*rest}", timeout: "1s", async: "allow" }] };

/** A request that asks not to be waited for, and then its status address, wherever that is known. */
class LaterOperation extends Operation {
  #address;
  /** Its client has gone, so nobody sees that its call is cut off. */
  doubtful = true;

  constructor(lane, answers) {
    super(lane, "later", answers);
  }
  send(prefer = "respond-async") {
    return super.send({ Prefer: prefer }, (head) => {
      const location = head.get("Location");
      if (location) this.#address = new URL(location).pathname;
    });
  }
  async retry() {
    if (!this.#address) return this.heard(await this.send());
    this.say("asked what became of it");
    const said = await this.exchange({ method: "GET", path: this.#address });
    // The key is free, so it may be sent again, and has the same address.
    if (said === "released") await this.send();
    return this.heard(said);
  }
}

const RUNNING = { atOnce: ["running"], ends: ["unknown"] };
const STORED = { atOnce: ["replayed"], ends: ["replayed"], runs: 1 };
const UP_TO = (ms) => Math.random() * ms;

/** `aim` brings about the kill; it is given the lane and the operation. */
function step(expected, aim, { answers = () => [{}], prefer, ...more } = {}) {
  const run = (lane) => {
    const it = lane.add(new LaterOperation(lane, answers(lane)));
    aim(lane, it);
    lane.send(it, prefer);
    return it;
  };
  return { alone: true, expected, run, ...more };
}
const at = (when, ask, ms = 0) => (lane, it) => lane.at(it, when, ask, () => (ms ? lane.cutAfter(UP_TO(ms)) : lane.cut()));
const stays = (more = () => ({})) => (lane) => [{ wait: lane.gate().opened, ...more(lane) }, {}];
const working = stays((lane) => ({ reached: () => lane.cutAfter(UP_TO(50)) }));
const declines = () => [{ status: 429 }, {}];
const none = () => {};
const watched = true;

export const RUNNER_STEPS = {
  "before the hand-over reaches the Runner": step({ ...RUNNING, runs: 0 }, at("before", ASK.take), { watched }),
  // Mostly before the call, sometimes just after it has begun: 10 and 5 of 15.
  "between the hand-over and the Runner's call": step(RUNNING, at("after", ASK.take), { watched, answers: stays() }),
  "when the origin receives the Runner's call": step({ ...RUNNING, runs: 1 }, none, { answers: stays((lane) => ({ head: () => lane.cut() })) }),
  "while the origin works for a Runner": step({ ...RUNNING, runs: 1 }, none, { answers: working }),
  "while a client waits for a Runner": step({ ...RUNNING, runs: 1 }, none, { prefer: "respond-async, wait=5", answers: working }),
  "answered, before the Runner's settle reaches the Ledger": step({ ...RUNNING, runs: 1 }, at("before", ASK.settle), { watched }),
  "after the Runner's settle, before its answer": step(STORED, at("after", ASK.settle), { watched }),
  "between the Runner's settle and the poll": step(STORED, at("after", ASK.settle, 20), { watched, answers: () => [{ bytes: 1.5 * MiB }] }),
  "before the Runner's release reaches the Ledger": step({ ...RUNNING, runs: 1 }, at("before", ASK.release), { watched, answers: declines }),
  "after the Runner's release, before its answer": step({ atOnce: ["released"], ends: ["replayed"], runs: 2 }, at("after", ASK.release), { watched, answers: declines }),
  "after the Runner's doubt, before its answer": step({ atOnce: ["outcome-unknown"], ends: ["unknown"], runs: 1 }, at("after", ASK.doubt), { watched, answers: () => [{ status: 504 }] }),
};
