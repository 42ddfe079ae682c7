// Every recorded message of serf is decoded, compared with what the recording says it means, and encoded again.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeShape, encodeShape, type Shape } from '../../../../src/codec/index.ts';
import { messageType as memberlistType } from '../../../../src/gossip/memberlist/messages.ts';
import { openPacket, type Security } from '../../../../src/gossip/memberlist/packet.ts';
import { StreamMessageReader } from '../../../../src/gossip/memberlist/stream-message.ts';
import { Keyring } from '../../../../src/gossip/memberlist/keyring.ts';
import {
  conflictResponse,
  decodeRelay,
  encodeMessage,
  encodeRelay,
  filterType,
  joinIntent,
  keyRequest,
  keyResponse,
  leaveIntent,
  messageType,
  nodesFilter,
  pushPull,
  query,
  queryResponse,
  tagFilter,
  userEvent,
} from '../../../../src/gossip/serf/messages.ts';
import { decodeTags, encodeTags } from '../../../../src/gossip/serf/tags.ts';

interface Vector {
  readonly name: string;
  readonly transport: 'udp' | 'tcp';
  readonly direction: 'from-real-peer' | 'to-real-peer';
  readonly hex: string;
  readonly keys?: readonly { readonly hex: string }[];
  readonly label?: string;
  readonly decoded: unknown;
}

function fixture(name: string): readonly Vector[] {
  const path = join(import.meta.dirname, `../../../fixtures/gossip/${name}.json`);
  return JSON.parse(readFileSync(path, 'utf8')) as readonly Vector[];
}

const securityOf = ({ keys, label }: Vector): Security => ({
  keyring: keys === undefined ? undefined : new Keyring(keys.map(({ hex }) => Buffer.from(hex, 'hex'))),
  verifyIncoming: false,
  verifyOutgoing: true,
  label: Buffer.from(label ?? '', 'utf8'),
});

/** serf's messages inside a recorded datagram. */
function userMessages(vector: Vector): Uint8Array[] {
  const messages: Uint8Array[] = [];
  openPacket(
    Buffer.from(vector.hex, 'hex'),
    securityOf(vector),
    (type, body) => {
      if (type === memberlistType.user) messages.push(body);
    },
    (problem) => {
      throw new Error(problem);
    },
  );
  return messages;
}

const messageShapes: Readonly<Record<number, Shape<unknown, never>>> = {
  [messageType.join]: joinIntent,
  [messageType.leave]: leaveIntent,
  [messageType.userEvent]: userEvent,
  [messageType.query]: query,
  [messageType.queryResponse]: queryResponse,
  [messageType.conflictResponse]: conflictResponse,
  [messageType.keyRequest]: keyRequest,
  [messageType.keyResponse]: keyResponse,
};

/** Bytes as the recordings write them. */
function asRecorded(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(asRecorded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asRecorded(item)]));
}

/** All objects of a recording that describe a message of serf. */
function described(value: unknown): { readonly serfType: number; readonly fields?: unknown }[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.values(value).flatMap(described);
  return 'serfType' in value ? [value as { readonly serfType: number }, ...inner] : inner;
}

/** Decodes a message and those it holds, checks that each encodes to the same bytes, and returns them. */
function roundTrip(message: Uint8Array): { readonly serfType: number; readonly fields?: unknown }[] {
  const type = message[0]!;
  if (type === messageType.relay) {
    const { header, message: inner } = decodeRelay(message.subarray(1));
    const { DestAddr, DestName } = header;
    const to = { addressBytes: DestAddr.IP!, port: DestAddr.Port, name: DestName };
    expect(Buffer.from(encodeRelay(to, inner)).toString('hex')).toBe(Buffer.from(message).toString('hex'));
    return [{ serfType: type }, ...roundTrip(inner)];
  }
  const shape = messageShapes[type] as Shape<unknown>;
  expect(shape, `type ${type}`).toBeDefined();
  const fields = decodeShape(shape, message.subarray(1));
  // The one field that is sent empty, not nil; reading makes no difference between them.
  const written = type === messageType.keyRequest ? { Key: (fields as { Key: null }).Key ?? new Uint8Array() } : fields;
  expect(Buffer.from(encodeMessage(type, shape, written)).toString('hex')).toBe(Buffer.from(message).toString('hex'));
  const { Payload, Name } = (fields ?? {}) as { readonly Payload?: Uint8Array | null; readonly Name?: string };
  const isInternal = type === messageType.queryResponse || /-keys?$/.test(Name ?? '');
  const inner = isInternal && Payload && Payload[0]! >= 6 && Payload[0]! <= 8 ? roundTrip(Payload) : [];
  return [{ serfType: type, fields: asRecorded(fields) }, ...inner];
}

