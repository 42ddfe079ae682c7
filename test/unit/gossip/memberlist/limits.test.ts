// What a packet or a stream may cost us, and what happens beyond it.
import { describe, expect, test } from 'vitest';
import { MsgpackWriter } from '../../../../src/codec/index.ts';
import { Keyring } from '../../../../src/gossip/memberlist/index.ts';
import { addCrc, compressMessage, makeCompound } from '../../../../src/gossip/memberlist/framing.ts';
import {
  encodeMessage,
  messageType,
  nack,
  pushPullHeader,
  userHeader,
} from '../../../../src/gossip/memberlist/messages.ts';
import { openPacket, packetBudget, sealPackets, type Security } from '../../../../src/gossip/memberlist/packet.ts';
import { StreamMessageReader } from '../../../../src/gossip/memberlist/stream-message.ts';
import { SeededRandom } from '../../../../src/sim/seeded-random.ts';
import { Pool, port } from './support.ts';

const plain: Security = { keyring: undefined, verifyIncoming: true, verifyOutgoing: true, label: new Uint8Array() };
const secret: Security = { ...plain, keyring: new Keyring([new Uint8Array(32).fill(1)]) };
const nackOf = (SeqNo: number): Uint8Array => encodeMessage(messageType.nack, nack, { SeqNo });

function open(packet: Uint8Array, security = plain): { readonly types: number[]; readonly problems: string[] } {
  const types: number[] = [];
  const problems: string[] = [];
  try {
    openPacket(
      packet,
      security,
      (type) => types.push(type),
      (problem) => problems.push(problem),
    );
  } catch (error) {
    problems.push(`refused: ${(error as Error).message}`);
  }
  return { types, problems };
}

describe('a packet', () => {
  test('that is truncated counts as far as it goes', () => {
    const packet = makeCompound([nackOf(1), nackOf(2), nackOf(3)]);
    expect(open(packet.subarray(0, packet.length - 1))).toEqual({
      types: [11, 11],
      problems: ['compound request had 1 truncated messages'],
    });
  });

  test('may hold 255 parts, and we send at most 127 in one', () => {
    const messages = Array.from({ length: 255 }, (_, i) => nackOf(i));
    expect(open(makeCompound(messages)).types.length).toBe(255);
    const packets = sealPackets(messages.slice(1), plain, { compress: false, crc: false, random: new SeededRandom(1) });
    expect(packets.map((packet) => packet[1])).toEqual([127, 127]);
  });

  test('with a wrong checksum, or one inside, is not believed', () => {
    const good = addCrc(nackOf(1));
    expect(open(good).types).toEqual([11]);
    const bad = Buffer.from(good);
    bad[2]! ^= 1;
    expect(open(bad).problems[0]).toMatch(/^refused: invalid checksum/);
    expect(open(makeCompound([good])).types).toEqual([messageType.crc]);
  });

  test('expands to 128 KiB at most, all its parts together', () => {
    const bomb = compressMessage(Buffer.concat([Uint8Array.of(messageType.user), new Uint8Array(80_000)]));
    expect(bomb.length).toBeLessThan(2_000);
    const { types, problems } = open(makeCompound([bomb, bomb, bomb, nackOf(1)]));
    expect(types).toEqual([messageType.user, messageType.nack]);
    expect(problems.length).toBe(2);
  });

  test('is not nested without end', () => {
    let packet = nackOf(1);
    for (let depth = 0; depth < 4; depth++) packet = compressMessage(packet);
    expect(open(packet).types).toEqual([11]);
    expect(open(makeCompound([packet])).problems).toEqual(['more than 4 layers in a packet']);
  });

  test('is encrypted where there is a key, unless told otherwise', () => {
    const options = { compress: true, crc: true, random: new SeededRandom(1) };
    const sealed = sealPackets([nackOf(1)], secret, options)[0]!;
    expect(open(sealed, secret).types).toEqual([11]);
    expect(open(nackOf(1), secret).problems[0]).toMatch(/^refused/);
    expect(open(nackOf(1), { ...secret, verifyIncoming: false }).types).toEqual([11]);
    expect(sealPackets([nackOf(1)], { ...secret, verifyOutgoing: false }, { ...options, crc: false })).toEqual([
      nackOf(1),
    ]);
    const broken = Buffer.from(sealed);
    broken[20]! ^= 1;
    expect(open(broken, secret).problems).toEqual(['refused: No installed keys could decrypt the message']);
  });

  test('leaves room for what protects it', () => {
    expect(packetBudget(1_400, plain, 0)).toBe(1_398);
    expect(packetBudget(1_400, secret, 100)).toBe(1_269);
    expect(packetBudget(1_400, { ...plain, label: Buffer.from('blue') }, 0)).toBe(1_392);
  });
});

