// Where a message or a slot can be when the power goes, as steps.mjs has it for clients' requests. `later`: it is not
// made again at once after the restart, since a slot waits for the lease's end then.

import { gate } from "../harness.mjs";
import { ASK } from "./lane.mjs";
import { Message, Slot, whenLogged } from "./jobs.mjs";

const DONE = { atOnce: ["done"], ends: ["done"], runs: 1 };
const DOUBT = { atOnce: ["later"], ends: ["unknown"], runs: 1 };
const DECLINED = [{ status: 429, headers: [["Retry-After", "1"]] }, {}];
const UP_TO = (ms) => Math.random() * ms;

/** `aim` brings about the kill; it is given the lane and the operation. */
function step(Kind, expected, aim, { answers = () => [{}], ...more } = {}) {
  const run = (lane) => {
    const it = lane.add(new Kind(lane, answers(lane)));
    aim(lane, it);
    lane.send(it);
    return it;
  };
  return { alone: true, expected, run, ...more };
}
const atCall = (when, ask) => (lane, it) => lane.at(it, when, ask, () => lane.cut());
const atLine = (parts) => (lane, it) => void whenLogged(lane, parts(it), () => lane.cut());
const working = (ms) => ({ answers: (lane) => [{ reached: () => lane.cutAfter(UP_TO(ms)), wait: lane.gate().opened }, {}] });
const none = () => {};
const watched = true;

export const JOB_STEPS = {
  "a message, before its claim reaches the Ledger": step(Message, DONE, atCall("before", ASK.claim), { watched }),
  "a message, while the origin works": step(Message, DOUBT, none, working(30)),
  "a message, answered, before the settle reaches the Ledger": step(Message, DOUBT, atCall("before", ASK.settle), { watched }),
  "a message, between the settle and the ack": step(Message, DONE, atCall("after", ASK.settle), { watched }),
  "a message, when it is acknowledged": step(Message, DONE, atLine((it) => [`"message":"${it.key}"`, '"then":"ack"'])),
  "a message, put aside, before the ack": step(Message, DONE, atLine((it) => ["put aside: ", it.key]), { answers: () => [{ status: 402 }] }),
  "a message, released, before it is sent back": step(Message, { ...DONE, runs: 2 }, atCall("after", ASK.release), { watched, answers: () => DECLINED }),
  "a batch, half of it done": { alone: true, expected: DOUBT, run: halfOfABatch },
  "a slot, while its call runs": step(Slot, { ends: ["unknown"], runs: 1 }, none, { ...working(30), later: true }),
  "a slot, between the settle and the event's end": step(Slot, DONE, atCall("after", ASK.settle), { watched }),
  "a slot, at the event's end": step(Slot, DONE, atLine((it) => [new Date(it.time).toISOString(), '"tries":1'])),
  "a slot, between two tries": step(Slot, { ...DONE, runs: 2 }, betweenTries, { answers: () => DECLINED }),
};

/** Four messages are under way at once: when the sixth is at the origin, the first two are done, and four stay there. */
function halfOfABatch(lane) {
  const reached = gate();
  const stays = () => [{ wait: lane.gate().opened }, {}];
  const answers = [[{}], [{}], stays(), stays(), stays(), stays()];
  answers[5][0].reached = reached.open;
  const batch = answers.map((each) => lane.add(new Message(lane, each)));
  for (const [n, it] of batch.entries()) it.expected = n < 2 ? DONE : DOUBT;
  lane.round.pending.push(Message.deliver(lane, batch));
  reached.opened.then(() => lane.cut());
  return batch[5];
}

/** Some time in the second that the origin asked to wait. */
function betweenTries(lane) {
  void whenLogged(lane, ['"via":"schedule","outcome":"released"'], () => lane.cutAfter(UP_TO(800)));
}
