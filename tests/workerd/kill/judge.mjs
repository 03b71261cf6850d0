// Which lane kills at which step, and what came of all of it.

import assert from "node:assert/strict";
import { each } from "./lane.mjs";

/** Every step as many times as there are, over the lanes: what needs to see the Ledger's calls on those that do. */
export async function spread(lanes, steps, times, names = Object.keys(steps)) {
  const kills = Array.from({ length: times }, () => names).flat();
  const pick = (lane) => {
    const mine = kills.findIndex((name) => Boolean(steps[name].watched) === lane.watched);
    const any = mine >= 0 ? mine : kills.findIndex((name) => !steps[name].watched);
    return any >= 0 ? kills.splice(any, 1)[0] : null;
  };
  await each(lanes, async (lane) => {
    for (let name; (name = pick(lane)); ) await lane.kill(name, steps[name]);
  });
}

/** Prints the figures and fails where a key went wrong, or a step was not killed as often as it should be. */
export function judge(lanes, { part, steps, times }) {
  const operations = lanes.flatMap((lane) => lane.operations);
  const verdicts = operations.map((operation) => ({ operation, ...operation.verdict }));
  const sum = (count) => verdicts.reduce((total, verdict) => total + Number(count(verdict)), 0);
  const byStep = Object.fromEntries(Object.keys(steps).map((name) => [name, { kills: 0 }]));
  for (const { aimed, end, promised } of operations.filter((it) => it.aimed)) {
    const ended = end === "replayed" ? `replayed run ${promised?.run}` : (end ?? "stuck");
    byStep[aimed].kills += 1;
    byStep[aimed][ended] = (byStep[aimed][ended] ?? 0) + 1;
  }
  const figures = {
    part,
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
  for (const [name, { kills }] of Object.entries(byStep)) assert.equal(kills, times, name);
  return figures;
}
