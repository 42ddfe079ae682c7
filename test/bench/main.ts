/** `npm run bench [-- --only registration|memory|churn|start|peer] [--quick] [--durable] [--record name]` */
import { existsSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { engineSkipReason } from '../engine/support/dockerd.ts';
import { measureChurn } from './churn.ts';
import { measureMemory } from './memory.ts';
import { measurePeer } from './peer.ts';
import { measureRegistration } from './registration.ts';
import { measureStart } from './start.ts';
import type { Context } from './support/context.ts';
import { describeMachine, printSection, progress, type Section, writeReport } from './support/report.ts';

interface Measurement {
  readonly measure: (context: Context) => Promise<Section>;
  readonly needsEngine: boolean;
}

const measurements: Readonly<Record<string, Measurement>> = {
  registration: { measure: measureRegistration, needsEngine: true },
  memory: { measure: measureMemory, needsEngine: true },
  churn: { measure: measureChurn, needsEngine: true },
  start: { measure: measureStart, needsEngine: false },
  peer: { measure: measurePeer, needsEngine: false },
};

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    durable: { type: 'boolean', default: false },
    /** Name of the report, to be kept in the repository. */
    record: { type: 'string', default: 'latest' },
  },
});
const wanted = (values.only ?? Object.keys(measurements)).flatMap((names) => names.split(','));
const unknown = wanted.find((name) => measurements[name] === undefined);
if (unknown !== undefined) {
  process.stderr.write(`bench: no measurement "${unknown}"; there are ${Object.keys(measurements).join(', ')}\n`);
  process.exit(2);
}
const root = process.cwd();
const bundle = join(root, '.cache', 'bench', 'portolan.js');
if (!existsSync(bundle)) throw new Error('start the bench with: npm run bench');
const context: Context = { root, bundle, quick: values.quick, durable: values.durable };
const color = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';
const loadAtStart = loadavg()[0]!;
const sections: Section[] = [];
for (const name of wanted) {
  const { measure, needsEngine } = measurements[name]!;
  if (needsEngine && engineSkipReason({ own: true }) !== undefined) continue;
  progress(name);
  const section = await measure(context);
  sections.push(section);
  printSection(section, color);
}
const results = join(root, 'test', 'bench', 'results');
writeReport(results, values.record, describeMachine(root, loadAtStart), sections);
const missed = sections.flatMap(({ title, rows }) =>
  rows.filter(({ kept }) => kept === false).map(({ cells }) => `${title}: ${cells[0]}`),
);
for (const text of missed) progress(`limit missed: ${text}`);
process.exitCode = missed.length > 0 ? 1 : 0;
