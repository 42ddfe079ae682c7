// A recorded snapshot of the real Consul becomes a state, and that state the same snapshot again.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { decodeMsgpack, MsgpackStream, type MsgpackValue } from '../../../src/codec/index.ts';
import { CallError } from '../../../src/model/index.ts';
import {
  chunksOf,
  type Command,
  encodeCommand,
  ReplicatedState,
  SnapshotError,
  SnapshotRestore,
  StateStore,
  writeSnapshot,
} from '../../../src/state/index.ts';
import { differing } from '../model/wire/differing.ts';
import { check, register, service } from './helpers.ts';

const fixture = (name: string): unknown =>
  JSON.parse(readFileSync(resolve(import.meta.dirname, `../../fixtures/raft/${name}.json`), 'utf8'));

interface Record {
  readonly type: number;
  readonly bytes: string;
  readonly value: MsgpackValue;
}

function recordsOf(snapshot: Uint8Array): { readonly header: MsgpackValue; readonly records: readonly Record[] } {
  const stream = new MsgpackStream(2 ** 30);
  stream.push(snapshot);
  const header = decodeMsgpack(stream.next()!);
  const records: Record[] = [];
  for (let type = stream.next(); type !== undefined; type = stream.next()) {
    const bytes = stream.next()!;
    records.push({ type: type[0]!, bytes: Buffer.from(bytes).toString('hex'), value: decodeMsgpack(bytes) });
  }
  return { header, records };
}

function restored(snapshot: Uint8Array, pieceBytes = snapshot.length): StateStore {
  const restore = new SnapshotRestore();
  for (let at = 0; at < snapshot.length; at += pieceBytes) restore.push(snapshot.subarray(at, at + pieceBytes));
  const { tables, lastIndex } = restore.finish();
  const store = new StateStore();
  store.replace(tables, lastIndex);
  return store;
}

const written = (store: StateStore): Buffer => Buffer.concat([...writeSnapshot(store.snapshot())]);

/** Where the two snapshots differ, as `type#position path`. Bytes may differ in the order of the user's maps. */
function differences(a: Uint8Array, b: Uint8Array): readonly string[] {
  const [before, after] = [recordsOf(a), recordsOf(b)];
  const types = (records: readonly Record[]): string => records.map(({ type }) => type).join(' ');
  return [
    ...[...differing(before.header, after.header)].map((path) => `header ${path}`),
    ...(types(before.records) === types(after.records) ? [] : ['the order of the records']),
    ...before.records.flatMap(({ type, bytes, value }, i) =>
      bytes === after.records[i]?.bytes
        ? []
        : [...differing(value, after.records[i]?.value)].map((path) => `${type}#${i} ${path}`),
    ),
  ];
}

const { records } = fixture('snapshot-records') as { readonly records: readonly { readonly hex: string }[] };
const everyType = Buffer.concat(records.map(({ hex }) => Buffer.from(hex, 'hex')));

