// `npm run bench:gossip [-- --only growth|lifeguard|member] [--quick]`: bundles the bench (Node 20 runs no TypeScript)
// and starts it. Thousands of members in one process hold millions of records, so the heap is made large.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const cache = join(root, '.cache', 'bench');
if (!existsSync(join(root, 'node_modules', 'esbuild'))) {
  const { status } = spawnSync(process.execPath, ['.ci/setup.mjs'], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
}
const { build } = await import('esbuild');
await build({
  absWorkingDir: root,
  entryPoints: { gossip: 'test/bench/gossip/main.ts', 'gossip-member': 'test/bench/gossip/member-process.ts' },
  outdir: cache,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
});
const heap = ['--max-old-space-size=16000', '--max-semi-space-size=256'];
const { status } = spawnSync(process.execPath, [...heap, join(cache, 'gossip.mjs'), ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
process.exit(status ?? 1);
