import { gunzipSync, gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { byteStringFromUtf8 } from '../../../src/lib/index.ts';
import { CallError } from '../../../src/model/index.ts';
import { readArchive } from '../../../src/raft/index.ts';
import { serveSnapshot, snapshotOps } from '../../../src/rpc/index.ts';
import type { Consensus, Server } from '../../../src/server/index.ts';
import type { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { streamPair } from '../../helpers/stream-pair.ts';
import { type Single, singleServer } from './single.ts';

const target = { datacenter: 'dc1', token: '', stale: false };
const never = new AbortController().signal;
let single: Single;
beforeEach(async () => {
  single = singleServer();
  await single.server.start();
  letTurnsPass(single.clock);
});

/** Reading a state gives others their turn; here nobody else moves the clock. */
function letTurnsPass(clock: VirtualClock): void {
  const after = clock.after.bind(clock);
  clock.after = (delayMs, callback) => {
    if (delayMs > 0) return after(delayMs, callback);
    setImmediate(callback);
    return { cancel() {} };
  };
}

const put = (value: string) =>
  single.call('KVS.Apply', { Op: 'set', DirEnt: { Key: byteStringFromUtf8('k'), Value: Buffer.from(value) } });
const get = async ({ store }: Single = single) =>
  Buffer.from(store.kvGet(byteStringFromUtf8('k')).result?.[0]?.Value ?? []).toString();

async function collected(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}
async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
}
const saved = async (server: Server = single.server) => collected((await server.snapshots.save(target)).archive);
const restore = (archive: Uint8Array, more: object = {}) =>
  single.server.snapshots.restore({ ...target, ...more }, once(archive));

describe('a lone server', () => {
  test('saves an archive that says what it is', async () => {
    await put('before');
    const { meta, archive } = await single.server.snapshots.save(target);
    expect(meta).toEqual({ Index: single.store.lastIndex, LastContact: 0, KnownLeader: true });
    const content = await readArchive(once(gunzipSync(await collected(archive))));
    expect(content.meta).toMatchObject({ Index: meta.Index, Version: 1 });
    expect(content.meta.Configuration.Servers).toMatchObject([{ Address: '127.0.0.1:8300' }]);
  });

  test('goes back to it, with a greater index, and takes up its duties anew', async () => {
    await put('before');
    const archive = await saved();
    await put('after');
    const { lastIndex } = single.store;
    const Node = 'n';
    await single.call('Catalog.Register', { Node, Address: '192.0.2.1' });
    await restore(archive);
    expect(await get()).toBe('before');
    expect(single.store.node(Node)).toBeUndefined();
    expect(single.store.lastIndex).toBeGreaterThan(lastIndex);
    await put('again');
    expect(await get()).toBe('again');
  });

  test('wakes who waits for a change', async () => {
    await put('before');
    const archive = await saved();
    await put('after');
    const Key = byteStringFromUtf8('k');
    const MinQueryIndex = single.store.lastIndex;
    const waiting = single.call('KVS.Get', { Key, MinQueryIndex });
    await restore(archive);
    expect((await waiting).Index).toBeLessThan(MinQueryIndex);
  });

  test.each([
    ['what is not compressed', () => Buffer.from('{}'), 'failed to decompress snapshot: gzip: invalid header'],
    ['nothing', () => Buffer.alloc(0), 'failed to decompress snapshot: EOF'],
    ['something else', () => gzipSync('hello'), /^failed to read snapshot file: /],
    ['half an archive', (archive: Buffer) => archive.subarray(0, archive.length / 2), /unexpected EOF$/],
    ['a damaged one', flipped, /^failed to read snapshot file: hash check failed for "state.bin"$/],
  ])('refuses %s, and stays as it is', async (_, damage, message) => {
    await put('now');
    await expect(restore(damage(await saved()))).rejects.toThrow(message);
    expect(await get()).toBe('now');
  });

  test('restores nothing that may be stale', async () => {
    await expect(restore(await saved(), { stale: true })).rejects.toThrow('stale not allowed for restore');
  });

  test('knows no other datacenter', async () => {
    await expect(single.server.snapshots.save({ ...target, datacenter: 'dc2' })).rejects.toThrow(
      'No path to datacenter',
    );
  });
});

/** Another value in the state, which is compressed again. */
function flipped(archive: Buffer): Buffer {
  const tar = gunzipSync(archive);
  const at = tar.indexOf('now');
  expect(at).toBeGreaterThan(0);
  tar.write('not', at);
  return gzipSync(tar);
}

test('takes rights over everything', async () => {
  const masterToken = '11111111-2222-4333-8444-555555555555';
  single = singleServer({ acl: { enabled: true, defaultPolicy: 'allow', keyListPolicy: false, masterToken } });
  await single.server.start();
  const { snapshots } = single.server;
  await expect(snapshots.save(target)).rejects.toThrow('Permission denied');
  await expect(snapshots.restore(target, once(Buffer.alloc(0)))).rejects.toThrow('Permission denied');
  await expect(snapshots.save({ ...target, token: 'unknown' })).rejects.toThrow('ACL not found');
  await snapshots.save({ ...target, token: masterToken });
});

describe('over port 8300', () => {
  /** A server that follows `single`. */
  function follower(): Single {
    const log = {
      isLeader: false,
      leaderAddress: '127.0.0.1:8300',
      lastContactNs: 7,
      peers: [],
      configuration: { Servers: [] },
      onLeadership: () => () => undefined,
    } as unknown as Consensus;
    return singleServer({
      log,
      nodeName: 'follower',
      cluster: {
        members: () => [],
        callServer: () => Promise.reject(new CallError('not here')),
        // oxlint-disable-next-line require-await -- as a dialer has it
        dialSnapshot: async () => {
          const { a, b, settle } = streamPair();
          const carry = (): void => {
            settle();
            if (!a.closed || !b.closed) setImmediate(carry);
          };
          carry();
          const { clock } = single;
          void serveSnapshot(b, single.server.rpc.snapshotHandler, { clock, logger: silentLogger });
          return a;
        },
        forceLeave: () => Promise.resolve(),
      },
    });
  }

  test('a follower saves what the leader has', async () => {
    await put('v');
    const { meta, archive } = await follower().server.snapshots.save(target);
    expect(meta).toEqual({ Index: single.store.lastIndex, LastContact: 0, KnownLeader: true });
    expect((await readArchive(once(gunzipSync(await collected(archive))))).meta.Index).toBe(meta.Index);
  });

  test('a follower restores where the leader is', async () => {
    await put('before');
    const archive = await saved();
    await put('after');
    await follower().server.snapshots.restore(target, once(archive));
    expect(await get()).toBe('before');
  });

  test('the failure of the leader is that of the follower', async () => {
    await expect(follower().server.snapshots.restore(target, once(Buffer.from('{}')))).rejects.toThrow(
      /gzip: invalid header$/,
    );
  });

  test('an operation that there is not is refused', async () => {
    const request = { Datacenter: 'dc1', Token: '', AllowStale: false, Op: 7 };
    const context = { remote: { address: '127.0.0.1', port: 1 }, signal: never };
    await expect(single.server.rpc.snapshotHandler(request, once(Buffer.alloc(0)), context)).rejects.toThrow(
      'unrecognized snapshot op 7',
    );
    expect(snapshotOps).toEqual({ save: 0, restore: 1 });
  });
});
