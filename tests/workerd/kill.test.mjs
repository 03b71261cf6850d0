// Contract 1.5: the runtime killed with SIGKILL at every step of a request, and restarted on the same disk. Clients
// retry until every key has come to its end: none runs twice, no reply that was settled is lost, none is stuck.
// ONCEGATE_NIGHTLY=1 kills 200 times and more.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
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
      await spread(lanes, now);
      // What a kill cut off is in doubt when its lease is over; then come the kills that begin there.
      await each(lanes, (lane) => lane.finish(lane.operations.filter((it) => it.route === "hold")));
      await spread(lanes, Object.keys(LATE));
      await each(lanes, (lane) => lane.finish(lane.operations));
      // An end stays what it is.
      await each(lanes, (lane) => each(lane.operations.filter((it) => it.end), (it) => it.retry()));
      judge(lanes);
    } finally {
      await each(lanes, (lane) => lane.stop());
    }
  });
});

/** Every step as many times as there are, over the lanes: what needs to see the Ledger's calls on those that do. */
async function spread(lanes, names) {
  const kills = Array.from({ length: TIMES }, () => names).flat();
  const pick = (lane) => {
    const mine = kills.findIndex((name) => Boolean(STEPS[name].watched) === lane.watched);
    const any = mine >= 0 ? mine : kills.findIndex((name) => !STEPS[name].watched);
    return any >= 0 ? kills.splice(any, 1)[0] : null;
  };
  await each(lanes, async (lane) => {
    for (let name; (name = pick(lane)); ) await lane.kill(name, STEPS[name]);
  });
}

function judge(lanes) {
  const operations = lanes.flatMap((lane) => lane.operations);
  const verdicts = operations.map((operation) => ({ operation, ...operation.verdict }));
  const sum = (count) => verdicts.reduce((total, verdict) => total + Number(count(verdict)), 0);
  const byStep = Object.fromEntries(Object.keys(STEPS).map((name) => [name, { kills: 0 }]));
  for (const { aimed, end, promised } of operations.filter((it) => it.aimed)) {
    const ended = end === "replayed" ? `replayed run ${promised?.run}` : (end ?? "stuck");
    byStep[aimed].kills += 1;
    byStep[aimed][ended] = (byStep[aimed][ended] ?? 0) + 1;
  }
  const figures = {
    part: "kills",
    kills: lanes.reduce((total, lane) => total + lane.kills, 0),
    keys: operations.length,
    executions: sum((it) => it.operation.runs.length),
    duplicate_executions: sum((it) => it.duplicates),
    lost_replies: sum((it) => it.lost),
    stuck_keys: sum((it) => it.stuck),
    wrong_ends: sum((it) => it.wrong.length > 0),
    sweeps_cut_short: lanes.flatMap((lane) => lane.sweeps).filter(({ due, left }) => left > 0 && left < due).length,
    by_step: byStep,
  };
  console.log(`figures: ${JSON.stringify(figures)}`);
  const bad = verdicts.filter((it) => it.duplicates || it.lost || it.stuck || it.wrong.length);
  const story = bad.slice(0, 5).map(({ operation, duplicates, lost, stuck, wrong }) => {
    const what = [duplicates && `${duplicates} duplicate executions`, lost && "a lost reply", stuck && "stuck", ...wrong];
    return `  ${what.filter(Boolean).join("; ")}\n  ${operation}`;
  });
  assert.equal(bad.length, 0, `${bad.length} keys went wrong, such as:\n${story.join("\n")}`);
  for (const [name, { kills }] of Object.entries(byStep)) assert.equal(kills, TIMES, name);
  if (NIGHTLY) assert.ok(figures.sweeps_cut_short > 0, "no kill came in the middle of a sweep");
}
