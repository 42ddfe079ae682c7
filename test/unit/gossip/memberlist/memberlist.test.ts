// Whole members on the simulated network: what one sees when another comes, goes, dies, lies or cannot be reached.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Keyring } from '../../../../src/gossip/memberlist/index.ts';
import {
  alive,
  dead,
  decodeBody,
  encodeMessage,
  messageType,
  suspect,
} from '../../../../src/gossip/memberlist/messages.ts';
import { openPacket } from '../../../../src/gossip/memberlist/packet.ts';
import { Pool, type PoolMember, port, stateOf } from './support.ts';

const seed = 7;
const key = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);

/** Sends raw bytes to a member from an address of its own. */
async function intruder(pool: Pool, address = '10.9.9.9'): Promise<(to: PoolMember, packet: Uint8Array) => void> {
  const socket = await pool.network.host(address).datagrams.bind({ address, port }, () => {});
  return (to, packet) => socket.send(packet, { address: to.address, port });
}

function aliveOf(
  name: string,
  incarnation: number,
  options: Partial<Parameters<typeof alive.write>[1]> = {},
): Uint8Array {
  return encodeMessage(messageType.alive, alive, {
    Node: name,
    Incarnation: incarnation,
    Addr: Uint8Array.of(10, 9, 9, 1),
    Port: port,
    Meta: null,
    Vsn: Uint8Array.of(1, 5, 2, 0, 0, 0),
    ...options,
  });
}

describe('joining', () => {
  test('shows both sides everyone, and gossip tells the rest', async () => {
    const pool = new Pool(seed);
    const [a, b, c] = [await pool.add('a'), await pool.add('b'), await pool.add('c')];
    expect(await pool.join(b, a)).toEqual({ joined: 1, errors: [] });
    expect(await pool.join(c, b)).toEqual({ joined: 1, errors: [] });
    await pool.clock.advance(2_000);
    expect(pool.agrees()).toBe(true);
    expect(a.events.toSorted()).toEqual(['join a', 'join b', 'join c']);
    expect(c.memberlist.numRecords).toBe(3);
  });

  test('takes names when it can resolve them and counts every address that answers', async () => {
    const pool = new Pool(seed);
    const [a, b] = [await pool.add('a'), await pool.add('b')];
    const c = await pool.add('c', { resolve: async (host) => (host === 'pool.test' ? [a.address, b.address] : []) });
    expect(await pool.settle(c.memberlist.join(['pool.test']))).toEqual({ joined: 2, errors: [] });
    expect(await pool.settle(c.memberlist.join([`b/${b.address}:${port}`, 'other.test', '10.0.0.1:0']))).toEqual({
      joined: 1,
      errors: [
        'Failed to resolve other.test: no such host other.test',
        'Failed to resolve 10.0.0.1:0: cannot join "10.0.0.1:0": use host, host:port, [v6]:port or name/host:port',
      ],
    });
    expect((await pool.settle(a.memberlist.join(['a.test']))).errors[0]).toContain('only IP addresses');
  });

  test('says which address failed and why', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a');
    const { joined, errors } = await pool.settle(a.memberlist.join(['10.0.0.1:9']));
    expect(joined).toBe(0);
    expect(errors).toEqual(['Failed to join 10.0.0.1: dial tcp 10.0.0.1:9: connect: connection refused']);
  });

  test('a refused merge leaves the joiner unaware and the others without it', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a', { delegate: { notifyMerge: () => 'wrong datacenter' } });
    const b = await pool.add('b');
    expect((await pool.join(b, a)).joined).toBe(1);
    expect(a.memberlist.numRecords).toBe(1);
    expect(a.log.join('\n')).toContain('wrong datacenter');
    const c = await pool.add('c', { delegate: { notifyMerge: () => 'wrong datacenter' } });
    expect((await pool.join(c, b)).errors).toEqual([`Failed to join ${b.address}: wrong datacenter`]);
    expect(c.memberlist.numRecords).toBe(1);
  });

  test('versions that somebody cannot speak refuse the merge, whatever the state of the record', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a', { delegateVersions: { min: 2, max: 5, current: 4 } });
    const b = await pool.add('b', { delegateVersions: { min: 5, max: 5, current: 5 } });
    expect((await pool.join(b, a)).errors[0]).toContain(
      `Node 'a' delegate protocol version (4) is incompatible: [5, 5]`,
    );
    expect(b.memberlist.numRecords).toBe(1);
  });

  test('a member is told to ignore an alive message', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a', { delegate: { notifyAlive: ({ name }) => (name === 'b' ? 'not today' : null) } });
    const b = await pool.add('b');
    await pool.join(b, a);
    await pool.clock.advance(2_000);
    expect(a.memberlist.member('b')).toBeUndefined();
    expect(a.log.join('\n')).toContain('not today');
  });

  test('members outside the allowed networks are not taken', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a', { allowedNetworks: ['10.0.0.0/24'] });
    const send = await intruder(pool);
    send(a, aliveOf('x', 1, { Addr: Uint8Array.of(10, 0, 0, 77) }));
    const send2 = await intruder(pool, '10.0.0.99');
    send2(a, aliveOf('y', 1));
    send2(a, aliveOf('z', 1, { Addr: Uint8Array.of(10, 0, 0, 78) }));
    await pool.clock.advance(100);
    expect(a.events).toEqual(['join a', 'join z']);
    await expect(pool.add('bad', { allowedNetworks: ['10.0.0.0'] })).rejects.toThrow('use the form 10.0.0.0/8');
  });
});

