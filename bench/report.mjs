// What the figures come to: medians, ratios, the targets, and the table that people read.

/** The middle one. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

const METRICS = ['rps', 'p50', 'p99', 'cpu', 'busy'];

/** One row per cell, from what each round found. */
export function rows(measured) {
  return measured.map(({ cell, rounds }) => ({
    subject: cell.subject,
    what: cell.what,
    connections: cell.connections,
    ...Object.fromEntries(METRICS.map((metric) => [metric, median(rounds.map((round) => round[metric]))])),
    rounds: rounds.map(({ rps }) => Math.round(rps)),
  }));
}

/** The middle of what two cells' rounds came to beside each other; undefined where one was not measured. */
function beside(measured, [subject, what, connections], [of, ofWhat], metric, compare) {
  const find = (subject, what) =>
    measured.find(({ cell }) => cell.subject === subject && cell.what === what && cell.connections === connections)?.rounds;
  const [one, other] = [find(subject, what), find(of, ofWhat)];
  return one && other && median(one.map((round, n) => compare(round[metric], other[n][metric])));
}

const ratio = (a, b) => a / b;
const more = (a, b) => a - b;
const PASS = ['pass-through', 'pass-through'];

/** What was aimed at, and what was found. `rest`: the parts that are not load. */
export function targets(measured, rest = {}) {
  const of = (cell, other, metric, compare) => beside(measured, cell, other, metric, compare);
  const list = [
    target('first-seen, of the floor of calls', of(['oncegate', 'first-seen', 16], ['floor', 'first-seen'], 'rps', ratio), 0.95),
    target('replay, of the floor of calls', of(['oncegate', 'replay', 16], ['floor', 'replay'], 'rps', ratio), 0.95),
    target('unguarded, of the pass-through', of(['oncegate', 'unguarded', 16], PASS, 'rps', ratio), 0.9),
    target('replay, of the pass-through', of(['oncegate', 'replay', 16], PASS, 'rps', ratio), 0.8),
    target('first-seen, of the pass-through', of(['oncegate', 'first-seen', 16], PASS, 'rps', ratio), 0.24),
    target('first-seen beyond the pass-through, 1 connection, p50', of(['oncegate', 'first-seen', 1], PASS, 'p50', more), undefined, 0.6),
    target('replay, 1 connection, p50', of(['oncegate', 'replay', 1], ['oncegate', 'replay'], 'p50', (own) => own), undefined, 0.25),
    target('last of 64 waiters, after the origin\'s answer', rest.joins?.last_ms, undefined, 10),
  ];
  const peers = [...new Set(measured.map(({ cell }) => cell.subject))].filter((name) => !OWN.includes(name));
  for (const peer of peers) {
    for (const what of ['first-seen', 'replay']) list.push(target(`${what}, of ${peer}`, of(['oncegate', what, 16], [peer, what], 'rps', ratio), 1));
  }
  return list.filter(({ found }) => found !== undefined);
}

const OWN = ['pass-through', 'floor', 'oncegate'];

function target(name, found, least, most) {
  return { name, found, least, most, reached: least === undefined ? found <= most : found >= least };
}

/** A table in text. */
export function table(head, body) {
  const all = [head, ...body];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (row) => row.map((cell, n) => (n === 0 ? cell.padEnd(widths[n]) : cell.padStart(widths[n]))).join('  ').trimEnd();
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map(line)].join('\n');
}

export const HEAD = ['', 'conn.', 'req/s', 'p50 ms', 'p99 ms', 'CPU ms/req', 'core busy'];
export const cellsOf = ({ subject, what, connections, rps, p50, p99, cpu, busy }) => [
  subject === what || what.startsWith(subject) ? what : `${subject}: ${what}`,
  String(connections), String(Math.round(rps)), p50.toFixed(2), p99.toFixed(2), cpu.toFixed(3), `${Math.round(busy * 100)} %`,
];

/** One line per target. */
export function told({ name, found, least, reached, most }) {
  const aim = least === undefined ? `at most ${most} ms` : `at least ${least}`;
  return `${reached ? 'reached    ' : 'NOT reached'}  ${name}: ${found.toFixed(least === undefined ? 3 : 2)}${least === undefined ? ' ms' : ''} (${aim})`;
}
