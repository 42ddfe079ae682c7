/**
 * Domain names. A name is parsed once into everything an encoder needs: its wire form, and the text of each suffix,
 * because name compression (RFC 1035 §4.1.4) asks of every suffix "was this written before?". Text is the usual
 * presentation form: labels joined by dots, a final dot, odd bytes escaped as `\.` or `\DDD`.
 * Suffixes are compared exactly, letter case included, so that a name is echoed as it was asked.
 */

/** RFC 1035 §2.3.4. */
const labelBytesMax = 63;
const nameBytesMax = 255;
/** A pointer can only go back; a valid name of 255 bytes has at most 127 labels, so more jumps are a loop. */
const pointerJumpsMax = 127;

export interface Name {
  /** Presentation form with final dot; the root is ".". */
  readonly text: string;
  /** Uncompressed wire form with the root's zero byte. */
  readonly wire: Uint8Array;
  /** Text of the name from each label on; `suffixes[0]` is `text`. Empty for the root. */
  readonly suffixes: readonly string[];
  /** Offset in `wire` of each label's length byte. */
  readonly starts: readonly number[];
}

/** A name or message that does not follow the format. */
export class DnsFormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DnsFormatError';
  }
}

export const rootName: Name = { text: '.', wire: new Uint8Array(1), suffixes: [], starts: [] };

/**
 * Parses presentation form; a missing final dot is added.
 * @throws DnsFormatError for empty or too long labels and too long names.
 */
export function parseName(text: string): Name {
  if (text === '.' || text === '') return rootName;
  const bytes: number[] = [];
  const starts: number[] = [];
  const cuts: number[] = [];
  let label: number[] = [];
  let cut = 0;
  const endLabel = (): void => {
    if (label.length === 0) throw new DnsFormatError(`empty label in the name ${JSON.stringify(text)}`);
    if (label.length > labelBytesMax) {
      throw new DnsFormatError(`a label of ${JSON.stringify(text)} is longer than ${labelBytesMax} bytes`);
    }
    starts.push(bytes.length);
    cuts.push(cut);
    bytes.push(label.length, ...label);
    label = [];
  };
  const source = Buffer.from(text, 'utf8').toString('latin1');
  for (let i = 0; i < source.length; i++) {
    const c = source[i]!;
    if (c === '.') {
      endLabel();
      cut = i + 1;
    } else if (c === '\\') {
      const decimal = /^\d{3}$/.exec(source.slice(i + 1, i + 4))?.[0];
      label.push(decimal === undefined ? source.charCodeAt(i + 1) & 0xff : Number(decimal) & 0xff);
      i += decimal === undefined ? 1 : 3;
    } else label.push(c.charCodeAt(0));
  }
  const full = label.length > 0 ? `${source}.` : source;
  if (label.length > 0) endLabel();
  bytes.push(0);
  if (bytes.length > nameBytesMax)
    throw new DnsFormatError(`the name ${JSON.stringify(text)} is longer than 255 bytes`);
  return { text: full, wire: Uint8Array.from(bytes), suffixes: cuts.map((at) => full.slice(at)), starts };
}

/**
 * Reads a name at `offset`, following compression pointers.
 * @returns the name, the offset behind it, and whether pointers were used.
 * @throws DnsFormatError
 */
export function readName(
  message: Uint8Array,
  offset: number,
): { readonly name: Name; readonly end: number; readonly compressed: boolean } {
  const wire: number[] = [];
  const starts: number[] = [];
  const cuts: number[] = [];
  let text = '';
  let at = offset;
  let end = -1;
  let jumps = 0;
  for (;;) {
    const length = message[at];
    if (length === undefined) throw new DnsFormatError('a name runs past the end of the message');
    if (length >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) throw new DnsFormatError('a name runs past the end of the message');
      if (end < 0) end = at + 2;
      if (++jumps > pointerJumpsMax) throw new DnsFormatError('name compression pointers form a loop');
      at = ((length & 0x3f) << 8) | low;
      continue;
    }
    if (length > labelBytesMax) throw new DnsFormatError('unknown label type');
    at++;
    if (length === 0) break;
    if (at + length > message.length) throw new DnsFormatError('a name runs past the end of the message');
    if (wire.length + length + 2 > nameBytesMax) throw new DnsFormatError('a name is longer than 255 bytes');
    starts.push(wire.length);
    cuts.push(text.length);
    wire.push(length);
    for (let i = 0; i < length; i++) {
      const byte = message[at++]!;
      wire.push(byte);
      text += escaped[byte]!;
    }
    text += '.';
  }
  if (end < 0) end = at;
  if (starts.length === 0) return { name: rootName, end, compressed: jumps > 0 };
  wire.push(0);
  return {
    name: { text, wire: Uint8Array.from(wire), suffixes: cuts.map((cut) => text.slice(cut)), starts },
    end,
    compressed: jumps > 0,
  };
}

/** The labels' texts (escapes kept), leftmost first. */
export function labelsOf(name: Name): string[] {
  return name.suffixes.map((suffix, i) => suffix.slice(0, suffix.length - (name.suffixes[i + 1]?.length ?? 0) - 1));
}

/** Presentation form of every byte. */
const escaped: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const c = String.fromCharCode(byte);
  if ('.();@"\\ '.includes(c)) return `\\${c}`;
  return byte < 0x21 || byte > 0x7e ? `\\${String(byte).padStart(3, '0')}` : c;
});