describe('leaving', () => {
  test('is seen as left by all, and the leaver still answers', async () => {
    const pool = new Pool(seed);
    const [a, b, c] = (await pool.grow(3)) as [PoolMember, PoolMember, PoolMember];
    await pool.settle(c.memberlist.leave(5_000));
    await pool.clock.advance(1_000);
    expect([stateOf(a, 'm2'), stateOf(b, 'm2'), stateOf(c, 'm2')]).toEqual(['left', 'left', 'left']);
    expect(a.events.at(-1)).toBe('left m2');
    // Nobody can talk it back into the pool.
    const send = await intruder(pool);
    send(c, aliveOf('m2', 99, { Addr: Uint8Array.of(10, 0, 0, 3) }));
    await pool.clock.advance(1_000);
    expect(stateOf(c, 'm2')).toBe('left');
  });

  test('alone does not wait, and cut off gives up at its timeout', async () => {
    const alone = new Pool(seed);
    await (await alone.add('a')).memberlist.leave(5_000);
    const pool = new Pool(seed);
    const [a] = (await pool.grow(2)) as [PoolMember];
    await a.memberlist.shutdown();
    await expect(pool.settle(pool.members[1]!.memberlist.leave(0))).rejects.toThrow(
      'timeout waiting for leave broadcast',
    );
  });

  test('a name that left may come back at once from another address', async () => {
    const pool = new Pool(seed);
    const [a, , c] = (await pool.grow(3)) as [PoolMember, PoolMember, PoolMember];
    await pool.settle(c.memberlist.leave(5_000));
    await c.memberlist.shutdown();
    await pool.clock.advance(1_000);
    const back = await pool.add('m2');
    await pool.join(back, a);
    await pool.clock.advance(2_000);
    expect(a.memberlist.member('m2')).toMatchObject({ state: 'alive', address: back.address });
    expect(a.events.slice(-2)).toEqual(['left m2', 'join m2']);
  });

  test('shutdown ends what waits and leaves no timer behind', async () => {
    const pool = new Pool(seed);
    const [a, b] = (await pool.grow(2)) as [PoolMember, PoolMember];
    a.meta = Uint8Array.of(1);
    const update = a.memberlist.updateNode(5_000).catch((error: Error) => error.message);
    const hanging = a.memberlist.join(['10.200.0.1']);
    await a.memberlist.shutdown();
    await b.memberlist.shutdown();
    expect(await update).toBe('memberlist: shut down');
    expect((await pool.settle(hanging)).joined).toBe(0);
    await pool.clock.advance(30_000);
    expect(pool.clock.pendingTimers).toBe(0);
  });
});

