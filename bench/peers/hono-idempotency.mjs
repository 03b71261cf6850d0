// paveg/hono-idempotency with its store of Durable Objects. How the store is reached is left to its users: here the
// whole application lives in an object per key, which takes one call of it, fewer than any other way.

import { DurableObject } from 'cloudflare:workers';
import { Hono } from 'hono';
import { idempotency } from 'peer/src/index.ts';
import { durableObjectStore } from 'peer/src/stores/durable-objects.ts';

export default {
  fetch: (request, env) => env.KEYS.getByName(request.headers.get('Idempotency-Key')).fetch(request),
};

export class Keys extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.app = new Hono();
    this.app.use('*', idempotency({ store: durableObjectStore({ storage: state.storage }), dangerouslyAllowGlobalKeys: true }));
    this.app.all('*', async ({ req }) => {
      const { pathname, search } = new URL(req.url);
      return fetch(env.ORIGIN + pathname + search, { method: req.method, headers: req.raw.headers, body: await req.arrayBuffer() });
    });
  }

  fetch(request) {
    return this.app.fetch(request);
  }
}
