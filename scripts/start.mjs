// `npm start`: Oncegate on its local runtime before a demo payments service, and the answers
// that show what it does. It goes on until Ctrl-C and builds again when src/ changes.
//
//   ORIGIN=http://127.0.0.1:3000 npm start    before a service of yours, without the demo
//   npm start -- --once                       the demo only; exit code 1 if an answer is wrong

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { build } from './build.mjs';
import { ROUTES, curl, newKey, play } from './demo.mjs';
import { ROOT, Stop, isMain, main, say, signalGroup } from './run.mjs';
import { node, setUp, toolEnv } from './setup.mjs';

const PORT = 8787;
const INSPECTOR_PORT = 9229;
const READY_MS = 60_000;
// workerd ends within milliseconds unless a request hangs in it.
const END_MS = 3_000;
const STATE = '.wrangler/state';
// Wrangler contacts nothing but this machine: no metrics, no news, no sample of Cloudflare's request data.
export const QUIET = {
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_LOG_PATH: '.wrangler/logs',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
};

const children = [];

async function start(once, origin) {
  if (origin && !/^https?:\/\/[^/]+\/?$/.test(origin)) throw new Stop('ORIGIN must be like http://127.0.0.1:3000');
  await setUp('node');
  say(await build());
  endOnSignals(once);
  try {
    const behind = origin?.replace(/\/$/, '') ?? (await startOrigin());
    const address = await startWorker(behind, origin || hasRoutes() ? [] : ['--var', `ROUTES:${JSON.stringify(ROUTES)}`]);
    say(`Oncegate on ${address} before ${behind}`);
    if (!origin && !(await play(address, behind, !hasRoutes()))) process.exitCode = 1;
    if (once) return;
    say('\nIt runs until Ctrl-C and builds again when src/ changes. Try:');
    say(`  ${curl(address, newKey(), { amount: 500, currency: 'eur' })}`);
    if (!origin) say(`  curl ${behind}/charges`);
    const ended = await Promise.race(children.map((child) => child.exited));
    throw new Stop(`${ended} ended by itself: start again`);
  } finally {
    await endAll();
  }
}

/** The demo service prints its address as a line. */
async function startOrigin() {
  const child = launch('the demo origin', process.execPath, [join(ROOT, 'examples', 'payments.mjs')], process.env);
  return new Promise((resolve, reject) => {
    child.exited.then(() => reject(new Stop('the demo origin ended: run "node examples/payments.mjs" to see why')));
    eachLine(child, (line) => {
      const found = line.match(/^payments on (http:\S+)$/);
      if (found) resolve(found[1]);
      else say(`    origin: ${line}`);
    });
  });
}

/** Whether wrangler.toml has routes of its own. */
const hasRoutes = () => /^\s*(\[\[vars\.ROUTES\]\]|ROUTES\s*=)/m.test(readFileSync(join(ROOT, 'wrangler.toml'), 'utf8'));

async function startWorker(origin, more) {
  const port = await freePort(PORT);
  if (port !== PORT) say(`port ${PORT} is taken, using ${port}`);
  const args = ['dev', '--ip', '127.0.0.1', '--port', port, '--inspector-port', await freePort(INSPECTOR_PORT)];
  args.push('--var', `ORIGIN:${origin}`, '--persist-to', STATE, '--show-interactive-dev-session=false', ...more);
  const wrangler = join(ROOT, 'node_modules', 'wrangler', 'bin', 'wrangler.js');
  const child = launch('wrangler dev', node(), [wrangler, ...args.map(String)], toolEnv(QUIET));
  let trouble = 'it does not answer';
  const worthTelling = newsOf();
  eachLine(child, (line) => {
    if (/ERROR/.test(line)) trouble = line.replace(/^.*ERROR\S*\s*/, '');
    const news = worthTelling(line);
    if (news) say(`    worker: ${news}`);
  });
  const address = `http://127.0.0.1:${port}`;
  for (const until = Date.now() + READY_MS; Date.now() < until && !child.ended; await sleep(100)) {
    if (await answers(address)) return address;
  }
  throw new Stop(`wrangler dev does not run (${trouble}): see ${QUIET.WRANGLER_LOG_PATH}`);
}

async function answers(address) {
  try {
    await fetch(`${address}/v1/payments`, { signal: AbortSignal.timeout(5_000) });
    return true;
  } catch {
    return false;
  }
}

/** Filters Wrangler's output to rebuilds, their errors, and the Worker's log. */
function newsOf() {
  const noise = /^(\s*⛅|─+$|⎔|Your Worker has access|Binding\s|env\.|The file .* changed|\[wrangler:|🪵|╭|│|╰)/u;
  let inDump = false;
  return (line) => {
    const built = line.match(/^\[custom build\] (.*)/)?.[1];
    // Wrangler shows a failed build command as a dump of its own process; the errors came before.
    if (/Process exited with non-zero status/.test(line)) inDump = true;
    if (built !== undefined || /Running custom build .* failed/.test(line)) inDump = false;
    if (built !== undefined) return /^Running: |, up to date$/.test(built) ? '' : built;
    return inDump || noise.test(line) || /Running custom build/.test(line) ? '' : inShort(line.trim());
  };
}

let lastInShort;

/** Shortens the log line of a request; of several equal ones in a row only the first is shown. */
function inShort(line) {
  if (!/^\{"(via|outcome)"/.test(line)) return line;
  const { via, outcome, status, why, key, ms } = JSON.parse(line);
  const one = [outcome, status, key].join();
  if (one === lastInShort) return '';
  lastInShort = one;
  return [via && `by a ${via}`, `${status} ${outcome}`, why, key && `key ${key}`, `${ms.total} ms`].filter(Boolean).join(', ');
}

function launch(what, command, args, env) {
  // A process group of its own: Ctrl-C reaches this script only, which ends its children in order.
  const child = spawn(command, args, { cwd: ROOT, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  child.exited = new Promise((resolve) => {
    const end = () => {
      child.ended = true;
      resolve(what);
    };
    child.on('error', end).on('exit', end);
  });
  children.push(child);
  return child;
}

function eachLine(child, tell) {
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => tell(stripVTControlCharacters(line)));
  }
}

function endOnSignals(once) {
  let told = false;
  const end = async () => {
    // A second Ctrl-C ends them at once.
    if (!told) {
      told = true;
      await endAll();
    }
    process.exit(once ? 130 : 0);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end);
  process.on('exit', killAll);
}

/** Ends the Worker first, while its origin still answers. */
async function endAll() {
  for (const child of [...children].reverse()) {
    if (child.ended) continue;
    child.kill('SIGTERM');
    await Promise.race([child.exited, sleep(END_MS, null, { ref: false })]);
  }
  killAll();
}

function killAll() {
  for (const child of children) if (!child.ended) signalGroup(child, 'SIGKILL');
}

async function freePort(from) {
  for (let port = from; port < from + 50; port += 1) if (await isFree(port)) return port;
  throw new Stop(`no free port from ${from} to ${from + 49}: end what uses them`);
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

if (isMain(import.meta.url)) await main(() => start(process.argv.includes('--once'), process.env.ORIGIN));
