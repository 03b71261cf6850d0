// What the platform calls.

import { DurableObject } from "cloudflare:workers";
import { answered, instance, parted } from "./host.js";
import wasm from "./index_bg.wasm";
import * as rust from "./rust.js";

rust.initSync({ module: wasm });

export default {
  fetch: (request, env, context) => answered(() => rust.fetch(request, env, context)).catch(rust.lost),
  // A trigger that has failed is not fired again by the platform: its requests are repeated here, with the same key.
  scheduled: (event, env, context) => {
    event.noRetry?.();
    return answered(() => rust.scheduled(event, env, context)).catch(rust.lost);
  },
  // What is neither acknowledged nor sent back when this ends counts as acknowledged (developers.cloudflare.com,
  // queues/configuration/batching-retries), and a throw takes back what was acknowledged in local runtimes.
  queue: (batch, env, context) =>
    answered(() => rust.queue(batch, env, context)).catch((error) => {
      batch.retryAll();
      rust.lost(error);
    }),
};

// The runtime takes methods for RPC from classes that extend DurableObject only, and Rust's class does not
// (developers.cloudflare.com, durable-objects/best-practices/create-durable-object-stubs-and-send-requests).
export class Ledger extends DurableObject {
  #born = -1;
  #shard;

  // Made when it is first called, and again in a program that has started anew.
  #ledger() {
    if (this.#born !== instance) {
      this.#shard = new rust.Ledger(this.ctx, this.env);
      this.#born = instance;
    }
    return this.#shard;
  }

  // How a Ledger is called, and what comes of it, is as much agreed between versions as the messages are (`src/protocol.rs`).

  /** A question; resolves to a message, or to head and body of one whose body is a stream. */
  hear(message) {
    return answered(() => this.#ledger().hear(...parted(message)));
  }

  /** A question with a large body, which is read when there is room for it. */
  fetch(request) {
    return answered(() => this.#ledger().fetch(request));
  }

  alarm() {
    return answered(() => this.#ledger().alarm());
  }
}

// Makes one call of the origin, for a client that does not wait for it. It has no storage, and one claim.
export class Runner extends DurableObject {
  #wasCalled = false;

  /** Takes a request over; resolves to an answer as soon as its call is certain to be made, or not to be. */
  take(head, headers, body) {
    const wasCalled = this.#wasCalled;
    this.#wasCalled = true;
    return answered(() => rust.take(this.ctx, this.env, wasCalled, head, headers, body));
  }
}
