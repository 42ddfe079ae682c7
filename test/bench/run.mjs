// `npm run bench`: builds the agent, bundles the bench itself (Node 20 runs no TypeScript) and starts it.
// The agent under measurement is a copy, so that a build meanwhile does not change it.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const cache = join(root, '.cache', 'bench');

const steps = [...(existsSync(join(root, 'node_modules', 'esbuild')) ? [] : ['.ci/setup.mjs']), '.ci/build.mjs'];
for (const step of steps) {
  const { status } = spawnSync(process.execPath, [step], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
}
mkdirSync(cache, { recursive: true });
copyFileSync(join(root, 'dist', 'portolan.js'), join(cache, 'portolan.js'));
const { build } = await import('esbuild');
await build({
  absWorkingDir: root,
  entryPoints: ['test/bench/main.ts'],
  outfile: join(cache, 'bench.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
});
const { status } = spawnSync(process.execPath, [join(cache, 'bench.mjs'), ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
process.exit(status ?? 1);
