// Term and vote, snapshots, archives and peers.json.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Crc64, crc32c } from '../../../src/lib/index.ts';
import {
  DirectorySnapshotStore,
  FileStableStore,
  parsePeers,
  parseSnapshotMeta,
  readArchive,
  readPeersFile,
  recoverCluster,
  SegmentedLog,
  type SnapshotMeta,
  suffrage,
  writeArchive,
} from '../../../src/raft/index.ts';
import { FaultyDisk } from '../../../src/sim/faulty-disk.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { command, ListMachine, quiet } from './support.ts';

const archive = JSON.parse(
  readFileSync(new URL('../../fixtures/raft/snapshot-archive.json', import.meta.url), 'utf8'),
) as {
  readonly archive_gzip_base64: string;
  readonly members: readonly { readonly name: string; readonly text?: string; readonly hex?: string }[];
  readonly on_disk: readonly { readonly meta_json: string; readonly crc64_computed_base64: string }[];
};
const tar = gunzipSync(Buffer.from(archive.archive_gzip_base64, 'base64'));
const state = Buffer.from(archive.members.find(({ name }) => name === 'state.bin')!.hex!, 'hex');

const clock = new VirtualClock();
const faulty = (seed = 1): FaultyDisk => new FaultyDisk({ clock, random: new SeededRandom(seed) });
const configuration = { Servers: [{ Suffrage: suffrage.voter, ID: 'a', Address: '10.0.0.1:8300' }] };

async function* pieces(...all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all;
}

async function gather(all: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const found: Uint8Array[] = [];
  for await (const piece of all) found.push(piece);
  return Buffer.concat(found);
}

describe('checksums', () => {
  test('CRC-32C of known bytes', () => {
    expect(crc32c(Buffer.from('123456789')).toString(16)).toBe('e3069283');
    expect(crc32c(new Uint8Array(32)).toString(16)).toBe('8a9136aa');
    expect(crc32c(Buffer.from('xx123456789'), 2)).toBe(0xe3069283);
  });

  test('CRC-64/XZ of known bytes, in one piece or several', () => {
    const whole = new Crc64();
    whole.update(Buffer.from('123456789'));
    expect(Buffer.from(whole.digest()).toString('hex')).toBe('995dc9bbdf1939fa');
    const parts = new Crc64();
    for (const part of ['12', '', '3456789']) parts.update(Buffer.from(part));
    expect(parts.digest()).toEqual(whole.digest());
  });

  test('CRC-64 of a state of the peer', () => {
    const crc = new Crc64();
    crc.update(state);
    expect(Buffer.from(crc.digest()).toString('base64')).toBe(archive.on_disk[0]!.crc64_computed_base64);
  });
});

describe('term and vote', () => {
  test('are nothing at first, and what was written later', async () => {
    const disk = faulty();
    const store = await FileStableStore.open(disk.mount(), 'raft', 'vote');
    expect(await store.read()).toEqual({ currentTerm: 0, votedTerm: 0, votedFor: '' });
    const states = [1, 2, 3].map((term) => ({
      currentTerm: term,
      votedTerm: term - 1,
      votedFor: `10.0.0.${term}:8300`,
    }));
    await Promise.all(states.map((each) => store.write(each)));
    disk.crash();
    const again = await FileStableStore.open(disk.mount(), 'raft', 'vote');
    expect(await again.read()).toEqual(states[2]);
  });

  test('survive a crash at any moment: old or new, never less than acknowledged', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const time = new VirtualClock();
      const disk = new FaultyDisk({ clock: time, random: new SeededRandom(seed), latencyMs: 4 });
      const opening = FileStableStore.open(disk.mount(), 'raft', 'vote');
      await time.advance(10);
      const store = await opening;
      let acknowledged = 0;
      for (let term = 1; term <= 5; term++) {
        void store.write({ currentTerm: term, votedTerm: term, votedFor: 'x' }).then(() => (acknowledged = term));
        await time.advance(seed % 7);
      }
      disk.crash();
      const reopening = FileStableStore.open(disk.mount(), 'raft', 'vote');
      await time.advance(10);
      const { currentTerm } = await (await reopening).read();
      expect(currentTerm).toBeGreaterThanOrEqual(acknowledged);
      expect(currentTerm).toBeLessThanOrEqual(5);
    }
  });

  test('survive a flipped bit in either copy; in both it is refused', async () => {
    const disk = faulty();
    const store = await FileStableStore.open(disk.mount(), 'raft', 'vote');
    const newest = { currentTerm: 2, votedTerm: 2, votedFor: 'b' };
    await store.write({ currentTerm: 1, votedTerm: 1, votedFor: 'a' });
    await store.write(newest);
    for (const offset of [9, 4096 + 9]) {
      disk.flipBit('raft/vote', offset, 0);
      expect(await (await FileStableStore.open(disk.mount(), 'raft', 'vote')).read()).toEqual(newest);
      disk.flipBit('raft/vote', offset, 0);
    }
    for (const offset of [9, 4096 + 9]) disk.flipBit('raft/vote', offset, 0);
    await expect((await FileStableStore.open(disk.mount(), 'raft', 'vote')).read()).rejects.toThrow(
      'both copies of the term and the vote are damaged',
    );
  });
});

