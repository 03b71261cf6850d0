// What is uploaded stays small, and where it does not it is said what grew.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { BUDGET, GZIPPED_KB_MAX, grown } from '../../scripts/sizes.mjs';
import { ROOT } from '../../scripts/run.mjs';

const read = (path) => JSON.parse(readFileSync(path, 'utf8'));

test(`the Wasm is at most ${GZIPPED_KB_MAX} KB gzipped`, () => {
  const wasm = readFileSync(join(ROOT, 'build', 'index_bg.wasm'));
  const bytes = gzipSync(wasm, { level: 9 }).length;
  const budget = read(BUDGET);
  const more = grown(read(join(ROOT, 'build', 'sizes.json')).parts, budget.parts);
  const lines = more.map(([part, now, by]) => `  ${part}: ${now} bytes, ${by} more`);
  assert.ok(
    bytes <= GZIPPED_KB_MAX * 1024,
    `it is ${bytes} bytes gzipped; the budget was made at ${budget.gzipped}. Since then grew:\n${lines.join('\n')}`,
  );
});
