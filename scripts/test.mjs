// `npm test`: every check of this repository, the cheap ones first.
//
//   npm test -- host workerd    only these parts: lint, host (the core, natively), workerd (the real runtime)
//   npm test -- joins key       only these files of tests/workerd, after a build if need be

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from './build.mjs';
import { CARGO_PROGRESS, ROOT, Stop, TTY, childEnv, main, run, say, seconds, withoutChatter } from './run.mjs';
import { TO_BUILD, node, setUp, toolEnv } from './setup.mjs';

// No file of tests needs this long (a file counts as a test too). A file that hangs is ended, and the others go on.
const TEST_MS = '300000';

// These files wait for leases to end most of the time (15 s and more each), so three of them run at once. The others
// measure times, memory or calls, and run alone.
const WAITING = ['deadlines', 'doubt', 'kill-jobs', 'kill-runner', 'ledger', 'operator-api', 'operator-docs', 'operator-page'];

const PARTS = { lint, host, workerd };

async function test(names) {
  const files = testFiles();
  const isFile = (name) => files.some((file) => nameOf(file) === name);
  const unknown = names.find((name) => !PARTS[name] && !isFile(name));
  if (unknown) throw new Stop(`no part and no file "${unknown}": there are ${Object.keys(PARTS).join(', ')}, and ${files.map(nameOf).join(', ')}`);
  const since = performance.now();
  const parts = names.filter((name) => PARTS[name]);
  for (const part of names.length ? parts : Object.keys(PARTS)) await PARTS[part]();
  if (parts.length < names.length) await workerd(files.filter((file) => names.includes(nameOf(file))));
  say(`all good, ${seconds(since)}`);
}

async function lint() {
  await setUp('rust', 'lint');
  await cargo('format', ['fmt', '--check'], 'run "cargo fmt"');
  await cargo('clippy', ['clippy', '--all-features', '--all-targets', '--', '-D', 'warnings'], 'mend what clippy names');
}

async function host() {
  await setUp('rust');
  await cargo('host tests', ['test', '--no-default-features', '--features', 'check'], 'mend the failing test', countCargoTests);
}

async function workerd(files = testFiles()) {
  await setUp(...TO_BUILD, 'node', 'chromium');
  const since = performance.now();
  done('build', since, await build());
  const [waiting, others] = [true, false].map((is) => files.filter((file) => WAITING.includes(nameOf(file)) === is));
  const faulty = waiting.length && others.some((file) => nameOf(file) === 'panic') ? buildFaulty() : null;
  if (waiting.length) await workerdTests('workerd tests that wait', 3, waiting);
  await faulty;
  if (others.length) await workerdTests('workerd tests', 1, others);
}

/** The build that panic.test.mjs needs, made while other tests wait. If it fails, that test says why. */
function buildFaulty() {
  const args = [join(ROOT, 'scripts', 'build.mjs'), '--out-dir', join('target', 'faults'), '--features', 'faults'];
  return new Promise((done) => spawn(process.execPath, args, { cwd: ROOT, stdio: 'ignore' }).once('close', done));
}

function workerdTests(what, atOnce, files) {
  const args = ['--test', '--test-reporter=spec', `--test-concurrency=${atOnce}`, '--test-force-exit', `--test-timeout=${TEST_MS}`, ...files];
  return step(what, node(), args, toolEnv(), 'mend the failing test', countNodeTests);
}

// Named one by one, since versions of `node --test` differ in what they run of a folder.
function testFiles() {
  const folder = join('tests', 'workerd');
  const files = existsSync(join(ROOT, folder)) ? readdirSync(join(ROOT, folder), { recursive: true }) : [];
  const tests = files.filter((name) => name.endsWith('.test.mjs')).sort();
  if (!tests.length) throw new Stop(`no tests in ${folder}: "git checkout ${folder}"`);
  return tests.map((name) => join(folder, name));
}

const nameOf = (file) => basename(file, '.test.mjs');

const cargo = (what, args, advice, count) =>
  step(what, 'cargo', args, childEnv({ ...CARGO_PROGRESS, CARGO_TERM_COLOR: TTY ? 'always' : 'never' }), advice, count);

async function step(what, command, args, env, advice, count = () => '') {
  const since = performance.now();
  const { code, output, log } = await run(what, command, args, { env, name: `test-${what.replaceAll(' ', '-')}` });
  if (code !== 0) {
    console.error(whatFailed(withoutChatter(output)));
    say(`FAILED ${what}, ${seconds(since)}${count(output) && `: ${count(output)}`}`);
    throw new Stop(`${what} failed: ${advice} (all output in ${log})`);
  }
  done(what, since, count(output));
}

const done = (what, since, found) => say(`ok ${what}, ${seconds(since)}${found && `: ${found}`}`);

function countCargoTests(output) {
  const results = output.match(/^test result: .*$/gm) ?? [];
  const sum = (word) => results.reduce((total, line) => total + Number(line.match(`(\\d+) ${word}`)[1]), 0);
  return `${sum('passed')} passed, ${sum('failed')} failed, ${sum('ignored')} ignored`;
}

function countNodeTests(output) {
  const count = (word) => output.match(new RegExp(`^ℹ ${word} (\\d+)`, 'm'))?.[1] ?? '?';
  const failed = Number(count('fail')) + Number(count('cancelled'));
  return `${count('pass')} passed, ${failed} failed, ${count('skipped')} skipped`;
}

/** The output without the tests that passed. */
function whatFailed(output) {
  const summary = output.indexOf('✖ failing tests:');
  return summary >= 0 ? output.slice(summary) : output.replace(/^test .* \S*ok\S*\n/gm, '');
}

await main(() => test(process.argv.slice(2)));
