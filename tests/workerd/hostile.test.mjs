// Contract 1.8 and 1.10, against clients that mean harm: large bodies at once, readers and writers who stall, odd
// headers, odd JSON. What is bounded stays bounded, everybody gets an answer, and others are served meanwhile.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, describe, test } from "node:test";
import { isExecuted, isJoined, isProblem, isReplay } from "./expect.mjs";
import { freshKey, freshPath, gate, start, startOrigin, until } from "./harness.mjs";

const MiB = 1024 * 1024;
const NIGHTLY = process.env.ONCEGATE_NIGHTLY === "1";
const BUDGET_MB = 32; // the byte budget for request bodies in one Worker
const REPLIES_MB = 64; // what first answers may hold in one Worker, those that are still read included
const LARGE = 8 * MiB;
const BOUND_MB = 250; // what all of it may add to the process: well below one copy for each of those who ask

const figures = { part: "hostile" };
after(() => console.log(`figures: ${JSON.stringify(figures)}`));

/** Runs with one Oncegate of its own; answers by how much memory it grew at most. */
async function through(options, check) {
  const origin = await startOrigin();
  const worker = await start({ origin, shards: 1, ...options });
  isExecuted(await worker.send({ path: "/first", key: freshKey() }));
  const before = worker.megabytes;
  let most = before;
  const watch = setInterval(() => (most = Math.max(most, worker.megabytes)), 20);
  try {
    await check(worker, origin);
    return Math.max(most, worker.megabytes) - before;
  } finally {
    clearInterval(watch);
    await worker.stop();
    origin.close();
  }
}

const bytesOf = (bytes) => ({ status: 201, headers: [["Content-Type", "application/octet-stream"]], body: bytes });
const refused = (answers) => answers.filter((answer) => answer?.status === 503);
/** An early refusal may be lost to who is still writing: the connection breaks, and that is all there is to see. */
const broken = () => null;

