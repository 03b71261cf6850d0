// Contract 1.3: whose key it is. Nobody reads another caller's reply, and a credential that changed between two tries
// does not charge twice. tests/host/digest.rs has every way in which two scopes or two credentials differ.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, gate, operation, stage, until } from "./harness.mjs";

const ALICE = { Authorization: "Bearer alice-4f1c" };
const BOB = { Authorization: "Bearer bob-77d2" };

describe("the scope", { concurrency: 8, timeout: 60_000 }, () => {
  const scoped = (name, scope) => ({ name, methods: ["POST", "PATCH"], path: `/${name}/{*rest}`, scope });
  const on = stage({
    routes: [
      scoped("path-only", ["path"]),
      scoped("credential-only", ["credential"]),
      scoped("route-a", ["route"]),
      scoped("route-b", ["route"]),
      scoped("tenant", ["path", "header:X-Tenant"]),
      scoped("usual"),
    ],
  });
  const send = (key, spec) => on.worker.send({ key, ...spec });

  /** One key, one record: the second request is the retry of the first. */
  async function meet(one, other) {
    const key = freshKey();
    const first = await send(key, one);
    isExecuted(first);
    isReplay(await send(key, other), first);
  }
  /** One key, one record, and two requests. */
  async function clash(one, other) {
    const key = freshKey();
    isExecuted(await send(key, one));
    isProblem(await send(key, other), "key-reused");
  }
  /** Two records: both are executed, and each is answered from its own. */
  async function apart(one, other) {
    const key = freshKey();
    const [first, second] = [await send(key, one), await send(key, other)];
    isExecuted(first);
    isExecuted(second);
    assert.notEqual(first.text, second.text);
    isReplay(await send(key, one), first);
    isReplay(await send(key, other), second);
  }

  test("the same key on another path, with another method or on another host is another operation", async () => {
    const it = freshPath("/usual");
    await apart({ path: it }, { path: freshPath("/usual") });
    await apart({ path: it, method: "POST" }, { path: it, method: "PATCH" });
    await apart({ path: it, host: "one.example" }, { path: it, host: "one.example:8080" });
    await apart({ path: freshPath("/usual/a") }, { path: freshPath("/usual/a").replace("/a/", "/a%2F") });
  });
  test("a path or a host that is only written differently is the same one", async () => {
    const it = freshPath("/usual");
    for (const other of [
      { path: it.replace("usual", "%75su%61l") },
      { path: `/usual/../x/./..${it}` },
      { path: `/usual/%2e%2E/x/%2e/..${it}` },
      // The runtime's URL parser makes slashes of backslashes when it forwards, so they must count as slashes.
      { path: it.replaceAll("/", "\\").replace("\\", "/") },
      { path: it, host: "SHOP.Example" },
      { path: it, host: "shop.example." },
      { path: it, host: "shop.example:80" },
      { path: it, host: "shop.example.:80" },
    ]) await meet({ path: it, host: "shop.example" }, { host: "shop.example", ...other });
  });
  test("what a route leaves out of its scope does not keep keys apart", async () => {
    const it = freshPath("/path-only");
    await meet({ path: it, host: "one.example", headers: ALICE }, { path: it, host: "two.example", headers: BOB });
    await clash({ path: it, method: "POST" }, { path: it, method: "PATCH" });
    await clash({ path: freshPath("/credential-only"), headers: ALICE }, { path: freshPath("/credential-only"), headers: ALICE });
    await clash({ path: freshPath("/route-a") }, { path: freshPath("/route-a"), host: "two.example" });
    await apart({ path: "/route-a/x" }, { path: "/route-b/x" });
  });
  test("a header in the scope keeps keys apart where it differs or is missing, and refuses nobody", async () => {
    const it = freshPath("/tenant");
    await meet({ path: it, headers: { "X-Tenant": "acme" } }, { path: it, headers: { "x-tenant": "acme", ...BOB } });
    await apart({ path: it, headers: { "X-Tenant": "acme" } }, { path: it, headers: { "X-Tenant": "Acme" } });
    await apart({ path: it, headers: { "X-Tenant": "acme" } }, { path: it, headers: {} });
    await apart({ path: it, headers: { "X-Tenant": "acme" } }, { path: it, headers: [["X-Tenant", "acme"], ["X-Tenant", "acme"]] });
  });
  test("a header in the scope whose bytes are not UTF-8 is refused, and the problem names it", async () => {
    const it = operation(on, "/tenant");
    for (const tenant of ["caf\xe9", "caf\xe8"]) {
      const refused = await it.send({ headers: { "X-Tenant": tenant } });
      isProblem(refused, "key-invalid");
      assert.match(refused.json.detail, /header x-tenant holds bytes that are not UTF-8/);
    }
    assert.equal(it.count(), 0);
  });
});

