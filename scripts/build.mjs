// Builds the Worker into build/: `npm run build`, and the [build] command of wrangler.toml.
//
// `--out-dir x` puts it elsewhere, `--features x` is cargo's. A build whose inputs did not change since the last one
// is not done again.

import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CARGO_PROGRESS, ROOT, Stop, TTY, alone, ask, isMain, main, run, say, withoutChatter } from './run.mjs';
import { check } from './check.mjs';
import { parts, sections } from './sizes.mjs';
import { TO_BUILD, npmBin, setUp, tool, toolEnv } from './setup.mjs';

// In Rust's default for Wasm a panic ends the instance and with it every request in flight. Unwinding ends
// the one that panicked. It takes a standard library that is built with it, and for that cargo wants leave
// for options it has not settled: with it the stable compiler does what only a nightly would.
const UNWINDING = {
  RUSTC_BOOTSTRAP: '1',
  CARGO_UNSTABLE_BUILD_STD: 'std,panic_unwind',
  CARGO_UNSTABLE_BUILD_STD_FEATURES: 'panic-unwind,optimize_for_size',
};
const COMPILED = [
  '-Cpanic=unwind',
  // What nobody reads: columns of places, `{:?}`.
  ...['-Zlocation-detail=file,line', '-Zfmt-debug=none'],
];
// A call is larger than what it calls a little longer than opt-level z thinks (5); 15 and 30 are too long. In our own
// crate only, which the others are linked into: a digest is faster with its rounds in one piece. Flags for one crate are
// an option that cargo has not settled either.
const INLINING = { CARGO_UNSTABLE_PROFILE_RUSTFLAGS: 'true' };
const INLINED = ['--config', 'profile.release.package.oncegate.rustflags=["-Cllvm-args=-inline-threshold=10"]'];

const WASM = 'wasm32-unknown-unknown';
const WASM_OPT = [
  ...['--enable-bulk-memory', '--enable-nontrapping-float-to-int', '--enable-sign-ext', '--enable-mutable-globals'],
  ...['--enable-reference-types', '--enable-multivalue', '--enable-exception-handling'],
  // What is inlined once more, or computed once only, compresses worse (6 KB).
  ...['--no-inline=*', '--skip-pass=local-cse'],
  // The linker puts the stack first, so no address is below 1,024.
  '--low-memory-unused',
  // Knowing what cannot throw saves landing pads; the second time there is less that can.
  ...['--generate-global-effects', '-Os', '--generate-global-effects', '-Os'],
];

const INPUTS = ['src', 'Cargo.toml', 'Cargo.lock', 'package-lock.json', 'scripts/build.mjs', 'scripts/sizes.mjs'];
const OUTPUTS = ['index.js', 'index_bg.wasm', 'sizes.json'];

/** Builds if need be; answers the line that says what there is now. */
export async function build(args = []) {
  await setUp(...TO_BUILD);
  const sound = await check();
  if (sound.includes(': warning: ')) say(sound);
  const out = resolve(ROOT, outDir(args));
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

// What comes out of cargo is joined with its JavaScript (`wasm-bindgen` writes rust.js beside entry.js and host.js,
// which `esbuild` puts into one file), and made smaller.
async function workerBuild(out, args) {
  const staging = join(out, '.tmp');
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const wasm = await cargoBuild(args);
  await step('joining Wasm and JavaScript', tool('wasm-bindgen'), [
    ...['--target', 'module', '--no-typescript', '--experimental-reset-state-function'],
    ...['--out-name', 'rust', '--out-dir', staging, wasm],
  ]);
  const glue = join(staging, 'rust.js');
  writeFileSync(glue, forWorkerd(readFileSync(glue, 'utf8')));
  numberImports([join(staging, 'rust_bg.wasm'), glue]);
  for (const name of ['entry.js', 'host.js']) copyFileSync(join(ROOT, 'src', 'edge', name), join(staging, name));
  await step('bundling', npmBin('esbuild'), [
    ...[join(staging, 'entry.js'), '--bundle', '--minify', '--format=esm', '--log-level=warning'],
    ...['--external:cloudflare:*', '--external:./index_bg.wasm', `--outfile=${join(out, 'index.js')}`],
  ]);
  await step('making it smaller', npmBin('wasm-opt'), [...WASM_OPT, '-g', join(staging, 'rust_bg.wasm'), '-o', join(out, 'index_bg.wasm')]);
  rmSync(staging, { recursive: true, force: true });
}

// What wasm-bindgen writes for runtimes that workerd is not, and what is there instead.
const GLUE = [
  // None reads this way of importing yet; the module itself is what workerd gives for it.
  [/^import source (\w+) from "\.\/rust_bg\.wasm"/m, 'import $1 from "./index_bg.wasm"'],
  // Node 20 has no WebAssembly.JSTag, so each import is wrapped, called with `arguments` and its exceptions are made into
  // ones of a tag that stands in for it. workerd has it: Rust catches what an import throws as it is (2 % of a request's
  // time).
  [/(const __wbindgen_jstag_polyfill = )new WebAssembly\.Tag\(.*?\);/, '$1WebAssembly.JSTag;'],
  [/function\(\) \{ return wrapError\((function ?\()/g, '$1'],
  [/\}, arguments\); \},/g, '},'],
];

function forWorkerd(glue) {
  for (const [written, instead] of GLUE) {
    const changed = glue.replace(written, instead);
    if (changed === glue) throw new Stop(`wasm-bindgen writes nothing like ${written} any more: mend GLUE in scripts/build.mjs`);
    glue = changed;
  }
  return glue;
}

// wasm-bindgen tells its imports apart by hashes, which do not compress; numbers of the same length do.
function numberImports(files) {
  const numbers = new Map();
  for (const file of files) {
    const text = readFileSync(file, 'latin1');
    const numbered = text.replace(/__wbg_(\w+)_[0-9a-f]{16}(?!\w)/g, (name, what) => {
      if (!numbers.has(name)) numbers.set(name, String(numbers.size).padStart(16, '0'));
      return `__wbg_${what}_${numbers.get(name)}`;
    });
    writeFileSync(file, numbered, 'latin1');
  }
}

async function cargoBuild(args) {
  const env = toolEnv({
    ...CARGO_PROGRESS,
    ...UNWINDING,
    ...INLINING,
    CARGO_ENCODED_RUSTFLAGS: (await rustFlags()).join('\x1f'),
    CARGO_TERM_COLOR: TTY ? 'always' : 'never',
  });
  const features = args.filter((arg, at) => arg === '--features' || args[at - 1] === '--features');
  const options = ['build', ...INLINED, '--lib', '--release', '--target', WASM, '--target-dir', join(ROOT, 'target'), ...features];
  await step('building the Worker', 'cargo', options, env);
  return join(ROOT, 'target', WASM, 'release', 'oncegate.wasm');
}

async function step(what, command, args, env = toolEnv()) {
  const done = await run(what, command, args, { env, name: 'build', cwd: ROOT });
  if (done.code === 0) return;
  console.error(withoutChatter(done.output));
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

// The names of functions are a sixth of what would be uploaded; a panic names file and line without them.
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

// Dates too: whatever touches them makes the next build a real one.
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
