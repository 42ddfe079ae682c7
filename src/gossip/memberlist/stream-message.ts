/**
 * One message on a stream, both ways (reference/gossip.md §3.7): label header (from the dialling side only), encrypt
 * frame, compression, message. Only the encrypted form says how long it is; of a plain one the reader learns the end
 * while it reads: so many msgpack values, then so many raw bytes.
 */
import { MsgpackStream } from '../../codec/index.ts';
import type { Random } from '../../ports/index.ts';
import { decrypt, encrypt, encryptionOverhead } from './encryption.ts';
import { compressMessage, expandMessage, FramingError, labelHeader } from './framing.ts';
import {
  type Ack,
  ack,
  decodeBody,
  encodeMessage,
  errorReply,
  messageType,
  type Ping,
  ping,
  pushPullHeader,
  type PushPullNode,
  pushPullNode,
  userHeader,
} from './messages.ts';
import type { Security } from './packet.ts';

/** Longest encrypted frame, user state and user message, bytes: as the peers. */
export const streamPartBytesMax = 20 * 1024 * 1024;
/** Longest expansion of a compressed message, bytes: as newer peers. */
const expandedBytesMax = 40 * 1024 * 1024;
/** Most node records in one push/pull: as newer peers. */
export const pushPullNodesMax = 1_048_576;

const frameHeaderBytes = 5;
const nonceBytes = 12;

export type StreamMessage =
  | {
      readonly type: 'pushPull';
      readonly join: boolean;
      readonly nodes: readonly PushPullNode[];
      readonly userState: Uint8Array;
    }
  | { readonly type: 'ping'; readonly ping: Ping }
  | { readonly type: 'ack'; readonly ack: Ack }
  | { readonly type: 'user'; readonly payload: Uint8Array }
  | { readonly type: 'error'; readonly text: string }
  /** Known to nobody, or of no use on a stream. */
  | { readonly type: 'other'; readonly number: number };

/** A push/pull message. @param nodes records as encoded by `pushPullNode`. */
export function encodePushPull(join: boolean, nodes: readonly Uint8Array[], userState: Uint8Array): Uint8Array {
  const header = encodeMessage(messageType.pushPull, pushPullHeader, {
    Nodes: nodes.length,
    UserStateLen: userState.length,
    Join: join,
  });
  return Buffer.concat([header, ...nodes, userState]);
}

export function encodeStreamUser(payload: Uint8Array): Uint8Array {
  return Buffer.concat([encodeMessage(messageType.user, userHeader, { UserMsgLen: payload.length }), payload]);
}

export function encodeStreamError(text: string): Uint8Array {
  return encodeMessage(messageType.error, errorReply, { Error: text });
}

/**
 * The bytes of a message on a stream.
 * @param options.dialled whether we opened the stream: then the label goes first.
 */
export function sealStream(
  message: Uint8Array,
  security: Security,
  options: { readonly compress: boolean; readonly dialled: boolean; readonly random: Random },
): Uint8Array {
  let sealed = options.compress ? compressMessage(message) : message;
  if (security.keyring !== undefined && security.verifyOutgoing) {
    const header = frameHeader(sealed.length);
    const nonce = options.random.bytes(nonceBytes);
    const associated = Buffer.concat([header, security.label]);
    sealed = Buffer.concat([header, encrypt(1, security.keyring.primary, nonce, sealed, associated)]);
  }
  return options.dialled && security.label.length > 0 ? Buffer.concat([labelHeader(security.label), sealed]) : sealed;
}

/** Type and length of the blob that encrypting (version 1) `plainBytes` gives. */
function frameHeader(plainBytes: number): Uint8Array {
  const header = Buffer.alloc(frameHeaderBytes);
  header[0] = messageType.encrypt;
  header.writeUInt32BE(plainBytes + encryptionOverhead, 1);
  return header;
}

