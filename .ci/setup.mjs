// What `npm start` and `npm test` do first: install packages when the lock file asks for others than are there, and
// build the bundle when a source is newer. Does nothing, quickly, when all is in place. Plain Node only: it runs
// before any package exists.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const stamp = join(root, 'node_modules', '.portolan-lock');

function run(what, command, args) {
  console.error(`==> ${what}`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) {
    console.error(`==> ${what} failed (exit code ${status}). Command: ${command} ${args.join(' ')}`);
    process.exit(1);
  }
}

function newestMtimeMs(dir) {
  let newest = 0;
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    newest = Math.max(newest, entry.isDirectory() ? newestMtimeMs(path) : statSync(path).mtimeMs);
  }
  return newest;
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`==> Portolan needs Node.js 20.19 or newer (24 preferred); this is ${process.version}.`);
  process.exit(1);
}

function bundleIsFresh() {
  const bundle = join(root, 'dist', 'portolan.js');
  if (!existsSync(bundle)) return false;
  const inputs = [join(root, 'package.json'), join(root, '.ci', 'build.mjs')].map((file) => statSync(file).mtimeMs);
  return statSync(bundle).mtimeMs >= Math.max(newestMtimeMs(join(root, 'src')), ...inputs);
}

function installPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  // Not `npm ci`: it refuses a lock file that lacks packages for platforms the registry at hand does not carry.
  run('Installing packages', 'npm', [
    'install',
    '--no-save',
    '--include=dev',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
  writeFileSync(stamp, lock);
}

// --bundle: only the bundle matters (the image); --build: packages and bundle; otherwise: packages.
if (process.argv.includes('--bundle') && bundleIsFresh()) process.exit(0);
installPackages();
if (process.argv.includes('--build') || process.argv.includes('--bundle')) {
  if (!bundleIsFresh()) run('Building dist/portolan.js', process.execPath, ['.ci/build.mjs']);
}
