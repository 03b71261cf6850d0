// `npm run bench -- --against DIR`: this build beside another one, in pairs.
//
// What is measured is CPU time per request. In each round both builds answer the same load one right after the other,
// and who is first alternates, so that whatever else the machine does meets both. A ratio is taken of each pair; what
// counts is the median of the ratios, and the quartiles tell how sure it is. A build beside itself reads 0.95 to 1.08.

import { cell, measure, prepare } from './cells.mjs';
import { median, table } from './report.mjs';
import { startUp } from './start-up.mjs';
import { start } from './subjects.mjs';

export const ROWS = ['first-seen', 'replay', 'unguarded', 'replay 100 KB', 'replay 1 MB'];
const CONNECTIONS = 16;
const WARM_UP_SECONDS = 1;
const STARTS = 10;
const RATIO_MAX = 1.05;
const START_UP_MS_MAX = 40;

/** Measures two builds; `subjects` is { this, other }, each a function that gives a subject. */
export async function pairs(subjects, origin, { rounds, seconds, only = ROWS }, progress) {
  const list = ROWS.filter((what) => only.includes(what)).map((what) => Object.keys(subjects).map((name) => cell(name, what, CONNECTIONS)));
  const on = { origin };
  const cpu = new Map(list.flat().map((cell) => [cell, []]));
  try {
    for (const { runtime, subject } of list.flat()) on[runtime] ??= await start(subjects[subject](), origin);
    for (const runtime of Object.keys(on)) if (runtime !== 'origin') await prepare(runtime, on, list.flat());
    for (const one of list.flat()) await measure(one, on, WARM_UP_SECONDS);
    for (let round = 0; round < rounds; round++) {
      for (const pair of list) {
        progress(`round ${round + 1} of ${rounds}: ${pair[0].what}`);
        for (const one of round % 2 ? pair.toReversed() : pair) cpu.get(one).push((await measure(one, on, seconds)).cpu * 1000);
      }
    }
  } finally {
    for (const [name, runtime] of Object.entries(on)) if (name !== 'origin') await runtime.stop();
  }
  const rows = list.map(([own, other]) => compared(own.what, cpu.get(own), cpu.get(other)));
  const cases = Object.entries(subjects).map(([subject, make]) => ({ subject, what: 'first-seen', make }));
  return { rounds, seconds, rows, startUp: await startUp(origin, STARTS, progress, cases) };
}

function compared(what, own, other) {
  const ratios = own.map((micros, round) => micros / other[round]).sort((a, b) => a - b);
  const at = (part) => ratios[Math.round((ratios.length - 1) * part)];
  return { what, own: median(own), other: median(other), ratio: median(ratios), quartiles: [at(0.25), at(0.75)] };
}

/** The table that people read. */
export function pairsReport({ rounds, seconds, rows, startUp: starts }) {
  const head = ['CPU per request', 'this, µs', 'other, µs', 'ratio', 'quartiles', ''];
  const lines = rows.map(({ what, own, other, ratio, quartiles }) => [
    what, own.toFixed(0), other.toFixed(0), ratio.toFixed(3), quartiles.map((each) => each.toFixed(3)).join(' to '),
    ratio <= RATIO_MAX ? 'ok' : `above ${RATIO_MAX}`,
  ]);
  const beyond = starts.map(({ subject, cpu_ms: ms }) => `${subject} ${ms.toFixed(0)} ms`).join(', ');
  return [
    `${rounds} pairs of ${seconds} s each, ${CONNECTIONS} connections; median of the ratios of the pairs`,
    table(head, lines),
    `start-up to the first answer, CPU beyond a hello-world Worker's (at most ${START_UP_MS_MAX} ms): ${beyond}`,
  ].join('\n');
}
