// Contract 1.3 and its knobs: scope, credential, credential_change. However it is tried, nobody reads another
// caller's reply.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, stage } from "./harness.mjs";

const ALICE = { Authorization: "Bearer alice-4f1c" };
const BOB = { Authorization: "Bearer bob-77d2" };

describe("scope", { concurrency: 8, timeout: 60_000 }, () => {
  const scoped = (name, scope) => ({ name, methods: ["POST", "PATCH"], path: `/${name}/{*rest}`, scope });
  const on = stage({
    routes: [
      scoped("hostless", ["method", "path", "credential"]),
      scoped("methodless", ["host", "path", "credential"]),
      scoped("pathless", ["host", "method", "credential"]),
      scoped("open", ["host", "method", "path"]),
      scoped("route-a", ["route"]),
      scoped("route-b", ["route"]),
      scoped("host-a", ["host"]),
      scoped("host-b", ["host"]),
      scoped("tenant", ["path", "header:X-Tenant"]),
      scoped("region", ["path", "header:X-Tenant", "header:X-Region", "credential"]),
    ],
  });
  const key = freshKey;
  /** Two requests with one key meet in one record: the same request is replayed. */
  async function meet(one, other) {
    const spec = { key: key(), path: one.path };
    const first = await on.worker.send({ ...spec, ...one });
    isExecuted(first);
    isReplay(await on.worker.send({ ...spec, ...other }), first);
  }
  /** They meet in one record, but they are not the same request. */
  async function clash(one, other) {
    const spec = { key: key() };
    isExecuted(await on.worker.send({ ...spec, ...one }));
    const response = await on.worker.send({ ...spec, ...other });
    isProblem(response, "key-reused");
    if (other.path) assert.equal(on.origin.count(other.path), other.path === one.path ? 1 : 0);
  }
  /** They never meet, though they say the same. */
  async function apart(one, other) {
    const spec = { key: key() };
    const first = await on.worker.send({ ...spec, ...one });
    const second = await on.worker.send({ ...spec, ...other });
    isExecuted(first);
    isExecuted(second);
    isReplay(await on.worker.send({ ...spec, ...one }), first);
    isReplay(await on.worker.send({ ...spec, ...other }), second);
  }

  test("without host, a key is the same on every host", () => {
    const path = freshPath("/hostless");
    return meet({ path, host: "one.example" }, { path, host: "two.example" });
  });
  test("without method, a key is taken on its path whatever the method: another method is another request", () => {
    const path = freshPath("/methodless");
    return clash({ path, method: "POST" }, { path, method: "PATCH" });
  });
  test("without path, a key is taken on every path of the route: another path is another request", () =>
    clash({ path: freshPath("/pathless") }, { path: freshPath("/pathless") }));
  test("without credential, callers share their keys", () => {
    const path = freshPath("/open");
    return meet({ path, headers: ALICE }, { path, headers: BOB });
  });
  test("by route, a key is the same on every path and host of its route and another on every other route", async () => {
    await apart({ path: "/route-a/x" }, { path: "/route-b/x" });
    await clash({ path: freshPath("/route-a") }, { path: freshPath("/route-a"), host: "two.example" });
  });
  test("without route, a key of one route is taken on the other", () => clash({ path: freshPath("/host-a") }, { path: freshPath("/host-b") }));
  test("by a header, a key is the same where the header is, and another where it differs or is missing", async () => {
    const path = freshPath("/tenant");
    await meet({ path, headers: { "X-Tenant": "acme" } }, { path, headers: { "x-tenant": "acme", ...BOB } });
    await apart({ path, headers: { "X-Tenant": "acme" } }, { path, headers: { "X-Tenant": "Acme" } });
    await apart({ path, headers: { "X-Tenant": "acme" } }, { path, headers: {} });
    await apart({ path, headers: { "X-Tenant": "acme" } }, { path, headers: [["X-Tenant", "acme"], ["X-Tenant", "acme"]] });
  });
  test("the parts of a scope cannot be shifted into each other", async () => {
    const path = freshPath("/region");
    const of = (tenant, region) => ({ path, headers: { ...(tenant !== null && { "X-Tenant": tenant }), ...(region !== null && { "X-Region": region }) } });
    await apart(of("ab", "c"), of("a", "bc"));
    await apart(of("ab", null), of(null, "ab"));
    await apart(of("a, b", "c"), of("a", "b, c"));
    await apart(of("a:b", "c"), of("a", "b:c"));
  });
  test("a header of the scope whose bytes are not UTF-8 is refused, and the problem names it", async () => {
    const [path, key] = [freshPath("/tenant"), freshKey()];
    for (const tenant of ["caf\xe9", "caf\xe8"]) {
      const refused = await on.worker.send({ key, path, headers: { "X-Tenant": tenant } });
      isProblem(refused, "key-invalid");
      assert.match(refused.json.detail, /header x-tenant holds bytes that are not UTF-8/);
    }
    assert.equal(on.origin.count(path), 0);
  });
  test("the scope's own header counts even where the credential is the same, and refuses nobody", async () => {
    const path = freshPath("/region");
    await apart({ path, headers: { ...ALICE, "X-Tenant": "one" } }, { path, headers: { ...ALICE, "X-Tenant": "two" } });
    await apart({ path, headers: { ...ALICE, "X-Tenant": "one" } }, { path, headers: { ...BOB, "X-Tenant": "two" } });
  });
});