describe('snapshots on the disk', () => {
  const open = (disk: FaultyDisk): Promise<DirectorySnapshotStore> =>
    DirectorySnapshotStore.open({ disk: disk.mount(), directory: 'snapshots', clock });

  async function write(store: DirectorySnapshotStore, index: number, text: string): Promise<SnapshotMeta> {
    const sink = await store.create({ index, term: 2, configuration, configurationIndex: 1 });
    await sink.write(Buffer.from(text.slice(0, 3)));
    await sink.write(Buffer.from(text.slice(3)));
    return await sink.commit();
  }

  test('are read back, newest first, and two are kept', async () => {
    const disk = faulty();
    const store = await open(disk);
    for (const index of [10, 30, 20]) await write(store, index, `state ${index}`);
    disk.crash();
    const again = await open(disk);
    const metas = await again.list();
    expect(metas.map(({ Index }) => Index)).toEqual([30, 20]);
    expect((await gather(again.read(metas[0]!))).toString()).toBe('state 30');
    expect(metas[0]).toMatchObject({
      Version: 1,
      Term: 2,
      ConfigurationIndex: 1,
      Size: 8,
      Configuration: configuration,
    });
  });

  test('that are not finished do not exist, and their remains go', async () => {
    const disk = faulty();
    const store = await open(disk);
    const sink = await store.create({ index: 5, term: 1, configuration, configurationIndex: 1 });
    await sink.write(Buffer.alloc(2_000_000));
    expect(await store.list()).toEqual([]);
    expect(disk.files()).not.toEqual([]);
    const again = await open(disk);
    expect(await again.list()).toEqual([]);
    expect(disk.files()).toEqual([]);
  });

  test('with a flipped bit end in an error, not in a state', async () => {
    const disk = faulty();
    const store = await open(disk);
    const meta = await write(store, 10, 'the state');
    disk.flipBit(`snapshots/${meta.ID}/state.bin`, 4, 2);
    await expect(gather(store.read(meta))).rejects.toThrow('is damaged: its CRC-64 is');
  });

  test('have a meta.json as the peer writes it', () => {
    const text = archive.on_disk[0]!.meta_json;
    expect(`${JSON.stringify(parseSnapshotMeta(text))}\n`).toBe(text);
    expect(() =>
      parseSnapshotMeta(
        '{"Version":7,"ID":"x","Index":1,"Term":1,"Size":0,"ConfigurationIndex":0,"Configuration":{"Servers":[]}}',
      ),
    ).toThrow('unsupported snapshot version 7');
  });
});