describe('a stream', () => {
  const read = (bytes: Uint8Array, security = plain): unknown =>
    new StreamMessageReader(security, { accepted: true }).push(bytes);

  test.each([
    ['too many nodes', encodeMessage(messageType.pushPull, pushPullHeader, { Nodes: 2_000_000, UserStateLen: 0 })],
    ['negative nodes', encodeMessage(messageType.pushPull, pushPullHeader, { Nodes: -1, UserStateLen: 0 })],
    ['too long a state', encodeMessage(messageType.pushPull, pushPullHeader, { Nodes: 0, UserStateLen: 1 << 30 })],
    ['too long a message', encodeMessage(messageType.user, userHeader, { UserMsgLen: 1 << 30 })],
  ])('with %s is refused at once', (_, bytes) => {
    expect(() => read(bytes)).toThrow('beyond the limits');
  });

  test('with too long a frame is refused at once', () => {
    expect(() => read(Uint8Array.of(messageType.encrypt, 0xff, 0, 0, 0), secret)).toThrow('larger than limit');
  });

  test('with a value longer than allowed is refused before it is there', () => {
    const writer = new MsgpackWriter();
    writer.encoded(Uint8Array.of(messageType.compress, 0x81, 0xa3, 0x42, 0x75, 0x66, 0xdb, 0x7f, 0xff, 0xff, 0xff));
    expect(() => read(writer.bytes())).toThrow('bytes');
  });

  test('may be compressed once', () => {
    const once = compressMessage(nackOf(1));
    expect(read(once)).toEqual({ type: 'other', number: 11 });
    expect(() => read(compressMessage(once))).toThrow('inside a compressed one');
  });
});

describe('a member under fire', () => {
  test('closes a stream that says nothing, and takes no more than it can serve', async () => {
    const pool = new Pool(1);
    const a = await pool.add('a');
    const attacker = pool.network.host('10.9.9.9');
    let closed = 0;
    const to = { address: a.address, port };
    for (let i = 0; i < 200; i++) {
      const stream = await pool.settle(attacker.streams.connect(to, { timeoutMs: 1_000 }));
      stream.subscribe({ onData() {}, onEnd: () => closed++, onDrain() {}, onClose() {} });
    }
    await pool.clock.advance(100);
    expect(closed).toBe(200 - 127);
    const b = await pool.add('b');
    expect((await pool.join(b, a)).joined).toBe(0);
    await pool.clock.advance(10_000);
    expect(closed).toBe(200);
    expect((await pool.join(b, a)).joined).toBe(1);
  });

  test('answers pings while it is flooded, and holds no more than its queues', async () => {
    const pool = new Pool(1);
    const [a] = await pool.grow(3);
    const socket = await pool.network.host('10.9.9.9').datagrams.bind({ address: '10.9.9.9', port: 1 }, () => {});
    const junk = makeCompound(Array.from({ length: 120 }, () => Buffer.from([messageType.user, 1, 2, 3])));
    for (let ms = 0; ms < 5_000; ms += 10) {
      for (let i = 0; i < 20; i++) socket.send(junk, { address: a!.address, port });
      await pool.clock.advance(10);
    }
    expect(pool.agrees()).toBe(true);
    for (const { log } of pool.members) expect(log.filter((line) => line.includes('suspect'))).toEqual([]);
  });
});
