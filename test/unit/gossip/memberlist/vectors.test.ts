// Every recorded packet and stream is taken apart layer by layer, put together again, and compared byte for byte.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Shape } from '../../../../src/codec/index.ts';
import { decrypt, encrypt, type EncryptionVersion } from '../../../../src/gossip/memberlist/encryption.ts';
import {
  addCrc,
  checkCrc,
  compressMessage,
  expandMessage,
  labelHeader,
  makeCompound,
  splitCompound,
  stripLabel,
} from '../../../../src/gossip/memberlist/framing.ts';
import { Keyring } from '../../../../src/gossip/memberlist/keyring.ts';
import {
  ack,
  alive,
  dead,
  decodeBody,
  encodeMessage,
  errorReply,
  indirectPing,
  messageType,
  nack,
  ping,
  pushPullNode,
  suspect,
} from '../../../../src/gossip/memberlist/messages.ts';
import { openPacket, type Security } from '../../../../src/gossip/memberlist/packet.ts';
import {
  encodePushPull,
  encodeStreamUser,
  type StreamMessage,
  StreamMessageReader,
} from '../../../../src/gossip/memberlist/stream-message.ts';
import { encodeShape } from '../../../../src/codec/index.ts';

interface Vector {
  readonly name: string;
  readonly transport: 'udp' | 'tcp';
  readonly hex: string;
  readonly keys?: readonly { readonly hex: string }[];
  readonly label?: string;
  readonly decoded: {
    readonly encryption?: { readonly version: EncryptionVersion; readonly nonce: string; readonly plainHex: string };
  };
}

const vectors = ['memberlist-udp', 'memberlist-tcp', 'encryption', 'label'].flatMap(
  (name) =>
    JSON.parse(
      readFileSync(join(import.meta.dirname, `../../../fixtures/gossip/${name}.json`), 'utf8'),
    ) as readonly Vector[],
);
const of = (transport: 'udp' | 'tcp'): (readonly [string, Vector])[] =>
  vectors.filter((vector) => vector.transport === transport).map((vector) => [vector.name, vector] as const);

const plain: Security = { keyring: undefined, verifyIncoming: true, verifyOutgoing: true, label: new Uint8Array() };
const bytesOf = (hex: string): Uint8Array => Buffer.from(hex, 'hex');
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const limit = 1 << 26;

const shapesOf: Readonly<Record<number, Shape<unknown, never>>> = {
  [messageType.ping]: ping,
  [messageType.indirectPing]: indirectPing,
  [messageType.ack]: ack,
  [messageType.nack]: nack,
  [messageType.suspect]: suspect,
  [messageType.alive]: alive,
  [messageType.dead]: dead,
  [messageType.error]: errorReply,
};

/** Takes a message apart and encodes it again, down to the innermost field. */
function again(message: Uint8Array): Uint8Array {
  const type = message[0]!;
  const body = message.subarray(1);
  if (type === messageType.compound) return makeCompound(splitCompound(body).parts.map(again));
  if (type === messageType.compress) {
    const inner = again(expandMessage(body, limit));
    // Both flavours occur; which one does not change what is inside.
    const compressed = compressMessage(inner);
    return hexOf(compressed) === hexOf(message) ? compressed : compressMessage(inner, { leadingClear: true });
  }
  if (type === messageType.user || type === messageType.pushPull) return againStream(message);
  const shape = shapesOf[type]!;
  return encodeMessage(type, shape as Shape<unknown, unknown>, decodeBody(shape, body));
}

function againStream(message: Uint8Array): Uint8Array {
  const read = new StreamMessageReader(plain, { accepted: false }).push(message);
  if (read?.type === 'pushPull') {
    return encodePushPull(
      read.join,
      read.nodes.map((node) => encodeShape(pushPullNode, node)),
      read.userState,
    );
  }
  if (read?.type === 'user') return encodeStreamUser(read.payload);
  throw new Error(`no message of type ${message[0]}`);
}

function securityOf(vector: Vector): Security {
  return {
    keyring: vector.keys === undefined ? undefined : new Keyring(vector.keys.map(({ hex }) => bytesOf(hex))),
    verifyIncoming: true,
    verifyOutgoing: true,
    // A reply on a stream carries no label header, but is authenticated with it.
    label: Buffer.from(vector.label ?? '', 'utf8'),
  };
}

