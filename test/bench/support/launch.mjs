// What every bench and some tests need first: their own TypeScript bundled (Node 20 runs none), and a copy of the agent,
// so that a build meanwhile does not change what is measured.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const cache = join(root, '.cache', 'bench');

function prepare(step) {
  const { status } = spawnSync(process.execPath, [step], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
}

/** Installs what the project needs, unless that was done. */
function setUp() {
  if (!existsSync(join(root, 'node_modules', 'esbuild'))) prepare('.ci/setup.mjs');
}

/** Builds the agent, or takes the one of PORTOLAN_BUNDLE. @returns the path of a copy of this name */
export function copyOfAgent(name) {
  setUp();
  const given = process.env.PORTOLAN_BUNDLE;
  if (given === undefined) prepare('.ci/build.mjs');
  mkdirSync(cache, { recursive: true });
  const copy = join(cache, name);
  copyFileSync(given ?? join(root, 'dist', 'portolan.js'), copy);
  return copy;
}

/** Makes `<name>.mjs` of each entry point, given by name. @returns the folder of them */
export async function bundle(entryPoints, outdir = cache) {
  setUp();
  const { build } = await import('esbuild');
  await build({
    absWorkingDir: root,
    entryPoints,
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  });
  return outdir;
}

/** Runs a bundle with this command's arguments to its end, and ends with its code. */
export function launch(path, { flags = [], env = {} } = {}) {
  const { status } = spawnSync(process.execPath, [...flags, path, ...process.argv.slice(2)], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: 'inherit',
  });
  process.exit(status ?? 1);
}