describe("large replies", { timeout: 200_000 }, () => {
  test("to many who waited for it: one copy serves them all", async () => {
    const many = NIGHTLY ? 100 : 25;
    figures.joined_large_mb = await through({}, async (worker, origin) => {
      const [path, key] = [freshPath(), freshKey()];
      const { opened, open } = gate();
      origin.on(path, async () => (await opened, bytesOf(randomBytes(LARGE))));
      const first = worker.send({ path, key });
      await origin.reached(path);
      const duplicates = Array.from({ length: many }, () => worker.send({ path, key }));
      isProblem(await worker.send({ path, key, headers: [["Prefer", "wait=1"], ["Content-Type", "application/json"]], body: '{"amount":10}' }), "in-flight");
      open();
      isExecuted(await first);
      for (const duplicate of await Promise.all(duplicates)) isJoined(duplicate, await first);
      assert.equal(origin.count(path), 1);
    });
    assert.ok(figures.joined_large_mb < BOUND_MB, `${figures.joined_large_mb} MB`);
  });

  test("to many who ask for it at once: each gets all of it, or is told to come again", async () => {
    const many = NIGHTLY ? 100 : 25;
    figures.replayed_large_mb = await through({}, async (worker, origin) => {
      const [path, key] = [freshPath(), freshKey()];
      origin.on(path, () => bytesOf(randomBytes(LARGE)));
      const first = await worker.send({ path, key });
      const answers = await Promise.all(Array.from({ length: many }, () => worker.send({ path, key })));
      for (const answer of answers) answer.status === 503 ? isProblem(answer, "store-unavailable") : isReplay(answer, first);
      figures.replayed_large = many - refused(answers).length;
      assert.ok(figures.replayed_large >= 16, "at least as many as the byte budget holds at once");
      isReplay(await worker.send({ path, key }), first);
      assert.equal(origin.count(path), 1);
    });
    assert.ok(figures.replayed_large_mb < BOUND_MB, `${figures.replayed_large_mb} MB`);
  });

  test("to many who do not read it: they keep neither memory nor others from theirs", async () => {
    const many = NIGHTLY ? 200 : 50;
    figures.unread_mb = await through({}, async (worker, origin) => {
      const [path, key] = [freshPath(), freshKey()];
      origin.on(path, () => bytesOf(randomBytes(LARGE)));
      const first = await worker.send({ path, key });
      const stalled = Array.from({ length: many }, () => worker.open({ path, key, body: '{"amount":10}', headers: [["Content-Type", "application/json"]] }));
      for (const one of stalled) one.socket.once("data", () => one.socket.pause());
      const small = freshPath();
      isExecuted(await worker.send({ path: small, key }));
      isReplay(await worker.send({ path: small, key }), (await worker.send({ path: small, key })));
      // Whoever reads gets in as soon as those who do not have lost their reservations.
      const reader = await until(async () => {
        const answer = await worker.send({ path, key });
        if (answer.status === 201) return answer;
        isProblem(answer, "store-unavailable");
      }, { ms: 30_000, what: "a reader gets in" });
      isReplay(reader, first);
      for (const one of stalled) one.reset();
      assert.equal(origin.count(path), 1);
    });
    assert.ok(figures.unread_mb < BOUND_MB, `${figures.unread_mb} MB`);
  });

  test("to first callers who do not read theirs: they lose it when others need the memory, and one who reads on does not", async () => {
    const rounds = NIGHTLY ? 8 : 4;
    figures.unread_first_mb = await through({}, async (worker, origin) => {
      const path = freshPath();
      const reply = randomBytes(LARGE);
      origin.on(path, () => bytesOf(reply));
      const first = () => worker.open({ path, key: freshKey(), body: '{"amount":10}', headers: [["Content-Type", "application/json"]] });
      // About 1 MB a second: more than the system takes at once for it, and never 5 s without taking some.
      const reading = first();
      reading.socket.on("data", () => (reading.socket.pause(), setTimeout(() => reading.socket.resume(), 60)));
      const read = reading.whole();
      const stalled = [];
      for (let round = 0; round < rounds; round++) {
        const more = Array.from({ length: 8 }, first);
        for (const one of more) one.socket.once("data", () => one.socket.pause());
        await Promise.all(more.map(({ head }) => head));
        stalled.push(...more);
        figures.stalled = stalled.length;
        // They fill the memory for replies; none comes in before some of them are cut off.
        isExecuted(await until(async () => {
          const answer = await worker.send({ path: freshPath(), key: freshKey() });
          if (answer.status === 201) return answer;
          isProblem(answer, "store-unavailable");
        }, { ms: 12_000, what: "a request gets in" }));
      }
      assert.ok((await read).body.equals(reply), "whoever reads on gets all of it");
      const isCut = (one) => (one.socket.resume(), one.whole().then(({ body }) => !body.equals(reply), () => true));
      figures.unread_first_cut = (await Promise.all(stalled.map(isCut))).filter(Boolean).length;
      isExecuted(await worker.send({ path: freshPath(), key: freshKey(), body: randomBytes(LARGE) }));
    });
    // The others hold their bytes until they read them. The process gives memory back when it likes to, so that its
    // size would not tell.
    const held = figures.stalled - figures.unread_first_cut;
    assert.ok(held * LARGE <= REPLIES_MB * MiB, `${held} of ${figures.stalled} hold ${LARGE / MiB} MiB each`);
  });

  test("of many keys at once: every first caller gets all of its own, and no key is executed twice", async () => {
    const many = NIGHTLY ? 40 : 12;
    figures.settled_large_mb = await through({}, async (worker, origin) => {
      const path = freshPath();
      const bodies = new Map();
      origin.on(path, (execution) => {
        const key = execution.get("Idempotency-Key");
        bodies.set(key, randomBytes(LARGE));
        return bytesOf(bodies.get(key));
      });
      const keys = Array.from({ length: many }, freshKey);
      const first = await Promise.all(keys.map((key) => worker.send({ path, key })));
      figures.settled_large = 0;
      for (const [n, key] of keys.entries()) {
        assert.equal(first[n].status, 201, first[n].text.slice(0, 300));
        assert.ok(first[n].body.equals(bodies.get(key)), "the first caller's own bytes, all of them");
        const again = await worker.send({ path, key });
        // Where the byte budget could not hold it, only its status was kept.
        if (again.status === 409) isProblem(again, /reply-not-stored|outcome-unknown/.exec(again.json.code)[0]);
        else isReplay(again, first[n]);
        figures.settled_large += again.status === 201;
      }
      assert.ok(figures.settled_large >= 4, "those that the byte budget holds are stored");
      assert.equal(origin.count(path), many);
    });
  });
});

