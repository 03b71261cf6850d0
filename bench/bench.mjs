// `npm run bench`: what a request costs, beside the floors and beside other filters.
//
//   npm run bench                                about ten minutes
//   npm run bench -- --quick                     two minutes: 16 connections and 1, the main cells
//   npm run bench -- --only first-seen,replay    these, and the pass-through; also: unguarded, mixed, "replay 100 KB",
//                                                "replay 1 MB", joins, memory, start-up, disk
//   npm run bench -- --rounds 9 --seconds 2      more rounds of so many seconds
//   npm run bench -- --connections 1,16          at these
//   npm run bench -- --against ../other/build    only this build beside another one, in pairs (bench/pairs.mjs): five minutes;
//                                                with --build DIR, that build in place of this one
//   npm run bench -- --peers                     other filters too (bench/peers.mjs)
//   npm run bench -- --quick --disk              with objects on the disk too, which the default has
//   npm run bench -- --save                      into bench/results.json and docs/
//   npm run bench -- growth                      how it grows, and what shards cost (bench/growth.mjs, bench/scale.mjs);
//                                                with --save too
//
// Subjects are measured in turn, round by round, so that other load of the machine affects all of them. A figure is the
// median of its rounds; a ratio is the median of the ratios of the rounds.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { build } from '../scripts/build.mjs';
import { ROOT, Stop, TOOLS, TTY, main, say, seconds as since } from '../scripts/run.mjs';
import { node, setUp, toolEnv } from '../scripts/setup.mjs';
import { cell, cells, measure, named, prepare } from './cells.mjs';
import { joinStorm } from './join-storm.mjs';
import { needsWrk } from './load.mjs';
import { memory } from './memory.mjs';
import { ROWS, pairs, pairsReport } from './pairs.mjs';
import { peers } from './peers.mjs';
import { plot } from './plot.mjs';
import { growthPage, page, report, rows, targets } from './report.mjs';
import { startUp } from './start-up.mjs';
import { SUBJECTS, oncegate, pins, start, startOrigin, where } from './subjects.mjs';

const DEFAULT = { rounds: 6, seconds: 2, connections: [16, 1, 64], parts: ['joins', 'memory', 'start-up', 'disk'], storms: 20, more: true };
const QUICK = { rounds: 4, seconds: 2, connections: [16, 1], parts: ['joins'], storms: 5, more: false };
const PAIRS = { rounds: 9, seconds: 2, only: ROWS };
const WARM_UP_SECONDS = 1;
const KEYS = 100_000;
const STARTS = 10;

async function bench(args) {
  const began = performance.now();
  if (args[0] === 'growth') return growing(args.slice(1));
  const options = parse(args);
  await needsWrk();
  if (options.against) return inPairs(options);
  say(await build());
  const others = await otherFilters(options);
  const origin = await startOrigin();
  try {
    const results = await story({ ...SUBJECTS, ...others }, Object.keys(others), origin, options);
    say(report(results));
    keep(results, options);
  } finally {
    origin.stop();
  }
  say(since(began));
}

async function inPairs({ against, build: built, ...options }) {
  const began = performance.now();
  if (!built) say(await build());
  const subjects = { this: () => oncegate(resolve(built ?? 'build')), other: () => oncegate(resolve(against)) };
  const origin = await startOrigin();
  const progress = showProgress();
  try {
    const results = await pairs(subjects, origin, { ...PAIRS, ...options }, progress);
    progress();
    say(`\nthis: ${resolve(built ?? 'build')}\nother: ${resolve(against)}\n\n${pairsReport(results)}`);
    write('pairs.json', 'pairs.json', results, false);
  } finally {
    origin.stop();
  }
  say(since(began));
}

async function story(subjects, others, origin, options) {
  const has = (part) => options.parts.includes(part);
  const machine = { cpu: cpus()[0].model, cores: cpus().length, pins: pins(), objects: where() };
  say(`${options.rounds} rounds of ${options.seconds} s; ${machine.pins}; objects on ${machine.objects}`);
  const measured = await rounds(subjects, cells({ ...options, others }), origin, options);
  const { measured: onDisk = [] } = has('disk') ? { measured: await rounds(subjects, diskCells(others), origin, { ...options, disk: true }) } : {};
  const progress = showProgress();
  const parts = {};
  if (has('joins')) parts.joins = await joinStorm(origin, options.storms);
  if (has('start-up')) parts.startUp = await startUp(origin, STARTS, progress);
  if (has('memory')) {
    parts.memory = [];
    for (const name of ['pass-through', 'floor', 'oncegate']) parts.memory.push(await memory(name, origin, KEYS, progress));
  }
  progress();
  const { rounds: number, seconds } = options;
  return { at: new Date().toISOString().slice(0, 10), machine, rounds: number, seconds, rows: rows(measured), targets: targets(measured, parts), disk: rows(onDisk), ...parts };
}

const diskCells = (others) => ['first-seen', 'replay'].flatMap((what) => ['floor', 'oncegate', ...others].map((name) => cell(name, what, 16)));

