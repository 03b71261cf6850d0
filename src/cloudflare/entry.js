// What the platform calls.

import { DurableObject } from "cloudflare:workers";
import { instance, parted, promised } from "./host.js";
import wasm from "./index_bg.wasm";
import * as rust from "./rust.js";

rust.initSync({ module: wasm });

export default {
  fetch: (request, env, context) => promised((id) => rust.serve(id, request, env, context)).catch(rust.lost),
};

export class Ledger extends DurableObject {
  #born = -1;
  #shard;

  // Made when it is first asked, and again in a program that has started anew.
  #ledger() {
    if (this.#born !== instance) {
      this.#shard = new rust.Ledger(this.ctx, this.env);
      this.#born = instance;
    }
    return this.#shard;
  }

  // How a Ledger is called, and what comes of it, is as much agreed between versions as the messages are (`wire.rs`).

  /** A question; resolves to a message, or to head and body of one whose body is a stream. */
  hear(message) {
    const [head, body] = parted(message);
    return promised((id) => this.#ledger().hear(id, head, body));
  }

  /** A question with a large body, which is read when there is room for it. */
  async fetch(request) {
    const answer = await promised((id) => this.#ledger().listen(id, request));
    // Of anything else a response would be made too, and read as an empty one.
    if (!(answer instanceof Uint8Array)) throw new TypeError("a large question was answered by a stream");
    return new Response(answer);
  }

  alarm() {
    return promised((id) => this.#ledger().alarm(id));
  }
}
