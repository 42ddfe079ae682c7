/** `npm run bench:gossip [-- --only growth|lifeguard|member] [--quick]` */
import { mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, printSection, progress, type Section, writeReport } from '../support/report.ts';
import type { Chart } from './chart.ts';
import { measureGrowth } from './growth.ts';
import { measureLifeguard } from './lifeguard.ts';
import { measureMember } from './member.ts';

type Measure = (quick: boolean) => Promise<{ readonly section: Section; readonly charts: readonly Chart[] }>;
const measurements: Readonly<Record<string, Measure>> = {
  growth: measureGrowth,
  lifeguard: measureLifeguard,
  member: measureMember,
};

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    /** Small pools and short times, to see that it runs; writes no report. */
    quick: { type: 'boolean', default: false },
  },
});
const wanted = (values.only ?? Object.keys(measurements)).flatMap((names) => names.split(','));
const unknown = wanted.find((name) => measurements[name] === undefined);
if (unknown !== undefined) {
  process.stderr.write(`bench: no measurement "${unknown}"; there are ${Object.keys(measurements).join(', ')}\n`);
  process.exit(2);
}
const root = process.cwd();
const results = join(root, 'test', 'bench', 'results');
const color = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';
const missed: string[] = [];
for (const name of wanted) {
  progress(name);
  const loadAtStart = loadavg()[0]!;
  const { section, charts } = await measurements[name]!(values.quick);
  printSection(section, color);
  missed.push(...section.rows.filter(({ kept }) => kept === false).map(({ cells }) => `${section.title}: ${cells[0]}`));
  if (values.quick) continue;
  // Each part is a report of its own, so that one can be measured again alone.
  mkdirSync(results, { recursive: true });
  for (const chart of charts) writeFileSync(join(results, `${chart.name}.svg`), chart.svg);
  const images = charts.map(({ name, title }) => ({ file: `${name}.svg`, title }));
  const machine = describeMachine(root, loadAtStart);
  writeReport(results, `gossip-${name}`, machine, [{ ...section, images }], `npm run bench:gossip -- --only ${name}`);
}
for (const text of missed) progress(`limit missed: ${text}`);
process.exitCode = missed.length > 0 ? 1 : 0;
