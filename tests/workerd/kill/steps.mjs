// Where a request can be when the power goes. Each step brings an operation of its own to exactly there, kills, and
// says what may come of it: `atOnce` what the first retry after the restart hears, `ends` how the key ends, `run`
// whose reply is replayed then. `watched`: needs a lane that sees the calls of the Ledger. `quiet`: no other traffic.

import { setTimeout as pause } from "node:timers/promises";
import { freshKey, until } from "../harness.mjs";
import { AGAIN, ASK, MiB, each } from "./lane.mjs";
import { rowsOf } from "../disk.mjs";

const RUNNING = { atOnce: ["in-flight"], ends: ["unknown"] };
const FREE = { atOnce: ["executed"], ends: ["replayed"] };
const STORED = { atOnce: ["replayed"], ends: ["replayed"] };
const EITHER = { atOnce: ["replayed", "in-flight"], ends: ["replayed", "unknown"] };
const UP_TO = (ms) => Math.random() * ms;

/** Killed when the Ledger's call is at that point. */
function call(when, ask, expected, answers) {
  const run = (lane) => {
    const it = lane.operation("hold", answers);
    lane.at(it, when, ask, () => lane.cut());
    lane.send(it);
    return it;
  };
  return { watched: true, expected, run };
}

/** Killed by something that the origin meets: `answers(lane)` is what it does. */
function origin(expected, answers, more = {}) {
  const run = (lane) => {
    const it = lane.operation("hold", answers(lane));
    lane.send(it);
    return it;
  };
  return { expected, run, ...more };
}

/** Killed by what the client sees of its answer. */
function client(expected, answers, cut) {
  const run = (lane) => {
    const it = lane.operation("hold", answers);
    lane.round.pending.push(cut(lane, it));
    return it;
  };
  return { expected, run };
}

/** A second run of what has been answered, under fail_on_running. */
function rerun(expected, second, more = {}) {
  const run = async (lane) => {
    const it = lane.operation("again", [{ bytes: 2.5 * MiB }, second(lane)]);
    await it.send();
    more.before?.(lane, it);
    lane.send(it, AGAIN);
    return it;
  };
  return { expected, run, ...more };
}

export const STEPS = {
  "before the claim reaches the Ledger": call("before", ASK.claim, FREE),
  "after the claim, before its answer": call("after", ASK.claim, { ...RUNNING, runs: 0 }),
  "when the origin receives the request": origin(RUNNING, (lane) => [{ head: () => lane.cut(), wait: lane.gate().opened }, {}]),
  "while the origin works": origin(RUNNING, (lane) => [{ reached: () => lane.cutAfter(UP_TO(50)), wait: lane.gate().opened }, {}]),
  "while duplicates wait": {
    expected: RUNNING,
    run: async (lane) => {
      const it = await lane.working("hold");
      for (let n = 0; n < 10; n++) lane.send(it);
      // Behind the ten in the Ledger's queue: when this one is answered, they are waiting.
      await it.send({ "X-On-Conflict": "FAIL" });
      lane.cut();
      return it;
    },
  },
  "after the origin's last byte": origin(EITHER, (lane) => [{ sent: () => lane.cutAfter(UP_TO(12)) }]),
  "answered, before the settle reaches the Ledger": call("before", ASK.settle, RUNNING),
  "during the settle": {
    watched: true,
    expected: EITHER,
    run: async (lane) => {
      // How long it takes, from one like it.
      const [like, it] = [0, 1].map(() => lane.operation("hold", [{ bytes: 3.5 * MiB }]));
      const took = [];
      like.watch = ({ ask }) => void (ask === ASK.settle && took.push(performance.now()));
      await like.send();
      lane.at(it, "before", ASK.settle, () => lane.cutAfter(UP_TO(1.2 * (took[1] - took[0]))));
      lane.send(it);
      return it;
    },
  },
  "while the settle is written to the disk": origin(
    EITHER,
    (lane) => [{ bytes: 6 * MiB, reached: () => lane.cutAtWrite(UP_TO(30)) }],
    { quiet: true },
  ),
  "after the settle, before its answer": call("after", ASK.settle, STORED, [{ bytes: 1.5 * MiB }]),
  "when the answer's first byte reaches the client": client(STORED, [{ bytes: 5 * MiB }], (lane, it) => it.send({}, () => lane.cut())),
  "right after the answer reached the client": client(STORED, [{}], (lane, it) => it.send().then(() => lane.cut())),
  "before a release reaches the Ledger": call("before", ASK.release, RUNNING, [{ status: 429 }, {}]),
  "after a release, before its answer": call("after", ASK.release, FREE, [{ status: 429 }, {}]),
  "before a doubt reaches the Ledger": call("before", ASK.doubt, RUNNING, [{ status: 504 }]),
  "after a doubt, before its answer": call("after", ASK.doubt, { atOnce: ["outcome-unknown"], ends: ["unknown"] }, [{ status: 504 }]),
  "during a second run": rerun(
    { atOnce: ["in-flight"], ends: ["replayed"], run: 1 },
    (lane) => ({ reached: () => lane.cut(), wait: lane.gate().opened }),
  ),
  "while a second run's settle is written": rerun(
    { atOnce: ["in-flight", "replayed"], ends: ["replayed"] },
    (lane) => ({ bytes: 4.5 * MiB, reached: () => lane.cutAtWrite(UP_TO(40)) }),
    { quiet: true },
  ),
  "during an alarm": { quiet: true, expected: STORED, prepare: fill, run: duringAlarm, killed: cutShort, restarted: swept },
};

