// Reads wrangler.toml as the Worker will, without starting anything: `npm run check`, and part of every
// build. Another file may be named: npm run check -- other.toml

import { ROOT, Stop, childEnv, isMain, main, run, say, withoutChatter } from './run.mjs';
import { setUp } from './setup.mjs';

const CHECK = ['run', '--no-default-features', '--features', 'check', '--bin', 'check', '--'];

/** Checks a configuration; returns its errors and warnings as text. */
export async function check(file = 'wrangler.toml') {
  await setUp('rust');
  const done = await run('checking the configuration', 'cargo', [...CHECK, file], { env: childEnv(), name: 'check' });
  const found = withoutChatter(done.output).split('\n').filter((line) => line.startsWith(file)).join('\n');
  if (done.code === 0) return found;
  console.error(found || withoutChatter(done.output));
  throw new Stop(`${file} is not sound: mend what is named above (docs: README, "Knobs")`);
}

if (isMain(import.meta.url)) await main(async () => say(await check(process.argv[2])));
