// The traps chapter of reference/gossip.md (§8), item by item. Those that have their test elsewhere:
//
//  1  incarnations, refuting one's past      memberlist.test.ts: one that restarts is alive again, refuting its past
//  2  leaving in the right order             memberlist.test.ts: is seen as left by all, and the leaver still answers
//                                            simulation/serf.test.ts: nobody holds for failed ... who leaves
//  4  an answer is no admission              memberlist.test.ts: a refused merge leaves the joiner unaware ...
//  5  encryption of packets and streams      vectors.test.ts: encryption.json
//  6  strings as bin, floats for integers    memberlist.test.ts: odd encodings (msgpack-tolerance.json)
//  7  coordinates as doubles                 coordinate-client.test.ts: travels as doubles, whole numbers too
//  8  LZW                                    codec/lzw.test.ts: lzw.json
//  9  what crashes peers, received           memberlist.test.ts: odd encodings
// 10  key queries and relays are answered    queries.test.ts: a question about keys; an answer of another is passed on
// 13  a stall of the event loop              memberlist.test.ts: a member that stalls suspects nobody when it wakes
//                                            limits.test.ts: answers pings while it is flooded
// 14  left and failed in the catalog         server/member-reconciler.test.ts
// 15  odd versions of a record that left     memberlist.test.ts: versions that somebody cannot speak ...
// 16  no order within a burst                recent-messages.test.ts: delivers nothing twice, in whatever order ...
import { describe, expect, test } from 'vitest';
import { decodeShape, encodeShape, MsgpackWriter } from '../../../src/codec/index.ts';
import { createSerf, lanProfile, suspicionMinMs } from '../../../src/gossip/index.ts';
import {
  alive,
  dead,
  decodeBody,
  encodeMessage,
  messageType,
  pushPullNode,
  suspect,
} from '../../../src/gossip/memberlist/messages.ts';
import { openPacket, type Security } from '../../../src/gossip/memberlist/packet.ts';
import { encodePushPull, StreamMessageReader } from '../../../src/gossip/memberlist/stream-message.ts';
import { messageType as serfType, userEvent } from '../../../src/gossip/serf/messages.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { noMetrics, Pool, type PoolMember, port, stateOf } from './memberlist/support.ts';

const seed = 3;
const security: Security = { keyring: undefined, verifyIncoming: true, verifyOutgoing: true, label: new Uint8Array() };
const mapped = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 9, 9, 9);
const short = Uint8Array.of(10, 9, 9, 9);

interface Peer {
  /** Messages that reached it, type byte and body. */
  readonly heard: Uint8Array[];
  send(packet: Uint8Array): void;
}

/** A machine at 10.9.9.9 that sends raw bytes to a member. */
async function rawPeer(pool: Pool, to: { readonly address: string }): Promise<Peer> {
  const heard: Uint8Array[] = [];
  const socket = await pool.network.host('10.9.9.9').datagrams.bind({ address: '10.9.9.9', port }, (packet) =>
    openPacket(
      packet,
      security,
      (type, body) => heard.push(Buffer.concat([Buffer.of(type), body])),
      (problem) => {
        throw new Error(problem);
      },
    ),
  );
  return { heard, send: (packet) => socket.send(packet, { address: to.address, port }) };
}

const aliveOf = (Node: string, Incarnation: number, Addr: Uint8Array): Uint8Array =>
  encodeMessage(messageType.alive, alive, {
    Node,
    Incarnation,
    Addr,
    Port: port,
    Meta: null,
    Vsn: Uint8Array.of(1, 5, 2, 2, 5, 4),
  });

/** What a member answers to a push/pull of these records. */
async function exchange(pool: Pool, member: PoolMember, nodes: readonly Uint8Array[]) {
  const stream = await pool.settle(
    pool.network.host('10.9.9.8').streams.connect({ address: member.address, port }, { timeoutMs: 1_000 }),
  );
  const reader = new StreamMessageReader(security, { accepted: false });
  const answered = new Promise<ReturnType<typeof reader.push>>((resolve) => {
    stream.subscribe({
      onData: (bytes) => {
        const message = reader.push(bytes);
        if (message !== undefined) resolve(message);
      },
      onEnd() {},
      onDrain() {},
      onClose() {},
    });
  });
  stream.write(encodePushPull(false, nodes, new Uint8Array()));
  const message = await pool.settle(answered);
  if (message?.type !== 'pushPull') throw new Error('no push/pull');
  return message.nodes;
}

