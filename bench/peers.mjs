// Other filters that run on this runtime, as their authors publish them, each with an adapter in bench/peers.
//
// Their sources are cloned into .tools/peers and bundled there with what they import; none of it is part of this
// repository. What each of them does and leaves out differs: beside their speed belongs docs/performance.md's note.

import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, Stop, TOOLS, ask, run } from '../scripts/run.mjs';
import { npmBin } from '../scripts/setup.mjs';
import { GUARDED } from './subjects.mjs';

const FOLDER = join(TOOLS, 'peers');

const PEERS = {
  ldclabs: {
    from: ['ldclabs/idempotent-proxy', '9f0e316b51a62f2065a12d6f2962082510cbc58b'],
    // Its replies last as long as its timeout. It answers 200 whatever the origin answered.
    subject: {
      vars: (origin) => ({ POLL_INTERVAL: 100, REQUEST_TIMEOUT: 3_600_000, ALLOW_AGENTS: [], URL_PAYMENTS: origin.url + GUARDED }),
      objects: { CACHER: 'Cacher' },
      plainStorage: true,
      path: '/URL_PAYMENTS',
      status: 200,
    },
  },
  'hono-idempotency': {
    from: ['paveg/hono-idempotency', '6d6a07571c1b60bc369bce2386754219b8fce024'],
    subject: { objects: { KEYS: 'Keys' } },
  },
  'hono-crud': {
    from: ['kshdotdev/hono-crud', 'cc0c9fbe5dd6b296b900823830d589948d6cc86d'],
    aliases: { 'hono-crud/internal': 'packages/core/src/internal.ts' },
    subject: { objects: { KEYS: 'IdempotencyDurableObject' } },
  },
};

// What they import, in the versions that their lock files allow.
const PACKAGES = {
  hono: '4.13.19', zod: '4.3.5', '@hono/zod-openapi': '1.2.0', cborg: '4.2.4', '@noble/curves': '1.6.0', '@noble/hashes': '1.5.0',
};

/** The peers as subjects by name; those that cannot be had are told, and left out. */
export async function peers(tell) {
  mkdirSync(FOLDER, { recursive: true });
  if (!Object.keys(PACKAGES).every((name) => existsSync(join(FOLDER, 'node_modules', name)))) {
    const wanted = Object.entries(PACKAGES).map((pair) => pair.join('@'));
    const args = ['install', '--prefix', FOLDER, '--no-save', '--no-package-lock', '--no-audit', '--no-fund', ...wanted];
    const done = await run('installing what the peers import into .tools/peers', 'npm', args, { announce: true, name: 'bench-peers' });
    if (done.code !== 0) throw new Stop(`npm failed: is the network there? Then run this again (output in ${done.log})`);
  }
  const found = {};
  for (const [name, peer] of Object.entries(PEERS)) {
    try {
      const bundle = await bundled(name, peer);
      found[name] = () => ({ ...peer.subject, modules: [{ name: 'index.js', esModule: bundle }], filters: true });
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      tell(`without ${name}: ${error.message}`);
    }
  }
  return found;
}

async function bundled(name, { from: [repository, commit], aliases = {} }) {
  const clone = join(FOLDER, name);
  if (!existsSync(clone)) {
    const done = await run(`cloning ${repository}`, 'git', ['clone', '--quiet', `https://github.com/${repository}`, clone], { announce: true, name: `bench-${name}` });
    if (done.code !== 0) throw new Stop(`https://github.com/${repository} cannot be cloned into ${clone} (output in ${done.log})`);
  }
  if ((await ask('git', ['-C', clone, 'checkout', '--quiet', commit])) === null) throw new Stop(`${clone} has no commit ${commit}`);
  const bundle = join(FOLDER, `${name}.bundle.mjs`);
  const args = [
    join(ROOT, 'bench', 'peers', `${name}.mjs`), '--bundle', '--format=esm', '--target=esnext', '--conditions=workerd,worker,import',
    '--external:cloudflare:*', '--external:node:*', `--outfile=${bundle}`, `--alias:peer=${clone}`,
    ...Object.entries(aliases).map(([module, file]) => `--alias:${module}=${join(clone, file)}`),
  ];
  // Packages are looked for beside the clones, for the adapters too.
  const env = { ...process.env, NODE_PATH: join(FOLDER, 'node_modules') };
  const done = await run(`bundling ${name}`, npmBin('esbuild'), args, { env, name: `bench-${name}` });
  if (done.code !== 0) throw new Stop(`it cannot be bundled (output in ${done.log})`);
  return bundle;
}
