// `npm test`: static checks, then every suite whose needs are there, in the order in which a failure is cheapest to
// find. A suite that cannot run says why in one line and counts as skipped, never as passed; with CI=true it fails.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);
const only = process.argv.slice(2);

/** Suites by kind (shared/DESIGN.md, Tests); `serial`: real ports and engines, one file at a time. */
const suites = [
  { name: 'unit', serial: false },
  { name: 'simulation', serial: false },
  { name: 'golden', serial: true },
  { name: 'chaos', serial: true },
  { name: 'engine', serial: true },
];

const failed = [];
function step(name, command, args) {
  const started = Date.now();
  console.log(`==> ${name}`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`==> ${name}: ${status === 0 ? 'ok' : 'FAILED'} (${seconds} s)`);
  if (status !== 0) failed.push(name);
}

const wanted = (name) => only.length === 0 || only.includes(name);
if (wanted('check')) {
  step('types', bin('tsc'), ['-p', 'tsconfig.json']);
  step('lint', bin('oxlint'), ['--type-aware', '--deny-warnings', 'src', 'test', '.ci']);
  step('format', bin('oxfmt'), ['--check', 'src', 'test', '.ci']);
}
for (const { name, serial } of suites) {
  const folder = join(root, 'test', name);
  if (!wanted(name) || !existsSync(folder) || readdirSync(folder).length === 0) continue;
  step(name, bin('vitest'), ['run', `test/${name}/`, ...(serial ? ['--no-file-parallelism'] : [])]);
}
if (failed.length > 0) {
  console.log(`==> failed: ${failed.join(', ')}`);
  process.exit(1);
}
console.log('==> all passed');
