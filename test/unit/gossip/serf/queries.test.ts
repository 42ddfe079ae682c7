import { describe, expect, test } from 'vitest';
import { decodeShape } from '../../../../src/codec/index.ts';
import { type Memberlist, type MemberlistMember, Keyring } from '../../../../src/gossip/memberlist/index.ts';
import { answerKeyQuery, formatKeyringFile, KeyManager, parseKeyringFile } from '../../../../src/gossip/serf/keys.ts';
import { LamportClock } from '../../../../src/gossip/serf/lamport-clock.ts';
import { MemberTable } from '../../../../src/gossip/serf/member-table.ts';
import { decodeRelay, encodeMessage, messageType, query, queryResponse } from '../../../../src/gossip/serf/messages.ts';
import { Queries, type ReceivedQuery } from '../../../../src/gossip/serf/queries.ts';
import type { Endpoint } from '../../../../src/ports/index.ts';
import { SeededRandom } from '../../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../../helpers/logger.ts';

const metrics = { count() {}, gauge() {}, sample() {} };
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
const bytes = (value: string): Uint8Array => Buffer.from(value, 'utf8');

function node(name: string, last: number): MemberlistMember {
  return {
    name,
    address: `10.0.0.${last}`,
    addressBytes: Uint8Array.of(10, 0, 0, last),
    port: 7946,
    meta: Uint8Array.of(0xff, 0x80),
    state: 'alive',
    protocol: { min: 1, max: 5, current: 2 },
    delegate: { min: 2, max: 5, current: 5 },
    incarnation: 1,
  };
}

/** A node `self` that knows `others` more; what it sends is kept. */
function setUp(others = 3) {
  const clock = new VirtualClock();
  const sent: { readonly to: Endpoint; readonly message: Uint8Array }[] = [];
  const spread: Uint8Array[] = [];
  const delivered: ReceivedQuery[] = [];
  const memberlist = {
    localMember: node('self', 1),
    numAlive: others + 1,
    sendBestEffort: (to: Endpoint, message: Uint8Array) => sent.push({ to, message }),
  } as unknown as Memberlist;
  const table = new MemberTable({
    self: 'self',
    clock,
    logger: silentLogger,
    metrics,
    isLeaving: () => false,
    pruneDelayMs: 0,
    reconnectTimeoutMs: 1,
    tombstoneTimeoutMs: 1,
    emit: () => {},
  });
  table.joined(node('self', 1));
  for (let i = 0; i < others; i++) table.joined(node(`n${i}`, i + 2));
  const lamport = new LamportClock();
  const queries = new Queries({
    self: 'self',
    memberlist,
    table,
    lamport,
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    metrics,
    tags: () => ({ role: 'web-1' }),
    gossipIntervalMs: 200,
    queryBytesMax: 1024,
    responseBytesMax: 1024,
    spread: (message) => spread.push(message),
    deliver: (received) => delivered.push(received),
  });
  return { clock, delivered, lamport, queries, sent, spread };
}

const foreign = {
  LTime: 5,
  ID: 77,
  Addr: Uint8Array.of(10, 0, 0, 9),
  Port: 7946,
  SourceNode: 'asker',
  Filters: null,
  Flags: 0,
  RelayFactor: 0,
  Timeout: 3e9,
  Name: 'uptime',
  Payload: bytes('p'),
};
const body = (changes: Partial<typeof foreign> | { readonly Filters: readonly Uint8Array[] }): Uint8Array =>
  encodeMessage(messageType.query, query, { ...foreign, ...changes }).subarray(1);
const response = (fields: {
  LTime: number;
  ID: number;
  From: string;
  Flags?: number;
  Payload?: Uint8Array;
}): Uint8Array => encodeMessage(messageType.queryResponse, queryResponse, fields).subarray(1);