describe("the credential", { concurrency: 8, timeout: 60_000 }, () => {
  const route = (name, credential) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, ...credential });
  const lists = { session: ["cookie:session"], either: ["header:Authorization", "cookie:session"], two: ["cookie:a", "cookie:b"], custom: ["header:X-Client"] };
  const routes = ["refuse", "forward"].flatMap((credential_change) => [
    route(`usual-${credential_change}`, { credential_change }),
    ...Object.entries(lists).map(([name, credential]) => route(`${name}-${credential_change}`, { credential, credential_change })),
  ]);
  const on = stage({ routes });
  const send = (it, headers, more = {}) => on.worker.send({ ...it, headers, ...more });
  const operation = (route) => ({ path: freshPath(`/${route}`), key: freshKey() });

  // Routes with the headers of one caller, written in two ways.
  const same = [
    ["usual", "cookies in another order", { Cookie: "a=1; b=2" }, { Cookie: "b=2; a=1" }],
    ["usual", "cookies joined by a comma", { Cookie: "a=1; b=2" }, { Cookie: "a=1,b=2" }],
    ["usual", "cookies on two lines", { Cookie: "a=1; b=2" }, [["Cookie", "a=1"], ["Cookie", "b=2"]]],
    ["session", "other cookies beside the session's", { Cookie: "session=s1; theme=dark" }, { Cookie: "visit=9;session=s1" }],
    ["session", "the session after a comma", { Cookie: "session=s1" }, { Cookie: "visit=9, session=s1" }],
    ["session", "an Authorization that does not count", { Cookie: "session=s1" }, { Cookie: "session=s1", ...ALICE }],
    ["either", "another visit cookie beside both", { ...ALICE, Cookie: "session=s1; visit=1" }, { ...ALICE, Cookie: "visit=2; session=s1" }],
    ["two", "the two cookies the other way round", { Cookie: "a=1; b=2" }, { Cookie: "b=2, a=1" }],
    ["custom", "another Authorization where X-Client counts", { "X-Client": "c1", ...ALICE }, { "X-Client": "c1", ...BOB }],
  ];
  for (const [name, what, one, other] of same) {
    test(`${what} is the same caller (${name})`, async () => {
      const it = operation(`${name}-refuse`);
      const first = await send(it, one);
      isExecuted(first);
      isReplay(await send(it, other), first);
      assert.equal(on.origin.count(it.path), 1);
    });
  }

  // The victim's headers, and those of somebody who has the key, the path and the body, and wants the reply.
  const attempts = [
    ["usual", "another Authorization", ALICE, BOB],
    ["usual", "no credential at all", ALICE, {}],
    ["usual", "an empty Authorization", ALICE, { Authorization: "" }],
    ["usual", "the Authorization cut short", ALICE, { Authorization: ALICE.Authorization.slice(0, -1) }],
    ["usual", "the Authorization in another case", ALICE, { Authorization: ALICE.Authorization.toUpperCase() }],
    ["usual", "the Authorization twice", ALICE, [["Authorization", ALICE.Authorization], ["Authorization", BOB.Authorization]]],
    ["usual", "the Authorization as a cookie", ALICE, { Cookie: `Authorization=${ALICE.Authorization}` }],
    ["usual", "the Authorization as X-Api-Key", ALICE, { "X-Api-Key": ALICE.Authorization }],
    ["usual", "a part of the credential shifted into the next", { Authorization: "ab", "X-Api-Key": "c" }, { Authorization: "a", "X-Api-Key": "bc" }],
    ["usual", "both parts in one header", { Authorization: "a", "X-Api-Key": "b" }, { Authorization: "a, b" }],
    ["usual", "another cookie", { Cookie: "sid=alice" }, { Cookie: "sid=bob" }],
    ["usual", "one cookie more", { Cookie: "sid=alice" }, { Cookie: "sid=alice; sid=bob" }],
    ["usual", "a cookie with the others in its value", { Cookie: "a=1; b=2" }, { Cookie: 'a="1; b=2"' }],
    ["usual", "a cookie whose name took of its value", { Cookie: "ab=c" }, { Cookie: "a=bc" }],
    ["usual", "a credential whose bytes are not UTF-8", { Authorization: "caf\xe9" }, { Authorization: "caf\xe8" }],
    ["usual", "a cookie whose bytes are not UTF-8", { Cookie: "sid=\xe9" }, { Cookie: "sid=\xe8" }],
    ["session", "another session", { Cookie: "session=s1" }, { Cookie: "session=s2" }],
    ["session", "a longer name", { Cookie: "session=s1" }, { Cookie: "xsession=s1" }],
    ["session", "the name in another case", { Cookie: "session=s1" }, { Cookie: "Session=s1" }],
    ["session", "two sessions", { Cookie: "session=s1" }, { Cookie: "session=s1; session=s2" }],
    ["session", "no session, where all cookies count", { Cookie: "session=s1" }, { Cookie: "visit=s1" }],
    ["session", "an empty session", { Cookie: "session=s1" }, { Cookie: "session=" }],
    ["either", "the same Authorization and another session", { ...ALICE, Cookie: "session=s1" }, { ...ALICE, Cookie: "session=s2" }],
    ["either", "the session as Authorization", { Cookie: "session=s1" }, { Authorization: "s1" }],
    ["two", "the two cookies' values swapped", { Cookie: "a=1; b=2" }, { Cookie: "a=2; b=1" }],
    ["two", "the one cookie's value in the other", { Cookie: "a=1" }, { Cookie: "b=1" }],
    ["custom", "another X-Client", { "X-Client": "c1", ...ALICE }, { "X-Client": "c2", ...ALICE }],
  ];
  for (const [name, what, victim, thief] of attempts) {
    test(`${what} reads nobody's reply (${name})`, async () => {
      const refusing = operation(`${name}-refuse`);
      const first = await send(refusing, victim);
      const unusable = first.status === 400; // nothing is stored where callers cannot be told apart
      if (unusable) isProblem(first, "key-invalid");
      else isExecuted(first);
      const refused = await send(refusing, thief);
      if (refused.status !== 400) isProblem(refused, "credential-changed");
      assert.equal(on.origin.count(refusing.path), unusable ? 0 : 1);

      const forwarding = operation(`${name}-forward`);
      const own = await send(forwarding, victim);
      const other = await send(forwarding, thief);
      if (other.status === 400) return isProblem(other, "key-invalid");
      isExecuted(other);
      assert.notEqual(own.text, other.text);
      isReplay(await send(forwarding, victim), own);
      isReplay(await send(forwarding, thief), other);
      assert.equal(on.origin.count(forwarding.path), 2);
    });
  }
  test("nor does anything else in the request: host, path, method, strategy, waiting, correlation id, spelling of the key", async () => {
    const it = operation("usual-forward");
    const { opened, open } = gate();
    on.origin.on(it.path, async (execution) => (execution.get("Authorization") === ALICE.Authorization && (await opened), { status: 201, body: `for ${execution.get("Authorization")}` }));
    const running = send(it, ALICE);
    await on.origin.reached(it.path);
    const id = on.origin.executions(it.path)[0].get("X-Correlation-Id");
    const tries = [
      {}, { headers: { "X-On-Conflict": "FAIL" } }, { headers: { Prefer: "wait=10" } }, { headers: { "X-Correlation-Id": id } }, { key: `"${it.key}"` },
      { headers: { Host: "shop.example" } }, { path: `/x/..${it.path}` }, { path: `${it.path}?` }, { headers: { "X-Forwarded-Host": "shop.example", Forwarded: "host=shop.example" } },
    ];
    const look = async () => {
      for (const more of tries) {
        const response = await send(it, BOB, { ...more, headers: { ...BOB, "Content-Type": "application/json", ...more.headers } });
        assert.doesNotMatch(response.text, /alice/);
      }
    };
    await look();
    open();
    isExecuted(await running);
    await look();
    assert.equal(on.origin.executions(it.path).filter((seen) => seen.get("Authorization") === ALICE.Authorization).length, 1);
  });

  test("with credential_change = refuse the victim is not locked out, and the thief's own operations go on", async () => {
    const it = operation("usual-refuse");
    const first = await send(it, ALICE);
    isProblem(await send(it, BOB), "credential-changed");
    isReplay(await send(it, ALICE), first);
    isExecuted(await send(it, BOB, { body: "another order" }));
    isExecuted(await send({ ...it, key: freshKey() }, BOB));
  });
  test("with credential_change = refuse only one of two callers who come at once is executed", async () => {
    for (let n = 0; n < 10; n++) {
      const it = operation("usual-refuse");
      const answers = await Promise.all([ALICE, BOB, ALICE, BOB].map((headers) => send(it, headers)));
      const winner = answers.find((response) => response.get("Idempotency-Status") === "executed");
      isExecuted(winner);
      assert.equal(answers.filter((response) => response.status === 201).length, 2);
      for (const response of answers.filter((response) => response.status !== 201)) isProblem(response, "credential-changed");
      assert.equal(on.origin.count(it.path), 1);
    }
  });
  test("with credential_change = forward each caller's order 7 is an order of its own, in doubt too", async () => {
    const it = operation("usual-forward");
    on.origin.on(it.path, (execution) => ({ status: execution.get("Authorization") === ALICE.Authorization ? 504 : 201, body: execution.get("Authorization") }));
    isUnknown(await send(it, ALICE), 504);
    const bobs = await send(it, BOB);
    isExecuted(bobs);
    isProblem(await send(it, ALICE), "outcome-unknown");
    isReplay(await send(it, BOB), bobs);
    assert.equal(on.origin.count(it.path), 2);
  });
});
