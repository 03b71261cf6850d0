// Builds the Worker into build/: `npm run build`, and the [build] command of wrangler.toml.
//
// Arguments go on to worker-build, its own (--out-dir, --dev) before cargo's (--features x). A build
// whose inputs did not change since the last one is not done again.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CARGO_PROGRESS, ROOT, Stop, TTY, alone, ask, isMain, main, run, say, withoutChatter } from './run.mjs';
import { check } from './check.mjs';
import { parts, sections } from './sizes.mjs';
import { TO_BUILD, npmBin, setUp, tool, toolEnv } from './setup.mjs';

// In Rust's default for Wasm a panic ends the instance and with it every request in flight. Unwinding ends
// the one that panicked. It takes a standard library that is built with it, and for that cargo wants leave
// for options it has not settled: with it the stable compiler does what only a nightly would. (worker-build's
// own --panic-unwind does the same with a nightly, which the tests would then not be run with.)
const UNWINDING = {
  RUSTC_BOOTSTRAP: '1',
  CARGO_UNSTABLE_BUILD_STD: 'std,panic_unwind',
  CARGO_UNSTABLE_BUILD_STD_FEATURES: 'panic-unwind,optimize_for_size',
};
// What nobody reads: columns of places, `{:?}`.
const COMPILED = ['-Cpanic=unwind', '-Zlocation-detail=file,line', '-Zfmt-debug=none'];

const INPUTS = ['src', 'Cargo.toml', 'Cargo.lock', 'package-lock.json', 'scripts/build.mjs', 'scripts/sizes.mjs'];
const OUTPUTS = ['index.js', 'index_bg.wasm', 'sizes.json'];

/** Builds if need be; answers the line that says what there is now. */
export async function build(args = []) {
  await setUp(...TO_BUILD);
  const sound = await check();
  if (sound.includes(': warning: ')) say(sound);
  const out = resolve(ROOT, outDir(args));
  // worker-build's own lock has a gap at its very start; this one has none.
  return alone('build', async () => {
    const inputs = digestInputs(args);
    if (isBuilt(out, inputs)) return `${sizeLine(out)}, up to date`;
    await workerBuild(out, args);
    const wasm = join(out, 'index_bg.wasm');
    const made = parts(readFileSync(wasm));
    stripNames(wasm);
    writeFileSync(join(out, 'sizes.json'), JSON.stringify({ gzipped: gzipped(wasm), parts: made }));
    const line = `built ${sizeLine(out)}`;
    writeFileSync(join(out, '.inputs'), `${inputs} ${digestOutputs(out)}`);
    return line;
  });
}

async function workerBuild(out, args) {
  const profile = args.some((arg) => /^--(dev|debug|release|profiling|profile(=.*)?)$/.test(arg)) ? [] : ['--release'];
  const env = toolEnv({
    ...CARGO_PROGRESS,
    ...UNWINDING,
    CARGO_ENCODED_RUSTFLAGS: (await rustFlags()).join('\x1f'),
    CARGO_TERM_COLOR: TTY ? 'always' : 'never',
    // A failure is the compiler's to explain, not worker-build's stack.
    RUST_BACKTRACE: '0',
    // Without these worker-build downloads its own.
    WASM_BINDGEN_BIN: tool('wasm-bindgen'),
    WASM_OPT_BIN: npmBin('wasm-opt'),
    ESBUILD_BIN: npmBin('esbuild'),
  });
  const done = await run('building the Worker', tool('worker-build'), [...profile, ...args], { env, name: 'build' });
  if (done.code === 0) return;
  // What it leaves behind would pass for a running build for five seconds.
  rmSync(join(out, '.tmp'), { recursive: true, force: true });
  console.error(withoutChatter(done.output).replace(/^Error: Compiling your crate[^]*/m, ''));
  throw new Stop(`the Worker does not build: see above (all output in ${done.log})`);
}

// Places are told from the roots of the standard library and of the crates, wherever those lie here.
async function rustFlags() {
  const sysroot = await ask('rustc', ['--print', 'sysroot']);
  const crates = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'registry', 'src');
  const roots = [join(sysroot, 'lib', 'rustlib', 'src', 'rust', 'library'), crates];
  const own = process.env.RUSTFLAGS?.split(' ').filter(Boolean) ?? [];
  return [...own, ...COMPILED, ...roots.map((root) => `--remap-path-prefix=${root}/=`)];
}

// worker-build keeps the names of functions, a sixth of what is uploaded; a panic names file and line
// without them.
function stripNames(file) {
  const wasm = readFileSync(file);
  const kept = [...sections(wasm)].filter(({ name }) => name !== 'name');
  writeFileSync(file, Buffer.concat([wasm.subarray(0, 8), ...kept.map(({ start, end }) => wasm.subarray(start, end))]));
}

const gzipped = (file) => gzipSync(readFileSync(file), { level: 9 }).length;

function sizeLine(out) {
  const wasm = join(out, 'index_bg.wasm');
  return `${relative(ROOT, wasm)}, ${Math.round(gzipped(wasm) / 1024)} KB gzipped`;
}

function outDir(args) {
  const at = args.findIndex((arg) => arg === '--out-dir' || arg === '-d');
  return at >= 0 ? args[at + 1] : 'build';
}

function isBuilt(out, inputs) {
  if (![...OUTPUTS, '.inputs'].every((name) => existsSync(join(out, name)))) return false;
  return readFileSync(join(out, '.inputs'), 'utf8') === `${inputs} ${digestOutputs(out)}`;
}

function digestInputs(args) {
  const hash = createHash('sha256').update(JSON.stringify([args, process.env.RUSTFLAGS ?? '']));
  for (const file of INPUTS.flatMap(filesIn)) hash.update(`\0${file}\0`).update(readFileSync(join(ROOT, file)));
  return hash.digest('hex');
}

// Dates too: whoever calls worker-build directly makes the next build here a real one.
function digestOutputs(out) {
  return OUTPUTS.map((name) => statSync(join(out, name)).mtimeMs).join(' ');
}

function filesIn(path) {
  if (!statSync(join(ROOT, path)).isDirectory()) return [path];
  return readdirSync(join(ROOT, path))
    .sort()
    .flatMap((name) => filesIn(`${path}/${name}`));
}

if (isMain(import.meta.url)) {
  await main(async () => say(await build(process.argv.slice(2))));
}
