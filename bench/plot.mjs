// The figures as a picture: requests a second at 16 connections, and the time of one request alone.

const BAR = 22;
const GAP = 8;
const LABEL = 210;
const WIDE = 250;
const TOP = 62;

/** An SVG that follows the reader's light or dark theme. */
export function plot({ rows }) {
  const at = (connections) => rows.filter((row) => row.connections === connections && !/KB|MB|mixed/.test(row.what));
  const shown = at(16);
  const alone = new Map(at(1).map((row) => [`${row.subject} ${row.what}`, row]));
  const panels = [
    { title: 'requests a second, 16 connections', of: (row) => row.rps, text: (value) => Math.round(value).toLocaleString('en') },
    { title: 'ms at the median, 1 connection', of: (row) => alone.get(`${row.subject} ${row.what}`)?.p50, text: (value) => value.toFixed(2) },
  ];
  const height = TOP + shown.length * (BAR + GAP) + 34;
  const width = LABEL + panels.length * (WIDE + 70);
  const labels = shown.map((row, n) => `<text class="name" x="${LABEL - 12}" y="${middle(n)}">${label(row)}</text>`);
  const bars = panels.map((panel, n) => barsOf(panel, shown, LABEL + n * (WIDE + 70)));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title">
<title id="title">Requests a second and time per request: Oncegate, the floors below it, and others</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f; dominant-baseline: middle }
.name { text-anchor: end } .head { font-weight: 600 } .note { font-size: 12px; fill: #57606a }
.own { fill: #2f6fde } .floor { fill: #9aa4b2 } .other { fill: #c98a2b }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note { fill: #9198a1 } .own { fill: #58a0ff } .floor { fill: #6e7681 } .other { fill: #d9a44a }
}
</style>
${[...labels, ...bars].join('\n')}
<text class="note" x="${LABEL}" y="${height - 14}">Left: longer is better. Right: shorter is better. Grey: floors, which have no features.</text>
</svg>
`;
}

function barsOf({ title, of, text }, shown, left) {
  const longest = Math.max(...shown.map((row) => of(row) ?? 0), Number.MIN_VALUE);
  const bar = (row, n) => {
    const value = of(row);
    if (value === undefined) return '';
    const length = Math.max(2, (value / longest) * WIDE).toFixed(1);
    const y = TOP + n * (BAR + GAP);
    return `<rect class="${kind(row)}" x="${left}" y="${y}" width="${length}" height="${BAR}" rx="3"/><text x="${left + Number(length) + 6}" y="${middle(n)}">${text(value)}</text>`;
  };
  return [`<text class="head" x="${left}" y="30">${title}</text>`, ...shown.map(bar)].join('\n');
}

const middle = (n) => TOP + n * (BAR + GAP) + BAR / 2;
const label = ({ subject, what }) => (subject === what ? what : `${subject}: ${what}`);
const kind = ({ subject }) => (subject === 'oncegate' ? 'own' : ['floor', 'pass-through'].includes(subject) ? 'floor' : 'other');
