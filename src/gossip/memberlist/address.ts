/**
 * Addresses travel as 4 or 16 bytes and are compared byte by byte (reference/gossip.md §3.2). Text is for sockets and
 * people only, and an IPv4-mapped address becomes IPv4 there, because that is what can be dialled everywhere.
 */
import { type Cidr, cidrContains, formatIp, parseCidr, parseIp } from '../../config/index.ts';
import type { Endpoint } from '../../ports/index.ts';

const mappedPrefix = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** 4 or 16 bytes; undefined when the text is no IP address. */
export function addressBytesOf(text: string): Uint8Array | undefined {
  const ip = parseIp(text);
  if (ip === undefined) return undefined;
  const bytes = new Uint8Array(ip.family === 4 ? 4 : 16);
  let rest = ip.value;
  for (let at = bytes.length - 1; at >= 0; at--) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** The text of 4 or 16 bytes. */
export function addressTextOf(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (mappedPrefix.every((byte, at) => bytes[at] === byte)) return bytes.subarray(12).join('.');
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return formatIp({ family: 6, value });
}

/** Whether the bytes have the length of an IP address. */
export function isAddress(bytes: Uint8Array): boolean {
  return bytes.length === 4 || bytes.length === 16;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/**
 * A test for addresses inside one of `networks`; an empty list lets all pass.
 * @throws Error when one is no `address/bits`.
 */
export function networkFilter(networks: readonly string[]): (address: string) => boolean {
  if (networks.length === 0) return () => true;
  const ranges = networks.map((text): Cidr => {
    const cidr = parseCidr(text);
    if (cidr === undefined)
      throw new Error(`allowed network ${JSON.stringify(text)} is no network: use the form 10.0.0.0/8`);
    return cidr;
  });
  return (address) => {
    const ip = parseIp(address);
    return ip !== undefined && ranges.some((range) => cidrContains(range, ip));
  };
}

/** What `join` was given: where to go, and the name of who should be there if it said so. */
export interface JoinAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `host`, `host:port`, `v6`, `[v6]:port`, each with an optional `name/` in front (gossip.md §4.10).
 * @throws Error when the port is none.
 */
export function parseJoinAddress(text: string, defaultPort: number): JoinAddress {
  const slash = text.indexOf('/');
  const name = slash < 0 ? '' : text.slice(0, slash);
  const rest = slash < 0 ? text : text.slice(slash + 1);
  if (parseIp(rest) !== undefined) return { name, host: rest, port: defaultPort };
  const [, bracketed, plain, portText] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(rest) ?? [];
  const host = bracketed ?? plain ?? '';
  const port = portText === undefined ? defaultPort : Number(portText);
  if (host === '' || port < 1 || port > 65_535) {
    throw new Error(`cannot join ${JSON.stringify(text)}: use host, host:port, [v6]:port or name/host:port`);
  }
  return { name, host, port };
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.address === b.address;
}
