/**
 * IP addresses as the bytes that A and AAAA records carry. The catalog stores addresses as text that may also be a
 * host name; whether it parses here decides between an address record and a CNAME (reference/dns.md §6.2).
 */
import { isIPv4, isIPv6 } from 'node:net';

/** 4 or 16 bytes; null when `text` is no IP address. An IPv4-mapped IPv6 address is its IPv4 address. */
export function parseAddress(text: string): Uint8Array | null {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text) || text.includes('%')) return null;
  let groups = text;
  const dotted = /(?:^|:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted) {
    const [a, b, c, d] = dotted.slice(1).map(Number) as [number, number, number, number];
    const head = text.slice(0, text.lastIndexOf(':') + 1);
    groups = `${head}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [left = '', right] = groups.split('::');
  const before = left === '' ? [] : left.split(':');
  const after = right === undefined || right === '' ? [] : right.split(':');
  const words = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => '0'), ...after];
  const bytes = new Uint8Array(16);
  words.forEach((word, i) => {
    const value = Number.parseInt(word, 16);
    bytes[2 * i] = value >> 8;
    bytes[2 * i + 1] = value & 0xff;
  });
  const mapped = bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
  return mapped ? bytes.slice(12) : bytes;
}

/** Lower-case hex of the bytes, as in `<hex>.addr.<dc>.<domain>`. */
export function addressToHex(bytes: Uint8Array): string {
  let hex = '';
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0');
  return hex;
}

/** The address in full text: dotted, or eight groups. */
export function addressToText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const words: string[] = [];
  for (let i = 0; i < bytes.length; i += 2) words.push(((bytes[i]! << 8) | bytes[i + 1]!).toString(16));
  return words.join(':');
}

/**
 * The address whose reverse name consists of `labels` (lower case, without `in-addr.arpa`'s or `ip6.arpa`'s
 * parent zone cut off); null for partial and malformed names (reference/dns.md §8).
 */
export function addressOfReverseName(labels: readonly string[]): Uint8Array | null {
  const zone = labels.slice(-2).join('.');
  const digits = labels.slice(0, -2).reverse();
  if (zone === 'in-addr.arpa' && digits.length === 4) {
    const text = digits.join('.');
    return isIPv4(text) ? parseAddress(text) : null;
  }
  if (zone === 'ip6.arpa' && digits.length === 32 && digits.every((digit) => /^[0-9a-f]$/.test(digit))) {
    return Uint8Array.from(Buffer.from(digits.join(''), 'hex'));
  }
  return null;
}