const vectors = [...fixture('serf-messages'), ...fixture('encryption')].filter(
  ({ transport, decoded }) => transport === 'udp' && described(decoded).some(({ serfType }) => serfType !== 2),
);

describe('recorded messages', () => {
  test('are all there', () => {
    expect(vectors.length).toBeGreaterThanOrEqual(19);
  });

  test.each(vectors.map((vector) => [vector.name, vector] as const))('%s', (_, vector) => {
    const messages = userMessages(vector).flatMap(roundTrip);
    const wanted = described(vector.decoded);
    expect(messages.map(({ serfType }) => serfType)).toEqual(wanted.map(({ serfType }) => serfType));
    for (const [i, { serfType, fields }] of wanted.entries()) {
      if (fields !== undefined && serfType !== messageType.keyRequest) expect(messages[i]!.fields).toEqual(fields);
    }
  });

  test('filters of a query', () => {
    const vector = vectors.find(({ name }) => name === 'query-node-and-tag-filter')!;
    const { Filters } = decodeShape(query, userMessages(vector)[0]!.subarray(1));
    const [nodes, tag] = Filters!;
    expect(nodes![0]).toBe(filterType.nodes);
    expect(decodeShape(nodesFilter, nodes!.subarray(1))).toEqual(['tsnode']);
    expect(Buffer.compare(encodeShape(nodesFilter, ['tsnode']), nodes!.subarray(1))).toBe(0);
    expect(tag![0]).toBe(filterType.tag);
    expect(decodeShape(tagFilter, tag!.subarray(1))).toEqual({ Tag: 'role', Expr: 'ts' });
    expect(Buffer.compare(encodeShape(tagFilter, { Tag: 'role', Expr: 'ts' }), tag!.subarray(1))).toBe(0);
  });
});

describe('recorded exchanges of states', () => {
  const streams = fixture('memberlist-tcp').filter(({ name }) => name.startsWith('pushpull'));

  test.each(streams.map((vector) => [vector.name, vector] as const))('%s', (_, vector) => {
    const reader = new StreamMessageReader(securityOf(vector), { accepted: true });
    const message = reader.push(Buffer.from(vector.hex, 'hex'));
    if (message?.type !== 'pushPull') throw new Error('no push/pull');
    const { userState } = message;
    expect(userState[0]).toBe(messageType.pushPull);
    const state = decodeShape(pushPull, userState.subarray(1));
    const [recorded] = described(vector.decoded) as { fields: Record<string, unknown> }[];
    const { Events, ...rest } = recorded!.fields;
    expect(state).toMatchObject(rest);
    // Real peers send all slots; a list that is missing, as a peer accepts it, has no way back.
    expect(Events === null).toBe(vector.direction === 'to-real-peer');
    if (Events === null) return;
    expect(state.Events.length).toBe(512);
    expect(Buffer.from(encodeMessage(messageType.pushPull, pushPull, state)).toString('hex')).toBe(
      Buffer.from(userState).toString('hex'),
    );
  });
});

describe('recorded tags', () => {
  test.each(fixture('tags').map((vector) => [vector.name, vector] as const))('%s', (_, vector) => {
    const meta = Buffer.from(vector.hex, 'hex');
    const decoded = vector.decoded as { readonly tags?: Record<string, string>; readonly roleOnly?: string };
    expect(decodeTags(meta)).toEqual(decoded.tags ?? { role: decoded.roleOnly });
    if (decoded.tags !== undefined) expect(encodeTags(decodeTags(meta))).toEqual(meta);
  });
});
