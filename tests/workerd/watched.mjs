// A call that somebody watches: it waits for a nod before it is handed on, and after its answer.

/** `watcher` is told `/before` and `/after` of the message; null: nobody is. */
export async function watched(watcher, message, handOn) {
  if (!watcher) return handOn();
  // A message's head is enough; a body is nobody's business.
  const tell = (when) => fetch(`${watcher}/${when}`, { method: "POST", body: message.slice(0, 4_096) });
  await tell("before");
  const answer = await handOn();
  await tell("after");
  return answer;
}
