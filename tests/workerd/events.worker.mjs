// Calls the handlers of events as the platform does: a schedule's trigger, a queue's batch.

export default {
  async fetch(request, env) {
    const { cron, scheduledTime, queue, messages } = await request.json();
    if (cron !== undefined) return Response.json(await env.ONCEGATE.scheduled({ cron, scheduledTime: new Date(scheduledTime) }));
    const batch = messages.map(({ bytes, timestamp = 0, attempts = 1, ...message }) => ({
      ...message,
      timestamp: new Date(timestamp),
      attempts,
      ...(bytes && { body: new TextEncoder().encode(bytes).buffer }),
    }));
    return Response.json(await env.ONCEGATE.queue(queue, batch));
  },
};
