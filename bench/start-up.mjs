// What a subject's first answer costs beyond that of a Worker that does nothing.

import { randomUUID } from 'node:crypto';
import { Stop } from '../scripts/run.mjs';
import { median } from './report.mjs';
import { GUARDED, SUBJECTS, UNGUARDED, start } from './subjects.mjs';

/** What is started: the name of the result, the subject, and whether the first request is one that it guards. */
export const CASES = [
  { subject: 'floor', what: 'first-seen', make: SUBJECTS.floor },
  { subject: 'oncegate', what: 'unguarded', make: SUBJECTS.oncegate },
  { subject: 'oncegate', what: 'first-seen', make: SUBJECTS.oncegate },
];

/** CPU time in ms of a fresh process up to its first answer, beyond the hello-world's; medians of so many starts. */
export async function startUp(origin, starts, progress, cases = CASES) {
  const beyond = cases.map(() => []);
  for (let n = 0; n < starts; n++) {
    progress(`start-up: ${n + 1} of ${starts}`);
    const hello = await firstAnswer('hello', SUBJECTS.hello(), GUARDED, origin);
    for (const [at, { subject, what, make }] of cases.entries()) {
      const path = what === 'unguarded' ? UNGUARDED : GUARDED;
      beyond[at].push((await firstAnswer(subject, make(), path, origin)) - hello);
    }
  }
  return cases.map(({ subject, what }, at) => ({ subject, what, cpu_ms: median(beyond[at]) }));
}

async function firstAnswer(name, subject, path, origin) {
  const runtime = await start(subject, origin);
  try {
    const options = { method: 'POST', headers: { 'Idempotency-Key': randomUUID() }, body: '{"amount":1200}' };
    const response = await fetch(`http://127.0.0.1:${runtime.port}${path}`, options);
    await response.arrayBuffer();
    if (response.status !== 201) throw new Stop(`${name}: the first answer was ${response.status}`);
    return runtime.cpuMs;
  } finally {
    await runtime.stop();
  }
}
