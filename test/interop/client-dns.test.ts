// The recorded DNS conversations, held with a client agent of a real server, through which the catalog is filled as
// well. The recorded agent was a server itself: where an answer is not the recorded one (a server's own name, in SOA,
// NS and `consul.service`), it must be what a real client of such a server answers to the same question.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DnsRecording } from '../golden/dns-recording.ts';
import { dnsFixtures, type DnsReplay, replayDns } from '../golden/dns-replay.ts';
import { describeWith, realConsul } from './support/clients.ts';

const binary = resolve(import.meta.dirname, '../../dist/portolan.js');
const ours = `${process.execPath} ${binary}`;
/** Longest run of all recordings (ms), a server and a client each, on a machine that has other work too. */
const replayTimeoutMs = 300_000;

/** The runner's server has told the catalog of itself: until then an answer that names it lacks its metadata. */
const serverSynced = `/v1/catalog/nodes?filter=${encodeURIComponent('Node == "server-1" and "consul-network-segment" in Meta')}`;

// A client can have every configuration and serve every case: their marks `modes` name those that only a server
// answers as recorded.
const recordings = readdirSync(dnsFixtures).map(
  (file) =>
    JSON.parse(readFileSync(join(dnsFixtures, file), 'utf8'), (key, value: unknown) =>
      key === 'modes' ? undefined : value,
    ) as DnsRecording,
);

describeWith('a client agent of a real server', { consul: realConsul() }, ({ consul }) => {
  const directory = mkdtempSync(join(tmpdir(), 'portolan-client-dns-'));
  let asRecorded: DnsReplay;
  let asRealClient: DnsReplay | undefined;

  beforeAll(async () => {
    if (!existsSync(binary)) throw new Error(`${binary} is missing: run "npm run build" first`);
    const playedTo = (agent: string, folder: string, ...flags: readonly string[]): Promise<DnsReplay> =>
      replayDns(folder, ['--mode', 'client', '--peer', consul, '--agent', agent, ...flags]);

    const recorded = write(join(directory, 'recorded'), recordings);
    asRecorded = await playedTo(ours, recorded);
    const others = recordings
      .map((one) => ({ ...one, cases: one.cases.filter(({ id }) => asRecorded.failure(one.name, id) !== '') }))
      .filter(({ cases }) => cases.length > 0);
    if (others.length === 0) return;
    const real = write(join(directory, 'real'), others);
    // Writes down what the real client answers; what it could not stays as it was, and fails below.
    await playedTo(consul, real, '--record');
    asRealClient = await playedTo(ours, real);
  }, replayTimeoutMs);

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  for (const { name, cases } of recordings) {
    describe(name, () => {
      test.each(cases)('$id', ({ id }) => {
        const difference = asRecorded.failure(name, id);
        if (difference === '') return;
        expect(asRealClient?.failure(name, id), difference).toBe('');
      });
    });
  }
});

/** @returns the folder that holds the recordings. */
function write(folder: string, content: readonly DnsRecording[]): string {
  mkdirSync(folder);
  for (const recording of content) {
    const setup = [{ wait: { path: serverSynced, count: 1 } }, ...recording.setup];
    writeFileSync(join(folder, `${recording.name}.json`), JSON.stringify({ ...recording, setup }));
  }
  return folder;
}
