// Recorded DNS answers of the real program, replayed on UDP and TCP against dist/portolan.js.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DnsRecording } from './dns-recording.ts';

const root = resolve(import.meta.dirname, '../..');
const fixtures = join(root, 'test/fixtures/golden');
const binary = join(root, 'dist/portolan.js');
/** Longest run of all recordings together (ms): an agent each. */
const replayTimeoutMs = 300_000;

const recordings = readdirSync(join(fixtures, 'dns')).map(
  (file) => JSON.parse(readFileSync(join(fixtures, 'dns', file), 'utf8')) as DnsRecording,
);

let directory: string;
/** What the runner says about each case that failed, by `recording/case`. */
const failures = new Map<string, string>();
/** Recordings that could not be played, and why. */
const broken = new Map<string, string>();
let summary = '';

beforeAll(async () => {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: run "npm run build" first`);
  directory = mkdtempSync(join(tmpdir(), 'portolan-golden-dns-'));
  for (const recording of recordings) {
    writeFileSync(join(directory, `${recording.name}.json`), JSON.stringify(recording));
  }
  const output = await replay();
  for (const [, file, why] of output.matchAll(/^BROKEN (.*)\.json: (.*)$/gm)) broken.set(file!, why!);
  for (const [block, id] of output.matchAll(/^FAIL (\S+\/\S+)\n(?: {2}.*\n)*/gm)) failures.set(id!, block);
  summary = output.trim().split('\n').at(-1) ?? '';
}, replayTimeoutMs);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function replay(): Promise<string> {
  return new Promise((done, fail) => {
    const agent = `${process.execPath} ${binary}`;
    const child = spawn(process.execPath, [join(fixtures, 'replay-dns.mjs'), '--agent', agent, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (chunk: string) => (output += chunk));
    child.once('error', fail);
    child.once('close', () => done(output));
  });
}

for (const { name, cases } of recordings) {
  describe(`DNS answers as recorded: ${name}`, () => {
    test.each(cases)('$id', ({ id }) => {
      expect(broken.get(name) ?? failures.get(`${name}/${id}`) ?? '').toBe('');
    });
  });
}

test('every case was played', () => {
  const cases = recordings.reduce((sum, recording) => sum + recording.cases.length, 0);
  expect(summary).toBe(`total: ${cases} passed, 0 failed, 0 skipped, 0 files could not run`);
});
