// The built Worker as it is, with everything counted that Cloudflare bills or a body is copied by: calls of Ledger
// objects and of Runners, rows that their statements read and write, alarms, bytes across the boundary of Wasm. The entrypoint
// `Counts` tells what was counted since it was last asked.

import { crossed } from "./boundary.mjs";
import { WorkerEntrypoint } from "cloudflare:workers";
import * as built from "./index.js";

export { default } from "./index.js";

let requests, runners, alarms, alarmsSet, alarmMs, statements, turns;
// How many tasks keep a Runner in memory now: that time is billed.
let runnerTasks = 0;
forget();

function forget() {
  requests = runners = alarms = alarmsSet = alarmMs = turns = 0;
  statements = new Map();
  Object.assign(crossed, { into: 0, out: 0, calls: 0 });
}

export class Counts extends WorkerEntrypoint {
  fetch() {
    const rows = [...statements].map(([query, cursors]) => ({
      query,
      times: cursors.length,
      read: cursors.reduce((sum, cursor) => sum + cursor.rowsRead, 0),
      written: cursors.reduce((sum, cursor) => sum + cursor.rowsWritten, 0),
    }));
    const told = Response.json({ requests, runners, runnerTasks, alarms, alarmsSet, alarmMs, rows, crossed, turns });
    forget();
    return told;
  }
}

// The queue of spawn_local is run by the function that the built Worker put in place of the runtime's own.
const line = globalThis.queueMicrotask;
if (String(line).includes("[native code]")) throw new Error("the built Worker leaves queueMicrotask as it was");
globalThis.queueMicrotask = (task) => {
  turns += 1;
  line(task);
};

// What the runtime calls. Counted where it arrives: that is what is billed.
const { alarm } = built.Ledger.prototype;
for (const name of ["hear", "fetch"]) {
  const call = built.Ledger.prototype[name];
  built.Ledger.prototype[name] = function (...values) {
    requests += 1;
    return call.apply(this, values);
  };
}
built.Ledger.prototype.alarm = async function (...values) {
  alarms += 1;
  const began = performance.now();
  try {
    return await alarm.apply(this, values);
  } finally {
    alarmMs += performance.now() - began;
  }
};

const { take } = built.Runner.prototype;
built.Runner.prototype.take = function (...values) {
  runners += 1;
  return take.apply(this, values);
};

/** The Runner. */
export const Runner = new Proxy(built.Runner, {
  construct(target, [state, ...more]) {
    const waitUntil = state.waitUntil.bind(state);
    Object.defineProperty(state, "waitUntil", {
      value: (task) => {
        runnerTasks += 1;
        waitUntil(task.finally(() => (runnerTasks -= 1)));
      },
    });
    return Reflect.construct(target, [state, ...more]);
  },
});

/** The Ledger; the first one brings the classes of its storage, which are nowhere else to be had. */
export const Ledger = new Proxy(built.Ledger, {
  construct(target, [state, ...more]) {
    watch(state.storage);
    return Reflect.construct(target, [state, ...more]);
  },
});

let watched = false;

function watch(storage) {
  if (watched) return;
  watched = true;
  const [sqls, storages] = [storage.sql, storage].map(Object.getPrototypeOf);
  const { exec } = sqls;
  sqls.exec = function (query, ...values) {
    const cursor = exec.call(this, query, ...values);
    // Read when the count is told: a cursor counts on while it is read.
    statements.set(query, [...(statements.get(query) ?? []), cursor]);
    return cursor;
  };
  const { setAlarm } = storages;
  storages.setAlarm = function (...values) {
    alarmsSet += 1;
    return setAlarm.apply(this, values);
  };
}
