// The load: wrk with load.lua, and what it cost the runtime.

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { ROOT, Stop, ask } from '../scripts/run.mjs';
import { LOAD_CORES, spawnOn } from './subjects.mjs';

/** Says what to install where wrk is missing. */
export async function needsWrk() {
  if (process.platform !== 'linux') throw new Stop('the benchmark reads CPU time and memory from /proc, which only Linux has');
  // It has no option that succeeds and does nothing else.
  const found = await ask('sh', ['-c', 'command -v wrk']);
  if (!found) throw new Stop('wrk is missing, it makes the load: install your system\'s package of it (Debian: apt-get install wrk)');
}

/**
 * Sends requests for so many seconds over so many connections.
 *
 * Answers requests a second, p50 and p99 in ms, CPU time of the runtime in ms per request, how busy the runtime was
 * (1: all of a core). An answer of 400 or above, a lost connection or a timeout is an error: a page that says so would
 * be measured as fast.
 */
export async function load({ port, cpuOf, path, kind = 'fresh', prefix = randomUUID(), keys = 1, connections, seconds }) {
  const cpu = cpuOf.cpuMs;
  const url = `http://127.0.0.1:${port}${path}`;
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', join(ROOT, 'bench', 'load.lua'), url, '--', kind, prefix, String(keys)];
  const output = await outputOf('wrk', args);
  const line = /^RESULT (.*)$/m.exec(output)?.[1];
  if (!line) throw new Stop(`wrk did not finish:\n${output}`);
  const { requests, micros, p50, p99, refused, broken } = JSON.parse(line);
  if (refused || broken || !requests) throw new Stop(`${path}, ${kind}: of ${requests} answers ${refused} were errors, ${broken} connections broke`);
  const spent = cpuOf.cpuMs - cpu;
  return { requests, rps: requests / (micros / 1e6), p50: p50 / 1e3, p99: p99 / 1e3, cpu: spent / requests, busy: spent / (micros / 1e3) };
}

function outputOf(command, args) {
  const child = spawnOn(LOAD_CORES, command, args, ['ignore', 'pipe', 'pipe']);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk) => (output += chunk));
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('close', () => done(output));
  });
}
