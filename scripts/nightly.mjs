// `npm run nightly`: the runs with faults at full length, and their figures.
//
//   npm run nightly -- kills fuzz    only these: histories, kills, async, overload, fuzz, clients
//
// Each part is the long form of what `npm test` runs in a few seconds. A part prints lines "figures: {…}". They are
// collected here and written to .tools/nightly.json.

import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { build } from './build.mjs';
import { CARGO_PROGRESS, ROOT, Stop, TOOLS, childEnv, main, run, say, seconds, withoutChatter } from './run.mjs';
import { TO_BUILD, node, setUp, toolEnv } from './setup.mjs';

const LONG = { ONCEGATE_NIGHTLY: '1' };
const PART_MS = String(30 * 60_000);

const PARTS = {
  histories: () => part('histories', 'cargo', ['test', '--no-default-features', '--features', 'check', '--test', 'host', '--', '--nocapture', 'prove', 'simulate'], childEnv({ ...CARGO_PROGRESS, ...LONG })),
  kills: () => onWorkerd('kills', 'kill', 'kill-jobs', 'kill-runner'),
  async: () => onWorkerd('async', 'async-long'),
  overload: () => onWorkerd('overload', 'overload', 'hostile'),
  fuzz: () => part('fuzz', process.execPath, [join('fuzz', 'run.mjs')], childEnv(LONG)),
  clients: () => part('clients', process.execPath, [join('scripts', 'clients.mjs'), '--all'], childEnv(LONG)),
};

// The figures that must be zero, by the names that the parts use.
const FAULTS = /^(violations|duplicate_executions|lost_replies|stuck_keys|wrong_ends|crashes)$/;

async function nightly(names) {
  const unknown = names.find((name) => !PARTS[name]);
  if (unknown) throw new Stop(`no part "${unknown}": there are ${Object.keys(PARTS).join(', ')}`);
  const [since, figures, failed] = [performance.now(), [], []];
  for (const name of names.length ? names : Object.keys(PARTS)) {
    const done = await PARTS[name]();
    figures.push(...done.figures);
    if (!done.passed) failed.push(name);
  }
  const file = join(TOOLS, 'nightly.json');
  writeFileSync(file, `${JSON.stringify(figures, null, 1)}\n`);
  say('');
  for (const { part, ...counts } of figures) say(`${part}: ${Object.entries(counts).map(spelled).join(', ')}`);
  const faults = figures.flatMap((line) => Object.entries(line)).filter(([name]) => FAULTS.test(name));
  const sum = faults.reduce((total, [, count]) => total + count, 0);
  say(`\n${sum} faults found, ${seconds(since)} (${relative(ROOT, file)})`);
  if (sum || failed.length) throw new Stop(`${failed.join(', ') || 'a part'} failed: see above`);
}

async function onWorkerd(name, ...files) {
  await setUp(...TO_BUILD, 'node');
  say(await build());
  const tests = files.map((file) => join('tests', 'workerd', `${file}.test.mjs`));
  const args = ['--test', '--test-reporter=spec', '--test-concurrency=1', '--test-force-exit', `--test-timeout=${PART_MS}`, ...tests];
  return part(name, node(), args, toolEnv(LONG));
}

async function part(name, command, args, env) {
  const since = performance.now();
  const { code, output, log } = await run(name, command, args, { env, name: `nightly-${name}` });
  const figures = [...output.matchAll(/figures: (\{.*\})/g)].map(([, line]) => JSON.parse(line));
  if (code !== 0) console.error(withoutChatter(output).slice(-6_000));
  const passed = code === 0 && figures.length > 0;
  say(`${passed ? 'ok' : 'FAILED'} ${name}, ${seconds(since)} (all output in ${log})`);
  return { passed, figures };
}

const spelled = ([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`;

await main(() => nightly(process.argv.slice(2)));
