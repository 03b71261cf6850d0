// Contract 1.6 and its knobs: the columns strict and success-only row by row, the lists that win over them, and the
// origin's own word that wins over all. The column standard is in outcome.test.mjs.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReleased, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage, until } from "./harness.mjs";

const STORE = "store", RELEASE = "release", IN_DOUBT = "in doubt";
const AFTER = [["Retry-After", "7"]];
// Statuses of a row of the table (with headers, where they matter), and what it says under strict and success-only.
const ROWS = [
  ["2xx", [200, 201, 202, 204, 206, 226, 299], STORE, STORE],
  ["3xx", [300, 301, 302, 303, 304, 307, 308, 399], STORE, RELEASE],
  ["401, 403, 407, 408, 409, 425, 429", [401, 403, 407, 408, 409, 425, 429], RELEASE, RELEASE],
  ["402", [402], STORE, RELEASE],
  ["other 4xx", [400, 404, 405, 406, 410, 411, 412, 413, 415, 418, 422, 423, 424, 426, 428, 431, 451, 499], STORE, RELEASE],
  ["503 with Retry-After", [503], RELEASE, RELEASE, AFTER],
  ["the edge never reached the origin", [521, 523, 525, 526, 530], RELEASE, RELEASE],
  ["somebody on the way does not know", [502, 503, 504, 520, 522, 524], IN_DOUBT, IN_DOUBT],
  ["502, 504 and 520 with Retry-After", [502, 504, 520, 522, 524], IN_DOUBT, IN_DOUBT, AFTER],
  ["500, 501, 505 and other 5xx", [500, 501, 505, 506, 507, 508, 510, 511, 527, 529, 599], STORE, RELEASE],
  ["other 5xx with Retry-After", [500, 501, 529], STORE, RELEASE, AFTER],
];

