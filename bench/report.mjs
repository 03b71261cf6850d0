// What the figures come to: medians, ratios, the targets, and the tables that people read.

import { readFileSync, writeFileSync } from 'node:fs';
import { Stop } from '../scripts/run.mjs';

/** The middle one. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// ---- figures --------------------------------------------------------------------------------------------------------

const METRICS = ['rps', 'p50', 'p99', 'cpu', 'busy'];

/** One row per cell, from what each round found. */
export function rows(measured) {
  return measured.map(({ cell: { subject, what, connections }, rounds }) => ({
    subject, what, connections,
    ...Object.fromEntries(METRICS.map((metric) => [metric, rounded(median(rounds.map((round) => round[metric])))])),
    rounds: rounds.map(({ rps }) => Math.round(rps)),
  }));
}

const rounded = (number) => Number(number.toPrecision(4));

const ratio = (a, b) => a / b;
const beyond = (a, b) => a - b;

/** What was aimed at, and what was found; what was not measured is left out. */
export function targets(measured, { joins } = {}) {
  const find = ([subject, what], connections) =>
    measured.find(({ cell }) => cell.subject === subject && cell.what === what && cell.connections === connections)?.rounds;
  // The middle of what two cells' rounds came to beside each other.
  const beside = (one, other, connections, metric, compare) => {
    const [own, of] = [find(one, connections), find(other, connections)];
    return own && of && rounded(median(own.map((round, n) => compare(round[metric], of[n][metric]))));
  };
  const part = (name, what, other, least) => {
    const own = ['oncegate', what];
    const found = beside(own, other, 16, 'rps', ratio);
    return { name: `${name}, requests a second`, found, least, reached: found >= least, byCpu: beside(other, own, 16, 'cpu', ratio) };
  };
  const time = (name, found, most) => ({ name, found, most, reached: found <= most, unit: 'ms' });
  const pass = ['pass-through', 'pass-through'];
  const list = [
    part('first-seen / floor', 'first-seen', ['floor', 'first-seen'], 0.95),
    part('replay / floor', 'replay', ['floor', 'replay'], 0.95),
    part('unguarded / pass-through', 'unguarded', pass, 0.9),
    part('replay / pass-through', 'replay', pass, 0.8),
    part('first-seen / pass-through', 'first-seen', pass, 0.24),
    time('first-seen beyond the pass-through, 1 connection, p50', beside(['oncegate', 'first-seen'], pass, 1, 'p50', beyond), 0.6),
    time('replay, 1 connection, p50', beside(['oncegate', 'replay'], ['oncegate', 'replay'], 1, 'p50', (own) => own), 0.25),
    time("last of 64 waiters after the origin's answer", joins?.last_ms, 10),
  ];
  const others = new Set(measured.map(({ cell }) => cell.subject).filter((name) => !OWN.includes(name)));
  for (const other of others) {
    for (const what of ['first-seen', 'replay']) list.push(part(`${what} / ${other}`, what, [other, what], 1));
  }
  return list.filter(({ found }) => found !== undefined);
}

const OWN = ['pass-through', 'floor', 'oncegate'];

// ---- tables ---------------------------------------------------------------------------------------------------------

const LOAD_HEAD = ['', 'conn.', 'req/s', 'p50 ms', 'p99 ms', 'CPU ms/req', 'core busy'];
const loadRow = ({ subject, what, connections, rps, p50, p99, cpu, busy }) => [
  what.startsWith(subject) ? what : `${subject}: ${what}`,
  String(connections), String(Math.round(rps)), p50.toFixed(2), p99.toFixed(2), cpu.toFixed(3), `${Math.round(busy * 100)} %`,
];

const TARGET_HEAD = ['', 'found', 'aimed at', '', 'by CPU time'];
const targetRow = ({ name, found, least, most, reached, unit = '', byCpu }) => [
  name,
  `${found.toFixed(2)} ${unit}`.trim(),
  least !== undefined ? `≥ ${least}` : most !== undefined ? `≤ ${most} ${unit}` : '',
  least === undefined && most === undefined ? '' : reached ? 'reached' : 'not reached',
  byCpu?.toFixed(2) ?? '',
];

/** Whether the machine was too busy with other things for requests a second to mean anything. */
const isDisturbed = ({ rows }) => rows.some(({ connections, busy, what }) => connections === 16 && !/ [KM]B$/.test(what) && busy < 0.8);

const DISTURBED = 'The machine was busy with other things: at 16 connections a runtime had less than 80 % of its core. What is told by CPU time holds, the rest does not.';

/** For a terminal. */
export function report({ rows, targets, disk, machine, ...parts }) {
  const inOrder = [...rows].sort((a, b) => a.connections - b.connections);
  const list = [[`Objects on ${machine.objects}`, table(LOAD_HEAD, inOrder.map(loadRow))]];
  if (disk.length) list.push(['Objects on the disk', table(LOAD_HEAD, disk.map(loadRow))]);
  if (targets.length) list.push(['Ratios at 16 connections', table(TARGET_HEAD, targets.map(targetRow))]);
  const notes = [...sentences(parts), ...(isDisturbed({ rows }) ? ['', DISTURBED] : [])];
  return [...list.map(([title, text]) => `\n${title}\n\n${text}`), '', ...notes].join('\n');
}