describe("the credential", { concurrency: 8, timeout: 60_000 }, () => {
  const lists = { usual: undefined, session: ["cookie:session"], custom: ["header:X-Client"] };
  const on = stage({
    routes: [
      { name: "brief", methods: ["POST"], path: "/brief/{*rest}", ttl: "1s" },
      ...["refuse", "forward"].flatMap((credential_change) =>
        Object.entries(lists).map(([name, credential]) => ({
          name: `${name}-${credential_change}`, methods: ["POST"], path: `/${name}-${credential_change}/{*rest}`, credential_change, ...(credential && { credential }),
        })),
      ),
    ],
  });

  for (const [name, what, one, other] of [
    ["usual", "another cookie beside the same Authorization", { ...ALICE, Cookie: "visit=1" }, { ...ALICE, Cookie: "visit=2" }],
    ["usual", "the same cookies in another order, joined by a comma", { Cookie: "a=1; b=2" }, { Cookie: "b=2,a=1" }],
    ["usual", "the same cookies on two lines", { Cookie: "a=1; b=2" }, [["Cookie", "a=1"], ["Cookie", "b=2"]]],
    ["usual", "the same Authorization with its scheme in other letters and more space after it", ALICE, { Authorization: ALICE.Authorization.replace("Bearer ", "bEARER   ") }],
    ["usual", "other cookies of Cloudflare, Google and Meta", { Cookie: "sid=1; __cf_bm=a; _ga=GA1.1.1.1; _ga_1ABC2DEF3G=GS1.1" }, { Cookie: "_fbp=fb.1; cf_clearance=x; sid=1; __cf_bm=b; _ga_1ABC2DEF3G=GS1.2; _gat_UA-1-1=1" }],
    ["usual", "another cookie that is not UTF-8 beside the same Authorization", { ...ALICE, Cookie: "user=J\xfcrgen" }, { ...ALICE, Cookie: "user=J\xf6rgen" }],
    ["session", "another cookie that is not UTF-8 beside the same session", { Cookie: "session=s1; user=J\xfcrgen" }, { Cookie: "session=s1; user=J\xf6rgen; \xff" }],
    ["session", "another cookie beside the same session", { Cookie: "session=s1; theme=dark" }, { Cookie: "visit=9, session=s1" }],
    ["custom", "another Authorization where only X-Client counts", { "X-Client": "c1", ...ALICE }, { "X-Client": "c1", ...BOB }],
  ]) {
    test(`${what} is the same caller`, async () => {
      const it = operation(on, `/${name}-refuse`);
      const first = await it.send({ headers: one });
      isExecuted(first);
      isReplay(await it.send({ headers: other }), first);
      assert.equal(it.count(), 1);
    });
  }

  // The headers of a victim, and of somebody who knows the key, the path and the body.
  for (const [name, what, victim, thief] of [
    ["usual", "another Authorization", ALICE, BOB],
    ["usual", "no credential", ALICE, {}],
    ["usual", "a credential where there was none", {}, ALICE],
    ["usual", "the Authorization twice", ALICE, [["Authorization", ALICE.Authorization], ["Authorization", BOB.Authorization]]],
    ["usual", "the Authorization as X-Api-Key", ALICE, { "X-Api-Key": ALICE.Authorization }],
    ["usual", "another X-Api-Key beside the same Authorization", { ...ALICE, "X-Api-Key": "one" }, { ...ALICE, "X-Api-Key": "two" }],
    ["usual", "the Authorization in other letters after its scheme", ALICE, { Authorization: ALICE.Authorization.replace("alice", "Alice") }],
    ["usual", "a cookie that looks like one of Google's", { Cookie: "_gallery_session=alice" }, { Cookie: "_gallery_session=bob" }],
    ["usual", "a cookie that looks like one of Cloudflare's", { Cookie: "_cfo_session=alice; cf_session=1" }, { Cookie: "_cfo_session=bob; cf_session=1" }],
    ["usual", "the cookie of Cloudflare Access", { Cookie: "CF_Authorization=alice" }, { Cookie: "CF_Authorization=bob" }],
    ["usual", "another cookie", { Cookie: "sid=alice" }, { Cookie: "sid=bob" }],
    ["usual", "a credential whose bytes are not UTF-8", { Authorization: "caf\xe9" }, { Authorization: "caf\xe8" }],
    ["usual", "a cookie whose bytes are not UTF-8", { Cookie: "sid=\xe9" }, { Cookie: "sid=\xe8" }],
    ["session", "another session", { Cookie: "session=s1" }, { Cookie: "session=s2" }],
    ["session", "no session", { Cookie: "session=s1" }, { Cookie: "visit=s1" }],
    ["custom", "another X-Client", { "X-Client": "c1", ...ALICE }, { "X-Client": "c2", ...ALICE }],
  ]) {
    test(`${what} reads nobody's reply`, async () => {
      const refusing = operation(on, `/${name}-refuse`);
      const first = await refusing.send({ headers: victim });
      // Nothing is stored where callers cannot be told apart.
      const isUnreadable = first.status === 400;
      if (isUnreadable) isProblem(first, "key-invalid");
      else isExecuted(first);
      isProblem(await refusing.send({ headers: thief }), isUnreadable ? "key-invalid" : "credential-changed");
      if (!isUnreadable) isReplay(await refusing.send({ headers: victim }), first);
      assert.equal(refusing.count(), isUnreadable ? 0 : 1);

      const forwarding = operation(on, `/${name}-forward`);
      const [own, other] = [await forwarding.send({ headers: victim }), await forwarding.send({ headers: thief })];
      if (isUnreadable) return void isProblem(other, "key-invalid");
      isExecuted(other);
      assert.notEqual(own.text, other.text);
      isReplay(await forwarding.send({ headers: victim }), own);
      isReplay(await forwarding.send({ headers: thief }), other);
      assert.equal(forwarding.count(), 2);
    });
  }
  test("an unreadable cookie is refused where all cookies are the credential, and the problem names the way out", async () => {
    const it = operation(on, "/usual-refuse");
    const refused = await it.send({ headers: { Cookie: "user=J\xfcrgen; lang=de" } });
    isProblem(refused, "key-invalid");
    assert.match(refused.json.detail, /credential = \["cookie:SESSION"\]/);
    isExecuted(await it.send({ headers: { Cookie: "_ga=J\xfcrgen; lang=de" } }));
  });
  test("nothing else in a request reads another caller's reply, running or stored", async () => {
    const it = operation(on, "/usual-forward");
    const { opened, open } = gate();
    const isAlice = (execution) => execution.get("Authorization") === ALICE.Authorization;
    it.answers(async (execution) => (isAlice(execution) && (await opened), { status: 201, body: `for ${execution.get("Authorization")}` }));
    const running = it.send({ headers: ALICE });
    await it.reached();
    const id = it.seen().get("X-Correlation-Id");
    const look = async () => {
      for (const more of [
        {}, { headers: { "X-On-Conflict": "FAIL" } }, { headers: { Prefer: "wait=10" } }, { headers: { "X-Correlation-Id": id } }, { key: `"${it.key}"` },
        { headers: { Host: "shop.example" } }, { path: `/x/..${it.path}` }, { path: `${it.path}?` }, { headers: { Forwarded: "host=shop.example" } },
      ]) {
        const response = await it.send({ ...more, headers: { ...BOB, "Content-Type": "application/json", ...more.headers } });
        assert.doesNotMatch(response.text, /alice/);
      }
    };
    await look();
    open();
    isExecuted(await running);
    await look();
    assert.equal(on.origin.executions(it.path).filter(isAlice).length, 1);
  });
  test("a changed credential is refused while the first request runs and while its outcome is unknown, and at once", async () => {
    const running = operation(on, "/usual-refuse");
    const { opened, open } = gate();
    running.answers(async () => (await opened, { status: 504, body: "who knows" }));
    const first = running.send({ headers: ALICE });
    await running.reached();
    isProblem(await running.send({ headers: BOB }), "credential-changed");
    open();
    isUnknown(await first, 504);
    isProblem(await running.send({ headers: BOB }), "credential-changed");
    assert.equal(running.count(), 1);
  });
  test("another credential may take the key once the first try was released or its record has expired", async () => {
    const released = operation(on, "/usual-refuse");
    released.answers((_, n) => ({ status: n === 1 ? 401 : 201, body: String(n) }));
    await released.send({ headers: ALICE });
    isExecuted(await released.send({ headers: BOB }));

    const expired = operation(on, "/brief");
    isExecuted(await expired.send({ headers: ALICE }));
    isProblem(await expired.send({ headers: BOB }), "credential-changed");
    isExecuted(await until(async () => {
      const response = await expired.send({ headers: BOB });
      return response.status === 201 && response;
    }));
    assert.deepEqual([released.count(), expired.count()], [2, 2]);
  });
  test("under refuse, other operations with the key go on, and of callers who come at once one is executed", async () => {
    const it = operation(on, "/usual-refuse");
    isExecuted(await it.send({ headers: ALICE }));
    isExecuted(await it.send({ headers: BOB, body: "another order" }));
    for (let n = 0; n < 10; n++) {
      const race = operation(on, "/usual-refuse");
      const answers = await Promise.all([ALICE, BOB, ALICE, BOB].map((headers) => race.send({ headers })));
      const refused = answers.filter((response) => response.status !== 201);
      assert.deepEqual([refused.length, race.count()], [2, 1]);
      for (const response of refused) isProblem(response, "credential-changed");
      isExecuted(answers.find((response) => response.get("Idempotency-Status") === "executed"));
    }
  });
  test("under forward, each caller's order 7 is an order of its own, in doubt too", async () => {
    const it = operation(on, "/usual-forward");
    it.answers((execution) => ({ status: execution.get("Authorization") === ALICE.Authorization ? 504 : 201, body: execution.get("Authorization") }));
    isUnknown(await it.send({ headers: ALICE }), 504);
    const second = await it.send({ headers: BOB });
    isExecuted(second);
    isProblem(await it.send({ headers: ALICE }), "outcome-unknown");
    isReplay(await it.send({ headers: BOB }), second);
    assert.equal(it.count(), 2);
  });
  test("a credential is neither on the disk nor in the log, and a key is not in the log", async () => {
    const secret = `very-secret-${freshKey()}`;
    const seen = freshPath("/usual-refuse");
    const headers = { Authorization: `Bearer ${secret}`, "X-Api-Key": secret, Cookie: `session=${secret}` };
    const keys = [];
    for (const answer of [{ status: 201 }, { status: 429 }, { status: 504 }, { reset: true }, { status: 999 }]) {
      on.origin.on(seen, answer);
      keys.push(freshKey());
      for (const body of ["{}", "{}", "[]"]) await on.worker.send({ key: keys.at(-1), path: seen, headers, body });
    }
    assert.equal(on.origin.executions(seen)[0].get("Authorization"), `Bearer ${secret}`);
    const files = readdirSync(on.worker.disk, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    assert.ok(files.some((file) => file.name.endsWith(".sqlite")));
    for (const file of files) assert.equal(readFileSync(path.join(file.parentPath, file.name)).indexOf(secret), -1, file.name);
    for (const hidden of [secret, ...keys]) assert.equal(on.worker.logs.includes(hidden), false);
  });
});
