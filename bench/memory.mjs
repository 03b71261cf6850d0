// How much memory a runtime takes once it has seen so many keys.

import { Stop } from '../scripts/run.mjs';
import { load } from './load.mjs';
import { GUARDED, SUBJECTS, start } from './subjects.mjs';

/** Resident megabytes of a fresh runtime after its first answers, and after `keys` keys at least. */
export async function memory(name, origin, keys, progress) {
  const runtime = await start(SUBJECTS[name](), origin);
  const more = (seconds) => load({ port: runtime.port, cpuOf: runtime, path: GUARDED, connections: 64, seconds });
  try {
    let { requests } = await more(1);
    const before = runtime.megabytes;
    for (let rps = requests; requests < keys; ) {
      progress(`memory: ${name}, ${requests} of ${keys} keys`);
      const got = await more(Math.max(1, Math.min(5, Math.floor((keys - requests) / rps))));
      [requests, rps] = [requests + got.requests, got.rps];
      if (!got.requests) throw new Stop(`${name} answers nothing any more after ${requests} keys`);
    }
    return { subject: name, keys: requests, before: Math.round(before), megabytes: Math.round(runtime.megabytes) };
  } finally {
    await runtime.stop();
  }
}
