// The bytes between servers, against what real ones sent (test/fixtures/raft/transport-rpc.json).
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { MsgpackStream } from '../../../src/codec/msgpack/index.ts';
import { decodeConfiguration, encodeConfiguration } from '../../../src/raft/index.ts';
import { configurationOf } from '../../../src/raft/configuration.ts';
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeLogEntry,
  encodeRequest,
  type RaftRpc,
  rpcOfType,
  versionRefusal,
} from '../../../src/raft/wire.ts';

interface Vector {
  readonly name: string;
  readonly rpc_type: number;
  readonly rpc: string;
  readonly request_hex: string;
  readonly request?: Record<string, unknown>;
  readonly reply_hex?: string;
  readonly reply?: Record<string, unknown> | null;
  readonly reply_error?: string | null;
  readonly sender: string;
  readonly outcome?: string;
  readonly request_body_hex?: string;
  readonly body_sha256?: string;
}

const fixture = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../fixtures/raft/${name}.json`, import.meta.url), 'utf8'));
const { vectors } = fixture('transport-rpc') as { vectors: readonly Vector[] };
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

function cut(bytes: Uint8Array): Buffer[] {
  const stream = new MsgpackStream(1 << 20);
  stream.push(bytes);
  const values: Buffer[] = [];
  for (let value = stream.next(); value !== undefined; value = stream.next()) values.push(Buffer.from(value));
  return values;
}

const known = vectors.filter(({ rpc_type }) => rpcOfType(rpc_type) !== undefined);
const served = known.filter(({ outcome, rpc_type }) => outcome === undefined && rpc_type !== 4);

test('there are requests of every kind, and refused ones', () => {
  expect(new Set(served.map(({ rpc_type }) => rpc_type))).toEqual(new Set([0, 1, 2, 3]));
  expect(known.length).toBeGreaterThan(served.length);
});

describe('requests', () => {
  test.each(served.filter(({ sender }) => sender === 'real').map((vector) => [vector.name, vector] as const))(
    'come out byte for byte as they came in: %s',
    (_, { request_hex, rpc_type }) => {
      const bytes = hex(request_hex);
      const [type, request] = cut(bytes);
      expect(type![0]).toBe(rpc_type);
      const message = decodeRequest(rpcOfType(rpc_type)!, request!);
      expect(Buffer.from(encodeRequest(message)).toString('hex')).toBe(
        bytes.subarray(0, 1 + request!.length).toString('hex'),
      );
    },
  );

  const decoded = served.flatMap((vector) => (vector.request ? [[vector.name, vector, vector.request] as const] : []));

  test.each(decoded)('are read as the peer reads them: %s', (_, vector, fields) => {
    const [, request] = cut(hex(vector.request_hex));
    const message = decodeRequest(rpcOfType(vector.rpc_type)!, request!);
    for (const field of ['Term', 'LastLogIndex', 'PrevLogEntry', 'Size', 'Leader', 'Candidate', 'LeadershipTransfer']) {
      const expected = fields[field];
      if (expected === undefined || typeof expected === 'object') continue;
      expect((message.request as unknown as Record<string, unknown>)[field]).toEqual(expected);
    }
  });

  test.each(known.filter(({ outcome }) => outcome !== undefined).map((v) => [v.name, v] as const))(
    'that the peer cannot read are errors: %s',
    (_, { rpc_type, request_hex }) => {
      // Pre-vote is ours to answer, although 1.8 does not.
      if (rpc_type === 4) return;
      const [, request] = cut(hex(request_hex));
      expect(() => decodeRequest(rpcOfType(rpc_type)!, request!)).toThrow();
    },
  );

  test.each(served.map((vector) => [vector.name, vector] as const))(
    'are refused for their version or not: %s',
    (_, vector) => {
      const [, request] = cut(hex(vector.request_hex));
      const refusal = versionRefusal(decodeRequest(rpcOfType(vector.rpc_type)!, request!));
      const real = vector.reply_error ?? '';
      expect(refusal ?? '').toBe(real.includes('protocol version') ? real : '');
    },
  );

  test('a snapshot carries its body behind it', () => {
    const vector = vectors.find(({ body_sha256 }) => body_sha256 !== undefined)!;
    const body = hex(vector.request_body_hex!);
    expect(createHash('sha256').update(body).digest('hex')).toBe(vector.body_sha256);
    const message = decodeRequest('installSnapshot', cut(hex(vector.request_hex))[1]!);
    expect(message.rpc === 'installSnapshot' && message.request.Size).toBe(body.length);
  });
});

describe('answers', () => {
  const answered = served.filter(({ reply_hex }) => reply_hex);

  test.each(answered.map((vector) => [vector.name, vector] as const))('come out byte for byte: %s', (_, vector) => {
    const rpc = rpcOfType(vector.rpc_type) as RaftRpc;
    const bytes = hex(vector.reply_hex!);
    const [error, value] = cut(bytes);
    if (vector.reply_error) {
      expect(() => decodeAnswer(rpc, error!, value!)).toThrow(vector.reply_error);
      if (vector.reply === null) {
        const again = encodeAnswer({ error: vector.reply_error, message: null });
        expect(Buffer.from(again).toString('hex')).toBe(vector.reply_hex);
      }
      return;
    }
    const message = decodeAnswer(rpc, error!, value!);
    expect(message.response).toEqual(vector.reply);
    expect(Buffer.from(encodeAnswer({ error: '', message })).toString('hex')).toBe(vector.reply_hex);
  });
});

describe('configurations', () => {
  interface Entry {
    readonly index: number;
    readonly log_type: number;
    readonly data_hex: string;
    readonly payload: { readonly Servers: readonly Record<string, unknown>[] } | readonly string[];
  }
  const { scenarios } = fixture('raft-configuration') as {
    scenarios: readonly { readonly scenario: string; readonly entries: readonly Entry[] }[];
  };
  const entries = scenarios.flatMap((scenario) => scenario.entries);

  test.each(entries.filter(({ log_type }) => log_type === 5).map((entry) => [entry.index, entry] as const))(
    'entry %i comes out byte for byte',
    (_, { data_hex, payload }) => {
      const configuration = decodeConfiguration(hex(data_hex));
      expect(configuration).toEqual(payload);
      expect(Buffer.from(encodeConfiguration(configuration)).toString('hex')).toBe(data_hex);
    },
  );

  test('those of protocol 2 are addresses of voters', () => {
    const old = entries.filter(({ log_type }) => log_type === 3);
    expect(old.length).toBeGreaterThan(0);
    for (const { index, data_hex, payload } of old) {
      const found = configurationOf({ Index: index, Term: 1, Type: 3, Data: hex(data_hex), Extensions: null });
      expect(found?.Servers).toEqual((payload as string[]).map((ID) => ({ Suffrage: 0, ID, Address: ID })));
    }
  });
});

test('an entry in the store of the peer', () => {
  const { stable_store } = fixture('hashes-and-times') as {
    stable_store: readonly { readonly bucket: string; readonly value_hex: string }[];
  };
  const stored = stable_store.find(({ bucket }) => bucket === 'logs')!;
  const noop = { Index: 2, Term: 2, Type: 1, Data: null, Extensions: null };
  expect(Buffer.from(encodeLogEntry(noop)).toString('hex')).toBe(stored.value_hex);
});
