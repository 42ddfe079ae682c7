/** Small questions about textual IP addresses (reference/agent.md §2.5, step 2). */
import { BlockList, isIP } from 'node:net';

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', length = ''] = network.split('/');
    list.addSubnet(address, Number(length), isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

const privateIpv4 = blockList([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.168.0.0/16',
]);
const notPublicIpv6 = blockList(['::1/128', 'fe80::/10', 'fc00::/7', 'fec0::/10', '2001:db8::/32']);
const loopback = blockList(['127.0.0.0/8', '::1/128']);
const linkLocal = blockList(['169.254.0.0/16', 'fe80::/10']);

const check = (list: BlockList, address: string): boolean =>
  isIP(address) !== 0 && list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

/** Private in Consul's sense; loopback and link-local belong to it. */
export const isPrivateIpv4 = (address: string): boolean => isIP(address) === 4 && check(privateIpv4, address);
export const isPublicIpv6 = (address: string): boolean => isIP(address) === 6 && !check(notPublicIpv6, address);
export const isLoopback = (address: string): boolean => check(loopback, address);

/** Whether `address` is in `network`, `172.17.0.0/16`. */
export function inNetwork(address: string, network: string): boolean {
  return check(blockList([network]), address);
}

/** Every address at once: `0.0.0.0`, `::`, or nothing. */
export function isUnspecified(address: string): boolean {
  return ['', '0.0.0.0', '::', '[::]', '0:0:0:0:0:0:0:0'].includes(address);
}

/** Why nobody else could reach `address`; undefined when nothing speaks against it. */
export function whyNotAdvertisable(address: string): string | undefined {
  if (isUnspecified(address)) return `"${address}" names no single address`;
  if (isIP(address) === 0) return `"${address}" is not an IP address`;
  if (isLoopback(address)) return `${address} is loopback`;
  if (check(linkLocal, address)) return `${address} is link-local`;
  return undefined;
}
