// Schedules and queues: the runtime killed with SIGKILL at every step of a message and of a slot, and restarted on the
// same disk. What was not acknowledged is delivered again and the trigger fires again: nothing runs twice, no message
// is lost, and each comes to its end. ONCEGATE_NIGHTLY=1 kills fifty times at each step.

import { describe, test } from "node:test";
import { JOB_STEPS } from "./kill/job-steps.mjs";
import { JOBS } from "./kill/jobs.mjs";
import { judge, spread } from "./kill/judge.mjs";
import { Lane, each } from "./kill/lane.mjs";

const NIGHTLY = process.env.ONCEGATE_NIGHTLY === "1";
const TIMES = NIGHTLY ? 50 : 1;

describe("killed at every step of a job", { timeout: NIGHTLY ? 900_000 : 120_000 }, () => {
  test("no message and no slot runs twice, none is lost, and each ends as it should", async () => {
    const lanes = [true, false].map((watched) => new Lane({ watched, more: JOBS }));
    try {
      await each(lanes, (lane) => lane.start());
      await spread(lanes, JOB_STEPS, TIMES);
      await each(lanes, (lane) => lane.finish(lane.operations));
      // An end stays what it is, however often the platform delivers or fires.
      await each(lanes, (lane) => each(lane.operations.filter((it) => it.end), (it) => it.retry()));
      judge(lanes, { part: "kills of jobs", steps: JOB_STEPS, times: TIMES });
    } finally {
      await each(lanes, (lane) => lane.stop());
    }
  });
});
