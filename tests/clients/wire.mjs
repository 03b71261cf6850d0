// The way from a client to the filter. It writes down every request that the client makes, with what it was answered, and
// can be cut. What a client sends goes on as it is, under a prefix of the path that chooses the filter's route.

import { once } from "node:events";
import http from "node:http";
import net from "node:net";

/**
 * Opens a way to the filter at `port`.
 *   prefix     goes in front of every path
 *   counts     (path): whether a request to it is one of those that are written down
 *   onRequest  (n): called as the n-th request arrives
 *   onAnswer   (n): called when the filter's answer to it is here
 *   cut        "answer": the connection breaks when the answer to the first request is here;
 *              a promise: it breaks as soon as that is kept
 */
export async function openWire(port, { prefix = "", counts = () => true, onRequest = () => {}, onAnswer = () => {}, cut } = {}) {
  const exchanges = [];
  const preflights = [];
  const server = http.createServer((req, res) => {
    const exchange = { headers: req.headers, status: null, answer: {}, body: Buffer.alloc(0) };
    const n = req.method === "OPTIONS" ? (preflights.push(exchange), 0) : counts(req.url.split("?")[0]) ? exchanges.push(exchange) : 0;
    const far = http.request({ host: "127.0.0.1", port, method: req.method, path: prefix + req.url, headers: req.rawHeaders, agent: false });
    if (n) onRequest(n);
    if (n === 1 && cut instanceof Promise) cut.then(() => req.socket.resetAndDestroy());
    res.on("close", () => res.writableFinished || far.destroy()); // who hangs up here hangs up there
    far.on("error", () => req.socket.destroy());
    far.on("response", async (answer) => {
      const parts = [];
      for await (const part of answer) parts.push(part);
      Object.assign(exchange, { status: answer.statusCode, answer: answer.headers, body: Buffer.concat(parts) });
      if (n) onAnswer(n);
      if (n === 1 && cut === "answer") return void req.socket.resetAndDestroy();
      res.writeHead(answer.statusCode, answer.statusMessage, answer.rawHeaders);
      res.end(exchange.body);
    });
    req.on("error", () => {}).pipe(far);
  });
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port: near } = server.address();
  return { port: near, url: `http://127.0.0.1:${near}`, exchanges, preflights, close: () => (server.closeAllConnections(), server.close()) };
}

/** A way on which every byte goes on as it comes, and every end as well; it counts the POSTs to `path`. */
export async function openPipe(port, path) {
  const pipe = { posts: 0 };
  const server = net.createServer((near) => {
    const far = net.connect(port, "127.0.0.1");
    near.on("data", (bytes) => void (bytes.includes(`POST ${path} `) && pipe.posts++));
    for (const [one, other] of [[near, far], [far, near]]) {
      one.pipe(other);
      one.on("error", () => other.resetAndDestroy()).on("close", () => other.end());
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(pipe, { port: server.address().port, close: () => server.close() });
}
