// Builds the Worker into build/: `npm run build`, and the [build] command of wrangler.toml.
//
// `--out-dir x` puts it elsewhere, `--features x` is cargo's, `--quick` optimises little, to try a change. A build whose inputs did not change since the last one
// is not done again.

import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CARGO_PROGRESS, ROOT, Stop, TTY, alone, ask, isMain, main, run, say, withoutChatter } from './run.mjs';
import { check } from './check.mjs';
import { TO_BUILD, npmBin, setUp, tool, toolEnv } from './setup.mjs';

// By default a panic in Wasm ends the instance and every request in flight with it. Unwinding ends only the request that
// panicked. It needs a standard library compiled for it, and cargo builds that only as an unstable feature;
// RUSTC_BOOTSTRAP lets the stable compiler do it, so that no nightly has to be installed. This is the one unstable option.
const UNWINDING = {
  RUSTC_BOOTSTRAP: '1',
  CARGO_UNSTABLE_BUILD_STD: 'std,panic_unwind',
  CARGO_UNSTABLE_BUILD_STD_FEATURES: 'panic-unwind',
};

const WASM = 'wasm32-unknown-unknown';

const INPUTS = ['src', 'Cargo.toml', 'Cargo.lock', 'package-lock.json', 'scripts/build.mjs'];
const OUTPUTS = ['index.js', 'index_bg.wasm'];

/** Builds if an input has changed; returns a line that says what was built. */
export async function build(args = []) {
  await setUp(...TO_BUILD);
  const found = await check();
  // Other commands build too, and serve a configuration of their own.
  if (isMain(import.meta.url) && found.includes(': warning: ')) say(found);
  const out = resolve(ROOT, outDir(args));
  return alone('build', async () => {
    const inputs = digestInputs(args);
    if (isBuilt(out, inputs)) return `${sizeLine(out)}, up to date`;
    await workerBuild(out, args);
    const line = `built ${sizeLine(out)}`;
    writeFileSync(join(out, '.inputs'), `${inputs} ${digestOutputs(out)}`);
    return line;
  });
}

// cargo compiles, wasm-bindgen writes the JavaScript that goes with the Wasm (rust.js), esbuild joins it with entry.js and
// host.js, wasm-opt optimises the Wasm.
async function workerBuild(out, args) {
  const staging = join(out, '.tmp');
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const wasm = await cargoBuild(args);
  await step('joining Wasm and JavaScript', tool('wasm-bindgen'), [
    ...['--target', 'web', '--no-typescript', '--experimental-reset-state-function'],
    ...['--out-name', 'rust', '--out-dir', staging, wasm],
  ]);
  for (const name of ['entry.js', 'host.js']) copyFileSync(join(ROOT, 'src', 'cloudflare', name), join(staging, name));
  await step('bundling', npmBin('esbuild'), [
    ...[join(staging, 'entry.js'), '--bundle', '--minify', '--format=esm', '--log-level=warning'],
    ...['--external:cloudflare:*', '--external:./index_bg.wasm', `--outfile=${join(out, 'index.js')}`],
  ]);
  const [bound, built] = [join(staging, 'rust_bg.wasm'), join(out, 'index_bg.wasm')];
  if (args.includes('--quick')) copyFileSync(bound, built);
  else await step('optimising the Wasm', npmBin('wasm-opt'), ['-O3', bound, '-o', built]);
  rmSync(staging, { recursive: true, force: true });
}

async function cargoBuild(args) {
  const env = toolEnv({
    ...CARGO_PROGRESS,
    ...UNWINDING,
    CARGO_ENCODED_RUSTFLAGS: (await rustFlags()).join('\x1f'),
    CARGO_TERM_COLOR: TTY ? 'always' : 'never',
  });
  const features = args.filter((arg, at) => arg === '--features' || args[at - 1] === '--features');
  const profile = args.includes('--quick') ? 'quick' : 'release';
  const options = ['build', '--lib', '--profile', profile, '--target', WASM, '--target-dir', join(ROOT, 'target'), ...features];
  await step('building the Worker', 'cargo', options, env);
  return join(ROOT, 'target', WASM, profile, 'oncegate.wasm');
}

async function step(what, command, args, env = toolEnv()) {
  const done = await run(what, command, args, { env, name: 'build', cwd: ROOT });
  if (done.code === 0) return;
  console.error(withoutChatter(done.output));
  throw new Stop(`the Worker does not build: see above (all output in ${done.log})`);
}

// A panic's place in the log is a path within the standard library or a crate, without this machine's folders.
async function rustFlags() {
  const sysroot = await ask('rustc', ['--print', 'sysroot']);
  const crates = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'registry', 'src');
  const roots = [join(sysroot, 'lib', 'rustlib', 'src', 'rust', 'library'), crates];
  const own = process.env.RUSTFLAGS?.split(' ').filter(Boolean) ?? [];
  return [...own, '-Cpanic=unwind', ...roots.map((root) => `--remap-path-prefix=${root}/=`)];
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

// The dates of the outputs: if anything else has written to them, the next build is done.
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
