// Looks into the Ledger objects' databases as they lie on the disk, of a running Oncegate too: it reads a copy.

import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const { DatabaseSync } = await import("node:sqlite");

/** Every row of every table of every Ledger object of `worker`, as [{ table, row }]. */
export function rowsOf(worker) {
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

/** How many bytes a row takes, near enough. */
export function bytesOf({ row }) {
  return Object.values(row).reduce((sum, value) => sum + (value?.byteLength ?? (typeof value === "string" ? Buffer.byteLength(value) : 8)), 0);
}
