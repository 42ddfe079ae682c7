// `npm test`: static checks, then every suite whose needs are there, in the order in which a failure is cheapest to
// find. A suite that cannot run says why in one line and counts as skipped, never as passed; with CI=true it fails.
// Suites that mostly wait for other programs run beside each other; each shows what it wrote when it is over.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);
const only = process.argv.slice(2);

/** Suites by kind (shared/DESIGN.md, Tests): real ports and engines take one file at a time. */
const inTurn = ['unit', 'simulation'];
/** A user without root has an answer in some minutes: real peers take a quarter of an hour, most of it in namespaces. */
const withPeers = process.env.CI === 'true' || process.getuid() === 0 || only.includes('interop');
const besideEachOther = withPeers
  ? [['golden', 'chaos'], ['interop'], ['engine']]
  : [['golden'], ['chaos'], ['engine']];
const oneFileAtATime = ['--no-file-parallelism'];

const failed = [];

/** Runs a command; `shown: 'after'` keeps what it writes until it is over. */
async function step(name, command, args, { shown = 'at once' } = {}) {
  const started = Date.now();
  console.log(`==> ${name}${shown === 'after' ? ' (beside others)' : ''}`);
  const output = [];
  const status = await new Promise((resolve) => {
    const pipe = shown === 'after' ? 'pipe' : 'inherit';
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', pipe, pipe] });
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => output.push(chunk));
    child.on('error', (error) => {
      output.push(Buffer.from(`${error.message}\n`));
      resolve(1);
    });
    child.on('close', (code) => resolve(code ?? 1));
  });
  process.stdout.write(Buffer.concat(output));
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`==> ${name}: ${status === 0 ? 'ok' : 'FAILED'} (${seconds} s)`);
  if (status !== 0) failed.push(name);
}

const wanted = (name) => only.length === 0 || only.includes(name);

async function suite(name, flags, options) {
  const folder = join(root, 'test', name);
  if (!wanted(name) || !existsSync(folder) || readdirSync(folder).length === 0) return;
  await step(name, bin('vitest'), ['run', `test/${name}/`, ...flags], options);
}

if (wanted('check')) {
  await step('types', bin('tsc'), ['-p', 'tsconfig.json']);
  await step('lint', bin('oxlint'), ['--type-aware', '--deny-warnings', 'src', 'test', '.ci']);
  await step('format', bin('oxfmt'), ['--check', 'src', 'test', '.ci']);
}
for (const name of inTurn) await suite(name, []);
if (!withPeers && only.length === 0) {
  console.log('==> interop: needs root for most of it; `node test/run.mjs interop` runs the rest (skipped)');
}
const lanes = besideEachOther.map((lane) => lane.filter(wanted)).filter((lane) => lane.length > 0);
const options = lanes.length > 1 ? { shown: 'after' } : {};
await Promise.all(
  lanes.map(async (lane) => {
    for (const name of lane) await suite(name, oneFileAtATime, options);
  }),
);
if (failed.length > 0) {
  console.log(`==> failed: ${failed.join(', ')}`);
  process.exit(1);
}
console.log('==> all passed');
