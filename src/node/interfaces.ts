/**
 * The host's interface addresses in the project's form. Node lists only interfaces that are up and running, with at
 * least one address; that is also what can be advertised.
 */
import { readFileSync } from 'node:fs';
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';
import { defaultRouteInterface } from '../environment/index.ts';
import type { InterfaceAddress } from '../model/index.ts';

/** Reads the interfaces now, in the system's order. */
export function listInterfaces(): readonly InterfaceAddress[] {
  return toInterfaceAddresses(networkInterfaces());
}

/** The same from Node's document; separate so that other machines' interfaces can be tested. */
export function toInterfaceAddresses(
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
): readonly InterfaceAddress[] {
  return Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    addresses.map(({ address, cidr, family, internal }) => ({
      name,
      address: address.split('%')[0]!,
      prefixLength: Number(cidr?.split('/')[1] ?? (family === 'IPv6' ? 128 : 32)),
      family: family === 'IPv6' ? (6 as const) : (4 as const),
      up: true,
      loopback: internal,
    })),
  );
}

/**
 * Name of the interface the IPv4 default route leads through, for address templates; undefined without one, or where
 * the kernel has no `/proc/net/route`.
 */
export function findDefaultInterface(): string | undefined {
  try {
    return defaultRouteInterface(readFileSync('/proc/net/route', 'utf8')) ?? undefined;
  } catch {
    return undefined;
  }
}
