// Stands before the Runner, and misbehaves as the header X-Runner of a request asks:
//   throws   the hand-over fails before anybody has it
//   lost     the Runner has it, and its answer is lost
//   twice    the Runner is handed the same request twice
// Where there is a WATCHER, a hand-over waits for its nod, as a Ledger's calls do (faulty-ledger.worker.mjs).

import { DurableObject } from "cloudflare:workers";
import { watched } from "./watched.mjs";

export class FaultyRunner extends DurableObject {
  async take(head, headers, body) {
    const how = headers.get("x-runner");
    if (how === "throws") throw new Error("never delivered");
    const runner = this.env.REAL.get(this.env.REAL.newUniqueId());
    const watcher = this.env.WATCHER && `${this.env.WATCHER}/runner`;
    const answer = await watched(watcher, head, () => runner.take(head, headers, body));
    if (how === "twice") await runner.take(head, headers, body);
    if (how === "lost") throw new Error("the answer is lost");
    return answer;
  }
}

export default {};