describe('failing', () => {
  test('is found within the formula and told to the layer above', async () => {
    const pool = new Pool(seed);
    const [a, b, c] = (await pool.grow(3)) as [PoolMember, PoolMember, PoolMember];
    c.host.crash();
    const startMs = pool.clock.monotonicMs();
    await pool.clock.advanceUntil(() => stateOf(a, 'm2') === 'dead' && stateOf(b, 'm2') === 'dead', 60_000);
    // Suspicion 4 s after a probe of 1 s that comes within a round of 2 s.
    expect(pool.clock.monotonicMs() - startMs).toBeGreaterThanOrEqual(4_000);
    expect(pool.clock.monotonicMs() - startMs).toBeLessThanOrEqual(4_000 + 4_000);
    expect(a.events.at(-1)).toBe('dead m2');
  });

  test('a dead member is forgotten after a while, and its name is free', async () => {
    const pool = new Pool(seed);
    const [a, , c] = (await pool.grow(3)) as [PoolMember, PoolMember, PoolMember];
    c.host.crash();
    await pool.clock.advance(60_000);
    expect(a.memberlist.numRecords).toBe(2);
    const back = await pool.add('m2');
    await pool.join(back, a);
    await pool.clock.advance(2_000);
    expect(stateOf(a, 'm2')).toBe('alive');
  });

  test('one that restarts is alive again, refuting its past', async () => {
    const pool = new Pool(seed);
    const [a, , c] = (await pool.grow(3)) as [PoolMember, PoolMember, PoolMember];
    c.host.crash();
    await pool.clock.advanceUntil(() => stateOf(a, 'm2') === 'dead', 60_000);
    const back = await pool.add('m2', {}, c.address);
    await pool.join(back, a);
    await pool.clock.advanceUntil(() => stateOf(a, 'm2') === 'alive', 5_000);
    expect(back.memberlist.localMember.incarnation).toBeGreaterThan(1);
    expect(a.events.slice(-2)).toEqual(['dead m2', 'join m2']);
  });

  test('its name may not be taken from another address before the reclaim time', async () => {
    const pool = new Pool(seed, { profile: { deadNodeReclaimMs: 10_000 } });
    const [a, , c] = (await pool.grow(3)) as [PoolMember, PoolMember, PoolMember];
    c.host.crash();
    await pool.clock.advanceUntil(() => stateOf(a, 'm2') === 'dead', 60_000);
    const thief = await pool.add('m2');
    await pool.join(thief, a);
    expect(stateOf(a, 'm2')).toBe('dead');
    expect(a.events.at(-1)).toBe('conflict m2');
    await pool.clock.advance(10_000);
    await pool.join(thief, a);
    await pool.clock.advance(1_000);
    expect(a.memberlist.member('m2')).toMatchObject({ state: 'alive', address: thief.address });
  });

  test('a link that fails alone harms nobody: others ask', async () => {
    const pool = new Pool(seed);
    const [a, b] = (await pool.grow(4)) as [PoolMember, PoolMember];
    pool.network.block(a.address, b.address);
    pool.network.block(b.address, a.address);
    await pool.clock.advance(60_000);
    expect(pool.agrees()).toBe(true);
    expect(a.log.join('\n')).not.toContain('suspecting');
  });

  test('packets that are lost both ways are made up for by a stream', async () => {
    const pool = new Pool(seed);
    const [a, b] = (await pool.grow(2)) as [PoolMember, PoolMember];
    const dead = { ...pool.network.conditions, loss: 1 };
    pool.network.setLink(a.address, b.address, dead);
    pool.network.setLink(b.address, a.address, dead);
    await pool.clock.advance(30_000);
    expect(pool.agrees()).toBe(true);
    expect(a.log.join('\n')).toContain('packets got no answer');
  });

  test('a suspicion of a later incarnation is another one, not a confirmation', async () => {
    const pool = new Pool(seed);
    const members = await pool.grow(6);
    const [a, b] = members as [PoolMember, PoolMember];
    // Nothing but what is sent here reaches the two.
    for (const { address } of members.slice(1)) pool.network.block(address, a.address);
    const send = await intruder(pool);
    const accuse = (From: string, Incarnation: number): void =>
      send(a, encodeMessage(messageType.suspect, suspect, { Node: b.name, Incarnation, From }));
    accuse('m2', 1);
    await pool.clock.advance(3_500);
    expect(stateOf(a, b.name)).toBe('suspect');
    // As confirmations these would end a suspicion of four seconds and more.
    accuse('m3', 2);
    accuse('m4', 2);
    await pool.clock.advance(1_000);
    expect(stateOf(a, b.name)).toBe('suspect');
    expect(a.memberlist.member(b.name)!.incarnation).toBe(2);
    await pool.clock.advance(15_000);
    expect(stateOf(a, b.name)).toBe('dead');
  });

  test('a member that stalls suspects nobody when it wakes', async () => {
    const pool = new Pool(seed);
    const members = await pool.grow(5);
    const slow = members[2]!;
    slow.host.stall();
    await pool.clock.advance(3_000);
    slow.host.resume();
    await pool.clock.advance(30_000);
    expect(pool.agrees()).toBe(true);
    for (const { events } of members) expect(events.filter((event) => event.startsWith('dead'))).toEqual([]);
  });
});