/** Steps of what a kill has left in doubt: they come when its lease is over. */
export const LATE = {
  "during a retry's attempt": { route: "retry", expected: { atOnce: ["in-flight"], ends: ["replayed"] } },
  "while a probe asks the origin": { route: "again", expected: { ends: ["replayed"], run: 1 } },
};
for (const [name, step] of Object.entries(LATE)) {
  STEPS[name] = Object.assign(step, {
    run: (lane) => {
      const it = lane.operations.find((other) => other.route === step.route && !other.end && !other.aimed);
      if (!it) return Object.assign(lane.operation(step.route), { wrong: ["nothing was left in doubt"] });
      lane.round.operations.push(it);
      it.answers = [it.answers[0], { reached: () => lane.cut(), wait: lane.gate().opened }, {}];
      it.probed = () => (lane.cut(), (it.probed = undefined));
      const asking = async () => {
        for (; !lane.round.killed; await pause(50)) await it.retry();
      };
      lane.round.pending.push(asking());
      return it;
    },
  });
}

const ROWS = 700;

/** Many replies with a short ttl. */
async function fill(lane) {
  lane.rows = Array.from({ length: ROWS }, () => ({ path: "/brief/row", key: freshKey() }));
  await each(lane.rows, (row) => lane.worker.send(row), 32);
}

/** Their ttl is over by the time of a restart, so that the alarm sweeps them all at once; killed some time after the
 *  sweep's first write. */
async function duringAlarm(lane) {
  const it = lane.operation("hold");
  await it.send();
  await lane.worker.kill();
  await pause(4_100); // their ttl: nothing happens at its end while there is no runtime
  lane.due = replies(lane);
  // The first time that a file is written to it is opened.
  lane.cutAtWrite(UP_TO(25), 1);
  await lane.worker.restart();
  return it;
}

function cutShort(lane) {
  lane.sweeps.push({ due: lane.due, left: replies(lane) });
}

/** The sweep starts over by itself, and not one of the rows can be run again. */
async function swept(lane, it) {
  await until(() => replies(lane) === 0, { ms: 30_000, every: 200, what: "the sweep after the kill" });
  await each(lane.rows.filter((_, n) => n % 10 === 0), async (row) => {
    const response = await lane.worker.send(row);
    if (response.status !== 410) it.wrong.push(`a swept key answers ${response.status} ${response.text.slice(0, 100)}`);
  });
}

/** How many rows of the brief route still hold their reply. */
const replies = (lane) => rowsOf(lane.worker).filter(({ table, row }) => table === "r" && row.tomb === 1).length;
