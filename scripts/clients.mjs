// `npm run clients`: other people's clients with their retries on, before the filter and an origin that misbehaves.
//
//   npm run clients -- node curl    only these families; what they need must be there
//   npm run clients -- --all        what any family needs must be there
//   npm run clients -- --save       write what was seen into docs/clients.md
//
// The clients are installed into .tools/clients. A family that needs what this machine lacks is left out, with a word on
// what to install, unless it was asked for. What was seen must be what docs/clients.md says.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { ROOT, Stop, main, run, say, seconds, withoutChatter } from './run.mjs';
import { SCENARIOS } from '../tests/clients/scenarios.mjs';
import { TO_BUILD, node, setUp, toolEnv } from './setup.mjs';

const TESTS = join('tests', 'clients');
const PAGE = join('docs', 'clients.md');
const NEEDS = { python: ['python'], curl: ['curl'], browser: ['chromium'] };
// In the order of the tables.
const FAMILIES = ['payments', 'models', 'platforms', 'node', 'python', 'curl', 'browser', 'webhooks'];
const FILE_MS = '240000';

async function clients(args) {
  const [flags, names] = [args.filter((arg) => arg.startsWith('--')), args.filter((arg) => !arg.startsWith('--'))];
  const unknown = [...names.filter((name) => !FAMILIES.includes(name)), ...flags.filter((flag) => !['--all', '--save'].includes(flag))];
  if (unknown.length) throw new Stop(`no family "${unknown[0]}": there are ${FAMILIES.join(', ')}`);
  const forgotten = readdirSync(join(ROOT, TESTS)).find((file) => file.endsWith('.test.mjs') && !FAMILIES.includes(file.replace('.test.mjs', '')));
  if (forgotten) throw new Stop(`scripts/clients.mjs does not name ${forgotten}`);

  const since = performance.now();
  const isBuilt = Boolean(process.env.ONCEGATE_BUILD);
  await setUp(...(isBuilt ? ['npm'] : TO_BUILD), 'node', 'clients');
  if (!isBuilt) say(await build());
  const families = await present(names.length ? FAMILIES.filter((name) => names.includes(name)) : FAMILIES, names.length > 0 || flags.includes('--all'));
  const files = families.map((name) => join(TESTS, `${name}.test.mjs`));
  const flagsOfNode = ['--import', `./${TESTS}/packages.mjs`, '--test', '--test-reporter=spec', '--test-concurrency=1', '--test-force-exit', `--test-timeout=${FILE_MS}`];
  const { code, output, log } = await run('clients', node(), [...flagsOfNode, ...files], { env: toolEnv(), name: 'clients' });

  const seen = [...output.matchAll(/^seen: (\{.*\})$/gm)].map(([, line]) => JSON.parse(line)).sort((a, b) => FAMILIES.indexOf(a.file) - FAMILIES.indexOf(b.file) || a.row - b.row);
  const tables = rendered(seen);
  say(tables);
  const plays = seen.reduce((sum, { seen }) => sum + Object.keys(seen).length, 0);
  const duplicates = seen.reduce((sum, { duplicates }) => sum + (duplicates ?? 0), 0);
  const figures = { part: 'clients', clients: seen.length, plays, duplicate_executions: duplicates };
  if (process.env.ONCEGATE_NIGHTLY) say(`figures: ${JSON.stringify(figures)}`);
  if (code !== 0) {
    console.error(whatFailed(withoutChatter(output)).slice(0, 12_000));
    throw new Stop(`a client did not see what it should (all output in ${log})`);
  }
  compare(tables, families.length === FAMILIES.length, flags.includes('--save'));
  say(`ok ${seen.length} clients, ${plays} plays, ${seconds(since)} (all output in ${log})`);
}

/** The families whose needs this machine has, or can have. */
async function present(names, asked) {
  const found = [];
  for (const name of names) {
    try {
      await setUp(...(NEEDS[name] ?? []));
      found.push(name);
    } catch (error) {
      if (!(error instanceof Stop) || asked) throw error;
      say(`left out ${name}: ${error.message}`);
    }
  }
  return found;
}

/** The failures without their stacks, which lead to the same line each. */
function whatFailed(output) {
  const summary = output.indexOf('✖ failing tests:');
  if (summary < 0) return output;
  return output.slice(summary).replace(/^\s+at .*\n/gm, '').replace(/^\s+generatedMessage:[^]*?^  \}\n/gm, '').replace(/\n{3,}/g, '\n\n');
}

const table = (head, rows) => {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
};

// What the origin does, and what happens on the way to it.
const ORIGIN = ['fine', '402', '429', '500', '503', 'answer lost', 'answer lost, probe'];
const WAY = Object.keys(SCENARIOS).filter((name) => !ORIGIN.includes(name));

function rendered(seen) {
  const senders = seen.filter(({ preset }) => preset);
  const callers = seen.filter(({ preset }) => !preset);
  const cells = ({ seen }, names) => names.map((name) => seen[name]?.join(' / ') ?? '');
  const parts = [];
  if (callers.length) {
    parts.push(table(['client', 'how it sends a key', 'what it tries again, as it is set up here'], callers.map(({ name, key, retries }) => [name, key, retries])));
    for (const names of [ORIGIN, WAY]) {
      parts.push(names.map((name) => `- *${name}*: ${SCENARIOS[name].about}.`).join('\n'));
      parts.push(table(['client', ...names], callers.map((row) => [row.name, ...cells(row, names)])));
    }
  }
  if (senders.length) {
    const stories = Object.keys(senders[0].seen).sort();
    parts.push(table(['library', 'preset', 'key', ...stories], senders.map((row) => [row.name, `\`${row.preset}\``, row.key, ...cells(row, stories)])));
  }
  return parts.join('\n\n');
}

const SECTION = /(<!-- written by npm run clients -- --save -->\n)(.*?)(\n<!-- end -->)/s;

/** What was seen is what the page says, or becomes it. */
function compare(tables, whole, save) {
  const page = readFileSync(join(ROOT, PAGE), 'utf8');
  const [, , written] = SECTION.exec(page) ?? [];
  if (written === undefined) throw new Stop(`${PAGE} has no place for the tables`);
  const known = new Set(written.split('\n'));
  const other = whole ? written.trim() !== tables : tables.split('\n').some((line) => !known.has(line));
  if (!other) return;
  if (!save) throw new Stop(`${PAGE} says something else: run "npm run clients -- --save" and look at the difference`);
  if (!whole) throw new Stop('only a run of all families is saved');
  writeFileSync(join(ROOT, PAGE), page.replace(SECTION, (_, start, __, end) => `${start}\n${tables}\n${end}`));
  say(`${PAGE} has the new tables`);
}

await main(() => clients(process.argv.slice(2)));
