/**
 * What the bench says: sections of tables, on the terminal for people, as Markdown for the record and as JSON for
 * programs. Progress goes to stderr, so stdout is the report and nothing else.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { barChart, type BarChart } from './chart.ts';

export type { Bar } from './chart.ts';

export interface Row {
  readonly cells: readonly string[];
  /** Whether the row keeps its limit; undefined when it has none. */
  readonly kept?: boolean;
}

export interface Section {
  readonly title: string;
  /** How it was measured, in a sentence or two. */
  readonly method: string;
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
  /** The same as a picture. */
  readonly bars?: BarChart;
  /** Files beside the report. */
  readonly images?: readonly { readonly file: string; readonly title: string }[];
  /** The numbers behind the table. */
  readonly data: unknown;
}

export interface Machine {
  readonly date: string;
  readonly commit: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  /** Average runnable processes over the last minute: well above 0 at the start means others used the machine. */
  readonly loadAtStart: number;
  readonly loadAtEnd: number;
}

export function describeMachine(root: string, loadAtStart: number): Machine {
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
    commit: execFileSync('git', ['describe', '--always', '--dirty'], { cwd: root }).toString().trim(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    loadAtStart,
    loadAtEnd: loadavg()[0] ?? 0,
  };
}

export function progress(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

/** One decimal for small numbers, none for big ones. */
export function show(value: number, unit = ''): string {
  const text = Math.abs(value) < 100 ? value.toFixed(Math.abs(value) < 10 ? 2 : 1) : Math.round(value).toString();
  return unit === '' ? text : `${text} ${unit}`;
}

export function printSection(section: Section, color: boolean): void {
  const paint = (code: number, text: string): string => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const widths = widthsOf(section);
  const line = (cells: readonly string[]): string =>
    cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  ');
  const lines = section.rows.map(({ cells, kept }) => {
    const text = line(cells);
    return kept === undefined ? text : `${text}  ${kept ? paint(32, 'kept') : paint(31, 'MISSED')}`;
  });
  process.stdout.write(
    ['', paint(1, section.title), section.method, '', paint(2, line(section.columns)), ...lines, ''].join('\n'),
  );
}

/** Writes `<name>.md`, `<name>.json` and, of a section with bars, `<name>.svg`. @param command what repeats the measurement */
export function writeReport(
  dir: string,
  name: string,
  machine: Machine,
  sections: readonly Section[],
  command = 'npm run bench',
): void {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, `${name}.md`), markdown(name, machine, sections, command));
  for (const { bars } of sections) if (bars !== undefined) writeFileSync(join(dir, `${name}.svg`), barChart(bars));
  writeFileSync(join(dir, `${name}.json`), `${JSON.stringify({ machine, sections }, null, 2)}\n`);
}

function markdown(name: string, machine: Machine, sections: readonly Section[], command: string): string {
  const { date, commit, cpu, cores, memoryGib, kernel, node, loadAtStart, loadAtEnd } = machine;
  const parts = [
    '# Portolan, measured',
    `${date}, commit ${commit}, ${cores} cores of ${cpu}, ${memoryGib} GiB, Linux ${kernel}, Node.js ${node}; load average ${loadAtStart.toFixed(1)} before and ${loadAtEnd.toFixed(1)} after. Repeat it with \`${command}\`.`,
  ];
  for (const section of sections) {
    const widths = widthsOf(section);
    const line = (cells: readonly string[]): string =>
      `| ${cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join(' | ')} |`;
    const rule = `| ${widths.map((width, at) => (at === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
    parts.push(
      `## ${section.title}`,
      section.method,
      ...(section.bars === undefined ? [] : [`![${section.bars.title}](${name}.svg)`]),
      [
        line(section.columns),
        rule,
        ...section.rows.map(({ cells, kept }) =>
          line(kept === false ? [`${cells[0]} (missed)`, ...cells.slice(1)] : cells),
        ),
      ].join('\n'),
      ...(section.images ?? []).map(({ file, title }) => `![${title}](${file})`),
    );
  }
  return `${parts.join('\n\n')}\n`;
}

function widthsOf({ columns, rows }: Section): readonly number[] {
  return columns.map((column, at) => Math.max(3, column.length, ...rows.map(({ cells }) => cells[at]!.length)));
}
