// How every script here runs a command: with one line of progress, and with one line when it fails.
//
// A command's whole output goes to .tools/logs. A failure is a `Stop`: its message is the one line that says what to do,
// so no stack trace is printed.

import { spawn } from 'node:child_process';
import { createWriteStream, linkSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

export const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '');
export const TOOLS = join(ROOT, '.tools');
export const TTY = Boolean(process.stdout.isTTY);

// Without a terminal (CI) a line is printed this often during a long step.
const HEARTBEAT_MS = 15_000;
const LOCK_POLL_MS = 300;

/** A failure whose message tells a person what to do. */
export class Stop extends Error {}

export const say = (line) => console.log(line);
export const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Whether this module is the script that was started. */
export const isMain = (url) => Boolean(process.argv[1]) && realpathSync(process.argv[1]) === fileURLToPath(url);

/** Runs a script; a `Stop` becomes its one line and exit code 1. */
export async function main(story) {
  try {
    await story();
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    console.error(`oncegate: ${error.message}`);
    process.exitCode = 1;
  }
}

// The children that run now: a script that is told to end ends them. Every child leads a process group, so what it has
// started ends with it.
const running = new Set();
for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15], ['SIGHUP', 1]]) {
  process.once(signal, () => {
    for (const child of running) signalGroup(child, 'SIGTERM');
    // A script with children to end gracefully (start.mjs) listens too and exits by itself.
    if (process.listenerCount(signal) === 0) process.exit(128 + number);
  });
}
// A signal to npm ends the shell between npm and a script, but does not reach the script.
const parent = process.ppid;
if (process.env.npm_lifecycle_event) {
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, 500).unref();
}

/** Signals a child that was started `detached`, and all that it started. */
export function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The whole group has ended in between.
  }
}

/** The environment of a child: rustup's default folder is found even where a login shell did not add it. */
export function childEnv(extra = {}, firstOnPath = []) {
  const cargoHome = process.env.CARGO_HOME ?? join(homedir(), '.cargo');
  const path = [...firstOnPath, process.env.PATH, join(cargoHome, 'bin')].filter(Boolean).join(delimiter);
  return { ...process.env, PATH: path, ...extra };
}

/** The standard output of a short command, or null where it is missing or fails. */
export function ask(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, env: childEnv(), stdio: ['ignore', 'pipe', 'ignore'] });
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    child.on('error', () => resolve(null));
    child.on('close', (code) => resolve(code === 0 ? out.trim() : null));
  });
}

/**
 * Runs `command`; shows `label` and its progress meanwhile. Resolves to { code, output, log }, where
 * `code` is null if the command does not exist.
 */
export function run(label, command, args, { env = childEnv(), announce = false, name = command } = {}) {
  const log = join(TOOLS, 'logs', `${name}.log`);
  mkdirSync(join(TOOLS, 'logs'), { recursive: true });
  const file = createWriteStream(log);
  const progress = showProgress(label, announce);
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let output = '';
    const hear = (chunk) => {
      output += chunk;
      file.write(chunk);
      progress.hear(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', hear);
    child.stderr.setEncoding('utf8').on('data', hear);
    const end = (code) => {
      running.delete(child);
      progress.end();
      file.end(() => resolve({ code, output, log: relative(ROOT, log) }));
    };
    child.on('error', () => end(null));
    child.on('exit', () => signalGroup(child, 'SIGKILL'));
    child.on('close', (code) => end(code ?? 1));
  });
}

/** Makes cargo write its progress bar, which has the total, into a pipe too. */
export const CARGO_PROGRESS = { CARGO_TERM_PROGRESS_WHEN: 'always', CARGO_TERM_PROGRESS_WIDTH: '80' };

const SIGNS = [
  [/Building\s+\[[^\]]*\]\s+(\d+)\/(\d+)/g, ([, done, all]) => `compiling ${done}/${all} crates`],
  [/(?:Updating|Downloading|Downloaded) [^\n]*(?:index|crates?)/g, () => 'downloading crates'],
  [/Optimizing wasm/g, () => 'making it small'],
  [/Running (?:unittests )?(\S+) \(target/g, ([, file]) => file],
  [/[✔✖] ([^\n]+?) \(\d/g, ([, name]) => name],
];

/** One line that is overwritten on a terminal; elsewhere a line now and then. */
function showProgress(label, announce) {
  const since = performance.now();
  let doing = '';
  if (announce) say(label);
  const timer = setInterval(() => {
    const what = [!announce && label, doing].filter(Boolean).join(': ');
    const line = `  ${what} ${Math.round((performance.now() - since) / 1000)} s`;
    if (TTY) process.stdout.write(`\r\x1b[2K${line.slice(0, (process.stdout.columns || 80) - 1)}`);
    else say(line);
  }, TTY ? 250 : HEARTBEAT_MS);
  return {
    hear(chunk) {
      const text = stripVTControlCharacters(chunk);
      for (const [sign, tell] of SIGNS) for (const found of text.matchAll(sign)) doing = `${tell(found)},`;
    },
    end() {
      clearInterval(timer);
      if (TTY) process.stdout.write('\r\x1b[2K');
    },
  };
}

const CARGO_VERBS =
  'Compiling|Building|Checking|Fresh|Finished|Running|Blocking|Updating|Locking|Adding|Downloading|Downloaded';
const CHATTER = new RegExp(`^\\s*(\\[(INFO|WARN)\\]|(${CARGO_VERBS})\\b)`);

/** The compiler's own output, without cargo's progress lines. */
export function withoutChatter(output) {
  const lines = output.split(/\r\n|\r|\n/).filter((line) => !CHATTER.test(stripVTControlCharacters(line)));
  const text = lines.join('\n').replace(/\n{3,}/g, '\n\n').trim();
  return TTY ? text : stripVTControlCharacters(text);
}

/** Does `work` under a lock of that name, which all processes of this folder share. */
export async function alone(name, work) {
  const lock = join(TOOLS, `${name}.lock`);
  const mine = `${lock}.${process.pid}`;
  mkdirSync(TOOLS, { recursive: true });
  writeFileSync(mine, String(process.pid));
  try {
    // A hard link is made atomically, so a lock always names its holder.
    for (let told = false; !tryLink(mine, lock); told = true) {
      const holder = holderOf(lock);
      if (holder && !isAlive(holder)) rmSync(lock, { force: true });
      else {
        if (holder && !told) say(`waiting for another ${name} (process ${holder})`);
        await sleep(LOCK_POLL_MS);
      }
    }
    try {
      return await work();
    } finally {
      rmSync(lock, { force: true });
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

function holderOf(lock) {
  try {
    return Number(readFileSync(lock, 'utf8'));
  } catch {
    return 0; // It was given back just now.
  }
}

function tryLink(from, to) {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
