// Runs clients through scenarios, holds what came of it to what is expected, and prints it for the table of docs/clients.md.

import assert from "node:assert/strict";
import path from "node:path";
import { after, describe, test } from "node:test";
import { gate, stage, start } from "../workerd/harness.mjs";
import { SCENARIOS, routes } from "./scenarios.mjs";
import { TOKEN_VARS, renewedToken } from "./tokens.mjs";
import { openPipe, openWire } from "./wire.mjs";

const JWT = "token renewed, jwt";
let rows = 0;

/** A row for the tables of docs/clients.md, on the standard output; scripts/clients.mjs reads it. */
export function tellTable(row) {
  console.log(`seen: ${JSON.stringify({ file: path.basename(process.argv[1], ".test.mjs"), ...row })}`);
}

/**
 * One family of clients, in front of one filter. A client is
 *   name, key, retries   for the table: what it is, how it sends a key, what it retries as it is set up here
 *   path                 where its request goes
 *   good                 what the origin answers when all is well
 *   obeys                true: it sends nothing after an answer that says x-should-retry: false
 *   call(at)             sends one operation and resolves to what the program got, as text: see `told`
 *   keyOf(exchange)      the key in a request, where it is not in Idempotency-Key
 *   sees                 by scenario: [calls that reached the origin, what the program got, requests that the client made]
 * `knobs` are those of the family's routes.
 */
export function family(title, clients, { knobs = {}, concurrency = 6 } = {}) {
  describe(title, { concurrency, timeout: 120_000 }, () => {
    const on = stage({ routes: routes(knobs) });
    const knowing = clients.some(({ sees }) => JWT in sees) && stage({ routes: routes({ ...knobs, credential: ["jwt:/sub"] }), vars: TOKEN_VARS });
    const filterFor = async (what) => {
      if (what === JWT) return knowing;
      if (!SCENARIOS[what].ledger) return on;
      // One of its own for each play: what goes on in the background of another would use up its faults.
      const worker = await start({ origin: on.origin, routes: routes(knobs), ledger: "faulty", shards: 1 });
      return { origin: on.origin, worker, end: () => worker.stop() };
    };
    for (const client of clients) {
      const { name, key, retries } = client;
      describe(name, { concurrency }, () => {
        const [seen, row] = [{}, rows++];
        let duplicates = 0;
        after(() => tellTable({ row, name, key, retries, seen, duplicates }));
        for (const [what, expected] of Object.entries(client.sees)) {
          test(`${name}, ${what}`, async () => {
            const scenario = SCENARIOS[what];
            const filter = await filterFor(what);
            const { cell, exchanges, ms } = await play(client, scenario, filter).finally(() => filter.end?.());
            seen[what] = cell;
            const extra = Math.max(0, cell[0] - (scenario.calls ?? 1));
            duplicates += extra;
            assert.equal(extra, 0, `the origin was called ${cell[0]} times`);
            assert.deepEqual(cell, expected, `instead of ${expected}, on the wire: ${exchanges.map(summary).join("; ")}`);
            holds(client, exchanges);
            assert.ok(ms < (scenario.within ?? Infinity), `it took ${ms} ms: ${exchanges.map(summary).join("; ")}`);
          });
        }
      });
    }
  });
}

let cells = 0;

