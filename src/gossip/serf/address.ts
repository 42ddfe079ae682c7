/** Addresses in messages as something that can be dialled (reference/gossip.md §3.2). */
import type { Endpoint } from '../../ports/index.ts';
import { addressTextOf, isAddress } from '../memberlist/address.ts';

/** null when the bytes are no address. */
export function toEndpoint(bytes: Uint8Array | null, port: number): Endpoint | null {
  if (bytes === null || !isAddress(bytes) || port === 0) return null;
  return { address: addressTextOf(bytes), port };
}
