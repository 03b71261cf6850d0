// Contract part 3: the runtime killed with SIGKILL at every step of a call that a Runner makes, and restarted on the
// same disk. A Runner that has died is a lease that lapses: the call ends in doubt and is never made again.
// ONCEGATE_NIGHTLY=1 kills fifty times at each step.

import { describe, test } from "node:test";
import { judge, spread } from "./kill/judge.mjs";
import { Lane, each } from "./kill/lane.mjs";
import { LATER, RUNNER_STEPS } from "./kill/runner-steps.mjs";

const NIGHTLY = process.env.ONCEGATE_NIGHTLY === "1";
const TIMES = NIGHTLY ? 50 : 1;

describe("killed at every step of a Runner's call", { timeout: NIGHTLY ? 900_000 : 120_000 }, () => {
  test("no call is made twice, no settled reply is lost, and every status address tells the end", async () => {
    const lanes = [true, false].map((watched) => new Lane({ watched, more: LATER }));
    try {
      await each(lanes, (lane) => lane.start());
      await spread(lanes, RUNNER_STEPS, TIMES);
      await each(lanes, (lane) => lane.finish(lane.operations));
      // An end stays what it is.
      await each(lanes, (lane) => each(lane.operations.filter((it) => it.end), (it) => it.retry()));
      judge(lanes, { part: "kills of Runners", steps: RUNNER_STEPS, times: TIMES });
    } finally {
      await each(lanes, (lane) => lane.stop());
    }
  });
});
