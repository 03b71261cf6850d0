// curl with the two kinds of retries that it has.

import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { answered, codeOf, family, told } from "./family.mjs";

const folder = mkdtempSync(path.join(os.tmpdir(), "oncegate-curl-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const curl = (...retries) => async ({ url, timeout, token, order }) => {
  const file = path.join(folder, randomUUID());
  writeFileSync(`${file}.json`, JSON.stringify(order));
  const headers = { "Content-Type": "application/json", "Idempotency-Key": randomUUID(), Authorization: `Bearer ${token()}` };
  const args = [
    "--silent", "--noproxy", "*", ...retries, "--max-time", String(timeout / 1000), "--data", `@${file}.json`,
    // Into a file, since the body of every try goes to the standard output.
    "--output", file, "--write-out", "%{http_code}",
    ...Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]), `${url}/orders`,
  ];
  const { stdout, code } = await promisify(execFile)("curl", args).catch((error) => error);
  return stdout === "000" ? `exit ${code}` : told(stdout, codeOf(readFileSync(file, "utf8")));
};

const common = { key: "as a header of the call", path: "/orders", good: answered({ id: "order_1" }, 201) };

const plain = {
  name: "curl --retry 2",
  ...common,
  retries: "408, 429, 500, 502, 503, 504, its own timeout (`--max-time`, for each try); never a lost connection. After Retry-After where there is one",
  call: curl("--retry", "2"),
  sees: {
    fine: [1, "201", 1],
    402: [1, "402", 1],
    429: [2, "201", 2],
    500: [1, "500", 3],
    503: [1, "409 outcome-unknown", 2],
    "answer lost": [1, "409 outcome-unknown", 2],
    "connection cut": [1, "exit 56", 1],
    "own timeout": [1, "201", 2],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
    "upload refused": [0, "413 request-too-large", 1],
  },
};

const all = {
  name: "curl --retry 2 --retry-all-errors --fail-with-body",
  ...common,
  retries: "everything from 400 on, and every error: what cannot help too",
  call: curl("--retry", "2", "--retry-all-errors", "--fail-with-body"),
  sees: {
    402: [1, "402", 3],
    429: [2, "201", 2],
    500: [1, "500", 3],
    503: [1, "409 outcome-unknown", 3],
    "answer lost": [1, "409 outcome-unknown", 3],
    "answer lost, probe": [1, "200", 2],
    "connection cut": [1, "201", 2],
    "in flight": [1, "201", 3],
    "late answer": [1, "201", 2],
    "store down": [1, "201", 2],
  },
};

family("curl", [plain, all]);
