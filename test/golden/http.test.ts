// Recorded HTTP conversations of the real program, replayed against dist/portolan.js: every header, status and body.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const fixtures = join(root, 'test/fixtures/golden');
const binary = join(root, 'dist/portolan.js');

const scenarios = readdirSync(join(fixtures, 'http')).map((file) => file.replace(/\.json$/, ''));

/** Longest run of all scenarios together (ms); they wait for real checks and timeouts. */
const replayTimeoutMs = 600_000;

let directory: string;
/** What the runner says about each failed scenario. */
const failures = new Map<string, string>();
let summary = '';

beforeAll(async () => {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: run "npm run build" first`);
  directory = mkdtempSync(join(tmpdir(), 'portolan-golden-'));
  const output = await replay();
  for (const block of output.split(/^(?=FAIL )/m)) {
    const name = /^FAIL (\S+)/.exec(block)?.[1];
    if (name !== undefined) failures.set(name, block);
  }
  summary = output.trim().split('\n').at(-1) ?? '';
}, replayTimeoutMs);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function replay(): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(
      process.execPath,
      [
        join(fixtures, 'run-http.mjs'),
        '--bin',
        `${process.execPath} ${binary}`,
        '--logs',
        join(directory, 'logs'),
        join(fixtures, 'http'),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (chunk: string) => (output += chunk));
    child.once('error', fail);
    child.once('exit', () => done(output));
  });
}

describe('the HTTP API answers as recorded', () => {
  test.each(scenarios)('%s', (name) => {
    expect(failures.get(name) ?? '').toBe('');
  });

  test('every scenario was replayed', () => {
    expect(summary).toBe(`${scenarios.length - failures.size} passed, ${failures.size} failed`);
  });
});