describe('statements about us', () => {
  test.each([
    [
      'suspect',
      (name: string) => encodeMessage(messageType.suspect, suspect, { Node: name, Incarnation: 50, From: 'x' }),
    ],
    ['dead', (name: string) => encodeMessage(messageType.dead, dead, { Node: name, Incarnation: 50, From: 'x' })],
  ])('%s are refuted with a higher incarnation', async (_, accuse) => {
    const pool = new Pool(seed);
    const [a, b] = (await pool.grow(2)) as [PoolMember, PoolMember];
    const send = await intruder(pool);
    send(a, accuse('m0'));
    await pool.clock.advance(1_000);
    expect(a.memberlist.localMember).toMatchObject({ state: 'alive', incarnation: 51 });
    expect(b.memberlist.member('m0')).toMatchObject({ state: 'alive', incarnation: 51 });
  });

  test('are answered to the accuser itself, also when outdated, but not without end', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a');
    const told: number[] = [];
    const address = '10.9.9.9';
    const security = { keyring: undefined, verifyIncoming: true, verifyOutgoing: true, label: new Uint8Array() };
    const socket = await pool.network.host(address).datagrams.bind({ address, port }, (packet) =>
      openPacket(
        packet,
        security,
        (type, body) => {
          if (type === messageType.alive) told.push(decodeBody(alive, body).Incarnation);
        },
        () => {},
      ),
    );
    const send = (packet: Uint8Array): void => socket.send(packet, { address: a.address, port });
    let incarnation = 1;
    /** The accuser answers no pings, so it says itself that it lives; then until nothing is gossiped any more. */
    const introduce = async (): Promise<void> => {
      send(aliveOf('x', incarnation++, { Addr: Uint8Array.of(10, 9, 9, 9) }));
      await pool.clock.advance(2_500);
    };
    await introduce();
    const accusation = (From: string): Uint8Array =>
      encodeMessage(messageType.suspect, suspect, { Node: 'a', Incarnation: 1, From });
    /** What the accuser hears within a moment. */
    const heard = async (packets: readonly Uint8Array[]): Promise<readonly number[]> => {
      told.length = 0;
      for (const packet of packets) send(packet);
      await pool.clock.advance(5);
      return [...told];
    };
    expect(await heard([accusation('x')])).toEqual([2]);
    await introduce();
    expect(await heard([accusation('x')])).toEqual([2]);
    expect(await heard([accusation('stranger'), accusation('a')])).toEqual([]);
    await introduce();
    expect((await heard(Array.from({ length: 100 }, () => accusation('x')))).length).toBe(8);
    expect(a.memberlist.localMember.incarnation).toBe(2);
  });

  test('alive with foreign meta is refuted, an echo is not', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a');
    const send = await intruder(pool);
    const Addr = a.memberlist.localMember.addressBytes;
    send(a, aliveOf('a', 1, { Addr }));
    await pool.clock.advance(10);
    expect(a.memberlist.localMember.incarnation).toBe(1);
    send(a, aliveOf('a', 61, { Addr, Meta: Uint8Array.of(1) }));
    await pool.clock.advance(10);
    expect(a.memberlist.localMember.incarnation).toBe(62);
    expect(a.memberlist.healthScore).toBe(1);
  });

  test('the last incarnation cannot be claimed of us', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a');
    const send = await intruder(pool);
    send(a, encodeMessage(messageType.dead, dead, { Node: 'a', Incarnation: 0xffff_ffff, From: 'x' }));
    await pool.clock.advance(10);
    expect(a.memberlist.localMember).toMatchObject({ state: 'alive', incarnation: 1 });
  });
});

