// What the platform calls.

import { DurableObject } from "cloudflare:workers";
import { instance, opened, promised } from "./host.js";
import * as rust from "./rust.js";

export default {
  fetch: (request, env, context) => promised((id) => rust.serve(id, request, env, context)),
};

export class Ledger extends DurableObject {
  #born = -1;
  #shard;

  // Made when it is first asked, and again in a program that has started anew.
  get shard() {
    if (this.#born !== instance) {
      this.#shard = new rust.Ledger(this.ctx, this.env);
      this.#born = instance;
    }
    return this.#shard;
  }

  async fetch(request) {
    if (request.method === "PUT") return promised((id) => this.shard.listen(id, request));
    // The Worker has all of it, so this takes no time.
    const [head, body] = await opened(request);
    return promised((id) => this.shard.hear(id, head, body));
  }

  alarm() {
    return promised((id) => this.shard.alarm(id));
  }
}