describe('packets', () => {
  test.each(of('udp'))('%s', (_, vector) => {
    const security = securityOf(vector);
    const packet = bytesOf(vector.hex);
    let message = stripLabel(packet, security.label);
    const { encryption } = vector.decoded;
    if (encryption !== undefined) {
      const plain = decrypt(security.keyring!, message, security.label);
      expect(hexOf(plain)).toBe(encryption.plainHex);
      const key = [...security.keyring!.keys].find((key) => {
        const sealed = encrypt(encryption.version, key, bytesOf(encryption.nonce), plain, security.label);
        return hexOf(sealed) === hexOf(message);
      });
      expect(key, 'encrypting again gives the recorded bytes').toBeDefined();
      message = plain;
    }
    const checked = message[0] === messageType.crc ? checkCrc(message) : message;
    // A user message in a packet has no form of its own: its bytes are serf's.
    const built = checked[0] === messageType.user ? checked : againPacket(checked);
    const framed = message[0] === messageType.crc ? addCrc(built) : built;
    expect(hexOf(framed)).toBe(hexOf(message));
    if (encryption === undefined) {
      expect(hexOf(Buffer.concat([labelHeader(security.label), framed]))).toBe(vector.hex);
    }
  });

  test.each(of('udp'))('%s opens as a whole', (_, vector) => {
    const problems: string[] = [];
    let count = 0;
    openPacket(
      bytesOf(vector.hex),
      securityOf(vector),
      () => count++,
      (problem) => problems.push(problem),
    );
    expect(count).toBeGreaterThan(0);
    expect(problems).toEqual([]);
  });
});

/** As `again`, but a user message in a packet is left as it is. */
function againPacket(message: Uint8Array): Uint8Array {
  const body = message.subarray(1);
  if (message[0] === messageType.user) return message;
  if (message[0] === messageType.compound) return makeCompound(splitCompound(body).parts.map(againPacket));
  if (message[0] === messageType.compress) {
    const inner = againPacket(expandMessage(body, limit));
    const compressed = compressMessage(inner);
    return hexOf(compressed) === hexOf(message) ? compressed : compressMessage(inner, { leadingClear: true });
  }
  return again(message);
}

describe('streams', () => {
  /** The label belongs to the pool, also where the stream does not show it. */
  const labelOfPool = (vector: Vector): string | undefined =>
    vector.label ?? (vector.name.includes('label') ? 'blue' : undefined);

  test.each(of('tcp'))('%s', (_, vector) => {
    const label = labelOfPool(vector);
    const security = securityOf(label === undefined ? vector : { ...vector, label });
    const stream = bytesOf(vector.hex);
    const accepted = stream[0] === messageType.label;
    let message = accepted ? stripLabel(stream, security.label) : stream;
    const { encryption } = vector.decoded;
    if (encryption !== undefined) {
      const associated = Buffer.concat([message.subarray(0, 5), security.label]);
      const plain = decrypt(security.keyring!, message.subarray(5), associated);
      expect(hexOf(plain)).toBe(encryption.plainHex);
      const sealed = encrypt(
        encryption.version,
        security.keyring!.primary,
        bytesOf(encryption.nonce),
        plain,
        associated,
      );
      expect(hexOf(sealed)).toBe(hexOf(message.subarray(5)));
      message = plain;
    }
    // Newer peers sign what we do not; the meaning stays.
    const meaning = (bytes: Uint8Array): unknown => new StreamMessageReader(plain, { accepted: false }).push(bytes);
    if (vector.name.includes('signed-integers')) expect(meaning(again(message))).toEqual(meaning(message));
    else expect(hexOf(again(message))).toBe(hexOf(message));
  });

  test.each(of('tcp'))('%s reads the same in any pieces', (_, vector) => {
    const label = labelOfPool(vector);
    const security = securityOf(label === undefined ? vector : { ...vector, label });
    const stream = bytesOf(vector.hex);
    const read = (step: number): StreamMessage => {
      const reader = new StreamMessageReader(security, { accepted: stream[0] === messageType.label });
      for (let at = 0; at < stream.length; at += step) {
        const message = reader.push(stream.subarray(at, at + step));
        if (message !== undefined) return message;
      }
      throw new Error('the message did not end');
    };
    const whole = read(stream.length);
    expect(whole.type).not.toBe('other');
    expect(read(1)).toEqual(whole);
    expect(read(7)).toEqual(whole);
  });

  test('signed integers of newer peers are read', () => {
    const vector = vectors.find(({ name }) => name === 'tcp-pushpull-reply-signed-integers')!;
    const reader = new StreamMessageReader(securityOf({ ...vector, label: 'blue' }), { accepted: false });
    const message = reader.push(bytesOf(vector.hex));
    expect(message?.type === 'pushPull' && message.userState.length).toBe(300);
  });
});
