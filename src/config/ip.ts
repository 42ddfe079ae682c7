/** IP addresses as numbers: the arithmetic behind address templates and CIDR settings. */
import { ipFamily } from '../model/index.ts';

export interface IpNumber {
  readonly family: 4 | 6;
  readonly value: bigint;
}

const bits = { 4: 32, 6: 128 } as const;

/** undefined when the text is no IP literal. */
export function parseIp(text: string): IpNumber | undefined {
  const family = ipFamily(text);
  if (family === 0) return undefined;
  if (family === 4) return { family, value: text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n) };
  const [head = '', tail] = text.split('::');
  const left = ipv6Groups(head);
  const right = tail === undefined ? [] : ipv6Groups(tail);
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => 0);
  return { family, value: [...left, ...zeros, ...right].reduce((sum, group) => sum * 65_536n + BigInt(group), 0n) };
}

function ipv6Groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

/** The usual text: dotted, or IPv6 with the longest run of zeros shortened. */
export function formatIp({ family, value }: IpNumber): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 65_535n).toString(16));
  const run = /(?:^|:)0(?::0)+(?=:|$)/g;
  const text = groups.join(':');
  const longest = [...text.matchAll(run)].sort((a, b) => b[0].length - a[0].length)[0];
  if (longest === undefined) return text;
  const before = text.slice(0, longest.index);
  const after = text.slice(longest.index + longest[0].length);
  return `${before}::${after.replace(/^:/, '')}`;
}

/** First address of the network. */
export function networkOf(ip: IpNumber, prefixLength: number): IpNumber {
  const host = BigInt(bits[ip.family] - prefixLength);
  return { family: ip.family, value: (ip.value >> host) << host };
}

export interface Cidr {
  readonly network: IpNumber;
  readonly prefixLength: number;
}

/** undefined when the text is no `address/bits`. */
export function parseCidr(text: string): Cidr | undefined {
  const [, address, length] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const ip = address === undefined ? undefined : parseIp(address);
  const prefixLength = Number(length);
  if (ip === undefined || prefixLength > bits[ip.family]) return undefined;
  return { network: networkOf(ip, prefixLength), prefixLength };
}

export function cidrContains({ network, prefixLength }: Cidr, ip: IpNumber): boolean {
  return network.family === ip.family && networkOf(ip, prefixLength).value === network.value;
}

/** Bits of an address of this family. */
export function ipBits(family: 4 | 6): number {
  return bits[family];
}
