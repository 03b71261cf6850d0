// Many duplicates of one key at once: how long after the origin's answer the last of them has its own.

import { randomUUID } from 'node:crypto';
import { Stop } from '../scripts/run.mjs';
import { SUBJECTS, start } from './subjects.mjs';
import { median } from './report.mjs';

const WAITERS = 64;

/** So many storms, one after the other: the median of the last waiter's times in ms, the worst, the median waiter's. */
export async function joinStorm(origin, storms) {
  const runtime = await start(SUBJECTS.oncegate(), origin);
  try {
    const seen = [];
    // The first one finds everything cold, and does not count.
    for (let n = 0; n <= storms; n++) {
      const storm = await origin.storm(runtime.port, WAITERS, `storm-${randomUUID()}`);
      if (storm.good !== WAITERS || storm.executions !== 1) {
        throw new Stop(`of ${WAITERS} duplicates ${storm.good} had the origin's answer, which executed ${storm.executions} times`);
      }
      if (n > 0) seen.push(storm);
    }
    const last = seen.map(({ last_ms }) => last_ms);
    return { waiters: WAITERS, storms, last_ms: median(last), worst_ms: Math.max(...last), median_ms: median(seen.map(({ median_ms }) => median_ms)) };
  } finally {
    await runtime.stop();
  }
}