async function play(client, scenario, { origin, worker }) {
  const { route = "usual", holds = {}, cut, first, probed, timeout = 20_000, renewed, ledger, upload } = scenario;
  const prefix = `/${route}/${++cells}`;
  const path = prefix + client.path;
  const order = { amount: 10, ...(upload && { note: "x".repeat(upload) }) };
  const [reached, held] = [gate(), gate()];
  const calls = () => origin.executions(path).filter(({ method }) => method === "POST");
  origin.on(path, async (execution) => {
    if (execution.method === "OPTIONS") return client.preflight;
    const isFirst = calls()[0] === execution;
    if (isFirst && probed) origin.on(`/asking/by-key/${bare(execution.get("Idempotency-Key"))}`, { ...client.good, status: 200 });
    reached.open();
    if (isFirst && (holds.requests || holds.answers)) await held.opened;
    return isFirst && first ? { ...first, headers: [...(first.headers ?? []), ...(client.always ?? [])] } : client.good;
  });
  if (upload) {
    const pipe = await openPipe(worker.port, path);
    try {
      const got = await client.call({ url: `http://127.0.0.1:${pipe.port}${prefix}`, timeout, token: () => "sk_test_token", order });
      return { cell: [calls().length, got, pipe.posts], exchanges: [], ms: 0 };
    } finally {
      pipe.close();
    }
  }
  let answers = 0;
  const wire = await openWire(worker.port, {
    prefix,
    counts: (at) => at === client.path,
    onRequest: (n) => void (n === holds.requests && held.open()),
    onAnswer() {
      if (++answers === holds.answers) held.open();
      if (holds.ms) setTimeout(held.open, holds.ms);
    },
    cut: cut === "call" ? reached.opened : cut,
  });
  try {
    if (ledger) await worker.ledger(ledger);
    let tokens = 0;
    const token = () => (renewed === "jwt" ? renewedToken() : `sk_test_token${renewed ? ++tokens : ""}`);
    const since = performance.now();
    const got = await client.call({ url: wire.url, port: wire.port, timeout, token, renewed, order });
    return { cell: [calls().length, got, wire.exchanges.length], exchanges: wire.exchanges, ms: performance.now() - since };
  } finally {
    held.open();
    wire.close();
  }
}

const bare = (key) => key?.replaceAll('"', "");

/** What holds for every client in every scenario. */
function holds(client, exchanges) {
  if (exchanges.length === 0) return; // a pipe does not read what it carries
  const keyOf = client.keyOf ?? (({ headers }) => bare(headers["idempotency-key"]));
  const keys = new Set(exchanges.map(keyOf));
  assert.equal(keys.size, 1, `every try carries the same key, not ${[...keys].join(", ")}`);
  assert.ok([...keys][0], "a key is sent");
  for (const { answer, body } of exchanges) {
    const members = problem(body);
    if (!members) continue;
    assert.deepEqual([answer["x-should-retry"], answer["stripe-should-retry"]], [String(members.retryable), String(members.retryable)], members.code);
    assert.equal(members.message, members.detail);
  }
  const end = exchanges.findIndex(({ answer }) => answer["x-should-retry"] === "false");
  if (end < 0) return;
  const later = exchanges.slice(end + 1);
  if (client.obeys) assert.deepEqual(later.map(summary), [], `it was told to stop: ${summary(exchanges[end])}`);
  // "Do not try again" was right: whoever did got nothing else.
  const outcome = ({ status, body }) => problem(body)?.code ?? status;
  for (const exchange of later) if (exchange.status) assert.equal(outcome(exchange), outcome(exchanges[end]), summary(exchange));
}

function summary({ status, body, answer }) {
  const marks = ["idempotency-status", "x-should-retry", "retry-after"].filter((name) => answer[name]).map((name) => `${name}: ${answer[name]}`);
  return `${status ?? "no answer"} ${[problem(body)?.code, ...marks].filter(Boolean).join(", ")}`;
}

function problem(body) {
  try {
    const members = JSON.parse(body);
    return members?.type?.startsWith?.("/.well-known/idempotency#") ? members : null;
  } catch {
    return null;
  }
}

/** What a program got: the status, and the code of the problem where the answer is the filter's own. */
export const told = (status, code) => [status, code].filter(Boolean).join(" ");

/** The code of a problem of the filter, of its text or its members. */
export const codeOf = (body) => problem(typeof body === "string" ? body : JSON.stringify(body ?? null))?.code;

/** An ordinary good answer. */
export const answered = (body, status = 200) => ({ status, headers: [["Content-Type", "application/json"]], body: typeof body === "string" ? body : JSON.stringify(body) });
