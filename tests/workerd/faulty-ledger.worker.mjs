// A Ledger that misbehaves when it is told to. It stands between the Worker and the real Ledger objects and is
// otherwise transparent. A behaviour is `WHAT` or `WHAT*N` (for the next N calls only):
// With `@SHARD` behind it it is that of one shard only, and the others pass calls on.
//   pass      hand the call on
//   throw     fail without handing it on                overload  the same, as the runtime does under load
//   lose      hand it on, then fail: the answer is lost hang      never answer
//   garbage   answer with bytes that mean nothing       empty     answer with no bytes
//   strange   answer with what is no message
// Several, separated by commas, follow each other: `pass*1,throw` lets one call through and fails the rest.
// Where there is a WATCHER, a call that is handed on waits for its nod twice: before the real Ledger hears of it,
// and after its answer, which the output gate lets out once it is on the disk.

import { DurableObject } from "cloudflare:workers";
import { watched } from "./watched.mjs";

let plan = [];
let calls = 0;

export default {
  fetch(request) {
    const told = new URL(request.url).searchParams.get("behaviour");
    plan = told.split(",").map((step) => {
      const [, what, times, shard] = /^(\w+)(?:\*(\d+))?(?:@(.+))?$/.exec(step);
      return { what, times: times ? Number(times) : Infinity, shard };
    });
    const counted = calls;
    calls = 0;
    return Response.json({ calls: counted });
  },
};

export class FaultyLedger extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.shard = state.id.name;
    this.real = env.REAL.get(env.REAL.idFromName(state.id.name));
    this.watcher = env.WATCHER;
  }

  hear(question) {
    return this.called(question, () => this.real.hear(question));
  }

  async fetch(request) {
    const { url, method } = request;
    const question = new Uint8Array(await request.arrayBuffer());
    const answer = await this.called(question, async () => {
      const response = await this.real.fetch(url, { method, body: question });
      return new Uint8Array(await response.arrayBuffer());
    });
    return new Response(answer);
  }

  async called(question, handOn) {
    calls += 1;
    while (plan.length && plan[0].times === 0) plan.shift();
    let step = plan[0] ?? { what: "pass" };
    if (step.shard && step.shard !== this.shard) step = { what: "pass" };
    if (step.times) step.times -= 1;
    switch (step.what) {
      case "pass":
        return watched(this.watcher && `${this.watcher}/ledger`, question, handOn);
      case "throw":
        throw new Error("the Ledger is out of reach");
      case "overload":
        throw Object.assign(new Error("Durable Object is overloaded. Too many requests queued."), { overloaded: true });
      case "lose":
        await handOn();
        throw new Error("the answer was lost");
      case "hang":
        return new Promise(() => {});
      case "garbage":
        return new Uint8Array([255, 254, 0, 1, 2, 3, 250]);
      case "empty":
        return new Uint8Array(0);
      case "strange":
        return { status: 500 };
      default:
        throw new Error(`unknown behaviour ${step.what}`);
    }
  }
}
