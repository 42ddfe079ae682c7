// Recorded DNS answers of the real program, replayed on UDP and TCP against dist/portolan.js.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { DnsRecording } from './dns-recording.ts';
import { dnsFixtures, type DnsReplay, replayDns } from './dns-replay.ts';

const binary = resolve(import.meta.dirname, '../../dist/portolan.js');
/** Longest run of all recordings together (ms): an agent each. */
const replayTimeoutMs = 300_000;

const recordings = readdirSync(dnsFixtures).map(
  (file) => JSON.parse(readFileSync(join(dnsFixtures, file), 'utf8')) as DnsRecording,
);

let replay: DnsReplay;

beforeAll(async () => {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: run "npm run build" first`);
  replay = await replayDns(dnsFixtures, ['--agent', `${process.execPath} ${binary}`]);
}, replayTimeoutMs);

for (const { name, cases } of recordings) {
  describe(`DNS answers as recorded: ${name}`, () => {
    test.each(cases)('$id', ({ id }) => {
      expect(replay.failure(name, id)).toBe('');
    });
  });
}