const { archive_gzip_base64: archive } = fixture('snapshot-archive') as { readonly archive_gzip_base64: string };
/** The member `state.bin` of the archive: tar has its size in octal at 124, and rounds to blocks of 512 bytes. */
function stateOfArchive(): Buffer {
  const tar = gunzipSync(Buffer.from(archive, 'base64'));
  for (let at = 0; at < tar.length;) {
    const name = tar.toString('latin1', at, at + 100).replace(/\0.*$/s, '');
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8);
    if (name === 'state.bin') return tar.subarray(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new Error('the archive has no state.bin');
}

describe('a snapshot of the peer', () => {
  test.each([
    ['with records of every type', everyType],
    ['of a cluster of three servers', stateOfArchive()],
  ])('%s comes out as it went in', (_, snapshot) => {
    expect(differences(snapshot, written(restored(snapshot)))).toEqual([]);
  });

  test('may come in pieces of any size', () => {
    const whole = written(restored(everyType));
    for (const size of [1, 7, 4096]) expect(written(restored(everyType, size)).equals(whole)).toBe(true);
  });

  test('answers as its rows say', () => {
    const store = restored(everyType);
    expect(store.nodes().result.map(({ Node }) => Node)).toContain('s11');
    expect(store.connectNodes('web').result.map(({ ServiceKind }) => ServiceKind)).toContain('connect-proxy');
    expect(store.acl.tokenByAccessor('00000000-0000-0000-0000-000000000002').result?.SecretID).toBe('anonymous');
    expect(store.configEntries.find('service-splitter', 'WEB')?.Splits?.map(({ Weight }) => Weight)).toEqual([
      90.5, 9.5,
    ]);
    expect(store.nodes().index).toBe(store.snapshot().indexRows.find(({ Key }) => Key === 'nodes')?.Value);
    expect(store.connectCa.provider?.PrivateKey).toMatch(/^-----BEGIN EC PRIVATE KEY-----/);
    expect(store.federationStates.get('dc1').result?.PrimaryModifyIndex).toBe(15);
  });

  test.each([
    ['nothing at all', Buffer.alloc(0), /ends in the middle/],
    ['the beginning of a record', everyType.subarray(0, 100), /ends in the middle/],
    ['a type without its record', everyType.subarray(0, 13), /ends in the middle/],
    ['records that are not known', Buffer.from('81a94c617374496e646578010a80', 'hex'), /records of type 10/],
    ['text instead', Buffer.from('this is no snapshot at all'), /cannot restore the snapshot/],
    ['gzip', Buffer.from(archive, 'base64'), /cannot restore the snapshot/],
  ])('of %s is refused', (_, snapshot, text) => {
    expect(() => restored(snapshot)).toThrow(SnapshotError);
    expect(() => restored(snapshot)).toThrow(text);
  });
});

describe('a restore', () => {
  const session = '5c0fa3a1-5ae0-4c79-8a4e-3b1e2dbb2e5f';
  function filled(): StateStore {
    const store = new StateStore();
    register(store, { Node: 'n1', Checks: [check({ Node: 'n1', CheckID: 'alive' })] });
    register(store, { Node: 'n1', Service: service({ Service: 'web' }) });
    const apply = (command: Command): unknown => store.apply(store.lastIndex + 1, command);
    apply({
      type: 'Session',
      request: {
        Datacenter: 'dc1',
        Op: 'create',
        Session: { ID: session, Node: 'n1', NodeChecks: ['alive'], Behavior: 'delete' },
      },
    });
    apply({
      type: 'KVS',
      request: { Datacenter: 'dc1', Op: 'lock', DirEnt: { Key: 'held', Session: session, Value: Buffer.from('x') } },
    });
    return store;
  }

  test('wakes everybody who watches, and replaces everything at once', async () => {
    const store = filled();
    const other = new StateStore();
    register(other, { Node: 'old' });
    let woken = 0;
    const watch: string[] = [];
    other.serviceHealth('web', watch);
    other.kvGet('held', watch);
    other.watch(watch, () => {
      woken++;
      expect(other.node('n1')?.Address).toBe('192.0.2.1');
    });
    await new ReplicatedState(other).restore(new ReplicatedState(store).snapshot());
    expect(woken).toBe(1);
    expect(other.node('old')).toBeUndefined();
    expect(written(other).equals(written(store))).toBe(true);
  });

  test('rebuilds which check ends which session and what that one holds', async () => {
    const other = new StateStore();
    await new ReplicatedState(other).restore(new ReplicatedState(filled()).snapshot());
    other.apply(100, {
      type: 'Register',
      request: {
        Datacenter: 'dc1',
        Node: 'n1',
        Address: '',
        SkipNodeUpdate: true,
        Check: check({ Node: 'n1', CheckID: 'alive', Status: 'critical' }),
      },
    });
    expect(other.sessions().result).toEqual([]);
    expect(other.kvGet('held').result).toBeNull();
  });

  test('tells who keeps time of sessions what became of them', async () => {
    const other = filled();
    const told: string[] = [];
    other.onSessionChange((change) => told.push(`${change.kind} ${change.session.ID}`));
    await new ReplicatedState(other).restore(new ReplicatedState(filled()).snapshot());
    expect(told).toEqual([`ended ${session}`, `created ${session}`]);
  });

  test('that fails leaves the state as it was', async () => {
    const store = filled();
    const before = written(store);
    const half = new ReplicatedState(store);
    await expect(half.restore(pieces(everyType.subarray(0, 5000)))).rejects.toThrow(SnapshotError);
    expect(written(store).equals(before)).toBe(true);
  });

  test('brings back chunks that wait for the rest of their command', async () => {
    const Value = Buffer.alloc(600_000, 7);
    const command = encodeCommand({
      type: 'KVS',
      request: { Datacenter: 'dc1', Op: 'set', DirEnt: { Key: 'big', Value } },
    });
    const entries = chunksOf(command, 2n ** 63n + 1n).map(({ data, extensions }, i) => ({
      Index: 10 + i,
      Term: 3,
      Data: data,
      Extensions: extensions,
    }));
    const first = new ReplicatedState(new StateStore());
    first.apply(entries[0]!);
    const store = new StateStore();
    const second = new ReplicatedState(store);
    await second.restore(first.snapshot());
    second.apply(entries[1]!);
    expect(store.kvGet('big').result?.[0]?.Value?.length).toBe(Value.length);
  });

  test('shows nothing of what came after the snapshot was begun', async () => {
    const store = filled();
    const before = written(store);
    const stream = new ReplicatedState(store).snapshot();
    register(store, { Node: 'later' });
    const collected: Uint8Array[] = [];
    for await (const piece of stream) collected.push(piece);
    expect(Buffer.concat(collected).equals(before)).toBe(true);
  });
});

describe('entries of the log', () => {
  test('that fail give their failure as a result', () => {
    const state = new ReplicatedState(new StateStore());
    const Data = encodeCommand({
      type: 'Session',
      request: { Datacenter: 'dc1', Op: 'create', Session: { ID: 'x', Node: 'nowhere' } },
    });
    const result = state.apply({ Index: 5, Term: 1, Data, Extensions: null });
    expect(result).toEqual(new CallError('Missing node registration'));
  });

  test('that may be passed over do nothing', () => {
    const state = new ReplicatedState(new StateStore());
    expect(state.apply({ Index: 5, Term: 1, Data: Buffer.from([0xc0, 0xc0]), Extensions: null })).toBeNull();
  });
});

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
