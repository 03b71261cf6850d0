// Requests that show what Oncegate does, sent over HTTP like any client's.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { say } from './run.mjs';

const PATH = '/v1/payments';
const REPORTS = '/v1/reports';
const CROWD = 40;

/** The routes of the demo, where wrangler.toml has none: what would be guarded anyway, and reports, which take their time. */
export const ROUTES = [{ name: 'default' }, { name: 'reports', methods: ['POST'], path: REPORTS, async: 'allow' }];

/** Sends them to `address`, which has the demo origin at `origin` behind it; returns whether all answers are right. */
export async function play(address, origin, hasReports) {
  const shop = { address, origin, key: newKey(), body: { amount: 1200, currency: 'eur' } };
  const acts = [first, again, otherBody, crowd, ...(hasReports ? [later] : [])];
  let right = true;
  for (const act of acts) right = (await act(shop)) && right;
  return right;
}

/** The curl command of the same request. */
export function curl(address, key, body, flags = '-i') {
  const headers = `-H 'Content-Type: application/json' -H 'Idempotency-Key: ${key}'`;
  return `curl ${flags} ${address}${PATH} ${headers} -d '${JSON.stringify(body)}'`;
}

export const newKey = () => `demo-${randomBytes(4).toString('hex')}`;

async function first(shop) {
  title('A payment. It is forwarded to the origin, which charges.', shop);
  return show(await post(shop), { status: 201, state: 'executed' });
}

async function again(shop) {
  title('The same once more, as after a lost answer. The stored reply comes back.', shop);
  return show(await post(shop), { status: 201, state: 'replayed', replayed: true });
}

async function otherBody(shop) {
  const other = { ...shop, body: { ...shop.body, amount: 9900 } };
  title('The same key for another payment. That is a mistake, and refused.', other);
  return show(await post(other), { status: 422, code: 'key-reused' });
}

async function crowd(shop) {
  const fresh = { ...shop, key: newKey() };
  say(`\n${CROWD} at once with a fresh key. One is forwarded, the others wait for its answer.`);
  say(`  $ for i in $(seq ${CROWD}); do ${curl(fresh.address, fresh.key, fresh.body, '-s')} & done; wait`);
  const before = await charges(shop.origin);
  const answers = await Promise.all(Array.from({ length: CROWD }, () => post(fresh)));
  const charged = (await charges(shop.origin)) - before;
  const created = answers.filter((answer) => answer.status === 201).length;
  const payments = new Set(answers.map((answer) => answer.text)).size;
  say(`    ${created} × 201 (${tally(answers.map((answer) => answer.state))}), ${times(charged)} at the origin`);
  return expect(created === CROWD && charged === 1 && payments === 1, `${CROWD} × 201 with one body, 1 charge`);
}

async function later({ address, origin }) {
  const key = newKey();
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key, Prefer: 'respond-async' };
  say('\nA report takes 2 s, and its client does not wait. It hears that it runs, and where to ask.');
  say(`  $ curl -i ${address}${REPORTS} -H 'Prefer: respond-async' -H 'Idempotency-Key: ${key}' -d '{}'`);
  const ask = () => fetch(address + REPORTS, { method: 'POST', headers, body: '{}' });
  const accepted = await ask();
  const location = accepted.headers.get('Location');
  say(`    ${accepted.status}   Idempotency-Status: ${accepted.headers.get('Idempotency-Status')}   Retry-After: ${accepted.headers.get('Retry-After')}`);
  say(`    Location: ${location}`);
  if (!expect(accepted.status === 202 && location, '202 with a Location')) return false;
  const twice = await ask();
  say('  The same once more: the same address.');
  if (!expect(twice.headers.get('Location') === location, 'the same Location')) return false;
  say(`  $ curl -i ${location}    # until it is no longer 202`);
  let answer;
  do {
    await sleep(500);
    answer = await fetch(location);
  } while (answer.status === 202);
  const made = (await (await fetch(`${origin}/reports`)).json()).reports;
  say(`    ${answer.status}   Idempotency-Status: ${answer.headers.get('Idempotency-Status')}   ${short(await answer.text())}`);
  say(`    ${made} ${made === 1 ? 'report' : 'reports'} made`);
  return expect(answer.status === 201 && made === 1, '201, and 1 report');
}

const times = (n) => `${n} ${n === 1 ? 'charge' : 'charges'}`;

function title(what, { address, key, body }) {
  say(`\n${what}`);
  say(`  $ ${curl(address, key, body)}`);
}

async function post({ address, key, body }) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  const response = await fetch(address + PATH, { method: 'POST', headers, body: JSON.stringify(body) });
  return {
    status: response.status,
    state: response.headers.get('Idempotency-Status'),
    replayed: response.headers.get('Idempotent-Replayed') === 'true',
    text: await response.text(),
  };
}

async function charges(origin) {
  return (await (await fetch(`${origin}/charges`)).json()).charges;
}

function show({ status, state, replayed, text }, wanted) {
  const marks = [state && `Idempotency-Status: ${state}`, replayed && 'Idempotent-Replayed: true'];
  say(`    ${[status, ...marks.filter(Boolean)].join('   ')}`);
  const code = parse(text)?.code;
  say(`    ${code ? short(`${code}: ${parse(text).detail ?? ''}`) : short(text)}`);
  const right =
    status === wanted.status &&
    (!wanted.state || state === wanted.state) &&
    (!wanted.code || code === wanted.code) &&
    replayed === Boolean(wanted.replayed);
  return expect(right, [wanted.status, wanted.state ?? wanted.code].join(' '));
}

function expect(right, wanted) {
  if (!right) say(`    WRONG: ${wanted} was expected`);
  return right;
}

function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].map(([value, count]) => `${count} ${value ?? 'unmarked'}`).join(', ');
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const short = (text) => (text.trim().length > 160 ? `${text.trim().slice(0, 159)}…` : text.trim());
