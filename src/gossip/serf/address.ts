/** Addresses as they travel, 4 or 16 bytes, as something that can be dialled (reference/gossip.md §3.2). */
import { formatIp } from '../../config/index.ts';
import type { Endpoint } from '../../ports/index.ts';

/** The bytes before an IPv4 address in a 16 byte one. */
const mappedPrefix = '00000000000000000000ffff';

/** null when the bytes are no address. */
export function toEndpoint(bytes: Uint8Array | null, port: number): Endpoint | null {
  if (bytes === null || port === 0) return null;
  const hex = Buffer.from(bytes).toString('hex');
  if (bytes.length === 4) return { address: bytes.join('.'), port };
  if (bytes.length !== 16) return null;
  if (hex.startsWith(mappedPrefix)) return { address: bytes.subarray(12).join('.'), port };
  return { address: formatIp({ family: 6, value: BigInt(`0x${hex}`) }), port };
}
