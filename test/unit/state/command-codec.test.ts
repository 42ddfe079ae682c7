// Every command that the real Consul logged is read and written back as the same bytes.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeMsgpack } from '../../../src/codec/index.ts';
import {
  ChunkAssembler,
  ChunkError,
  chunksOf,
  type Command,
  decodeCommand,
  encodeCommand,
  UnknownCommandError,
} from '../../../src/state/index.ts';
import { differing } from '../model/wire/differing.ts';

interface Recorded {
  readonly name: string;
  readonly log_type: number;
  readonly data_hex: string | null;
  readonly message_type?: number;
}

const fixture = (name: string): unknown =>
  JSON.parse(readFileSync(resolve(import.meta.dirname, `../../fixtures/raft/${name}.json`), 'utf8'));
const unhex = (text: string): Uint8Array => Buffer.from(text, 'hex');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const commandEntry = 0;
const recorded = ['log-entries', 'leader-catalog-writes']
  .flatMap((file) => (fixture(file) as { readonly vectors: readonly Recorded[] }).vectors)
  .filter((entry) => entry.log_type === commandEntry);

describe('commands in the log', () => {
  test('were recorded of nearly every type', () => {
    expect(new Set(recorded.map((entry) => entry.message_type)).size).toBeGreaterThan(20);
  });

  test.each(recorded)('$name', ({ data_hex: data }) => {
    const command = decodeCommand(unhex(data!));
    expect(command).not.toBeNull();
    const again = encodeCommand(command!);
    if (hex(again) === data) return;
    // Maps with the user's keys stand in an order left to chance; an empty value is nil once it has been read.
    expect(hex(again).slice(0, 2)).toBe(data!.slice(0, 2));
    const differences = [...differing(decodeMsgpack(unhex(data!).subarray(1)), decodeMsgpack(again.subarray(1)))];
    expect(differences.filter((path) => !path.endsWith('Value'))).toEqual([]);
  });

  test('what is unknown and may be passed over does nothing', () => {
    expect(decodeCommand(unhex('ff80'))).toBeNull();
  });

  test.each([
    ['an unknown command', '7f80', /command 127 is not known here/],
    ['an enterprise command', '0a80', /command 10 is not known here/],
    ['nothing', '', /it is empty/],
    [
      'a float for an index',
      '0581a9526561 70496e646578cb3ff0000000000000'.replaceAll(' ', ''),
      /Tombstone: .*ReapIndex/,
    ],
    ['bin for a string', '0181a44e6f6465c40161', /Deregister: .*Node/],
    ['an unknown kind of entry', '16a4a3786162', /invalid config entry kind: xab/],
  ])('%s stops the server', (_, data, text) => {
    expect(() => decodeCommand(unhex(data))).toThrow(UnknownCommandError);
    expect(() => decodeCommand(unhex(data))).toThrow(text);
  });
});

describe('commands in chunks', () => {
  const { chunks, reassembled } = fixture('chunked-kv') as {
    readonly chunks: readonly {
      readonly extensions_hex: string;
      readonly data_length: number;
      readonly data_sha256: string;
    }[];
    readonly reassembled: { readonly length: number; readonly sha256: string };
  };
  const operation = 17085608445522118942n;
  const Value = Buffer.alloc(1_300_000, 'a');
  const Token = '11111111-2222-4333-8444-555555555555';
  const set: Command = {
    type: 'KVS',
    request: { Datacenter: 'dc1', Op: 'set', DirEnt: { Key: 'big', Value }, Token },
  };
  const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  const term = 2;

  test('are cut as the peer cuts them', () => {
    const bytes = encodeCommand(set);
    expect([bytes.length, sha256(bytes)]).toEqual([reassembled.length, reassembled.sha256]);
    expect(
      chunksOf(bytes, operation).map(({ data, extensions }) => [hex(extensions!), data.length, sha256(data)]),
    ).toEqual(chunks.map((one) => [one.extensions_hex, one.data_length, one.data_sha256]));
  });

  test('come together in any order', () => {
    const parts = chunksOf(encodeCommand(set), operation);
    const assembler = new ChunkAssembler();
    const results = [2, 0, 1].map((i) => assembler.add(term, parts[i]!.data, parts[i]!.extensions!));
    expect(results.slice(0, 2)).toEqual([null, null]);
    expect(sha256(results[2]!)).toBe(reassembled.sha256);
    expect(assembler.snapshot().size).toBe(0);
  });

  test('of an earlier leader are forgotten', () => {
    const parts = chunksOf(encodeCommand(set), operation);
    const assembler = new ChunkAssembler();
    for (const { data, extensions } of parts.slice(0, 2)) assembler.add(term, data, extensions!);
    expect(assembler.add(term + 1, parts[2]!.data, parts[2]!.extensions!)).toBeNull();
    expect([...assembler.snapshot().values()]).toHaveLength(1);
  });

  test('wait in a snapshot', () => {
    const parts = chunksOf(encodeCommand(set), operation);
    const before = new ChunkAssembler();
    for (const { data, extensions } of parts.slice(0, 2)) before.add(term, data, extensions!);
    const after = new ChunkAssembler();
    after.restore(before.snapshot());
    expect(sha256(after.add(term, parts[2]!.data, parts[2]!.extensions!)!)).toBe(reassembled.sha256);
  });

  test('small commands, and others than KV, stay whole', () => {
    expect(chunksOf(Buffer.alloc(524_288, 2), 1n)).toHaveLength(1);
    expect(chunksOf(Buffer.alloc(600_000, 8), 1n)).toEqual([{ data: Buffer.alloc(600_000, 8), extensions: null }]);
  });

  test.each([
    ['no count', '0801'],
    ['a sequence beyond the count', '080110031803'],
    ['a number without an end', '08ffffffffffffffffffff'],
    ['a field of an unknown type', '0d00000000'],
  ])('extensions with %s are refused', (_, extensions) => {
    expect(() => new ChunkAssembler().add(term, Buffer.from('x'), unhex(extensions))).toThrow(ChunkError);
  });
});