describe('archives', () => {
  const meta = parseSnapshotMeta(archive.members[0]!.text!);

  test('of the peer are read', async () => {
    const content = await readArchive(pieces(tar.subarray(0, 700), tar.subarray(700)));
    expect(content.meta).toEqual(meta);
    expect(Buffer.concat(content.state).equals(state)).toBe(true);
  });

  test('of ours have the same members with the same bytes', async () => {
    const withCrc = parseSnapshotMeta(archive.on_disk[0]!.meta_json);
    const written = await gather(writeArchive(withCrc, pieces(state.subarray(0, 9), state.subarray(9)), 0));
    const content = await readArchive(pieces(written));
    expect(content.meta).toEqual(meta);
    expect(Buffer.concat(content.state).equals(state)).toBe(true);
    const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    const sums = `${sum(Buffer.from(archive.members[0]!.text!))}  meta.json\n${sum(state)}  state.bin\n`;
    expect(written.includes(sums)).toBe(true);
  });

  test('with a flipped bit, without an end or with other members are refused', async () => {
    const flipped = Buffer.from(tar);
    flipped[flipped.indexOf(state.subarray(0, 64)) + 20]! ^= 1;
    await expect(readArchive(pieces(flipped))).rejects.toThrow('hash check failed for "state.bin"');
    await expect(readArchive(pieces(tar.subarray(0, 3000)))).rejects.toThrow('unexpected EOF');
    const { writeTar } = await import('../../../src/codec/index.ts');
    const other = writeTar([{ name: 'evil.sh', content: Buffer.from('x'), mtime: 0 }]);
    await expect(readArchive(pieces(other))).rejects.toThrow('unexpected file "evil.sh" in snapshot');
    await expect(readArchive(pieces(Buffer.alloc(1024)))).rejects.toThrow('file missing for "meta.json"');
  });

  test('need as much state as their meta.json says', async () => {
    await expect(gather(writeArchive(meta, pieces(Buffer.from('short')), 0))).rejects.toThrow('has 5 bytes');
  });
});

describe('peers.json', () => {
  const good = '[{"id":"a","address":"10.0.0.1:8300"},{"id":"b","address":"10.0.0.2:8300","non_voter":true}]';

  test('names servers by id, or by address alone as protocol 2 does', () => {
    expect(parsePeers(good).Servers).toEqual([
      { Suffrage: 0, ID: 'a', Address: '10.0.0.1:8300' },
      { Suffrage: 1, ID: 'b', Address: '10.0.0.2:8300' },
    ]);
    expect(parsePeers('["10.0.0.1:8300"]').Servers).toEqual([
      { Suffrage: 0, ID: '10.0.0.1:8300', Address: '10.0.0.1:8300' },
    ]);
  });

  test.each([
    ['{', 'is no JSON'],
    ['{}', 'must be a list'],
    ['[{"id":"a"}]', 'a server is {"id"'],
    ['[]', 'at least one voter'],
    ['[{"id":"a","address":"x:1","non_voter":true}]', 'at least one voter'],
    ['["x:1","x:1"]', 'duplicate'],
  ])('%s is refused', (text, message) => {
    expect(() => parsePeers(text)).toThrow(message);
  });

  test('does not count at the very first start', async () => {
    const disk = faulty().mount();
    const write = async (name: string, text: string): Promise<void> => {
      const file = await disk.open(`raft/${name}`, { create: true });
      await file.write(Buffer.from(text), 0);
    };
    await write('peers.json', good);
    expect(await readPeersFile(disk, 'raft')).toBeUndefined();
    expect(await disk.list('raft')).toEqual(['peers.info']);
    await write('peers.json', good);
    expect(await readPeersFile(disk, 'raft')).toEqual(parsePeers(good));
  });

  test('makes everything in the log come true, under the new list of servers', async () => {
    const disk = faulty().mount();
    await readPeersFile(disk, 'raft');
    const stores = async () => ({
      log: await SegmentedLog.open({ disk, directory: 'raft/log', logger: quiet }),
      stable: await FileStableStore.open(disk, 'raft', 'vote'),
      snapshots: await DirectorySnapshotStore.open({ disk, directory: 'raft/snapshots', clock }),
      stateMachine: new ListMachine(),
      logger: quiet,
    });
    const first = await stores();
    await expect(recoverCluster(first, configuration, { disk, directory: 'raft' })).rejects.toThrow(
      'no state to recover',
    );
    await first.log.append([1, 2, 3].map((index) => command(index)));
    await first.log.close();
    const second = await stores();
    await recoverCluster(second, configuration, { disk, directory: 'raft' });
    const [meta] = await second.snapshots.list();
    expect(meta).toMatchObject({ Index: 3, Term: 1, Configuration: configuration, ConfigurationIndex: 1 });
    expect((await gather(second.snapshots.read(meta!))).toString()).toBe('["command 1","command 2","command 3"]');
    expect(second.log.lastIndex).toBe(0);
  });
});