describe("large requests", { timeout: 120_000 }, () => {
  test("more than the byte budget holds: the excess is refused before any claim, the others are executed", () =>
    through({}, async (worker, origin) => {
      const path = freshPath();
      const { opened, open } = gate();
      origin.on(path, async () => (await opened, { status: 201, body: "stored" }));
      const keys = Array.from({ length: 30 }, freshKey);
      const body = randomBytes(LARGE);
      const send = (key) => worker.send({ path, key, body });
      let early = 0;
      const sent = keys.map(async (key) => {
        const answer = await send(key).catch(broken);
        early += answer?.status !== 201;
        return answer;
      });
      // Whoever is refused is so while the others are still being executed.
      await until(() => early + origin.count(path) === keys.length, { ms: 30_000, what: "each is refused or at the origin" });
      open();
      const answers = await Promise.all(sent);
      for (const answer of answers) if (answer) answer.status === 503 ? isProblem(answer, "store-unavailable") : isExecuted(answer);
      figures.large_requests = answers.filter((answer) => answer?.status === 201).length;
      assert.ok(refused(answers).length > 0 && figures.large_requests >= 3, `${figures.large_requests} of 30 were executed`);
      assert.equal(origin.count(path), figures.large_requests);
      // Nothing was claimed for those who were refused.
      const again = keys.filter((_, n) => answers[n]?.status !== 201);
      for (const key of again.slice(0, 5)) isExecuted(await send(key));
    }));

  test("many uploads that hardly come: others are served meanwhile", () =>
    through({}, async (worker) => {
      const many = NIGHTLY ? 1_000 : 300;
      const path = freshPath();
      const stalled = Array.from({ length: many }, () => worker.open({ path, key: freshKey(), length: MiB }));
      for (let round = 0; round < 3; round++) {
        for (const upload of stalled) upload.send(Buffer.from("x"));
        isExecuted(await worker.send({ path, key: freshKey(), body: randomBytes(4 * MiB) }));
      }
      for (const upload of stalled) upload.reset();
    }));

  test("uploads that use up the byte budget and then stall lose their reservations to others", () =>
    through({}, async (worker, origin) => {
      const path = freshPath();
      const parts = randomBytes(7 * MiB);
      // Together they come just below the byte budget.
      const stalled = Array.from({ length: Math.floor(BUDGET_MB / 7) }, () => worker.open({ path, key: freshKey(), length: LARGE }));
      for (const upload of stalled) upload.send(parts);
      const body = randomBytes(6 * MiB);
      const key = freshKey();
      // One that says how long it is and sends nothing reserves nothing, and is refused where nothing is left, once its body
      // has been waited for.
      const full = await until(async () => {
        const asking = worker.open({ path, key: freshKey(), length: body.length });
        const answer = await Promise.race([asking.whole().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 7_000))]);
        asking.close();
        return answer;
      }, { ms: 20_000, what: "the byte budget is used up" });
      isProblem(full, "store-unavailable");
      isExecuted(await worker.send({ path, key: freshKey() }));
      isExecuted(await until(async () => {
        const answer = await worker.send({ path, key, body }).catch(broken);
        return answer?.status === 201 && answer;
      }, { ms: 35_000, every: 500, what: "the stalled uploads have lost their reservations" }));
      const count = origin.count(path);
      // One byte: whoever goes on writing to a connection that the other side closes may lose its answer.
      stalled[0].send(parts.subarray(0, 1));
      isProblem(await stalled[0].whole(), "store-unavailable");
      assert.equal(origin.count(path), count, "less than the whole body is never forwarded");
      for (const upload of stalled) upload.reset();
    }));
});

