// Stands beside Oncegate in one session of `wrangler dev`: its origin, which hands requests on to the test's, the
// producer of its queues, and the consumer of what it puts aside and of dead letters, which the test's origin gets too.

export default {
  fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    return pathname === "/send" ? sent(request, env) : fetch(env.ORIGIN + pathname + search, request);
  },
  async queue({ queue, messages }, env) {
    for (const { id, body } of messages) {
      await fetch(`${env.ORIGIN}/${queue}`, { method: "POST", body: JSON.stringify({ id, body }) });
    }
  },
};

async function sent(request, env) {
  const { queue, bodies } = await request.json();
  await env[queue].sendBatch(bodies.map((body) => ({ body })));
  return new Response("sent");
}
