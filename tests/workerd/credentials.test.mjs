// Contract 1.3: access tokens that are renewed between two tries (jwt:). tests/host/bearer.rs has every way in which a
// token is opaque or refused, and when a key server is asked. Here are the signatures, a key server as it may behave, and
// every way in which somebody may try to read another caller's reply.

import assert from "node:assert/strict";
import { createHmac, createSign, generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { describe, test } from "node:test";
import { isExecuted, isProblem, isReplay } from "./expect.mjs";
import { gate, operation, stage, through } from "./harness.mjs";

const ISSUER = "https://issuer.example";
const now = () => Math.floor(Date.now() / 1000);
const coded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

class Key {
  constructor(alg, kid) {
    Object.assign(this, { alg, kid, ...(alg === "RS256" ? generateKeyPairSync("rsa", { modulusLength: 2048 }) : generateKeyPairSync("ec", { namedCurve: "P-256" })) });
  }
  get jwk() {
    return { ...this.publicKey.export({ format: "jwk" }), kid: this.kid, use: "sig", alg: this.alg };
  }
  sign(signed) {
    return createSign("SHA256").update(signed).sign({ key: this.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url");
  }
  /** A token; members of claims or header that are undefined are left out. */
  token(claims = {}, header = {}) {
    const signed = `${coded({ alg: this.alg, kid: this.kid, ...header })}.${coded({ iss: ISSUER, aud: "shop", exp: now() + 600, sub: "alice", jti: Math.random(), ...claims })}`;
    return `${signed}.${this.sign(signed)}`;
  }
}
const rsa = new Key("RS256", "rsa-1");
const ec = new Key("ES256", "ec-1");
const stranger = new Key("RS256", "rsa-1");
const bearer = (token) => ({ Authorization: `Bearer ${token}` });

/** A key server. `answer(response)` may do anything; it serves `keys` until it is set. */
async function keyServer(keys) {
  const server = createServer((request, response) => {
    on.asked++;
    if (on.answer) return void on.answer(response, request);
    response.end(JSON.stringify({ keys: on.keys }));
  });
  const on = { keys, asked: 0, answer: null, close: () => (server.closeAllConnections(), server.close()) };
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  on.address = `http://127.0.0.1:${server.address().port}/jwks`;
  return on;
}
const routes = [
  { name: "plain", methods: ["POST"], path: "/plain/{*rest}" },
  { name: "shadow", methods: ["POST"], path: "/shadow/{*rest}", credential: ["jwt:/sub"], mode: "shadow" },
  { name: "forward", methods: ["POST"], path: "/forward/{*rest}", credential: ["jwt:/sub"], credential_change: "forward" },
  { name: "rights", methods: ["POST"], path: "/rights/{*rest}", credential: ["jwt:/sub", "jwt:/scope"] },
  { name: "all", methods: ["POST"], path: "/{*rest}", credential: ["jwt:/sub"] },
];
const vars = (JWKS) => ({ JWKS, JWT_ISSUER: ISSUER, JWT_AUDIENCE: "shop" });

describe("a verified token", { concurrency: 4, timeout: 60_000 }, () => {
  const symmetric = { kty: "oct", kid: "oct-1", alg: "HS256", k: Buffer.from("a shared secret").toString("base64url") };
  const on = stage({ routes, vars: vars({ keys: [rsa.jwk, ec.jwk, symmetric] }) });

  for (const key of [rsa, ec]) {
    test(`${key.alg}: a renewed token of the same subject is the same caller, another subject is not`, async () => {
      const it = operation(on, "/x");
      const first = await it.send({ headers: bearer(key.token()) });
      isExecuted(first);
      isReplay(await it.send({ headers: bearer(key.token({ exp: now() + 900, scope: "all" })) }), first);
      isReplay(await it.send({ headers: { Authorization: `bearer  ${key.token({ aud: ["other", "shop"] })}` } }), first);
      // Within the leeway.
      isReplay(await it.send({ headers: bearer(key.token({ exp: now() - 30, nbf: now() + 30 })) }), first);
      isProblem(await it.send({ headers: bearer(key.token({ sub: "bob" })) }), "credential-changed");
      isProblem(await it.send({}), "credential-changed");
      assert.equal(it.count(), 1);
    });
  }
  test("a claim that carries rights keeps apart who has others", async () => {
    const it = operation(on, "/rights");
    const first = await it.send({ headers: bearer(rsa.token({ scope: "read" })) });
    isExecuted(first);
    isReplay(await it.send({ headers: bearer(rsa.token({ scope: "read" })) }), first);
    isProblem(await it.send({ headers: bearer(rsa.token({ scope: "write" })) }), "credential-changed");
  });

  const good = rsa.token();
  const [head, payload, signature] = good.split(".");
  const signedWith = (secret, header = { alg: "HS256", kid: "rsa-1" }) => {
    const signed = `${coded(header)}.${payload}`;
    return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
  };
  const pem = rsa.publicKey.export({ format: "pem", type: "spki" });
  const refused = {
    "a forged signature": `${head}.${payload}.${rsa.sign("something else")}`,
    "no signature": `${head}.${payload}.`,
    "a cut signature": `${head}.${payload}.${signature.slice(0, 40)}`,
    "other claims under the signature": `${head}.${coded({ iss: ISSUER, aud: "shop", exp: now() + 600, sub: "alice" })}.${signature}`,
    "the signature of a stranger's key": stranger.token(),
    "a kid that no key has": rsa.token({}, { kid: "rsa-9" }),
    "expired": rsa.token({ exp: now() - 120 }),
    "not valid yet": rsa.token({ nbf: now() + 120 }),
    "another issuer": rsa.token({ iss: "https://other.example" }),
    "no issuer": rsa.token({ iss: undefined }),
    "another audience": rsa.token({ aud: "crm" }),
    "no audience": rsa.token({ aud: undefined }),
    "ES256 with bytes that are no signature": `${coded({ alg: "ES256", kid: "ec-1" })}.${payload}.${signature}`,
  };
  const opaque = {
    "unsigned (alg none)": `${coded({ alg: "none" })}.${payload}.`,
    "alg none with a kid": `${coded({ alg: "none", kid: "rsa-1" })}.${payload}.${signature}`,
    "HS256 signed with the public key": signedWith(pem),
    "HS256 signed with the modulus": signedWith(rsa.jwk.n),
    "HS256 signed with the symmetric key of the document": signedWith("a shared secret", { alg: "HS256", kid: "oct-1" }),
    "RS256 under the kid of a symmetric key": rsa.token({}, { kid: "oct-1" }),
    "ES256 under the kid of an RSA key": `${coded({ alg: "ES256", kid: "rsa-1" })}.${payload}.${ec.sign(`${coded({ alg: "ES256", kid: "rsa-1" })}.${payload}`)}`,
    "RS256 under the kid of an EC key": rsa.token({}, { kid: "ec-1" }),
    "an empty claim": rsa.token({ sub: "" }),
    "no claim": rsa.token({ sub: undefined }),
    "a claim that is no text and no integer": rsa.token({ sub: ["alice"] }),
    "a token bound to a key (cnf)": rsa.token({ cnf: { jkt: "x" } }),
    "crit": rsa.token({}, { crit: ["exp"] }),
    "above 16 KiB": rsa.token({ more: "m".repeat(16 * 1024) }),
    "two tokens in one header": `${good}, Bearer ${good}`,
    "two tokens beside each other": `${good} ${good}`,
    "a token that is none": "alice",
  };
  for (const [kind, tokens] of Object.entries({ refused, opaque })) {
    for (const [what, token] of Object.entries(tokens)) {
      test(`${kind}: ${what} reads nobody's reply and runs nothing again`, async () => {
        for (const path of kind === "refused" ? ["/x", "/forward"] : ["/x"]) {
          const it = operation(on, path);
          const first = await it.send({ headers: bearer(rsa.token()) });
          isExecuted(first);
          const thief = await it.send({ headers: bearer(token) });
          if (kind === "refused") {
            isProblem(thief, "credential-refused");
            assert.equal(thief.get("WWW-Authenticate"), 'Bearer error="invalid_token"');
          } else {
            isProblem(thief, "credential-changed");
          }
          assert.equal(it.count(), 1);
        }
        // Alone the header is a credential like any other.
        const alone = operation(on, "/x");
        const own = await alone.send({ headers: bearer(token) });
        isExecuted(own);
        isReplay(await alone.send({ headers: bearer(token) }), own);
        const other = await alone.send({ headers: bearer(rsa.token()) });
        isProblem(other, "credential-changed");
      });
    }
  }
  test("a token of 100 KB is answered, and reads nobody's reply", async () => {
    const it = operation(on, "/x");
    isExecuted(await it.send({ headers: bearer(rsa.token()) }));
    const answer = await it.send({ headers: bearer(rsa.token({ more: "m".repeat(75_000) })) });
    assert.ok(answer.status >= 400, String(answer.status));
    assert.equal(it.count(), 1);
  });
  test("under shadow a token is verified too, and everything passes", async () => {
    const it = operation(on, "/shadow");
    for (const [would, token] of Object.entries({
      executed: rsa.token(), replayed: rsa.token(), "credential-changed": rsa.token({ sub: "bob" }), "credential-refused": rsa.token({ exp: 1 }),
    })) {
      const id = `shadow-${would}-${Math.random()}`;
      const passed = await it.send({ headers: { ...bearer(token), "X-Correlation-Id": id } });
      assert.equal(passed.status, 201);
      await on.worker.logged(new RegExp(`"would":"${would}"[^\\n]*"${id}"|"${id}"[^\\n]*"would":"${would}"`));
    }
    assert.equal(it.count(), 4);
  });
});

describe("the key server", { concurrency: 4, timeout: 60_000 }, () => {
  /** Runs a check behind a key server of its own. */
  const behind = async (check, keys = [rsa.jwk]) => {
    const server = await keyServer(keys);
    try {
      await through((origin) => ({ origin, routes, vars: vars(server.address) }), (worker, origin) => check(server, { worker, origin }));
    } finally {
      server.close();
    }
  };
  const json = (response, keys, headers = {}) => (response.writeHead(200, headers), response.end(JSON.stringify({ keys })));

  test("nothing is asked of it where no route names a claim, and once where one does", () => behind(async (server, on) => {
    for (const headers of [bearer(rsa.token()), {}]) isExecuted(await operation(on, "/plain").send({ headers }));
    isExecuted(await operation(on, "/x").send({ headers: { Authorization: "Basic YTpi" } }));
    isExecuted(await operation(on, "/x").send({ headers: bearer(rsa.token({ exp: 1 })) }));
    assert.equal(server.asked, 0);
    const it = operation(on, "/x");
    const first = await it.send({ headers: bearer(rsa.token()) });
    isExecuted(first);
    for (let n = 0; n < 5; n++) isReplay(await it.send({ headers: bearer(rsa.token()) }), first);
    assert.equal(server.asked, 1);
  }));
  test("two requests at once in a cold isolate are both served, however slow it is", () => behind(async (server, on) => {
    const { opened, open } = gate();
    let waiting = 0;
    server.answer = async (response) => {
      if (++waiting === 2) open();
      await opened;
      setTimeout(() => json(response, [rsa.jwk]), 500);
    };
    const [one, other] = [operation(on, "/x"), operation(on, "/x")];
    const answers = await Promise.all([one, other].map((it) => it.send({ headers: bearer(rsa.token()) })));
    for (const answer of answers) isExecuted(answer);
    isReplay(await one.send({ headers: bearer(rsa.token()) }), answers[0]);
  }));
  test("a key that is new to it is found by its kid, and unknown kids ask at most once a minute", () => behind(async (server, on) => {
    isExecuted(await operation(on, "/x").send({ headers: bearer(rsa.token()) }));
    server.keys = [rsa.jwk, ec.jwk];
    // It was asked a moment ago, so what it said is believed: the token is refused, and goes on as it is.
    for (let n = 0; n < 3; n++) isExecuted(await operation(on, "/x").send({ headers: bearer(ec.token()) }));
    assert.equal(server.asked, 1);
    // Another isolate has the new key.
    await on.worker.restart();
    const it = operation(on, "/x");
    const first = await it.send({ headers: bearer(ec.token()) });
    isReplay(await it.send({ headers: bearer(rsa.token()) }), first);
    assert.equal(server.asked, 2);
  }));
  test("a symmetric key that it serves verifies nothing", () => behind(async (server, on) => {
    const it = operation(on, "/x");
    isExecuted(await it.send({ headers: bearer(rsa.token()) }));
    const signed = `${coded({ alg: "HS256", kid: "k" })}.${coded({ iss: ISSUER, aud: "shop", exp: now() + 600, sub: "alice" })}`;
    isProblem(await it.send({ headers: bearer(`${signed}.${createHmac("sha256", "secret").update(signed).digest("base64url")}`) }), "credential-changed");
  }, [rsa.jwk, { kty: "oct", kid: "k", k: Buffer.from("secret").toString("base64url") }]));

  const broken = {
    "hangs": () => {},
    "hangs in the middle of its answer": (response) => (response.writeHead(200), response.write('{"keys":')),
    "hangs up": (response) => response.destroy(),
    "answers 500": (response) => (response.writeHead(500), response.end(JSON.stringify({ keys: [rsa.jwk] }))),
    "redirects": (response, request) => {
      if (request.url !== "/jwks") return json(response, [rsa.jwk]);
      response.writeHead(302, { Location: "/elsewhere" });
      response.end();
    },
    "answers what does not parse": (response) => response.end("<html>{keys}</html>"),
    "answers 10 MB": (response) => json(response, [rsa.jwk, { kty: "x", more: "m".repeat(10_000_000) }]),
  };
  for (const [what, answer] of Object.entries(broken)) {
    test(`where it ${what}, nothing is claimed and nothing is forwarded until it answers`, () => behind(async (server, on) => {
      server.answer = answer;
      const it = operation(on, "/x");
      for (let n = 0; n < 2; n++) {
        const started = Date.now();
        const unknown = await it.send({ headers: bearer(rsa.token()) });
        isProblem(unknown, "credential-unverifiable");
        assert.ok(Number(unknown.get("Retry-After")) >= 1);
        assert.ok(Date.now() - started < 4_000, "it waits for 2 s at most");
      }
      assert.equal(it.count(), 0);
      // Whoever has no such token is not kept from anything, and neither is a route in shadow.
      isExecuted(await operation(on, "/plain").send({ headers: bearer(rsa.token()) }));
      isExecuted(await operation(on, "/x").send({}));
      assert.equal((await operation(on, "/shadow").send({ headers: bearer(rsa.token()) })).status, 201);
      server.answer = null;
      let first;
      do {
        first = await it.send({ headers: bearer(rsa.token()) });
      } while (first.status === 503);
      isExecuted(first);
      isReplay(await it.send({ headers: bearer(rsa.token()) }), first);
      assert.equal(it.count(), 1);
    }));
  }
});
