// Looks into the Ledger objects' databases as they lie on the disk, of a running Oncegate too: it reads a copy.
// While the runtime is down they can be changed as well.

import { createHash } from "node:crypto";
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const { DatabaseSync } = await import("node:sqlite");

/** Every row of every table of every Ledger object of `worker`, as [{ table, row }]. A copy that was made while the
 *  runtime wrote may be torn, and is made again. */
export function rowsOf(worker) {
  for (let tries = 5; ; tries--) {
    try {
      return copied(worker);
    } catch (error) {
      if (error.errcode !== MALFORMED || tries === 1) throw error;
    }
  }
}

const MALFORMED = 11;

function copied(worker) {
  const from = path.join(worker.disk, "ledger");
  const copy = mkdtempSync(path.join(os.tmpdir(), "oncegate-copy-"));
  try {
    const found = [];
    for (const name of readdirSync(from)) if (/^[0-9a-f]{64}\.sqlite/.test(name)) copyFileSync(path.join(from, name), path.join(copy, name));
    for (const name of readdirSync(copy).filter((name) => name.endsWith(".sqlite"))) {
      const database = new DatabaseSync(path.join(copy, name));
      const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'").all();
      for (const table of tables) {
        for (const row of database.prepare(`SELECT * FROM "${table.name}"`).all()) found.push({ table: table.name, row });
      }
      database.close();
    }
    return found;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

/** When the alarm of the only Ledger object is set for, in ms; null where it is not. */
export function alarmOf(worker) {
  const copy = mkdtempSync(path.join(os.tmpdir(), "oncegate-copy-"));
  try {
    const from = path.join(worker.disk, "ledger");
    for (const name of readdirSync(from)) if (name.startsWith("metadata.sqlite")) copyFileSync(path.join(from, name), path.join(copy, name));
    const database = new DatabaseSync(path.join(copy, "metadata.sqlite"));
    // Nanoseconds there.
    const row = database.prepare("SELECT scheduled_time / 1000000 AS at FROM _cf_ALARM").get();
    database.close();
    return row?.at ?? null;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

/** How many bytes a row takes, near enough. */
export function bytesOf({ row }) {
  return Object.values(row).reduce((sum, value) => sum + (value?.byteLength ?? (typeof value === "string" ? Buffer.byteLength(value) : 8)), 0);
}

/** Hands every Ledger object's database to `work`, to change it. Only while the runtime is down. */
export function onDisk(worker, work) {
  const folder = path.join(worker.disk, "ledger");
  for (const name of readdirSync(folder).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name))) {
    const database = new DatabaseSync(path.join(folder, name));
    try {
      work(database);
    } finally {
      database.close();
    }
  }
}

/** The half of a key id that tells its key: the first 16 bytes of the SHA-256 of the (unescaped) key. */
export const keyHalf = (key) => createHash("sha256").update(key).digest().subarray(0, 16);
