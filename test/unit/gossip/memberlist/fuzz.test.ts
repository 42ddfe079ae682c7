// Broken packets and streams, plain and encrypted: a member drops them and lives. `PORTOLAN_FUZZ=10000000` for the
// long run, `PORTOLAN_SEED=n` to begin elsewhere.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encrypt } from '../../../../src/gossip/memberlist/encryption.ts';
import { Keyring } from '../../../../src/gossip/memberlist/index.ts';
import { StreamMessageReader } from '../../../../src/gossip/memberlist/stream-message.ts';
import { silentLogger } from '../../../helpers/logger.ts';
import { countFrom, seedOr } from '../../../helpers/settings.ts';
import { SeededRandom } from '../../../../src/sim/seeded-random.ts';
import { Pool, port } from './support.ts';

const rounds = countFrom('PORTOLAN_FUZZ', 20_000);
const seed = seedOr(1);
const limitMs = Math.max(60_000, rounds * 2);
const key = new Uint8Array(16).fill(5);
const noBytes = new Uint8Array();

interface Vector {
  readonly transport: 'udp' | 'tcp';
  readonly hex: string;
  readonly decoded: { readonly encryption?: { readonly plainHex: string } };
}
const vectors = ['memberlist-udp', 'memberlist-tcp', 'encryption'].flatMap(
  (name) =>
    JSON.parse(
      readFileSync(join(import.meta.dirname, `../../../fixtures/gossip/${name}.json`), 'utf8'),
    ) as readonly Vector[],
);
/** Recorded messages without their encryption. */
const corpus = (transport: 'udp' | 'tcp'): readonly Uint8Array[] =>
  vectors
    .filter((vector) => vector.transport === transport)
    .map(({ hex, decoded }) => Buffer.from(decoded.encryption?.plainHex ?? hex, 'hex'));

/** Some bytes changed, cut, doubled or mixed with another message. */
function mutate(random: SeededRandom, messages: readonly Uint8Array[]): Uint8Array {
  let bytes: Uint8Array = Buffer.from(messages[random.integer(messages.length)]!);
  for (let change = random.integer(5); change >= 0; change--) {
    const at = random.integer(bytes.length + 1);
    switch (random.integer(6)) {
      case 0:
        bytes = bytes.subarray(0, at);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(random.integer(8)), bytes.subarray(at)]);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), messages[random.integer(messages.length)]!.subarray(at)]);
        break;
      default:
        if (at < bytes.length) bytes[at] = random.integer(3) === 0 ? 0xff : random.integer(256);
    }
  }
  return bytes.subarray(0, 65_000);
}

test.each([
  ['plain', undefined],
  ['encrypted', new Keyring([key])],
] as const)(
  'packets, %s',
  async (_, keyring) => {
    const random = new SeededRandom(seed);
    const pool = new Pool(seed);
    const member = await pool.add('a', { logger: silentLogger, ...(keyring === undefined ? {} : { keyring }) });
    const socket = await pool.network.host('10.9.9.9').datagrams.bind({ address: '10.9.9.9', port }, () => {});
    const messages = corpus('udp');
    for (let round = 0; round < rounds; round++) {
      const bytes = mutate(random, messages);
      const isOpen = keyring === undefined || random.integer(4) === 0;
      const packet = isOpen ? bytes : encrypt(random.integer(8) === 0 ? 0 : 1, key, random.bytes(12), bytes, noBytes);
      socket.send(packet, { address: member.address, port });
      if (round % 16 === 0) pool.clock.advanceSync(2);
    }
    await pool.clock.advance(2_000);
    expect(member.memberlist.member('a')?.state).toBe('alive');
    expect(member.memberlist.queuedBroadcasts).toBeLessThanOrEqual(member.memberlist.numRecords);
  },
  limitMs,
);

test.each([
  ['plain', undefined],
  ['encrypted', new Keyring([key])],
] as const)(
  'streams, %s',
  (_, keyring) => {
    const random = new SeededRandom(seed);
    const messages = corpus('tcp');
    const security = { keyring, verifyIncoming: true, verifyOutgoing: true, label: noBytes };
    let complete = 0;
    let refused = 0;
    for (let round = 0; round < rounds / 4; round++) {
      const bytes = mutate(random, messages);
      let stream = bytes;
      if (keyring !== undefined && random.integer(4) > 0) {
        const header = Buffer.alloc(5);
        header[0] = 10;
        header.writeUInt32BE(bytes.length + 29, 1);
        stream = Buffer.concat([header, encrypt(1, key, random.bytes(12), bytes, header)]);
      }
      const reader = new StreamMessageReader(security, { accepted: true });
      const step = 1 + random.integer(stream.length + 1);
      try {
        for (let at = 0; at < stream.length; at += step) {
          if (reader.push(stream.subarray(at, at + step)) !== undefined) {
            complete++;
            break;
          }
        }
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
        expect(error).not.toBeInstanceOf(TypeError);
        expect(error).not.toBeInstanceOf(RangeError);
        refused++;
      }
    }
    expect(complete).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  },
  limitMs,
);
