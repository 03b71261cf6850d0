// What the benchmarks measure by: CPU time of a process, medians, an origin that answers at once.

import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import http from "node:http";

/** CPU time that a process has used, in ms: of all of its threads, which the scheduler counts to the nanosecond. */
export const cpuMs = (pid) => scheduled(pid)[0];

/** How long its threads were ready to run and had to wait for a processor, in ms: what others do to a measurement. */
export const waitedMs = (pid) => scheduled(pid)[1];

function scheduled(pid) {
  const ns = [0, 0];
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const [ran, waited] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ");
      ns[0] += Number(ran);
      ns[1] += Number(waited);
    } catch (error) {
      if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error; // a thread that has just ended
    }
  }
  return ns.map((each) => each / 1e6);
}

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

export const median = (values) => quantile(values, 0.5);

/** To three digits, which is more than any of these figures is good for. */
export const rounded = (value) => Number(value.toPrecision(3));

/** An origin that answers 201 at once, with 60 bytes of JSON. */
export async function quickOrigin() {
  const body = JSON.stringify({ id: "pay_0123456789", amount: 10, status: "succeeded" });
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  const server = http.createServer({ keepAlive: true, keepAliveTimeout: 60_000 }, (request, response) => {
    request.resume().on("end", () => response.writeHead(201, headers).end(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  return { port, url: `http://127.0.0.1:${port}`, address: `127.0.0.1:${port}`, close: () => (server.closeAllConnections(), server.close()) };
}