/** Collects the bytes of one message. */
export class StreamMessageReader {
  readonly #security: Security;
  #labelPending: boolean;
  /** What is not taken apart yet: the start of the stream, later an encrypted frame. */
  #head = new Chunks();
  /** Length of the encrypted frame with its header; undefined while unknown, and for a plain message. */
  #frameBytes: number | undefined;
  #plain: PlainReader | undefined;

  /** @param options.accepted whether the peer opened the stream: then its label comes first. */
  constructor(security: Security, options: { readonly accepted: boolean }) {
    this.#security = security;
    this.#labelPending = options.accepted;
  }

  /**
   * Takes the next bytes.
   * @returns the message once it is complete; what follows it is ignored.
   * @throws Error when it never will be; its text may be sent to the peer.
   */
  push(bytes: Uint8Array): StreamMessage | undefined {
    if (this.#plain !== undefined) return this.#plain.push(bytes);
    this.#head.push(bytes);
    if (this.#labelPending && !this.#takeLabel()) return undefined;
    if (this.#frameBytes === undefined && !this.#takeType()) return undefined;
    if (this.#frameBytes !== undefined) return this.#openFrame();
    this.#plain = new PlainReader(0);
    return this.#plain.push(this.#head.take(this.#head.length));
  }

  #takeLabel(): boolean {
    if (this.#head.length === 0) return false;
    const first = this.#head.peek(2);
    const labelled = first[0] === messageType.label;
    if (labelled && (first.length < 2 || this.#head.length < 2 + first[1]!)) return false;
    const label = labelled ? this.#head.take(2 + first[1]!).subarray(2) : new Uint8Array();
    if (Buffer.compare(label, this.#security.label) !== 0) {
      throw new FramingError('the pool label of the stream is not ours');
    }
    this.#labelPending = false;
    return true;
  }

  /** Decides by the first byte how to go on; false while that needs more bytes. */
  #takeType(): boolean {
    if (this.#head.length === 0) return false;
    const { keyring, verifyIncoming } = this.#security;
    if (this.#head.peek(1)[0] !== messageType.encrypt) {
      if (keyring !== undefined && verifyIncoming) {
        throw new FramingError('Encryption is configured but remote state is not encrypted');
      }
      return true;
    }
    if (keyring === undefined) throw new FramingError('Remote state is encrypted and encryption is not configured');
    if (this.#head.length < frameHeaderBytes) return false;
    const length = this.#head.peek(frameHeaderBytes).readUInt32BE(1);
    if (length > streamPartBytesMax) {
      throw new FramingError(`Remote node state is larger than limit (${streamPartBytesMax}): ${length}`);
    }
    this.#frameBytes = frameHeaderBytes + length;
    return true;
  }

  #openFrame(): StreamMessage | undefined {
    const frameBytes = this.#frameBytes!;
    if (this.#head.length < frameBytes) return undefined;
    const frame = this.#head.take(frameBytes);
    const associated = Buffer.concat([frame.subarray(0, frameHeaderBytes), this.#security.label]);
    return readWhole(decrypt(this.#security.keyring!, frame.subarray(frameHeaderBytes), associated), 0);
  }
}

/** Reads a message of which all bytes are here. */
function readWhole(bytes: Uint8Array, depth: number): StreamMessage {
  const message = bytes.length === 0 ? undefined : new PlainReader(depth).push(bytes);
  if (message === undefined) throw new FramingError('the message ends too early');
  return message;
}

/** Reads a message without encryption. */
class PlainReader {
  /** How many compress messages are around this one; peers use one. */
  readonly #depth: number;
  #type: number | undefined;
  readonly #values = new MsgpackStream(streamPartBytesMax);
  #header: { readonly join: boolean; readonly nodes: number; readonly rawBytes: number } | undefined;
  readonly #nodes: PushPullNode[] = [];
  #raw: Chunks | undefined;

  constructor(depth: number) {
    this.#depth = depth;
  }

  push(bytes: Uint8Array): StreamMessage | undefined {
    let rest = bytes;
    if (this.#type === undefined) {
      this.#type = rest[0];
      if (this.#type === undefined) return undefined;
      rest = rest.subarray(1);
    }
    if (this.#raw === undefined) this.#values.push(rest);
    else this.#raw.push(rest);
    switch (this.#type) {
      case messageType.compress: {
        const value = this.#values.next();
        if (value === undefined) return undefined;
        if (this.#depth > 0) throw new FramingError('a compressed message inside a compressed one');
        return readWhole(expandMessage(value, expandedBytesMax), this.#depth + 1);
      }
      case messageType.ping:
        return this.#single((value) => ({ type: 'ping', ping: decodeBody(ping, value) }));
      case messageType.ack:
        return this.#single((value) => ({ type: 'ack', ack: decodeBody(ack, value) }));
      case messageType.error:
        return this.#single((value) => ({ type: 'error', text: decodeBody(errorReply, value).Error }));
      case messageType.user:
        return this.#withRaw(
          (value) => ({ join: false, nodes: 0, rawBytes: decodeBody(userHeader, value).UserMsgLen }),
          (payload) => ({ type: 'user', payload }),
        );
      case messageType.pushPull:
        return this.#withRaw(readPushPullHeader, (userState, join) => ({
          type: 'pushPull',
          join,
          nodes: this.#nodes,
          userState,
        }));
      default:
        return { type: 'other', number: this.#type };
    }
  }

  #single(make: (value: Uint8Array) => StreamMessage): StreamMessage | undefined {
    const value = this.#values.next();
    return value === undefined ? undefined : make(value);
  }

  /** A header, node records, raw bytes. */
  #withRaw(
    readHeader: (value: Uint8Array) => { readonly join: boolean; readonly nodes: number; readonly rawBytes: number },
    make: (raw: Uint8Array, join: boolean) => StreamMessage,
  ): StreamMessage | undefined {
    if (this.#header === undefined) {
      const value = this.#values.next();
      if (value === undefined) return undefined;
      this.#header = readHeader(value);
      const { nodes, rawBytes } = this.#header;
      if (nodes < 0 || nodes > pushPullNodesMax || rawBytes < 0 || rawBytes > streamPartBytesMax) {
        throw new FramingError(`a message of ${nodes} nodes and ${rawBytes} bytes is beyond the limits`);
      }
    }
    while (this.#nodes.length < this.#header.nodes) {
      const value = this.#values.next();
      if (value === undefined) return undefined;
      this.#nodes.push(decodeBody(pushPullNode, value));
    }
    if (this.#raw === undefined) {
      this.#raw = new Chunks();
      this.#raw.push(this.#values.rest());
    }
    const { rawBytes, join } = this.#header;
    return this.#raw.length < rawBytes ? undefined : make(this.#raw.take(rawBytes), join);
  }
}

function readPushPullHeader(value: Uint8Array): {
  readonly join: boolean;
  readonly nodes: number;
  readonly rawBytes: number;
} {
  const { Join, Nodes, UserStateLen } = decodeBody(pushPullHeader, value);
  return { join: Join, nodes: Nodes, rawBytes: UserStateLen };
}

/** Bytes in the pieces in which they came, joined when they are needed. */
class Chunks {
  #chunks: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#length += bytes.length;
  }

  /** The first bytes, as many as there are up to `count`. */
  peek(count: number): Buffer {
    if (this.#chunks.length > 1 && this.#chunks[0]!.length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    const first = this.#chunks[0] ?? new Uint8Array();
    return Buffer.from(first.buffer, first.byteOffset, Math.min(count, first.length));
  }

  /** Removes the first `count` bytes, which must be there. */
  take(count: number): Uint8Array {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [all.subarray(count)];
    this.#length -= count;
    return all.subarray(0, count);
  }
}
