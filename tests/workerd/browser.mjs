// A real Chromium without a window, driven over the DevTools protocol and Node's own WebSocket: it types, presses keys
// and looks at what a person would see. Scripts of pages never run in it; what is evaluated here are questions.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium } from "../../scripts/chromium.mjs";
import { until } from "./harness.mjs";

// Without --disable-background-networking it asks for updates; where nothing answers those, every connection waits.
const FLAGS = [
  "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-port=0", "--window-size=1000,1200",
  // Root may not have a sandbox, and containers often have none; only pages of these tests are ever opened.
  "--no-sandbox",
];
const KEYS = { Tab: [9], Enter: [13, "\r"] };

/** Starts a browser with one empty tab. */
export async function openBrowser() {
  const browser = new Browser();
  try {
    await browser.start();
  } catch (error) {
    await browser.close();
    throw error;
  }
  return browser;
}

class Browser {
  #profile = mkdtempSync(path.join(os.tmpdir(), "oncegate-browser-"));
  #calls = new Map();
  #watchers = new Map();
  #kill = () => this.#child.kill("SIGKILL");
  #child;
  #socket;
  /** What the page was reported for: errors, warnings and hints of the console, violations of its policy. */
  complaints = [];
  /** Every request that a page made: { type, url }. */
  requests = [];
  /** The status of the last document. */
  status = null;

