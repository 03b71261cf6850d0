// Reads a configuration of Wrangler as the Worker will, without starting anything: `npm run check`, and part of every
// build. Another file than the one that Wrangler takes may be named: npm run check -- -c staging.jsonc

import { execFileSync } from 'node:child_process';
import { ROOT, Stop, childEnv, isMain, main, run, say, withoutChatter } from './run.mjs';
import { setUp } from './setup.mjs';

const CHECK = ['run', '--no-default-features', '--features', 'check', '--bin', 'check', '--'];

/** Checks a configuration; returns its errors and warnings as text. */
export async function check(args = deployed()) {
  await setUp('rust');
  const done = await run('checking the configuration', 'cargo', [...CHECK, ...args], { env: childEnv(), name: 'check', cwd: ROOT });
  const found = done.output.split('\n').filter((line) => FOUND.test(line)).join('\n');
  if (done.code === 0) return found;
  console.error(found || withoutChatter(done.output));
  throw new Stop('the configuration is not sound: mend what is named above (docs: README, "Knobs")');
}

const FOUND = /: (error|warning): |: sound$|^usage: /;

/** Where Wrangler runs the build, the file that it was told to deploy: it says that only on its own command line. */
function deployed() {
  if (!process.env.WRANGLER_COMMAND) return [];
  let [pid, args] = [process.ppid, ''];
  for (let n = 0; n < ANCESTORS_MAX && pid > 1; n++) {
    try {
      [, pid, args] = /^\s*(\d+)\s+(.*)/s.exec(execFileSync('ps', ['-o', 'ppid=', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }));
    } catch {
      return [];
    }
    const named = /\s(?:-c|--config)[= ](\S+)/.exec(args);
    if (named && args.includes('wrangler')) return ['-c', named[1]];
  }
  return [];
}

// Wrangler runs the build in a shell, and is itself run by npx or npm.
const ANCESTORS_MAX = 6;

if (isMain(import.meta.url)) await main(async () => say(await check(process.argv.slice(2))));
