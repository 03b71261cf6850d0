// Many duplicates of one key at once: how long after the origin's answer the last of them has its own.

import { randomUUID } from 'node:crypto';
import { Stop } from '../scripts/run.mjs';
import { settled } from './cells.mjs';
import { load } from './load.mjs';
import { median } from './report.mjs';
import { GUARDED, SUBJECTS, start } from './subjects.mjs';

const WAITERS = 64;
const WARM_UP_SECONDS = 3;

/**
 * So many storms, one after the other, where the runtime is warm as it is for every other figure: the median of the last
 * waiter's times in ms, the worst, the median waiter's; the last waiter's in a runtime that has just started; and the
 * floor's last.
 */
export async function joinStorm(origin, storms) {
  const [floor, own] = [await seen('floor', origin, storms), await seen('oncegate', origin, storms)];
  const last = (of) => of.map(({ last_ms }) => last_ms);
  return {
    waiters: WAITERS,
    storms,
    last_ms: median(last(own.warm)),
    worst_ms: Math.max(...last(own.warm)),
    median_ms: median(own.warm.map(({ median_ms }) => median_ms)),
    cold_ms: own.cold.last_ms,
    floor_ms: median(last(floor.warm)),
  };
}

async function seen(name, origin, storms) {
  const runtime = await start(SUBJECTS[name](), origin);
  try {
    const cold = await storm(runtime, origin);
    await load({ port: runtime.port, cpuOf: runtime, path: GUARDED, connections: WAITERS, seconds: WARM_UP_SECONDS });
    // What wrk has cut off is executed all the same.
    await settled(origin);
    const warm = [];
    for (let n = -storms; n < storms; n++) {
      const found = await storm(runtime, origin);
      if (n >= 0) warm.push(found);
    }
    return { cold, warm };
  } finally {
    await runtime.stop();
  }
}

async function storm(runtime, origin) {
  const found = await origin.storm(runtime.port, WAITERS, `storm-${randomUUID()}`);
  if (found.good !== WAITERS || found.executions !== 1) {
    throw new Stop(`of ${WAITERS} duplicates ${found.good} had the origin's answer, which executed ${found.executions} times`);
  }
  return found;
}