  async start() {
    this.#child = spawn(chromium(), [...FLAGS, `--user-data-dir=${this.#profile}`, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child.closed = new Promise((resolve) => this.#child.once("exit", resolve).once("error", resolve));
    process.on("exit", this.#kill);
    const port = await new Promise((resolve, reject) => {
      let said = "";
      const fail = (why) => reject(new Error(`Chromium did not start: ${why}\n${said}`));
      const timer = setTimeout(fail, 30_000, "it says nothing of where it listens");
      this.#child.once("error", (error) => fail(error.message)).once("exit", (code) => fail(`it ended with ${code}`));
      this.#child.stderr.setEncoding("utf8").on("data", (text) => {
        said += text;
        const [, port] = /^DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)/m.exec(said) ?? [];
        if (port) resolve((clearTimeout(timer), port));
      });
    });
    const tab = await until(async () => (await (await fetch(`http://127.0.0.1:${port}/json`)).json()).find(({ type }) => type === "page"));
    this.#socket = new WebSocket(tab.webSocketDebuggerUrl);
    this.#socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    await new Promise((resolve, reject) => Object.assign(this.#socket, { onopen: resolve, onerror: reject }));
    // The end of loading the empty page must not pass for that of another.
    await until(() => this.see(() => document.readyState === "complete"));
    for (const domain of ["Page", "Runtime", "Network", "Log", "Audits"]) await this.call(`${domain}.enable`);
    await this.call("Emulation.setScriptExecutionDisabled", { value: true });
  }
  async close() {
    // Asked to end, it takes its children along; killed, it leaves them to write to the profile for a moment.
    const timer = setTimeout(this.#kill, this.#socket ? 10_000 : 0);
    if (this.#socket) this.call("Browser.close").catch(() => {});
    await this.#child.closed;
    clearTimeout(timer);
    process.off("exit", this.#kill);
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  /** One command of the protocol. */
  call(method, params = {}) {
    const id = this.#calls.size + 1;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, ({ error, result }) => (error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result)));
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
  #received({ id, method, params, ...answer }) {
    if (id) return this.#calls.get(id)(answer);
    if (method === "Network.requestWillBeSent") this.requests.push({ type: params.type, url: params.request.url });
    if (method === "Network.responseReceived" && params.type === "Document") this.status = params.response.status;
    if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled") this.complaints.push(JSON.stringify(params.args));
    if (method === "Log.entryAdded" && !isOwnStatus(params.entry)) this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    if (method === "Audits.issueAdded") this.complaints.push(JSON.stringify(params.issue));
    this.#watchers.get(method)?.(params);
  }
  async #loads(act) {
    const loaded = new Promise((resolve, reject) => {
      const failed = async () => reject(new Error(`no page was loaded; there is still:\n${await this.text()}`));
      const timer = setTimeout(failed, 15_000);
      this.#watchers.set("Page.loadEventFired", () => (clearTimeout(timer), resolve()));
    });
    await Promise.all([loaded, act()]);
  }

  /** Opens an address, as if it were typed in. */
  async visit(url) {
    await this.#loads(() => this.call("Page.navigate", { url }));
  }
  async reload() {
    await this.#loads(() => this.call("Page.reload"));
  }
  /** Presses Enter on what has the focus, which leads to another page. */
  async enter() {
    await this.#loads(() => this.press("Enter"));
  }
  async press(key) {
    const [code, text] = KEYS[key];
    const stroke = { key, code: key, windowsVirtualKeyCode: code };
    await this.call("Input.dispatchKeyEvent", { type: text ? "keyDown" : "rawKeyDown", text, ...stroke });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...stroke });
  }
  /** Types into the field that has the focus, in place of what is there. */
  async type(text) {
    await this.call("Input.dispatchKeyEvent", { type: "rawKeyDown", key: "a", code: "KeyA", commands: ["selectAll"] });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", key: "a", code: "KeyA" });
    await this.call("Input.insertText", { text });
  }
  /** Presses Tab until the focus is on such an element; resolves to all that had it on the way, in order. */
  async tabTo(selector) {
    const way = [];
    do {
      if (way.length > 60) throw new Error(`Tab does not lead to ${selector}, but to:\n${way.map(({ name }) => name).join("\n")}`);
      await this.press("Tab");
      way.push(await this.see(focused, selector));
    } while (!way.at(-1).isThere);
    return way;
  }
  /** What a function finds in the page. */
  async see(question, ...args) {
    const expression = `(${question})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }
  /** The text that is there to be read. */
  text() {
    return this.see(() => document.body.innerText);
  }
  async cookies() {
    return (await this.call("Network.getCookies")).cookies;
  }
  /** How the pages are looked at: a width of so many CSS pixels, in the light or in the dark. */
  async looksAt({ width = 1000, height = 1200, scheme = "light" }) {
    await this.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 500 });
    await this.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  }
  async picture() {
    return Buffer.from((await this.call("Page.captureScreenshot", { captureBeyondViewport: true })).data, "base64");
  }
}

/** The console repeats the status of a document that was refused; the tests look at that themselves. */
const isOwnStatus = ({ source, text }) => source === "network" && /the server responded with a status of 4\d\d/.test(text);

/** What has the focus: its name, where it leads, and whether one can see that it has it. */
function focused(selector) {
  const element = document.activeElement;
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const label = element.labels?.[0] ?? element;
  return {
    name: label.innerText.trim(),
    isThere: element.matches(selector),
    isInView: box.width > 1 && box.height > 1 && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth,
    hasRing: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
}

/** For `see`: the texts of a page with their contrast (WCAG 2.2, 1.4.3), the worst first. */
export function contrasts() {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((channel, i) => channel * a + below[i] * (1 - a));
  const background = (element) => {
    if (!element) return [255, 255, 255];
    const colour = channels(getComputedStyle(element).backgroundColor);
    return colour[3] === 0 ? background(element.parentElement) : over(colour, background(element.parentElement));
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((channel) => channel / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element) => {
    const below = background(element);
    const style = getComputedStyle(element);
    const colour = over(channels(element instanceof SVGElement ? style.fill : style.color), below);
    const [dark, light] = [luminance(colour), luminance(below)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const isRead = (element) =>
    element.matches("body *") && !element.matches("title, style, option, .unseen, .skip:not(:focus)") && element.checkVisibility({ visibilityProperty: true });
  const seen = [...document.querySelectorAll("input:not([type=hidden]), textarea, select")].map((field) => [field, field.value]);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); ) if (text.data.trim()) seen.push([text.parentElement, text.data.trim()]);
  const read = seen.filter(([element]) => isRead(element));
  return read.map(([element, text]) => ({ text, contrast: contrast(element) })).sort((a, b) => a.contrast - b.contrast);
}
