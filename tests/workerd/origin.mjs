// The origin that the tests put behind Oncegate: a real HTTP server that counts what it executes and answers, path
// by path, whatever it is told to, down to the single byte.

import { createHash } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { framed } from "./client.mjs";

/** Something that waits until the test opens it. */
export function gate() {
  const it = {};
  it.opened = new Promise((resolve) => (it.open = resolve));
  return it;
}

/**
 * Starts an origin. Every path answers 201 with a body that is different for every execution, until
 * `on(path, answer)` says otherwise. An answer is one of these, or a function of (execution, n) that returns or
 * promises one, n counting from 1:
 *   { status, reason, headers: [[name, value], …], body }      an ordinary answer with a Content-Length
 *   { …, parts: [bytes, promise, bytes, …] }                   chunked, each promise awaited in its turn
 *   { …, length: n }                                           declares n bytes, sends `body`, then closes
 *   { …, hang: true }                                          sends what there is and then nothing more
 *   { …, sent: call }                                          calls it when the last byte has left
 *   { raw: text }                                              these Latin-1 bytes, then closes
 *   { reset: true } / { silent: true }                         a TCP reset / no answer ever
 */
export async function startOrigin() {
  const answers = new Map();
  const executions = [];
  const watchers = new Set();
  const sockets = new Set();

  const server = http.createServer({ maxHeaderSize: 1 << 20 }, async (req) => {
    const path = req.url.split("?")[0];
    const execution = { method: req.method, url: req.url, path, headers: pairs(req.rawHeaders), body: null };
    execution.all = (name) => execution.headers.filter(([n]) => n.toLowerCase() === name.toLowerCase()).map(([, v]) => v);
    execution.get = (name) => execution.all(name).join(", ") || null;
    req.socket.on("error", () => {});
    try {
      const streaming = answers.get(path)?.streaming;
      if (streaming) {
        executions.push(execution);
        execution.stream = req;
      } else {
        const parts = [];
        for await (const part of req) parts.push(part);
        execution.body = Buffer.concat(parts);
        executions.push(execution);
      }
      for (const look of watchers) look();
      const n = executions.filter((e) => e.path === path).length;
      const told = streaming ?? answers.get(path) ?? usual;
      await write(req.socket, req.method, typeof told === "function" ? await told(execution, n) : told);
    } catch (error) {
      req.socket.destroy(error);
    }
  });
  server.maxHeadersCount = 0; // Node would refuse 2,000 headers and close: a client that still writes may lose that answer
  server.requestTimeout = server.headersTimeout = server.keepAliveTimeout = 0;
  server.on("upgrade", (req, socket) => {
    executions.push({ method: req.method, url: req.url, path: req.url.split("?")[0], headers: pairs(req.rawHeaders) });
    echoWebSocket(req, socket);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    address: `127.0.0.1:${port}`,
    /** What `path` answers from now on. */
    on: (path, answer) => void answers.set(path, answer),
    /** What `path` answers, called as soon as the head is here; the body is `execution.stream`. */
    onStream: (path, answer) => void answers.set(path, { streaming: answer }),
    /** Every execution of `path`, in order, with method, url, headers and body as they arrived. */
    executions: (path) => executions.filter((e) => e.path === path),
    count: (path) => executions.filter((e) => e.path === path).length,
    /** Everything that ever arrived. */
    all: () => executions,
    /** Resolves to the n-th execution of `path` when it has arrived. */
    reached: (path, n = 1) =>
      new Promise((resolve, reject) => {
        const settle = (end, value) => (watchers.delete(look), clearTimeout(timer), end(value));
        const look = () => {
          const found = executions.filter((e) => e.path === path)[n - 1];
          if (found) settle(resolve, found);
        };
        const timer = setTimeout(() => settle(reject, new Error(`execution ${n} of ${path} never came`)), 30_000);
        watchers.add(look);
        look();
      }),
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const usual = (execution, n) => ({
  status: 201,
  headers: [["Content-Type", "application/json"]],
  body: JSON.stringify({ path: execution.path, execution: n, nonce: Math.random() }),
});

async function write(socket, method, answer) {
  const { status = 200, reason = "Said", headers = [], body = "", parts, length, hang, sent, raw, reset, silent } = answer;
  if (silent) return;
  if (reset) return void socket.resetAndDestroy();
  if (raw !== undefined) return void socket.end(Buffer.from(raw, "latin1"));
  const empty = method === "HEAD" || status === 204 || status === 304;
  const lines = [...headers, ["Connection", "close"]];
  if (parts) lines.push(["Transfer-Encoding", "chunked"]);
  else if (!empty) lines.push(["Content-Length", String(length ?? Buffer.byteLength(body))]);
  const head = [`HTTP/1.1 ${status} ${reason}`, ...lines.map(([n, v]) => `${n}: ${v}`)].join("\r\n") + "\r\n\r\n";
  socket.write(Buffer.from(head, "latin1"));
  if (parts) {
    for (const part of parts) {
      if (typeof part?.then === "function") await part;
      else socket.write(framed(part));
    }
    if (!hang) socket.write("0\r\n\r\n");
  } else if (!empty) socket.write(body);
  if (!hang) socket.end(sent);
}

function pairs(raw) {
  return raw.flatMap((name, i) => (i % 2 ? [] : [[name, raw[i + 1]]]));
}

/** RFC 6455 with just enough to send every short text frame back. */
function echoWebSocket(req, socket) {
  const accept = createHash("sha1").update(`${req.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let held = Buffer.alloc(0);
  socket.on("error", () => {}).on("data", (data) => {
    held = Buffer.concat([held, data]);
    while (held.length >= 6 && held.length >= 6 + (held[1] & 127)) {
      const length = held[1] & 127;
      const text = Buffer.from(held.subarray(6, 6 + length).map((byte, i) => byte ^ held[2 + (i % 4)]));
      const opcode = held[0] & 15;
      held = held.subarray(6 + length);
      socket.write(Buffer.concat([Buffer.from([0x80 | opcode, length]), text]));
      if (opcode === 8) socket.end();
    }
  });
}
