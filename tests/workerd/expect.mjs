// What the contract says of every answer of one kind, asserted wherever one is met.

import assert from "node:assert/strict";

const STATUS = {
  "key-missing": 400, "key-invalid": 400, "strategy-invalid": 400, "key-reused": 422, "in-flight": 409,
  "origin-unreachable": 502, misconfigured: 500, "already-executed": 409, "credential-changed": 409, "credential-refused": 401, "credential-unverifiable": 503,
  "reply-not-stored": 409, "outcome-unknown": 409, "key-expired": 410, "request-too-large": 413,
  "store-unavailable": 503, "not-guarded": 404, "status-unknown": 404, "loop-detected": 508, "outside-window": 412,
};
const RETRY = ["credential-unverifiable", "in-flight", "origin-unreachable", "store-unavailable"];

/** The answer is this problem, whole and well formed (RFC 9457); returns its members. Whether a doubt is worth another try
 *  depends on its lease and its route. */
export function isProblem(response, code, status = STATUS[code], retryable = code === "outcome-unknown" ? undefined : RETRY.includes(code)) {
  assert.equal(response.status, status, `${code} expected, got ${response.status} ${response.text.slice(0, 300)}`);
  assert.match(response.get("Content-Type"), /^application\/problem\+json(;|$)/);
  const members = response.json;
  assert.equal(members.code, code);
  assert.equal(members.status, status);
  assert.equal(members.type, `/.well-known/idempotency#${code}`);
  for (const name of ["title", "detail", "correlation_id"]) {
    assert.equal(typeof members[name], "string", `${name} of ${code}`);
    assert.notEqual(members[name], "", `${name} of ${code}`);
  }
  assert.match(response.get("Cache-Control"), /\bno-store\b/);
  assert.equal(members.message, members.detail);
  assert.equal(members.retryable, retryable ?? members.retryable, `whether ${code} is retryable`);
  for (const name of ["Stripe-Should-Retry", "X-Should-Retry"]) assert.deepEqual(response.all(name), [String(members.retryable)]);
  if (RETRY.includes(code)) assert.match(response.get("Retry-After") ?? "none", /^[1-9]\d*$/);
  assert.equal(response.get("Idempotent-Replayed"), null);
  assert.equal(response.get("Idempotency-Expires"), null);
  const correlation = response.get("X-Correlation-Id");
  if (correlation !== null) assert.equal(members.correlation_id, correlation);
  return members;
}

/** The answer is the origin's own, from the execution that this request caused and whose reply was stored. */
export function isExecuted(response, status = 201) {
  return isFirst(response, status, "executed");
}

/** The answer is the origin's own, and the key is free again. */
export function isReleased(response, status) {
  return isFirst(response, status, "released");
}

/** The answer is the origin's own, and nobody can know whether it is the outcome. */
export function isUnknown(response, status) {
  return isFirst(response, status, "unknown");
}

function isFirst(response, status, said) {
  assert.equal(response.status, status, response.text.slice(0, 300));
  assert.doesNotMatch(response.get("Content-Type") ?? "", /problem/);
  assert.equal(response.get("Idempotency-Status"), said);
  assert.equal(response.get("Idempotent-Replayed"), null);
  assert.notEqual(response.get("X-Correlation-Id"), null);
  assert.equal(response.get("Idempotency-Expires") !== null, said === "executed", "Idempotency-Expires where, and only where, a reply is stored");
}

/** The answer is the stored reply of `first`: the same status and bytes, and it says so. */
export function isReplay(response, first, said = "replayed") {
  assert.equal(response.status, first.status, response.text.slice(0, 300));
  assert.ok(response.body.equals(first.body), `${response.body.length} bytes for ${first.body.length}, or others`);
  assert.equal(response.get("Content-Type"), first.get("Content-Type"));
  assert.equal(response.get("Idempotent-Replayed"), "true");
  if (said instanceof RegExp) assert.match(response.get("Idempotency-Status"), said);
  else assert.equal(response.get("Idempotency-Status"), said);
  assert.notEqual(response.get("Idempotency-Expires"), null);
  assert.notEqual(response.get("X-Correlation-Id"), null);
}

/** The answer is the reply of the execution that this request waited for. */
export function isJoined(response, first) {
  isReplay(response, first, "joined");
}
