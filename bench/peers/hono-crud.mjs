// @hono-crud/idempotency with its object per key, before a foreign origin.

import { Hono } from 'hono';
import { createIdempotencyMiddleware, DOIdempotencyStorage, IdempotencyDurableObject } from 'peer/packages/idempotency/src/index.ts';

let app;

function applied(env) {
  const made = new Hono();
  made.use('*', createIdempotencyMiddleware({ storage: new DOIdempotencyStorage(env.KEYS) }));
  made.all('*', ({ req }) => {
    const { pathname, search } = new URL(req.url);
    return fetch(env.ORIGIN + pathname + search, req.raw);
  });
  return made;
}

export default {
  fetch: (request, env, context) => (app ??= applied(env)).fetch(request, env, context),
};
export { IdempotencyDurableObject };