describe('trap 3: the bytes of an address', () => {
  test('are told on as they came, and another form of them is another address', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a');
    const peer = await rawPeer(pool, a);
    peer.send(aliveOf('x', 1, mapped));
    await pool.clock.advance(1_000);
    expect(a.memberlist.member('x')).toMatchObject({ address: '10.9.9.9', addressBytes: mapped });
    const gossiped = peer.heard
      .filter(([type]) => type === messageType.alive)
      .map((message) => decodeBody(alive, message.subarray(1)))
      .find(({ Node }) => Node === 'x');
    expect(Buffer.from(gossiped!.Addr!)).toEqual(Buffer.from(mapped));
    const held = (await exchange(pool, a, [])).find(({ Name }) => Name === 'x');
    expect(Buffer.from(held!.Addr!)).toEqual(Buffer.from(mapped));
    peer.send(aliveOf('x', 2, short));
    await pool.clock.advance(10);
    expect(a.events).toContain('conflict x');
    expect(a.memberlist.member('x')!.incarnation).toBe(1);
  });
});

test('trap 9: no empty part is ever sent', async () => {
  const pool = new Pool(seed);
  const a = await pool.add('a', {
    delegate: { broadcasts: () => [new Uint8Array(), Uint8Array.of(7), new Uint8Array()] },
  });
  const peer = await rawPeer(pool, a);
  peer.send(aliveOf('x', 1, short));
  await pool.clock.advance(2_000);
  const users = peer.heard.filter(([type]) => type === messageType.user);
  expect(users.length).toBeGreaterThan(0);
  for (const message of users) expect([...message]).toEqual([messageType.user, 7]);
});

test('trap 11: what is told on are the bytes that came, with fields that nobody here knows, and once', async () => {
  const pool = new Pool(seed);
  const host = pool.network.host('10.0.0.1');
  const serf = createSerf({
    nodeName: 'a',
    tags: {},
    bind: { address: '10.0.0.1', port },
    profile: { ...lanProfile, compress: false },
    onEvent() {},
    clock: host.clock,
    random: pool.random.fork(),
    datagrams: host.datagrams,
    streams: host.streams,
    logger: silentLogger,
    metrics: noMetrics,
  });
  await serf.start();
  const peer = await rawPeer(pool, { address: '10.0.0.1' });
  peer.send(aliveOf('x', 1, short));
  // A map of one more field than ours has, keys in no order.
  const known = encodeShape(userEvent, { LTime: 9, Name: 'deploy', Payload: null, CC: false });
  const writer = new MsgpackWriter();
  writer.encoded(Uint8Array.of(0x80 | 5, 0xa1, 0x5a, 0x01));
  writer.encoded(known.subarray(1));
  const message = Buffer.concat([Buffer.of(messageType.user, serfType.userEvent), writer.bytes()]);
  expect(decodeShape(userEvent, message.subarray(2)).Name).toBe('deploy');
  const copies = async (): Promise<number> => {
    peer.heard.length = 0;
    peer.send(message);
    await pool.clock.advance(1_500);
    return peer.heard.filter((heard) => Buffer.compare(heard, message) === 0).length;
  };
  expect(await copies()).toBe(4);
  expect(await copies()).toBe(0);
  await serf.shutdown();
});

test('trap 12: those that left count in the time of a suspicion', async () => {
  const pool = new Pool(seed);
  const a = await pool.add('a');
  const peer = await rawPeer(pool, a);
  const gone = 98;
  for (let i = 0; i < gone; i++) {
    const Node = `gone${i}`;
    peer.send(aliveOf(Node, 1, Uint8Array.of(10, 8, 0, i)));
    await pool.clock.advance(5);
    peer.send(encodeMessage(messageType.dead, dead, { Node, From: Node, Incarnation: 1 }));
    await pool.clock.advance(5);
  }
  peer.send(aliveOf('x', 1, short));
  await pool.clock.advance(5);
  expect(a.memberlist.numRecords).toBe(gone + 2);
  const n = a.memberlist.numRecords;
  const minMs = suspicionMinMs(lanProfile.suspicionMultiplier, n, lanProfile.probeIntervalMs);
  expect(minMs).toBe(8_000);
  const accuse = (From: string): void =>
    peer.send(encodeMessage(messageType.suspect, suspect, { Node: 'x', From, Incarnation: 1 }));
  // Three accusers, so that the shortest time holds.
  for (const from of ['gone1', 'gone2', 'gone3']) accuse(from);
  await pool.clock.advance(minMs - 100);
  expect(stateOf(a, 'x')).toBe('suspect');
  await pool.clock.advance(200);
  expect(stateOf(a, 'x')).toBe('dead');
});

test('trap 17: a push/pull is answered before it is merged, and the answer holds the one who answers', async () => {
  const pool = new Pool(seed);
  const a = await pool.add('a');
  const record = encodeShape(pushPullNode, {
    Name: 'x',
    Addr: short,
    Port: port,
    Meta: null,
    Incarnation: 1,
    State: 0,
    Vsn: Uint8Array.of(1, 5, 2, 0, 0, 0),
  }).slice();
  expect((await exchange(pool, a, [record])).map(({ Name }) => Name)).toEqual(['a']);
  await pool.clock.advance(10);
  expect((await exchange(pool, a, [])).map(({ Name }) => Name).toSorted()).toEqual(['a', 'x']);
});
