// Fuzzing: a minute for each target, or for those that are named. It needs Rust and a C++ compiler, nothing else.
//
//   node fuzz/run.mjs                      every target, 60 s each (ONCEGATE_FUZZ_SECONDS for another span)
//   node fuzz/run.mjs key wire             these
//   node fuzz/run.mjs key some/input …     plays saved inputs, once each
//   node fuzz/run.mjs --keep [target …]    takes a dozen of the inputs that reach more than the corpus into it
//
// What a run finds lies in .tools/fuzz/<target>, and the next one goes on from there. An input that fails is
// saved as .tools/fuzz/<target>-crash-…: mend what it found, and put it into fuzz/corpus/<target> by a name that
// says what it is; `npm test` plays it from then on.

import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CARGO_PROGRESS, ROOT, Stop, TOOLS, ask, childEnv, main, run, say, withoutChatter } from '../scripts/run.mjs';
import { setUp } from '../scripts/setup.mjs';

const FUZZ = join(ROOT, 'fuzz');
const FOUND = join(TOOLS, 'fuzz');
const TARGETS = readdirSync(join(FUZZ, 'targets')).map((name) => name.replace(/\.rs$/, '')).sort();
// One input may take so long and so much: thousands of times what any takes.
const BOUNDS = ['-timeout=10', '-rss_limit_mb=1024', '-max_len=4096'];
// The corpus stays small: it is read by people, and played in every `npm test`.
const KEPT_BYTES_MAX = 1024;
const KEPT_AT_ONCE = 12;

async function fuzz(args) {
  const keep = args.includes('--keep');
  const named = args.filter((arg) => TARGETS.includes(arg));
  const inputs = args.filter((arg) => existsSync(arg) && !TARGETS.includes(arg));
  const unknown = args.find((arg) => arg !== '--keep' && !named.includes(arg) && !inputs.includes(arg));
  if (unknown) throw new Stop(`no target and no file "${unknown}": there are ${TARGETS.join(', ')}`);
  const bin = await build();
  const targets = named.length ? named : TARGETS;
  let failed = 0;
  for (const target of targets) {
    if (inputs.length) failed += await play(bin, target, inputs);
    else if (keep) await merge(bin, target);
    else failed += await search(bin, target);
  }
  if (failed) throw new Stop(`${failed} of ${targets.length} targets failed: mend what the saved inputs show`);
}

/** Builds all targets with the flags of fuzz/.cargo/config.toml; answers their folder. */
async function build() {
  await setUp('rust');
  const host = (await ask('rustc', ['-vV']))?.match(/^host: (.+)$/m)?.[1];
  // The flags are in the file: what the environment has would stand in for them.
  const env = { ...childEnv(CARGO_PROGRESS), RUSTFLAGS: undefined, CARGO_ENCODED_RUSTFLAGS: undefined, CARGO_TARGET_DIR: join(FUZZ, 'target') };
  const config = join(FUZZ, '.cargo', 'config.toml');
  const args = ['--config', config, 'build', '--release', '--locked', '--manifest-path', join(FUZZ, 'Cargo.toml')];
  const { code, output, log } = await run('building the fuzz targets', 'cargo', args, { env, name: 'fuzz-build' });
  if (code !== 0) {
    console.error(withoutChatter(output));
    throw new Stop(`the fuzz targets do not build: is there a C++ compiler? (all output in ${log})`);
  }
  return join(FUZZ, 'target', host, 'release');
}

async function search(bin, target) {
  const seconds = Number(process.env.ONCEGATE_FUZZ_SECONDS ?? 60);
  const found = join(FOUND, target);
  mkdirSync(found, { recursive: true });
  const args = [`-max_total_time=${seconds}`, ...BOUNDS, `-artifact_prefix=${found}-`, '-print_final_stats=1'];
  const { code, output, log } = await run(`fuzzing ${target}`, join(bin, target), [...args, found, join(FUZZ, 'corpus', target)], { name: `fuzz-${target}` });
  const stat = (name) => Number(output.match(new RegExp(`^stat::${name}:\\s+(\\d+)`, 'm'))?.[1] ?? 0);
  const reached = [...output.matchAll(/ cov: (\d+) ft: (\d+) corp: (\d+)/g)].at(-1) ?? [];
  const crashes = code === 0 ? 0 : 1;
  const [cov, features, corpus] = reached.slice(1).map(Number);
  const runs = stat('number_of_executed_units');
  say(`figures: ${JSON.stringify({ part: 'fuzz', target, runs, per_second: stat('average_exec_per_sec'), seconds, edges: cov, features, corpus, crashes })}`);
  if (crashes) say(`FAILED ${target}: ${why(output)} (all output in ${log})`);
  return crashes;
}

/** What was said where it failed, and the input. */
function why(output) {
  const said = output.match(/panicked at [^\n]*\n[^\n]*/)?.[0] ?? output.match(/^.*ERROR: libFuzzer.*$/m)?.[0] ?? 'it ended early';
  const input = output.match(/Test unit written to (\S+)/)?.[1];
  return `${said.slice(0, 400)}; input: ${input ?? 'none'}`;
}

async function play(bin, target, inputs) {
  const { code, output, log } = await run(`playing ${target}`, join(bin, target), [...BOUNDS, ...inputs], { name: `fuzz-${target}` });
  say(code === 0 ? `ok ${target}: ${inputs.length} inputs` : `FAILED ${target}: ${why(output)} (all output in ${log})`);
  return code === 0 ? 0 : 1;
}

/** Takes into the corpus those of the found inputs that reach the most branches beyond it, a few at a time. */
async function merge(bin, target) {
  const into = join(FUZZ, 'corpus', target);
  const merged = join(FOUND, `${target}-merged`);
  rmSync(merged, { recursive: true, force: true });
  cpSync(into, merged, { recursive: true });
  const args = ['-set_cover_merge=1', '-use_counters=0', `-max_len=${KEPT_BYTES_MAX}`, merged, join(FOUND, target)];
  const { code, log } = await run(`merging ${target}`, join(bin, target), args, { name: `fuzz-${target}` });
  if (code !== 0) throw new Stop(`${target} could not be merged (all output in ${log})`);
  // They are written in the order of what they add.
  const written = (name) => statSync(join(merged, name), { bigint: true }).mtimeNs;
  const added = readdirSync(merged).filter((name) => !existsSync(join(into, name)));
  added.sort((one, other) => (written(one) < written(other) ? -1 : 1));
  for (const name of added.slice(0, KEPT_AT_ONCE)) copyFileSync(join(merged, name), join(into, name));
  rmSync(merged, { recursive: true });
  say(`${target}: ${Math.min(added.length, KEPT_AT_ONCE)} of ${added.length} taken, now ${readdirSync(into).length}`);
}

await main(() => fuzz(process.argv.slice(2)));