describe('messages', () => {
  test('meta travels and changes', async () => {
    const pool = new Pool(seed);
    const [a, b] = (await pool.grow(2)) as [PoolMember, PoolMember];
    a.meta = Buffer.from('new');
    await pool.settle(a.memberlist.updateNode(5_000));
    await pool.clock.advance(500);
    expect(Buffer.from(b.memberlist.member('m0')!.meta).toString()).toBe('new');
    expect(b.events.at(-1)).toBe('update m0');
    a.meta = new Uint8Array(513);
    await expect(a.memberlist.updateNode(5_000)).rejects.toThrow('has 513 bytes, the limit is 512');
  });

  test('user messages go by packet, by stream, and with gossip', async () => {
    const pool = new Pool(seed);
    const pending = [Buffer.from('gossiped')];
    const [, b] = (await pool.grow(2, {})) as [PoolMember, PoolMember];
    const c = await pool.add('c', {
      delegate: { broadcasts: (overhead, limit) => pending.splice(0).filter((m) => m.length + overhead <= limit) },
    });
    await pool.join(c, b);
    const to = { address: b.address, port };
    c.memberlist.sendBestEffort(to, Buffer.from('packet'));
    await pool.settle(c.memberlist.sendReliable(to, Buffer.alloc(100_000, 1)));
    await pool.clock.advance(1_000);
    const texts = pool.members.flatMap(({ messages }) =>
      messages.map((m) => (m.length > 99 ? 'stream' : Buffer.from(m).toString())),
    );
    expect(texts.toSorted()).toEqual(['gossiped', 'packet', 'stream']);
  });

  test('user state is exchanged when joining, both ways', async () => {
    const pool = new Pool(seed);
    const seen: string[] = [];
    const withState = (name: string) => ({
      delegate: {
        localState: (isJoin: boolean) => Buffer.from(`${name} ${isJoin}`),
        mergeRemoteState: (state: Uint8Array, isJoin: boolean) => {
          seen.push(`${name} got ${Buffer.from(state).toString()} ${isJoin}`);
        },
      },
    });
    const [a, b] = [await pool.add('a', withState('a')), await pool.add('b', withState('b'))];
    await pool.join(b, a);
    await pool.clock.advance(1_000);
    expect(seen.toSorted()).toEqual(['a got b true true', 'b got a true true']);
  });

  test('acks carry a payload, and the round trip is measured', async () => {
    const pool = new Pool(seed);
    const pongs: string[] = [];
    await pool.grow(2, {
      delegate: {
        ackPayload: () => Buffer.from('here I am'),
        notifyPingComplete: (other, rttMs, payload) => {
          expect(rttMs).toBeGreaterThan(0);
          expect(rttMs).toBeLessThan(3);
          pongs.push(`${other.name} ${Buffer.from(payload).toString()}`);
        },
      },
    });
    await pool.clock.advance(3_000);
    expect([...new Set(pongs)].toSorted()).toEqual(['m0 here I am', 'm1 here I am']);
  });

  test('packets stay within their size in a large burst', async () => {
    const pool = new Pool(seed, { profile: { packetBytesMax: 1_400 } });
    const a = await pool.add('a');
    const sizes: number[] = [];
    const sink = pool.network.host('10.9.9.1');
    await sink.datagrams.bind({ address: '10.9.9.1', port }, (packet) => sizes.push(packet.length));
    const send = await intruder(pool);
    for (let i = 0; i < 300; i++) send(a, aliveOf(`node-${i}`, 1, { Meta: new Uint8Array(i) }));
    await pool.clock.advance(5_000);
    expect(sizes.length).toBeGreaterThan(10);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_400);
    expect(Math.max(...sizes)).toBeGreaterThan(1_200);
  });
});

