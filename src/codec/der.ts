/**
 * DER, the byte form of certificates: every value is a tag, a length and a content. Writing puts values together from
 * the inside out; reading walks over what is there and trusts no length (X.690).
 */

export const derTags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

export class DerError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DerError';
  }
}

/** A value of any tag around contents. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(contents);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Uint8Array.of(tag, length), content]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.concat([Uint8Array.of(tag, 0x80 | bytes.length, ...bytes), content]);
}

export function derSequence(...contents: readonly Uint8Array[]): Uint8Array {
  return der(derTags.sequence, ...contents);
}

/** A number of any length, 0 or more, from its bytes or as a bigint. */
export function derInteger(value: bigint): Uint8Array {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return der(derTags.integer, bytes[0]! >= 0x80 ? Uint8Array.of(0) : Uint8Array.of(), bytes);
}

/** `1.2.840.10045.4.3.2` */
export function derOid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const digits = [part & 0x7f];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128))
      digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return der(derTags.oid, Uint8Array.from(bytes));
}

export function derBitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return der(derTags.bitString, Uint8Array.of(unusedBits), bytes);
}

export interface DerValue {
  readonly tag: number;
  readonly content: Uint8Array;
  /** The whole of it, tag and length included. */
  readonly encoded: Uint8Array;
}

/** The values that stand one behind the other in `bytes`. @throws DerError */
export function readDer(bytes: Uint8Array): readonly DerValue[] {
  const values: DerValue[] = [];
  let at = 0;
  while (at < bytes.length) {
    const start = at;
    const tag = bytes[at++]!;
    let length = bytes[at++] ?? 0;
    if (length >= 0x80) {
      const digits = length & 0x7f;
      if (digits === 0 || digits > 4) throw new DerError('asn1: structure error: length too large');
      length = 0;
      for (let i = 0; i < digits; i++) length = length * 256 + (bytes[at++] ?? 0);
    }
    if (at + length > bytes.length) throw new DerError('asn1: syntax error: data truncated');
    at += length;
    values.push({ tag, content: bytes.subarray(at - length, at), encoded: bytes.subarray(start, at) });
  }
  return values;
}
