// The floor below a filter: the calls that a guarded request must make, in JavaScript, and nothing else.
//
// First-seen: read the body, hash key and body, one call of the shard's object for the claim (SELECT, INSERT), the
// origin, one call for the settle (SELECT, UPDATE with the body), the answer with two headers more. Replay: one call,
// whose answer is the stored reply. Both writes are durable before their answer leaves, as the object's output gate
// makes them. The tables and the statements are those of src/cloudflare/ledger/store.rs and store/, which the benchmark hands over as `SQL`.
//
// Left out is everything that makes a filter of it: routes, the key's format, scopes and credentials, what an answer
// of the origin means, limits, timeouts, large bodies in chunks, doubts, expiry, header rules, retries, statistics, the
// log line. A duplicate waits for the running one however long that takes. It is a measure, not something to deploy.

import { DurableObject } from "cloudflare:workers";

const LEASE_MS = 75_000;
const TTL_MS = 24 * 3_600_000;
const text = { encode: new TextEncoder(), decode: new TextDecoder() };

/** A message: the length of its head, the head as JSON, a body. */
function frame(head, body) {
  const json = text.encode.encode(JSON.stringify(head));
  const whole = new Uint8Array(4 + json.length + (body?.length ?? 0));
  new DataView(whole.buffer).setUint32(0, json.length);
  whole.set(json, 4);
  if (body) whole.set(body, 4 + json.length);
  return whole;
}

function split(buffer) {
  const end = 4 + new DataView(buffer).getUint32(0);
  const head = JSON.parse(text.decode.decode(new Uint8Array(buffer, 4, end - 4)));
  return [head, new Uint8Array(buffer, end)];
}

const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

async function ask(env, id, head, body) {
  const stub = env.LEDGER.getByName(`shard-${id[0] % env.SHARDS}`);
  const answer = await stub.fetch("https://ledger/", { method: "POST", body: frame({ id: id.toHex(), ...head }, body) });
  return split(await answer.arrayBuffer());
}

function reply(status, headers, body, told) {
  const response = new Response(body, { status, headers });
  response.headers.set("Idempotency-Status", told);
  if (told === "replayed") response.headers.set("Idempotent-Replayed", "true");
  else response.headers.set("Idempotency-Expires", new Date(Date.now() + TTL_MS).toISOString());
  return response;
}

export default {
  async fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    const key = request.headers.get("Idempotency-Key");
    const body = await request.arrayBuffer();
    const [id, fingerprint] = await Promise.all([sha256(text.encode.encode(key)), sha256(body)]);
    const lease = crypto.randomUUID();
    const [told, stored] = await ask(env, id, { claim: lease, fingerprint: fingerprint.toHex() });
    if (told.verdict === "replay") return reply(told.status, told.headers, stored, "replayed");
    if (told.verdict !== "granted") return Response.json({ code: told.verdict }, { status: 422 });

    const answer = await fetch(env.ORIGIN + pathname + search, { method: request.method, headers: request.headers, body, redirect: "manual" });
    const bytes = new Uint8Array(await answer.arrayBuffer());
    await ask(env, id, { settle: lease, status: answer.status, headers: [...answer.headers] }, bytes);
    return reply(answer.status, answer.headers, bytes, "executed");
  },
};

export class Ledger extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.sql = state.storage.sql;
    this.statements = env.SQL;
    for (const statement of env.SQL.create) this.sql.exec(statement);
    this.armed = false;
    this.waiting = new Map();
  }

  async fetch(request) {
    const [head, body] = split(await request.arrayBuffer());
    return new Response(head.claim ? await this.claim(head) : this.settle(head, body));
  }

  claim({ id, claim, fingerprint }) {
    const key = Uint8Array.fromHex(id);
    const [lowest, highest] = [0, 255].map((fill) => new Uint8Array(32).fill(fill, 16));
    lowest.set(key.subarray(0, 16));
    highest.set(key.subarray(0, 16));
    const operation = Uint8Array.fromHex(fingerprint).subarray(0, 16);
    const row = this.sql.exec(this.statements.FIND_FOR_CLAIM, key, lowest, highest, operation).toArray().find((row) => row.is_own);
    if (!row) {
      const due = Date.now() + LEASE_MS;
      const record = text.encode.encode(JSON.stringify({ running: claim, fingerprint, due }));
      this.sql.exec(this.statements.INSERT, key, operation, 0, due, 0, record);
      this.arm(due + TTL_MS);
      return frame({ verdict: "granted" });
    }
    const record = JSON.parse(text.decode.decode(row.value));
    if (record.fingerprint !== fingerprint) return frame({ verdict: "reused" });
    if (record.running) {
      const waiting = this.waiting.get(id) ?? this.waiting.set(id, []).get(id);
      return new Promise((resolve) => waiting.push(resolve));
    }
    return frame({ verdict: "replay", status: record.status, headers: record.headers }, new Uint8Array(row.body));
  }

  settle({ id, settle, status, headers }, body) {
    const key = Uint8Array.fromHex(id);
    const row = this.sql.exec(this.statements.FIND, key).toArray()[0];
    const { running, fingerprint } = JSON.parse(text.decode.decode(row.value));
    if (running !== settle) return frame({ verdict: "superseded" });
    const due = Date.now() + TTL_MS;
    const record = text.encode.encode(JSON.stringify({ fingerprint, status, headers, due }));
    this.sql.exec(this.statements.COMPLETE, due, 0, record, body, 0, 0, key);
    for (const resolve of this.waiting.get(id) ?? []) resolve(frame({ verdict: "replay", status, headers }, body));
    this.waiting.delete(id);
    return frame({ verdict: "kept" });
  }

  /** Once: what comes later is due later. */
  arm(at) {
    if (this.armed) return;
    this.armed = true;
    this.ctx.storage.setAlarm(at);
  }

  alarm() {}
}
