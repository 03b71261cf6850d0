// `npm run bench`: what a request costs, beside the floors and beside others.
//
//   npm run bench                                about ten minutes
//   npm run bench -- --quick                     a minute and a half: 16 connections, the main cells
//   npm run bench -- --only first-seen,replay    these cells, and the pass-through
//   npm run bench -- --rounds 9 --seconds 2      more rounds of so many seconds
//   npm run bench -- --against ../other/build    another build of Oncegate beside this one
//
// Subjects are measured in turn, round by round, so that whatever else the machine does meets all of them; a figure is
// the median of its rounds, a ratio the median of the ratios of each round.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { build } from '../scripts/build.mjs';
import { ROOT, Stop, TOOLS, TTY, main, say, seconds as since } from '../scripts/run.mjs';
import { cells, measure, named, prepare } from './cells.mjs';
import { needsWrk } from './load.mjs';
import { HEAD, cellsOf, rows, table, targets, told } from './report.mjs';
import { SUBJECTS, oncegate, pins, start, startOrigin } from './subjects.mjs';

const DEFAULT = { rounds: 5, seconds: 3, connections: [1, 16, 64], more: true };
const QUICK = { rounds: 4, seconds: 2, connections: [16], more: false };
const WARM_UP_SECONDS = 1;

async function bench(args) {
  const began = performance.now();
  const options = parse(args);
  await needsWrk();
  say(await build());
  const origin = await startOrigin();
  try {
    await story(origin, options);
  } finally {
    origin.stop();
  }
  say(`${since(began)}`);
}

async function story(origin, options) {
  const all = { ...SUBJECTS, ...(options.against && { against: () => oncegate(resolve(options.against)) }) };
  const others = options.against ? ['against'] : [];
  say(`${options.rounds} rounds of ${options.seconds} s, ${pins()}`);
  const measured = await rounds(all, others, origin, options);
  const results = { machine: pins(), rows: rows(measured), targets: targets(measured) };
  say(table(HEAD, results.rows.map(cellsOf)));
  say('');
  for (const target of results.targets) say(told(target));
  mkdirSync(TOOLS, { recursive: true });
  const file = join(TOOLS, 'bench.json');
  writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`);
  say(`\nall figures in ${relative(ROOT, file)}`);
}

/** Every cell in every round. */
async function rounds(all, others, origin, options) {
  const list = cells({ ...options, others });
  const on = { origin, filters: ['floor', 'oncegate', ...others], plain: [] };
  const subjects = [...new Set(list.map(({ subject }) => subject))];
  for (const subject of subjects) on[subject] = await start(all[subject](), origin);
  const measured = list.map((cell) => ({ cell, rounds: [] }));
  const progress = showProgress(list.length * (options.rounds + 1));
  try {
    for (const subject of subjects) await prepare(subject, on, list);
    for (const { cell } of measured) {
      progress(`warming up: ${named(cell)}`);
      await measure(cell, on, WARM_UP_SECONDS);
    }
    for (let round = 1; round <= options.rounds; round++) {
      for (const { cell, rounds } of measured) {
        progress(`round ${round}: ${named(cell)}`);
        rounds.push(await measure(cell, on, options.seconds));
      }
    }
  } finally {
    progress();
    for (const subject of subjects) await on[subject]?.stop();
  }
  return measured;
}

/** Which cell, and how many are left: one line written over again on a terminal, elsewhere one now and then. */
function showProgress(total) {
  let [left, told] = [total, 0];
  return (label) => {
    if (TTY) process.stdout.write(`\r\x1b[2K${label ? `  ${label}, ${left--} left` : ''}`);
    else if (label && left-- && performance.now() - told > 15_000) {
      told = performance.now();
      say(`  ${label}, ${left + 1} left`);
    }
  };
}

function parse(args) {
  const options = { ...(args.includes('--quick') ? QUICK : DEFAULT) };
  for (let at = 0; at < args.length; at++) {
    const value = () => args[++at] ?? fail(`${args[at - 1]} needs a value`);
    const number = () => Number(value()) || fail(`${args[at - 1]} needs a number`);
    if (args[at] === '--quick') continue;
    else if (args[at] === '--only') options.only = value().split(',');
    else if (args[at] === '--against') options.against = value();
    else if (args[at] === '--rounds') options.rounds = number();
    else if (args[at] === '--seconds') options.seconds = number();
    else fail(`no option "${args[at]}": see the top of bench/bench.mjs`);
  }
  return options;
}

function fail(message) {
  throw new Stop(message);
}

await main(() => bench(process.argv.slice(2)));
