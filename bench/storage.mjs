// What a key takes on the disk, by the size of its reply: of databases that real requests have filled, and not a sum of
// columns. `node bench/storage.mjs` after `npm run build`.

import { existsSync } from "node:fs";
import { onDisk } from "../tests/workerd/disk.mjs";
import { start, startOrigin } from "../tests/workerd/harness.mjs";

const KiB = 1024;
// So many keys that a table's first page does not count; large replies need few.
const REPLIES = [[60, 3_000], [2 * KiB, 2_000], [8 * KiB, 1_000], [100 * KiB, 200], [1024 * KiB, 50], [1024 * KiB + 1, 50], [5 * 1024 * KiB, 20]];

/** Bytes on the disk for a key, by the bytes of its reply's body. */
export async function storage({ say = () => {}, replies = REPLIES } = {}) {
  if (!process.env.TMPDIR && existsSync("/dev/shm")) process.env.TMPDIR = "/dev/shm";
  const origin = await startOrigin();
  const figures = [];
  try {
    for (const [bytes, keys] of replies) {
      const path = `/v1/payments/${bytes}`;
      origin.on(path, { status: 201, headers: HEADERS, body: Buffer.alloc(bytes, "r") });
      const worker = await start({ origin, shards: 1, routes: [{ methods: ["POST"], path: "/{*rest}", reply: { max: "16MiB" } }] });
      try {
        const before = await used(worker);
        for (let n = 0; n < keys; n++) {
          const { status } = await worker.send({ path, key: crypto.randomUUID(), headers: [["Authorization", "Bearer one"]] });
          if (status !== 201) throw new Error(`${status} for a reply of ${bytes} bytes`);
        }
        const each = Math.round(((await used(worker)) - before) / keys);
        figures.push({ reply_bytes: bytes, disk_bytes: each });
        say(`a reply of ${bytes} bytes takes ${each} on the disk`);
      } finally {
        await worker.stop();
      }
    }
    return figures;
  } finally {
    origin.close();
  }
}

/** Bytes of the pages that are in use. */
async function used(worker) {
  await worker.kill();
  let pages = 0;
  try {
    onDisk(worker, (database) => {
      const pragma = (name) => Object.values(database.prepare(`PRAGMA ${name}`).get())[0];
      pages = (pragma("page_count") - pragma("freelist_count")) * pragma("page_size");
    });
  } catch (error) {
    if (error.code !== "ENOENT") throw error; // nothing has been stored yet
  }
  await worker.restart();
  return pages;
}

// What an API answers with besides its body.
const HEADERS = [
  ["Content-Type", "application/json; charset=utf-8"],
  ["Location", "/v1/payments/pay_0123456789abcdef"],
  ["Cache-Control", "no-store"],
  ["X-Request-Id", "5c1f2a9e-7d1b-4a7e-9f53-1f0f6f0f2b11"],
  ["Date", "Sun, 22 Nov 2026 06:00:00 GMT"],
];

if (import.meta.filename === process.argv[1]) {
  console.log(JSON.stringify(await storage({ say: (line) => console.error(line) }), null, 1));
  process.exit();
}