/** Every cell in every round. */
async function rounds(subjects, list, origin, { rounds, seconds, disk }) {
  const on = { origin };
  const runtimes = new Map(list.map(({ runtime, subject }) => [runtime, subject]));
  const measured = list.map((cell) => ({ cell, rounds: [] }));
  const progress = showProgress(firsts(list).length + list.length * rounds);
  try {
    for (const [name, subject] of runtimes) on[name] = await start(subjects[subject](), origin, { disk });
    for (const name of runtimes.keys()) await prepare(name, on, list);
    for (const cell of firsts(list)) {
      progress(`warming up: ${named(cell)}`);
      await measure(cell, on, WARM_UP_SECONDS);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const { cell, rounds } of measured) {
        progress(`round ${round}${disk ? ', on the disk' : ''}: ${named(cell)}`);
        // With one connection nothing queues, so half the time is enough.
        rounds.push(await measure(cell, on, cell.connections === 1 ? Math.ceil(seconds / 2) : seconds));
      }
    }
  } finally {
    progress();
    for (const name of runtimes.keys()) await on[name]?.stop();
  }
  return measured;
}

/** One cell of each kind: to be warmed up once for all numbers of connections. */
const firsts = (list) => [...new Map([...list].reverse().map((cell) => [`${cell.subject} ${cell.what}`, cell])).values()];

const otherFilters = ({ peers: wanted }) => (wanted ? peers(say) : {});

/** Writes the results: with --save beside this file and into the docs. */
function keep(results, { save }) {
  write('results.json', 'bench.json', results, save);
  if (!save) return;
  writeFileSync(join(ROOT, 'docs', 'performance.svg'), plot(results));
  page(join(ROOT, 'docs', 'performance.md'), results);
  say('docs/performance.md and docs/performance.svg are written');
}

/** Writes all figures: into .tools, or with --save beside this file. */
function write(saved, otherwise, results, save) {
  mkdirSync(TOOLS, { recursive: true });
  const file = save ? join(ROOT, 'bench', saved) : join(TOOLS, otherwise);
  writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`);
  say(`\nall figures in ${relative(ROOT, file)}`);
}

/** Runs a program beside this one; returns the figures that it prints as JSON. */
function told(program) {
  const done = spawnSync(node(), [join(ROOT, 'bench', program)], { env: toolEnv(), stdio: ['ignore', 'pipe', 'inherit'] });
  if (done.status !== 0) throw new Stop(`bench/${program} ended with ${done.status ?? done.signal}`);
  return JSON.parse(done.stdout);
}

async function growing(args) {
  const save = args.includes('--save');
  if (args.some((arg) => arg !== '--save')) throw new Stop('growth takes --save and nothing else: see the top of bench/bench.mjs');
  const began = performance.now();
  await needsWrk();
  say(await build());
  // These programs read SQLite files, which takes the Node of the tests.
  await setUp('node');
  const results = { at: new Date().toISOString().slice(0, 10), ...told('growth.mjs'), ...told('scale.mjs') };
  write('growth.json', 'growth.json', results, save);
  if (save) {
    growthPage(join(ROOT, 'docs', 'growth.md'), results);
    say('docs/growth.md is written');
  }
  say(since(began));
}

/** Shows which cell is measured and how many are left: one line that is overwritten on a terminal, elsewhere a line now and
 *  then. */
function showProgress(total = 0) {
  let [left, told] = [total, 0];
  return (label) => {
    const line = label && `  ${label}${total ? `, ${left--} left` : ''}`;
    if (TTY) process.stdout.write(`\r\x1b[2K${line ?? ''}`);
    else if (line && performance.now() - told > 15_000) {
      told = performance.now();
      say(line);
    }
  };
}

const IN_PAIRS = ['--against', '--build'];
const ALWAYS = ['--only', '--rounds', '--seconds'];

function parse(args) {
  const isInPairs = args.includes('--against');
  const options = isInPairs ? {} : { ...(args.includes('--quick') ? QUICK : DEFAULT) };
  const fail = (message) => {
    throw new Stop(`${message}: see the top of bench/bench.mjs`);
  };
  for (let at = 0; at < args.length; at++) {
    const value = () => args[++at] ?? fail(`${args[at - 1]} needs a value`);
    const number = () => Number(value()) || fail(`${args[at - 1]} needs a number`);
    const take = {
      '--quick': () => {},
      '--only': () => (options.only = value().split(',')),
      '--rounds': () => (options.rounds = number()),
      '--seconds': () => (options.seconds = number()),
      '--connections': () => (options.connections = value().split(',').map(Number)),
      '--against': () => (options.against = value()),
      '--build': () => (options.build = value()),
      '--peers': () => (options.peers = true),
      '--disk': () => (options.parts = [...options.parts, 'disk']),
      '--save': () => (options.save = true),
    }[args[at]];
    if (!take) fail(`no option "${args[at]}"`);
    if (isInPairs !== IN_PAIRS.includes(args[at]) && !ALWAYS.includes(args[at])) fail(`"${args[at]}" ${isInPairs ? 'does not go with' : 'goes with'} --against`);
    take();
  }
  if (options.only && !isInPairs) {
    options.more = true;
    options.parts = options.only.filter((name) => DEFAULT.parts.includes(name));
  }
  return options;
}

await main(() => bench(process.argv.slice(2)));
