/**
 * The payload of a user event: one msgpack map, in the newer dialect of that format as nothing else on the wire, with
 * empty fields left out (reference/server-rpc.md §2.7, reference/gossip.md §6.6).
 */

export interface UserEventFields {
  readonly ID: string;
  readonly Name: string;
  readonly Payload: Uint8Array | null;
  readonly NodeFilter: string;
  readonly ServiceFilter: string;
  readonly TagFilter: string;
  readonly Version: number;
}

export class UserEventError extends Error {
  constructor(problem: string) {
    super(`this is no user event: ${problem}`);
    this.name = 'UserEventError';
  }
}

export function encodeUserEvent(event: UserEventFields): Buffer {
  const { Payload } = event;
  const fields: Buffer[] = [];
  const text = (key: string, value: string): void => {
    if (value !== '') fields.push(header(fixStr, key), header(fixStr, value));
  };
  text('ID', event.ID);
  text('n', event.Name);
  text('nf', event.NodeFilter);
  if (Payload !== null && Payload.length > 0) fields.push(header(fixStr, 'p'), bin(Payload));
  text('sf', event.ServiceFilter);
  text('tf', event.TagFilter);
  fields.push(header(fixStr, 'v'), Buffer.from([event.Version]));
  return Buffer.concat([Buffer.from([fixMap | (fields.length / 2)]), ...fields]);
}

const fixMap = 0x80;
const fixStr = 0xa0;
const fixStrMax = 31;

function header(mark: number, text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= fixStrMax) return Buffer.concat([Buffer.from([mark | bytes.length]), bytes]);
  return sized(0xd9, bytes);
}

function bin(bytes: Uint8Array): Buffer {
  return sized(0xc4, bytes);
}

/** `first` is the mark of the form with a length of one byte; those of two and four follow it. */
function sized(first: number, bytes: Uint8Array): Buffer {
  if (bytes.length < 2 ** 8) return Buffer.concat([Buffer.from([first, bytes.length]), bytes]);
  if (bytes.length < 2 ** 16) {
    return Buffer.concat([Buffer.from([first + 1, bytes.length >> 8, bytes.length & 0xff]), bytes]);
  }
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([Buffer.from([first + 2]), length, bytes]);
}

/**
 * Fields that are missing are empty, unknown ones are read over; strings and bytes may stand for each other.
 * @throws UserEventError
 */
export function decodeUserEvent(payload: Uint8Array): UserEventFields {
  const reader = new Reader(payload);
  const values = new Map<string, Scalar>();
  for (let rest = reader.mapSize(); rest > 0; rest--) {
    const key = reader.scalar();
    values.set(Buffer.isBuffer(key) ? key.toString('utf8') : String(key), reader.scalar());
  }
  const bytes = (key: string): Buffer | null => {
    const value = values.get(key) ?? null;
    if (value !== null && !Buffer.isBuffer(value)) throw new UserEventError(`field ${key} is no string`);
    return value;
  };
  const text = (key: string): string => bytes(key)?.toString('utf8') ?? '';
  const version = values.get('v') ?? 0;
  if (typeof version !== 'number') throw new UserEventError('its version is no number');
  const Payload = bytes('p');
  return {
    ID: text('ID'),
    Name: text('n'),
    Payload: Payload === null || Payload.length === 0 ? null : Payload,
    NodeFilter: text('nf'),
    ServiceFilter: text('sf'),
    TagFilter: text('tf'),
    Version: version,
  };
}

type Scalar = Buffer | number | boolean | null;

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  mapSize(): number {
    const mark = this.#uint(1);
    if (mark >= fixMap && mark < 0x90) return mark & 0x0f;
    if (mark === 0xde) return this.#uint(2);
    throw new UserEventError('it does not begin with a map');
  }

  scalar(): Scalar {
    const mark = this.#uint(1);
    if (mark < 0x80) return mark;
    if (mark >= fixStr && mark < 0xc0) return this.#take(mark & 0x1f);
    switch (mark) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return mark === 0xc3;
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(2 ** (mark - 0xcc));
      case 0xc4:
      case 0xd9:
        return this.#take(this.#uint(1));
      case 0xc5:
      case 0xda:
        return this.#take(this.#uint(2));
      case 0xc6:
      case 0xdb:
        return this.#take(this.#uint(4));
      default:
        throw new UserEventError(`mark 0x${mark.toString(16)} where a text, bytes or a number was expected`);
    }
  }

  #uint(length: number): number {
    return this.#take(length).readUIntBE(0, length);
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new UserEventError('it ends in the middle');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}