describe('encryption', () => {
  test('members with the key agree, one without it is kept out and learns why', async () => {
    const pool = new Pool(seed, { profile: { compress: true } });
    const [a, b] = [
      await pool.add('a', { keyring: new Keyring([key(1)]) }),
      await pool.add('b', { keyring: new Keyring([key(1)]) }),
    ];
    await pool.join(b, a);
    await pool.clock.advance(10_000);
    expect(pool.agrees([a, b])).toBe(true);
    const plain = await pool.add('plain');
    expect((await pool.join(plain, a)).errors[0]).toContain(
      'Remote state is encrypted and encryption is not configured',
    );
    const stranger = await pool.add('stranger', { keyring: new Keyring([key(2)]) });
    expect((await pool.join(stranger, a)).errors[0]).toContain('No installed keys could decrypt the message');
    expect(a.memberlist.numRecords).toBe(2);
  });

  test('keys rotate under way without a suspicion', async () => {
    const pool = new Pool(seed);
    const members = [];
    for (const name of ['a', 'b', 'c']) members.push(await pool.add(name, { keyring: new Keyring([key(1)]) }));
    for (const member of members.slice(1)) await pool.join(member, members[0]!);
    for (const step of ['add', 'use', 'remove'] as const) {
      for (const { memberlist } of members) {
        memberlist.keyring![step](step === 'remove' ? key(1) : key(2));
        await pool.clock.advance(1_000);
      }
      await pool.clock.advance(5_000);
    }
    expect(pool.agrees()).toBe(true);
    for (const { log } of members) expect(log.join('\n')).not.toMatch(/suspect/);
  });

  test('with both checks off a pool moves from plain to encrypted', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a');
    const b = await pool.add('b', { keyring: new Keyring([key(1)]), verifyIncoming: false, verifyOutgoing: false });
    expect((await pool.join(b, a)).joined).toBe(1);
    await pool.clock.advance(10_000);
    expect(pool.agrees()).toBe(true);
  });
});

test('a label keeps pools apart', async () => {
  const pool = new Pool(seed);
  const [a, b] = [await pool.add('a', { label: 'blue' }), await pool.add('b', { label: 'blue' })];
  expect((await pool.join(b, a)).joined).toBe(1);
  await pool.clock.advance(5_000);
  expect(pool.agrees([a, b])).toBe(true);
  const c = await pool.add('c');
  expect((await pool.join(c, a)).errors[0]).toContain('label');
  const d = await pool.add('d', { label: 'green', keyring: new Keyring([key(1)]) });
  expect((await pool.join(d, a)).joined).toBe(0);
  await pool.clock.advance(5_000);
  expect(a.memberlist.numRecords).toBe(2);
});

describe('odd encodings, as a peer takes them', () => {
  interface Vector {
    readonly name: string;
    readonly hex: string;
    readonly observed: { readonly result: string };
  }
  const vectors = JSON.parse(
    readFileSync(join(import.meta.dirname, '../../../fixtures/gossip/msgpack-tolerance.json'), 'utf8'),
  ) as readonly Partial<Vector>[];
  const recorded = vectors.filter((vector): vector is Vector => vector.hex !== undefined);
  /** Where we are stricter than the peer was: version bytes that crash others are repeated to nobody. */
  const refusedHere = new Set(['vsn-nil']);

  test.each(recorded.map((vector) => [vector.name, vector] as const))('%s', async (name, vector) => {
    const pool = new Pool(seed);
    const a = await pool.add('a');
    const send = await intruder(pool);
    send(a, Buffer.from(vector.hex, 'hex'));
    await pool.clock.advance(100);
    const isAdded = a.memberlist.numRecords === 2;
    expect(isAdded).toBe(vector.observed.result.startsWith('member added') && !refusedHere.has(name));
  });
});

describe('starting', () => {
  test('with known members announces nothing of them, and probes them', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a');
    const b = await pool.add('b', { knownMembers: [a.memberlist.localMember] });
    expect(b.events).toEqual(['join b', 'join a']);
    expect(b.memberlist.queuedBroadcasts).toBe(1);
    await pool.clock.advance(1_000);
    expect(pool.agrees()).toBe(true);
  });

  test('needs an address that peers can reach', async () => {
    await expect(new Pool(seed).add('a', {}, '0.0.0.0')).rejects.toThrow(
      'set the address at which peers reach this member',
    );
  });

  test('port 0 gives packets and streams the same port', async () => {
    const pool = new Pool(seed);
    const a = await pool.add('a', { advertise: { address: '192.0.2.7', port: 0 } });
    expect(a.memberlist.localMember).toMatchObject({ address: '192.0.2.7', port: a.memberlist.local.port });
  });

  test('needs a name', async () => {
    await expect(new Pool(seed).add('')).rejects.toThrow('needs a name');
  });
});
