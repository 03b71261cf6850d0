// What is measured, each in a runtime of its own: plain `workerd serve`, real sockets, objects on a real file system.
//
// What a Worker prints goes to /dev/null for all of them alike: in production it goes into a buffer.

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { ROOT, Stop, TOOLS, ask, run } from '../scripts/run.mjs';

export const SHARDS = 16;
/** The path that Oncegate and the floors guard, and one that Oncegate does not. */
export const GUARDED = '/v1/payments';
export const UNGUARDED = '/open/payments';

const BENCH = join(ROOT, 'bench');
const TMPFS = '/dev/shm';

/**
 * The subjects by name: their modules, what they bind beside ORIGIN, and how they differ: `filters` if keys count,
 * `marks` if answers say what became of them as Oncegate's do, `path` where they guard another, `status` where they
 * answer another than the origin's 201.
 */
export const SUBJECTS = {
  'pass-through': () => ({ modules: [script('floors/pass-through.mjs')] }),
  floor: () => ({
    modules: [script('floors/calls.mjs')],
    vars: { SHARDS, SQL: statements() },
    objects: { LEDGER: 'Ledger' },
    filters: true,
    marks: true,
  }),
  oncegate: () => oncegate(join(ROOT, 'build')),
  hello: () => ({ modules: [script('floors/hello.mjs')] }),
};

/** Oncegate as it was built into a folder: index.js, and the Wasm that it imports from beside it. */
export function oncegate(build) {
  const wasm = existsSync(build) ? readdirSync(build).filter((name) => name.endsWith('.wasm')) : [];
  if (!wasm.length) throw new Stop(`no Worker in ${build}: run "npm run build" there`);
  const ROUTES = [{ name: 'payments', methods: ['POST'], path: '/v1/{*rest}' }];
  return {
    modules: [script(join(build, 'index.js')), ...wasm.map((name) => ({ name, wasm: join(build, name) }))],
    vars: { SHARDS, ROUTES },
    objects: { LEDGER: 'Ledger' },
    filters: true,
    marks: true,
  };
}

export const script = (file) => ({ name: 'index.js', esModule: resolve(BENCH, file) });

/** Starts a subject before an origin; resolves when it listens. `disk`: objects on the disk and not in memory. */
export async function start(subject, origin, { disk = false } = {}) {
  const directory = mkdtempSync(join(!disk && existsSync(TMPFS) ? TMPFS : tmpdir(), 'oncegate-bench-'));
  directories.add(directory);
  mkdirSync(join(directory, 'objects'));
  const config = join(directory, 'config.capnp');
  writeFileSync(config, capnp(subject, origin, join(directory, 'objects')));
  const args = ['serve', '--control-fd=3', '--import-path=/', config];
  const child = spawnOn(RUNTIME_CORES, workerd(), args, ['ignore', 'ignore', 'ignore', 'pipe']);
  const port = await new Promise((found, failed) => {
    child.once('exit', (code) => failed(new Stop(`workerd ended with ${code}: run "workerd ${args.join(' ')}" to see why`)));
    child.stdio[3].once('data', (line) => found(JSON.parse(String(line).split('\n')[0]).port));
  });
  return {
    port,
    subject,
    get cpuMs() {
      return cpuMs(child.pid);
    },
    get megabytes() {
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) / 1024;
    },
    async stop() {
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await ended;
      remove(directory);
    },
  };
}

/** Builds and starts the origin. */
export async function startOrigin() {
  const binary = join(TOOLS, 'bench', 'origin');
  mkdirSync(join(TOOLS, 'bench'), { recursive: true });
  const source = join(BENCH, 'origin.rs');
  const done = await run('building the origin', 'rustc', ['--edition', '2024', '-O', source, '-o', binary], { name: 'bench-origin' });
  if (done.code !== 0) throw new Stop(`the origin does not build (output in ${done.log})`);
  const child = spawnOn(LOAD_CORES, binary, [], ['ignore', 'pipe', 'inherit']);
  const port = await new Promise((found) => child.stdout.once('data', (line) => found(Number(line))));
  const ask = async (path) => (await fetch(`http://127.0.0.1:${port}${path}`)).json();
  return {
    url: `http://127.0.0.1:${port}`,
    /** How many requests it has answered. */
    count: async () => (await ask('/count')).count,
    /** See `storm` in origin.rs. */
    storm: (port, clients, key) => ask(`/storm/${port}/${clients}/${key}`),
    stop: () => child.kill('SIGKILL'),
  };
}

