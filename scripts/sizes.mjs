// What the Worker's Wasm is made of: bytes of code by part (each module of ours, each crate), of data and
// of the rest. The build writes it to build/sizes.json, before it takes the names away that it is made of.
//
//   node scripts/sizes.mjs            the largest parts, with what they were in the budget
//   node scripts/sizes.mjs --budget   what there is now becomes the budget, tests/size-budget.json

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, isMain, say } from './run.mjs';

/** What is uploaded may weigh this, gzipped: start-up at the edge is paid per byte. */
export const GZIPPED_KB_MAX = 200;
export const BUDGET = join(ROOT, 'tests', 'size-budget.json');
const SIZES = join(ROOT, 'build', 'sizes.json');
const SHOWN = 40;

/** Sections of a Wasm binary: one byte of id, the length as LEB128, the content. */
export function* sections(wasm) {
  for (let at = 8; at < wasm.length; ) {
    const start = at;
    const [length, content] = leb128(wasm, at + 1);
    at = content + length;
    const name = wasm[start] === 0 ? text(wasm, content)[0] : '';
    yield { id: wasm[start], name, start, content, end: at };
  }
}

/** Bytes by part. A generic function counts where it is defined, whatever it is made for. */
export function parts(wasm) {
  const sizes = new Map();
  const add = (part, bytes) => sizes.set(part, (sizes.get(part) ?? 0) + bytes);
  const names = namesOf(wasm);
  for (const { id, name, content, end } of sections(wasm)) {
    if (id === CODE) {
      let [count, at] = leb128(wasm, content);
      for (let index = importedFunctions(wasm); count > 0; index += 1, count -= 1) {
        const [length, body] = leb128(wasm, at);
        add(partOf(names.get(index) ?? ''), length);
        at = body + length;
      }
    } else if (name !== 'name') add(id === DATA ? '(data)' : '(other sections)', end - content);
  }
  return Object.fromEntries([...sizes].sort(([, one], [, other]) => other - one));
}

/** The parts that are larger than in the budget: name, bytes, and how many more. */
export function grown(sizes, budget) {
  return Object.entries(sizes)
    .map(([part, bytes]) => [part, bytes, bytes - (budget[part] ?? 0)])
    .filter(([, , more]) => more > 0)
    .sort(([, , one], [, , other]) => other - one);
}

/** `<oncegate::edge::store::Store>::sweep` → `oncegate::edge::store`; of others the crate, of std's the module. */
function partOf(name) {
  const path = name.replace(/\[[0-9a-f]+\]/g, '').match(/[a-z_][a-z_0-9]*(::[a-z_][a-z_0-9]*)*/)?.[0].split('::') ?? [];
  if (path[0] === 'dyn' || path[0] === 'mut') path.shift();
  const depth = { oncegate: 3, core: 2, alloc: 2, std: 2 }[path[0]] ?? 1;
  return path.slice(0, depth).join('::') || '(unnamed)';
}

function importedFunctions(wasm) {
  const imports = [...sections(wasm)].find(({ id }) => id === IMPORT);
  let [count, at] = leb128(wasm, imports.content);
  let functions = 0;
  for (; count > 0; count -= 1) {
    at = text(wasm, text(wasm, at)[1])[1];
    const kind = wasm[at];
    functions += kind === 0;
    at += kind === 1 || kind === 3 || kind === 4 ? 2 : 1;
    if (kind === 0 || kind === 4) at = leb128(wasm, at)[1];
    if (kind === 1 || kind === 2) at = limits(wasm, at);
  }
  return functions;
}

function limits(wasm, at) {
  const has = wasm[at] & 1;
  const least = leb128(wasm, at + 1)[1];
  return has ? leb128(wasm, least)[1] : least;
}

function namesOf(wasm) {
  const names = new Map();
  const section = [...sections(wasm)].find(({ name }) => name === 'name');
  if (!section) return names;
  for (let at = text(wasm, section.content)[1]; at < section.end; ) {
    const kind = wasm[at];
    const [length, content] = leb128(wasm, at + 1);
    at = content + length;
    if (kind !== FUNCTION_NAMES) continue;
    for (let [count, next] = leb128(wasm, content); count > 0; count -= 1) {
      const [index, behind] = leb128(wasm, next);
      const [name, end] = text(wasm, behind);
      names.set(index, name);
      next = end;
    }
  }
  return names;
}

function text(wasm, at) {
  const [length, start] = leb128(wasm, at);
  return [wasm.toString('latin1', start, start + length), start + length];
}

function leb128(bytes, at) {
  for (let value = 0, scale = 1; ; scale *= 128) {
    const byte = bytes[at++];
    value += (byte & 127) * scale;
    if (byte < 128) return [value, at];
  }
}

const IMPORT = 2;
const CODE = 10;
const DATA = 11;
const FUNCTION_NAMES = 1;

if (isMain(import.meta.url)) {
  const now = JSON.parse(readFileSync(SIZES, 'utf8'));
  if (process.argv.includes('--budget')) {
    writeFileSync(BUDGET, `${JSON.stringify(now, null, 1)}\n`);
  } else {
    const budget = JSON.parse(readFileSync(BUDGET, 'utf8'));
    for (const [part, bytes] of Object.entries(now.parts).slice(0, SHOWN)) {
      say(`${String(bytes).padStart(7)} ${part} (${budget.parts[part] ?? 0})`);
    }
  }
  say(`${now.gzipped} bytes gzipped`);
}
