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
    const least = other === 'against' ? undefined : 1;
    for (const what of ['first-seen', 'replay']) list.push(part(`${what} / ${other}`, what, [other, what], least));
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

/** All tables, each with its title; `lay` lays one out. */
function tables({ rows, targets, disk, joins, startUp, memory, machine }, lay) {
  const list = [[`Objects on ${machine.objects}`, lay(LOAD_HEAD, rows.map(loadRow))]];
  if (targets.length) list.push(['Targets, at 16 connections where nothing else is said', lay(TARGET_HEAD, targets.map(targetRow))]);
  if (disk.length) list.push(['Objects on the disk', lay(LOAD_HEAD, disk.map(loadRow))]);
  if (joins) {
    const { waiters, storms, last_ms, worst_ms, median_ms } = joins;
    const told = [['median storm, last waiter', last_ms], ['worst storm, last waiter', worst_ms], ['median storm, median waiter', median_ms]];
    list.push([`${waiters} duplicates of one key at once, origin takes 200 ms: time from its answer to theirs, ${storms} storms`, lay(['', 'ms'], told.map(([name, ms]) => [name, ms.toFixed(1)]))]);
  }
  if (startUp) list.push(["CPU time to the first answer, beyond a hello-world Worker's", lay(['', 'ms'], startUp.map(({ subject, what, cpu_ms }) => [`${subject}: ${what}`, cpu_ms.toFixed(1)]))]);
  if (memory) {
    const told = memory.map(({ subject, keys, before, megabytes }) => [subject, String(keys), String(before), String(megabytes)]);
    list.push(['Resident memory of the runtime', lay(['', 'keys', 'MB after the first second', 'MB in the end'], told)]);
  }
  return list;
}

function inText(head, body) {
  const all = [head, ...body];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (row) => row.map((cell, n) => (n === 0 ? cell.padEnd(widths[n]) : cell.padStart(widths[n]))).join('  ').trimEnd();
  return [line(head), ...body.map(line)].join('\n');
}

function inMarkdown(head, body) {
  const line = (row) => `| ${row.join(' | ')} |`;
  return [line(head), line(head.map((_, n) => (n === 0 ? '---' : '---:'))), ...body.map(line)].join('\n');
}

/** For a terminal. */
export const report = (results) => tables(results, inText).map(([title, text]) => `\n${title}\n\n${text}`).join('\n');

const BEGIN = '<!-- figures: written by `npm run bench -- --save` -->';
const END = '<!-- end of figures -->';

/** Puts the figures where they belong in a page. */
export function page(file, results) {
  const text = readFileSync(file, 'utf8');
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Stop(`${file} has no place for the figures: it needs the lines "${BEGIN}" and "${END}"`);
  const { at, machine, rounds, seconds } = results;
  const how = `${at}, ${machine.cpu}, ${machine.cores} cores (${machine.pins}), medians of ${rounds} rounds of ${seconds} s.`;
  const body = tables(results, inMarkdown).map(([title, table]) => `**${title}**\n\n${table}`);
  writeFileSync(file, `${before}${BEGIN}\n\n${[how, ...body].join('\n\n')}\n\n${END}${after}`);
}