describe("odd requests", { concurrency: 1, timeout: 120_000 }, () => {
  const post = { methods: ["POST"] };
  const routes = [
    { ...post, name: "json", path: "/json", fingerprint: { body: "json" } },
    { ...post, name: "pointers", path: "/pointers", fingerprint: { body: ["/a/0/b", "/id"] } },
    { ...post, name: "keyed", path: "/keyed", key: { from: ["body:/id"], required: true } },
    { ...post, name: "usual", path: "/{*rest}" },
  ];
  /** What answers `spec`: a response, or nothing where the runtime hung up. Somebody else is served after it. */
  async function asked(worker, spec) {
    const answer = await worker.send({ path: freshPath(), key: freshKey(), ...spec }).catch(() => null);
    isExecuted(await worker.send({ path: freshPath(), key: freshKey() }));
    return answer;
  }
  const content = ["Content-Type", "application/json"];

  test("a Host with what is no host in it: what is matched is what is forwarded, or nothing is", () =>
    through({ routes: [{ ...post, name: "pay", path: "/v1/payments", key: { required: true } }, { ...post, path: "/{*rest}" }] }, async (worker, origin) => {
      for (const host of ["shop.example#x", "shop.example\\x", "shop.example?x"]) {
        const unkeyed = await worker.send({ host, path: "/v1/payments" });
        const admin = await worker.send({ host, method: "GET", path: "/.oncegate/stats", body: undefined });
        // With `?` the path is `/` for the filter and for the origin.
        if (!host.includes("?")) assert.deepEqual([unkeyed.status, admin.status], [400, 400], host);
        assert.equal(origin.count("/v1/payments"), 0, host);
        assert.equal(origin.count("/.oncegate/stats"), 0, host);
      }
    }));

  test("headers without measure are passed on or refused", () =>
    through({ routes }, async (worker, origin) => {
      const of = (name, value) => ({ headers: [content, [name, value]], body: "{}" });
      const cases = {
        "2,000 headers": { headers: [content, ...Array.from({ length: 2_000 }, (_, n) => [`X-Header-${n}`, "value"])], body: "{}" },
        "one of 100 KB": of("X-Long", "x".repeat(100_000)),
        "a correlation id of 128 KB": of("X-Correlation-Id", "c".repeat(128 * 1024)),
        "a credential of 100 KB": of("Authorization", "b".repeat(100_000)),
        "a cookie of 10,000 parts": of("Cookie", Array.from({ length: 10_000 }, (_, n) => `c${n}=1`).join(";")),
        "a key of 100 KB": { ...of("Idempotency-Key", "k".repeat(100_000)), key: undefined },
        "a quoted key of 100 KB of parameters": { ...of("Idempotency-Key", `"k"${";a=1".repeat(25_000)}`), key: undefined },
      };
      figures.headers = {};
      for (const [what, spec] of Object.entries(cases)) {
        const answer = await asked(worker, spec);
        figures.headers[what] = answer?.status ?? "hung up";
        assert.ok(answer === null || [201, 400, 431, 503].includes(answer.status), `${what}: ${answer?.status}`);
        if (answer?.status === 201) isExecuted(answer);
      }
      for (const { headers } of origin.all()) {
        for (const [name, value] of headers) if (name.toLowerCase() === "x-correlation-id") assert.ok(value.length <= 255);
      }
    }));

  test("JSON without measure is fingerprinted or taken as bytes", () =>
    through({ routes }, async (worker, origin) => {
      const deep = (open, close, depth) => open.repeat(depth) + "1" + close.repeat(depth);
      const numbers = `[${"1.5e300,".repeat(900_000)}0]`;
      const members = JSON.stringify({ id: "order-1", ...Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`/a/${n}/b`, n])) });
      const bodies = {
        "arrays 100,000 deep": deep("[", "]", 100_000),
        "objects 100,000 deep": deep('{"a":', "}", 100_000),
        "7 MB of numbers": numbers,
        "one string of 8 MB": JSON.stringify("é".repeat(4 * MiB - 8)),
        "100,000 members": members,
        "half an escape, 1 MB of them": `"${"\\ud800".repeat(170_000)}"`,
        "never closed": "[".repeat(MiB),
      };
      figures.json_ms = {};
      for (const [what, body] of Object.entries(bodies)) {
        for (const path of ["/json", "/pointers"]) {
          const [key, before] = [freshKey(), origin.count(path)];
          const began = Date.now();
          const first = await asked(worker, { path, key, body, headers: [content] });
          figures.json_ms[`${what} ${path}`] = Date.now() - began;
          isExecuted(first);
          isReplay(await worker.send({ path, key, body, headers: [content] }), first);
          assert.equal(origin.count(path), before + 1, what);
        }
        const answer = await asked(worker, { path: "/keyed", key: undefined, body, headers: [content] });
        if (body === members) isExecuted(answer);
        else isProblem(answer, answer.json.code === "key-missing" ? "key-missing" : "key-invalid");
      }
    }));
});
