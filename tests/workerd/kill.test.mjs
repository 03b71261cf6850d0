// Contract 1.5: the runtime killed with SIGKILL at every step of a request, and restarted on the same disk. Clients
// retry until every key has come to its end: none runs twice, no reply that was settled is lost, none is stuck.
// ONCEGATE_NIGHTLY=1 kills 200 times and more.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge, spread } from "./kill/judge.mjs";
import { Lane, each } from "./kill/lane.mjs";
import { LATE, STEPS } from "./kill/steps.mjs";

const NIGHTLY = process.env.ONCEGATE_NIGHTLY === "1";
const TIMES = NIGHTLY ? 10 : 1;
const now = Object.keys(STEPS).filter((name) => !LATE[name]);

describe("killed at every step", { timeout: NIGHTLY ? 590_000 : 150_000 }, () => {
  test("no key runs twice, no settled reply is lost, every key ends, and as it should", async () => {
    const lanes = [true, true, false, false].map((watched) => new Lane({ watched }));
    try {
      await each(lanes, (lane) => lane.start());
      await spread(lanes, STEPS, TIMES, now);
      // What a kill cut off is in doubt when its lease is over; then come the kills that begin there.
      await each(lanes, (lane) => lane.finish(lane.operations.filter((it) => it.route === "hold")));
      await spread(lanes, STEPS, TIMES, Object.keys(LATE));
      await each(lanes, (lane) => lane.finish(lane.operations));
      // An end stays what it is.
      await each(lanes, (lane) => each(lane.operations.filter((it) => it.end), (it) => it.retry()));
      const figures = judge(lanes, { part: "kills", steps: STEPS, times: TIMES });
      if (NIGHTLY) assert.ok(figures.sweeps_cut_short > 0, "no kill came in the middle of a sweep");
    } finally {
      await each(lanes, (lane) => lane.stop());
    }
  });
});