/** What is told without a table. */
function sentences({ joins, startUp, memory }) {
  const list = [];
  if (joins) {
    const { waiters, storms, last_ms, worst_ms, median_ms, cold_ms, floor_ms } = joins;
    list.push(`Joins: of ${waiters} duplicates at once the last one has its answer ${last_ms.toFixed(1)} ms after the origin gave it, the median one ${median_ms.toFixed(1)} ms (medians of ${storms} storms; the worst storm ${worst_ms.toFixed(1)} ms; the first in a runtime that has just started ${cold_ms.toFixed(1)} ms). The floor's last one: ${floor_ms.toFixed(1)} ms.`);
  }
  if (startUp) {
    const each = startUp.map(({ subject, what, cpu_ms }) => `${subject} (${what}) ${cpu_ms.toFixed(1)} ms`);
    list.push(`Start-up: CPU time to the first answer beyond a hello-world Worker's: ${each.join(', ')}.`);
  }
  if (memory) {
    const each = memory.map(({ subject, keys, before, megabytes }) => `${subject} ${megabytes} MB after ${keys} requests (${before} MB after the first second)`);
    list.push(`Memory: the runtime's resident set, a fresh key each time: ${each.join(', ')}.`);
  }
  return list;
}

/** A table of texts: the first column to the left, the others to the right. */
export function table(head, body) {
  const all = [head, ...body];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (row) => row.map((cell, n) => (n === 0 ? cell.padEnd(widths[n]) : cell.padStart(widths[n]))).join('  ').trimEnd();
  return [line(head), ...body.map(line)].join('\n');
}

// ---- the page -------------------------------------------------------------------------------------------------------

const PAGE_HEAD = ['', 'req/s, 16 conn.', 'CPU ms', 'p99 ms', 'p50 ms, 1 conn.', 'p99 ms', 'req/s, 64 conn.', 'p99 ms', 'req/s on disk, 16 conn.'];

/** One line for all that was found of one kind. */
function pageRow(row, rows, disk) {
  const of = (list, connections) => list.find((other) => other.subject === row.subject && other.what === row.what && other.connections === connections);
  const tell = (found, metric, digits = 2) => found?.[metric].toFixed(digits) ?? '';
  const [alone, crowd] = [of(rows, 1), of(rows, 64)];
  return [
    loadRow(row)[0], tell(row, 'rps', 0), tell(row, 'cpu', 3), tell(row, 'p99', 1), tell(alone, 'p50'), tell(alone, 'p99'),
    tell(crowd, 'rps', 0), tell(crowd, 'p99', 1), tell(of(disk, 16), 'rps', 0),
  ];
}

function inMarkdown(head, body) {
  const line = (row) => `| ${row.join(' | ')} |`;
  return [line(head), line(head.map((_, n) => (n === 0 ? '---' : '---:'))), ...body.map(line)].join('\n');
}

/** Puts lines between the marks of a part of a page. */
function put(file, what, command, lines) {
  const [begin, end] = [`<!-- ${what}: written by \`npm run bench -- ${command}--save\` -->`, `<!-- end of ${what} -->`];
  const [before, rest] = readFileSync(file, 'utf8').split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) throw new Stop(`${file} has no place for the ${what}: it needs the lines "${begin}" and "${end}"`);
  writeFileSync(file, `${before}${begin}\n\n${lines.join('\n\n')}\n\n${end}${after}`);
}

/** Puts the figures where they belong in a page. */
export function page(file, { at, machine, rounds, seconds, rows, targets, disk, ...parts }) {
  put(file, 'figures', '', [
    '![Requests a second and time per request](performance.svg)',
    `${at}, ${machine.cpu}, ${machine.cores} cores (${machine.pins}), objects on ${machine.objects}, medians of ${rounds} rounds of ${seconds} s.`,
    inMarkdown(PAGE_HEAD, rows.filter(({ connections }) => connections === 16).map((row) => pageRow(row, rows, disk))),
    ...(targets.length ? [inMarkdown(['ratios at 16 connections', ...TARGET_HEAD.slice(1)], targets.map(targetRow))] : []),
    sentences(parts).map((sentence) => `- ${sentence}`).join('\n'),
    ...(isDisturbed({ rows }) ? [`**${DISTURBED}**`] : []),
  ]);
}

const GROWTH_HEAD = ['records in the shard', 'replay, ms', 'CPU ms', 'first-seen, ms', 'CPU ms', 'swept, µs a row'];
const SHARDS_HEAD = ['SHARDS', 'first-seen, req/s', 'CPU ms', 'replay, req/s', 'CPU ms'];

/** The same of how it grows. */
export function growthPage(file, { at, lookups: { sizes }, sweeps: { alone, busy }, shards }) {
  const swept = new Map(alone.map(({ rows, us_per_row }) => [rows, us_per_row]));
  const { held_ms: held, usual_ms: usual } = busy;
  put(file, 'growth', 'growth ', [
    `${at}, one request after another, medians; rows that have gone are swept alone.`,
    inMarkdown(GROWTH_HEAD, sizes.map(({ records, replay, first_seen: first }) =>
      [records.toLocaleString('en'), replay.median_ms, replay.cpu_ms, first.median_ms, first.cpu_ms, swept.get(records) ?? ''])),
    `While ${busy.rows.toLocaleString('en')} rows were swept, in ${Math.round(busy.ms)} ms, ${busy.requests} requests took ${held.median} ms at the median, ${held.p99} at the 99th percentile, at most ${held.max}; the ones before ${usual.median}, ${usual.p99} and ${usual.max}.`,
    inMarkdown(SHARDS_HEAD, shards.map(({ shards: count, replay, first_seen: first }) => [count, first.per_second, first.cpu_ms, replay.per_second, replay.cpu_ms])),
  ]);
}
