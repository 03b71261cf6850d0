// What goes wrong between a client and an origin. Where something must happen in the middle of something else, the origin
// waits for that and not for a time, so that every run sees the same.

const JSON_TYPE = ["Content-Type", "application/json"];
const RETRY_AFTER = ["Retry-After", "1"];
const said = (status, type, ...headers) => ({
  status,
  headers: [JSON_TYPE, ...headers],
  body: JSON.stringify({ error: { type, message: `the origin said ${status}` } }),
});
// Longer than an answer takes on a busy machine.
const IMPATIENT_MS = 1_500;

/**
 *   about    what happens, for the table
 *   route    which of the routes below; "usual" if left out
 *   first    what the origin answers to the first call that reaches it; all others get the good answer
 *   probed   the origin knows afterwards, when it is asked, that it did the work
 *   holds    the origin waits with its first answer until so many `requests` or `answers` were seen on the
 *            wire, or so many `ms` after the first answer there
 *   cut      the client's connection breaks: "answer": when its first answer is on the way; "call": when the origin has the call
 *   timeout  how long the client waits for an answer, in ms
 *   within   the program has what it gets within so many ms
 *   renewed  every try carries another token; "jwt": of the same subject, which the filter knows
 *   ledger   how the Ledger misbehaves
 *   upload   so many bytes are sent, which the route refuses without reading them; the wire is a plain pipe
 *   calls    how often the origin may be called; 1 if left out
 */
export const SCENARIOS = {
  fine: { about: "the origin does the work and answers" },
  402: { about: "the origin declines", first: said(402, "card_error") },
  429: { about: "the origin refuses before it does anything, Retry-After: 1", first: said(429, "rate_limit_error", RETRY_AFTER), calls: 2 },
  500: { about: "the origin fails, perhaps after it did the work", first: said(500, "api_error") },
  503: {
    about: "somebody before the origin answers 503 with Retry-After: 1; whether the origin did the work is not known",
    first: said(503, "api_error", RETRY_AFTER),
  },
  "answer lost": { about: "the origin does the work, then its connection breaks", first: { reset: true } },
  "answer lost, probe": { about: "as *answer lost*, on a route with `on_in_doubt = \"probe\"`", route: "asking", first: { reset: true }, probed: true },
  "connection cut": { about: "the client's connection breaks when the answer is on the way to it", cut: "answer" },
  "in flight": {
    about: "the client's connection breaks while the origin works; a retry finds it working, on a route with `wait = \"0s\"`",
    route: "hasty",
    cut: "call",
    holds: { answers: 1 },
  },
  "own timeout": { about: "the client gives up waiting before the origin answers", holds: { requests: 2 }, timeout: IMPATIENT_MS },
  "late answer": { about: "the origin answers after the route's `timeout`", route: "short", holds: { requests: 2, ms: 3_000 }, within: 10_000 },
  "store down": { about: "the Ledger cannot be asked for the first request", ledger: "throw*3,pass" },
  "token renewed": { about: "the client's connection breaks when the answer is on the way, and its next try carries another token", cut: "answer", renewed: true },
  "token renewed, jwt": { about: "as *token renewed*, on a route with `credential = [\"jwt:/sub\"]`", cut: "answer", renewed: "jwt" },
  "upload refused": { about: "the client sends 8 MB to a route that takes 64 KiB", route: "small", upload: 8_000_000 },
};

/** The routes of the scenarios; `more` are the knobs that an API needs. */
export function routes(more = {}) {
  const route = (name, knobs = {}) => ({ name, methods: ["POST"], path: `/${name}/{*rest}`, timeout: "30s", ...more, ...knobs });
  return [
    route("usual"),
    route("hasty", { wait: "0s" }),
    route("short", { timeout: "1s" }),
    route("small", { request: { max: "64KiB" } }),
    route("asking", { on_in_doubt: "probe", probe: "/asking/by-key/{key}" }),
  ];
}