describe('a question of ours', () => {
  test('is spread, and answered by this node too', async () => {
    const { clock, delivered, lamport, queries, spread } = setUp();
    const handle = queries.ask('uptime', bytes('q'), { wantsAcks: true });
    expect(lamport.time).toBe(handle.lTime + 1);
    expect(decodeShape(query, spread[0]!.subarray(1))).toMatchObject({ Name: 'uptime', Flags: 1, Timeout: 3.2e9 });
    delivered[0]!.respond(bytes('mine'));
    await clock.advance(1);
    expect(handle.acks).toEqual(['self']);
    expect(handle.responses.map(({ from, payload }) => [from, text(payload)])).toEqual([['self', 'mine']]);
  });

  test('takes one ack and one answer of each member, in its time', async () => {
    const { clock, queries } = setUp();
    const seen: string[] = [];
    const handle = queries.ask('uptime', bytes(''), {
      onAck: (from) => seen.push(`ack ${from}`),
      onResponse: ({ from }) => seen.push(from),
    });
    const { lTime: LTime, id: ID } = handle;
    queries.takeResponse(response({ LTime, ID, From: 'n0', Payload: bytes('1') }));
    queries.takeResponse(response({ LTime, ID, From: 'n0', Payload: bytes('2') }));
    queries.takeResponse(response({ LTime, ID, From: 'n0', Flags: 1 }));
    queries.takeResponse(response({ LTime, ID, From: 'n0', Flags: 1 }));
    queries.takeResponse(response({ LTime, ID: ID + 1, From: 'n1' }));
    queries.takeResponse(response({ LTime: LTime + 1, ID, From: 'n1' }));
    let isFinished = false;
    void handle.finished.then(() => (isFinished = true));
    await clock.advance(3199);
    expect(isFinished).toBe(false);
    await clock.advance(1);
    expect(isFinished).toBe(true);
    queries.takeResponse(response({ LTime, ID, From: 'n2' }));
    expect(seen).toEqual(['n0', 'ack n0']);
    expect(handle.responses.map(({ payload }) => text(payload))).toEqual(['1']);
    expect(clock.pendingTimers).toBe(0);
  });

  test('has limits', () => {
    const { queries } = setUp();
    expect(() => queries.ask('q', new Uint8Array(1024))).toThrow('query exceeds limit of 1024 bytes');
    expect(() => queries.ask('q', bytes(''), { relayFactor: 256 })).toThrow('a relay factor is 0 to 255, got 256');
    for (let i = 0; i < 1024; i++) queries.ask('q', bytes(''));
    expect(() => queries.ask('q', bytes(''))).toThrow('1024 queries wait for answers already');
    queries.stop();
  });
});

describe('a question of another', () => {
  test('is delivered once and told on once', () => {
    const { delivered, lamport, queries } = setUp();
    expect(queries.take(body({}))).toBe(true);
    expect(queries.take(body({}))).toBe(false);
    expect(queries.take(body({ ID: 78 }))).toBe(true);
    expect(delivered.map(({ id }) => id)).toEqual([77, 78]);
    expect(lamport.time).toBe(6);
  });

  test('is answered straight to the asker, once, and not too late', () => {
    const { clock, delivered, queries, sent } = setUp();
    queries.take(body({}));
    const [received] = delivered as [ReceivedQuery];
    expect(() => received.respond(new Uint8Array(1024))).toThrow('response exceeds limit of 1024 bytes');
    received.respond(bytes('yes'));
    expect(sent[0]!.to).toEqual({ address: '10.0.0.9', port: 7946 });
    expect(decodeShape(queryResponse, sent[0]!.message.subarray(1))).toMatchObject({ From: 'self', LTime: 5, ID: 77 });
    expect(() => received.respond(bytes('again'))).toThrow('response already sent');
    queries.take(body({ ID: 78 }));
    clock.advanceSync(3001);
    expect(() => delivered[1]!.respond(bytes('late'))).toThrow('response is past the deadline');
  });

  test('is acknowledged on request, with copies by way of others', () => {
    const { queries, sent } = setUp();
    queries.take(body({ Flags: 1, RelayFactor: 2 }));
    expect(sent.length).toBe(3);
    const [direct, ...relayed] = sent.map(({ message }) => message);
    expect(decodeShape(queryResponse, direct!.subarray(1))).toMatchObject({ Flags: 1, Payload: null });
    for (const message of relayed) {
      expect(message[0]).toBe(messageType.relay);
      const { header, message: inner } = decodeRelay(message.subarray(1));
      expect(header.DestName).toBe('asker');
      expect(Buffer.compare(inner, direct!)).toBe(0);
    }
    const targets = sent.slice(1).map(({ to }) => to.address);
    expect(new Set(targets).size).toBe(2);
    expect(targets).not.toContain('10.0.0.1');
  });

  test('is not relayed in a pool that is too small', () => {
    const { queries, sent } = setUp(1);
    queries.take(body({ Flags: 1, RelayFactor: 2 }));
    expect(sent.length).toBe(1);
  });

  const nodesFilter = (names: string): Uint8Array =>
    Buffer.from(`0091a${names.length.toString(16)}${Buffer.from(names).toString('hex')}`, 'hex');
  const tagFilter = (Tag: string, Expr: string): Uint8Array =>
    Buffer.concat([
      Buffer.from([1, 0x82, 0xa4]),
      bytes('Expr'),
      Buffer.from([0xa0 | Expr.length]),
      bytes(Expr),
      Buffer.from([0xa3]),
      bytes('Tag'),
      Buffer.from([0xa0 | Tag.length]),
      bytes(Tag),
    ]);

  test.each<[string, Uint8Array[], boolean]>([
    ['our name', [nodesFilter('self')], true],
    ['another name', [nodesFilter('n0')], false],
    ['a tag that matches in its middle', [tagFilter('role', 'eb-[0-9]')], true],
    ['a tag that does not match', [tagFilter('role', '^db')], false],
    ['a tag that we do not have', [tagFilter('dc', '^$')], true],
    ['our name and a tag that does not match', [nodesFilter('self'), tagFilter('role', 'x')], false],
    ['a broken expression', [tagFilter('role', '(')], false],
    ['an unknown kind', [Uint8Array.of(9, 0x90)], false],
  ])('with a filter of %s', (_, Filters, isMeant) => {
    const { delivered, queries, sent } = setUp();
    expect(queries.take(body({ Filters, ...{ Flags: 1 } }))).toBe(true);
    expect(delivered.length).toBe(isMeant ? 1 : 0);
    expect(sent.length).toBe(isMeant ? 1 : 0);
  });

  test('that must not spread does not', () => {
    const { delivered, queries } = setUp();
    expect(queries.take(body({ Flags: 2 }))).toBe(false);
    expect(delivered.length).toBe(1);
  });
});

