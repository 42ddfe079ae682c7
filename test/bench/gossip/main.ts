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
const loadAtStart = loadavg()[0]!;
const sections: Section[] = [];
for (const name of wanted) {
  progress(name);
  const { section, charts } = await measurements[name]!(values.quick);
  sections.push({ ...section, images: charts.map(({ name, title }) => ({ file: `${name}.svg`, title })) });
  printSection(section, color);
  if (values.quick) continue;
  mkdirSync(results, { recursive: true });
  for (const chart of charts) writeFileSync(join(results, `${chart.name}.svg`), chart.svg);
}
// A part alone is no report.
if (!values.quick && wanted.length === Object.keys(measurements).length) {
  writeReport(results, 'gossip', describeMachine(root, loadAtStart), sections, 'npm run bench:gossip');
}
const missed = sections.flatMap(({ title, rows }) =>
  rows.filter(({ kept }) => kept === false).map(({ cells }) => `${title}: ${cells[0]}`),
);
for (const text of missed) progress(`limit missed: ${text}`);
process.exitCode = missed.length > 0 ? 1 : 0;
