// `npm run bench:servers [-- --quick] [--record name]`: builds the agent, bundles the bench (Node 20 runs no
// TypeScript) and starts it on a copy of the agent, so that a build meanwhile does not change it.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const cache = join(root, '.cache', 'bench');
const agent = join(cache, 'portolan-servers.js');

mkdirSync(cache, { recursive: true });
const given = process.env.PORTOLAN_BUNDLE;
if (given === undefined) {
  const steps = [...(existsSync(join(root, 'node_modules', 'esbuild')) ? [] : ['.ci/setup.mjs']), '.ci/build.mjs'];
  for (const step of steps) {
    const { status } = spawnSync(process.execPath, [step], { cwd: root, stdio: ['ignore', 2, 2] });
    if (status !== 0) process.exit(status ?? 1);
  }
}
copyFileSync(given ?? join(root, 'dist', 'portolan.js'), agent);
const { build } = await import('esbuild');
await build({
  absWorkingDir: root,
  entryPoints: ['test/bench/servers/main.ts'],
  outfile: join(cache, 'servers.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
});
const { status } = spawnSync(process.execPath, [join(cache, 'servers.mjs'), ...process.argv.slice(2)], {
  cwd: root,
  env: { ...process.env, PORTOLAN_BUNDLE: agent },
  stdio: 'inherit',
});
process.exit(status ?? 1);