test('an answer of another is passed on as it came', () => {
  const { queries, sent } = setUp();
  const relay = Buffer.from(
    '82a8446573744164647283a24950a47f000001a4506f7274cd1f0aa45a6f6e65a0a8446573744e616d65a1780512',
    'hex',
  );
  queries.takeRelay(relay);
  expect(sent).toEqual([{ to: { address: '127.0.0.1', port: 7946 }, message: relay.subarray(-2) }]);
});

describe('a question about keys', () => {
  const keyA = Buffer.alloc(16, 1);
  const keyB = Buffer.alloc(16, 2);

  /** One node asks itself. */
  function setUpKeys(
    keyring: Keyring | undefined,
    save: (keys: readonly Uint8Array[]) => Promise<void> = async () => {},
  ) {
    const { clock, delivered, queries } = setUp(0);
    const keys = new KeyManager({
      ask: (name, payload, parameters) => {
        const handle = queries.ask(name, payload, parameters);
        void answerKeyQuery(delivered.pop()!, { keyring, save, logger: silentLogger });
        return handle;
      },
      numNodes: () => 1,
    });
    return async (operation: 'install' | 'use' | 'remove' | 'list', key = '') => {
      const running = operation === 'list' ? keys.list() : keys[operation](key);
      await clock.advance(10);
      return running;
    };
  }

  test('goes through a whole rotation, which is written down', async () => {
    const saved: string[] = [];
    const run = setUpKeys(new Keyring([keyA]), async (keys) => void saved.push(keys.map((key) => key[0]).join()));
    expect(await run('install', keyB.toString('base64'))).toMatchObject({ numResponses: 1, error: null });
    expect(await run('use', keyB.toString('base64'))).toMatchObject({ error: null });
    const { keys, primaryKeys, messages } = await run('list');
    expect([...keys.values()]).toEqual([1, 1]);
    expect([...primaryKeys.keys()]).toEqual([keyB.toString('base64')]);
    expect(messages.size).toBe(0);
    expect(await run('remove', keyA.toString('base64'))).toMatchObject({ error: null });
    expect(saved).toEqual(['1,2', '2,1', '2']);
  });

  test.each([
    ['use', keyB, 'Requested key is not in the keyring'],
    ['remove', keyA, 'Removing the primary key is not allowed'],
    ['install', Buffer.alloc(5), 'key size must be 16, 24 or 32 bytes'],
  ] as const)('to %s a wrong key fails with the peers words', async (operation, key, message) => {
    const result = await setUpKeys(new Keyring([keyA]))(operation, key.toString('base64'));
    expect(result.error).toBe('1/1 nodes reported failure');
    expect(result.messages).toEqual(new Map([['self', message]]));
  });

  test.each([
    ['list', 'Keyring is empty (encryption not enabled)'],
    ['install', 'No keyring to modify (encryption not enabled)'],
  ] as const)('to %s fails without encryption', async (operation, message) => {
    const result = await setUpKeys(undefined)(operation, keyA.toString('base64'));
    expect(result).toMatchObject({ error: '1/1 nodes reported failure', messages: new Map([['self', message]]) });
  });

  test('fails when the ring cannot be written down', async () => {
    const run = setUpKeys(new Keyring([keyA]), () => Promise.reject(new Error('disk full')));
    expect((await run('install', keyB.toString('base64'))).messages.get('self')).toBe('disk full');
  });

  test('lists as many keys as fit a packet, and says so', async () => {
    const many = Array.from({ length: 60 }, (_, i) => Buffer.alloc(32, i));
    const { keys, messages } = await setUpKeys(new Keyring(many))('list');
    expect(keys.size).toBeGreaterThan(15);
    expect(messages.get('self')).toBe(`truncated key list response, showing first ${keys.size} of 60 keys`);
  });

  test('is refused before it is asked when the key is no base64', async () => {
    await expect(setUpKeys(new Keyring([keyA]))('install', 'a*b')).rejects.toThrow(
      'illegal base64 data at input byte 1',
    );
  });
});

describe('a keyring file', () => {
  test('is a list of base64, the primary first', () => {
    const keys = [Buffer.alloc(16, 1), Buffer.alloc(32, 2)];
    const file = formatKeyringFile(keys);
    expect(file).toBe(`[\n  "${keys[0]!.toString('base64')}",\n  "${keys[1]!.toString('base64')}"\n]`);
    expect(parseKeyringFile(file)).toEqual(keys);
  });

  test.each(['', '{}', '[]', '[1]', '["a*"]'])('is not %j', (file) => {
    expect(() => parseKeyringFile(file)).toThrow(/keyring file|base64/);
  });
});
