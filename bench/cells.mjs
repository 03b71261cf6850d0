// What is measured of which subject, and the checks without which a measurement does not count.

import { randomUUID } from 'node:crypto';
import { Stop } from '../scripts/run.mjs';
import { load } from './load.mjs';
import { GUARDED, UNGUARDED } from './subjects.mjs';

const KEYS = 256;
const LARGE_KEYS = 16;
const KB_100 = 100 * 1024;
const MB_1 = 1024 * 1024;

// `executes`: which part of the requests must reach the origin. `large`: the answers are large.
const KINDS = {
  'pass-through': { path: GUARDED, kind: 'fresh', executes: 1 },
  unguarded: { path: UNGUARDED, kind: 'fresh', executes: 1 },
  'first-seen': { path: GUARDED, kind: 'fresh', executes: 1 },
  replay: { path: GUARDED, kind: 'stored', keys: KEYS, executes: 0 },
  mixed: { path: GUARDED, kind: 'mixed', executes: 0.9 },
  'pass-through 100 KB': { path: `/v1/bytes/${KB_100}`, kind: 'fresh', executes: 1, large: true },
  'pass-through 1 MB': { path: `/v1/bytes/${MB_1}`, kind: 'fresh', executes: 1, large: true },
  'replay 100 KB': { path: `/v1/bytes/${KB_100}`, kind: 'stored', keys: LARGE_KEYS, executes: 0, large: true },
  'replay 1 MB': { path: `/v1/bytes/${MB_1}`, kind: 'stored', keys: LARGE_KEYS, executes: 0, large: true },
};

/** The subjects' cells; `others` are further filters, measured like the floor, but not at 64 connections. */
export function cells({ connections, more, others = [], only }) {
  const list = connections.flatMap((at) => {
    const filters = ['floor', 'oncegate', ...(at > 16 ? [] : others)];
    return [
      cell('pass-through', 'pass-through', at),
      cell('oncegate', 'unguarded', at),
      ...filters.map((subject) => cell(subject, 'first-seen', at)),
      ...filters.map((subject) => cell(subject, 'replay', at)),
    ];
  });
  if (more) {
    list.push(cell('floor', 'mixed', 16), cell('oncegate', 'mixed', 16));
    for (const size of ['100 KB', '1 MB']) list.push(cell('pass-through', `pass-through ${size}`, 16), cell('oncegate', `replay ${size}`, 16));
  }
  // The pass-through always stays: others are compared with it.
  return list.filter(({ what }) => !only || what === 'pass-through' || only.includes(what) || only.includes(what.replace('pass-through', 'replay')));
}

/** `runtime`: which one it is measured in. Large replies have one of their own: the garbage that they leave would be collected
    at the cost of the small ones, and other subjects have none. */
export const cell = (subject, what, connections) => ({ subject, what, connections, ...KINDS[what], runtime: KINDS[what].large ? `${subject}, large replies` : subject });
export const named = ({ subject, what, connections }) => `${what.startsWith(subject) ? what : `${subject} ${what}`}, ${connections} connections`;

/** Measures one cell once. */
export async function measure(cell, on, seconds) {
  const runtime = on[cell.runtime];
  const before = await on.origin.count();
  const { executes, connections, kind } = cell;
  const path = runtime.subject.path ?? cell.path;
  const prefix = kind === 'stored' ? stored(path) : undefined;
  const got = await load({ ...cell, path, prefix, port: runtime.port, cpuOf: runtime, seconds });
  const executed = (await settled(on.origin)) - before;
  // wrk counts no request that it cuts off at the end, neither here nor in the cell before; of the first 500 mixed
  // ones none is a retry.
  const least = got.requests * executes;
  const most = least + 4 * connections + 50 * (kind === 'mixed');
  if (executed < least || executed > most) {
    throw new Stop(`${named(cell)}: of ${got.requests} requests ${executed} reached the origin, which is not what was to be measured`);
  }
  return got;
}

/** The origin's count, once no request is under way any more. */
export async function settled(origin) {
  for (let [last, same] = [-1, 0]; same < 3; ) {
    const count = await origin.count();
    [last, same] = [count, count === last ? same + 1 : 0];
    await new Promise((done) => setTimeout(done, 10));
  }
  return origin.count();
}

/** Checks that the subject in a runtime answers as it must, and makes it store the keys that are replayed. */
export async function prepare(name, on, list) {
  // Once for all numbers of connections.
  const kinds = new Map(list.filter(({ runtime }) => runtime === name).map((cell) => [cell.what, cell]));
  for (const { path, kind, keys, what } of kinds.values()) {
    const own = on[name].subject.path ?? path;
    if (kind === 'stored') await store(name, on, own, keys);
    else await isSound(name, on, own, what);
  }
}

async function isSound(name, on, path, what) {
  const { subject, port } = on[name];
  const before = await on.origin.count();
  const { status, told, body } = await post(port, path, `sound-${randomUUID()}`);
  const executed = (await on.origin.count()) - before;
  const marked = subject.marks && what !== 'unguarded' ? told === 'executed' : !told;
  if (status !== (subject.status ?? 201) || body.length < 50 || executed !== 1 || !marked) {
    throw new Stop(`${name}: ${path} was answered ${status}, Idempotency-Status ${told}: ${body.slice(0, 200)}`);
  }
}

async function store(name, on, path, keys) {
  const { subject, port } = on[name];
  const before = await on.origin.count();
  for (let n = 1; n <= keys; n++) {
    const [first, again] = [await post(port, path, `${stored(path)}-${n}`), await post(port, path, `${stored(path)}-${n}`)];
    const marked = !subject.marks || (again.told === 'replayed' && again.replayed === 'true');
    if (first.status !== (subject.status ?? 201) || again.status !== first.status || again.body !== first.body || !marked) {
      throw new Stop(`${name}: ${path} is not replayed: ${again.status} ${again.body.slice(0, 200)}`);
    }
  }
  const executed = (await on.origin.count()) - before;
  if (executed !== keys) throw new Stop(`${name}: ${keys} keys were executed ${executed} times`);
}

const stored = (path) => `stored-${path.replace(/\W/g, '-')}`;

// The same request as load.lua's: a stored key is replayed to no other.
const BODY = '{"amount":1200,"currency":"eur","customer":"cus_9s6XKzkNRiz8i3","description":"Order 1042"}';
const HEADERS = { 'Content-Type': 'application/json', Authorization: 'Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc' };

async function post(port, path, key) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', headers: { ...HEADERS, 'Idempotency-Key': key }, body: BODY });
  const [told, replayed] = ['Idempotency-Status', 'Idempotent-Replayed'].map((name) => response.headers.get(name));
  return { status: response.status, told, replayed, body: await response.text() };
}
