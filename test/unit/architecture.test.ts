// The house of shared/DESIGN.md as a test: every import goes down or stays on its floor, no folder circle, doors only,
// and nothing that does I/O inside a pure folder.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

const src = resolve(import.meta.dirname, '../../src');

/** Floor of each folder; `node` and `sim` stand beside the house. */
const floors: Readonly<Record<string, number>> = {
  'main.ts': 6,
  cli: 6,
  agent: 5,
  http: 4,
  dns: 4,
  grpc: 4,
  ui: 4,
  registrator: 4,
  checks: 4,
  environment: 4,
  client: 4,
  server: 3,
  gossip: 2,
  raft: 2,
  state: 2,
  rpc: 2,
  config: 1,
  codec: 1,
  model: 1,
  ports: 0,
  lib: 0,
};
const beside = new Set(['node', 'sim']);
/** Folders in which no socket, file, timer, global clock or global chance may appear (DESIGN rule 1). */
const pure = new Set(['gossip', 'raft', 'state', 'rpc', 'config', 'codec', 'model', 'ports', 'lib', 'sim']);
/** Files beside the folders' doors that may be imported from elsewhere, because they are doors of their own. */
const compose = 'agent/compose.ts';

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

function sources(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return sources(path);
    return path.endsWith('.ts') || path.endsWith('.tsx') ? [path] : [];
  });
}

const files = sources(src);
const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(file, 'utf8');
  return [
    ...text.matchAll(
      /^(?:import|export)\s+(type\s+)?[^'"`;]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|^import\s+'([^']+)'/gm,
    ),
  ].map((match) => ({
    file: relative(src, file),
    target: match[2] ?? match[3] ?? match[4] ?? '',
    typeOnly: match[1] !== undefined,
  }));
});
const folderOf = (path: string): string => path.split('/')[0]!;
const internal = imports
  .filter((edge) => edge.target.startsWith('.'))
  .map((edge) => ({ ...edge, to: relative(src, resolve(src, dirname(edge.file), edge.target)) }));

describe('the import graph', () => {
  test('has sources to look at', () => {
    expect(files.length).toBeGreaterThan(10);
    expect(internal.length).toBeGreaterThan(10);
  });

  test('every folder has a floor', () => {
    const unknown = files
      .map((file) => folderOf(relative(src, file)))
      .filter((folder) => !(folder in floors) && !beside.has(folder));
    expect([...new Set(unknown)]).toEqual([]);
  });

  test('no arrow points up', () => {
    const up = internal.filter(({ file, to }) => {
      const from = floors[folderOf(file)];
      const target = floors[folderOf(to)];
      return from !== undefined && target !== undefined && target > from;
    });
    expect(up.map(({ file, to }) => `${file} → ${to}`)).toEqual([]);
  });

  test('no circle between folders', () => {
    const graph = new Map<string, Set<string>>();
    for (const { file, to } of internal) {
      if (folderOf(file) === folderOf(to)) continue;
      const targets = graph.get(folderOf(file)) ?? new Set<string>();
      graph.set(folderOf(file), targets.add(folderOf(to)));
    }
    const circles: string[] = [];
    const visit = (folder: string, path: readonly string[]): void => {
      if (path.includes(folder)) {
        circles.push([...path.slice(path.indexOf(folder)), folder].join(' → '));
        return;
      }
      for (const next of graph.get(folder) ?? []) visit(next, [...path, folder]);
    };
    for (const folder of graph.keys()) visit(folder, []);
    expect(circles).toEqual([]);
  });

  test('other folders are entered by their door', () => {
    const around = internal.filter(({ file, to }) => {
      if (folderOf(file) === folderOf(to)) return false;
      if (beside.has(folderOf(to)) || beside.has(folderOf(file))) return false;
      return !to.endsWith('/index.ts') && !(folderOf(file) === 'main.ts');
    });
    expect(around.map(({ file, to }) => `${file} → ${to}`)).toEqual([]);
  });

  test('real and simulated ports are imported only where everything is put together', () => {
    const wrong = internal.filter(
      ({ file, to }) =>
        beside.has(folderOf(to)) &&
        folderOf(to) !== folderOf(file) &&
        file !== compose &&
        !['cli', 'main.ts'].includes(folderOf(file)),
    );
    expect(wrong.map(({ file, to }) => `${file} → ${to}`)).toEqual([]);
  });

  test('pure folders do no I/O and read no global clock or chance', () => {
    const modules = imports.filter(
      ({ file, target }) =>
        pure.has(folderOf(file)) && target.startsWith('node:') && !['node:buffer', 'node:crypto'].includes(target),
    );
    expect(modules.map(({ file, target }) => `${file} → ${target}`)).toEqual([]);
    const globals = files
      .filter((file) => pure.has(folderOf(relative(src, file))))
      .filter((file) => {
        const code = readFileSync(file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
        return /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|setTimeout|setInterval|setImmediate|process\.)/.test(
          code,
        );
      })
      .map((file) => relative(src, file));
    expect(globals).toEqual([]);
  });
});