// The runtime has a core to itself, load and origin share the others: nobody who is measured waits for somebody who
// measures. `ONCEGATE_BENCH_PIN=no` leaves it to the scheduler.
const CORES = availableParallelism();
const HAS_PINS = CORES > 1 && process.env.ONCEGATE_BENCH_PIN !== 'no' && (await ask('taskset', ['--version'])) !== null;
const RUNTIME_CORES = `${CORES - 1}`;
export const LOAD_CORES = CORES > 2 ? `0-${CORES - 2}` : '0';
export const where = () => (existsSync(TMPFS) ? 'tmpfs' : tmpdir());
export const pins = () => (HAS_PINS ? `runtime on core ${RUNTIME_CORES}, load and origin on ${LOAD_CORES}` : 'no pinning');

const children = new Set();
const directories = new Set();
const remove = (directory) => {
  rmSync(directory, { recursive: true, force: true });
  directories.delete(directory);
};
process.on('exit', () => {
  children.forEach((child) => child.kill('SIGKILL'));
  directories.forEach(remove);
});

/** Starts a program on these cores. */
export function spawnOn(cores, command, args, stdio) {
  const [program, ...rest] = HAS_PINS ? ['taskset', '-c', cores, command, ...args] : [command, ...args];
  const child = spawn(program, rest, { stdio });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

// Time of the whole process, in user and kernel: exact where the kernel keeps it per thread (none of the runtime's ends
// while it runs), else in ticks of 10 ms (proc(5), fields 14 and 15).
function cpuMs(pid) {
  if (existsSync(`/proc/${pid}/schedstat`)) {
    const threads = readdirSync(`/proc/${pid}/task`).map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8'));
    return threads.reduce((sum, stat) => sum + Number(stat.split(' ')[0]), 0) / 1e6;
  }
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

// The platform's own binary: bin/workerd may be a script around it.
const workerd = () => createRequire(createRequire(join(ROOT, 'package.json')).resolve('wrangler'))('workerd').default;

/** The statements of the Ledger's store, for the floor that executes the same. */
function statements() {
  const files = ['store.rs', 'store/event_rows.rs'];
  const read = (...path) => readFileSync(join(ROOT, 'src', 'cloudflare', ...path), 'utf8');
  // A statement put together by `concat!` with the number of `small!` in it reads like one text.
  const small = /^macro_rules! small \{[^}]*?(\d+)/m.exec(read('mod.rs'))[1];
  const written = files.map((file) => read('ledger', file)).join('\n');
  const source = written.replace(/",\s*small!\(\),\s*"/g, small).replace(/concat!\(\s*("[^"]*")\s*\)/g, '$1');
  const statement = (name) => {
    const found = new RegExp(`^const ${name}: &str\\s*=\\s*"((?:[^"\\\\]|\\\\\\n)*)";`, 'm').exec(source);
    if (!found) throw new Stop(`src/cloudflare/ledger/store.rs and store/ have no statement ${name}: bench/floors/calls.mjs must execute what is there now`);
    return found[1].replace(/\\\n\s*/g, '');
  };
  const own = Object.fromEntries(['FIND_FOR_CLAIM', 'INSERT', 'FIND', 'COMPLETE'].map((name) => [name, statement(name)]));
  return { create: ['CREATE_RECORDS', 'CREATE_OPERATIONS'].map(statement), ...own };
}

/** The config of the runtime, in Cap'n Proto's text form. */
function capnp({ modules, vars = {}, objects = {}, plainStorage = false }, origin, disk) {
  const text = (value) => JSON.stringify(value);
  const json = (value) => text(JSON.stringify(value));
  const module = ({ name, esModule, wasm }) => `(name = ${text(name)}, ${esModule ? 'esModule' : 'wasm'} = embed ${text(esModule ?? wasm)})`;
  const wrangler = readFileSync(join(ROOT, 'wrangler.toml'), 'utf8');
  const date = /^compatibility_date\s*=\s*"(.+?)"/m.exec(wrangler)[1];
  const bindings = [
    `(name = "ORIGIN", text = ${text(origin.url)})`,
    ...Object.entries(typeof vars === 'function' ? vars(origin) : vars).map(([name, value]) => `(name = ${text(name)}, json = ${json(value)})`),
    ...Object.entries(objects).map(([name, of]) => `(name = ${text(name)}, durableObjectNamespace = ${text(of)})`),
  ];
  const classes = Object.values(objects).map((of) => `(className = ${text(of)}, uniqueKey = ${text(of)}, enableSql = ${!plainStorage})`);
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [${modules.map(module).join(', ')}],
      compatibilityDate = ${text(date)},
      bindings = [${bindings.join(', ')}],
      durableObjectNamespaces = [${classes.join(', ')}],
      durableObjectStorage = (localDisk = "disk"),
    )),
    (name = "disk", disk = (path = ${text(disk)}, writable = true)),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;
}