describe("outcomes", { concurrency: 16, timeout: 60_000 }, () => {
  const route = (name, outcome, more) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, outcome, ...more });
  const lists = { store: [302, 404, 429, 503, 504], release: [200, 402, 500, 502], in_doubt: [201, 401, 418, 501] };
  const presets = ["standard", "strict", "success-only"];
  const on = stage({
    routes: presets.flatMap((preset) => [
      route(preset, { preset }),
      route(`${preset}-hasty`, { preset }, { timeout: "1s" }),
      route(`${preset}-lists`, { preset, ...lists }),
    ]),
  });

  function operation(prefix, answer) {
    const it = { path: freshPath(`/${prefix}`), key: freshKey() };
    on.origin.on(it.path, answer);
    return { ...it, count: () => on.origin.count(it.path), send: () => on.worker.send(it) };
  }
  const says = (status, headers = []) => (_, n) => ({ status, headers: [["X-Run", String(n)], ...headers], body: [204, 304].includes(status) ? "" : `run ${n}` });

  /** Sends a request whose origin answers like this, and another one: the first caller hears the origin, and the
   *  second hears what this outcome means. */
  async function means(outcome, prefix, status, headers) {
    const it = operation(prefix, says(status, headers));
    const first = await it.send();
    ({ [STORE]: isExecuted, [RELEASE]: isReleased, [IN_DOUBT]: isUnknown })[outcome](first, status);
    assert.equal(first.get("X-Run"), "1");
    assert.equal(first.text, [204, 304].includes(status) ? "" : "run 1");
    assert.equal(first.get("Idempotency-Outcome"), null);
    const second = await it.send();
    if (outcome === STORE) {
      isReplay(second, first);
      assert.equal(second.get("X-Run"), "1");
      assert.equal(second.get("Idempotency-Outcome"), null);
      if (status >= 500) assert.equal(second.get("Stripe-Should-Retry"), "false");
    }
    if (outcome === RELEASE) {
      isReleased(second, status);
      assert.equal(second.get("X-Run"), "2");
      if (headers === AFTER) assert.equal(second.get("Retry-After"), "7");
    }
    if (outcome === IN_DOUBT) isProblem(second, "outcome-unknown");
    assert.equal(it.count(), outcome === RELEASE ? 2 : 1);
  }

  for (const [row, statuses, strict, successOnly, headers] of ROWS) {
    for (const [preset, outcome] of [["strict", strict], ["success-only", successOnly]]) {
      for (const status of statuses) test(`${preset}: ${status} (${row}) means ${outcome}`, () => means(outcome, preset, status, headers));
    }
  }

  for (const preset of ["strict", "success-only"]) {
    const broken = {
      "a connection that is reset": { reset: true },
      "a connection that is closed without an answer": { raw: "" },
      "a truncated body of a 2xx": { status: 201, length: 100, body: "only this" },
      "a truncated body of a status that would have freed the key": { status: 429, length: 100, body: "only this" },
      "a truncated chunked body": { raw: "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npaid\r\n" },
      "status 999": { raw: "HTTP/1.1 999 Nonsense\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" },
      "status 600 that says release": { raw: "HTTP/1.1 600 Nonsense\r\nIdempotency-Outcome: release\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" },
    };
    for (const [what, answer] of Object.entries(broken)) {
      test(`${preset}: ${what} means in doubt`, async () => {
        const it = operation(preset, answer);
        isProblem(await it.send(), "outcome-unknown", 502);
        isProblem(await it.send(), "outcome-unknown");
        assert.equal(it.count(), 1);
      });
    }
    for (const [status, outcome] of preset === "strict" ? [[404, STORE], [429, RELEASE]] : [[200, STORE], [500, RELEASE]]) {
      test(`${preset}: no whole answer within the timeout means in doubt, and a ${status} that comes later closes the record: ${outcome}`, async () => {
        const { opened, open } = gate();
        const it = operation(`${preset}-hasty`, async (_, n) => (n === 1 && (await opened), { status, body: `run ${n}` }));
        isProblem(await it.send(), "outcome-unknown", 504);
        isProblem(await it.send(), "outcome-unknown");
        open();
        const later = await until(async () => {
          const response = await it.send();
          if (response.status === status) return response;
          isProblem(response, "outcome-unknown");
        });
        if (outcome === STORE) isReplay(later, later);
        else isReleased(later, status);
        assert.equal(later.text, outcome === STORE ? "run 1" : "run 2");
        assert.equal(it.count(), outcome === STORE ? 1 : 2);
      });
    }
  }

  const listed = [...lists.store.map((s) => [s, STORE]), ...lists.release.map((s) => [s, RELEASE]), ...lists.in_doubt.map((s) => [s, IN_DOUBT])];
  for (const preset of presets) {
    for (const [status, outcome] of listed) {
      test(`${preset}: a list that names ${status} wins over the preset: ${outcome}`, () => means(outcome, `${preset}-lists`, status));
    }
    test(`${preset}: a list wins over Retry-After, and what no list names follows the preset`, async () => {
      await means(STORE, `${preset}-lists`, 503, AFTER);
      await means(preset === "success-only" ? RELEASE : STORE, `${preset}-lists`, 505);
      await means(preset === "strict" ? STORE : RELEASE, `${preset}-lists`, 422);
      await means(IN_DOUBT, `${preset}-lists`, 520);
    });
  }

  const word = (value) => [["Idempotency-Outcome", value]];
  for (const preset of presets) {
    for (const name of [preset, `${preset}-lists`]) {
      test(`the origin's own word wins over preset and lists, for every status (${name})`, async () => {
        for (const status of [200, 204, 302, 402, 404, 429, 500, 502, 503, 521]) {
          await means(STORE, name, status, word("store"));
          await means(RELEASE, name, status, word("release"));
          await means(IN_DOUBT, name, status, word("in-doubt"));
        }
        await means(STORE, name, 503, [...AFTER, ...word("store")]);
      });
    }
    test(`an origin's word that means nothing is ignored, and not passed on either (${preset})`, async () => {
      for (const value of ["", "maybe", "in_doubt", "in doubt", "stored", "store, release", "store; q=1"]) {
        await means(STORE, preset, 200, word(value));
        await means(RELEASE, preset, 429, word(value));
        await means(IN_DOUBT, preset, 502, word(value));
      }
      await means(RELEASE, preset, 429, [...word("store"), ...word("release")]);
    });
  }
  test("an origin decides for one response, not for the key: a released one may be stored later", async () => {
    const it = operation("standard", (_, n) => ({ status: 500, headers: word(n < 3 ? "release" : "store"), body: `run ${n}` }));
    isReleased(await it.send(), 500);
    isReleased(await it.send(), 500);
    const third = await it.send();
    isExecuted(third, 500);
    isReplay(await it.send(), third);
    assert.equal(it.count(), 3);
  });
  test("an origin's word reaches nobody on a duplicate, a problem or an event stream", async () => {
    const it = operation("standard", { status: 200, headers: [["Content-Type", "text/event-stream"], ...word("store")], body: "data: 1\n\n" });
    const first = await it.send();
    assert.equal(first.status, 200);
    const second = await it.send();
    isProblem(second, "reply-not-stored");
    for (const response of [first, second]) assert.equal(response.get("Idempotency-Outcome"), null);
  });
  test("a client's own Idempotency-Outcome decides nothing", async () => {
    const it = operation("standard", says(500));
    const send = () => on.worker.send({ path: it.path, key: it.key, headers: word("release") });
    const first = await send();
    isExecuted(first, 500);
    isReplay(await send(), first);
  });
});
