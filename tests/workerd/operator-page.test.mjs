// Contract part 2 in a browser: an operator without a mouse and without JavaScript, from a customer's complaint to the
// end; on a phone, in the dark; and other sites that would like to decide in an operator's name.
// ONCEGATE_SHOTS names a folder for pictures of every page.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { contrasts, openBrowser } from "./browser.mjs";
import { isProblem, isReplay, isUnknown } from "./expect.mjs";
import { freshKey, freshPath, stage, until } from "./harness.mjs";

const TOKEN = "a secret that only operators know";
const COOKIE = "oncegate_session";
const routes = [
  { name: "jobs", methods: ["POST"], path: "/jobs/{*rest}", ttl: "14d" },
  { name: "charge", methods: ["POST"], path: "/{*rest}", timeout: "1s" },
];
const SCHEDULES = ["nightly-invoices", "n".repeat(64)].map((name) => ({ name, cron: "0 2 * * *", request: { url: `https://jobs.example/jobs/${name}/${"x".repeat(150)}` }, key: `${name}-{scheduled_time:date}` }));
const ANSWER = '{"id": "pay_1",\n "note": "grüße & <b>"}';

describe("the operators' page", { timeout: 150_000 }, () => {
  const on = stage({ routes, shards: 4, vars: { ADMIN_TOKEN: TOKEN, SCHEDULES } });
  let browser, late, left;
  before(async () => {
    browser = await openBrowser();
    [late, left] = [await doubtful(), await doubtful()]; // their leases are over when the first tests are
  });
  after(() => browser?.close());

  const url = (place = "") => `http://127.0.0.1:${on.worker.port}/.oncegate/${place}`;
  const visit = (place) => browser.visit(url(place));
  const decisions = () => browser.see(() => [...document.links].map(({ href }) => href).filter((href) => /\/(complete|release|hold|purge)$/.test(href)));
  const heading = () => browser.see(() => document.querySelector("h1").innerText);
  const says = async (words) => assert.ok((await browser.text()).includes(words), `it does not say "${words}" but:\n${await browser.text()}`);

  /** Goes on to the next page from where Tab leads. */
  async function choose(selector) {
    await browser.tabTo(selector);
    await browser.enter();
  }
  async function logIn(token = TOKEN) {
    await browser.call("Network.clearBrowserCookies");
    await visit();
    await submitToken(token);
  }
  /** Types the token where the page has put the focus, which it does with its first frame. */
  async function submitToken(token) {
    await until(() => browser.see(() => document.activeElement.id === "token"));
    await browser.type(token);
    await browser.enter();
  }
  const session = async () => (await browser.cookies()).find(({ name }) => name === COOKIE);

  /** An operation of which nobody knows what became. Where the origin was silent its call is still read. */
  async function doubtful(correlationId = `order-${freshKey()}`, answer = { status: 504 }) {
    const operation = { path: freshPath(), key: freshKey(), headers: { "X-Correlation-Id": correlationId, "Content-Type": "application/json" }, body: "{}" };
    on.origin.on(operation.path, answer);
    const first = await on.worker.send(operation);
    if (answer.silent) isProblem(first, "outcome-unknown", 504);
    else isUnknown(first, 504);
    return operation;
  }
  const recordOf = async ({ key }) => {
    const asked = await on.worker.send({ method: "GET", path: `/.oncegate/keys?key=${key}`, headers: { Authorization: `Bearer ${TOKEN}` } });
    return asked.json.records[0];
  };

  test("who comes without a session is asked for the token, and told where it is wrong", async () => {
    await visit("records");
    assert.deepEqual([await heading(), browser.status], ["Log in", 401]);
    assert.doesNotMatch(await browser.text(), /not the token|needed/, "nobody has done anything wrong yet");
    await logIn("nonsense");
    assert.deepEqual([await heading(), browser.status], ["Log in", 401]);
    await says("That is not the token.");
    assert.equal(await session(), undefined);
    await submitToken(TOKEN);
    assert.deepEqual([await heading(), browser.status], ["Overview", 200]);
    const { httpOnly, sameSite, path, expires, value } = await session();
    assert.deepEqual([httpOnly, sameSite, path], [true, "Strict", "/.oncegate/"]);
    assert.ok(Math.abs(expires - Date.now() / 1000 - 3600) < 60, "an hour");
    assert.ok(!value.includes(TOKEN));
  });

  test("from a customer's complaint to the end, by keyboard alone", async () => {
    await logIn();
    const correlationId = `order-<b>"'&amp;%2F/../?#+=;\\${freshKey()}`;
    const operation = await doubtful(correlationId, { silent: true });
    const retry = await on.worker.send({ ...operation, headers: { ...operation.headers, Prefer: "wait=0" } });
    isProblem(retry, "outcome-unknown");

    await browser.tabTo("#correlation_id");
    await browser.type(retry.get("X-Correlation-Id"));
    await browser.enter();
    await says(correlationId);
    assert.equal(await browser.see(() => document.querySelectorAll(".rows a").length), 1);
    await choose(".rows a");
    await says(`POST ${operation.path}`);
    await says("The origin gave no whole answer within the route's timeout.");
    await says("409 outcome-unknown with Retry-After, after waiting as long as the route's wait");
    await says("Nothing can be decided before");
    const record = await browser.see(() => location.href);
    assert.deepEqual(await decisions(), []);
    await browser.visit(`${record}/complete`);
    await says("That cannot be decided before");
    assert.equal(await browser.see(() => document.querySelectorAll("form[action$=resolve]").length), 0);

    await browser.visit(record);
    await until(async () => (await browser.reload(), (await decisions()).length), { ms: 30_000, every: 500, what: "the lease's end" });
    assert.deepEqual(await decisions(), ["complete", "release", "hold", "purge"].map((action) => `${record}/${action}`));
    await says("409 outcome-unknown every time, because sending it on could execute it a second time");
    await choose("a[href$='/complete']");
    await says("every retry gets exactly the answer below");
    await browser.tabTo("#headers");
    await browser.type("Content-Type: application/json; charset=utf-8\nno colon here");
    await browser.tabTo("#body");
    await browser.type(ANSWER);
    await choose("form[action$=resolve] button");
    assert.equal(browser.status, 400);
    await says('The header line "no colon here" has no colon');
    await fits("a refused form");
    assert.equal(await browser.see(() => document.querySelector("#body").value), ANSWER, "what was typed is still there");
    isProblem(await on.worker.send(operation), "outcome-unknown");
    await browser.tabTo("#headers");
    await browser.type("Content-Type: application/json; charset=utf-8");
    await choose("form[action$=resolve] button");
    await says("Completed. The next retry gets exactly the answer that you gave.");
    await fits("done");

    const next = await on.worker.send(operation);
    assert.deepEqual([next.status, next.get("Content-Type")], [201, "application/json; charset=utf-8"]);
    assert.deepEqual(next.body, Buffer.from(ANSWER));
    isReplay(next, next);
    assert.equal(on.origin.count(operation.path), 1);

    await choose(`a[href='${new URL(record).pathname}']`);
    await says("in doubt → completed");
    assert.ok(!(await browser.text()).includes("pay_1"), "a body is shown to those who ask for it");
    await choose("a[href*='body=1']");
    assert.equal(await browser.see(() => [...document.querySelectorAll("pre")].at(-1).innerText), ANSWER);
    await choose("nav a[href$=audit]");
    const [latest] = await browser.see(() => [...document.querySelectorAll(".rows a")].map((row) => row.innerText));
    assert.match(latest, /^complete\b/);
    assert.ok(latest.includes(correlationId) && latest.includes("in doubt → completed"), latest);

    await browser.visit(`${record}/hold`);
    await says("There is nothing left to decide here");
  });

  test("Tab goes down the page, shows where it is, and leads to what is to be done", async () => {
    const { key_id } = await recordOf(late);
    await logIn();
    const inOrder = ["Skip to the content", "Overview", "In doubt", "Records", "Schedules", "Decisions", "Log out", "Correlation id", "Find", "Key", "Find"];
    const names = (way) => way.map(({ name }) => name);
    const down = await browser.tabTo(".rows a");
    assert.deepEqual(names(down).slice(0, -1), inOrder);
    assert.match(names(down).at(-1), /^in doubt\n/);
    await until(async () => (await visit(`records/${key_id}`), (await decisions()).length), { ms: 30_000, every: 500, what: "the lease's end" });
    const actions = await browser.tabTo("a[href$='/purge']");
    assert.deepEqual(names(actions).slice(inOrder.indexOf("Log out") + 1), ["Complete: it was executed", "Release: it was not", "Hold: not known yet", "Purge: forget it"]);
    await visit(`records/${key_id}/complete`);
    const form = await browser.tabTo("form[action$=resolve] ~ *, form[action$=resolve] a");
    assert.deepEqual(names(form).slice(inOrder.indexOf("Log out") + 1), ["Status", "Headers, one Name: value a line", "Body", "Complete: store this answer", "Cancel"]);
    for (const { name, isInView, hasRing } of [...down, ...actions, ...form]) assert.deepEqual([isInView, hasRing], [true, true], `${name} has the focus and does not show it`);
  });

  test("who decides after somebody else is told, and led to the record as it is now", async () => {
    const { key_id, lease } = await recordOf(late);
    await logIn();
    await visit(`records/${key_id}/release`);
    const headers = { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" };
    const sooner = { key_id, lease, action: "complete", status: 200, body: "sooner" };
    assert.equal((await on.worker.send({ path: "/.oncegate/resolve", headers, body: JSON.stringify(sooner) })).status, 200);
    await choose("form[action$=resolve] button");
    assert.deepEqual([await heading(), browser.status], ["The record has moved on", 409]);
    await fits("moved on");
    await choose(`a[href$='${key_id}']`);
    assert.equal(await heading(), `completed POST ${late.path}`);
    assert.equal((await on.worker.send(late)).text, "sooner");
  });

  test("a slot is run by keyboard; one of long ago only after a question that says what that means", async () => {
    await logIn();
    await choose("nav a[href$=schedules]");
    assert.equal(await heading(), "Schedules");
    await fits("schedules");
    const path = new URL(SCHEDULES[0].request.url).pathname;
    const form = "form[action*=nightly]";
    await choose(`${form} button`);
    await says("The origin has executed it now and answered 201.");
    await fits("a slot that was run");
    await choose("main a[href*=records]");
    await says(`POST ${path}`);
    assert.equal(on.origin.count(path), 1);
    await visit("schedules");
    const old = new Date(Date.now() - 30 * 86_400_000).toISOString().slice(0, 10);
    await browser.see((form, value) => (document.querySelector(`${form} input[name=scheduled_time]`).value = value), form, `${old}T02:00`);
    await choose(`${form} button`);
    assert.deepEqual([await heading(), browser.status], ["Was this slot run before?", 412]);
    await says("all that the job does is done a second time");
    await fits("a slot of long ago");
    assert.equal(on.origin.count(path), 1);
    await choose(`${form} button`);
    await says("The origin has executed it now");
    assert.equal(on.origin.count(path), 2);
    await choose("nav a[href$=audit]");
    await says(`nightly-invoices of ${old} 02:00:00 UTC`);
  });

  test("every page fits a phone and can be read, in the light and in the dark", async () => {
    const long = "x".repeat(255);
    const stored = { path: `${freshPath()}/${long}`, key: freshKey(), headers: { "X-Correlation-Id": long, "Content-Type": "application/json" }, body: "{}" };
    on.origin.on(stored.path, { status: 201, headers: [["Location", `/${long}`]], body: `<${long}>` });
    await on.worker.send(stored);
    const other = { ...stored, key: freshKey(), path: freshPath() };
    on.origin.on(other.path, { silent: true });
    const call = on.worker.send(other).catch(() => {});
    await on.origin.reached(other.path);
    const records = [];
    for (const operation of [stored, other, left]) records.push(`records/${(await recordOf(operation)).key_id}`);
    await logIn();
    const pages = [
      "", "records", "records?state=in_doubt", `records?correlation_id=${long}`, "records?route=none", `keys?key=${long}`, `keys?key=${stored.key}`, "audit",
      ...records, `${records[0]}?body=1`, `${records[0]}/purge`, ...["complete", "release", "hold", "purge"].map((action) => `${records[2]}/${action}`),
      "nowhere", "records?since=never",
    ];
    for (const place of pages) await visit(place), await fits(place);
    await browser.call("Network.clearBrowserCookies");
    for (const place of ["login", `?token=${long}`]) await visit(place), await fits(place);
    await call;
  });

  /** Looks at the page in every way. */
  async function fits(name) {
    for (const [width, height] of [[360, 740], [1000, 1200]]) {
      for (const scheme of ["light", "dark"]) {
        await browser.looksAt({ width, height, scheme });
        const at = `${name.slice(0, 60)} at ${width} px in the ${scheme}`;
        const wide = await browser.see(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${at} is ${wide} px wide`);
        const read = await browser.see(contrasts);
        assert.ok(read.length >= 4, at);
        assert.ok(read[0].contrast >= 4.5, `${at}: a contrast of ${read[0].contrast.toFixed(2)} in "${read[0].text.slice(0, 60)}"`);
        await shot(`${name.replaceAll(/[^\w=]+/g, "-").slice(0, 99)}-${width}-${scheme}`);
      }
    }
    await browser.looksAt({});
  }
  async function shot(name) {
    const folder = process.env.ONCEGATE_SHOTS;
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, `${name}.png`), await browser.picture());
  }

  test("a form on another site decides nothing, nor does one that was not made for the session", async () => {
    await logIn();
    const stored = { path: freshPath(), key: freshKey() };
    const first = await on.worker.send(stored);
    const { key_id, lease } = await recordOf(stored);
    await visit(`records/${key_id}/purge`);
    const formToken = await browser.see(() => document.querySelector("form[action$=resolve] [name=form_token]").value);
    const { value: cookie } = await session();
    const fields = { key_id, lease, action: "purge" };
    // The same host with another port is the same site, so the cookie comes along; localhost is another one.
    for (const [host, status] of [["127.0.0.1", 403], ["localhost", 401]]) {
      await submits(host, "resolve", { ...fields, form_token: formToken });
      assert.equal(browser.status, status, await browser.text());
    }
    for (const host of ["127.0.0.1", "localhost"]) {
      await submits(host, "login", { token: TOKEN });
      assert.equal(browser.status, 403);
      await says("The form comes from another site.");
    }
    assert.equal((await session()).value, cookie);

    const sends = (fields, headers = {}) =>
      on.worker.send({
        path: "/.oncegate/resolve",
        headers: { Cookie: `${COOKIE}=${cookie}`, "Content-Type": "application/x-www-form-urlencoded", ...headers },
        body: new URLSearchParams(fields).toString(),
      });
    await logIn();
    await visit(`records/${key_id}/purge`);
    const foreign = await browser.see(() => document.querySelector("form[action$=resolve] [name=form_token]").value);
    assert.notEqual(foreign, formToken);
    for (const form_token of ["", foreign, `${formToken.slice(0, -1)}x`]) assert.equal((await sends({ ...fields, form_token })).status, 403);
    assert.equal((await sends(fields)).status, 403);
    for (const headers of [{ Origin: "http://127.0.0.1:1" }, { Origin: "null" }, { "Sec-Fetch-Site": "same-site" }, { "Sec-Fetch-Site": "cross-site" }]) {
      assert.equal((await sends({ ...fields, form_token: formToken }, headers)).status, 403, JSON.stringify(headers));
    }
    isReplay(await on.worker.send(stored), first);
    assert.equal((await sends({ ...fields, form_token: formToken })).status, 200, "its own form is taken");
  });

  /** Opens a page of the origin's, under some name of its host, and submits the form that is on it. */
  async function submits(host, place, fields) {
    const inputs = Object.entries(fields).map(([name, value]) => `<input type=hidden name=${name} value="${value}">`);
    const trap = freshPath("/trap");
    const body = `<!DOCTYPE html><link rel=icon href=data:,><form method=post action="${url(place)}">${inputs.join("")}<button>Win a prize</button></form>`;
    on.origin.on(trap, { status: 200, headers: [["Content-Type", "text/html"]], body });
    await browser.visit(`http://${host}:${on.origin.port}${trap}`);
    await browser.tabTo("button");
    await browser.enter();
  }

  test("a cookie that was tampered with opens nothing, and after the log-out there is none", async () => {
    await logIn();
    const { value, domain, path } = await session();
    const [until, nonce, mac] = value.split(".");
    for (const forged of [`${+until + 1}.${nonce}.${mac}`, `${until}.${nonce}.${mac.replace(/.$/, (digit) => (digit === "0" ? "1" : "0"))}`, "x"]) {
      await browser.call("Network.setCookie", { name: COOKIE, value: forged, domain, path });
      await visit();
      assert.deepEqual([await heading(), browser.status], ["Log in", 401]);
    }
    await browser.call("Network.setCookie", { name: COOKIE, value, domain, path });
    await visit();
    assert.equal(await heading(), "Overview");
    await choose("form[action$=logout] button");
    assert.equal(await heading(), "Log in");
    assert.equal(await session(), undefined);
    await visit("audit");
    assert.equal(await heading(), "Log in");
  });

  test("all the while nothing was loaded from anywhere and nothing was complained of", () => {
    assert.deepEqual([...new Set(browser.complaints)], []);
    const own = browser.requests.filter(({ url }) => !/^data:|\/trap\//.test(url));
    assert.ok(own.length > 50);
    assert.deepEqual(own.filter(({ type, url: asked }) => type !== "Document" || !asked.startsWith(url())), []);
    assert.deepEqual(on.origin.all().filter(({ path }) => /oncegate|favicon/.test(path)), []);
  });
});
