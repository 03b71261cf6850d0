// A small HTTP/1.1 client on a raw socket: it sends exactly the bytes it is given (any header byte, any path,
// any framing) and decodes nothing but the framing of what comes back. Header text is Latin-1 both ways, so
// one character is one byte.

import net from "node:net";

// Nothing that is tested takes longer, so a test that would hang fails and says where.
const PATIENCE_MS = 40_000;

/** A response as it came over the wire. `headers` keeps order, case and repeated lines. */
export class Response {
  constructor(status, reason, headers) {
    Object.assign(this, { status, reason, headers, body: Buffer.alloc(0) });
  }
  /** Every value of a header, one for each line. */
  all(name) {
    return this.headers.filter(([n]) => n.toLowerCase() === name.toLowerCase()).map(([, v]) => v);
  }
  /** The value of a header, repeated lines joined, or null. */
  get(name) {
    const values = this.all(name);
    return values.length ? values.join(", ") : null;
  }
  get text() {
    return this.body.toString("utf8");
  }
  get json() {
    return JSON.parse(this.text);
  }
}

/**
 * Begins an exchange on a connection of its own.
 *   host, method, path        the request line and Host, sent as they are
 *   key                       shorthand for an Idempotency-Key header
 *   headers                   [[name, value], …] or {name: value}; Latin-1
 *   body                      bytes or text, sent with a Content-Length
 *   chunks                    instead of body: a list, sent with Transfer-Encoding: chunked
 *   length                    the Content-Length to declare where it is not the body's (send the rest with `send`)
 */
export function open(port, spec = {}) {
  return new Exchange(port, spec);
}

/** One whole exchange: resolves to the Response with its body. */
export async function request(port, spec) {
  const exchange = open(port, spec);
  try {
    return await exchange.whole();
  } finally {
    exchange.close();
  }
}

class Exchange {
  #arrived = [];
  #answered = false;
  #closed = false;
  #why;
  #wake = () => {};
  #sent = Promise.resolve();
  #bytes = Buffer.alloc(0);
  #left; // bytes of the body, or of this chunk, still to come; null: until the connection closes
  #chunked = false;
  #done = false;

  constructor(port, { host = "shop.example", method = "POST", path = "/", key, headers = [], body, chunks, length }) {
    const lines = Array.isArray(headers) ? [...headers] : Object.entries(headers);
    if (key !== undefined) lines.push(["Idempotency-Key", key]);
    if (chunks) lines.push(["Transfer-Encoding", "chunked"]);
    else if (body !== undefined || length !== undefined) {
      lines.push(["Content-Length", String(length ?? Buffer.byteLength(body))]);
    }
    const head = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...lines.map(([n, v]) => `${n}: ${v}`)];
    this.method = method;
    this.socket = net.connect(port, "127.0.0.1");
    this.socket.setNoDelay(true);
    this.socket.on("data", (bytes) => ((this.#answered = true), this.#arrived.push(bytes), this.#wake()));
    this.socket.on("error", () => {}).on("close", () => ((this.#closed = true), clearTimeout(timer), this.#wake())); // what is read says it
    const timer = setTimeout(() => ((this.#why = `no whole answer within ${PATIENCE_MS} ms`), this.close()), PATIENCE_MS);
    const tail = chunks ? [...chunks.map(framed), Buffer.from("0\r\n\r\n")] : [Buffer.from(body ?? "")];
    this.send(Buffer.concat([Buffer.from(head.join("\r\n") + "\r\n\r\n", "latin1"), ...tail]));
    this.head = this.#readHead();
    this.head.catch(() => {});
  }

  /** More raw bytes of the request. What is large goes piece by piece and stops where an answer is there early: who
   *  writes to a connection that the other side has closed cannot read what it had said. */
  send(bytes) {
    this.#sent = this.#sent.then(async () => {
      for (let from = 0; from === 0 || (from < bytes.length && !this.#answered && !this.#closed); from += 65_536) {
        await new Promise((resolve) => this.socket.write(bytes.subarray(from, from + 65_536), resolve));
        for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate); // let an answer be read
      }
    });
  }
  /** Hangs up. */
  close() {
    this.socket.destroy();
  }
  /** Hangs up with a TCP reset. */
  reset() {
    this.socket.resetAndDestroy();
  }
  /** The response, when its whole body is here. */
  async whole() {
    const response = await this.head;
    const parts = [];
    for (let part; (part = await this.read()) !== null; ) parts.push(part);
    response.body = Buffer.concat(parts);
    return response;
  }
  /** The next bytes of the response's body as they come, or null at its end; an early end of the connection throws. */
  async read() {
    await this.head;
    while (!this.#done) {
      if (this.#chunked && this.#left === 0) {
        this.#left = parseInt((await this.#line()).split(";")[0], 16);
        if (this.#left === 0) {
          while ((await this.#line()) !== "");
          break;
        }
      }
      if (this.#left === 0) break;
      if (this.#bytes.length === 0 && !(await this.#fill())) {
        if (this.#left === null) break;
        throw new Error(this.#why ?? "the response was cut off");
      }
      const part = this.#bytes.subarray(0, this.#left ?? this.#bytes.length);
      this.#bytes = this.#bytes.subarray(part.length);
      if (this.#left !== null) this.#left -= part.length;
      if (this.#chunked && this.#left === 0) await this.#line();
      return Buffer.from(part);
    }
    this.#done = true;
    return null;
  }

  async #readHead() {
    const [, status, reason] = /^HTTP\/1\.1 (\d{3}) ?(.*)$/.exec(await this.#line()) ?? [];
    if (!status) throw new Error("this is not a response");
    const response = new Response(Number(status), reason, []);
    for (let line; (line = await this.#line()) !== ""; ) {
      const [, name, value] = /^([^:]+):[ \t]*(.*)$/s.exec(line);
      response.headers.push([name, value]);
    }
    if (response.status < 200 && response.status !== 101) return this.#readHead();
    const length = response.get("content-length");
    if (this.method === "HEAD" || [101, 204, 304].includes(response.status)) this.#left = 0;
    else if (/chunked/i.test(response.get("transfer-encoding") ?? "")) [this.#chunked, this.#left] = [true, 0];
    else this.#left = length === null ? null : Number(length);
    return response;
  }
  async #line() {
    for (let from = 0; ; ) {
      const end = this.#bytes.indexOf("\r\n", from);
      if (end >= 0) {
        const line = this.#bytes.toString("latin1", 0, end);
        this.#bytes = this.#bytes.subarray(end + 2);
        return line;
      }
      from = Math.max(0, this.#bytes.length - 1);
      if (!(await this.#fill())) throw new Error(this.#why ?? "the connection closed before the response was whole");
    }
  }
  async #fill() {
    while (this.#arrived.length === 0) {
      if (this.#closed) return false;
      await new Promise((resolve) => (this.#wake = resolve));
    }
    this.#bytes = Buffer.concat([this.#bytes, ...this.#arrived.splice(0)]);
    return true;
  }
}

/** One chunk of a chunked body, framed. */
export function framed(bytes) {
  return Buffer.concat([Buffer.from(`${Buffer.byteLength(bytes).toString(16)}\r\n`), Buffer.from(bytes), Buffer.from("\r\n")]);
}
