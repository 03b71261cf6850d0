// What a subject's first answer costs beyond that of a Worker that does nothing.

import { randomUUID } from 'node:crypto';
import { Stop } from '../scripts/run.mjs';
import { median } from './report.mjs';
import { GUARDED, SUBJECTS, UNGUARDED, start } from './subjects.mjs';

const CASES = [
  ['hello', 'hello', GUARDED],
  ['floor', 'first-seen', GUARDED],
  ['oncegate', 'unguarded', UNGUARDED],
  ['oncegate', 'first-seen', GUARDED],
];

/** CPU time in ms of a fresh process up to its first answer, beyond the hello-world's; medians of so many starts. */
export async function startUp(origin, starts, progress) {
  const spent = CASES.map(() => []);
  for (let n = 0; n < starts; n++) {
    progress(`start-up: ${n + 1} of ${starts}`);
    for (const [at, [name, , path]] of CASES.entries()) {
      const runtime = await start(SUBJECTS[name](), origin);
      const options = { method: 'POST', headers: { 'Idempotency-Key': randomUUID() }, body: '{"amount":1200}' };
      const response = await fetch(`http://127.0.0.1:${runtime.port}${path}`, options);
      await response.arrayBuffer();
      spent[at].push(runtime.cpuMs);
      await runtime.stop();
      if (response.status !== 201) throw new Stop(`${name}: the first answer was ${response.status}`);
    }
  }
  const [hello, ...rest] = spent;
  return CASES.slice(1).map(([subject, what], at) => ({ subject, what, cpu_ms: median(rest[at].map((ms, n) => ms - hello[n])) }));
}
